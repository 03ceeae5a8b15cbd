"""Several networks fitted to the same frames, from other first weights: their mean is wrong less often than any.

A mean of lightings is a lighting again, with the terms of all. Most of them say the same: `lookup` keeps what
differs, so that an image costs no more than with one network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.sims.sensor.optics_network import PixelNetwork
from pliant.sims.sensor.optics_table import NODES


@dataclass(frozen=True, eq=False)
class PixelEnsemble:
    """The mean of networks, M of them.

    Attributes:
        members: the networks.

    Raises:
        ValueError: there are none.
    """

    members: tuple[PixelNetwork, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("an ensemble must have members")

    @property
    def terms(self) -> int:
        """K, of all members together."""
        return sum(member.terms for member in self.members)

    def change(self, m: np.ndarray, place: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
        """Change of colour [grey levels] of pixels with tilts m and (u, v), both (P, 2); shape (P, 3)."""
        return np.mean([member.change(m, place, background) for member in self.members], axis=0)

    def table(self, nodes: int = NODES) -> np.ndarray:
        """T as spline coefficients, shape (N, N, 3, K)."""
        return np.concatenate([member.table(nodes) for member in self.members], axis=-1)

    def factors(self, place: np.ndarray, background: np.ndarray | None) -> np.ndarray:
        """What the table is multiplied by at pixels, shape (P, 3, K)."""
        found = [member.factors(place, background) for member in self.members]
        return np.concatenate(found, axis=-1) / len(self.members)


CHUNK = 16384  # pixels at a time: what networks make of all at once is large
SAMPLE = 4096  # pixels that tell which terms matter


def lookup(
    lighting: Any, place: np.ndarray, background: np.ndarray | None, *, terms: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Table and factors of a lighting for the pixels of a picture, with at most ``terms`` terms.

    With G (P, K) the factors and T (N^2, K) the table of a channel, the change of every tilt at every pixel is G T^T.
    Of its singular values the largest are kept: with G = Q R, T = S U and R U^T = V s W^T, it is
    (G R^-1 V s) (T U^-1 W)^T.

    Args:
        lighting: a PixelNetwork, PixelEnsemble or LightingTable.
        place: (u, v) of the pixels, shape (P, 2).
        background: colours of the pixels without contact, shape (P, 3), or None.
        terms: K at most; None: all.

    Returns:
        The table (N, N, 3, K) and the factors (P, 3, K).
    """
    table = lighting.table()
    parts = np.array_split(np.arange(len(place)), max(1, -(-len(place) // CHUNK)))

    def factors(part: np.ndarray) -> np.ndarray:
        return lighting.factors(place[part], None if background is None else background[part])

    if terms is None or terms >= table.shape[-1]:
        return table, np.concatenate([factors(part) for part in parts])
    some = factors(np.linspace(0, len(place) - 1, min(SAMPLE, len(place))).astype(int))
    of_factors, of_table = np.empty((2, 3, table.shape[-1], terms))
    for c in range(3):
        # Pseudo-inverses, as terms of a network may depend on each other.
        r: Any = np.linalg.qr(some[:, c], mode="r")
        u: Any = np.linalg.qr(table[:, :, c].reshape(-1, table.shape[-1]), mode="r")
        v, s, w = np.linalg.svd(r @ u.T)
        of_factors[c] = np.linalg.pinv(r) @ v[:, :terms] * s[:terms]
        of_table[c] = np.linalg.pinv(u) @ w[:terms].T
    reduced = np.einsum("ijck,ckl->ijcl", table, of_table)
    return reduced, np.concatenate([np.einsum("pck,ckl->pcl", factors(part), of_factors) for part in parts])
