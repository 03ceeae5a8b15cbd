"""How thick solids must be on a grid, and where a solid is thinner than that.

Contact acts at nodes, along the normal of the surface nearest to the node. A plate keeps out what comes from either
side only if each half of it holds nodes wherever it lies: in sharp contact it must be two cells thick. Soft contact
acts around the solid, too. Measured with water and with an elastic block on plates at three places between nodes
(softness times cell: thickest plate that leaked, thinnest that did not, in cells): sharp 1.25, 1.5; 8: 1, 1.25;
4: 0.5, 0.75; 2 and less: none leaked at 0.1. Two over the softness on each side is on the safe side of all of them.

What is narrow, as a rod, a ball or a small blade, holds nothing back for long: matter goes round it, and as it moves it
meets nodes. Measured on a blade of 3.7 by 8 cells drawn through water in sharp contact, the force is 0.44, 0.50, 0.61,
0.69, 0.84 and 0.93 of that on a blade of 3 cells for a thickness of 0.5, 0.75, 1, 1.2, 1.67 and 2 cells.
"""

from __future__ import annotations

import numpy as np

CELLS = 2.0
"""Grid cells that solids must be thick in sharp contact."""

NARROW, NARROW_CELLS = 4.0, 0.75
"""Solids up to so many cells wide must be so many cells thick in sharp contact: half of the force is left then."""

FELT = 2.0
"""Soft contact is felt up to this over the softness beyond the surface."""

SPIKE = 3.0
"""Parts that thin out, as edges and tips do, may reach this many times half the least thickness beyond a ball of that
thickness that fits in: an edge of 39 degrees, or a lip as long as the thickness."""


def least_thickness(cell: float, softness: float | None, width: float = np.inf) -> float:
    """Thickness [m] that a solid must have on a grid with cells of this edge [m].

    width: the middle one of its three extents [m].
    softness: of its contact [1/m]; None in sharp contact. Not positive where contact is so soft that any will do.
    """
    felt = 0.0 if softness is None else FELT / max(softness, 1e-30)
    cells = NARROW_CELLS if width <= NARROW * cell else CELLS
    return cells * cell - 2.0 * felt


def thin_place(points: np.ndarray, centres: np.ndarray, distance: np.ndarray, least: float) -> int | None:
    """Number of a point of a surface about which the solid is thinner than ``least`` [m], or None.

    Args:
        points: of the surface, shape (n, 3), no farther apart than half of ``least``.
        centres: as far beneath the points as half of ``least``, shape (n, 3).
        distance: the signed distances [m] of the centres, shape (n,).
        least: [m].
    """
    from scipy.spatial import cKDTree

    # A ball of that thickness fits beneath a point if its centre is as far from all of the surface as from the point.
    fits = distance <= -0.49 * least
    if not fits.any():
        return 0
    reach = cKDTree(centres[fits]).query(points)[0]
    worst = int(reach.argmax())
    return worst if reach[worst] > (SPIKE + 0.5) * 0.5 * least else None


def sample_triangles(vertices: np.ndarray, faces: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Points on triangles, shape (n, 3), about ``spacing`` [m] apart, and the number of the face of each."""
    corners = vertices[faces]
    longest = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).max(axis=1)
    parts = np.clip(np.ceil(longest / spacing), 1, 200).astype(int)
    points, numbers = [], []
    for count in np.unique(parts):
        chosen = np.flatnonzero(parts == count)
        i, j = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
        shares = np.stack([i, j], axis=-1)[i + j < count] + 1 / 3  # the middles of the triangles that look as this one
        shares = np.concatenate([shares, count - shares[:, :1] - shares[:, 1:]], axis=1) / count
        points.append(np.einsum("sk,fkd->fsd", shares, corners[chosen]).reshape(-1, 3))
        numbers.append(np.repeat(chosen, len(shares)))
    places, faces_of = np.concatenate(points), np.concatenate(numbers)
    cubes = np.floor((places - places.min(axis=0)) / spacing).astype(np.int64)
    kept = np.unique(cubes, axis=0, return_index=True)[1]  # fine meshes have more than it takes
    return places[kept], faces_of[kept]
