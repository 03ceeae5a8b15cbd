"""What the methods through the physics have in common: budgets, controllers, the critics' targets, loading a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from pliant.policies.networks.controllers import Mlp, SinSin, observed_entries


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
