"""Tetrahedral meshes of gels: the data, and what is required of it.

Tetrahedra come in cells that share their mean dilatation, against volumetric locking: the six of a hexahedron in meshes
made by code, small groups of neighbours in others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee

from pliant.sims.fem.quality import MeshQuality, mesh_quality
from pliant.sims.fem.topology import boundary_faces, keys, listed, neighbours, outer_faces, signed_volumes, turned
from pliant.sims.inputs import numbers, real_array, shown

CELL_NODES = 8
CELL_TETRAHEDRA = 6
FLAT = 1e-10
"""Volume of a tetrahedron that counts as none, as a share of its longest edge cubed."""

MOST_NODES = 2**20


@dataclass(frozen=True, eq=False)
class GelMesh:
    """A gel on a rigid mount, divided into tetrahedra. Arrays cannot be written to.

    The frame is that of the mount. Gels made by code have the mount's plane at z = 0, lie at z >= 0, and their contact
    surface looks along +z.

    Args:
        positions: nodes at rest, (N, 3) float64 [m].
        cells: node numbers of each cell, (C, 8) int32, each once; a cell of fewer nodes repeats its first one.
        cell_tetrahedra: the tetrahedra of each cell, (C, 6, 4) int8: positions 0...7 in its row of ``cells``; -1 in all
            four places of those that a cell does not have. Each has a positive volume:
            det[x1 - x0, x2 - x0, x3 - x0] > 0.
        mounted: whether a node is glued to the mount, (N,) bool.
        surface: triangles of the boundary that can touch something, (S, 3) int32, counterclockwise from outside: all of
            the boundary but the faces whose three nodes are mounted. Its rim may hold mounted nodes.

    Raises:
        ValueError: an array has the wrong shape or type, a number is not finite, a node number is out of range, a cell
            names a node twice or one that it does not use, a tetrahedron is inverted or flat, a node is in no
            tetrahedron, no node or every node is mounted, the boundary is not a manifold, tetrahedra overlap across a
            face, the mesh is in several pieces, or the surface is not what it must be; names it.
    """

    positions: np.ndarray
    cells: np.ndarray
    cell_tetrahedra: np.ndarray
    mounted: np.ndarray
    surface: np.ndarray

    def __post_init__(self) -> None:
        positions, cells, local, mounted = _arrays(self.positions, self.cells, self.cell_tetrahedra, self.mounted)
        surface = _integers("surface", self.surface, ("S", 3), 0, len(positions) - 1, empty=True)
        for name, array, kind in (
            ("positions", positions, np.float64),
            ("cells", cells, np.int32),
            ("cell_tetrahedra", local, np.int8),
            ("mounted", mounted, np.bool_),
            ("surface", surface, np.int32),
        ):
            own = np.array(array, kind, order="C")
            own.setflags(write=False)
            object.__setattr__(self, name, own)
        _check_cells(self.cells, self.cell_tetrahedra)
        _check_volumes(self.positions, self.tetrahedra, self.volumes)
        _check_nodes(self.tetrahedra, self.mounted)
        boundary = boundary_faces(self.tetrahedra)
        _check_pieces(self.tetrahedra, self.mounted)
        _check_surface(self.surface, boundary, self.mounted)

    @cached_property
    def tetrahedra(self) -> np.ndarray:
        """Node numbers of all tetrahedra, (T, 4) int32, cell by cell."""
        return _frozen(tetrahedra_of(self.cells, self.cell_tetrahedra))

    @cached_property
    def tetrahedron_cells(self) -> np.ndarray:
        """The cell of each tetrahedron, (T,) int32."""
        return _frozen(
            np.repeat(np.arange(len(self.cells), dtype=np.int32), (self.cell_tetrahedra[..., 0] >= 0).sum(1))
        )

    @cached_property
    def volumes(self) -> np.ndarray:
        """Volumes of the tetrahedra at rest, (T,) [m³]."""
        return _frozen(signed_volumes(self.positions, self.tetrahedra))

    @cached_property
    def surface_nodes(self) -> np.ndarray:
        """Numbers of the nodes of the surface, ascending, (n,) int32."""
        return _frozen(np.unique(self.surface).astype(np.int32))

    @cached_property
    def surface_areas(self) -> np.ndarray:
        """Area of the surface that belongs to each of ``surface_nodes``, a third of their triangles, (n,) [m²]."""
        a, b, c = np.moveaxis(self.positions[self.surface], 1, 0)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        share = np.bincount(self.surface.ravel(), np.repeat(area / 3, 3), minlength=len(self.positions))
        return _frozen(share[self.surface_nodes])

    @property
    def free_count(self) -> int:
        """How many nodes are not mounted."""
        return int((~self.mounted).sum())

    @cached_property
    def bounds(self) -> np.ndarray:
        """Lower and upper corner of the box around all nodes, (2, 3) [m]."""
        return _frozen(np.stack([self.positions.min(axis=0), self.positions.max(axis=0)]))

    def quality(self) -> MeshQuality:
        """How far the tetrahedra are from regular ones."""
        return mesh_quality(self.positions, self.tetrahedra)


def build_mesh(positions: np.ndarray, cells: np.ndarray, cell_tetrahedra: np.ndarray, mounted: np.ndarray) -> GelMesh:
    """A mesh with its surface found and its nodes put in an order in which matrices have a small bandwidth.

    Free nodes come first, mounted ones last, either in the reverse Cuthill-McKee order of the graph in which nodes of a
    cell are neighbours. Cells are sorted by their lowest node. Arguments as of `GelMesh`.

    Raises:
        ValueError: as `GelMesh`.
    """
    positions, cells, cell_tetrahedra, mounted = _arrays(positions, cells, cell_tetrahedra, mounted)
    # checked as they are given, so that messages have the caller's numbers
    given = GelMesh(positions, cells, cell_tetrahedra, mounted, _free_faces(cells, cell_tetrahedra, mounted))
    order = _node_order(len(given.positions), given.cells, given.mounted)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    renumbered = number[given.cells]
    by_node = np.lexsort((renumbered.max(axis=1), renumbered.min(axis=1)))
    cells, local, mounted = renumbered[by_node], given.cell_tetrahedra[by_node], given.mounted[order]
    return GelMesh(given.positions[order], cells, local, mounted, _free_faces(cells, local, mounted))


def tetrahedra_of(cells: np.ndarray, cell_tetrahedra: np.ndarray) -> np.ndarray:
    """Node numbers (T, 4) int32 of the tetrahedra of all cells, cell by cell."""
    cell, which = np.nonzero(cell_tetrahedra[..., 0] >= 0)
    return np.take_along_axis(cells[cell], cell_tetrahedra[cell, which].astype(np.int64), axis=1).astype(np.int32)


def _free_faces(cells: np.ndarray, cell_tetrahedra: np.ndarray, mounted: np.ndarray) -> np.ndarray:
    faces = outer_faces(tetrahedra_of(cells, cell_tetrahedra))
    return faces[~mounted[faces].all(axis=1)]


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _arrays(positions: Any, cells: Any, cell_tetrahedra: Any, mounted: Any) -> tuple[np.ndarray, ...]:
    places = real_array("positions", positions)
    if places.ndim != 2 or places.shape[1] != 3 or not 4 <= len(places) <= MOST_NODES:
        raise ValueError(f"positions has shape {places.shape}, must be (N, 3) with N in 4..{MOST_NODES}")
    nodes = _integers("cells", cells, ("C", CELL_NODES), 0, len(places) - 1)
    local = _integers("cell_tetrahedra", cell_tetrahedra, (len(nodes), CELL_TETRAHEDRA, 4), -1, CELL_NODES - 1)
    glued = np.asarray(mounted)
    if glued.dtype != np.bool_ or glued.shape != (len(places),):
        raise ValueError(f"mounted has shape {glued.shape} and type {glued.dtype}, must be ({len(places)},) and bool")
    return places, nodes, local, glued


def _integers(
    name: str, value: Any, shape: tuple[int | str, ...], low: int, high: int, *, empty: bool = False
) -> np.ndarray:
    given = numbers(name, value)
    if given.dtype.kind not in "iu":
        raise ValueError(f"{name}={shown(value)} must be integers, not {given.dtype.name}")
    fits = given.ndim == len(shape) and all(
        isinstance(s, str) or s == g for s, g in zip(shape, given.shape, strict=True)
    )
    if not fits or (given.size == 0 and not empty):
        more = "" if empty else ", not empty"
        raise ValueError(f"{name} has shape {given.shape}, must be ({', '.join(map(str, shape))}){more}")
    wrong = (given < low) | (given > high)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name} at {where} is {given[where]}, must be in {low}..{high}")
    return given


def _check_cells(cells: np.ndarray, local: np.ndarray) -> None:
    unused = local < 0
    torn = unused.any(axis=2) != unused.all(axis=2)
    if torn.any():
        cell, which = np.argwhere(torn)[0]
        raise ValueError(
            f"cell_tetrahedra at ({cell}, {which}) is {local[cell, which].tolist()}: -1 must stand in all four places "
            "or in none"
        )
    empty = unused[..., 0].all(axis=1)
    if empty.any():
        raise ValueError(f"cell {int(empty.argmax())} has no tetrahedra")
    used = (local[..., None] == np.arange(CELL_NODES)).any(axis=(1, 2))
    other = used[:, :, None] & used[:, None] & ~np.eye(CELL_NODES, dtype=bool)
    twice = ((cells[:, :, None] == cells[:, None]) & other).any(axis=(1, 2))
    if twice.any():
        cell = int(twice.argmax())
        raise ValueError(f"cell {cell} has a node twice in places that its tetrahedra name: {listed(cells[cell])}")
    strange = ~used & ~((cells[:, :, None] == cells[:, None]) & used[:, None]).any(axis=2)
    if strange.any():
        cell, place = np.argwhere(strange)[0]
        raise ValueError(
            f"cell {cell} has node {cells[cell, place]}, which is in none of its tetrahedra; places that are not "
            "needed must repeat its first node"
        )


def _check_volumes(positions: np.ndarray, tetrahedra: np.ndarray, volumes: np.ndarray) -> None:
    wrong = volumes <= 0
    if wrong.any():
        worst = int(np.argmax(wrong))
        what = "inverted" if volumes[worst] < 0 else "flat"
        more = f" (and {int(wrong.sum()) - 1} more are inverted or flat)" if wrong.sum() > 1 else ""
        raise ValueError(
            f"{what} tetrahedron {worst} has volume {volumes[worst]:.3g} m^3, must be positive: nodes "
            f"{listed(tetrahedra[worst])}{more}"
        )
    corners = positions[tetrahedra]
    longest = np.linalg.norm(corners[:, :, None] - corners[:, None], axis=3).max(axis=(1, 2))
    flat = volumes <= FLAT * longest**3
    if flat.any():
        worst = int(np.argmax(flat))
        raise ValueError(
            f"flat tetrahedron {worst} has volume {volumes[worst]:.3g} m^3, too little for its longest edge of "
            f"{longest[worst]:.3g} m: nodes {listed(tetrahedra[worst])}"
        )


def _check_nodes(tetrahedra: np.ndarray, mounted: np.ndarray) -> None:
    used = np.zeros(len(mounted), bool)
    used[tetrahedra] = True
    if not used.all():
        raise ValueError(f"every node must be in a tetrahedron; in none: {listed(np.flatnonzero(~used))}")
    if not mounted.any():
        raise ValueError("mounted: at least one node must be glued to the mount, none is")
    if mounted.all():
        raise ValueError("mounted: at least one node must be free, all are glued to the mount")


def _check_pieces(tetrahedra: np.ndarray, mounted: np.ndarray) -> None:
    """Pieces hang together by faces: what shares no more than an edge with the rest would turn freely about it."""
    pairs = neighbours(tetrahedra)
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(tetrahedra), len(tetrahedra)))
    count, piece = connected_components(graph, directed=False)
    if count == 1:
        return
    held = np.zeros(count, bool)
    held[piece[mounted[tetrahedra].any(axis=1)]] = True
    if held.all():
        raise ValueError(f"the mesh is in {count} pieces that share no face; it must be one")
    loose = np.unique(tetrahedra[~held[piece]])
    raise ValueError(
        f"the mesh is in {count} pieces that share no face; {len(loose)} nodes are cut off from the mount: "
        f"{listed(loose)}"
    )


def _check_surface(surface: np.ndarray, boundary: np.ndarray, mounted: np.ndarray) -> None:
    free = boundary[~mounted[boundary].all(axis=1)]
    if len(free) == 0:
        raise ValueError("mounted: the whole boundary is glued to the mount; some of it must be free")
    wanted, given = np.unique(keys(turned(free))), keys(turned(surface))
    strange = ~np.isin(given, wanted)
    if strange.any():
        i = int(strange.argmax())
        inwards = np.isin(keys(turned(surface[i : i + 1, ::-1])), wanted)[0]
        problem = "looks inwards" if inwards else "is no face of the boundary that is free"
        raise ValueError(f"surface triangle {i}, of nodes {listed(surface[i])}, {problem}")
    first = np.unique(given, return_index=True)[1]
    if len(first) < len(given):
        i = int(np.setdiff1d(np.arange(len(given)), first)[0])
        raise ValueError(f"surface triangle {i}, of nodes {listed(surface[i])}, is there twice")
    lacking = ~np.isin(keys(turned(free)), given)
    if lacking.any():
        raise ValueError(
            f"surface lacks {int(lacking.sum())} triangles of the boundary that are not glued, such as that of nodes "
            f"{listed(free[lacking.argmax()])}"
        )


def _node_order(count: int, cells: np.ndarray, mounted: np.ndarray) -> np.ndarray:
    rows, columns = np.repeat(cells, CELL_NODES, axis=1).ravel(), np.tile(cells, (1, CELL_NODES)).ravel()
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count)).tocsr()
    order = []
    for part in (np.flatnonzero(~mounted), np.flatnonzero(mounted)):
        order.append(part[reverse_cuthill_mckee(graph[part][:, part], symmetric_mode=True)])
    return np.concatenate(order)
