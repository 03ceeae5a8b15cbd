"""The arms of a task: kinematic chains that stand in its scene and have its effectors as their tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pliant.envs.arms.mounts import ANGLE, TWIST, Mount, driven_effectors
from pliant.envs.features.words import Rows
from pliant.sims.math.rotation_host import (
    matrix_of_quaternion,
)
from pliant.sims.robot.kinematics import Chain
from pliant.sims.robot.kinematics_urdf import AnyArm, load_arm, look_up_model


class Arms:
    """The arms of a task: one for each effector that its actions move.

    Args:
        scene: of the task.
        action: the matrices of `Task.action`, (controls, action size) each.
        speed: share of their velocity limits that an action of 1 stands for.
        mounts: makes the mounts of all arms from the chain of one, as `Task.make_mounts` does.
        title: name of the task, for errors.
        arm: which arm: a name, the path of a URDF file or a model, see
            `pliant.sims.robot.kinematics_urdf.look_up_model`.

    Attributes:
        model: the chain of the arm with its base at the origin and its own tool.
        effectors: number of the effector that each arm holds.
        chains: the arms where they stand, with the effectors as their tools.
        joints: number of joints of all arms J, the first numbers of an action.
        speed: joint velocities of an action of ones, shape (J,) [rad/s].
        kept: columns of the task's own action matrices that move other controls. In an action they come after the
            joints.

    Raises:
        ValueError: the arm is unknown, its file is refused, it cannot reach the effectors, or the task has no end
            effector in three dimensions.
    """

    def __init__(
        self,
        scene: Any,
        action: Mapping[str, np.ndarray],
        speed: float,
        mounts: Callable[[Chain], list[Mount]],
        title: str,
        arm: AnyArm,
    ) -> None:
        name, _ = look_up_model(arm)
        self.effectors = driven_effectors(action)
        if not self.effectors or scene.dim != 3:
            reason = "its scene is two-dimensional" if self.effectors else "no end effector is moved by its actions"
            raise ValueError(f"arm={name!r} does not fit {title}: {reason}; allowed: 'none'")
        self.model = chain = load_arm(arm)
        places = mounts(chain)
        if len(places) != len(self.effectors):
            raise ValueError(f"make_mounts returned {len(places)} mounts, must be one for each of {self.effectors}")
        self.chains = [
            chain.standing(mount.base_position, mount.base_orientation).holding(
                np.array(mount.grip_position, float), matrix_of_quaternion(np.array(mount.grip_orientation, float))
            )
            for mount in places
        ]
        self.lower, self.upper = (np.concatenate([getattr(c, end) for c in self.chains]) for end in ("lower", "upper"))
        self.joints = len(self.lower)
        self.speed = speed * np.concatenate([c.speed for c in self.chains])
        others = [matrix for name, matrix in action.items() if name != TWIST]
        self.kept = [
            a for a in range(next(iter(action.values())).shape[1]) if any(matrix[:, a].any() for matrix in others)
        ]

    @property
    def action_size(self) -> int:
        """Numbers in an action."""
        return self.joints + len(self.kept)

    def observed(self) -> tuple[Rows, np.ndarray, np.ndarray]:
        """The joint angles, their scale and offset in an observation: -1 at the lower limit, 1 at the upper."""
        half = (self.upper - self.lower) / 2
        return Rows(ANGLE, ANGLE, np.arange(self.joints), 1), half, self.lower + half

    def split(self, joints: np.ndarray) -> list[np.ndarray]:
        """Numbers of all joints, shape (B, J), arm by arm."""
        return np.split(joints, np.cumsum([len(chain) for chain in self.chains])[:-1], axis=1)
