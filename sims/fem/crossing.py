"""Whether a surface of triangles crosses itself, by separating axes."""

from __future__ import annotations

import numpy as np

SHRUNK = 1e-6
"""Share by which triangles are drawn together, so that neighbours do not touch."""

AT_ONCE = 200_000


def crossing_triangles(corners: np.ndarray) -> tuple[int, int] | None:
    """Numbers of two triangles that cross or lie on each other, the first such pair; corners are (f, 3, 3) [m].

    Triangles may share corners and edges. What overlaps by less than a millionth of a triangle is not seen.
    """
    middle = corners.mean(axis=1, keepdims=True)
    corners = middle + (1 - SHRUNK) * (corners - middle)
    low, high = corners.min(axis=1), corners.max(axis=1)
    axis = int(np.ptp(corners, axis=(0, 1)).argmax())
    order = np.argsort(low[:, axis], kind="stable")
    low, high = low[order], high[order]
    # Those whose boxes may overlap follow each other along the longest axis.
    after = np.searchsorted(low[:, axis], high[:, axis], side="right")
    count = after - np.arange(len(order)) - 1
    ends = np.cumsum(count)
    first = 0
    while first < len(order):
        stop = max(int(np.searchsorted(ends, ends[first] - count[first] + AT_ONCE, side="right")), first + 1)
        here = count[first:stop]
        one = np.repeat(np.arange(first, stop), here)
        other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(here) - here, here)
        near = (low[one] <= high[other]).all(axis=1) & (low[other] <= high[one]).all(axis=1)
        one, other = order[one[near]], order[other[near]]
        crosses = ~_separated(corners[one], corners[other])
        if crosses.any():
            found = int(np.argmax(crosses))
            return int(min(one[found], other[found])), int(max(one[found], other[found]))
        first = stop
    return None


def _separated(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether a plane lies between triangles (p, 3, 3) and others, (p,) bool."""
    edges = np.roll(one, -1, axis=1) - one, np.roll(other, -1, axis=1) - other
    normals = np.cross(edges[0][:, 0], edges[0][:, 1]), np.cross(edges[1][:, 0], edges[1][:, 1])
    axes = [*normals]
    for i in range(3):
        axes += [np.cross(normals[side], edges[side][:, i]) for side in (0, 1)]  # these tell coplanar ones apart
        axes += [np.cross(edges[0][:, i], edges[1][:, j]) for j in range(3)]
    apart = np.zeros(len(one), bool)
    for axis in axes:
        left, right = np.einsum("pci,pi->pc", one, axis), np.einsum("pci,pi->pc", other, axis)
        apart |= (left.max(axis=1) < right.min(axis=1)) | (right.max(axis=1) < left.min(axis=1))
    return apart
