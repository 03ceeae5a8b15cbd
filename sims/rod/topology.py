"""Trees of vertices, and frames and strains of a rod's shape, in NumPy (for scenes, data and tests)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pliant.sims.inputs import real_array, shown

LARGEST_FOLD = 170.0
"""Largest angle between the edges of a joint in a shape that is given [degrees]: steps of 10 ms and less converge from
there, whatever the stiffness. The curvature 2 tan(angle/2) grows without bound towards 180 degrees."""

FLAT_FOLD = 178.0
"""The same in the course of a simulation; beyond it the rod is folded flat, and the curvature's direction is lost."""

FLAT_OPENING = float(1.0 + np.cos(np.radians(FLAT_FOLD)))
"""The same as 1 + cos(angle)."""


def check_parents(parents: Sequence[int] | np.ndarray) -> np.ndarray:
    """The tree as an integer array, shape (n,): predecessor of each vertex, -1 for the first.

    Raises:
        ValueError: fewer than two vertices, a vertex that comes before its predecessor (which every cycle has), several
        trees, or a first vertex with more than one successor.
    """
    given = real_array("parents", parents)
    is_whole = np.asarray(parents).dtype.kind in "iu"
    if given.ndim != 1 or len(given) < 2 or not is_whole or abs(given).max() > len(given):
        raise ValueError(f"parents={shown(parents)} must be at least two integers, each -1 or that of a vertex")
    tree = given.astype(np.int32)
    if tree[0] != -1:
        raise ValueError(f"parents[0]={int(tree[0])} must be -1: the first vertex has no predecessor")
    for i, p in enumerate(tree[1:].tolist(), start=1):
        if p == -1:
            raise ValueError(f"parents[{i}]=-1: the rod is disconnected; only the first vertex has no predecessor")
        if not 0 <= p < i:
            raise ValueError(
                f"parents[{i}]={p} must lie in 0..{i - 1}: a cycle, or vertices that do not follow their predecessors"
            )
    if (tree == 0).sum() > 1:
        raise ValueError("parents: the first vertex has several successors; start the tree at an end of a rod")
    return tree


