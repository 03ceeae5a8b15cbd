"""Robot arms that hold a task's end effectors: actions are joint velocities, gradients go through the kinematics.

Joint angles are an exact function of the actions, q' = clamp(q + T speed action), T the duration of a step. In a step
the effector moves with the one constant twist that brings it from the pose at q to the pose at q'; the reverse sweep
hands the twist's cotangent to both poses and through the geometric Jacobians J(q)^T, J(q')^T to the joint angles. Where
a joint is stopped by its limit, the gradient of its motion beyond is zero: the limit is a kink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pliant.envs.actuators import Actuator
from pliant.envs.features import Rows
from pliant.sims.math.rotation_host import (
    matrix_of_quaternion,
    quaternion_of_matrix,
    rotation_vector,
    rotation_vector_change,
)
from pliant.sims.robot.kinematics import Chain
from pliant.sims.robot.kinematics_inverse import solve_pose
from pliant.sims.robot.kinematics_urdf import AnyArm, load_arm, look_up_model

if TYPE_CHECKING:
    from pliant.envs.task import Observed, Task
    from pliant.sims.world import World

TWIST, POSITION, ORIENTATION, ANGLE = "effector_twist", "effector_position", "effector_orientation", "joint_angle"
DISTANCE = 0.5  # from the effector to the base of its arm, seen from above [m]
CLEARANCE = 0.03  # between the arm's tool and the ball around the effector [m]
LARGEST = 0.08  # an effector that is larger is held within it [m]
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


def default_mounts(task: Task, chain: Chain) -> list[Mount]:
    """Arms from above: that of a single effector stands behind it (towards +y), several spread and lean outwards."""
    effectors = [task.scene.effectors[number] for number in driven_effectors(task)]
    middle = np.mean([effector.pose[:2] for effector in effectors], axis=0)
    walls = getattr(task.scene, "walls", None)
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
                height=0.0 if walls is None else walls.thickness * task.scene.cell,
                standoff=min(effector.shape.bounding_radius, LARGEST) + CLEARANCE,
                tilt=TILT if len(effectors) > 1 else 0.0,
            )
        )
    return mounts


def driven_effectors(task: Task) -> list[int]:
    """Numbers of the effectors that actions move."""
    matrix = task.action.get(TWIST)
    return [] if matrix is None else [k for k in range(len(matrix) // 6) if matrix[6 * k : 6 * k + 6].any()]


class Arms:
    """The arms of a task: one for each effector that its actions move.

    Args:
        task: the task; its scene and its action matrices are made.
        arm: which arm: a name, the path of a URDF file or a model, see
            `pliant.sims.robot.kinematics_urdf.look_up_model`.

    Attributes:
        model: the chain of the arm, its base at the origin, its tool its own.
        effectors: number of the effector that each arm holds.
        chains: the arms, standing, their tools the effectors.
        joints: number of joints of all arms J, the first numbers of an action.
        speed: joint velocities of an action of ones, shape (J,) [rad/s].
        kept: columns of the task's own action matrices that move other controls; they follow the joints in an action.

    Raises:
        ValueError: the arm is unknown, its file is refused, it cannot reach the effectors, or the task has no end
            effector in three dimensions.
    """

    def __init__(self, task: Task, arm: AnyArm) -> None:
        name, _ = look_up_model(arm)
        self.effectors = driven_effectors(task)
        if not self.effectors or task.scene.dim != 3:
            reason = "its scene is two-dimensional" if self.effectors else "no end effector is moved by its actions"
            raise ValueError(f"arm={name!r} does not fit {type(task).__name__}: {reason}; allowed: 'none'")
        self.model = chain = load_arm(arm)
        mounts = task.make_mounts(chain)
        if len(mounts) != len(self.effectors):
            raise ValueError(f"make_mounts returned {len(mounts)} mounts, must be one for each of {self.effectors}")
        self.chains = [
            chain.standing(mount.base_position, mount.base_orientation).holding(
                np.array(mount.grip_position, float), matrix_of_quaternion(np.array(mount.grip_orientation, float))
            )
            for mount in mounts
        ]
        self.lower, self.upper = (np.concatenate([getattr(c, end) for c in self.chains]) for end in ("lower", "upper"))
        self.joints = len(self.lower)
        self.speed = task.joint_speed * np.concatenate([c.speed for c in self.chains])
        others = [matrix for name, matrix in task.action.items() if name != TWIST]
        self.kept = [a for a in range(task.action_size) if any(matrix[:, a].any() for matrix in others)]

    @property
    def action_size(self) -> int:
        """Numbers in an action."""
        return self.joints + len(self.kept)

    def observed(self) -> Observed:
        """The joint angles as part of the observation: -1 at the lower limit, 1 at the upper."""
        from pliant.envs.task import Observed

        half = (self.upper - self.lower) / 2
        return Observed(Rows(ANGLE, ANGLE, np.arange(self.joints), 1), scale=half, offset=self.lower + half)

    def split(self, joints: np.ndarray) -> list[np.ndarray]:
        """Numbers of all joints, shape (B, J), arm by arm."""
        return np.split(joints, np.cumsum([len(chain) for chain in self.chains])[:-1], axis=1)


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


def twist_between(
    p0: np.ndarray, R0: np.ndarray, p1: np.ndarray, R1: np.ndarray, duration: float, substeps: int
) -> np.ndarray:
    """The constant twist, shape (B, 6), that takes a pose to another one in ``duration`` [s] of k substeps.

    An effector's orientation turns in a substep of h seconds by the angle 2 atan(h |w| / 2) about w, exactly. The
    rotation vector phi of R1 R0^T is k such turns for w = phi / T * tan(x) / x with x = |phi| / (2 k).
    """
    phi = rotation_vector(R1 @ R0.transpose(0, 2, 1))
    stretch, _ = _tangent(phi, substeps)
    return np.concatenate([p1 - p0, stretch * phi], axis=1) / duration


def twist_between_adjoint(
    R0: np.ndarray, R1: np.ndarray, duration: float, substeps: int, twist_bar: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cotangents of p1 (minus that of p0), of a small turn of R0 and of one of R1, shape (B, 3) each."""
    # w = s(x) phi / T:  phi_bar = (s w_bar + s'/x (w_bar . phi) phi / (2 k)^2) / T
    # d phi = A psi1 - A^T psi0, since R1 R0^T exp(-psi0) is a change on the right
    phi = rotation_vector(R1 @ R0.transpose(0, 2, 1))
    stretch, slope = _tangent(phi, substeps)
    omega_bar = twist_bar[:, 3:]
    along = np.sum(omega_bar * phi, axis=1, keepdims=True)
    phi_bar = (stretch * omega_bar + slope * along * phi / (2 * substeps) ** 2) / duration
    A = rotation_vector_change(phi)
    psi0_bar, psi1_bar = -np.einsum("bij,bj->bi", A, phi_bar), np.einsum("bji,bj->bi", A, phi_bar)
    return twist_bar[:, :3] / duration, psi0_bar, psi1_bar


def _tangent(phi: np.ndarray, substeps: int) -> tuple[np.ndarray, np.ndarray]:
    """s(x) = tan(x) / x and s'(x) / x at x = |phi| / (2 k), shape (B, 1) each."""
    x = np.linalg.norm(phi, axis=1, keepdims=True) / (2 * substeps)
    small = x < 1e-3  # there the series is exact to 1e-12, the quotient of the slope is not
    safe = np.where(small, 1.0, x)
    stretch = np.where(small, 1 + x**2 / 3 + 2 * x**4 / 15, np.tan(safe) / safe)
    slope = np.where(small, 2 / 3 + 8 * x**2 / 15, (safe / np.cos(safe) ** 2 - np.tan(safe)) / safe**3)
    return stretch, slope
