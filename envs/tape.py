"""The tape of an episode: what steps leave behind for the reverse sweep, and the sweep itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any
from weakref import WeakMethod

import numpy as np

from pliant.envs.actuators import Actuator
from pliant.envs.checks import broadcast
from pliant.envs.features.words import Sink, View
from pliant.envs.outcomes import OBSERVATION_LIMIT, Gradient
from pliant.envs.parameters import Parameters
from pliant.envs.task import Task
from pliant.sims.checks import check_gradient
from pliant.sims.failures import SimulationDiverged
from pliant.sims.world import World


def _stops_where_it_diverges(part_of_sweep: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a `Tape` that ends the reverse sweep if a gradient overflows; the worlds show their latest state."""

    @wraps(part_of_sweep)
    def call(self: Tape, *args: Any) -> Any:
        try:
            return part_of_sweep(self, *args)
        except SimulationDiverged:
            self.backward_stop()
            raise

    return call


class Tape:
    """The recording of B worlds, in one piece: from a reset, a snapshot or `begin_window` to the present.

    The World and the actuator record their own states. A tape that does not record keeps only the last two actions,
    which features and snapshots read.

    Args:
        task, world, actuator, parameters: those of the rollout.
        view: the rollout's method that gives the view after environment step t of the recording; 0 is its start.
    """

    def __init__(
        self, task: Task, world: World, actuator: Actuator, parameters: Parameters, view: Callable[[int], View]
    ) -> None:
        self.records = world.differentiable
        self.observation_size = sum(part.feature.size for part in task.observation)
        self._task, self._world, self._actuator, self._parameters = task, world, actuator, parameters
        self._view_method = WeakMethod(view)  # with a circle of references, memory would wait for the collector
        self._none = np.zeros((world.batch, task.action_size))
        self._earlier: list[np.ndarray] = []  # the last actions before the recording, where it began within an episode
        self._actions: list[np.ndarray] = []  # of each step, clipped, (B, A)
        self._inside: list[np.ndarray] = []  # whether the action as given lay in [-1, 1], (B, A)
        self._observations: list[np.ndarray] = []  # at the start and after each step, not clipped, (B, O)
        self._sweep: _Sweep | None = None

    # Recording

    @property
    def recorded_steps(self) -> int:
        """Number of steps that a reverse sweep goes back over."""
        return len(self._actions) if self.records else 0

    def check_records(self) -> None:
        """Raise ``RuntimeError`` unless steps are recorded."""
        if not self.records:
            raise RuntimeError("this environment records nothing; make it with differentiable=True")

    def check_no_sweep(self) -> None:
        """Raise ``RuntimeError`` while a reverse sweep is under way."""
        if self._sweep is not None:
            raise RuntimeError("a backward sweep is under way; finish it with backward_end(), or reset")

    def clear(self, earlier: Sequence[np.ndarray] = ()) -> None:
        """Empty the tape; ``earlier`` are the last two actions before the new start, (B, A) each, if there are any."""
        self._earlier, self._actions, self._inside, self._observations = list(earlier), [], [], []

    def begin_window(self) -> None:
        """Forget the steps, and record on from the present."""
        self._earlier = [*self._earlier, *self._actions][-2:]
        self._actions, self._inside, self._observations = [], [], self._observations[-1:]

    def add_action(self, given: np.ndarray, clipped: np.ndarray) -> None:
        """Keep the actions of a step, (B, A), as the caller gave them and as they were taken."""
        self._actions.append(clipped)
        if self.records:
            self._inside.append(clipped == given)
        else:
            del self._actions[:-2]

    def add_observation(self, observation: np.ndarray) -> None:
        """Keep the observation of the start, or that of the step just added, (B, O)."""
        if self.records:
            self._observations.append(observation)

    def recent_actions(self, step: int | None = None) -> list[np.ndarray]:
        """The last two actions before the end of step ``step``, (B, A) each, the latest last; by default of all.

        Zeros stand where nothing is known of an action. A world that was reset by itself still has the actions of its
        earlier episode here.
        """
        stop = len(self._actions) if step is None else step
        return [self._none, self._none, *self._earlier, *self._actions[max(stop - 2, 0) : stop]][-2:]

    # Reverse

    def backward(self, reward_weights: np.ndarray | None, observation_cotangents: np.ndarray | None) -> Gradient:
        """Gradient of ``sum_t w_t r_t + sum_t <o_t, obs_t>`` for each world.

        ``reward_weights`` broadcasts to (B, T) (default ones); ``observation_cotangents`` has shape (B, T + 1, O), row
        0 belongs to the observation of the reset (default zeros).
        """
        steps, batch = self.recorded_steps, self._world.batch
        weights = np.ones((batch, steps)) if reward_weights is None else reward_weights
        weights = broadcast("reward_weights", weights, (batch, steps), self._world.dtype)
        cotangents = observation_cotangents
        if cotangents is not None:
            shape = (batch, steps + 1, self.observation_size)
            cotangents = broadcast("observation_cotangents", cotangents, shape, self._world.dtype)
        self.backward_stop()
        for t in reversed(range(steps)):
            self.backward_step(weights[:, t], None if cotangents is None else cotangents[:, t + 1])
        return self.backward_end(None if cotangents is None else cotangents[:, 0])

    @_stops_where_it_diverges
    def backward_step(self, reward_weight: Any, observation_cotangent: Any) -> np.ndarray:
        """Go back one step, last first; gradient with respect to that step's action, shape (B, A).

        Args:
            reward_weight: weight of the step's reward, broadcasts to (B,).
            observation_cotangent: cotangent of the step's observation, broadcasts to (B, O), or None.
        """
        self.check_records()
        weight = broadcast("reward_weight", reward_weight, (self._world.batch,), self._world.dtype)
        observation_cotangent = self._as_cotangent(observation_cotangent)
        if self._sweep is None:
            if self.recorded_steps == 0:
                raise RuntimeError("nothing to differentiate: no step since the last reset")
            self._world.begin_adjoint()
            self._actuator.begin_adjoint(self.recorded_steps)
            self._sweep = _Sweep(self.recorded_steps, np.zeros_like(self._none), [])
        sweep = self._sweep
        if sweep.steps_left == 0:
            raise RuntimeError("every step has been gone back; call backward_end()")
        t = sweep.steps_left - 1
        self._world.load_step(t)
        view = self._view(t + 1)
        sink = Sink(view)
        for term in self._task.reward:
            term.feature.adjoint(view, (term.weight * weight)[:, None], sink)
        self._add_observation_adjoint(view, observation_cotangent, t + 1, sink)
        self._hand_on(sink, t)
        action_bar = self._actuator.adjoint(t, self._world.step_adjoint(t))
        action_bar = action_bar + sweep.action_bar + sink.cotangents.get("action", 0.0)
        sweep.action_bar = sink.cotangents.get("previous_action", np.zeros_like(action_bar))
        check_gradient(action_bar, "the action", t)
        gradient = np.where(self._inside[t], action_bar, 0.0)
        sweep.gradients.append(gradient)
        sweep.steps_left -= 1
        return gradient.copy()

    @_stops_where_it_diverges
    def backward_end(self, observation_cotangent: Any = None) -> Gradient:
        """Finish the sweep after the first step: ``observation_cotangent`` belongs to the observation of the reset."""
        sweep = self._sweep
        if sweep is None or sweep.steps_left > 0:
            left = self.recorded_steps if sweep is None else sweep.steps_left
            raise RuntimeError(f"{left} steps have not been gone back yet; call backward_step() for each of them first")
        observation_cotangent = self._as_cotangent(observation_cotangent)
        world = self._world
        world.load_initial()
        view = self._view(0)
        sink = Sink(view)
        self._add_observation_adjoint(view, observation_cotangent, 0, sink)
        self._hand_on(sink, 0)
        initial_state = self._actuator.initial_adjoint(
            {name: np.array(world.state_adjoint(name)) for name in world.state_names}
        )
        parameters = self._parameters.adjoint()
        for name, bar in (initial_state | parameters).items():
            check_gradient(bar, name, 0)
        world.end_adjoint()
        self._sweep = None
        return Gradient(np.stack(sweep.gradients[::-1], axis=1), initial_state, parameters)

    def backward_stop(self) -> None:
        """Give up a sweep under way, if there is one."""
        if self._sweep is not None:
            self._world.end_adjoint()
            self._sweep = None

    def _view(self, step: int) -> View:
        view = self._view_method()
        assert view is not None  # whoever has the tape has it from the rollout
        return view(step)

    def _as_cotangent(self, cotangent: Any) -> np.ndarray | None:
        if cotangent is None:
            return None
        shape = (self._world.batch, self.observation_size)
        return broadcast("observation_cotangent", cotangent, shape, self._world.dtype)

    def _add_observation_adjoint(self, view: View, cotangent: Any, row: int, sink: Sink) -> None:
        """Pull the cotangent of observation number ``row`` of the recording back to the arrays of the view."""
        if cotangent is None:
            return
        within = np.abs(self._observations[row]) <= OBSERVATION_LIMIT  # beyond it the observation is constant
        first = 0
        for part in self._task.observation:
            columns = slice(first, first + part.feature.size)
            part.feature.adjoint(view, cotangent[:, columns] * within[:, columns] / part.scale, sink)
            first = columns.stop

    def _hand_on(self, sink: Sink, step: int) -> None:
        """Give the cotangents in the sink to those whose arrays they are of, the World and the actuator."""
        for name, cotangent in sink.cotangents.items():
            with np.errstate(over="ignore"):
                check_gradient(cotangent.astype(self._world.dtype), name, step)
            if name in self._world.output_names:
                self._world.add_output_adjoint(name, cotangent)
            elif name in self._actuator.state_names:
                self._actuator.add_state_adjoint(name, cotangent)
            elif name not in ("action", "previous_action"):
                self._world.add_state_adjoint(name, cotangent)


@dataclass
class _Sweep:
    """A reverse sweep under way.

    Attributes:
        steps_left: steps that have not been gone back yet.
        action_bar: cotangent of the action of the next one, from the step after it, (B, A).
        gradients: with respect to the actions of the steps gone back, the last step first, (B, A) each.
    """

    steps_left: int
    action_bar: np.ndarray
    gradients: list[np.ndarray]
