"""The score of a batch of worlds: how much of the task is done, from the metric now or from its course so far."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pliant.envs.features.words import View
from pliant.envs.task import Score


class Scorer:
    """Keeps what a `Score` compares with: the metric right after the reset, or sums over the steps since."""

    def __init__(self, score: Score, batch: int) -> None:
        self._score = score
        self._start = np.zeros(batch)
        self._sums = np.zeros((2, batch))  # of the metric and of what it is relative to
        self._counted = np.zeros(batch, int)  # steps that are in the sums

    def reset(self, view: View, worlds: np.ndarray) -> None:
        """Begin episodes in the worlds of the mask (B,), which ``view`` shows."""
        relative = self._score.relative_to is not None
        self._start[worlds] = 1.0 if relative else self._score.metric.value(view)[worlds, 0]
        self._sums[:, worlds] = 0.0
        self._counted[worlds] = 0

    def snapshot(self) -> dict[str, np.ndarray]:
        """What is kept, by name, axis 0 the world."""
        return {"start": self._start.copy(), "sums": self._sums.T.copy(), "counted": self._counted.copy()}

    def restore(self, kept: Mapping[str, np.ndarray]) -> None:
        """Inverse of `snapshot`."""
        self._start, self._sums = np.array(kept["start"], float), np.array(kept["sums"], float).T.copy()
        self._counted = np.array(kept["counted"], int)

    def value(self, view: View, goal: Mapping[str, np.ndarray]) -> np.ndarray:
        """The score, in [0, 1], shape (B,); to be called after each step and each reset, also of other worlds."""
        metric = self._score.metric.value(view)[:, 0]
        if self._score.relative_to is not None:
            is_new = view.step > self._counted
            self._sums += np.where(is_new, [metric, self._score.relative_to.value(view)[:, 0]], 0.0)
            self._counted = view.step.copy()
            above, below = self._sums
            metric = np.divide(above, below, out=np.ones_like(above), where=below > 0.0)
        wanted = self._score.goal
        span = (goal[wanted] if isinstance(wanted, str) else wanted) - self._start
        gained = metric - self._start
        done = np.divide(gained, span, out=np.ones_like(gained), where=np.abs(span) > 1e-12)
        return np.clip(done, 0.0, 1.0) + 0.0  # no negative zero
