"""What the methods through the physics have in common: budgets, controllers, the critics' targets, runs that resume."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from pliant.policies.files.training_state import history_from_tree, history_to_tree
from pliant.policies.networks.controllers import Mlp, SinSin, observed_entries
from pliant.policies.through_physics.episodes import Episodes


class Budget(Protocol):
    """Settings that bound a run."""

    steps: int
    minutes: float


class MlpSettings(Protocol):
    """Settings that describe a controller."""

    seed: int
    hidden: int
    layers: int
    activation: Any


class ControllerSettings(MlpSettings, Protocol):
    """Settings that choose between controllers."""

    controller: Any
    waves: int
    cycles: float


def used_share(budget: Budget, simulated_steps: int, seconds: float) -> float:
    """Share of the steps or of the time that is used, whichever is larger; the run is over at 1."""
    by_clock = seconds / (60 * budget.minutes) if budget.minutes else 0.0
    return max(simulated_steps / budget.steps, by_clock)


def make_mlp(observation_size: int, action_size: int, settings: MlpSettings) -> Mlp:
    """The controller that the settings of a training describe."""
    hidden = [settings.hidden] * settings.layers
    return Mlp(observation_size, action_size, hidden=hidden, activation=settings.activation, seed=settings.seed)


def make_controller(env: Any, settings: ControllerSettings) -> Mlp | SinSin:
    """The controller that the settings of a training describe, for a vector environment.

    Raises:
        ValueError: a network of sines is wanted, but the task's observation has no entries named "phase".
    """
    env = env.unwrapped
    sizes = env.single_observation_space.shape[0], env.single_action_space.shape[0]
    if settings.controller == "mlp":
        return make_mlp(*sizes, settings)
    clock = observed_entries(env.task).get("phase")
    if clock is None:
        raise ValueError("controller='sin_sin' needs a task that observes its phase; allowed here: 'mlp'")
    hidden = [settings.hidden] * settings.layers
    return SinSin(*sizes, hidden=hidden, seed=settings.seed, clock=clock, waves=settings.waves, cycles=settings.cycles)


def td_lambda_returns(
    rewards: Sequence[torch.Tensor],
    next_values: Sequence[torch.Tensor],
    ended: Sequence[bool],
    discount: float,
    td_lambda: float,
) -> list[torch.Tensor]:
    """TD(lambda) returns of the steps of a window, backwards from each end: what critics are fitted to.

    R_t = r_t + gamma V(s_{t+1}) where ``ended``, else r_t + gamma ((1 - lambda) V(s_{t+1}) + lambda R_{t+1}).

    Args:
        rewards: r_t, shape (B,) each.
        next_values: V(s_{t+1}), shape (B,) each.
        ended: whether a step is the last one of an episode or of the window; the last one always is.
        discount: gamma.
        td_lambda: lambda, in [0, 1].

    Returns:
        R_t, shape (B,) each.
    """
    returns = list(next_values)
    for t in reversed(range(len(returns))):
        ahead = next_values[t]
        if not ended[t]:
            ahead = (1 - td_lambda) * ahead + td_lambda * returns[t + 1]
        returns[t] = rewards[t] + discount * ahead
    return returns


def load_parts(parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Bring networks and optimisers to where those of a state stood, by name.

    Raises:
        ValueError: they are others.
    """
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"the state does not fit this environment and these settings: {error}") from error


class Run:
    """Where a training stands: what a state of it holds, and what goes on from there.

    Args:
        parts: networks, optimisers and others with ``state_dict`` and ``load_state_dict``, by name.
        generator: of noise and of the order of data.
        episodes: those under way, for methods whose windows cut them.

    Attributes:
        history: the rows so far.
        simulated_steps: forward environment steps of all worlds.
        seconds: time of training [s].
    """

    def __init__(self, parts: Mapping[str, Any], generator: torch.Generator, episodes: Episodes | None = None) -> None:
        self.parts, self.generator, self.episodes = parts, generator, episodes
        self.history: list[dict[str, float]] = []
        self.simulated_steps, self.seconds = 0, 0.0

    def begin(self, state: dict[str, Any] | None) -> None:
        """Start at the beginning, or where a ``state`` stood.

        Raises:
            ValueError: the state is of another run.
        """
        if state is None:
            if self.episodes is not None:
                self.episodes.begin()
            return
        load_parts(self.parts, state)
        self.generator.set_state(state["generator"])
        if self.episodes is not None:
            self.episodes.restore(state["episodes"])
        self.simulated_steps, self.seconds = state["simulated_steps"], state["seconds"]
        self.history = history_from_tree(state["history"])

    def snapshot(self) -> dict[str, Any]:
        """The state at this moment, a copy."""
        tree = {
            **{name: part.state_dict() for name, part in self.parts.items()},
            "generator": self.generator.get_state(),
            "history": history_to_tree(self.history),
            "simulated_steps": self.simulated_steps,
            "seconds": self.seconds,
        }
        if self.episodes is not None:
            tree["episodes"] = self.episodes.to_tree()
        return copy.deepcopy(tree)

    def add(self, steps: int, seconds: float, columns: Mapping[str, float]) -> dict[str, float]:
        """Count an iteration of so many steps of all worlds, gone forward and back, and give its row of the history."""
        self.simulated_steps += steps
        self.seconds += seconds
        row = {
            "iteration": float(len(self.history) + 1),
            "simulated_steps": float(self.simulated_steps),
            "reverse_steps": float(self.simulated_steps),
            "seconds": self.seconds,
            **columns,
        }
        self.history.append(row)
        return row
