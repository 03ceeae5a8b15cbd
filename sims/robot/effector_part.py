"""The effectors as a part of a World."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pliant.sims.contact import CONTACT_KINDS
from pliant.sims.fields import Field, Needs, Places
from pliant.sims.part import Part, Phases
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.effector_places import (
    CONTROL_AT,
    COUNT,
    FORCE,
    FRICTION_AT,
    KIND_AT,
    MOVING,
    OUTPUT_AT,
    PARTIAL_AT,
    POSE,
    RECORD_AT,
    SOFT,
    SOFTNESS_AT,
    STATE_AT,
    TWIST,
)
from pliant.sims.shapes.shapes import pack_shapes


class EffectorPart(Part):
    """The effectors of a World as a part of it: poses integrated from twists, contact offered to the solvers.

    delay: phases that the solver's reverse sweep takes before its particles' cotangents reach the nodes.
    """

    def __init__(self, effectors: Sequence[Effector], *, soft_contact: bool, delay: int = 0) -> None:
        self.effectors = list(effectors)
        self.soft_contact = soft_contact
        self.count = len(self.effectors)
        fixed = [effector.fixed for effector in self.effectors]
        self.moving = self.count - sum(fixed)
        if any(fixed[: self.moving]):
            name = self.effectors[fixed.index(True)].name
            raise ValueError(f"effector {name!r} has fixed=True and stands before one that moves; list fixed ones last")
        self.shape_kinds = tuple(sorted({int(effector.shape.record()[0]) for effector in self.effectors}))
        self.delay = delay
        self.key: tuple[Any, ...] = ("effectors", self.shape_kinds, delay)
        m = self.count
        self.state_size, self.parameter_size = m * POSE, 2 * m
        self.control_size, self.output_size = self.moving * TWIST, m * FORCE
        self.partial_size = m * (2 + POSE + TWIST + FORCE)

    def lay_out(self, state: int, parameter: int, control: int, output: int) -> None:
        """Take the stretches that start at these offsets of each row."""
        m = self.count
        self.state_fields = [
            Field("effector_position", state, (3,), m, POSE),
            Field("effector_orientation", state + 3, (4,), m, POSE),
        ]
        self.parameter_fields = [
            Field("effector_friction", parameter, (m,)),
            Field("effector_softness", parameter + m, (m,)),
        ]
        self.control_at = control
        if self.moving:
            self.control_fields = [Field("effector_twist", control, (6,), self.moving, TWIST)]
        self.output_fields = [Field("effector_force", output, (3,), m, FORCE)]

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Shape records, bounding radii and sampled distances of meshes; contact laws."""
        kinds = np.array([CONTACT_KINDS[e.contact] for e in self.effectors], np.int32)
        return Needs(constants=pack_shapes([e.shape for e in self.effectors]), integers={"effector_kinds": kinds})

    def initial_state(self) -> np.ndarray:
        """Poses, shape (count * 7,)."""
        return np.concatenate([effector.pose for effector in self.effectors])

    def initial_parameters(self) -> np.ndarray:
        """Friction coefficients, then softnesses, shape (2 * count,)."""
        return np.array([e.friction for e in self.effectors] + [e.softness for e in self.effectors])

    def write_header(self, header: np.ndarray, places: Places) -> None:
        """Fill this part's stretch of the integer header."""
        friction = self.parameter_fields[0].offset
        for at, value in (
            (COUNT, self.count),
            (STATE_AT, self.state_fields[0].offset),
            (FRICTION_AT, friction),
            (SOFTNESS_AT, friction + self.count),
            (CONTROL_AT, self.control_at),
            (OUTPUT_AT, self.output_fields[0].offset),
            (RECORD_AT, places.constants),
            (KIND_AT, places.integers["effector_kinds"]),
            (SOFT, int(self.soft_contact)),
            (PARTIAL_AT, places.partial),
            (MOVING, self.moving),
        ):
            header[at] = value

    def phases(self, dim: int, fp: Any) -> Phases:
        """Pose integration and its adjoint; contact itself is called by the solver whose nodes are touched."""
        from pliant.sims.robot.effector_kernels import effector_functions

        phases = effector_functions(dim, fp, self.shape_kinds, False).phases
        idle = phases.reverse[0]
        return phases._replace(reverse=[idle] * self.delay + phases.reverse)

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Orientations are unit quaternions, to a tenth (a longer one would enlarge the shape)."""
        if name == "effector_orientation":
            lengths = np.linalg.norm(values, axis=-1)
            if (abs(lengths - 1) > 0.1).any():
                worst = float(lengths.ravel()[np.argmax(abs(lengths - 1))])
                raise ValueError(
                    f"effector_orientation must be unit quaternions (w, x, y, z); one has length {worst:.3g}"
                )

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Friction and softness are not negative."""
        if (values[name] < 0).any():
            raise ValueError(f"parameter {name!r}={float(values[name].min())} must not be negative")
