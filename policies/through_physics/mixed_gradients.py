"""Zeroth-order, first-order and mixed policy gradients (Suh et al. 2022, arXiv 2202.00817).

Episodes are noisy, and each gives a sample of the gradient of either order
(`pliant.policies.through_physics.noisy_episodes`). The mixture (AoBG) is alpha FoBG + (1 - alpha) ZoBG with the
empirical variances v1, v0 of the two (eq. 8, 9), traces of the covariance of an episode's gradient,

    alpha = v0 / (v0 + v1),   lowered to  (tolerance - eps) / ||FoBG - ZoBG||  where it is above it.

Physics that jumps biases the first order while its variance may stay small; the second rule bounds that bias by
``tolerance`` with probability 1 - delta, eps being the error of the zeroth order with that confidence.

``simulated_steps`` counts forward environment steps of all worlds, ``reverse_steps`` those gone back through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pliant.policies.mixture import mixing_weight, sample_variance
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

    alpha: float = -1.0
    """Weight of the first-order gradient in [0, 1]; -1 chooses it from the variances."""
    tolerance: float = 0.0
    """With alpha = -1: bound on the bias of the mixture (norm of the gradient); 0 does not bound it."""
    delta: float = 0.05
    """Probability with which the bound may be broken."""


def estimate_gradient(episodes: NoisyEpisodes, policy: Any, settings: Settings) -> Estimate:
    """The gradient of the expected return from N noisy episodes, mixed by the variances of an episode's gradient."""
    weights = list(policy.parameters())
    samples: dict[str, list[torch.Tensor]] = {"first": [], "zeroth": []}
    for b in range(len(episodes.returns)):
        output = policy(episodes.observations[:, b])
        for name, cotangents in (("first", episodes.first), ("zeroth", episodes.zeroth)):
            parts = torch.autograd.grad(output, weights, cotangents[:, b], retain_graph=name == "first")
            samples[name].append(torch.cat([part.flatten() for part in parts]))
    return mix(torch.stack(samples["first"]), torch.stack(samples["zeroth"]), settings)


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
    check_noisy_settings(settings, tolerance=(0, math.inf), delta=(1e-12, 1))


train = partial(train_on_noisy_episodes, check_settings, estimate_gradient)
"""``train(env, settings, *, policy=None, on_iteration=None, state=None)``, see `train_on_noisy_episodes`."""