def edges(position: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit tangents (..., n, 3) and lengths (..., n) [m] of the edges from each vertex's parent; zero for the first.

    position: (..., n, 3) [m].
    """
    e = np.zeros(position.shape)
    e[..., 1:, :] = position[..., 1:, :] - position[..., parents[1:], :]
    length = np.linalg.norm(e, axis=-1)
    return e / np.where(length > 0, length, 1.0)[..., None], length


def transport(t: np.ndarray, u: np.ndarray, m: np.ndarray) -> np.ndarray:
    """m (..., 3) carried from the unit vectors t to u by the smallest rotation."""
    b = np.cross(t, u)
    c = np.sum(t * u, axis=-1, keepdims=True)
    return c * m + np.cross(b, m) + b * np.sum(b * m, axis=-1, keepdims=True) / np.maximum(1 + c, 1e-4)


def carried_directors(
    position: np.ndarray, parents: np.ndarray, reference: Sequence[float] | np.ndarray = (0.0, 0.0, 1.0)
) -> np.ndarray:
    """Twist-free first directors (..., n, 3) of all edges of shapes (..., n, 3): that of the first edge is
    ``reference`` (..., 3) made normal to it, the others are carried along the tree by parallel transport.

    A reference along the first edge is replaced by the coordinate axis that is furthest from it.
    """
    t, _ = edges(position, parents)
    m = np.zeros(position.shape)
    first = np.broadcast_to(np.asarray(reference, float), t[..., 1, :].shape)
    along = np.sum(first * t[..., 1, :], -1, keepdims=True)
    furthest = np.eye(3)[np.argmin(abs(t[..., 1, :]), axis=-1)]
    first = np.where(abs(along) > 0.999 * np.linalg.norm(first, axis=-1, keepdims=True), furthest, first)
    first = first - t[..., 1, :] * np.sum(first * t[..., 1, :], -1, keepdims=True)
    m[..., 1, :] = first / np.linalg.norm(first, axis=-1, keepdims=True)
    for i in range(2, len(parents)):
        p = parents[i]
        m[..., i, :] = transport(t[..., p, :], t[..., i, :], m[..., p, :])
    m[..., 0, :] = m[..., 1, :]
    return m


def strains(position: np.ndarray, director: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Curvatures (integrated, without unit) and twist [rad] of each vertex's joint with its parent's edge, (..., n, 3);
    zero where there is no joint. Formulas: ``energies.py``."""
    t_all, _ = edges(position, parents)
    result = np.zeros(position.shape)
    for i in range(1, len(parents)):
        p = parents[i]
        if p == 0:
            continue
        t, u, m, n = t_all[..., p, :], t_all[..., i, :], director[..., p, :], director[..., i, :]
        kb = 2 * np.cross(t, u) / np.maximum(1 + np.sum(t * u, -1, keepdims=True), 1e-4)
        carried = transport(t, u, m)
        result[..., i, 0] = np.sum(kb * np.cross(t, m), -1)
        result[..., i, 1] = -np.sum(kb * m, -1)
        result[..., i, 2] = np.arctan2(np.sum(np.cross(carried, n) * u, -1), np.sum(carried * n, -1))
    return result


def check_folds(name: str, position: np.ndarray, parents: np.ndarray, largest: float = LARGEST_FOLD) -> None:
    """Raise ``ValueError`` if a joint of shapes ``position`` (..., n, 3) is folded by more than ``largest`` degrees."""
    t, _ = edges(position, parents)
    joints = np.flatnonzero(parents > 0)
    if not len(joints):
        return
    half = np.linalg.norm(t[..., parents[joints], :] + t[..., joints, :], axis=-1) / 2  # cosine of half the angle
    angles = np.degrees(2 * np.arccos(np.minimum(half, 1.0))).reshape(-1, len(joints)).max(axis=0)
    worst = int(np.argmax(angles))
    if angles[worst] > largest + 0.01:  # rounding of a state that a step has let pass
        i, angle = int(joints[worst]), angles[worst]
        middle = int(parents[i])
        raise ValueError(
            f"{name}: the rod is folded by {angle:.4g} degrees at vertex {middle}, between vertices "
            f"{int(parents[middle])} and {i}; at most {largest:g} are allowed"
        )


def check_natural_folds(name: str, curvature: np.ndarray, rest_length: np.ndarray, parents: np.ndarray) -> None:
    """Raise ``ValueError`` if natural curvatures (B, n, 2) [1/m] fold a joint between edges of ``rest_length`` (B, n)
    [m] by more than ``LARGEST_FOLD``."""
    lengths = np.stack([joint_lengths(np.asarray(rest, float), parents) for rest in rest_length])
    bend = np.linalg.norm(np.asarray(curvature, float), axis=-1) * lengths * (parents > 0)
    if (bend > 2.001 * np.tan(np.radians(LARGEST_FOLD) / 2)).any():  # float32 has rounded it
        b, i = (int(k) for k in np.unravel_index(int(bend.argmax()), bend.shape))
        raise ValueError(
            f"{name} of joint {i}, {bend[b, i] / lengths[b, i]:.4g} / m over {lengths[b, i]:.3g} m, folds it by more "
            f"than {LARGEST_FOLD:g} degrees"
        )


def joint_lengths(rest_length: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Mean rest length of the two edges of each joint, (n,) [m]; 1 where there is no joint."""
    result = np.ones(len(parents))
    has_joint = parents > 0
    result[has_joint] = (rest_length[has_joint] + rest_length[parents[has_joint]]) / 2
    return result


def vertex_shares(length: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Half the rest lengths of the edges that meet in each vertex, (n,) [m]."""
    share = np.zeros(len(length))
    for i in range(1, len(length)):
        share[i] += length[i] / 2
        share[parents[i]] += length[i] / 2
    return share
