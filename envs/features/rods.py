"""Differentiable features of rods: how far vertices are from those of a target, which may move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pliant.envs.features.words import Feature, Sink, View, as_index


def targets(view: View, goal: str, ahead: int = 0) -> np.ndarray:
    """The targets of the vertices at the view's step, or so many steps ahead [m], shape (B, n, 3)."""
    points = view.goal[goal]
    if points.ndim == 3:
        return points
    return points[np.arange(view.batch), np.minimum(view.step + ahead, points.shape[1] - 1)]


class MeanDistance(Feature):
    """Mean distance of vertices from their targets [m], size 1: mean over i of sqrt(|x_i - x*_i|^2 + e^2) - e.

    The targets are the goal array ``goal``, shape (B, n, 3), or (B, T + 1, n, 3): one for each step, the first that of
    the reset.

    Args:
        rows: the vertices; the same rows of the goal.
        goal: name of the goal array.
        smoothing: e [m]; below it the distance is quadratic.
    """

    def __init__(
        self, rows: np.ndarray | Sequence[int], goal: str, *, smoothing: float = 0.0, name: str = "shape"
    ) -> None:
        self.name, self.size, self.index, self.goal, self.smoothing = name, 1, as_index(rows), goal, smoothing

    def _offsets(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        offset = view.array("position")[:, self.index] - targets(view, self.goal)[:, self.index]
        return offset, np.sqrt((offset**2).sum(axis=-1) + self.smoothing**2)

    def value(self, view: View) -> np.ndarray:
        return (self._offsets(view)[1] - self.smoothing).mean(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        offset, root = self._offsets(view)
        direction = np.divide(offset, root[..., None], out=np.zeros_like(offset), where=root[..., None] > 0.0)
        sink.add("position", cotangent[:, :, None] / root.shape[1] * direction, self.index)


class ToTarget(Feature):
    """From vertices to their targets, now or some steps ahead [m], flattened, for targets as in `MeanDistance`."""

    def __init__(self, rows: np.ndarray | Sequence[int], goal: str, *, ahead: int = 0, name: str = "to_target") -> None:
        self.name, self.size, self.index, self.goal, self.ahead = name, 3 * len(rows), as_index(rows), goal, ahead

    def value(self, view: View) -> np.ndarray:
        offset = targets(view, self.goal, self.ahead)[:, self.index] - view.array("position")[:, self.index]
        return offset.reshape(view.batch, self.size)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        sink.add("position", -cotangent.reshape(view.batch, -1, 3), self.index)


class HoldStill(Feature):
    """Mean distance [m] of targets from those of the reset, size 1: the error of a rod that stays where it was.

    It does not depend on the state.
    """

    def __init__(self, rows: np.ndarray | Sequence[int], goal: str, *, name: str = "hold_still") -> None:
        self.name, self.size, self.index, self.goal = name, 1, as_index(rows), goal

    def value(self, view: View) -> np.ndarray:
        moved = targets(view, self.goal) - view.goal[self.goal][:, 0]
        return np.linalg.norm(moved[:, self.index], axis=-1).mean(axis=1, keepdims=True)
