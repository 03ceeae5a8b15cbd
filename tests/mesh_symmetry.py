"""Whether meshes of gels mirror themselves."""

from __future__ import annotations

import numpy as np

MIRRORS = {"x": np.diag([-1, 1, 1]), "y": np.diag([1, -1, 1]), "diagonal": np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])}
SAME = 1e-9
"""Distance between places that are the same [m]."""


def mirrored(mesh, matrix):
    """Whether the mesh, moved by ``matrix``, is itself: nodes, what is glued, cells, tetrahedra, surface."""
    places = {tuple(row): i for i, row in enumerate(np.round(mesh.positions / SAME).astype(int).tolist())}
    moved = np.round(mesh.positions @ matrix.T / SAME).astype(int)
    image = np.array([places.get(tuple(row), -1) for row in moved.tolist()])
    if (image < 0).any() or not np.array_equal(mesh.mounted[image], mesh.mounted):
        return False
    arrays = (mesh.cells, mesh.tetrahedra, mesh.surface)
    return all(_rows(image[array]) == _rows(array) for array in arrays)


def _rows(array):
    return {tuple(sorted(row)) for row in array.tolist()}
