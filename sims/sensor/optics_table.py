"""A smooth function of the tilt of a surface as a table of quadratic B-splines (`optics_kernels` reads it)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NODES = 50
"""Of a table along each axis."""


def spline_weights(m: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """First of the three nodes on an axis that m, -1 to 1, lies between, and their weights; shapes (...), (..., 3)."""
    at = np.clip(0.5 * (m + 1.0) * (nodes - 2), 0.0, nodes - 2)
    cell = np.minimum(np.floor(at).astype(np.int64), nodes - 3)
    a = at - cell
    return cell, np.stack([0.5 * (1.0 - a) ** 2, 0.5 + a * (1.0 - a), 0.5 * a * a], axis=-1)


def spline_values(table: np.ndarray, m: np.ndarray) -> np.ndarray:
    """A table (N, N, ...) at tilts m, shape (P, 2); shape (P, ...)."""
    nodes = len(table)
    (i, wx), (j, wy) = (spline_weights(m[:, axis], nodes) for axis in (0, 1))
    total = np.zeros((len(m), *table.shape[2:]))
    for r in range(3):
        for s in range(3):
            weight = (wx[:, r] * wy[:, s]).reshape(-1, *[1] * (table.ndim - 2))
            total += weight * table[i + r, j + s]
    return total


def spline_table(function: Callable[[np.ndarray], np.ndarray], steepest: float, nodes: int = NODES) -> np.ndarray:
    """Coefficients (N, N, ...) with which the splines meet ``function`` in the middle of each cell and on the edges.

    Args:
        function: of tilts, (P, 2), to values (P, ...).
        steepest: tilts |m| beyond it get the value at the nearest one that is as steep.
        nodes: N.
    """
    cells = nodes - 2
    points = np.concatenate([[-1.0], (2.0 * np.arange(cells) + 1.0) / cells - 1.0, [1.0]])
    grid = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    length = np.linalg.norm(grid, axis=1, keepdims=True)
    values = function(grid * np.minimum(1.0, steepest / np.maximum(length, 1e-12)))
    matrix = np.zeros((nodes, nodes))
    first, weights = spline_weights(points, nodes)
    for r in range(3):
        matrix[np.arange(nodes), first + r] = weights[:, r]
    values = values.reshape(nodes, nodes, -1)
    along_x = np.linalg.solve(matrix, values.reshape(nodes, -1)).reshape(values.shape)
    along_y = np.linalg.solve(matrix, np.swapaxes(along_x, 0, 1).reshape(nodes, -1)).reshape(values.shape)
    return np.swapaxes(along_y, 0, 1).reshape(nodes, nodes, *np.shape(function(grid[:1]))[1:])
