"""Triangle meshes from files as bodies: their parts closed, oriented and told apart.

A part is what edges join. Each part is turned so that its faces look outwards, except for cavities: a part within the
solid of another one that looks the other way than that one in the file, as the inner surface of a hollow ball does. A
part within a solid that looks the same way adds nothing to it. What is solid is the union of the bodies; a body is a
solid part with its cavities.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pliant.sims.inputs import shown
from pliant.sims.runtime import check_divergent_loops, start
from pliant.sims.shapes.mesh_distance import mesh_signed_distance
from pliant.sims.shapes.mesh_kernels import crossing_kernel

FLAT = 1e-9  # height of a triangle, and volume of a part, that count as none, as shares of the mesh's or part's extents
MERGED = 1e-8  # distance between vertices that are the same, as a share of the mesh's longest side
MOST_PARTS = 1000


def load_mesh(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (v, 3) in the file's units, faces (f, 3), and the body of each face (f,), 0 ... count - 1.

    Raises:
        ValueError: the file is missing, unreadable, empty, not watertight or crosses itself; names file and problem.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"Mesh: path={shown(path)} must be the path of a mesh file")
    where = f"mesh file {shown(os.fspath(path), 400)}"
    vertices, faces = _read(Path(path), where)
    longest = float(np.ptp(vertices[faces].reshape(-1, 3), axis=0).max())
    if not 0.0 < longest < np.inf:
        raise ValueError(f"{where} encloses no volume: all its vertices are in one place")
    vertices, faces = _closed(vertices, faces, longest, where)
    faces, part = _wind(faces, where)
    faces, body = _orient(vertices, faces, part, where)
    return vertices, faces, body


def _read(path: Path, where: str) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    if not os.path.isfile(path):  # nor has a name that is too long, or that holds a zero byte
        raise ValueError(f"{where} does not exist")
    try:
        mesh: Any = trimesh.load(str(path), force="mesh", process=False)
        vertices = np.asarray(getattr(mesh, "vertices", np.zeros((0, 3))), np.float64)
        faces = np.asarray(getattr(mesh, "faces", np.zeros((0, 3))), np.int64)
    except Exception as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    if len(faces) == 0 or len(vertices) == 0 or faces.shape[1:] != (3,) or vertices.shape[1:] != (3,):
        raise ValueError(f"{where} holds no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"{where} has faces of vertices that it does not have")
    used = vertices[np.unique(faces)]
    if not np.isfinite(used).all():
        raise ValueError(f"{where} has vertices that are not finite")
    return vertices, faces


def _closed(vertices: np.ndarray, faces: np.ndarray, longest: float, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a closed surface: with the file's own vertices, or with those at one place made one.

    Files tell parts that touch apart by their vertices, formats like STL have a vertex for each corner of a face.
    """
    _, first, number = np.unique(
        np.round((vertices - vertices.min(axis=0)) / (MERGED * longest)), axis=0, return_index=True, return_inverse=True
    )
    problem = ""
    for points, corners in ((vertices, faces), (vertices[first], number.reshape(-1)[faces])):
        whole, flat = _without_flat(points, corners, longest)
        single = whole[np.unique(np.sort(whole, axis=1), axis=0, return_index=True)[1]]
        for chosen in (single, _without_walls(whole)):
            problem = _gap(points, chosen)
            if not problem:
                used, renumbered = np.unique(chosen, return_inverse=True)
                return points[used], renumbered.reshape(-1, 3).astype(np.int32)
            if len(chosen) == len(whole):
                break  # no faces stand twice: nothing else to try
    note = f" ({flat} triangles without area were left out)" if flat else ""
    raise ValueError(
        f"{where} is not watertight: {problem}{note}; each edge must join exactly two triangles: close its holes, and "
        "unite parts that share edges"
    )


def _rounded(place: np.ndarray) -> list[float]:
    return [float(f"{x:.4g}") for x in place]


def _without_flat(vertices: np.ndarray, faces: np.ndarray, longest: float) -> tuple[np.ndarray, int]:
    """The faces that have an area, and how many have none."""
    corners = vertices[faces]
    edges = np.roll(corners, -1, axis=1) - corners
    side = np.linalg.norm(edges, axis=2).max(axis=1)
    doubled = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    keep = doubled > FLAT * longest * side
    return faces[keep], int((~keep).sum())


def _without_walls(faces: np.ndarray) -> np.ndarray:
    """The faces but for those that stand between two parts: twice, looking both ways."""
    turned = np.take_along_axis(faces, (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
    _, number, count = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    number = number.reshape(-1)
    looks = np.where(turned[:, 1] < turned[:, 2], 1, -1)
    both = np.bincount(number, looks) == 0
    return faces[~(both[number] & (count[number] == 2))]


def _gap(vertices: np.ndarray, faces: np.ndarray) -> str:
    """Where a surface is not closed, in words; empty where it is."""
    if len(faces) == 0:
        return "no triangle has an area"
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2), axis=2).reshape(-1, 2)
    pairs, count = np.unique(edges, axis=0, return_counts=True)
    if (count == 2).all():
        return ""
    worst = int(np.argmax(count != 2))
    middle = vertices[pairs[worst]].mean(axis=0)
    return (
        f"{int((count != 2).sum())} edges do not join two triangles, one near {_rounded(middle)} "
        f"joins {int(count[worst])}"
    )


