"""Where arms stand and how they hold their effectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.sims.math.rotation_host import (
    matrix_of_quaternion,
    quaternion_of_matrix,
)
from pliant.sims.robot.kinematics import Chain

TWIST, POSITION, ORIENTATION, ANGLE = "effector_twist", "effector_position", "effector_orientation", "joint_angle"
DISTANCE = 0.5  # from the effector to the base of its arm, seen from above [m]
CLEARANCE = 0.03  # between the arm's tool and the ball around the effector [m]
LARGEST = 0.08  # effectors with a larger radius are held as if they had this one [m]
TILT = 0.5  # of each of several tools towards its base, so that the hands keep apart [rad]


@dataclass(frozen=True)
class Mount:
    """Where an arm stands and how it holds its effector.

    Attributes:
        base_position: of its base [m], shape (3,).
        base_orientation: quaternion (w, x, y, z) of its base.
        grip_position: the effector's centre in the frame of the arm's tool [m], shape (3,).
        grip_orientation: quaternion (w, x, y, z) of the effector in that frame.
    """

    base_position: Sequence[float] | np.ndarray
    base_orientation: Sequence[float] | np.ndarray
    grip_position: Sequence[float] | np.ndarray
    grip_orientation: Sequence[float] | np.ndarray


def mount_from_above(
    chain: Chain,
    position: np.ndarray,
    orientation: np.ndarray,
    *,
    towards: Sequence[float] | np.ndarray,
    distance: float = DISTANCE,
    height: float = 0.0,
    standoff: float = 0.05,
    tilt: float = 0.0,
) -> Mount:
    """The mount with which an arm's tool points down on an effector at the start.

    Args:
        chain: the arm.
        position, orientation: pose of the effector at the start [m], (w, x, y, z).
        towards: from the effector to the base, seen from above: (x, y), any length.
        distance: between them, seen from above [m].
        height: of the base [m].
        standoff: from the tool to the effector's centre [m].
        tilt: of the tool towards the base [rad]; 0: straight down.
    """
    away = np.array([*towards[:2], 0.0]) / np.hypot(*towards[:2])
    base = np.array([*position[:2], height]) + distance * away
    x, y = -away, np.array([away[1], -away[0], 0.0])  # arms reach out along the x axis of their base
    facing = np.stack([x, y, [0.0, 0.0, 1.0]], axis=1)
    across = chain.standing(np.zeros(3)).pose(chain.home[None])[1][0, :, 0]  # the tool's own x axis at home
    first = np.array([across[0], across[1], 0.0]) / np.hypot(*across[:2])
    down = np.array([0.0, 0.0, -1.0])
    sine, cosine = np.sin(tilt), np.cos(tilt)
    tilted = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])  # moves down towards +x: inwards
    tool = facing @ tilted @ np.stack([first, np.cross(down, first), down], axis=1)
    held = tool.T @ matrix_of_quaternion(np.asarray(orientation, float))
    return Mount(base, quaternion_of_matrix(facing), [0.0, 0.0, standoff], quaternion_of_matrix(held))


def default_mounts(scene: Any, numbers: Sequence[int], chain: Chain) -> list[Mount]:
    """Arms from above: that of a single effector stands behind it (towards +y), several spread and lean outwards."""
    effectors = [scene.effectors[number] for number in numbers]
    middle = np.mean([effector.pose[:2] for effector in effectors], axis=0)
    walls = getattr(scene, "walls", None)
    mounts = []
    for effector in effectors:
        outwards = effector.pose[:2] - middle
        length = float(np.linalg.norm(outwards))
        towards = [0.0, 1.0] if length < 1e-6 else outwards / length + [0.0, 0.5]
        mounts.append(
            mount_from_above(
                chain,
                effector.pose[:3],
                effector.pose[3:],
                towards=towards,
                height=0.0 if walls is None else walls.thickness * scene.cell,
                standoff=min(effector.shape.bounding_radius, LARGEST) + CLEARANCE,
                tilt=TILT if len(effectors) > 1 else 0.0,
            )
        )
    return mounts


def driven_effectors(action: Mapping[str, np.ndarray]) -> list[int]:
    """Numbers of the effectors that actions move, given the matrices of `Task.action`."""
    matrix = action.get(TWIST)
    return [] if matrix is None else [k for k in range(len(matrix) // 6) if matrix[6 * k : 6 * k + 6].any()]
