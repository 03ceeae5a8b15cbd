"""IVW-H: gradients of both orders mixed step by step by inverse variances (Onoda et al. 2026, arXiv 2604.18161).

Episodes are noisy, and each of their steps adds (d pi(o_t) / d weights)^T c_t to the gradient, with c_t of the first or
of the zeroth order (`pliant.policies.through_physics.noisy_episodes`). Each step has a weight of its own,

    c_t = alpha_t c1_t + (1 - alpha_t) c0_t,   alpha_t = v0_t / (v0_t + v1_t),

which makes the variance of c_t least where the two orders are independent. Gradients through the physics have gone
through few steps at the end of an episode and through many at its beginning; returns from step t on hold much noise at
the beginning and little at the end. One weight for all steps, as in
`pliant.policies.through_physics.mixed_gradients`, cannot follow that. Discontinuities are not looked for: the paper
finds that the control of the variance does more.

Variances are of the cotangents of the actions: v_t is the trace of the covariance of c_t, over the episodes that share
a seed, and the mean over the seeds. So it is the noise that counts, and no episode has a gradient of its own.

**Bias.** A weight that comes from the samples that it weighs correlates with them. The weights of the episodes of a
seed therefore come from those of the other seeds: where both orders are unbiased, so is the mixture. With a single seed
its own episodes have to do, and the bias falls with their number. Physics that jumps biases the first order, and the
mixture by at most as much.

**Choices of this module.** The paper's text beyond its summary was not at hand. Episodes are whole and there is no
critic, as in `mixed_gradients`, so that the two differ in their weights alone.

``simulated_steps`` counts forward environment steps of all worlds, ``reverse_steps`` those gone back through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pliant.policies.through_physics.noisy_episodes import (
    Estimate,
    NoisyEpisodes,
    NoisySettings,
    check_noisy_settings,
    train_on_noisy_episodes,
)


@dataclass
class Settings(NoisySettings):
    """Settings of a training run."""


def estimate_gradient(episodes: NoisyEpisodes, policy: Any, settings: Settings) -> Estimate:
    """The gradient of the expected return from N noisy episodes; its variances are the sums of v_t over the steps.

    Raises:
        FloatingPointError: a zeroth-order gradient is not finite.
    """
    first_variance = step_variances(episodes.first, settings.samples)
    zeroth_variance = step_variances(episodes.zeroth, settings.samples)
    if not torch.isfinite(zeroth_variance).all():
        raise FloatingPointError("a zeroth-order gradient is not finite")
    alpha = step_weights(first_variance, zeroth_variance)
    spread = alpha.repeat_interleave(settings.samples, 1)[:, :, None].to(episodes.first)
    # a weight of 0 leaves no trace of a first order that has overflowed
    mixed = torch.where(spread > 0, spread * episodes.first, 0.0) + (1 - spread) * episodes.zeroth

    weights = list(policy.parameters())
    output = policy(episodes.observations.flatten(0, 1))
    gradients = []
    for cotangents in (episodes.first, episodes.zeroth, mixed):
        rows = cotangents.flatten(0, 1) / len(episodes.returns)
        parts = torch.autograd.grad(output, weights, rows, retain_graph=True)
        gradients.append(torch.cat([part.flatten() for part in parts]))
    return Estimate(
        gradients[0],
        gradients[1],
        gradients[2],
        float(alpha.mean()),
        float(first_variance.mean(1).sum()),
        float(zeroth_variance.mean(1).sum()),
    )


def step_variances(cotangents: torch.Tensor, samples: int) -> torch.Tensor:
    """Traces v_t of the empirical covariances of c_t, shape (T, B, A), for each seed: float64, shape (T, B / samples).

    Infinite where a sample is not finite.

    Args:
        cotangents: those of ``samples`` episodes with the same seed stand next to each other.
        samples: at least 2.
    """
    groups = cotangents.double().unflatten(1, (-1, samples))
    return groups.var(2).sum(-1).nan_to_num(nan=math.inf, posinf=math.inf)


def step_weights(first_variance: torch.Tensor, zeroth_variance: torch.Tensor) -> torch.Tensor:
    """Weights alpha_t of the first order in the episodes of each of G seeds, shape (T, G).

    Those of a seed are of the mean variances of the others, or its own where there is no other. 0 where the variance of
    the first order is not finite, in whichever seed.

    Args:
        first_variance: v1_t of each seed, shape (T, G).
        zeroth_variance: v0_t, finite, shape (T, G).
    """
    finite = torch.isfinite(first_variance).all(1, keepdim=True)
    first, zeroth = torch.where(finite, first_variance, 0.0), zeroth_variance
    if first.shape[1] > 1:
        first, zeroth = (v.sum(1, keepdim=True) - v for v in (first, zeroth))
    alpha = zeroth / (first + zeroth).clamp(min=1e-300)
    return torch.where(finite, alpha, 0.0)


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_noisy_settings(settings)


train = partial(train_on_noisy_episodes, check_settings, estimate_gradient)
"""``train(env, settings, *, policy=None, on_iteration=None, state=None)``, see `train_on_noisy_episodes`."""
