"""Zeroth-order, first-order and mixed policy gradients (Suh et al. 2022, arXiv 2202.00817).

Actions are those of the policy plus noise, a_t = pi(o_t) + w_t with w_t ~ N(0, sigma^2). The gradient of the expected
return is estimated from N = B episodes in two ways; each episode's sample has the form

    g = sum over t of  (d pi(o_t) / d weights)^T c_t

- first order (FoBG): c_t = dR/da_t, through the physics and the rest of the closed loop;
- zeroth order (ZoBG): c_t = w_t (R_t - b_t) / sigma^2, with the return R_t from step t on and as baseline b_t its mean
  over the other episodes with the same seed (it needs no gradient of the physics).

The mixture (AoBG) is alpha FoBG + (1 - alpha) ZoBG with the empirical variances v1, v0 of the two (eq. 8, 9)

    alpha = v0 / (v0 + v1),   lowered to  (tolerance - eps) / ||FoBG - ZoBG||  where it is above it.

Physics that jumps biases the first order while its variance may stay small; the second rule bounds that bias by
``tolerance`` with probability 1 - delta, eps being the error of the zeroth order with that confidence.

``simulated_steps`` counts forward environment steps of all worlds, ``reverse_steps`` those gone back through.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from pliant.policies.files.training_state import history_from_tree, history_to_tree
from pliant.policies.methods import OnIteration, Result
from pliant.policies.mixture import advantages, mixing_weight, sample_variance
from pliant.policies.settings import check_ranges, half_cosine
from pliant.policies.through_physics.learning import load_parts, make_mlp, used_share
from pliant.policies.through_physics.setbacks import FAILURES, Setbacks, clipped_norm
from pliant.policies.torch_bridge import TorchEnv


@dataclass
class Settings:
    """Settings of a training run."""

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
    alpha: float = -1.0
    """Weight of the first-order gradient in [0, 1]; -1 chooses it from the variances."""
    tolerance: float = 0.0
    """With alpha = -1: bound on the bias of the mixture (norm of the gradient); 0 does not bound it."""
    delta: float = 0.05
    """Probability with which the bound may be broken."""
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
class Estimate:
    """Two estimates of a gradient and their mixture, each of shape (P,).

    Attributes:
        first, zeroth, mixed: means over the episodes, and their mixture.
        alpha: weight of the first order in the mixture.
        first_variance, zeroth_variance: empirical variances of one episode's gradient (trace of the covariance).
    """

    first: torch.Tensor
    zeroth: torch.Tensor
    mixed: torch.Tensor
    alpha: float
    first_variance: float
    zeroth_variance: float


FAILED = Estimate(*3 * (torch.zeros(0),), *3 * (math.nan,))
"""Of episodes that diverged."""


def train(
    env: Any,
    settings: Settings,
    *,
    policy: Any = None,
    on_iteration: OnIteration | None = None,
    state: dict[str, Any] | None = None,
) -> Result:
    """Train a policy by mixed gradients.

    Args:
        env: a differentiable vector environment, whose number of worlds is the number of samples N.
        settings: see ``Settings``.
        policy: a module from observations (B, O) to actions (B, A); None makes an ``Mlp``. It is changed in place.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each iteration; ``snapshot()`` is a state.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
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
    simulated_steps, seconds = 0, 0.0
    history: list[dict[str, float]] = []
    if state is not None:
        load_parts({"policy": policy, "adam": adam, "setbacks": setbacks}, state)
        generator.set_state(state["generator"])
        simulated_steps, seconds = state["simulated_steps"], state["seconds"]
        history = history_from_tree(state["history"])

    def snapshot() -> dict[str, Any]:
        tree = {
            "policy": policy.state_dict(),
            "adam": adam.state_dict(),
            "setbacks": setbacks.state_dict(),
            "generator": generator.get_state(),
            "history": history_to_tree(history),
            "simulated_steps": simulated_steps,
            "seconds": seconds,
        }
        return copy.deepcopy(tree)  # training goes on

    while (progress := used_share(settings, simulated_steps, seconds)) < 1.0:
        began = time.perf_counter()
        falling = 1.0 if settings.schedule == "constant" else half_cosine(progress)
        step_size = settings.learning_rate * falling * setbacks.factor
        adam.param_groups[0]["lr"] = step_size
        first = settings.seed + len(history) * goals
        seeds = np.repeat(np.arange(first, first + goals), settings.samples).tolist()
        try:
            estimate, returns, scores = estimate_gradient(bridge, policy, seeds, horizon, settings, generator)
            at = 0
            for weight in weights:
                weight.grad = -estimate.mixed[at : at + weight.numel()].reshape(weight.shape)
                at += weight.numel()
            norm = clipped_norm(weights, settings.clip_norm)
            setbacks.update()
        except FAILURES as failure:
            setbacks.go_back(failure)
            estimate, norm = FAILED, math.nan
            returns, scores = torch.full((1,), math.nan), np.full(1, math.nan)

        simulated_steps += horizon * bridge.num_envs
        seconds += time.perf_counter() - began
        row = {
            "iteration": float(len(history) + 1),
            "simulated_steps": float(simulated_steps),
            "reverse_steps": float(simulated_steps),
            "seconds": seconds,
            "return": float(returns.mean()),
            "score": float(np.mean(scores)),
            "gradient_norm": norm,
            "alpha": estimate.alpha,
            "first_variance": estimate.first_variance,
            "zeroth_variance": estimate.zeroth_variance,
            "step_size": step_size,
        }
        history.append(row)
        if on_iteration is not None:
            on_iteration(snapshot, policy, row)

    return Result(policy, history, simulated_steps, seconds, snapshot(), reverse_steps=simulated_steps)


