"""How tetrahedra and the triangles around them hang together."""

from __future__ import annotations

import numpy as np

FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
"""Local nodes of the faces of a tetrahedron, counterclockwise from outside; face i is opposite of node i."""

LISTED = 8
"""Nodes that an error message lists."""


def signed_volumes(positions: np.ndarray, tetrahedra: np.ndarray) -> np.ndarray:
    """det[x1 - x0, x2 - x0, x3 - x0] / 6 of each tetrahedron, (T,) [m³]."""
    a, b, c, d = np.moveaxis(positions[tetrahedra], 1, 0)
    return np.einsum("ti,ti->t", b - a, np.cross(c - a, d - a)) / 6


def boundary_faces(tetrahedra: np.ndarray) -> np.ndarray:
    """Faces (f, 3) of one tetrahedron only, counterclockwise from outside, in the order of the tetrahedra.

    Raises:
        ValueError: a face belongs to more than two tetrahedra, two lie on one side of it, or an edge of the boundary
            does not join two of its faces.
    """
    faces = tetrahedra[:, FACES].reshape(-1, 3)
    _, number, count = np.unique(keys(np.sort(faces, axis=1)), return_inverse=True, return_counts=True)
    if count.max() > 2:
        worst = int(count.argmax())
        owners = np.flatnonzero(number == worst) // 4
        raise ValueError(
            f"the face of nodes {listed(np.sort(faces[np.argmax(number == worst)]))} belongs to {count[worst]} "
            f"tetrahedra ({listed(owners)}); allowed: at most two"
        )
    side = np.bincount(number, _parity(faces))
    if ((count == 2) & (side != 0)).any():
        worst = int(np.argmax((count == 2) & (side != 0)))
        owners = np.flatnonzero(number == worst) // 4
        raise ValueError(
            f"tetrahedra {listed(owners)} overlap: they lie on one side of the face that they share, of nodes "
            f"{listed(np.sort(faces[np.argmax(number == worst)]))}"
        )
    boundary = faces[count[number] == 1]
    check_closed(boundary, "the boundary")
    return boundary


def check_closed(triangles: np.ndarray, what: str) -> None:
    """Check that triangles (f, 3) make a closed surface that is wound one way.

    Raises:
        ValueError: an edge does not join two of them, or they are wound opposite ways; begins with ``what``.
    """
    directed = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
    edges = np.sort(directed, axis=1)
    _, first, joined = np.unique(keys(edges), return_index=True, return_counts=True)
    for wrong, problem in ((joined > 2, "not a manifold"), (joined < 2, "open")):
        if wrong.any():
            worst = int(np.argmax(wrong))
            raise ValueError(
                f"{what} is {problem}: {int(wrong.sum())} edges do not join two triangles, that of nodes "
                f"{listed(edges[first[worst]])} joins {joined[worst]}"
            )
    _, first, count = np.unique(keys(directed), return_index=True, return_counts=True)
    if count.max() > 1:
        edge = directed[first[count.argmax()]]
        raise ValueError(
            f"{what} is not wound one way: both triangles at the edge of nodes {listed(edge)} go "
            "along it in one direction"
        )


def outer_faces(tetrahedra: np.ndarray) -> np.ndarray:
    """Faces (f, 3) of one tetrahedron only, as `boundary_faces`, unchecked."""
    faces = tetrahedra[:, FACES].reshape(-1, 3)
    _, number, count = np.unique(keys(np.sort(faces, axis=1)), return_inverse=True, return_counts=True)
    return faces[count[number] == 1]


def neighbours(tetrahedra: np.ndarray) -> np.ndarray:
    """Pairs (p, 2) of tetrahedra that share a face."""
    key = keys(np.sort(tetrahedra[:, FACES].reshape(-1, 3), axis=1))
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    return np.stack([order[:-1][same] // 4, order[1:][same] // 4], axis=1)


def listed(nodes: np.ndarray) -> str:
    more = f" and {len(nodes) - LISTED} more" if len(nodes) > LISTED else ""
    return ", ".join(str(int(node)) for node in nodes[:LISTED]) + more


def keys(nodes: np.ndarray) -> np.ndarray:
    """A number (n,) for each row of up to three nodes (n, 1...3), of less than 2^21 each; rows are told apart by it."""
    key = nodes[:, 0].astype(np.int64)
    for place in range(1, nodes.shape[1]):
        key = key << 21 | nodes[:, place].astype(np.int64)
    return key


def turned(faces: np.ndarray) -> np.ndarray:
    """Triangles (f, 3) that begin with their lowest node, with the sense that they have."""
    return np.take_along_axis(faces, (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)


def _parity(faces: np.ndarray) -> np.ndarray:
    """1 or -1 for triangles whose nodes ascend when one goes round one way or the other."""
    ahead = turned(faces)
    return np.where(ahead[:, 1] < ahead[:, 2], 1, -1)
