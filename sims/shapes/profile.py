"""Solids of revolution about z of any closed polygon: exact signed distances."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pliant.sims.inputs import real_array
from pliant.sims.shapes.shape import Shape, cylindrical, make_record, revolve
from pliant.sims.shapes.shape_kernels import PROFILE
from pliant.sims.shapes.thickness import thin_place

CELLS = 48  # of the table of nearest segments along the profile's longest side
PARTS = 4  # squares along a side of a cell in which nearest segments are looked for
MARGIN = 0.35  # width of the table beyond the profile, as a share of that side
OPAQUE = -1.0


class Segments(NamedTuple):
    """The surface of a profile: n segments.

    start, tangent: (n, 2), tangents of length one with the solid on their left.  length: (n,) [m].
    corners: signs of the corners at the start and the end, (n, 2): 1 convex, -1 not, 0 none.
    """

    start: np.ndarray
    tangent: np.ndarray
    length: np.ndarray
    corners: np.ndarray

    def offsets(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (..., n or 1, 2) from the starts of the segments: along the tangent, beyond the ends, across it."""
        away = points - self.start
        along = (away * self.tangent).sum(-1)
        across = away[..., 0] * self.tangent[:, 1] - away[..., 1] * self.tangent[:, 0]
        return along, along - np.clip(along, 0.0, self.length), across

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distances [m] of points (..., n or 1, 2) from the segments, shape (..., n)."""
        _along, over, across = self.offsets(points)
        return np.hypot(over, across)


@dataclass(frozen=True)
class Revolution(Shape):
    """The solid that a closed polygon in the half plane (r, z) sweeps about z.

    Its distance is exact, its gradient of length one everywhere: around edges that of cones, around corners of tori.

    Args:
        profile: corners (r, z) [m], shape (n >= 3, 2), r >= 0, in either order; the last joins the first. Edges on the
            axis are inside the solid.

    Raises:
        ValueError: the profile has another shape, is not finite, crosses itself or the axis, or encloses no area.
    """

    profile: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        corners = checked_profile(type(self).__name__, self.profile)
        object.__setattr__(self, "profile", tuple(map(tuple, corners.tolist())))

    @functools.cached_property
    def segments(self) -> Segments:
        """Edges of the profile that are surface."""
        corners = np.array(self.profile)
        end = np.roll(corners, -1, axis=0)
        length = np.linalg.norm(end - corners, axis=1)
        tangent = (end - corners) / length[:, None]
        on_axis = (corners[:, 0] == 0) & (end[:, 0] == 0)
        # What goes on beyond the axis is the mirror image.
        mirrored = tangent * [-1.0, 1.0]
        before, after = np.roll(tangent, 1, axis=0), tangent
        before = np.where(np.roll(on_axis, 1)[:, None], -mirrored, before)
        after = np.where(on_axis[:, None], -np.roll(mirrored, 1, axis=0), after)
        turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        sign = np.where(np.abs(turn) < 1e-12, 0.0, np.sign(turn))
        keep = ~on_axis
        signs = np.stack([sign, np.roll(sign, -1)], axis=1)
        return Segments(corners[keep], tangent[keep], length[keep], signs[keep])

    @functools.cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Low z, cells per metre, columns and lines of the table, and the data of the record."""
        segments = self.segments
        corners = np.array(self.profile)
        low, high = corners[:, 1].min(), corners[:, 1].max()
        longest = max(corners[:, 0].max(), high - low)
        margin, spacing = MARGIN * longest, longest / CELLS
        columns = int(np.ceil((corners[:, 0].max() + margin) / spacing))
        lines = int(np.ceil((high - low + 2 * margin) / spacing))
        z, r = np.meshgrid(
            low - margin + (np.arange(lines) + 0.5) * spacing, (np.arange(columns) + 0.5) * spacing, indexing="ij"
        )
        centre = np.stack([r.ravel(), z.ravel()], axis=1)
        distance = segments.distance(centre[:, None])
        # In a square distances change by half its diagonal at most; a little more, for rounding in float32.
        slack = 2.002 * spacing * 0.5**0.5
        cell, listed = np.nonzero(distance <= distance.min(axis=1, keepdims=True) + slack)
        # The same again in the squares that a cell is made of: what is near in none of them is never the nearest.
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        chosen = Segments(*(part[listed] for part in segments))
        is_near = np.zeros(len(cell), bool)
        shares = (np.arange(PARTS) + 0.5) / PARTS - 0.5
        for move in np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2):
            distance = chosen.distance(centre[cell] + spacing * move)
            is_near |= distance <= np.minimum.reduceat(distance, first)[cell] + slack / PARTS
        cell, listed = cell[is_near], listed[is_near]
        rows = np.concatenate(
            [segments.start, segments.tangent, segments.length[:, None], segments.corners], axis=1
        ).ravel()
        ends = rows.size + len(centre) + 1 + np.searchsorted(cell, np.arange(len(centre) + 1))
        return np.array([low - margin, 1 / spacing, columns, lines]), np.concatenate([rows, ends, listed])

    @property
    def bounding_radius(self) -> float:
        return float(np.linalg.norm(self.profile, axis=1).max())

    @property
    def bounds(self) -> tuple[float, float, float]:
        """Largest radius, lowest and highest z [m]."""
        corners = np.array(self.profile)
        return float(corners[:, 0].max()), float(corners[:, 1].min()), float(corners[:, 1].max())

    def thin_part(self, least: float) -> str:
        points, normals = self._surface(0.25 * least)
        sides = np.array([1.0, 1.0, 1.0]), np.array([-1.0, 1.0, 1.0])  # the half plane, and the one across the axis
        points, normals = (np.concatenate([part * side for side in sides]) for part in (points, normals))
        beneath = points - 0.5 * least * normals
        place = thin_place(points, beneath, self._evaluate(beneath)[0], least)
        if place is None:
            return ""
        r, _, z = points[place]
        return f"is thinner than that near r={abs(r):.3g}, z={z:.3g} m"

    def _surface(self, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        """Points and outward normals of the surface in the plane y = 0, shape (n, 3) each, x >= 0."""
        segments = self.segments
        points, normals = [], []
        for start, (t_r, t_z), length in zip(segments.start, segments.tangent, segments.length, strict=True):
            count = int(np.clip(np.ceil(length / spacing), 1, 1000))
            along = (np.arange(count) + 0.5) / count * length
            points.append(np.stack([start[0] + along * t_r, np.zeros(count), start[1] + along * t_z], axis=1))
            normals.append(np.tile([t_z, 0.0, -t_r], (count, 1)))
        return np.concatenate(points), np.concatenate(normals)

    @property
    def data(self) -> np.ndarray:
        return self._table[1]

    @property
    def _clear_from(self) -> float:
        """Radius [m] beyond which upright outer faces are see-through in pictures; ``OPAQUE``: nowhere."""
        return OPAQUE

    def record(self, data_offset: int = 0) -> np.ndarray:
        return make_record(
            PROFILE, len(self.segments.length), data_offset, *self._table[0], *self.bounds, self._clear_from
        )

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rho, e_r, z = cylindrical(points)
        segments = self.segments
        along, over, across = segments.offsets(np.stack([rho, z], axis=1)[:, None])
        best = np.hypot(over, across).argmin(axis=1)
        rows = np.arange(len(points))
        along, over, across = along[rows, best], over[rows, best], across[rows, best]
        sign = np.where(over < 0, segments.corners[best, 0], np.where(over > 0, segments.corners[best, 1], 0.0))
        t_r, t_z = segments.tangent[best].T
        d = np.hypot(over, across)
        corner = (sign != 0) & (d > 0)
        scale = sign / np.where(d > 0, d, 1.0)
        f_r = np.where(corner, scale * (over * t_r + across * t_z), t_z)
        f_z = np.where(corner, scale * (over * t_z - across * t_r), -t_r)
        return np.where(corner, sign * d, across), revolve(e_r, f_r, f_z)


def checked_profile(name: str, profile: Sequence[Sequence[float]]) -> np.ndarray:
    """Corners (n, 2) of a simple polygon with the solid on the left, none of them repeated or within an edge.

    Raises:
        ValueError: see ``Revolution``; ``name`` begins the message.
    """
    corners = real_array(f"{name}: profile", profile)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(f"{name}: profile has shape {corners.shape}, must be (n >= 3, 2): corners (r, z) [m]")
    if (corners[:, 0] < 0).any():
        worst = int(corners[:, 0].argmin())
        raise ValueError(f"{name}: profile has r={corners[worst, 0]} at corner {worst}; allowed: r >= 0 [m]")
    size = float(np.ptp(corners, axis=0).max())
    corners = corners[np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1) > 1e-9 * size]
    if len(corners) >= 3:
        before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
        turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        bends = np.abs(turn) > 1e-9 * np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        is_back = (before * after).sum(1) < 0
        corners = corners[bends | is_back]
    if len(corners) < 3:
        raise ValueError(f"{name}: profile encloses no area")
    first, second = _crossing(corners)
    if first >= 0:
        raise ValueError(f"{name}: profile crosses or touches itself: edges {first} and {second}; it must be simple")
    r, z = corners.T
    area = float((r * np.roll(z, -1) - np.roll(r, -1) * z).sum()) / 2
    if abs(area) < 1e-9 * size**2:
        raise ValueError(f"{name}: profile encloses no area")
    return corners if area > 0 else corners[::-1]


