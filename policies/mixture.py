"""Weights between first-order and zeroth-order gradients (Suh et al. 2022, arXiv 2202.00817).

The functions use what NumPy arrays and torch tensors have in common, and give back the kind that they are given.
"""

from __future__ import annotations

import math
from typing import Any


def advantages(rewards: Any, samples: int) -> Any:
    """Return from each step on, less its mean over the other episodes of the same group.

    The baseline does not depend on the episode's own noise, so that it leaves the zeroth-order gradient unbiased.

    Args:
        rewards: shape (T, B); B is a multiple of ``samples``, and consecutive episodes form a group.
        samples: episodes in a group, at least 2.

    Returns:
        shape (T, B), in the unit of the return.
    """
    to_go = rewards.sum(0) - rewards.cumsum(0) + rewards
    groups = to_go.reshape(len(rewards), -1, samples)
    others = (groups.sum(2)[:, :, None] - groups) / (samples - 1)
    return (groups - others).reshape(len(rewards), -1)


def sample_variance(samples: Any) -> float:
    """Trace of the empirical covariance of samples of shape (N, P)."""
    return float(((samples - samples.mean(0)) ** 2).sum() / (len(samples) - 1))


def mixing_weight(first: Any, zeroth: Any, *, tolerance: float = 0.0, delta: float = 0.05) -> float:
    """Weight alpha of the first-order gradient in the mixture of the two (eq. 8, 9).

    Args:
        first, zeroth: samples of both gradients, shape (N, P).
        tolerance: bound on the norm of the mixture's bias; 0 does not bound it.
        delta: probability with which the bound may be broken.

    Returns:
        a number in [0, 1]; 0 where the first order is not finite.
    """
    variances = sample_variance(first), sample_variance(zeroth)
    if not math.isfinite(variances[0]):
        return 0.0  # the gradient has overflowed: its variance is infinite
    alpha = variances[1] / max(variances[0] + variances[1], 1e-300)
    if tolerance > 0:
        gap = _norm(first.mean(0) - zeroth.mean(0))
        room = tolerance - zeroth_error(zeroth, delta)
        alpha = min(alpha, max(room, 0.0) / max(gap, 1e-300))
    return alpha


def zeroth_error(samples: Any, delta: float) -> float:
    """Norm that the error of the mean of samples (N, P) exceeds with probability at most ``delta``.

    Vector Bernstein inequality, P(error >= eps) <= (P + 1) exp(-N eps^2 / (2 v + 2 R eps / 3)), with the empirical
    variance v and the empirical bound R on ||sample - mean|| in place of the true ones.
    """
    count, size = samples.shape
    bound = math.sqrt(float(((samples - samples.mean(0)) ** 2).sum(1).max()))
    logarithm = math.log((size + 1) / delta)
    linear = bound * logarithm / (3 * count)
    return linear + math.sqrt(linear**2 + 2 * sample_variance(samples) * logarithm / count)


def _norm(vector: Any) -> float:
    return math.sqrt(float((vector**2).sum()))
