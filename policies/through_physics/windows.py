"""Windows of steps through the physics: the policy's gradient and what critics are fitted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from pliant.policies.networks.gaussian import GaussianPolicy
from pliant.policies.through_physics.episodes import Episodes
from pliant.policies.torch_bridge import TorchEnv


@dataclass
class Window:
    """Steps of all B worlds, one entry a step.

    Attributes:
        seen: observations before the step, shape (B, O).
        actions: shape (B, A).
        log_densities: of the actions, shape (B,).
        rewards: of the step, with the bonus, shape (B,).
        next_values: values of the state after it, shape (B,).
        ended: whether it is the last one of an episode or of the window.
        growth: of the state's cotangent where the bridge measures it, shape (B,).
    """

    seen: list[torch.Tensor] = field(default_factory=list)
    actions: list[torch.Tensor] = field(default_factory=list)
    log_densities: list[torch.Tensor] = field(default_factory=list)
    rewards: list[torch.Tensor] = field(default_factory=list)
    next_values: list[torch.Tensor] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    growth: list[np.ndarray] = field(default_factory=list)


class WindowSettings(Protocol):
    """Settings that say what a window is worth."""

    discount: float
    finite_horizon: bool


def play_window(
    bridge: TorchEnv,
    policy: GaussianPolicy,
    episodes: Episodes,
    settings: WindowSettings,
    generator: torch.Generator,
    values: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    steps: int,
    *,
    bonus: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Window:
    """Play one window; leaves in the policy's weights the gradient, through the physics, of

        -1/(B h) sum over worlds of  sum_{t < h} gamma^t r_t + gamma^h V(s_h)

    An episode that ends within the window ends its sum with gamma^t V(s_T), or with nothing where
    ``settings.finite_horizon`` says so, and the next episode begins a new sum.

    Args:
        bridge: B worlds.
        policy: whose actions are drawn.
        episodes: of the bridge.
        settings: discount gamma and end of episodes.
        generator: of the noise.
        values: from normalised observations (B, O) to the values (B,) that end the sums, and to those that critics are
            fitted with.
        steps: h.
        bonus: from the log densities of actions (B,) to what is added to their rewards.
    """
    observation = episodes.observation
    window = Window()
    value, discount = torch.zeros(bridge.num_envs), 1.0
    for t in range(steps):
        window.seen.append(observation.detach().clone())
        action, log_density = policy.sample(observation, generator)
        observation, reward = episodes.step(action)
        if bonus is not None:
            reward = reward + bonus(log_density)
        value = value + discount * reward
        discount *= settings.discount
        last, kept = values(policy.norm(observation))
        if episodes.over and settings.finite_horizon:
            last, kept = 0.0 * last, 0.0 * kept
        window.actions.append(action.detach())
        window.log_densities.append(log_density.detach())
        window.rewards.append(reward.detach().clone())
        window.next_values.append(kept.detach())
        window.ended.append(episodes.over or t + 1 == steps)
        if window.ended[-1]:
            (-(value + discount * last).sum() / (bridge.num_envs * steps)).backward()
            window.growth += bridge.growth[::-1]
            value, discount = torch.zeros(bridge.num_envs), 1.0
            observation = episodes.cut()
    return window
