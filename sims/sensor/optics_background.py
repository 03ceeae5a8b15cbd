"""The picture of a tactile sensor that nothing touches, at the size and smoothness that images are made from."""

from __future__ import annotations

import numpy as np

WIDTH, SHARE = 50.0 / 640.0, 0.15
"""Of the blur, as a part of the picture's width, and its share in the background (Si and Yuan 2022)."""


def smoothed_background(frame: np.ndarray) -> np.ndarray:
    """0.85 of a frame without contact and 0.15 of its blur, which calms its noise; float64, shape (H, W, 3)."""
    import cv2

    frame = np.asarray(frame, np.float64)
    blurred = cv2.GaussianBlur(frame, (0, 0), WIDTH * frame.shape[1], borderType=cv2.BORDER_REFLECT_101)
    return SHARE * blurred + (1.0 - SHARE) * frame


def resized_background(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """A frame at another size: the mean over what a new pixel covers, or linear between the old ones."""
    import cv2

    if frame.shape[:2] == (height, width):
        return frame
    shrinks = width * height < frame.shape[0] * frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
