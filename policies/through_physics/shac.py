"""SHAC, the short-horizon actor-critic (Xu et al. 2022, arXiv 2204.07137).

The worlds are played in windows of h steps. The policy follows the gradient, through the physics, of

    1/(B h) sum over worlds of  sum_{t < h} gamma^t r_t + gamma^h V'(s_h)                                   (eq. 5)

with the value V' of a target critic, through which the gradient goes to the state s_h. Windows are short, so gradients
do not explode; the value stands for what comes after. The critic is fitted to TD(lambda) returns of the window, the
target critic follows it slowly.

An episode that ends within a window ends its sum there with gamma^t V'(s_T): the clock has stopped it, not the task.
The next episode begins a new sum in the same window.

``simulated_steps`` counts forward environment steps of all worlds, ``reverse_steps`` those gone back through.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.gaussian import GaussianPolicy, value_network
from pliant.policies.through_physics.critics import fit_critics
from pliant.policies.through_physics.episodes import Episodes
from pliant.policies.through_physics.learning import Run, used_share
from pliant.policies.through_physics.setbacks import FAILURES, Setbacks, clipped_norm
from pliant.policies.through_physics.windows import ActorCriticSettings, check_actor_critic, play_window
from pliant.policies.torch_bridge import TorchEnv


@dataclass
class Settings(ActorCriticSettings):
    """Settings of a training run."""

    target_rate: float = 0.4
    """Share of the way to the critic that the target critic goes after each window."""


def train(
    env: Any,
    settings: Settings,
    *,
    on_iteration: OnIteration | None = None,
    state: dict[str, Any] | None = None,
) -> Result:
    """Train a policy by SHAC.

    Args:
        env: a differentiable vector environment, whose number of worlds is the batch B.
        settings: see ``Settings``.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each window; ``snapshot()`` is a state.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
        SimulationDiverged: episodes diverge however short the steps are.
    """
    check_settings(settings)
    bridge = TorchEnv(env)
    sizes = bridge.observation_size, bridge.action_size
    hidden = [settings.hidden] * settings.layers
    policy = GaussianPolicy(
        *sizes,
        hidden=hidden,
        activation=settings.activation,
        log_std=settings.log_std,
        normalize=settings.normalize,
        seed=settings.seed,
    )
    critic = value_network(sizes[0], hidden, settings.activation, settings.seed + 1)
    target = copy.deepcopy(critic).requires_grad_(False)
    betas = settings.beta1, settings.beta2
    policy_adam = torch.optim.Adam(policy.parameters(), lr=settings.policy_learning_rate, betas=betas)
    critic_adam = torch.optim.Adam(critic.parameters(), lr=settings.critic_learning_rate, betas=betas)
    setbacks = Setbacks(policy.parameters(), policy_adam)
    generator = torch.Generator().manual_seed(settings.seed)
    episodes = Episodes(bridge, settings.seed, settings.horizon)
    parts: dict[str, Any] = {
        "policy": policy,
        "critic": critic,
        "target": target,
        "policy_adam": policy_adam,
        "critic_adam": critic_adam,
        "setbacks": setbacks,
    }
    run = Run(parts, generator, episodes)
    run.begin(state)

    def values(observation: torch.Tensor) -> torch.Tensor:
        return critic(observation)[:, 0]

    def target_values(observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = target(observation)[:, 0]
        return value, value

    while (progress := used_share(settings, run.simulated_steps, run.seconds)) < 1.0:
        began = time.perf_counter()
        rate = 1.0 if settings.schedule == "constant" else 1.0 - 0.99 * progress
        step_size = rate * settings.policy_learning_rate * setbacks.factor
        policy_adam.param_groups[0]["lr"] = step_size
        critic_adam.param_groups[0]["lr"] = rate * settings.critic_learning_rate

        # the policy: one window through the physics
        policy_adam.zero_grad()
        try:
            window = play_window(bridge, policy, episodes, settings, generator, target_values, settings.window)
            norm = clipped_norm(policy.parameters(), settings.clip_norm)
        except FAILURES as failure:
            setbacks.go_back(failure)
            episodes.begin()
            window, norm, critic_loss, reward = None, math.nan, math.nan, math.nan
        if window is not None:
            setbacks.update()
            critic_loss = fit_critics(critic, values, critic_adam, window, policy, settings, generator)
            _follow(target, critic, settings.target_rate)
            reward = float(torch.stack(window.rewards).mean())

        columns = {
            "return": float(episodes.finished_return.mean()),
            "score": float(episodes.finished_score.mean()),
            "reward": reward,
            "gradient_norm": norm,
            "critic_loss": critic_loss,
            "std": float(policy.log_std.detach().exp().mean()),
            "step_size": step_size,
        }
        row = run.add(settings.window * bridge.num_envs, time.perf_counter() - began, columns)
        if on_iteration is not None:
            on_iteration(run.snapshot, policy, row)

    steps = run.simulated_steps
    return Result(policy, run.history, steps, run.seconds, run.snapshot(), reverse_steps=steps)


def _follow(target: torch.nn.Module, critic: torch.nn.Module, rate: float) -> None:
    """Move the target critic the share ``rate`` of its way to the critic."""
    with torch.no_grad():
        for slow, fast in zip(target.parameters(), critic.parameters(), strict=True):
            slow.lerp_(fast, rate)


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_actor_critic(
        settings,
        target_rate=(1e-12, 1),
    )
