"""A batch of worlds doing one task, forward and reverse; everything of an environment that is not Gymnasium."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import numpy as np

from pliant.envs.actuation import make_actuator
from pliant.envs.checks import broadcast, check_actions
from pliant.envs.features.words import Sink, View
from pliant.envs.parameters import Parameters
from pliant.envs.scoring import Scorer
from pliant.envs.task import Task
from pliant.sims.checks import check_gradient
from pliant.sims.failures import SimulationDiverged
from pliant.sims.inputs import shown
from pliant.sims.world import World

OBSERVATION_LIMIT = 10.0
"""Observations are clipped to [-OBSERVATION_LIMIT, OBSERVATION_LIMIT]; usual values lie within [-1, 1]."""


@dataclass
class Gradient:
    """Derivatives of a weighted sum of rewards and observations of an episode.

    In the vector environment every array has a leading axis, the world.

    Attributes:
        actions: with respect to the actions, shape (T, A); zero where an action lay outside [-1, 1].
        initial_state: with respect to the state after the reset, by name; shapes of the state arrays.
        parameters: with respect to the physical and design parameters, by name; shapes of the parameters.
    """

    actions: np.ndarray
    initial_state: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]


@dataclass
class Outcome:
    """What a step yields, for each of B worlds.

    Attributes:
        observation: float64, shape (B, O), not clipped.
        reward: shape (B,).
        terms: the parts of the reward by name, shape (B,) each.
        score: in [0, 1], shape (B,).
        measures: what the task reports besides, by name, shape (B,) each.
        diverged: worlds in which the step failed and was taken back, shape (B,).
    """

    observation: np.ndarray
    reward: np.ndarray
    terms: dict[str, np.ndarray]
    score: np.ndarray
    measures: dict[str, np.ndarray]
    diverged: np.ndarray


def _given_up_where_it_diverges(part_of_sweep: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a `Rollout` that gives up the reverse sweep if a gradient overflows: the latest state is shown."""

    @wraps(part_of_sweep)
    def call(self: Rollout, *args: Any) -> Any:
        try:
            return part_of_sweep(self, *args)
        except SimulationDiverged:
            self.backward_stop()
            raise

    return call


