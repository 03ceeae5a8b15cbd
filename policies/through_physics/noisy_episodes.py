"""Noisy episodes, the two orders of gradients that they give, and the training on any mixture of them.

Actions are those of the policy plus noise, a_t = pi(o_t) + w_t with w_t ~ N(0, sigma^2). Each of B episodes has a
sample of the gradient of the expected return in two ways, both of the form

    g = sum over t of  (d pi(o_t) / d weights)^T c_t

- first order (FoBG): c_t = dR/da_t, through the physics and the rest of the closed loop;
- zeroth order (ZoBG): c_t = w_t (R_t - b_t) / sigma^2, with the return R_t from step t on and as baseline b_t its mean
  over the other episodes with the same seed (it needs no gradient of the physics).

Names as in Suh et al. 2022 (arXiv 2202.00817).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from pliant.policies.methods import OnIteration, Result
from pliant.policies.mixture import advantages
from pliant.policies.settings import check_ranges, half_cosine
from pliant.policies.through_physics.learning import Run, make_mlp, used_share
from pliant.policies.through_physics.setbacks import FAILURES, Setbacks, clipped_norm
from pliant.policies.torch_bridge import TorchEnv


@dataclass
class NoisySettings:
    """Settings of a training run on noisy episodes."""

    steps: int = 100_000
    """Budget of simulated steps, all worlds together; an iteration is finished once begun."""
    minutes: float = 0.0
    """Budget of training time; 0 is none. Where it is the tighter one, the step size falls by the clock."""
    seed: int = 0
    """Seed of weights, noise and episodes."""
    horizon: int = 0
    """Steps of an episode; 0 takes the environment's."""
    samples: int = 4
    """Episodes that share a seed and differ in their noise, at least 2; they divide the number of worlds."""
    sigma: float = 0.1
    """Standard deviation of the noise on each action."""
    discount: float = 1.0
    """Discount factor per step."""
    learning_rate: float = 5e-3
    """Step size of Adam."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the step size falls: not at all, or along half a cosine to 1 %."""
    beta1: float = 0.9
    """Decay of Adam's mean of gradients."""
    beta2: float = 0.95
    """Decay of Adam's mean of squared gradients."""
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it before Adam sees them; 0 does not clip."""
    hidden: int = 64
    """Width of the policy's hidden layers."""
    layers: int = 2
    """Number of its hidden layers."""
    activation: Literal["tanh", "elu", "silu"] = "elu"
    """Its activation."""


@dataclass
class NoisyEpisodes:
    """What B episodes of T steps give.

    Attributes:
        observations: what the actions came from, shape (T, B, O), without grad.
        first, zeroth: c_t of both orders, shape (T, B, A).
        returns: discounted, shape (B,).
        scores: shape (B,).
    """

    observations: torch.Tensor
    first: torch.Tensor
    zeroth: torch.Tensor
    returns: torch.Tensor
    scores: np.ndarray


@dataclass
class Estimate:
    """Two estimates of a gradient and their mixture, each of shape (P,).

    Attributes:
        first, zeroth, mixed: means over the episodes, and their mixture.
        alpha: weight of the first order in the mixture, a mean where there are several.
        first_variance, zeroth_variance: empirical variances of one episode's sample; the method says of what.
    """

    first: torch.Tensor
    zeroth: torch.Tensor
    mixed: torch.Tensor
    alpha: float
    first_variance: float
    zeroth_variance: float


FAILED = Estimate(*3 * (torch.zeros(0),), *3 * (math.nan,))
"""Of episodes that diverged."""

Given = TypeVar("Given", bound=NoisySettings)


def play_noisy_episodes(
    bridge: TorchEnv, policy: Any, seeds: list[int], horizon: int, settings: NoisySettings, generator: torch.Generator
) -> NoisyEpisodes:
    """Play one noisy episode in each world and go back through it.

    Args:
        bridge: B worlds.
        policy: from observations (B, O) to actions (B, A).
        seeds: of the worlds, shape (B,); runs of ``settings.samples`` equal ones.
        horizon: steps T of the episodes.
        settings: samples, sigma and discount.
        generator: of the noise.
    """
    observation = bridge.reset(seeds)
    observations, actions, noises, rewards = [], [], [], []
    for t in range(horizon):
        observations.append(observation)
        noise = settings.sigma * torch.randn(
            (bridge.num_envs, bridge.action_size), generator=generator, dtype=observation.dtype
        )
        actions.append(policy(observation) + noise)
        observation, reward, info = bridge.step(actions[-1])
        noises.append(noise)
        rewards.append(settings.discount**t * reward)
    by_step = torch.stack([reward.detach().clone() for reward in rewards])  # (T, B)
    first = torch.stack(torch.autograd.grad(torch.stack(rewards).sum(), actions))

    zeroth = torch.stack(noises) * advantages(by_step, settings.samples)[:, :, None] / settings.sigma**2
    seen = torch.stack([row.detach() for row in observations])
    return NoisyEpisodes(seen, first, zeroth, by_step.sum(0), np.asarray(info["score"]))


