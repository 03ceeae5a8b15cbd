"""Tetrahedra within any closed surface, by fTetWild (the extra ``tactile``)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pliant.sims.fem.crossing import crossing_triangles
from pliant.sims.fem.grouping import group_tetrahedra
from pliant.sims.fem.hexahedra import KUHN, grid_hexahedra
from pliant.sims.fem.mesh import GelMesh, build_mesh
from pliant.sims.fem.topology import check_closed, neighbours, outer_faces, signed_volumes
from pliant.sims.inputs import numbers, real, real_array, shown

MOST_FACES = 100_000
BACKGROUND = 24
"""Cells of the grid on which a varying edge length is given, along the longest side."""

MESHER = """
import numpy, pytetwild
with numpy.load("surface.npz", allow_pickle=False) as file:
    arrays = {name: file[name] if file[name].ndim else float(file[name]) for name in file.files}
positions, tetrahedra = pytetwild.tetrahedralize(**arrays, num_threads=1, quiet=True)
numpy.savez("mesh.npz", positions=numpy.asarray(positions, float), tetrahedra=tetrahedra)
"""

Lengths = Callable[[np.ndarray], np.ndarray]


def growing_edge_length(centre: Any, finest: float, growth: float, longest: float = np.inf) -> Lengths:
    """An edge length for `mesh_of_surface`: ``finest`` at ``centre``, longer by ``growth`` a metre away from it.

    Args:
        centre: where edges are shortest, (3,) [m], such as the apex of the contact surface.
        finest: edge length there [m].
        growth: edge length gained over the distance, 0...2.
        longest: the most there is [m].

    Returns:
        Edge lengths (n,) [m] at points (n, 3) [m].
    """
    middle = real_array("centre", centre, shape=(3,))
    finest = real("finest", finest, above=0.0, unit="m")
    growth = real("growth", growth, 0.0, 2.0)
    longest = np.inf if longest == np.inf else real("longest", longest, finest, unit="m")
    return lambda points: np.minimum(finest + growth * np.linalg.norm(points - middle, axis=1), longest)


def mesh_of_surface(
    vertices: Any,
    faces: Any,
    *,
    edge_length: float | Lengths,
    mounted: float | Callable[[np.ndarray], np.ndarray],
    deviation: float | None = None,
) -> GelMesh:
    """The mesh of what a closed surface encloses, its tetrahedra grouped into cells of neighbours.

    The surface is followed to within ``deviation``; its vertices are not kept. fTetWild draws lots from the system, and
    nobody can seed it: two calls give two meshes, alike but not the same. Keep the mesh with `save_gel_mesh` for a run
    that is to be repeated.

    Args:
        vertices: (v, 3) [m].
        faces: triangles, (f, 3) int, counterclockwise from outside.
        edge_length: about how long edges shall be [m]: a number, or a function of points (n, 3) [m] that gives (n,),
            such as `growing_edge_length`.
        mounted: what is glued to the mount: the height [m] of a plane z = height, which becomes z = 0 of the mesh; or a
            function of points (n, 3) [m] of the surface, where the mesh has moved them, that gives (n,) bool.
        deviation: how far the mesh's surface may be from the given one [m]; default: a thousandth of the box's
            diagonal, at most a tenth of the shortest edge length.

    Raises:
        ImportError: the extra ``tactile`` is not installed.
        RuntimeError: fTetWild failed; has its message.
        ValueError: the surface is open, not a manifold, not wound one way, inside out or crosses itself, or encloses
            several pieces; nothing is mounted; an argument is out of range.
    """
    points, triangles = _checked_surface(vertices, faces)
    low, high = points.min(axis=0), points.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    background = _background(edge_length, low, high)
    if background:
        shortest, longest = float(background["bg_values"].min()), float(background["bg_values"].max())
    else:
        shortest = longest = real("edge_length", edge_length, above=0.0, unit="m")
    if not diagonal / 500 <= shortest <= diagonal:
        raise ValueError(
            f"edge_length={shortest:g} m must be between a five-hundredth and all of the diagonal of the surface's "
            f"box, {diagonal:g} m"
        )
    if deviation is None:
        deviation = min(1e-3 * diagonal, shortest / 10)
    deviation = real("deviation", deviation, high=shortest, above=0.0, unit="m")
    if not callable(mounted):
        _check_height(mounted, float(low[2]), float(high[2]), deviation)
    positions, tetrahedra = _tidy(
        *_tetrahedralize(
            vertices=points,
            faces=triangles.astype(np.int32),
            edge_length_abs=np.float64(longest),
            epsilon=np.float64(deviation / diagonal),
            **background,
        )
    )
    positions, glued = _mount(positions, tetrahedra, mounted, 1.5 * deviation)
    cells, local = group_tetrahedra(tetrahedra, neighbours(tetrahedra))
    return build_mesh(positions, cells, local, glued)


def _tetrahedralize(**arrays: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) and tetrahedra (T, 4) of fTetWild, in a process and a folder of its own.

    It writes files to the folder in which it runs.
    """
    for module in ("pytetwild", "pyvista"):
        if find_spec(module) is None:
            raise ImportError(f"mesh_of_surface needs {module}; install it with: pip install 'pliant[tactile]'")
    with TemporaryDirectory(prefix="pliant-") as folder:
        np.savez(Path(folder) / "surface.npz", **arrays)
        done = subprocess.run([sys.executable, "-c", MESHER], cwd=folder, capture_output=True, text=True, check=False)
        result = Path(folder) / "mesh.npz"
        if done.returncode != 0 or not result.exists():
            raise RuntimeError(f"fTetWild failed with status {done.returncode}: {done.stderr.strip()[-400:]}")
        with np.load(result, allow_pickle=False) as mesh:
            return mesh["positions"], mesh["tetrahedra"].astype(np.int64)


