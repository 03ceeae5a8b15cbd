"""Windows of steps through the physics: the policy's gradient and what critics are fitted to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch

from pliant.policies.networks.gaussian import GaussianPolicy
from pliant.policies.settings import check_ranges
from pliant.policies.through_physics.episodes import Episodes
from pliant.policies.torch_bridge import TorchEnv


@dataclass
class ActorCriticSettings:
    """Settings of a training in windows, with one critic or several."""

    steps: int = 100_000
    """Budget of simulated steps, all worlds together; a window is finished once begun."""
    minutes: float = 0.0
    """Budget of training time; 0 is none. Where it is the tighter one, step sizes fall by the clock."""
    seed: int = 0
    """Seed of networks, noise and episodes."""
    horizon: int = 0
    """Steps of an episode; 0 takes the environment's."""
    window: int = 16
    """Steps h that a gradient runs through."""
    discount: float = 0.99
    """Discount factor gamma per step."""
    td_lambda: float = 0.95
    """Mixing factor lambda of the critics' targets: 0 looks one step ahead, 1 to the end of the window."""
    finite_horizon: bool = False
    """Value nothing after the end of an episode. For tasks whose observation tells how much time is left."""
    policy_learning_rate: float = 2e-3
    """Step size of the policy's optimiser."""
    critic_learning_rate: float = 2e-3
    """Step size of the critics' optimiser."""
    schedule: Literal["constant", "linear"] = "linear"
    """How step sizes fall: not at all, or along a line to 1 %."""
    beta1: float = 0.7
    """Decay of Adam's mean of gradients."""
    beta2: float = 0.95
    """Decay of Adam's mean of squared gradients."""
    clip_norm: float = 1.0
    """The policy's (and the critics') gradients longer than this are shortened to it; 0 does not clip."""
    critic_epochs: int = 8
    """Passes of the critics over a window's data."""
    critic_batches: int = 4
    """Batches that a pass is divided into."""
    hidden: int = 64
    """Width of hidden layers, of all networks."""
    layers: int = 2
    """Number of hidden layers."""
    activation: Literal["tanh", "elu", "silu"] = "elu"
    """Their activation."""
    log_std: float = -1.0
    """Logarithm of the standard deviation of the noise at the start."""
    normalize: bool = False
    """Normalise observations by their running mean and standard deviation."""


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


def check_actor_critic(settings: ActorCriticSettings, **own: tuple[float, float]) -> None:
    """Raise ``ValueError`` naming the first field out of range; ``own`` are ranges of the fields that a method adds."""
    ranges: dict[str, tuple[float, float]] = {
        "steps": (1, math.inf),
        "minutes": (0, math.inf),
        "seed": (0, math.inf),
        "horizon": (0, math.inf),
        "window": (1, math.inf),
        "discount": (1e-12, 1),
        "td_lambda": (0, 1),
        "policy_learning_rate": (1e-12, math.inf),
        "critic_learning_rate": (1e-12, math.inf),
        "beta1": (0, 0.9999999),
        "beta2": (0, 0.9999999),
        "clip_norm": (0, math.inf),
        "critic_epochs": (1, math.inf),
        "critic_batches": (1, math.inf),
        "hidden": (1, math.inf),
        "layers": (0, math.inf),
        "log_std": (-5, 2),
    }
    check_ranges(settings, **ranges | own)
