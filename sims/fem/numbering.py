"""The meshes of all gels as one: numbers, lumped volumes, gradients, and which cells each block of the matrix adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.places import CELL_NODES, CELL_TETS, TET_RECORD
from pliant.sims.fem.skin import starts


@dataclass(frozen=True)
class Topology:
    """Arrays for the kernels; nodes are the free ones of all gels, one gel after the other.

    cell_nodes: (C * 8,), -1 for mounted nodes.  cell_tets: (C * 24,).  tets: (C * 6 * 13,), see ``places``.  cell_gels,
    node_gels: (C,), (n,).  rest: (n, 3) [m].  node_volumes: (n,) [m^3].  node_cells_start, node_cells: cells of each
    node, as cell * 8 + place in it.  rows, slot_nodes, slot_twins: rows of the matrix by node, the node of each block,
    and the block that is its transpose.  diagonal_slots: of each node. slot_starts, slot_terms: what each block sums
    up, as (cell * 8 + a) * 8 + d.  edge: mean length of the cells' edges [m].
    """

    cell_nodes: np.ndarray
    cell_tets: np.ndarray
    tets: np.ndarray
    cell_gels: np.ndarray
    node_gels: np.ndarray
    rest: np.ndarray
    node_volumes: np.ndarray
    node_cells_start: np.ndarray
    node_cells: np.ndarray
    rows: np.ndarray
    slot_nodes: np.ndarray
    slot_twins: np.ndarray
    diagonal_slots: np.ndarray
    slot_starts: np.ndarray
    slot_terms: np.ndarray
    edge: float


def join_meshes(meshes: Sequence[GelMesh]) -> Topology:
    """One topology of several meshes."""
    cell_nodes, cell_tets, tets, rest, volumes, node_gels, cell_gels = [], [], [], [], [], [], []
    edges = []
    first = 0
    for g, mesh in enumerate(meshes):
        free, number = mesh.free_count, _numbers(mesh)
        cell_nodes.append(np.where(number[mesh.cells] >= 0, number[mesh.cells] + first, -1))
        cell_tets.append(mesh.cell_tetrahedra)
        tets.append(_tet_records(mesh))
        rest.append(mesh.positions[~mesh.mounted])
        share = np.bincount(mesh.tetrahedra.ravel(), np.repeat(mesh.volumes / 4, 4), len(mesh.positions))
        volumes.append(share[~mesh.mounted])
        node_gels.append(np.full(free, g))
        cell_gels.append(np.full(len(mesh.cells), g))
        corners = mesh.positions[mesh.tetrahedra]
        edges.append(np.linalg.norm(corners[:, [1, 2, 3, 2, 3, 3]] - corners[:, [0, 0, 0, 1, 1, 2]], axis=2).ravel())
        first += free
    nodes = np.concatenate(cell_nodes)
    node_cells_start, node_cells = _incidence(nodes, first)
    rows, slot_nodes, slot_starts, slot_terms = _blocks(nodes, first)
    slot_rows = np.repeat(np.arange(first), np.diff(rows))
    slot_twins = np.searchsorted(slot_rows * first + slot_nodes, slot_nodes * first + slot_rows)
    diagonal = np.flatnonzero(slot_rows == slot_nodes)
    return Topology(
        cell_nodes=nodes.ravel(),
        cell_tets=np.concatenate(cell_tets).ravel().astype(np.int64),
        tets=np.concatenate(tets).ravel(),
        cell_gels=np.concatenate(cell_gels),
        node_gels=np.concatenate(node_gels),
        rest=np.concatenate(rest),
        node_volumes=np.concatenate(volumes),
        node_cells_start=node_cells_start,
        node_cells=node_cells,
        rows=rows,
        slot_nodes=slot_nodes,
        slot_twins=slot_twins,
        diagonal_slots=diagonal,
        slot_starts=slot_starts,
        slot_terms=slot_terms,
        edge=float(np.concatenate(edges).mean()),
    )


def _numbers(mesh: GelMesh) -> np.ndarray:
    """Number of each node among the free ones, -1 for mounted nodes."""
    number = np.full(len(mesh.positions), -1)
    number[~mesh.mounted] = np.arange(mesh.free_count)
    return number


def _tet_records(mesh: GelMesh) -> np.ndarray:
    """Gradients of the shape functions [1/m] and volume [m^3] of the tetrahedra of each cell, (C, 6, 13)."""
    records = np.zeros((len(mesh.cells), CELL_TETS, TET_RECORD))
    corners = mesh.positions[mesh.tetrahedra]
    inverse = np.linalg.inv(np.moveaxis(corners[:, 1:] - corners[:, :1], 1, 2))
    gradients = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)
    there = mesh.cell_tetrahedra[..., 0] >= 0
    records[there] = np.concatenate([gradients.reshape(-1, 12), mesh.volumes[:, None]], axis=1)
    return records


def _incidence(nodes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each node's list of its places in cells begins, and the lists."""
    node, code = nodes.ravel(), np.arange(nodes.size)
    keep = node >= 0
    order = np.argsort(node[keep], kind="stable")
    return starts(node[keep], count), code[keep][order]


def _blocks(nodes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the block matrix, the column of each block, and what each block sums up."""
    cells = len(nodes)
    row, column = np.repeat(nodes, CELL_NODES, axis=1).ravel(), np.tile(nodes, (1, CELL_NODES)).ravel()
    code = np.arange(cells * CELL_NODES**2)
    keep = (row >= 0) & (column >= 0)
    key = row[keep] * count + column[keep]
    slots, number = np.unique(key, return_inverse=True)
    order = np.argsort(number, kind="stable")
    return starts(slots // count, count), slots % count, starts(number, len(slots)), code[keep][order]
