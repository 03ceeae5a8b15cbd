"""A batch of worlds doing one task, stepped forward; everything of an environment that is not Gymnasium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pliant.envs.actuation import make_actuator
from pliant.envs.checks import broadcast, check_actions, check_within
from pliant.envs.features.words import View
from pliant.envs.options import Options
from pliant.envs.outcomes import Outcome
from pliant.envs.parameters import Parameters
from pliant.envs.scoring import Scorer
from pliant.envs.tape import Tape
from pliant.envs.task import Task
from pliant.envs.timing import timed
from pliant.sims.inputs import shown
from pliant.sims.world import World


class Rollout:
    """B worlds of one task, stepped together.

    Args:
        task: the task.
        batch: B.
        options: how they are simulated, and what is overridden.

    Attributes:
        world: the simulation.
        actuator: what makes its controls of actions.
        parameters: physical and design parameters.
        scorer: what measures success.
        tape: what is recorded of the steps, and the reverse sweep.
        seconds: wall time of resets and steps [s].
        elapsed: environment steps since the reset of each world, shape (B,).
        goal: the goal's arrays by name, shape (B, ...) each; empty before the first reset.
    """

    def __init__(self, task: Task, *, batch: int, options: Options | None = None) -> None:
        options = options or Options()
        self.task, self.batch, self.differentiable = task, batch, options.differentiable
        self.world = World(
            task.scene,
            batch=batch,
            substeps=task.substeps[task.resolution],
            dt=task.dt,
            device=options.device,
            precision=options.precision,
            soft_contact=options.soft_contact,
            differentiable=options.differentiable,
            memory=options.memory,
            horizon=task.horizon,
        )
        self.actuator = make_actuator(task, self.world)
        self.parameters = Parameters(task, self.world)
        self.scorer = Scorer(task.score, batch)
        self.tape = Tape(task, self.world, self.actuator, self.parameters, self.view)
        self.observation_size = self.tape.observation_size
        self.seconds = 0.0
        self.elapsed = np.zeros(batch, int)
        self.goal: dict[str, np.ndarray] = {}
        self._goal_pattern: dict[str, np.ndarray] = {}
        for name, value in (options.parameters or {}).items():
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
        return self._read(name)

    def _read(self, name: str, step: int | None = None) -> np.ndarray:
        """An array that features read, of the state that the World shows: that after ``step`` of the recording."""
        if name in self.world.output_names:
            return self.world.output(name)
        if name == "active":
            return self.world.derived("active")
        return self.actuator.state(name, step) if name in self.actuator.state_names else self.world.state(name)

    def view(self, step: int | None = None) -> View:
        """What features see now, or, while the World shows it in a reverse sweep, after ``step`` of the recording."""
        elapsed = self.elapsed - (0 if step is None else self.tape.recorded_steps - step)
        previous, action = self.tape.recent_actions(step)
        return View(
            arrays=partial(self._read, step=step),
            # worlds may be at different steps; those just reset have had no action
            action=np.where(elapsed[:, None] >= 1, action, 0.0),
            previous_action=np.where(elapsed[:, None] >= 2, previous, 0.0),
            step=elapsed,
            horizon=self.task.horizon,
            goal=self.goal,
        )

    # Parameters

    def set_parameter(self, name: str, value: Any) -> None:
        """Replace the values of all worlds; anything that broadcasts to the shape of ``parameters.value(name)``.

        Ends a recorded episode: reset before the next step.
        """
        self.parameters.check_name(name)
        self.parameters.check({name: value}, np.ones(self.batch, bool))
        self.tape.backward_stop()
        if self.tape.recorded_steps:
            self.world.reset()
            self.tape.clear()
        self.parameters.set(name, value)

    # Episodes

    @timed
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
        goals, starts, drawn = self._draw_episodes(rngs, mask)
        changed = drawn | dict(parameters or {})
        self.parameters.check(changed, mask)
        self.tape.backward_stop()
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
            self.tape.clear()
        view = self.view()
        self.scorer.reset(view, mask)
        return self._outcome(view)

    def check_reset(self, worlds: np.ndarray, state: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        """Raise the ``ValueError`` with which `reset` would refuse these arguments; changes nothing."""
        if not worlds.all() and self.differentiable:
            raise ValueError("reset_mask must hold for every world when differentiable=True: one tape serves the batch")
        for name, value in state.items():
            if not isinstance(name, str) or name not in self.state_names:
                raise ValueError(f"state {shown(name)} is unknown; allowed: {', '.join(self.state_names)}")
            values = self._as_state(name, value)
            self.actuator.check_state(name, values, worlds)
            check_within(name, values[worlds], self.task.state_bounds.get(name))
        self.parameters.check(parameters, worlds)

    def goal_pattern(self) -> dict[str, np.ndarray]:
        """Arrays (1 or B, ...) of the names and shapes that goals have."""
        if not self.goal and not self._goal_pattern:
            goal, _ = self.task.make_episode(np.random.default_rng(0))
            self._goal_pattern = {name: np.asarray(value, np.float64)[None] for name, value in goal.items()}
        return self.goal or self._goal_pattern

    def _as_state(self, name: str, value: Any) -> np.ndarray:
        return broadcast(f"state {name!r}", value, self.state(name).shape, self.world.dtype)

    def _draw_episodes(
        self, rngs: Sequence[np.random.Generator], worlds: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Goals, initial states and parameters of new episodes in the worlds of the mask, by name, (B, ...) each."""
        goals: dict[str, np.ndarray] = {}
        starts: dict[str, np.ndarray] = {}
        parameters: dict[str, np.ndarray] = {}
        for b in np.flatnonzero(worlds).tolist():
            goal, start = self.task.make_episode(rngs[b])
            own = {
                name: broadcast(f"parameter {name!r}", value, self.parameters.value(name).shape[1:])
                for name, value in self.task.make_parameters(rngs[b]).items()
            }
            for drawn, tables in ((goal, goals), (start, starts), (own, parameters)):
                for name, value in drawn.items():
                    if name not in tables:
                        tables[name] = np.repeat(np.asarray(value, np.float64)[None], self.batch, axis=0)
                    tables[name][b] = value
        return goals, starts, parameters

    def begin_window(self) -> None:
        """Forget what is recorded and record on from the current state, within the same episode."""
        self.tape.check_records()
        self.tape.backward_stop()
        self.world.begin_window()
        self.actuator.begin_window()
        self.tape.begin_window()

    def resume(
        self,
        *,
        state: np.ndarray,
        outputs: np.ndarray,
        actuator: Mapping[str, np.ndarray],
        parameters: Mapping[str, np.ndarray],
        goal: dict[str, np.ndarray],
        score: Mapping[str, np.ndarray],
        elapsed: np.ndarray,
        recent_actions: Sequence[np.ndarray],
    ) -> Outcome:
        """Go on within episodes of all worlds from arrays (B, ...) that fit; nothing is recorded of them yet.

        Args:
            state, outputs: of `World.snapshot`.
            actuator: the actuator's states.
            parameters: values of the World's parameters in these episodes.
            goal: the goal's arrays.
            score: of `Scorer.snapshot`.
            elapsed: environment steps since the reset.
            recent_actions: the last two, (B, A) each, the latest last.
        """
        self.tape.backward_stop()
        self.world.restore(state, outputs)
        self.parameters.begin(parameters, np.ones(self.batch, bool))
        self.actuator.restore(actuator)
        self.goal, self.elapsed = goal, elapsed
        self.tape.clear(recent_actions)
        self.scorer.restore(score)
        return self._outcome(self.view())

    # Steps

    @timed
    def step(self, actions: np.ndarray, *, may_fail: np.ndarray | None = None) -> Outcome:
        """One environment step of all worlds; ``actions`` of shape (B, A), clipped to [-1, 1].

        In worlds of the mask ``may_fail``, shape (B,), a divergence is no error: such a world stands still in this
        step, and the outcome says so. Not while steps are recorded.

        Raises:
            ValueError: wrong shape or not finite.
            SimulationDiverged: a state is no longer finite, a particle has left the domain, a body is torn or has
                collapsed. All worlds are where they were before this step.
        """
        self.tape.check_no_sweep()
        actions = check_actions(actions, (self.batch, self.task.action_size))
        clipped = np.clip(actions, -1.0, 1.0)
        failed = self._advance(clipped, may_fail)
        self.elapsed += 1
        self.tape.add_action(actions, clipped)
        return self._outcome(self.view(), failed)

    def _advance(self, actions: np.ndarray, may_fail: np.ndarray | None) -> np.ndarray:
        """Step the worlds; where that fails, the actuator is left as it was, like the World; who failed, (B,)."""
        before = {name: self.actuator.state(name) for name in self.actuator.state_names}
        try:
            failed = self.world.step(self._controls(actions), may_fail=may_fail)
        except Exception:
            self.actuator.take_back(before, self.tape.recorded_steps)
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

    def _outcome(self, view: View, diverged: np.ndarray | None = None) -> Outcome:
        """What the task makes of the present; its observation goes onto the tape."""
        task = self.task
        parts = [(part.feature.value(view) - part.offset) / part.scale for part in task.observation]
        terms = {term.feature.name: term.weight * term.feature.value(view)[:, 0] for term in task.reward}
        outcome = Outcome(
            observation=np.concatenate(parts, axis=1),
            reward=np.sum(list(terms.values()), axis=0),
            terms=terms,
            score=self.scorer.value(view, self.goal),
            measures={measure.name: measure.value(view)[:, 0] for measure in task.measures},
            diverged=np.zeros(self.batch, bool) if diverged is None else diverged,
        )
        self.tape.add_observation(outcome.observation)
        return outcome
