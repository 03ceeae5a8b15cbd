"""SAPO, soft analytic policy optimisation (Xing et al. 2024, arXiv 2412.12089): SHAC with maximum entropy.

The worlds are played in windows of h steps. The policy follows the gradient, through the physics, of

    1/(B h) sum over worlds of  sum_{t < h} gamma^t (r_t + alpha H_t) + gamma^h V(s_h)

    H_t = (|H_target| - log pi(a_t | s_t)) / (2 |H_target|),   H_target = -A target_entropy

so of reward and entropy, whose share alpha is tuned until the policy's entropy is H_target. What differs from SHAC
besides: two critics and no target networks (TD(lambda) returns are steady enough), of which the smaller value makes the
critics' targets and the mean one ends the policy's window; noise that depends on the observation; AdamW.

Episodes that end within a window are dealt with as in `pliant.policies.through_physics.shac`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.gaussian import GaussianPolicy, value_network
from pliant.policies.through_physics.critics import all_values, fit_critics
from pliant.policies.through_physics.episodes import Episodes
from pliant.policies.through_physics.learning import Run, used_share
from pliant.policies.through_physics.setbacks import FAILURES, Setbacks, clipped_norm
from pliant.policies.through_physics.windows import ActorCriticSettings, check_actor_critic, play_window
from pliant.policies.torch_bridge import TorchEnv


@dataclass
class Settings(ActorCriticSettings):
    """Settings of a training run."""

    entropy_learning_rate: float = 5e-3
    """Step size of Adam on log alpha."""
    weight_decay: float = 0.01
    """Decay of weights a step, in units of the step size (AdamW)."""
    clip_norm: float = 0.5
    """The policy's (and the critics') gradients longer than this are shortened to it; 0 does not clip."""
    target_entropy: float = 0.5
    """Wanted entropy of the actions: minus this, times their number."""
    initial_alpha: float = 0.1
    """Weight alpha of the entropy at the start."""
    activation: Literal["tanh", "elu", "silu"] = "silu"
    """Their activation."""


def train(
    env: Any,
    settings: Settings,
    *,
    on_iteration: OnIteration | None = None,
    state: dict[str, Any] | None = None,
) -> Result:
    """Train a policy by SAPO.

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
        state_dependent_std=True,
        normalize=settings.normalize,
        seed=settings.seed,
    )
    critics = torch.nn.ModuleList(
        value_network(sizes[0], hidden, settings.activation, settings.seed + 1 + k) for k in range(2)
    )
    log_alpha = torch.nn.ParameterDict({"value": torch.nn.Parameter(torch.tensor(math.log(settings.initial_alpha)))})
    options: dict[str, Any] = {
        "betas": (settings.beta1, settings.beta2),
        "weight_decay": settings.weight_decay,
    }
    policy_adam = torch.optim.AdamW(policy.parameters(), lr=settings.policy_learning_rate, **options)
    critic_adam = torch.optim.AdamW(critics.parameters(), lr=settings.critic_learning_rate, **options)
    alpha_adam = torch.optim.Adam(log_alpha.parameters(), lr=settings.entropy_learning_rate, betas=options["betas"])
    setbacks = Setbacks(policy.parameters(), policy_adam)
    generator = torch.Generator().manual_seed(settings.seed)
    episodes = Episodes(bridge, settings.seed, settings.horizon)
    wanted_entropy = settings.target_entropy * bridge.action_size  # minus H_target
    parts: dict[str, Any] = {
        "policy": policy,
        "critics": critics,
        "log_alpha": log_alpha,
        "policy_adam": policy_adam,
        "critic_adam": critic_adam,
        "alpha_adam": alpha_adam,
        "setbacks": setbacks,
    }
    run = Run(parts, generator, episodes)
    run.begin(state)
    values = partial(all_values, critics)

    def mean_and_least(observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = values(observation)
        return both.mean(0), both.min(0).values

    while (progress := used_share(settings, run.simulated_steps, run.seconds)) < 1.0:
        began = time.perf_counter()
        rate = 1.0 if settings.schedule == "constant" else 1.0 - 0.99 * progress
        step_size = rate * settings.policy_learning_rate * setbacks.factor
        policy_adam.param_groups[0]["lr"] = step_size
        critic_adam.param_groups[0]["lr"] = rate * settings.critic_learning_rate
        alpha = float(log_alpha["value"].detach().exp())

        def bonus(log_density: torch.Tensor, alpha: float = alpha) -> torch.Tensor:
            return alpha * (wanted_entropy - log_density) / (2 * wanted_entropy)

        # the policy: one window through the physics and the mean critic
        policy_adam.zero_grad()
        critics.requires_grad_(False)
        try:
            window = play_window(
                bridge, policy, episodes, settings, generator, mean_and_least, settings.window, bonus=bonus
            )
            norm = clipped_norm(policy.parameters(), settings.clip_norm)
        except FAILURES as failure:
            setbacks.go_back(failure)
            episodes.begin()
            window, norm, critic_loss, reward, entropy = None, math.nan, math.nan, math.nan, math.nan
        if window is not None:
            setbacks.update()
            # the weight of the entropy: up where the entropy is too small
            entropy = -float(torch.stack(window.log_densities).mean())
            alpha_adam.zero_grad()
            (log_alpha["value"].exp() * (entropy + wanted_entropy)).backward()
            alpha_adam.step()
            critics.requires_grad_(True)
            critic_loss = fit_critics(critics, values, critic_adam, window, policy, settings, generator)
            reward = float(torch.stack(window.rewards).mean())

        columns = {
            "return": float(episodes.finished_return.mean()),
            "score": float(episodes.finished_score.mean()),
            "reward": reward,
            "gradient_norm": norm,
            "critic_loss": critic_loss,
            "entropy": entropy,
            "alpha": alpha,
            "step_size": step_size,
        }
        row = run.add(settings.window * bridge.num_envs, time.perf_counter() - began, columns)
        if on_iteration is not None:
            on_iteration(run.snapshot, policy, row)

    steps = run.simulated_steps
    return Result(policy, run.history, steps, run.seconds, run.snapshot(), reverse_steps=steps)


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_actor_critic(
        settings,
        entropy_learning_rate=(0, math.inf),
        weight_decay=(0, math.inf),
        target_entropy=(1e-6, math.inf),
        initial_alpha=(1e-12, math.inf),
    )