def train_on_noisy_episodes(
    check_settings: Callable[[Given], None],
    estimate_gradient: Callable[[NoisyEpisodes, Any, Given], Estimate],
    env: Any,
    settings: Given,
    /,
    *,
    policy: Any = None,
    on_iteration: OnIteration | None = None,
    state: dict[str, Any] | None = None,
) -> Result:
    """Train a policy along a mixture of both orders.

    Args:
        check_settings: raises ``ValueError`` where a setting is out of range.
        estimate_gradient: from episodes, the policy and the settings to the gradient to follow.
        env: a differentiable vector environment, whose number of worlds is the number of samples N.
        settings: see ``NoisySettings`` and the method's own.
        policy: a module from observations (B, O) to actions (B, A); None makes an ``Mlp``. It is changed in place.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each iteration; ``snapshot()`` is a state.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.

    Raises:
        ValueError: a setting is out of range, or the number of worlds or the state does not fit.
        SimulationDiverged: episodes diverge however short the steps are.
    """
    check_settings(settings)
    bridge = TorchEnv(env)
    if bridge.num_envs % settings.samples:
        raise ValueError(f"samples={settings.samples} must divide the number of worlds, {bridge.num_envs}")
    if policy is None:
        policy = make_mlp(bridge.observation_size, bridge.action_size, settings)
    weights = list(policy.parameters())
    bridge = TorchEnv(env, dtype=weights[0].dtype)
    horizon = min(settings.horizon or bridge.horizon, bridge.horizon)
    adam = torch.optim.Adam(weights, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))
    setbacks = Setbacks(weights, adam)
    generator = torch.Generator().manual_seed(settings.seed)
    goals = bridge.num_envs // settings.samples
    run = Run({"policy": policy, "adam": adam, "setbacks": setbacks}, generator)
    run.begin(state)

    while (progress := used_share(settings, run.simulated_steps, run.seconds)) < 1.0:
        began = time.perf_counter()
        falling = 1.0 if settings.schedule == "constant" else half_cosine(progress)
        step_size = settings.learning_rate * falling * setbacks.factor
        adam.param_groups[0]["lr"] = step_size
        first = settings.seed + len(run.history) * goals
        seeds = np.repeat(np.arange(first, first + goals), settings.samples).tolist()
        try:
            episodes = play_noisy_episodes(bridge, policy, seeds, horizon, settings, generator)
            estimate = estimate_gradient(episodes, policy, settings)
            at = 0
            for weight in weights:
                weight.grad = -estimate.mixed[at : at + weight.numel()].reshape(weight.shape)
                at += weight.numel()
            norm = clipped_norm(weights, settings.clip_norm)
            setbacks.update()
            value, score = float(episodes.returns.mean()), float(np.mean(episodes.scores))
        except FAILURES as failure:
            setbacks.go_back(failure)
            estimate, norm, value, score = FAILED, math.nan, math.nan, math.nan

        columns = {
            "return": value,
            "score": score,
            "gradient_norm": norm,
            "alpha": estimate.alpha,
            "first_variance": estimate.first_variance,
            "zeroth_variance": estimate.zeroth_variance,
            "step_size": step_size,
        }
        row = run.add(horizon * bridge.num_envs, time.perf_counter() - began, columns)
        if on_iteration is not None:
            on_iteration(run.snapshot, policy, row)

    steps = run.simulated_steps
    return Result(policy, run.history, steps, run.seconds, run.snapshot(), reverse_steps=steps)


def check_noisy_settings(settings: NoisySettings, **ranges: tuple[float, float]) -> None:
    """Raise ``ValueError`` naming the first field out of range; ``ranges`` are of the fields that a method adds."""
    check_ranges(
        settings,
        steps=(1, math.inf),
        minutes=(0, math.inf),
        seed=(0, math.inf),
        horizon=(0, math.inf),
        samples=(2, math.inf),
        sigma=(1e-12, math.inf),
        discount=(1e-12, 1),
        learning_rate=(1e-12, math.inf),
        beta1=(0, 0.9999999),
        beta2=(0, 0.9999999),
        clip_norm=(0, math.inf),
        hidden=(1, math.inf),
        layers=(0, math.inf),
        **ranges,
    )
