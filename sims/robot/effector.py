"""Rigid kinematic manipulators: signed distances that move with a prescribed twist and push on what they touch.

An effector's pose (position and quaternion) is state, its twist a control, unless it is fixed. Contact acts on grid
velocities: inside the shape (hard), or blended by s = min(exp(-softness * signed distance), 1) around it (soft; Huang
et al. 2021, PlasticineLab, eq. 4), the velocity relative to the surface answers to the contact law of ``contact.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.sims.inputs import flag, label, real, real_array, shown, word
from pliant.sims.robot.contact import CONTACT_KINDS
from pliant.sims.robot.shapes import Mesh, Shape, pack_shapes
from pliant.sims.robot.thickness import CELLS, FELT, least_thickness
from pliant.sims.solver import EFFECTOR_HEADER, Field, Needs, Part, Phases, Places

POSE, TWIST, FORCE = 7, 6, 3
MESH_LARGEST, LARGEST = 4.0, 100.0  # times the domain's longest side that meshes and other solids may be long

# Header entries of this part.
(COUNT, STATE_AT, FRICTION_AT, SOFTNESS_AT, CONTROL_AT, OUTPUT_AT, RECORD_AT, KIND_AT, SOFT, PARTIAL_AT, MOVING) = (
    range(EFFECTOR_HEADER, EFFECTOR_HEADER + 11)
)


@dataclass
class Effector:
    """One manipulator.

    shape: one of ``pliant.sims.robot.shapes`` (metres).  position: (3,) [m], in 2-D scenes (x, y) or (x, y, 0).
    orientation: quaternion (w, x, y, z).  friction: Coulomb coefficient.  contact: "sticky", "slip" or "separate".
    softness: decay rate of soft contact [1/m].  color: (r, g, b) in 0..1, for rendering only.
    fixed: it stays where it is and has no controls; in a scene fixed effectors stand after all others.
    """

    name: str
    shape: Any
    position: Sequence[float]
    orientation: Sequence[float] = (1.0, 0.0, 0.0, 0.0)
    friction: float = 0.5
    contact: str = "separate"
    softness: float = 666.0
    color: tuple[float, float, float] = (0.55, 0.58, 0.62)
    fixed: bool = False
    pose: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        position = np.zeros(3)
        where = f"effector {label('effector: name', self.name)!r}"
        if not isinstance(self.shape, Shape):
            raise ValueError(f"{where}: shape={shown(self.shape)} must be one of pliant.sims.robot.shapes")
        given = real_array(f"{where}: position", self.position).ravel()
        if given.size not in (2, 3):
            raise ValueError(f"{where}: position={shown(self.position)} must be 2 or 3 finite numbers [m]")
        position[: given.size] = given
        orientation = real_array(f"{where}: orientation", self.orientation).ravel()
        norm = float(np.linalg.norm(orientation)) if orientation.size == 4 else 0.0
        if not np.isfinite(norm) or norm < 1e-9:
            raise ValueError(f"{where}: orientation={shown(self.orientation)} must be a quaternion (w, x, y, z)")
        word(f"{where}: contact", self.contact, CONTACT_KINDS)
        for name in ("friction", "softness"):
            real(f"{where}: {name}", getattr(self, name), 0.0)
        flag(f"{where}: fixed", self.fixed)
        color = real_array(f"{where}: color", self.color, shape=(3,))
        if color.min() < 0 or color.max() > 1:
            raise ValueError(f"{where}: color={shown(self.color)} must be (r, g, b) in 0..1")
        self.pose = np.concatenate([position, orientation / norm])

    def check_cell(self, cell: float) -> None:
        """Raise ``ValueError`` if a grid with cells of this edge [m] is too coarse for the shape (thin walls leak)."""
        try:
            self.shape.check_cell(cell)
        except ValueError as error:
            raise ValueError(f"effector {self.name!r}: {error}") from None

    def check_thickness(self, cell: float, *, soft_contact: bool) -> None:
        """Raise ``ValueError`` if the shape is so thin for a grid with cells of this edge [m] that it leaks."""
        least = least_thickness(cell, self.softness if soft_contact else None, self.shape.width)
        if least <= 0.0:
            return
        reason = self.shape.thin_part(least)
        if reason:
            kind = f"soft contact with softness={self.softness:.4g} 1/m" if soft_contact else "sharp contact"
            raise ValueError(
                f"effector {self.name!r}: {type(self.shape).__name__} must be at least {least:.4g} m thick in {kind} "
                f"on cells of {cell:.4g} m, or particles pass through it; it {reason}. Thicken it, take smaller cells "
                f"or soft contact with a softness of at most {2 * FELT / (CELLS * cell):.4g} 1/m"
            )

    def check_size(self, domain: Sequence[float] | np.ndarray, cell: float) -> None:
        """Raise ``ValueError`` if the shape cannot be of the units of a domain with these edges and cells [m]."""
        extent, longest = self.shape.extent, float(np.max(domain))
        factor = MESH_LARGEST if isinstance(self.shape, Mesh) else LARGEST
        if np.isfinite(extent) and extent > factor * longest:
            raise ValueError(
                f"effector {self.name!r}: {type(self.shape).__name__} is {extent:.4g} m long in a domain of "
                f"{longest:.4g} m; allowed: at most {factor:g} times the domain{_unit_hint(self.shape, longest)}"
            )
        if isinstance(self.shape, Mesh) and extent < cell:
            raise ValueError(
                f"effector {self.name!r}: Mesh is {extent:.4g} m long, smaller than a cell of {cell:.4g} m"
                f"{_unit_hint(self.shape, longest)}"
            )


def _unit_hint(shape: Shape, longest: float) -> str:
    """What else the scale of a mesh may be, so that it fits a domain of this length [m]."""
    if not isinstance(shape, Mesh):
        return "; sizes are in metres"
    units = {"millimetres": 1e-3, "centimetres": 1e-2, "inches": 0.0254, "metres": 1.0}
    fits = [
        f"scale={factor:g} if the file is in {unit}"
        for unit, factor in units.items()
        if 0.02 * longest <= shape.extent / shape.scale * factor <= longest
    ]
    return f"; its scale is {shape.scale:g}: " + (", ".join(fits) if fits else "sizes are in metres")


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
