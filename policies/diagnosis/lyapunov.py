"""Lyapunov exponents: how fast neighbouring states part, from products of the Jacobian of a step with vectors.

The product of Jacobians J_{T-1} ... J_0 is applied to a few orthonormal vectors; after each step they are made
orthonormal again, Q R = J_t Q, and the exponents are the means of log |R_ii| (Benettin et al. 1980, Meccanica 15;
Shimada and Nagashima 1979, Prog. Theor. Phys. 61). A positive leading exponent is what makes gradients of long
horizons grow like exp(lambda T) (Metz et al. 2021, arXiv 2111.05803): a reverse sweep applies the transposed product,
which has the same singular values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DIFFERENCE = 1e-6
"""Relative step of the central differences that stand in for a Jacobian."""

TINY = 1e-300
"""Vectors that the Jacobian takes to nothing shrink by at least this factor in a step."""


@dataclass(frozen=True)
class Exponents:
    """What re-orthonormalised tangent vectors tell.

    Attributes:
        stretches: log |R_ii| of each step and vector, shape (T, K), the largest first on average.
        discarded: steps at the start that the exponents leave out, while the vectors find their directions.
    """

    stretches: np.ndarray
    discarded: int

    @property
    def exponents(self) -> np.ndarray:
        """Leading exponents per step, shape (K,)."""
        return self.stretches[self.discarded :].mean(axis=0)

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the exponents, were the steps independent, shape (K,); infinite for a single step."""
        kept = self.stretches[self.discarded :]
        if len(kept) < 2:
            return np.full(kept.shape[1], np.inf)
        return kept.std(axis=0, ddof=1) / np.sqrt(len(kept))

    @property
    def growth(self) -> np.ndarray:
        """log of the growth of the leading vector up to each step, shape (T,)."""
        return np.cumsum(self.stretches[:, 0])


def exponents_of_products(
    product: Callable[[int, np.ndarray], np.ndarray], vectors: np.ndarray, steps: int, *, discard: int = 0
) -> Exponents:
    """Exponents of a product of ``steps`` matrices, which are known by what they do to vectors.

    Args:
        product: ``product(t, Q)`` is J_t Q, shape (n, K), for Q of that shape; called for t = 0, 1, ... in turn.
        vectors: orthonormal columns to begin with, shape (n, K); K is the number of exponents, the largest ones.
        steps: number of matrices T.
        discard: steps at the start that do not count, less than ``steps``.

    Raises:
        ValueError: an argument is out of range, or a product is not finite; the message names it.
    """
    if steps < 1:
        raise ValueError(f"steps={steps} is out of range; it must be at least 1")
    if not 0 <= discard < steps:
        raise ValueError(f"discard={discard} is out of range; it must be from 0 to {steps - 1}")
    stretches = np.zeros((steps, vectors.shape[1]))
    for t in range(steps):
        pushed = np.asarray(product(t, vectors), np.float64)
        if not np.isfinite(pushed).all():
            raise ValueError(f"the product with the Jacobian of step {t} is not finite")
        vectors, upper = np.linalg.qr(pushed)
        stretches[t] = np.log(np.maximum(np.abs(np.diag(upper)), TINY))
    return Exponents(stretches, discard)


def lyapunov_exponents(
    step: Callable[[np.ndarray], np.ndarray],
    state: np.ndarray,
    steps: int,
    count: int = 1,
    *,
    jacobian_product: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    discard: int = 0,
    seed: int = 0,
) -> Exponents:
    """Leading Lyapunov exponents of a map along the orbit of a state.

    Args:
        step: from a state, shape (n,), to the next one.
        state: where the orbit begins, shape (n,).
        steps: of the orbit.
        count: how many exponents, at most n.
        jacobian_product: ``jacobian_product(x, V)`` is the Jacobian at x times V, shape (n, count); by default central
            differences with a relative step of 1e-6.
        discard: steps at the start that do not count.
        seed: of the first tangent vectors.

    Raises:
        ValueError: an argument is out of range, or the orbit does not stay finite.
    """
    now = np.array(state, np.float64)
    if now.ndim != 1:
        raise ValueError(f"state has shape {now.shape}; it must be (n,)")
    if not 1 <= count <= now.size:
        raise ValueError(f"count={count} is out of range; it must be from 1 to the size of the state, {now.size}")
    vectors, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((now.size, count)))

    def product(t: int, vectors: np.ndarray) -> np.ndarray:
        nonlocal now
        pushed = differences(step, now, vectors) if jacobian_product is None else jacobian_product(now, vectors)
        now = np.asarray(step(now), np.float64)
        return pushed

    return exponents_of_products(product, vectors, steps, discard=discard)


def differences(step: Callable[[np.ndarray], np.ndarray], state: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The Jacobian of ``step`` at a state, shape (n,), times unit vectors, shape (n, K), by central differences."""
    h = DIFFERENCE * max(1.0, float(np.abs(state).max(initial=0.0)))
    columns = [(np.asarray(step(state + h * v)) - np.asarray(step(state - h * v))) / (2 * h) for v in vectors.T]
    return np.stack(columns, axis=1)