def _wind(faces: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Faces of each part wound one way, that of most of them, and the part of each face."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(faces)
    directed = np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2)
    edges = np.sort(directed, axis=1)
    order = np.lexsort(edges.T)
    one, other = order[0::2], order[1::2]  # the two sides of each edge
    f, g = one // 3, other // 3
    agree = directed[one, 0] != directed[other, 0]
    # Each face twice, as it is and turned over; an edge joins the states that agree.
    same, turned_over = np.where(agree, g, g + count), np.where(agree, g + count, g)
    joined = np.concatenate([f, f + count]), np.concatenate([same, turned_over])
    graph = coo_matrix((np.ones(2 * len(f)), joined), shape=(2 * count, 2 * count))
    state = connected_components(graph, directed=False)[1]
    if (state[:count] == state[count:]).any():
        raise ValueError(f"{where} has a part with one side only (as a Klein bottle): it has no inside")
    part = connected_components(coo_matrix((np.ones(len(f)), (f, g)), shape=(count, count)), directed=False)[1]
    if part.max() >= MOST_PARTS:
        raise ValueError(f"{where} has {part.max() + 1} parts; allowed: at most {MOST_PARTS}")
    first = np.unique(part, return_index=True)[1]
    turned = state[:count] != state[first][part]
    turned ^= (np.bincount(part, np.where(turned, 1, -1)) > 0)[part]
    return np.where(turned[:, None], faces[:, ::-1], faces), part


def _orient(vertices: np.ndarray, faces: np.ndarray, part: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Faces that look out of what is solid, and the body of each."""
    corners = vertices[faces]
    count = int(part.max()) + 1
    # about a corner of each part, for the rounding
    middle = np.zeros((count, 3))
    middle[part] = corners[:, 0]
    a, b, c = np.moveaxis(corners - middle[part][:, None], 1, 0)
    volume = np.bincount(part, np.einsum("fd,fd->f", a, np.cross(b, c)) / 6)
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, part, corners.min(axis=1))
    np.maximum.at(high, part, corners.max(axis=1))
    if (np.abs(volume) <= FLAT * np.prod(high - low, axis=1)).any():
        raise ValueError(f"{where} has a part that encloses no volume")
    looks = np.sign(volume)
    outwards = np.where((looks[part] < 0)[:, None], faces[:, ::-1], faces)
    crosses = _crossings(corners, faces, part)
    own = np.flatnonzero(np.diagonal(crosses))
    if own.size:
        place = corners[crosses[own[0], own[0]] - 1].mean(axis=0)
        raise ValueError(
            f"{where} crosses itself near {_rounded(place)}: what is inside is not clear; unite what "
            "overlaps first, or make it parts of their own"
        )
    holders = _holders(vertices, outwards, part, low, high, crosses)
    body, sign = np.full(count, -1), np.ones(count)
    for j in np.argsort(holders.sum(axis=1), kind="stable"):
        around = np.flatnonzero(holders[j])
        holder = around[holders[around].sum(axis=1).argmax()] if around.size else -1  # the innermost one
        if holder >= 0 and sign[holder] > 0 and looks[j] != looks[holder]:
            body[j], sign[j] = body[holder], -1.0
        else:
            body[j] = body.max() + 1
    for i, j in np.argwhere(crosses):
        if i != j and body[i] == body[j]:
            place = corners[crosses[i, j] - 1].mean(axis=0)
            raise ValueError(f"{where} has cavities that cross each other near {_rounded(place)}")
    return np.where((sign[part] < 0)[:, None], outwards[:, ::-1], outwards).astype(np.int32), body[part]


def _crossings(corners: np.ndarray, faces: np.ndarray, part: np.ndarray) -> np.ndarray:
    """For each pair of parts the number of a face, counted from one, of the one that crosses the other; 0: none."""
    start()
    check_divergent_loops("meshes of several parts")
    count = int(part.max()) + 1
    table = np.zeros((count, count), np.int32)
    boxes = np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes = np.roll(boxes, -int(np.ptp(corners, axis=(0, 1)).argmax()), axis=2).reshape(-1, 6)  # the longest side first
    order = np.argsort(boxes[:, 0])
    crossing_kernel()(
        np.ascontiguousarray(corners[order], np.float64),
        np.ascontiguousarray(boxes[order]),
        np.ascontiguousarray(faces[order], np.int32),
        np.ascontiguousarray(part[order], np.int32),
        table,
    )
    table = np.maximum(table, table.T)
    return np.where(table > 0, order[table - 1] + 1, 0)


def _holders(
    vertices: np.ndarray, faces: np.ndarray, part: np.ndarray, low: np.ndarray, high: np.ndarray, crosses: np.ndarray
) -> np.ndarray:
    """Whether part j lies within part i, at [j, i]; faces of all parts look outwards."""
    count = len(low)
    holders = np.zeros((count, count), bool)
    for j in range(count):
        inside_box = (low[j] >= low).all(axis=1) & (high[j] <= high).all(axis=1) & (crosses[j] == 0)
        inside_box[j] = False
        points = vertices[np.unique(faces[part == j])]
        for i in np.flatnonzero(inside_box):
            distance = mesh_signed_distance(vertices, faces[part == i], points)
            rounding = 1e-9 * float((high[i] - low[i]).max())
            holders[j, i] = distance.min() < -rounding and distance.max() <= rounding
    return holders
