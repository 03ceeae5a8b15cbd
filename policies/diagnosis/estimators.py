"""First-order against zeroth-order gradient estimates under noise on the actions, and slices through the return.

With actions a + sigma w, w standard normal, both estimate the gradient of the smoothed return F(a) = E R(a + sigma w)
(Suh et al. 2022, arXiv 2202.00817):

- first order (FoBG): dR/da at a + sigma w. Chaos and stiff contact make its variance grow with the horizon; jumps of R
  make it biased, as they have no derivative.
- zeroth order (ZoBG): w (R - b) / sigma from the return alone, with a variance that grows with the number of actions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pliant.policies.mixture import advantages, mixing_weight, sample_variance

JUMP = 0.1
"""Share of a slice's range that the derivative must leave unexplained in one interval to count as a jump."""


LEAST_BIAS = 0.01
"""Share of the gradient that a bias has to exceed to be one; rounding and the choice of samples make smaller ones."""


@dataclass(frozen=True)
class Comparison:
    """Both estimators at one horizon.

    Attributes:
        first_norm, zeroth_norm: norms of the means over the samples.
        first_variance, zeroth_variance: of one sample, trace of the covariance; infinite where one has overflowed.
        alpha: weight of the first order in the mixture of both (Suh et al. 2022, eq. 8).
        bias: the difference of the means, first less zeroth, along the direction in which it is the most significant.
        allowed: the largest such difference that chance explains.
        is_biased: whether ``|bias|`` exceeds ``allowed``.
    """

    first_norm: float
    zeroth_norm: float
    first_variance: float
    zeroth_variance: float
    alpha: float
    bias: float
    allowed: float
    is_biased: bool


def zeroth_order(rewards: np.ndarray, noise: np.ndarray, sigma: float) -> np.ndarray:
    """Zeroth-order gradients of episodes with the same start: w_t (R_t - b_t) / sigma, with the return R_t from step t.

    Args:
        rewards: of each step, shape (N, T).
        noise: standard normal w, shape (N, T, A).
        sigma: standard deviation of the noise on the actions.

    Returns:
        shape (N, T, A), in units of the return per action.
    """
    return noise * advantages(rewards.T, len(rewards)).T[:, :, None] / sigma


def controlled_zeroth_order(values: np.ndarray, noise: np.ndarray, gradient: np.ndarray, sigma: float) -> np.ndarray:
    """Zeroth-order gradients with the linear part of the return as control variate: w (e - b) / sigma + g, with
    e = R - sigma g.w and its mean b over the other episodes.

    The mean is that of w R / sigma, as E[w w^T] g = g; what is left of the variance is due to curvature and jumps of
    the return. It tells biases that plain zeroth-order gradients would need far more samples for.

    Args:
        values: returns with noise R, shape (N,).
        noise: standard normal w, shape (N, P).
        gradient: g without noise, shape (P,).
        sigma: standard deviation of the noise on the actions.

    Returns:
        shape (N, P), in units of the return per action.
    """
    residual = advantages((values - sigma * (noise @ gradient))[None], len(values))[0]
    return noise * residual[:, None] / sigma + gradient


