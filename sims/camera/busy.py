"""Tiles of a picture that shadows, the ghost or markers may change. Found on the host: tiles are few."""

from __future__ import annotations

import numpy as np

from pliant.sims.camera import tiles
from pliant.sims.camera.packing import pixel_rectangle
from pliant.sims.camera.rays import FAR


class Footprint:
    """The tiles of a view, each a pixel wider on all sides, and the ground that is seen in them.

    Args:
        view: packed view (``Camera.pack``).
        width, height: of the picture [pixels].
        depth: of the ground in each pixel [m], shape (height * width,), FAR where there is none.
        ledge: corners of a tile whose depths [m] differ by more are not on one plane of the ground.
    """

    def __init__(self, view: np.ndarray, width: int, height: int, depth: np.ndarray, ledge: float) -> None:
        edge = 1 << tiles.SHIFT
        self._view = view
        x, y = np.arange(0, width, edge), np.arange(0, height, edge)
        self.shape = len(y), len(x)
        self._x = np.stack([np.maximum(x - 1, 0), np.minimum(x + edge, width - 1)], -1)
        self._y = np.stack([np.maximum(y - 1, 0), np.minimum(y + edge, height - 1)], -1)
        column, row = np.broadcast_arrays(self._x[None, :, None, :], self._y[:, None, :, None])
        z = depth.reshape(height, width)[row, column].astype(float)
        self._seen = z.min((2, 3)) < FAR
        # On different planes, or some beyond the horizon, corners do not tell where the ground between them is.
        self._unclear = self._seen & (z.max((2, 3)) - z.min((2, 3)) > ledge)
        z = np.where(z < FAR, z, 0.0)
        size = view[12] * (view[13] + (1.0 - view[13]) * z)
        right, up = (column + 0.5 - view[14]) * size, (view[15] - row - 0.5) * size
        self._corners = view[0:3] + right[..., None] * view[3:6] + up[..., None] * view[6:9] + z[..., None] * view[9:12]

    def shadowed(self, light_view: np.ndarray, light_size: int, close: np.ndarray) -> np.ndarray:
        """Tiles in which the ground meets the ``close`` tiles (rows, columns) of a shadow map so many pixels wide."""
        relative = self._corners - light_view[0:3]
        found = self._seen.copy()
        ranges = []
        for axis, sign in ((6, -1.0), (3, 1.0)):
            at = light_view[14] - 0.5 + sign * (relative @ light_view[axis : axis + 3]) / light_view[12]
            low, high = at.min((2, 3)), at.max((2, 3))
            found &= (high >= 0.0) & (low < light_size)
            ranges += [np.clip(edge, 0.0, light_size - 1.0).astype(int) >> tiles.LIGHT_SHIFT for edge in (low, high)]
        top, bottom, left, right = ranges
        total = np.zeros((close.shape[0] + 1, close.shape[1] + 1), int)  # of all rows above and columns to the left
        total[1:, 1:] = (close != 0).cumsum(0).cumsum(1)
        count = total[bottom + 1, right + 1] - total[top, right + 1] - total[bottom + 1, left] + total[top, left]
        return found & (count > 0) | self._unclear

    def under_markers(self, goals: np.ndarray) -> np.ndarray:
        """Tiles over which markers (``packing.pack_markers``) may lie."""
        found = np.zeros(self.shape, bool)
        for row in goals[: len(goals) // 7 * 7].reshape(-1, 7):
            left, top, right, bottom = pixel_rectangle(self._view, row[None, :3], float(row[3]))
            columns = (self._x[:, 0] <= right) & (left <= self._x[:, 1])
            found |= ((self._y[:, 0] <= bottom) & (top <= self._y[:, 1]))[:, None] & columns
        return found


def busy_marks(
    footprint: Footprint,
    light_view: np.ndarray,
    light_size: int,
    light_tiles: np.ndarray,
    ghost_tiles: np.ndarray | None,
    goals: np.ndarray,
) -> np.ndarray:
    """The marks SHADOW, GHOST and MARKER of all tiles, shape (tiles,), int32.

    A tile is marked if it, or a pixel beside it, may lie under one of them. A tile without marks looks like the
    backdrop, to the last bit.
    """
    edge = -(-light_size >> tiles.LIGHT_SHIFT)
    close = light_tiles[: edge * edge].reshape(edge, edge)
    marks = footprint.shadowed(light_view, light_size, close) * tiles.SHADOW
    marks |= footprint.under_markers(goals) * tiles.MARKER
    if ghost_tiles is not None:
        marks |= (ghost_tiles[: marks.size].reshape(marks.shape) != 0) * tiles.GHOST
    return marks.ravel().astype(np.int32)
