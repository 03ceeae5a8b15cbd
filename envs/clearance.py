"""A round mount kept clear of planes, however it is turned: a sensor is not to crush its gel between mount and table.

The rim of a disc of radius r whose axis a has the component c = n . a along the normal n of a plane reaches r sqrt(1 -
c^2) below its middle. One that faces the plane (c < 0) has its dome between both, which may be pressed by ``depth``:
it is kept at r - depth c^2. What would come nearer in a step of T seconds is moved along n to where it just does not:

    v' = v + n max(0, reach(c') + gap - n . (p + v T - o)) / T,   c' = n . (a + T omega x a)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pliant.sims.math.rotation_host import matrix_of_quaternion, turn_adjoint

ROUNDING = 0.02  # of the root, where the disc lies flat on the plane


@dataclass(frozen=True)
class Clearance:
    """What a mount is kept clear of.

    planes: (point, unit normal) of each, (3,) each [m].  radius: of the mount [m].  gap: between rim and plane [m].
    depth: by how much its dome may be pressed [m].
    """

    planes: Sequence[tuple[Sequence[float], Sequence[float]]]
    radius: float
    gap: float
    depth: float

    def cut(
        self, position: np.ndarray, orientation: np.ndarray, twist: np.ndarray, duration: float
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Velocities that keep clear, (B, 3), and for the adjoint where each plane has changed them, (B, 1).

        Args:
            position, orientation: of the mount, (B, 3) [m] and quaternions (B, 4).
            twist: what is wanted, (B, 6) [m/s, rad/s].
            duration: T [s].
        """
        velocity, active = twist[:, :3], []
        axis = matrix_of_quaternion(orientation)[:, :, 2]
        for point, normal in self.planes:
            n = np.asarray(normal, float)
            reach, _slope = self._reach(axis, twist[:, 3:], n, duration)
            height = (position + duration * velocity - point) @ n
            short = (reach + self.gap - height)[:, None]
            active.append(short > 0)
            velocity = velocity + np.where(active[-1], short / duration, 0.0) * n
        return velocity, active

    def pull_back(
        self,
        orientation: np.ndarray,
        twist: np.ndarray,
        duration: float,
        active: list[np.ndarray],
        velocity_bar: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cotangents of the wanted twist (B, 6), the position (B, 3) and the orientation (B, 4)."""
        axis = matrix_of_quaternion(orientation)[:, :, 2]
        omega = twist[:, 3:]
        position_bar, axis_bar, omega_bar = np.zeros_like(axis), np.zeros_like(axis), np.zeros_like(axis)
        for (_point, normal), is_cut in zip(reversed(self.planes), reversed(active), strict=True):
            n = np.asarray(normal, float)
            _reach, slope = self._reach(axis, omega, n, duration)
            along = np.where(is_cut, (velocity_bar @ n)[:, None], 0.0)
            velocity_bar = velocity_bar - along * n
            position_bar = position_bar - along * n / duration
            c_bar = along * slope[:, None] / duration
            axis_bar = axis_bar + c_bar * (n + duration * np.cross(n, omega))
            omega_bar = omega_bar + c_bar * duration * np.cross(axis, n)
        turned = turn_adjoint(orientation, np.cross(axis, axis_bar))
        return np.concatenate([velocity_bar, omega_bar], axis=1), position_bar, turned

    def _reach(
        self, axis: np.ndarray, omega: np.ndarray, n: np.ndarray, duration: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far the mount reaches towards a plane at the end of the step [m], and its derivative by c', (B,) each."""
        c = (axis + duration * np.cross(omega, axis)) @ n
        root = np.sqrt(np.maximum(1.0 - c * c, 0.0) + ROUNDING**2)
        flat = np.sqrt(1.0 + ROUNDING**2)
        away = c >= 0
        reach = np.where(away, self.radius * root, self.radius * flat - self.depth * c * c)
        slope = np.where(away, np.where(c < 1.0, -self.radius * c / root, 0.0), -2.0 * self.depth * c)
        return reach, slope