def compare(
    first: np.ndarray, zeroth: np.ndarray, controlled: np.ndarray, gradient: np.ndarray, *, delta: float = 0.05
) -> Comparison:
    """Variances of both estimators, their best mixture, and whether their means differ by more than chance.

    Means of many numbers from few samples differ in norm for no reason, so that single directions are tested, each by
    Student's t on the paired differences: the gradient without noise, and the mean difference of the first third of the
    samples, tested on the others. ``delta`` is shared by the two tests (Bonferroni). Biases below a hundredth of the
    gradient are none.

    Args:
        first, zeroth: samples (N, P) of episodes with the same noise.
        controlled: what `controlled_zeroth_order` makes of the same episodes.
        gradient: the gradient without noise, shape (P,).
        delta: probability of a false alarm.

    Raises:
        ValueError: there are fewer than 4 samples, or the shapes differ.
    """
    if not first.shape == zeroth.shape == controlled.shape or first.ndim != 2 or len(first) < 4:
        shapes = f"{first.shape}, {zeroth.shape}, {controlled.shape}"
        raise ValueError(f"samples of shapes {shapes} must all be (N, P) with N at least 4")
    norms = float(np.linalg.norm(first.mean(0))), float(np.linalg.norm(zeroth.mean(0)))
    if not (np.isfinite(first).all() and np.isfinite(gradient).all()):
        return Comparison(*norms, math.inf, sample_variance(zeroth), 0.0, math.nan, math.nan, False)
    differences, third = first - controlled, len(first) // 3
    tests = (differences, gradient), (differences[third:], differences[:third].mean(0))
    found = [
        _mean_and_bound(samples @ (along / np.linalg.norm(along)), delta / len(tests))
        for samples, along in tests
        if along.any()
    ]
    bias, allowed = max(found, key=lambda pair: abs(pair[0]) / max(pair[1], 1e-300), default=(0.0, 0.0))
    is_biased = abs(bias) > max(allowed, LEAST_BIAS * norms[0])
    variances = sample_variance(first), sample_variance(zeroth)
    return Comparison(*norms, *variances, mixing_weight(first, zeroth), bias, allowed, is_biased)


def _mean_and_bound(values: np.ndarray, delta: float) -> tuple[float, float]:
    """Mean of values (N,) with mean 0, and what its size exceeds with probability ``delta``."""
    quantile = float(stats.t.ppf(1 - delta / 2, len(values) - 1))
    return float(values.mean()), quantile * float(values.std(ddof=1)) / math.sqrt(len(values))


def crossover(horizons: np.ndarray, first_variance: np.ndarray, zeroth_variance: np.ndarray) -> float | None:
    """Horizon from which the first order has the larger variance, interpolated in logarithms; None if it never has.

    Args:
        horizons: rising, shape (K,) [steps].
        first_variance, zeroth_variance: at each, shape (K,).
    """
    for k, (first, zeroth) in enumerate(zip(first_variance, zeroth_variance, strict=True)):
        if not first > zeroth:
            continue
        if k == 0 or not np.isfinite(first) or min(first_variance[k - 1], zeroth, zeroth_variance[k - 1]) <= 0:
            return float(horizons[k])
        before = math.log(first_variance[k - 1] / zeroth_variance[k - 1])
        after = math.log(first / zeroth)
        share = before / (before - after)  # of the way, where the logarithm of the ratio passes through 0
        low, high = math.log(horizons[k - 1]), math.log(horizons[k])
        return math.exp(low + share * (high - low))
    return None


@dataclass(frozen=True)
class Slice:
    """The return along one direction through the actions.

    Attributes:
        offsets: distance from the actions, each of them moved by about this much, shape (M,), rising.
        values: the return there, shape (M,).
        slopes: its derivative along the direction by the gradient, shape (M,).
    """

    offsets: np.ndarray
    values: np.ndarray
    slopes: np.ndarray

    @property
    def tangent(self) -> np.ndarray:
        """What the gradient in the middle predicts, shape (M,)."""
        middle = len(self.offsets) // 2
        return self.values[middle] + self.slopes[middle] * (self.offsets - self.offsets[middle])

    @property
    def scale(self) -> float:
        """Range of the return on the slice, or, where that is less, what single precision leaves of its size."""
        return max(float(np.ptp(self.values)), 1e-5 * float(np.abs(self.values).max()), 1e-300)

    @property
    def tangent_error(self) -> float:
        """Largest error of the tangent relative to the range of the return on the slice."""
        return float(np.abs(self.values - self.tangent).max() / self.scale)

    @property
    def unexplained(self) -> np.ndarray:
        """Change of the return in each interval that the slopes at its ends (trapezoidal rule) do not explain, in units
        of the range of the return on the slice, shape (M - 1,)."""
        explained = np.diff(self.offsets) * (self.slopes[1:] + self.slopes[:-1]) / 2
        return (np.diff(self.values) - explained) / self.scale

    @property
    def jumps(self) -> int:
        """Intervals whose unexplained change exceeds a tenth of the range."""
        return int((~(np.abs(self.unexplained) <= JUMP)).sum())
