"""Meshes of gels with flat mounts, made by code: flat and curved pads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pliant.sims.fem.hexahedra import graded, graded_up, grid_hexahedra, mesh_of_hexahedra
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.inputs import real, real_array, shown, whole

MOST_CELLS = 400
"""Cells along a direction."""

STRONGEST_GRADING = 4.0
DEFAULT_CELLS = (16, 16, 6)
FLATTENED = 0.45
"""Depth of a cell over its width in the plane, on average, where cells are chosen by the number of nodes."""


def pad_mesh(
    size: Sequence[float] = (0.03, 0.03),
    thickness: float = 0.005,
    cells: Sequence[int] | None = None,
    grading: Sequence[float] = (1.4, 1.2),
    *,
    nodes: int | None = None,
    curvature_radius: float | Sequence[float] = np.inf,
) -> GelMesh:
    """A rectangular pad on the mount's plane, its middle on the z axis; it mirrors itself at x = 0 and y = 0.

    Args:
        size: along x and y [m].
        thickness: at the middle [m].
        cells: hexahedra along x, y (even numbers) and z; default: (16, 16, 6).
        grading: powers of the grading in the plane and in depth, 1...4; 1: cells of one size. The cells in the middle
            are 2^(power - 1) / cells^(power - 1) times as wide as without.
        nodes: about how many, in place of ``cells``.
        curvature_radius: radius of the contact surface, which is convex [m]: a number, a sphere's; two numbers, about
            the y axis and about the x axis (along x and along y); inf: flat.

    Raises:
        ValueError: an argument is out of range; both ``cells`` and ``nodes`` are given; the surface falls below a tenth
            of the thickness at the corners.
    """
    x_size, y_size = _positive("size", size, 2)
    height = real("thickness", thickness, above=0.0, unit="m")
    if cells is None and nodes is None:
        cells = DEFAULT_CELLS
    powers = real_array("grading", grading, shape=(2,))
    for i, power in enumerate(powers.tolist()):
        real(f"grading[{i}]", power, 1.0, STRONGEST_GRADING)
    top, lowest = _curved(height, curvature_radius, (x_size / 2, y_size / 2))
    nx, ny, nz = _pad_cells(nodes, cells, (x_size, y_size, float(np.sqrt(height * lowest))))
    x, y, z = graded(nx, powers[0]), graded(ny, powers[0]), graded_up(nz, powers[1])
    grid = np.stack(np.meshgrid(x * x_size / 2, y * y_size / 2, z, indexing="ij"), axis=-1).reshape(-1, 3)
    grid[:, 2] *= top(grid[:, 0], grid[:, 1])
    numbers = np.arange(len(grid)).reshape(nx + 1, ny + 1, nz + 1)
    hexahedra, mirrored = grid_hexahedra(numbers, (np.arange(nx) < nx // 2, np.arange(ny) < ny // 2))
    return mesh_of_hexahedra(grid, hexahedra, mirrored, grid[:, 2] == 0.0)


def _curved(
    height: float, radius: float | Sequence[float], half: tuple[float, float]
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], float]:
    """Height (n,) [m] of the contact surface at x, y (n,) [m], and that of its corners [m]."""
    given = np.asarray(radius, dtype=object)
    radii = [radius, radius] if given.ndim == 0 else list(given)
    if len(radii) != 2 or given.ndim > 1:
        raise ValueError(f"curvature_radius={shown(radius)} must be a number or two [m]")
    flatness = np.zeros(2)
    for i, value in enumerate(radii):
        if not (isinstance(value, (float, np.floating)) and value == np.inf):
            name = "curvature_radius" if given.ndim == 0 else f"curvature_radius[{i}]"
            flatness[i] = 1 / real(name, value, above=half[i], unit="m (more than half of the pad's size)")
    sphere = given.ndim == 0 and flatness[0] > 0

    def top(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if sphere:
            radius_squared = 1 / flatness[0] ** 2
            under = np.maximum(radius_squared - x**2 - y**2, 0.0)
            return height - (1 / flatness[0] - np.sqrt(under))
        fall = np.zeros_like(x)
        for place, flat in zip((x, y), flatness, strict=True):
            if flat > 0:
                fall += 1 / flat - np.sqrt(1 / flat**2 - place**2)
        return height - fall

    lowest = float(top(np.array([half[0]]), np.array([half[1]]))[0])
    if lowest < 0.1 * height:
        raise ValueError(
            f"thickness={height:g} m with curvature_radius={shown(radius)} m leaves {lowest:.3g} m at the corners; "
            "allowed: at least a tenth of the thickness"
        )
    return top, lowest


def _positive(name: str, values: Any, count: int) -> list[float]:
    array = real_array(name, values, shape=(count,))
    return [real(f"{name}[{i}]", value, above=0.0, unit="m") for i, value in enumerate(array.tolist())]


def _pad_cells(nodes: Any, cells: Sequence[int] | None, size: tuple[float, float, float]) -> tuple[int, int, int]:
    """Hexahedra along x, y and z: ``cells``, checked, or such that a pad of ``size`` [m] has about ``nodes`` nodes."""
    if cells is not None:
        if nodes is not None:
            raise ValueError(f"cells={shown(cells)} and nodes={shown(nodes)} are both given; allowed: one of them")
        return _counts(cells)
    wanted = whole("nodes", nodes, 50, 200_000)
    best, least = DEFAULT_CELLS, np.inf
    for nx in range(2, MOST_CELLS + 1, 2):
        ny = max(2, 2 * round(nx * size[1] / size[0] / 2))
        for nz in range(1, MOST_CELLS + 1):
            count = (nx + 1) * (ny + 1) * (nz + 1)
            off = abs(count / wanted - 1) + 0.2 * abs(np.log(size[2] / nz / (FLATTENED * size[0] / nx)))
            if off < least and ny <= MOST_CELLS:
                best, least = (nx, ny, nz), off
            if count > 2 * wanted:
                break
    return best


def _counts(cells: Any) -> tuple[int, int, int]:
    try:
        values = list(cells)
    except TypeError:
        values = []
    if len(values) != 3:
        raise ValueError(f"cells={shown(cells)} must be three integers, along x, y and z")
    counts = [
        whole(f"cells[{i}]", value, low, MOST_CELLS)
        for i, (value, low) in enumerate(zip(values, (2, 2, 1), strict=True))
    ]
    for i in (0, 1):
        if counts[i] % 2:
            raise ValueError(f"cells[{i}]={counts[i]} must be even: the middle of the pad is a plane of mirror")
    return counts[0], counts[1], counts[2]
