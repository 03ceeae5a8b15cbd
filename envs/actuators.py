"""Actuators: how actions become the controls of a World, and how cotangents of controls become those of actions.

The plain one is a matrix; `BoundedActuator` also keeps effectors within a workspace. Two have a state of their own:
`pliant.envs.arms.actuator.ArmActuator` joint angles, `MuscleActuator`, around any of the others, the activation of
muscles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pliant.envs.task import Task
    from pliant.sims.world import World


class Actuator:
    """``control = matrix @ action``, the matrices of ``task.action``.

    Attributes:
        state_names: arrays of its own state; they stand beside those of the World.
        governed: state arrays of the World that follow from its own state and cannot be set.
    """

    state_names: tuple[str, ...] = ()
    governed: tuple[str, ...] = ()

    def __init__(self, task: Task, world: World) -> None:
        self.world = world
        self.matrix = np.zeros((world.control_size, task.action_size))
        for name, matrix in task.action.items():
            self.matrix[world.control_layout[name]] = matrix

    def reset(self, worlds: np.ndarray) -> None:
        """Begin an episode in the worlds of the mask (B,), which are in their initial state."""

    def begin_window(self) -> None:
        """Forget the steps recorded; the current state is the start of a new recording."""

    def state(self, name: str, step: int | None = None) -> np.ndarray:
        """A copy of one of `state_names`, shape (B, ...), now or after environment step ``step`` of the recording."""
        raise KeyError(name)

    def check_state(self, name: str, values: np.ndarray, worlds: np.ndarray) -> None:
        """Raise the ``ValueError`` with which `set_state` would refuse these arguments; changes nothing."""
        if name not in self.state_names:
            self.world.check_state(name, values)

    def set_state(self, name: str, values: np.ndarray, worlds: np.ndarray) -> None:
        """Overwrite a state array, ``values`` of shape (B, ...), in the worlds of the mask right after their reset.

        Names are those of the World and `state_names`.

        Raises:
            ValueError: the array is governed, or a value is out of range.
        """
        self.world.set_state(name, values, None if worlds.all() else worlds)

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        """Take on the arrays ``states`` of `state_names`, (B, ...), that belong to the World's state as it stands."""

    def take_back(self, states: Mapping[str, np.ndarray], steps: int) -> None:
        """Undo the last `controls`, whose step has failed: back to ``states`` of `state_names` and ``steps`` steps."""

    def controls(self, actions: np.ndarray) -> np.ndarray:
        """The controls, shape (B, C), of a step with actions (B, A) in [-1, 1]; moves its own state on."""
        return actions @ self.matrix.T

    def begin_adjoint(self, steps: int) -> None:
        """Start a reverse sweep over so many steps."""

    def add_state_adjoint(self, name: str, cotangent: np.ndarray) -> None:
        """Add a cotangent, shape (B, ...), of one of `state_names` after the step that is gone back next."""
        raise KeyError(name)

    def adjoint(self, step: int, control_bar: np.ndarray) -> np.ndarray:
        """Cotangent of the actions of ``step``, shape (B, A), from that of its controls, shape (B, C)."""
        return control_bar @ self.matrix

    def initial_adjoint(self, cotangents: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Cotangents of all that can be set at the start, from those of the World's initial state, by name."""
        return dict(cotangents)


POSE = ("effector_position", "effector_orientation")


class BoundedActuator(Actuator):
    """The matrix, with the velocities of effectors cut where a step would take them out of the task's workspace.

    A step of T seconds from position p with velocity v along an axis ends within [low, high]: v becomes
    clip(v, min((low - p) / T, 0), max((high - p) / T, 0)), so that one which starts outside may only come back. What
    comes of that is kept clear of planes (`pliant.envs.clearance`).
    """

    def __init__(self, task: Task, world: World) -> None:
        super().__init__(task, world)
        self._effectors = sorted(task.workspace)
        bounds = [np.asarray(task.workspace[k], float) for k in self._effectors]
        self._low, self._high = np.stack([b[0] for b in bounds]), np.stack([b[1] for b in bounds])
        start = world.control_layout["effector_twist"].start
        self._columns = start + 6 * np.array(self._effectors)[:, None] + np.arange(3)
        self._free: list[np.ndarray] = []  # where a recorded step's velocities are the action's, (B, effectors, 3)
        self._stops: list[np.ndarray] = []  # where they end at a bound
        self._clearances = task.clearances
        self._cuts: list[dict[int, tuple[np.ndarray, ...]]] = []  # what each of them has seen and done

    def reset(self, worlds: np.ndarray) -> None:
        if worlds.all():
            self.begin_window()

    def begin_window(self) -> None:
        self._free, self._stops, self._cuts = [], [], []

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        self.begin_window()

    def take_back(self, states: Mapping[str, np.ndarray], steps: int) -> None:
        del self._free[steps:], self._stops[steps:], self._cuts[steps:]

    def controls(self, actions: np.ndarray) -> np.ndarray:
        controls = super().controls(actions)
        position = self.world.state("effector_position")[:, self._effectors].astype(np.float64)
        wanted, duration = controls[:, self._columns], self.world.time_step
        least = np.minimum((self._low - position) / duration, 0.0)
        most = np.maximum((self._high - position) / duration, 0.0)
        velocity = np.clip(wanted, least, most)
        controls[:, self._columns] = velocity
        cuts: dict[int, tuple[np.ndarray, ...]] = {}
        for k, clearance in self._clearances.items():
            place, turn = (self.world.state(name)[:, k].astype(np.float64) for name in POSE)
            columns = self._twist(k)
            twist = controls[:, columns].copy()
            controls[:, columns.start : columns.start + 3], active = clearance.cut(place, turn, twist, duration)
            cuts[k] = (turn, twist, *active)
        if self.world.differentiable:
            self._cuts.append(cuts)
            free = velocity == wanted
            self._free.append(free)
            self._stops.append(~free & (velocity != 0.0))
        return controls

    def adjoint(self, step: int, control_bar: np.ndarray) -> np.ndarray:
        control_bar = control_bar.copy()
        for k, clearance in self._clearances.items():
            turn, twist, *active = self._cuts[step][k]
            columns = self._twist(k)
            velocity_bar = control_bar[:, columns.start : columns.start + 3]
            bars = clearance.pull_back(turn, twist, self.world.time_step, active, velocity_bar)
            control_bar[:, columns.start : columns.start + 3] = 0.0
            control_bar[:, columns] += bars[0]
            for name, bar in zip(POSE, bars[1:], strict=True):
                whole = np.zeros(self.world.state(name).shape)
                whole[:, k] = bar
                self.world.add_state_adjoint(name, whole)
        # v = (bound - p) / T:  p_bar -= v_bar / T, and nothing to the action
        velocity_bar = control_bar[:, self._columns]
        position_bar = np.zeros(self.world.state("effector_position").shape)
        position_bar[:, self._effectors] = np.where(self._stops[step], -velocity_bar / self.world.time_step, 0.0)
        self.world.add_state_adjoint("effector_position", position_bar)
        control_bar[:, self._columns] = np.where(self._free[step], velocity_bar, 0.0)
        return super().adjoint(step, control_bar)

    def _twist(self, effector: int) -> slice:
        """Where the twist of an effector is in the controls."""
        start = self.world.control_layout["effector_twist"].start + 6 * effector
        return slice(start, start + 6)


ACTIVATION = "activation"


class MuscleActuator(Actuator):
    """Muscles that follow their excitation with a delay, around an actuator that gives the excitation.

    First-order activation dynamics, da/dt = (u - a) / tau (Zajac 1989), solved exactly over a step of T seconds with
    the excitation u constant:

        a' = a + (1 - exp(-T / tau)) (u - a),  a = 0 after a reset

    and a' is the muscles' control in that step, so that tau = 0 is a muscle that obeys at once.

    Args:
        inner: what makes controls of actions; its "muscle_activation" is taken as u.
        world: the World.
        time: tau [s].
    """

    def __init__(self, inner: Actuator, world: World, time: float) -> None:
        self.inner, self.world = inner, world
        self.state_names = (*inner.state_names, ACTIVATION)
        self.governed = inner.governed
        self._columns = world.control_layout["muscle_activation"]
        self._gain = 1.0 if time == 0 else -float(np.expm1(-world.time_step / time))
        self._activation = np.zeros((world.batch, self._columns.stop - self._columns.start))
        self._before: list[np.ndarray] = []  # activation before each recorded step, (B, muscles)
        self._bar = np.zeros_like(self._activation)

    def reset(self, worlds: np.ndarray) -> None:
        self.inner.reset(worlds)
        self._activation = np.where(worlds[:, None], 0.0, self._activation)
        if worlds.all():
            self._before = []

    def begin_window(self) -> None:
        self.inner.begin_window()
        self._before = []

    def state(self, name: str, step: int | None = None) -> np.ndarray:
        if name != ACTIVATION:
            return self.inner.state(name, step)
        return (self._activation if step is None or step == len(self._before) else self._before[step]).copy()

    def check_state(self, name: str, values: np.ndarray, worlds: np.ndarray) -> None:
        if name != ACTIVATION:
            self.inner.check_state(name, values, worlds)
            return
        outside = worlds[:, None] & (np.abs(values) > 1.0)
        if outside.any():
            b, k = np.argwhere(outside)[0]
            raise ValueError(f"state 'activation'[{k}]={values[b, k]} is out of range; allowed: [-1, 1]")

    def set_state(self, name: str, values: np.ndarray, worlds: np.ndarray) -> None:
        self.check_state(name, values, worlds)
        if name == ACTIVATION:
            self._activation = np.where(worlds[:, None], values, self._activation)
        else:
            self.inner.set_state(name, values, worlds)

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        self.inner.restore(states)
        self._activation = np.array(states[ACTIVATION], np.float64)
        self._before = []

    def take_back(self, states: Mapping[str, np.ndarray], steps: int) -> None:
        self.inner.take_back(states, steps)
        self._activation = np.array(states[ACTIVATION], np.float64)
        del self._before[steps:]

    def controls(self, actions: np.ndarray) -> np.ndarray:
        controls = self.inner.controls(actions)
        if self.world.differentiable:
            self._before.append(self._activation)
        excitation = controls[:, self._columns]
        self._activation = self._activation + self._gain * (excitation - self._activation)
        controls[:, self._columns] = self._activation
        return controls

    def begin_adjoint(self, steps: int) -> None:
        self.inner.begin_adjoint(steps)
        self._bar = np.zeros_like(self._activation)

    def add_state_adjoint(self, name: str, cotangent: np.ndarray) -> None:
        if name == ACTIVATION:
            self._bar = self._bar + cotangent
        else:
            self.inner.add_state_adjoint(name, cotangent)

    def adjoint(self, step: int, control_bar: np.ndarray) -> np.ndarray:
        # a' = a + k (u - a), and a' is the control:  a'_bar += control_bar,  u_bar = k a'_bar,  a_bar = (1 - k) a'_bar
        after_bar = self._bar + control_bar[:, self._columns]
        control_bar = control_bar.copy()
        control_bar[:, self._columns] = self._gain * after_bar
        self._bar = (1.0 - self._gain) * after_bar
        return self.inner.adjoint(step, control_bar)

    def initial_adjoint(self, cotangents: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.inner.initial_adjoint(cotangents) | {ACTIVATION: self._bar.copy()}
