"""Structured meshes: hexahedra cut into six tetrahedra each, as Kuhn does it.

The six go along the diagonal from a hexahedron's first corner to its last one, one for each order in which the three
directions can be walked. Neighbours fit together where parallel edges of neighbouring hexahedra have one direction.
Directions that lead away from the planes x = 0 and y = 0 make a mesh that these planes mirror, without a diagonal that
the gel would prefer to shear along.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from pliant.sims.fem.mesh import GelMesh, build_mesh


def _kuhn() -> np.ndarray:
    """Corners (6, 4) of the tetrahedra; corner 4 i + 2 j + k lies i, j and k edges from the first one."""
    paths = []
    for order in permutations((4, 2, 1)):
        path = [0, *np.cumsum(order).tolist()]
        even = order in ((4, 2, 1), (2, 1, 4), (1, 4, 2))
        paths.append(path if even else [path[0], path[2], path[1], path[3]])
    return np.array(paths, np.int8)


KUHN = _kuhn()
MIRRORED = KUHN[:, [0, 2, 1, 3]]
"""The same for hexahedra whose three directions are left-handed."""


def mesh_of_hexahedra(
    positions: np.ndarray, hexahedra: np.ndarray, mirrored: np.ndarray, mounted: np.ndarray
) -> GelMesh:
    """The mesh of hexahedra (C, 8) with nodes at positions (N, 3) [m]; ``mirrored`` (C,) tells the left-handed ones."""
    return build_mesh(positions, hexahedra, np.where(mirrored[:, None, None], MIRRORED, KUHN), mounted)


def grid_hexahedra(numbers: np.ndarray, reverse: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Hexahedra (C, 8) of a block of nodes, and whether they are mirrored (C,).

    Args:
        numbers: of the nodes of the block, (nx + 1, ny + 1, nz + 1).
        reverse: for each layer of the first and of the second direction, (nx,) and (ny,) bool, whether its edges lead
            from the higher number to the lower.
    """
    nx, ny, nz = (size - 1 for size in numbers.shape)
    i, j, k = (axis.ravel() for axis in np.meshgrid(np.arange(nx), np.arange(ny), np.arange(nz), indexing="ij"))
    left, front = reverse[0][i].astype(int), reverse[1][j].astype(int)
    corners = [
        numbers[i + np.where(left, 1 - a, a), j + np.where(front, 1 - b, b), k + c]
        for a in (0, 1)
        for b in (0, 1)
        for c in (0, 1)
    ]
    return np.stack(corners, axis=1), (left ^ front).astype(bool)


def graded(cells: int, power: float) -> np.ndarray:
    """Coordinates (cells + 1,) in -1...1, finer about 0 the larger ``power`` is than 1."""
    t = np.linspace(-1.0, 1.0, cells + 1)
    return np.sign(t) * np.abs(t) ** power


def graded_up(cells: int, power: float) -> np.ndarray:
    """Coordinates (cells + 1,) in 0...1, finer about 1 the larger ``power`` is than 1."""
    return 1.0 - (1.0 - np.linspace(0.0, 1.0, cells + 1)) ** power