def estimate_gradient(
    bridge: TorchEnv, policy: Any, seeds: list[int], horizon: int, settings: Settings, generator: torch.Generator
) -> tuple[Estimate, torch.Tensor, np.ndarray]:
    """Play one noisy episode in each world and estimate the gradient of the expected return from them.

    Args:
        bridge: B worlds.
        policy: from observations (B, O) to actions (B, A).
        seeds: of the worlds, shape (B,); runs of ``settings.samples`` equal ones.
        horizon: steps T of the episodes.
        settings: samples, sigma, alpha, tolerance, delta and discount.
        generator: of the noise.

    Returns:
        The estimate, the discounted returns (B,) and the scores (B,).
    """
    weights = list(policy.parameters())
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
    first_cotangents = torch.stack(torch.autograd.grad(torch.stack(rewards).sum(), actions))  # (T, B, A)

    advantage = advantages(by_step, settings.samples)
    zeroth_cotangents = torch.stack(noises) * advantage[:, :, None] / settings.sigma**2

    seen = torch.stack([row.detach() for row in observations])
    samples: dict[str, list[torch.Tensor]] = {"first": [], "zeroth": []}
    for b in range(bridge.num_envs):
        output = policy(seen[:, b])
        for name, cotangents in (("first", first_cotangents), ("zeroth", zeroth_cotangents)):
            parts = torch.autograd.grad(output, weights, cotangents[:, b], retain_graph=name == "first")
            samples[name].append(torch.cat([part.flatten() for part in parts]))
    estimate = mix(torch.stack(samples["first"]), torch.stack(samples["zeroth"]), settings)
    return estimate, by_step.sum(0), np.asarray(info["score"])


def mix(first: torch.Tensor, zeroth: torch.Tensor, settings: Settings) -> Estimate:
    """The mixture of samples of both kinds, shape (N, P) each."""
    means = first.mean(0), zeroth.mean(0)
    variances = sample_variance(first), sample_variance(zeroth)
    if not math.isfinite(variances[1]):
        raise FloatingPointError("a zeroth-order gradient is not finite")
    if not math.isfinite(variances[0]):  # the mean is no number either
        return Estimate(means[0], means[1], means[1], 0.0, math.inf, variances[1])
    alpha = settings.alpha
    if alpha < 0:
        alpha = mixing_weight(first, zeroth, tolerance=settings.tolerance, delta=settings.delta)
    return Estimate(*means, alpha * means[0] + (1 - alpha) * means[1], alpha, *variances)


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    if settings.alpha != -1 and not 0 <= settings.alpha <= 1:
        raise ValueError(f"alpha={settings.alpha!r} is out of range; it must be -1 (chosen) or between 0 and 1")
    check_ranges(
        settings,
        steps=(1, math.inf),
        minutes=(0, math.inf),
        seed=(0, math.inf),
        horizon=(0, math.inf),
        samples=(2, math.inf),
        sigma=(1e-12, math.inf),
        tolerance=(0, math.inf),
        delta=(1e-12, 1),
        discount=(1e-12, 1),
        learning_rate=(1e-12, math.inf),
        beta1=(0, 0.9999999),
        beta2=(0, 0.9999999),
        clip_norm=(0, math.inf),
        hidden=(1, math.inf),
        layers=(0, math.inf),
    )
