"""The effectors as a part of a World."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pliant.sims.contact import CONTACT_KINDS
from pliant.sims.fields import Needs, Quantity, Record, numbers
from pliant.sims.part import Part, Stages
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.effector_places import P_SIZE, POSE
from pliant.sims.shapes.shapes import pack_shapes


class EffectorPart(Part):
    """The effectors of a World as a part of it: poses integrated from twists, contact offered to the solvers.

    Args:
        effectors: all of them.
        soft_contact: contact sets in over a wide layer.
        untouched: names of those that particles and rods pass through (what a gel covers).

    Raises:
        ValueError: a fixed effector stands before one that moves.
    """

    element_name = "effector"

    def __init__(self, effectors: Sequence[Effector], *, soft_contact: bool, untouched: Sequence[str] = ()) -> None:
        self.effectors = list(effectors)
        self.is_touched = np.array([effector.name not in untouched for effector in self.effectors], np.int32)
        self.soft_contact = soft_contact
        self.count = len(self.effectors)
        fixed = [effector.fixed for effector in self.effectors]
        self.moving = self.count - sum(fixed)
        if any(fixed[: self.moving]):
            name = self.effectors[fixed.index(True)].name
            raise ValueError(f"effector {name!r} has fixed=True and stands before one that moves; list fixed ones last")
        self.shape_kinds = tuple(sorted({int(effector.shape.record()[0]) for effector in self.effectors}))
        self.key: tuple[Any, ...] = ("effectors",)

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Poses, contact parameters, twists and forces; shape records, bounding radii, sampled distances of meshes."""
        m = self.count
        pose = [Quantity("effector_position", (3,), "m"), Quantity("effector_orientation", (4,))]
        twist = Record("twist", [Quantity("effector_twist", (6,), "m/s, rad/s")], self.moving)
        return Needs(
            state=[Record("pose", pose, m)],
            parameters=[
                numbers("friction", m, title="effector_friction"),
                numbers("softness", m, "1/m", "effector_softness"),
            ],
            controls=[twist] if self.moving else [],
            outputs=[Record("force", [Quantity("effector_force", (3,), "N")], m)],
            counts={"count": m, "moving": self.moving, "soft": int(self.soft_contact)}
            | ({} if self.moving else {"twist": 0}),
            constants={"shapes": pack_shapes([e.shape for e in self.effectors])},
            integers={
                "kinds": np.array([CONTACT_KINDS[e.contact] for e in self.effectors], np.int32),
                "is_touched": self.is_touched,
            },
            partial={"partial": m * P_SIZE},
        )

    def initial(self) -> Mapping[str, Any]:
        """Poses, friction coefficients and softnesses."""
        pose = np.array([effector.pose for effector in self.effectors]).reshape(-1, POSE)
        return {
            "effector_position": pose[:, :3],
            "effector_orientation": pose[:, 3:],
            "effector_friction": [e.friction for e in self.effectors],
            "effector_softness": [e.softness for e in self.effectors],
        }

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """Pose integration and its adjoint; contact itself is called by the solver whose nodes are touched."""
        from pliant.sims.robot.effector_kernels import effector_stages

        return effector_stages(self.at, fp)

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
