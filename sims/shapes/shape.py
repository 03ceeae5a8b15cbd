"""What all rigid shapes offer, and what several of them share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from pliant.sims.inputs import real, real_array, shown
from pliant.sims.shapes.shape_kernels import RECORD_SIZE

SHORTEST, LONGEST = 1e-6, 1e6
"""Lengths [m] of shapes: within them float32 tells inside from outside."""


class Shape(ABC):
    """What all shapes offer."""

    @property
    @abstractmethod
    def bounding_radius(self) -> float:
        """Radius [m] of a ball about the local origin that holds the solid; infinite for a half-space."""

    @property
    def data(self) -> np.ndarray:
        """What the record points to, shape (k,): samples of meshes, segments of profiles; empty for all others."""
        return np.zeros(0)

    @abstractmethod
    def record(self, data_offset: int = 0) -> np.ndarray:
        """The kernels' record, shape (16,). ``data_offset``: from the start of the record to that of ``data``."""

    @abstractmethod
    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signed distances (n,) and their gradients (n, 3)."""

    def check_cell(self, cell: float) -> None:
        """Raise ``ValueError`` if a grid with cells of this edge [m] is too coarse for the shape (thin walls leak)."""
        return None

    def thin_part(self, least: float) -> str:
        """What of the solid is thinner than ``least`` [m], as the end of a sentence; empty if nothing is."""
        return ""

    @property
    def extent(self) -> float:
        """Length of the longest side [m]; infinite for a half-space."""
        return 2.0 * self.bounding_radius

    @property
    def width(self) -> float:
        """The middle one of the extents of what matter can go round [m], infinite where it cannot."""
        return math.inf

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distances [m], shape (n,), of points (n, 3) [m] in the frame of the shape."""
        return self._evaluate(_as_points(points))[0]

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Gradients of the signed distance, shape (n, 3): of length one, but for the interpolated ones of a mesh."""
        return self._evaluate(_as_points(points))[1]


def too_thin(thickness: float, least: float) -> str:
    """The end of a sentence where a thickness [m] is less than the least."""
    return f"is {thickness:.4g} m thick" if thickness < least * (1 - 1e-6) else ""


def make_record(kind: int, *values: float) -> np.ndarray:
    """A record of the kernels, shape (16,)."""
    record = np.zeros(RECORD_SIZE)
    record[0] = kind
    record[1 : 1 + len(values)] = values
    return record


def check_lengths(shape: Shape, *names: str, hint: str = "") -> None:
    """Raise ``ValueError`` unless the attributes of these names are positive; ``hint`` ends the message."""
    for name in names:
        value = getattr(shape, name)
        try:
            real(name, value, SHORTEST, LONGEST)
        except ValueError:
            raise ValueError(
                f"{type(shape).__name__}: {name}={shown(value)} must be a positive finite number, {SHORTEST:g} to "
                f"{LONGEST:g} m{hint}"
            ) from None


def _as_points(points: np.ndarray) -> np.ndarray:
    points = real_array("points", points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points has shape {points.shape}, must be (n, 3)")
    return points


def cylindrical(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rho (n,), e_r (n, 2) (the x axis on the axis itself), z (n,)."""
    rho = np.hypot(points[:, 0], points[:, 1])
    e_r = np.where(rho[:, None] > 0, points[:, :2] / np.where(rho > 0, rho, 1.0)[:, None], [1.0, 0.0])
    return rho, e_r, points[:, 2]


def revolve(e_r: np.ndarray, f_r: np.ndarray, f_z: np.ndarray) -> np.ndarray:
    """Gradients (n, 3) from those of a profile."""
    return np.concatenate([e_r * f_r[:, None], f_z[:, None]], axis=1)