def _crossing(corners: np.ndarray) -> tuple[int, int]:
    """Numbers of two edges of a polygon (n, 2) that meet elsewhere than at the corner they share, or (-1, -1)."""
    n = len(corners)
    a, b = corners, np.roll(corners, -1, axis=0)

    def side(p: np.ndarray, q: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (q[..., 0] - p[..., 0]) * (x[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (x[..., 0] - p[..., 0])

    i, k = np.triu_indices(n, 1)
    one, two = side(a[i], b[i], a[k]), side(a[i], b[i], b[k])
    three, four = side(a[k], b[k], a[i]), side(a[k], b[k], b[i])
    low, high = np.minimum(a, b), np.maximum(a, b)
    overlap = ((low[i] <= high[k]) & (low[k] <= high[i])).all(1)
    meets = overlap & (one * two <= 0) & (three * four <= 0)
    # Neighbours share a corner; they may not fold back onto each other.
    shared = (k == i + 1) | ((i == 0) & (k == n - 1))
    folded = (np.abs(one) + np.abs(two) + np.abs(three) + np.abs(four) == 0) & (((b - a)[i] * (b - a)[k]).sum(1) < 0)
    found = np.flatnonzero(np.where(shared, folded, meets))
    return (int(i[found[0]]), int(k[found[0]])) if found.size else (-1, -1)
