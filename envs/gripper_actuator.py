"""Two-finger grippers: actions move and turn the whole gripper and change its width; fingers are two effectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pliant.envs.actuators import Actuator
from pliant.envs.gripper import Gripper
from pliant.sims.math.rotation_host import rotation_vector_change, skew

if TYPE_CHECKING:
    from pliant.envs.task import Task
    from pliant.sims.world import World


class GripperActuator(Actuator):
    """Velocities of two fingers that keep them opposite of each other, to the last turn.

    In a step of T seconds and k substeps the gripper moves by v T and turns by Q = exp(phi), as an effector does that
    turns at omega (`pliant.sims.robot.twists`): phi = omega 2 k atan(h |omega| / 2) / |omega|, h = T / k. From the
    middle c of the fingers and d, from the first to the second,

        d' = Q d L' / |d|,  p' = c + v T -+ d' / 2,  L' = clip(|d| - closing T, least, most)

    and the fingers' velocities are (p' - p) / T, their angular velocity omega. Velocities of the middle that would
    leave the workspace, and a width beyond its limits, are cut as in `BoundedActuator`.
    """

    def __init__(self, task: Task, world: World, gripper: Gripper) -> None:
        super().__init__(task, world)
        self._gripper = gripper
        start = world.control_layout["effector_twist"].start
        self._columns = [slice(start + 6 * k, start + 6 * k + 6) for k in gripper.fingers]
        self._low, self._high = (np.asarray(corner, float) for corner in gripper.workspace)
        self._substeps = world.substeps
        self._kept: list[tuple[np.ndarray, ...]] = []  # actions and positions of each recorded step

    def reset(self, worlds: np.ndarray) -> None:
        if worlds.all():
            self.begin_window()

    def begin_window(self) -> None:
        self._kept = []

    def restore(self, states: object) -> None:
        self.begin_window()

    def take_back(self, states: object, steps: int) -> None:
        del self._kept[steps:]

    def controls(self, actions: np.ndarray) -> np.ndarray:
        controls = super().controls(actions)
        position = self.world.state("effector_position")[:, list(self._gripper.fingers)].astype(np.float64)
        if self.world.differentiable:
            self._kept.append((actions.copy(), position))
        moved = self._move(actions, position)
        for side, columns in enumerate(self._columns):
            new = moved["middle"] + (side - 0.5) * moved["between"]
            controls[:, columns.start : columns.start + 3] = (new - position[:, side]) / self.world.time_step
            controls[:, columns.start + 3 : columns.stop] = moved["omega"]
        return controls

    def _move(self, actions: np.ndarray, position: np.ndarray) -> dict[str, np.ndarray]:
        """The fingers after a step: the middle, and from the first to the second; and what the adjoint needs."""
        g, T = self._gripper, self.world.time_step
        omega = np.asarray(g.spin) * actions[:, 3:6]
        phi_per_omega, slope = self._turning(omega)
        Q = _rotation(phi_per_omega * omega)
        d = position[:, 1] - position[:, 0]
        length = np.linalg.norm(d, axis=1, keepdims=True)
        wanted = length - g.closing * T * actions[:, 6:7]
        least, most = np.minimum(g.widths[0], length), np.maximum(g.widths[1], length)
        width = np.clip(wanted, least, most)
        middle = position.mean(axis=1)
        step = g.speed * T * actions[:, :3]
        low, high = np.minimum(self._low - middle, 0.0), np.maximum(self._high - middle, 0.0)
        cut = np.clip(step, low, high)
        return {
            "omega": omega,
            "phi_per_omega": phi_per_omega,
            "slope": slope,
            "Q": Q,
            "d": d,
            "length": length,
            "width": width,
            "is_free": width == wanted,
            "stays": (width == length) & (width != wanted),
            "moves_freely": cut == step,
            "stands": (cut == 0.0) & (cut != step),
            "middle": middle + cut,
            "between": np.einsum("bij,bj->bi", Q, d) * width / length,
        }

    def _turning(self, omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """g(x) = 2 k atan(h x / 2) / x and g'(x) / x at x = |omega|, shape (B, 1) each."""
        T = self.world.time_step
        h = T / self._substeps
        x = np.linalg.norm(omega, axis=1, keepdims=True)
        small = h * x < 1e-3  # there the series is exact to 1e-13
        safe = np.where(small, 1.0, x)
        g = np.where(small, T * (1 - (h * x) ** 2 / 12), 2 * self._substeps * np.arctan(h * safe / 2) / safe)
        slope = np.where(small, -T * h * h / 6, (T / (1 + (h * safe) ** 2 / 4) - g) / safe**2)
        return g, slope

    def adjoint(self, step: int, control_bar: np.ndarray) -> np.ndarray:
        actions, position = self._kept[step]
        g, T, m = self._gripper, self.world.time_step, self._move(actions, position)
        velocity_bars = [control_bar[:, c.start : c.start + 3] / T for c in self._columns]
        omega_bar = sum(control_bar[:, c.start + 3 : c.stop] for c in self._columns)
        middle_bar = velocity_bars[0] + velocity_bars[1]
        between_bar = (velocity_bars[1] - velocity_bars[0]) / 2
        # d' = Q d L' / |d|; Q becomes exp(psi) Q: d' . between_bar changes by psi . (d' x between_bar)
        turn_bar = np.cross(m["between"], between_bar)
        phi = m["phi_per_omega"] * m["omega"]
        phi_bar = np.linalg.solve(np.swapaxes(rotation_vector_change(phi), 1, 2), turn_bar[..., None])[..., 0]
        omega_bar = omega_bar + m["phi_per_omega"] * phi_bar
        omega_bar = omega_bar + m["slope"] * (m["omega"] * phi_bar).sum(axis=1, keepdims=True) * m["omega"]
        back = np.einsum("bji,bj->bi", m["Q"], between_bar)
        along = (back * m["d"]).sum(axis=1, keepdims=True)
        width_bar = along / m["length"]
        length_bar = -along * m["width"] / m["length"] ** 2
        length_bar = length_bar + np.where(m["is_free"] | m["stays"], width_bar, 0.0)
        d_bar = back * m["width"] / m["length"] + length_bar * m["d"] / m["length"]
        step_bar = np.where(m["moves_freely"], middle_bar, 0.0)
        start_bar = np.where(
            m["moves_freely"] | m["stands"], middle_bar, 0.0
        )  # where it ends at a bound it does not count
        position_bar = np.zeros(self.world.state("effector_position").shape)
        for side, finger in enumerate(g.fingers):
            position_bar[:, finger] = start_bar / 2 + (side * 2 - 1) * d_bar - velocity_bars[side]
        self.world.add_state_adjoint("effector_position", position_bar)
        action_bar = super().adjoint(step, control_bar)
        action_bar[:, :3] += g.speed * T * step_bar
        action_bar[:, 3:6] += np.asarray(g.spin) * omega_bar
        action_bar[:, 6:7] += np.where(m["is_free"], -g.closing * T * width_bar, 0.0)
        return action_bar


def _rotation(phi: np.ndarray) -> np.ndarray:
    """exp of rotation vectors (B, 3), as matrices (B, 3, 3)."""
    angle = np.linalg.norm(phi, axis=1)[:, None, None]
    K = skew(phi)
    half = np.sinc(angle / (2 * np.pi))
    return np.eye(3) + np.sinc(angle / np.pi) * K + half**2 / 2 * (K @ K)
