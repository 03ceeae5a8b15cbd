"""Tetrahedra of free meshes grouped into cells that share their mean dilatation."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

from pliant.sims.fem.mesh import CELL_NODES, CELL_TETRAHEDRA


def group_tetrahedra(tetrahedra: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells of neighbouring tetrahedra, as `GelMesh` has them: node numbers (C, 8) and local numbers (C, 6, 4) int8.

    Each cell grows from the tetrahedron with the fewest free neighbours, so that none is left over alone, by the
    neighbour that brings the fewest new nodes, then by the one that shares the most faces with it.

    Args:
        tetrahedra: (T, 4).
        pairs: of tetrahedra that share a face, (p, 2).
    """
    around: list[list[int]] = [[] for _ in tetrahedra]
    for one, other in pairs.tolist():
        around[one].append(other)
        around[other].append(one)
    nodes = [set(row) for row in tetrahedra.tolist()]
    groups = _grow(nodes, around)
    cells = np.empty((len(groups), CELL_NODES), np.int64)
    local = np.full((len(groups), CELL_TETRAHEDRA, 4), -1, np.int8)
    for c, group in enumerate(groups):
        members = sorted(set().union(*(nodes[t] for t in group)))
        cells[c] = members + [members[0]] * (CELL_NODES - len(members))
        place = {node: i for i, node in enumerate(members)}
        for i, t in enumerate(sorted(group)):
            local[c, i] = [place[node] for node in tetrahedra[t].tolist()]
    return cells, local


def _grow(nodes: list[set[int]], around: list[list[int]]) -> list[list[int]]:
    free = [True] * len(nodes)
    left = [len(others) for others in around]
    waiting = [(left[t], t) for t in range(len(nodes))]
    heapify(waiting)

    def take(t: int) -> None:
        free[t] = False
        for other in around[t]:
            if free[other]:
                left[other] -= 1
                heappush(waiting, (left[other], other))

    groups = []
    while waiting:
        alone, seed = heappop(waiting)
        if not free[seed] or alone != left[seed]:
            continue
        group = [seed]
        held = set(nodes[seed])
        take(seed)
        while len(group) < CELL_TETRAHEDRA:
            best = None
            for t in group:
                for other in around[t]:
                    if free[other] and len(held | nodes[other]) <= CELL_NODES:
                        shared = sum(neighbour in group for neighbour in around[other])
                        rank = (len(nodes[other] - held), -shared, left[other], other)
                        best = rank if best is None else min(best, rank)
            if best is None:
                break
            group.append(best[3])
            held |= nodes[best[3]]
            take(best[3])
        groups.append(group)
    return groups