class Rollout:
    """B worlds of one task, stepped together.

    Args:
        task: the task.
        batch: B.
        differentiable: record what the reverse sweep needs.
        device, precision, soft_contact, memory: as in `pliant.sims.world.World`.
        parameters: overrides of physical or design parameters by name.
    """

    def __init__(
        self,
        task: Task,
        *,
        batch: int,
        differentiable: bool = False,
        device: str = "auto",
        precision: str = "f32",
        soft_contact: bool = True,
        memory: str = "2GiB",
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.task, self.batch, self.differentiable = task, batch, differentiable
        self.world = World(
            task.scene,
            batch=batch,
            substeps=task.substeps[task.resolution],
            dt=task.dt,
            device=device,
            precision=precision,
            soft_contact=soft_contact,
            differentiable=differentiable,
            memory=memory,
            horizon=task.horizon,
        )
        self.actuator = make_actuator(task, self.world)
        self.parameters = Parameters(task, self.world)
        self.observation_size = sum(part.feature.size for part in task.observation)
        self.elapsed = np.zeros(batch, int)
        self.goal: dict[str, np.ndarray] = {}
        self._goal_pattern: dict[str, np.ndarray] = {}
        self._scorer = Scorer(task.score, batch)
        self._actions: list[np.ndarray] = []  # clipped, (B, A) each
        self._earlier: list[np.ndarray] = []  # the last two before them, where the recording began within an episode
        self._inside: list[np.ndarray] = []  # where the action given lay in [-1, 1]
        self._observations: list[np.ndarray] = []
        self._sweep: _Sweep | None = None
        for name, value in (parameters or {}).items():
            self.set_parameter(name, value)

    def close(self) -> None:
        """Free the memory of the worlds; may be called again."""
        self.world.close()

    # State

    @property
    def state_names(self) -> list[str]:
        """State arrays of the World and of the actuator."""
        return [*self.world.state_names, *self.actuator.state_names]

    def state(self, name: str) -> np.ndarray:
        """A copy of a state array, shape (B, ...)."""
        return self._read(self.world, name)

    def _read(self, world: World, name: str, step: int | None = None) -> np.ndarray:
        if name in ("effector_force", "active"):
            return world.output("effector_force") if name == "effector_force" else world.derived("active")
        return self.actuator.state(name, step) if name in self.actuator.state_names else world.state(name)

    # Parameters

    def set_parameter(self, name: str, value: Any) -> None:
        """Replace the values of all worlds; anything that broadcasts to the shape of ``parameters.value(name)``.

        Ends a recorded episode: reset before the next step.
        """
        self.parameters.check_name(name)
        self.parameters.check({name: value}, np.ones(self.batch, bool))
        self.backward_stop()
        if self.recorded_steps:
            self.world.reset()
            self._actions, self._earlier = [], []
        self.parameters.set(name, value)

    @staticmethod
    def _check_name(what: str, name: str, allowed: Sequence[str]) -> None:
        if not isinstance(name, str) or name not in allowed:
            raise ValueError(f"{what} {shown(name)} is unknown; allowed: {', '.join(allowed)}")

    # Forward

    def reset(
        self,
        rngs: Sequence[np.random.Generator],
        *,
        worlds: np.ndarray | None = None,
        state: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Start new episodes in all worlds, or in those of the mask ``worlds``, shape (B,).

        Args:
            rngs: the generator of each world; draws its goal, its initial state, then its parameters.
            worlds: which worlds.
            state: overrides of state arrays, anything that broadcasts to (B, ...).
            parameters: values of parameters in these episodes, likewise.
        """
        mask = np.ones(self.batch, bool) if worlds is None else worlds
        full, state = bool(mask.all()), dict(state or {})
        self.check_reset(mask, state, parameters or {})
        goals, starts, drawn = self._draw(rngs, mask)
        changed = drawn | dict(parameters or {})
        self.parameters.check(changed, mask)
        self.backward_stop()
        self.world.reset(None if full else mask)
        self.parameters.begin(changed, mask)
        if full:
            self.goal = {}
        for name, values in goals.items():
            self.goal.setdefault(name, np.zeros(values.shape))[mask] = values[mask]
        for name, values in starts.items():
            self.world.set_state(name, values, None if full else mask)
        self.actuator.reset(mask)
        for name, value in state.items():
            self.actuator.set_state(name, self._as_state(name, value), mask)
        self.elapsed[mask] = 0
        if full:
            self._actions, self._earlier, self._inside, self._observations = [], [], [], []
        view = self._view(self.world)
        self._scorer.reset(view, mask)
        outcome = self._outcome(view)
        if self.differentiable:
            self._observations.append(outcome.observation)
        return outcome

    def check_reset(self, worlds: np.ndarray, state: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        """Raise the ``ValueError`` with which `reset` would refuse these arguments; changes nothing."""
        if not worlds.all() and self.differentiable:
            raise ValueError("reset_mask must hold for every world when differentiable=True: one tape serves the batch")
        for name, value in state.items():
            self._check_name("state", name, self.state_names)
            self.actuator.check_state(name, self._as_state(name, value), worlds)
        self.parameters.check(parameters, worlds)

    def goal_pattern(self) -> dict[str, np.ndarray]:
        """Arrays (1 or B, ...) of the names and shapes that goals have."""
        if not self.goal and not self._goal_pattern:
            goal, _ = self.task.make_episode(np.random.default_rng(0))
            self._goal_pattern = {name: np.asarray(value, np.float64)[None] for name, value in goal.items()}
        return self.goal or self._goal_pattern

    def _as_state(self, name: str, value: Any) -> np.ndarray:
        return broadcast(f"state {name!r}", value, self.state(name).shape, self.world.dtype)

    def _draw(self, rngs: Sequence[np.random.Generator], worlds: np.ndarray) -> tuple[dict[str, np.ndarray], ...]:
        """Goals, initial states and parameters of new episodes in the worlds of the mask, by name, (B, ...) each."""
        tables: tuple[dict[str, np.ndarray], ...] = ({}, {}, {})
        for b in np.flatnonzero(worlds).tolist():
            drawn = (*self.task.make_episode(rngs[b]), self.task.make_parameters(rngs[b]))
            for kind, values in enumerate(drawn):
                for name, value in values.items():
                    table = tables[kind]
                    if kind == 2:  # anything that broadcasts to the parameter of a world
                        value = broadcast(f"parameter {name!r}", value, self.parameters.value(name).shape[1:])
                    if name not in table:
                        table[name] = np.repeat(np.asarray(value, np.float64)[None], self.batch, axis=0)
                    table[name][b] = value
        return tables

    def begin_window(self) -> None:
        """Forget what is recorded and record on from the current state, within the same episode."""
        if not self.differentiable:
            raise RuntimeError("this environment records nothing; make it with differentiable=True")
        self.backward_stop()
        self.world.begin_window()
        self.actuator.begin_window()
        self._earlier = [*self._earlier, *self._actions][-2:]
        self._actions, self._inside, self._observations = [], [], self._observations[-1:]

    def step(self, actions: np.ndarray, *, may_fail: np.ndarray | None = None) -> Outcome:
        """One environment step of all worlds; ``actions`` of shape (B, A), clipped to [-1, 1].

        In worlds of the mask ``may_fail``, shape (B,), a divergence is no error: such a world stands still in this
        step, and the outcome says so. Not while steps are recorded.

        Raises:
            ValueError: wrong shape or not finite.
            SimulationDiverged: a state is no longer finite, a particle has left the domain, a body is torn or has
                collapsed. All worlds are where they were before this step.
        """
        if self._sweep is not None:
            raise RuntimeError("a backward sweep is under way; finish it with backward_end(), or reset")
        actions = check_actions(actions, (self.batch, self.task.action_size))
        clipped = np.clip(actions, -1.0, 1.0)
        failed = self._advance(clipped, may_fail)
        self.elapsed += 1
        self._actions.append(clipped)
        if not self.differentiable:
            del self._actions[:-2]
        view = self._view(self.world)
        outcome = self._outcome(view, failed)
        if self.differentiable:
            self._inside.append(clipped == actions)
            self._observations.append(outcome.observation)
        return outcome

    def _advance(self, actions: np.ndarray, may_fail: np.ndarray | None) -> np.ndarray:
        """Step the worlds; where that fails, the actuator is left as it was, like the World; who failed, (B,)."""
        before = {name: self.actuator.state(name) for name in self.actuator.state_names}
        try:
            failed = self.world.step(self._controls(actions), may_fail=may_fail)
        except Exception:
            self.actuator.take_back(before, self.recorded_steps)
            raise
        if failed.any():
            self._put_back(before, failed)
        return failed

    def _put_back(self, before: Mapping[str, np.ndarray], worlds: np.ndarray) -> None:
        """Give the actuator the states ``before`` back in the worlds of the mask."""
        states = {name: self.actuator.state(name) for name in before}
        for name, values in before.items():
            states[name][worlds] = values[worlds]
        self.actuator.restore(states)

    def _controls(self, actions: np.ndarray) -> np.ndarray:
        """What actions make of the controls, and what the goal adds to them in this step of each world, (B, C)."""
        controls = self.actuator.controls(actions)
        for name, goal in self.task.exogenous.items():
            rows = self.goal[goal]
            now = np.minimum(self.elapsed, rows.shape[1] - 1)  # a world whose episode is over waits for its reset
            controls[:, self.world.control_layout[name]] += rows[np.arange(self.batch), now].reshape(self.batch, -1)
        return controls

    def _view(self, world: World, step: int | None = None) -> View:
        """The view after environment step ``step`` of the tape; of the current state by default."""
        count = len(self._actions)
        elapsed = self.elapsed - (0 if step is None else count - step)
        given = [*self._earlier, *self._actions[max(count - 2 if step is None else step - 2, 0) : step]]
        given = [np.zeros((self.batch, self.task.action_size))] * 2 + given
        # worlds may be at different steps; those just reset have had no action
        action, previous = (np.where(elapsed[:, None] >= k, given[-k], 0.0) for k in (1, 2))
        arrays = partial(self._read, world, step=step)
        horizon, goal = self.task.horizon, self.goal
        return View(arrays=arrays, action=action, previous_action=previous, step=elapsed, horizon=horizon, goal=goal)

    def _outcome(self, view: View, diverged: np.ndarray | None = None) -> Outcome:
        task, none = self.task, np.zeros(self.batch, bool)
        parts = [(part.feature.value(view) - part.offset) / part.scale for part in task.observation]
        terms = {term.feature.name: term.weight * term.feature.value(view)[:, 0] for term in task.reward}
        reward = np.sum(list(terms.values()), axis=0)
        measures = {measure.name: measure.value(view)[:, 0] for measure in task.measures}
        score = self._scorer.value(view, self.goal)
        return Outcome(
            np.concatenate(parts, axis=1), reward, terms, score, measures, none if diverged is None else diverged
        )

    # Reverse

    @property
    def recorded_steps(self) -> int:
        """Steps since the reset, or since `begin_window`, that a reverse sweep covers."""
        return len(self._actions) if self.differentiable else 0

    def backward(self, reward_weights: np.ndarray | None, observation_cotangents: np.ndarray | None) -> Gradient:
        """Gradient of ``sum_t w_t r_t + sum_t <o_t, obs_t>`` for each world.

        ``reward_weights`` broadcasts to (B, T) (default ones); ``observation_cotangents`` has shape (B, T + 1, O), row
        0 belongs to the observation of the reset (default zeros).
        """
        steps, batch = self.recorded_steps, self.batch
        weights = np.ones((batch, steps)) if reward_weights is None else reward_weights
        weights = broadcast("reward_weights", weights, (batch, steps), self.world.dtype)
        cotangents = observation_cotangents
        if cotangents is not None:
            shape = (batch, steps + 1, self.observation_size)
            cotangents = broadcast("observation_cotangents", cotangents, shape, self.world.dtype)
        self.backward_stop()
        for t in reversed(range(steps)):
            self.backward_step(weights[:, t], None if cotangents is None else cotangents[:, t + 1])
        return self.backward_end(None if cotangents is None else cotangents[:, 0])

    @_given_up_where_it_diverges
    def backward_step(self, reward_weight: Any, observation_cotangent: Any) -> np.ndarray:
        """Go back one step, last first; gradient with respect to that step's action, shape (B, A).

        Args:
            reward_weight: weight of the step's reward, broadcasts to (B,).
            observation_cotangent: cotangent of the step's observation, broadcasts to (B, O), or None.
        """
        if not self.differentiable:
            raise RuntimeError("this environment records nothing; make it with differentiable=True")
        weight = broadcast("reward_weight", reward_weight, (self.batch,), self.world.dtype)
        observation_cotangent = self._as_cotangent(observation_cotangent)
        if self._sweep is None:
            if self.recorded_steps == 0:
                raise RuntimeError("nothing to differentiate: no step since the last reset")
            self.world.begin_adjoint()
            self.actuator.begin_adjoint(self.recorded_steps)
            self._sweep = _Sweep(self.recorded_steps, np.zeros((self.batch, self.task.action_size)), [])
        sweep = self._sweep
        if sweep.step == 0:
            raise RuntimeError("every step has been gone back; call backward_end()")
        t = sweep.step - 1
        self.world.load_step(t)
        view = self._view(self.world, sweep.step)
        sink = Sink(view)
        for term in self.task.reward:
            term.feature.adjoint(view, (term.weight * weight)[:, None], sink)
        self._add_observation(view, observation_cotangent, sweep.step, sink)
        self._pour(sink, t)
        action_bar = self.actuator.adjoint(t, self.world.step_adjoint(t))
        action_bar = action_bar + sweep.action_bar + sink.cotangents.get("action", 0.0)
        sweep.action_bar = sink.cotangents.get("previous_action", np.zeros_like(action_bar))
        check_gradient(action_bar, "the action", t)
        gradient = np.where(self._inside[t], action_bar, 0.0)
        sweep.actions.append(gradient)
        sweep.step -= 1
        return gradient.copy()

    @_given_up_where_it_diverges
    def backward_end(self, observation_cotangent: Any = None) -> Gradient:
        """Finish the sweep after the first step: ``observation_cotangent`` belongs to the observation of the reset."""
        sweep = self._sweep
        if sweep is None or sweep.step > 0:
            left = self.recorded_steps if sweep is None else sweep.step
            raise RuntimeError(f"{left} steps have not been gone back yet; call backward_step() for each of them first")
        observation_cotangent = self._as_cotangent(observation_cotangent)
        world = self.world
        world.load_initial()
        view = self._view(world, 0)
        sink = Sink(view)
        self._add_observation(view, observation_cotangent, 0, sink)
        self._pour(sink, 0)
        initial_state = self.actuator.initial_adjoint(
            {name: np.array(world.state_adjoint(name)) for name in world.state_names}
        )
        parameters = {name: np.array(world.parameter_adjoint(name)) for name in world.parameter_names}
        for name, design in self.task.designs.items():
            by_particle = parameters[design.parameter]
            groups = [by_particle[:, design.groups == k].sum(axis=1) for k in range(design.count)]
            parameters[name] = np.stack(groups, axis=1)
        for name, bar in (initial_state | parameters).items():
            check_gradient(bar, name, 0)
        world.end_adjoint()
        self._sweep = None
        return Gradient(np.stack(sweep.actions[::-1], axis=1), initial_state, parameters)

    def backward_stop(self) -> None:
        """Give up a sweep under way, if there is one."""
        if self._sweep is not None:
            self.world.end_adjoint()
            self._sweep = None

    def _as_cotangent(self, cotangent: Any) -> np.ndarray | None:
        if cotangent is None:
            return None
        shape = (self.batch, self.observation_size)
        return broadcast("observation_cotangent", cotangent, shape, self.world.dtype)

    def _add_observation(self, view: View, cotangent: Any, step: int, sink: Sink) -> None:
        if cotangent is None:
            return
        within = np.abs(self._observations[step]) <= OBSERVATION_LIMIT  # beyond it the observation is constant
        first = 0
        for part in self.task.observation:
            columns = slice(first, first + part.feature.size)
            part.feature.adjoint(view, cotangent[:, columns] * within[:, columns] / part.scale, sink)
            first = columns.stop

    def _pour(self, sink: Sink, step: int) -> None:
        """Hand the cotangents of state and force to the World."""
        for name, cotangent in sink.cotangents.items():
            with np.errstate(over="ignore"):
                check_gradient(cotangent.astype(self.world.dtype), name, step)
            if name == "effector_force":
                self.world.add_output_adjoint("effector_force", cotangent)
            elif name in self.actuator.state_names:
                self.actuator.add_state_adjoint(name, cotangent)
            elif name not in ("action", "previous_action"):
                self.world.add_state_adjoint(name, cotangent)


@dataclass
class _Sweep:
    """A reverse sweep under way: steps left, cotangent carried to the action before, gradients so far (last first)."""

    step: int
    action_bar: np.ndarray
    actions: list[np.ndarray]
