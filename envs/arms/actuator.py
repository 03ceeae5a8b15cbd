"""Robot arms that hold a task's end effectors: actions are joint velocities, gradients go through the kinematics.

Joint angles are an exact function of the actions, q' = clamp(q + T speed action), T the duration of a step. In a step
the effector moves with the one constant twist that brings it from the pose at q to the pose at q'; the reverse sweep
hands the twist's cotangent to both poses and through the geometric Jacobians J(q)^T, J(q')^T to the joint angles. Where
a joint is stopped by its limit, the gradient of its motion beyond is zero: the limit is a kink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pliant.envs.actuators import Actuator
from pliant.envs.arms.mounts import ANGLE, ORIENTATION, POSITION, TWIST
from pliant.sims.math.rotation_host import (
    matrix_of_quaternion,
    quaternion_of_matrix,
)
from pliant.sims.robot.kinematics import Chain
from pliant.sims.robot.kinematics_inverse import solve_pose
from pliant.sims.robot.twists import twist_between, twist_between_adjoint

if TYPE_CHECKING:
    from pliant.envs.task import Task
    from pliant.sims.world import World


class ArmActuator(Actuator):
    """Joint velocities in [-1, 1] of the arms' `Arms.speed`, then the task's other actions.

    Its state is "joint_angle", shape (B, J) [rad]. The poses of effectors that arms hold follow from it. Where all are
    held, poses cannot be set; where some stand free, setting poses moves only those, and the gradient of the held ones'
    initial poses is zero.
    """

    state_names = (ANGLE,)

    def __init__(self, task: Task, world: World) -> None:
        assert task.arms is not None
        self.arms, self.world = task.arms, world
        count = len(world.state(POSITION)[0])
        self.governed = (POSITION, ORIENTATION) if len(self.arms.effectors) == count else ()
        twists = np.arange(world.control_size)[world.control_layout[TWIST]]
        self._twist = [twists[6 * k : 6 * k + 6] for k in self.arms.effectors]
        self.matrix = np.zeros((world.control_size, self.arms.action_size))
        for name, matrix in task.action.items():
            if name != TWIST:
                self.matrix[world.control_layout[name], self.arms.joints :] = matrix[:, self.arms.kept]
        self._start = [world.state(name)[:1] for name in (POSITION, ORIENTATION)]
        self._nominal = self._solve(self._start[0], self._start[1])[0]
        self._angle = np.tile(self._nominal, (world.batch, 1))
        self._before: list[np.ndarray] = []  # joint angles before each recorded step, (B, J)
        self._free: list[np.ndarray] = []  # which joints no limit stopped in it
        self._bar = np.zeros_like(self._angle)

    def _solve(
        self, position: np.ndarray, orientation: np.ndarray, start: Sequence[np.ndarray] | None = None
    ) -> np.ndarray:
        """Joint angles, shape (B, J), for poses of all effectors, (B, M, 3) and (B, M, 4)."""
        parts = []
        for number, (k, chain) in enumerate(zip(self.arms.effectors, self.arms.chains, strict=True)):
            at, turned = position[:, k].astype(np.float64), matrix_of_quaternion(orientation[:, k].astype(np.float64))
            parts.append(solve_pose(chain, at, turned, None if start is None else start[number]))
        return np.concatenate(parts, axis=1)

    def reset(self, worlds: np.ndarray) -> None:
        poses = [self.world.state(name) for name in (POSITION, ORIENTATION)]
        usual = np.ones(self.world.batch, bool)  # where the effectors are where the scene has them
        for pose, start in zip(poses, self._start, strict=True):
            usual &= (pose[:, self.arms.effectors] == start[:, self.arms.effectors]).all(axis=(1, 2))
        self._angle = np.where((worlds & usual)[:, None], self._nominal, self._angle)
        other = worlds & ~usual
        if other.any():
            near = [part[0] for part in self.arms.split(self._nominal[None])]
            self._angle[other] = self._solve(poses[0][other], poses[1][other], near)
        self._place(worlds)
        if worlds.all():
            self._before, self._free = [], []

    def begin_window(self) -> None:
        self._before, self._free = [], []

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        self._angle = np.array(states[ANGLE], np.float64)
        self._before, self._free = [], []

    def take_back(self, states: Mapping[str, np.ndarray], steps: int) -> None:
        self._angle = np.array(states[ANGLE])
        del self._before[steps:], self._free[steps:]

    def _place(self, worlds: np.ndarray) -> None:
        """Put the held effectors of some worlds where the joint angles say."""
        position, orientation = (self.world.state(name) for name in (POSITION, ORIENTATION))
        for k, q, chain in self._held(self._angle):
            at, turned = chain.pose(q)
            position[:, k], orientation[:, k] = at, self._quaternion(k, turned)
        for name, values in ((POSITION, position), (ORIENTATION, orientation)):
            self.world.set_state(name, values, None if worlds.all() else worlds)

    def _quaternion(self, k: int, rotation: np.ndarray) -> np.ndarray:
        """Of the two unit quaternions of a rotation the one nearer to effector k's in the scene, shape (B, 4)."""
        q = quaternion_of_matrix(rotation)
        return np.where((q @ self._start[1][0, k] < 0)[:, None], -q, q)

    def _held(self, angle: np.ndarray) -> list[tuple[int, np.ndarray, Chain]]:
        """Each arm's effector, joint angles (B, n) and chain."""
        return list(zip(self.arms.effectors, self.arms.split(angle), self.arms.chains, strict=True))

    def state(self, name: str, step: int | None = None) -> np.ndarray:
        if step is None or step == len(self._before):
            return self._angle.copy()
        return self._before[step].copy()

    def check_state(self, name: str, values: np.ndarray, worlds: np.ndarray) -> None:
        if name in self.governed:
            raise ValueError(
                f"state {name!r} follows from 'joint_angle' where arms hold the effectors; set that instead"
            )
        if name != ANGLE:
            super().check_state(name, values, worlds)
            return
        outside = worlds[:, None] & ((values < self.arms.lower) | (values > self.arms.upper))
        if outside.any():
            b, j = np.argwhere(outside)[0]
            low, high = self.arms.lower[j], self.arms.upper[j]
            raise ValueError(f"state 'joint_angle'[{j}]={values[b, j]} is out of range; allowed: [{low}, {high}] rad")

    def set_state(self, name: str, values: np.ndarray, worlds: np.ndarray) -> None:
        self.check_state(name, values, worlds)
        if name in (POSITION, ORIENTATION):
            free = np.array(values, np.float64)
            free[:, self.arms.effectors] = self.world.state(name)[:, self.arms.effectors]
            values = free
        if name != ANGLE:
            super().set_state(name, values, worlds)
            return
        self._angle = np.where(worlds[:, None], values, self._angle)
        self._place(worlds)

    def controls(self, actions: np.ndarray) -> np.ndarray:
        arms, world, before = self.arms, self.world, self._angle
        wanted = before + world.time_step * arms.speed * actions[:, : arms.joints]
        after = np.clip(wanted, arms.lower, arms.upper)
        controls = actions @ self.matrix.T
        for columns, (_, q0, chain), q1 in zip(self._twist, self._held(before), arms.split(after), strict=True):
            controls[:, columns] = twist_between(*chain.pose(q0), *chain.pose(q1), world.time_step, world.substeps)
        if world.differentiable:
            self._before.append(before)
            self._free.append(wanted == after)
        self._angle = after
        return controls

    def begin_adjoint(self, steps: int) -> None:
        self._bar = np.zeros_like(self._angle)

    def add_state_adjoint(self, name: str, cotangent: np.ndarray) -> None:
        self._bar = self._bar + cotangent

    def adjoint(self, step: int, control_bar: np.ndarray) -> np.ndarray:
        # q'_bar += J(q')^T of the pose after;  q' = clamp(q + T speed a):
        #   a_bar = T speed q'_bar,  q_bar = q'_bar + J(q)^T of the pose before;  no q'_bar through a joint at its limit
        arms, world = self.arms, self.world
        before, after = self._before[step], self.state(ANGLE, step + 1)
        bars = []
        for columns, (_, q0, chain), q1 in zip(self._twist, self._held(before), arms.split(after), strict=True):
            (_, R0), (_, R1) = chain.pose(q0), chain.pose(q1)
            p_bar, psi0_bar, psi1_bar = twist_between_adjoint(
                R0, R1, world.time_step, world.substeps, control_bar[:, columns]
            )
            bars.append((chain.pose_adjoint(q0, -p_bar, psi0_bar), chain.pose_adjoint(q1, p_bar, psi1_bar)))
        before_bar, after_bar = (np.concatenate(part, axis=1) for part in zip(*bars, strict=True))
        moved_bar = np.where(self._free[step], self._bar + after_bar, 0.0)
        self._bar = moved_bar + before_bar
        action_bar = control_bar @ self.matrix
        action_bar[:, : arms.joints] += world.time_step * arms.speed * moved_bar
        return action_bar

    def initial_adjoint(self, cotangents: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        position_bar, orientation_bar = (np.array(cotangents[name], np.float64) for name in (POSITION, ORIENTATION))
        parts = []
        for k, q, chain in self._held(self.state(ANGLE, 0)):
            # a small turn psi makes q + (0, psi) q / 2 of the quaternion q = (w, v): psi_bar = (w s - r v + v x s) / 2
            # with (r, s) = q_bar
            quaternion = self._quaternion(k, chain.pose(q)[1])
            w, v, r, s = quaternion[:, :1], quaternion[:, 1:], orientation_bar[:, k, :1], orientation_bar[:, k, 1:]
            parts.append(chain.pose_adjoint(q, position_bar[:, k], (w * s - r * v + np.cross(v, s)) / 2))
            position_bar[:, k] = orientation_bar[:, k] = 0.0
        result = dict(cotangents) | {POSITION: position_bar, ORIENTATION: orientation_bar}
        result = {name: value for name, value in result.items() if name not in self.governed}
        return result | {ANGLE: self._bar + np.concatenate(parts, axis=1)}