def _check_height(mounted: Any, low: float, high: float, deviation: float) -> None:
    height = real("mounted", mounted, unit="m, or a function of points")
    if not low - deviation <= height <= high + deviation:
        raise ValueError(
            f"mounted={shown(mounted)} m: no point of the surface is at that height; it reaches from {low:g} to "
            f"{high:g} m"
        )


def _checked_surface(vertices: Any, faces: Any) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    points = real_array("vertices", vertices)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4:
        raise ValueError(f"vertices has shape {points.shape}, must be (v, 3) with v >= 4")
    given = numbers("faces", faces)
    if given.ndim != 2 or given.shape[1] != 3 or not 4 <= len(given) <= MOST_FACES or given.dtype.kind not in "iu":
        raise ValueError(
            f"faces has shape {given.shape} and type {given.dtype}, must be (f, 3) integers with f in 4..{MOST_FACES}"
        )
    if given.min() < 0 or given.max() >= len(points):
        wrong = given.max() if given.max() >= len(points) else given.min()
        raise ValueError(f"faces hold the vertex {wrong}, must be in 0..{len(points) - 1}")
    used, renumbered = np.unique(given, return_inverse=True)
    points, triangles = points[used], renumbered.reshape(-1, 3)
    check_closed(triangles, "the surface")
    surface = trimesh.Trimesh(points, triangles, process=False)
    extents = np.ptp(points, axis=0)
    a, b, c = np.moveaxis(points[triangles] - points.mean(axis=0), 1, 0)
    volume = float(np.einsum("fi,fi->", a, np.cross(b, c))) / 6
    if not abs(volume) > 1e-9 * float(np.prod(extents)):
        raise ValueError("the surface encloses no volume")
    if volume < 0:
        raise ValueError(
            f"the surface is inside out: its volume is {volume:.3g} m^3; turn its faces round (faces[:, ::-1])"
        )
    areas = surface.area_faces
    if not (areas > 1e-14 * float(extents.max()) ** 2).all():
        raise ValueError(f"face {int(np.argmin(areas))} of the surface has no area")
    crossing = crossing_triangles(points[triangles])
    if crossing is not None:
        place = points[triangles[crossing[0]]].mean(axis=0)
        raise ValueError(
            f"the surface crosses itself: faces {crossing[0]} and {crossing[1]}, near "
            f"{[float(f'{x:.4g}') for x in place]} m"
        )
    pieces = surface.body_count
    if pieces != 1:
        raise ValueError(f"the surface is in {pieces} pieces; it must be one")
    return points, triangles


def _background(edge_length: float | Lengths, low: np.ndarray, high: np.ndarray) -> dict[str, np.ndarray]:
    """A grid of tetrahedra around the surface with an edge length at each of its nodes; empty for a single length."""
    if not callable(edge_length):
        return {}
    margin = 0.05 * float((high - low).max())
    low, high = low - margin, high + margin
    spacing = float((high - low).max()) / BACKGROUND
    counts = np.ceil((high - low) / spacing).astype(int)
    axes = [np.linspace(low[d], high[d], counts[d] + 1) for d in range(3)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    grid = np.arange(np.prod(counts + 1)).reshape(counts + 1)
    hexahedra, _ = grid_hexahedra(grid, (np.zeros(counts[0], bool), np.zeros(counts[1], bool)))
    values = real_array("edge_length(points)", edge_length(nodes.reshape(-1, 3)), shape=(grid.size,))
    if values.min() <= 0:
        raise ValueError(f"edge_length(points) has {values.min():g} m in it, must be > 0")
    return {
        "bg_vertices": nodes.reshape(-1, 3),
        "bg_tets": hexahedra[:, KUHN].reshape(-1, 4).astype(np.int32),
        "bg_values": np.ascontiguousarray(values),
    }


def _tidy(positions: np.ndarray, tetrahedra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes that are used, and tetrahedra that are turned to a positive volume."""
    used, renumbered = np.unique(tetrahedra, return_inverse=True)
    positions, tetrahedra = positions[used], renumbered.reshape(-1, 4)
    inverted = signed_volumes(positions, tetrahedra) < 0
    return positions, np.where(inverted[:, None], tetrahedra[:, [0, 2, 1, 3]], tetrahedra)


def _mount(positions: np.ndarray, tetrahedra: np.ndarray, mounted: Any, near: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) [m] with the mount's plane at z = 0, where a height is given, and the mounted nodes (N,)."""
    outer = np.unique(outer_faces(tetrahedra))
    glued = np.zeros(len(positions), bool)
    if callable(mounted):
        chosen = np.asarray(mounted(positions[outer].copy()))
        if chosen.dtype != np.bool_ or chosen.shape != (len(outer),):
            raise ValueError(
                f"mounted(points) has shape {chosen.shape} and type {chosen.dtype}, must be ({len(outer)},) and bool"
            )
        glued[outer] = chosen
        if not glued.any():
            raise ValueError("mounted(points) chooses no point of the surface")
        return positions, glued
    height = float(mounted)
    glued[outer] = np.abs(positions[outer, 2] - height) <= near
    if not glued.any():
        raise ValueError(f"mounted={shown(mounted)} m: no node of the mesh's surface came to lie at that height")
    moved = positions.copy()
    moved[:, 2] -= height
    moved[glued, 2] = 0.0
    return moved, glued
