"""Where contacts really were: marked by hand, they are a pixel or so off, and the normals around them with them.

A lighting that is fitted to normals in the wrong place is blurred. So the shift of each frame's contact is fitted along
with it, by Gauss-Newton steps now and then, held close to zero, and on average zero: frames that are predicted later
have contacts as they were marked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LARGEST_LEAN = 0.999  # |n_x, n_y| of a shifted normal; beyond lies the back of the ball
STEP = 0.5  # pixels, of the differences
LEAST = 1.0  # grey levels; smaller residuals weigh as much


class ContactShifts:
    """Shifts of the contacts of some frames.

    Args:
        m: tilts of the pixels around the contacts as they were marked, shape (P, 2).
        frame: 0 .. F - 1, that each pixel belongs to, shape (P,).
        ball_pixels: radius of the ball [pixels].
        penalty: on the squared shift [1/pixel^2], against the mean absolute error in units of ``unit``.
        unit: grey levels.
    """

    def __init__(self, m: np.ndarray, frame: np.ndarray, ball_pixels: float, penalty: float, unit: float) -> None:
        self._lean = 2.0 * m / (1.0 + (m * m).sum(-1, keepdims=True))
        self._frame, self._ball = frame, ball_pixels
        self._penalty, self._unit = penalty, unit
        self.pixels = np.zeros((int(frame.max()) + 1, 2))
        """By which each contact lies to the right of and below its mark, shape (F, 2)."""

    def tilts(self, chosen: np.ndarray | slice = slice(None), further: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """m of the pixels ``chosen`` with the contacts shifted, and ``further`` pixels more; shape (P, 2)."""
        lean = self._lean[chosen] + (self.pixels[self._frame[chosen]] + further) / self._ball
        length = np.linalg.norm(lean, axis=1, keepdims=True)
        lean *= np.minimum(1.0, LARGEST_LEAN / np.maximum(length, 1e-12))
        return lean / (1.0 + np.sqrt(1.0 - (lean * lean).sum(-1, keepdims=True)))

    def improve(
        self, chosen: np.ndarray, predict: Callable[[np.ndarray], np.ndarray], target: np.ndarray, rounds: int = 2
    ) -> None:
        """Gauss-Newton steps of every frame, with weights 1 / |residual| for the mean absolute error.

        With r = target - prediction and J = d prediction / d shift of a frame's N numbers, W = diag(1 / |r|):
        (J^T W J / (N unit) + 2 penalty) step = J^T W r / (N unit) - 2 penalty shift.

        Args:
            chosen: indices of the pixels to go by, p of them.
            predict: from tilts (p, 2) to colours (p, 3).
            target: colours, shape (p, 3).
            rounds: steps.
        """
        frame, count = self._frame[chosen], len(self.pixels)
        for _ in range(rounds):
            residual = target - predict(self.tilts(chosen))
            weight = 1.0 / np.maximum(np.abs(residual), LEAST)
            ahead, behind = (
                [predict(self.tilts(chosen, (s * STEP, 0.0))), predict(self.tilts(chosen, (0.0, s * STEP)))]
                for s in (1.0, -1.0)
            )
            slopes = [(a - b) / (2.0 * STEP) for a, b in zip(ahead, behind, strict=True)]
            numbers = np.maximum(3.0 * np.bincount(frame, minlength=count), 1.0) * self._unit
            matrix, right = np.zeros((count, 2, 2)), np.zeros((count, 2))
            for i in range(2):
                right[:, i] = np.bincount(frame, (weight * slopes[i] * residual).sum(-1), count) / numbers
                for j in range(2):
                    matrix[:, i, j] = np.bincount(frame, (weight * slopes[i] * slopes[j]).sum(-1), count) / numbers
            matrix += 2.0 * self._penalty * np.eye(2)
            right -= 2.0 * self._penalty * self.pixels
            self.pixels += np.clip(np.linalg.solve(matrix, right[..., None])[..., 0], -1.0, 1.0)
            self.pixels -= self.pixels.mean(axis=0)
