"""The lighting table: how light falls on a tilted pixel, a polynomial of the place for each tilt, without a network.

It is the smooth form of the table that Taxim introduced, with a polynomial for each bin of the normal (Si and Yuan
2022, "Taxim: an example-based simulation model for GelSight tactile sensors").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.sims.sensor.optics_features import polynomials
from pliant.sims.sensor.optics_table import spline_values

TERMS = 6
"""Of the polynomial: 1, u, v, u^2, u v, v^2."""


@dataclass(frozen=True, eq=False)
class LightingTable:
    """Change of colour = sum_k p_k(u, v) T_ck(m), p the polynomials of degree 2 and T splines of the tilt.

    Attributes:
        coefficients: of the splines [grey levels], shape (N, N, 3, 6).

    Raises:
        ValueError: they have another shape or are not finite.
    """

    coefficients: np.ndarray

    def __post_init__(self) -> None:
        shape = self.coefficients.shape
        if len(shape) != 4 or shape[0] != shape[1] or shape[0] < 4 or shape[2:] != (3, TERMS):
            raise ValueError(
                f"the coefficients of a lighting table have shape {shape}, must be (N, N, 3, {TERMS}), N > 3"
            )
        if not np.isfinite(self.coefficients).all():
            raise ValueError("the coefficients of a lighting table must be finite")

    @property
    def terms(self) -> int:
        """K."""
        return TERMS

    def change(self, m: np.ndarray, place: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
        """Change of colour [grey levels] of pixels with tilts m and (u, v), both (P, 2); shape (P, 3)."""
        return (spline_values(self.coefficients, m) * polynomials(place)[:, None, :]).sum(axis=-1)

    def table(self) -> np.ndarray:
        """T as spline coefficients, shape (N, N, 3, K)."""
        return self.coefficients

    def factors(self, place: np.ndarray, background: np.ndarray | None) -> np.ndarray:
        """p_k of pixels at (u, v), shape (P, 2); shape (P, 3, K)."""
        values = polynomials(place)
        return np.broadcast_to(values[:, None, :], (len(values), 3, TERMS))
