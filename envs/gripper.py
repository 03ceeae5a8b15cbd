"""Two-finger grippers: plain data. `pliant.envs.gripper_actuator` moves them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gripper:
    """Two fingers that face each other.

    fingers: numbers of two effectors.  speed: of the gripper at an action of 1 [m/s].  spin: the same of its turning,
    one or one for each axis of the world; about one with 0 it does not turn [rad/s].  closing: by how much the fingers'
    distance changes at an action of 1 [m/s].  widths: least and largest distance of the effectors' positions [m].
    workspace: lower and upper corner for the middle between them [m], (3,) each.
    """

    fingers: tuple[int, int]
    speed: float
    spin: float | tuple[float, float, float]
    closing: float
    widths: tuple[float, float]
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]]

    action_size = 7
