"""Constant twists between two poses, with their adjoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pliant.sims.math.rotation_host import (
    rotation_vector,
    rotation_vector_change,
)

if TYPE_CHECKING:
    pass


def twist_between(
    p0: np.ndarray, R0: np.ndarray, p1: np.ndarray, R1: np.ndarray, duration: float, substeps: int
) -> np.ndarray:
    """The constant twist, shape (B, 6), that takes a pose to another one in ``duration`` [s] of k substeps.

    An effector's orientation turns in a substep of h seconds by the angle 2 atan(h |w| / 2) about w, exactly. The
    rotation vector phi of R1 R0^T is k such turns for w = phi / T * tan(x) / x with x = |phi| / (2 k).
    """
    phi = rotation_vector(R1 @ R0.transpose(0, 2, 1))
    stretch, _ = _tangent(phi, substeps)
    return np.concatenate([p1 - p0, stretch * phi], axis=1) / duration


def twist_between_adjoint(
    R0: np.ndarray, R1: np.ndarray, duration: float, substeps: int, twist_bar: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cotangents of p1 (minus that of p0), of a small turn of R0 and of one of R1, shape (B, 3) each."""
    # w = s(x) phi / T:  phi_bar = (s w_bar + s'/x (w_bar . phi) phi / (2 k)^2) / T
    # d phi = A psi1 - A^T psi0, since R1 R0^T exp(-psi0) is a change on the right
    phi = rotation_vector(R1 @ R0.transpose(0, 2, 1))
    stretch, slope = _tangent(phi, substeps)
    omega_bar = twist_bar[:, 3:]
    along = np.sum(omega_bar * phi, axis=1, keepdims=True)
    phi_bar = (stretch * omega_bar + slope * along * phi / (2 * substeps) ** 2) / duration
    A = rotation_vector_change(phi)
    psi0_bar, psi1_bar = -np.einsum("bij,bj->bi", A, phi_bar), np.einsum("bji,bj->bi", A, phi_bar)
    return twist_bar[:, :3] / duration, psi0_bar, psi1_bar


def _tangent(phi: np.ndarray, substeps: int) -> tuple[np.ndarray, np.ndarray]:
    """s(x) = tan(x) / x and s'(x) / x at x = |phi| / (2 k), shape (B, 1) each."""
    x = np.linalg.norm(phi, axis=1, keepdims=True) / (2 * substeps)
    small = x < 1e-3  # there the series is exact to 1e-12, the quotient of the slope is not
    safe = np.where(small, 1.0, x)
    stretch = np.where(small, 1 + x**2 / 3 + 2 * x**4 / 15, np.tan(safe) / safe)
    slope = np.where(small, 2 / 3 + 8 * x**2 / 15, (safe / np.cos(safe) ** 2 - np.tan(safe)) / safe**3)
    return stretch, slope
