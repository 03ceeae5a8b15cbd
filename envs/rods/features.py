"""Differentiable features of rods: how far vertices are from those of a target shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pliant.envs.features import Feature, Sink, View, as_index


class MeanDistance(Feature):
    """Mean distance of vertices from their targets [m], size 1: mean over i of sqrt(|x_i - x*_i|^2 + e^2) - e.

    The targets are the goal array ``goal``, shape (B, n, 3).

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
        offset = view.array("position")[:, self.index] - view.goal[self.goal][:, self.index]
        return offset, np.sqrt((offset**2).sum(axis=-1) + self.smoothing**2)

    def value(self, view: View) -> np.ndarray:
        return (self._offsets(view)[1] - self.smoothing).mean(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        offset, root = self._offsets(view)
        direction = np.divide(offset, root[..., None], out=np.zeros_like(offset), where=root[..., None] > 0.0)
        sink.add("position", cotangent[:, :, None] / root.shape[1] * direction, self.index)
