"""Frames of presses beside what models predict of them, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pliant.policies.identification.press_frames import Presses

GAIN = 8  # errors are shown so many times as large
MARGIN = 1.2  # of a tile around the contact disc
LABEL = 18  # pixels of height


def side_by_side(
    presses: Presses, lightings: Mapping[str, Any], frames: Sequence[int], *, tile: int = 112
) -> np.ndarray:
    """Rows of frames; columns: the frame, what each lighting predicts inside the disc, and the errors, GAIN times.

    Returns:
        RGB, uint8.
    """
    import cv2

    rows = []
    for index in frames:
        pixels = presses.pixels([index])
        shown = presses.background if presses.background is not None else np.full(presses.images.shape[1:], 128.0)
        actual = presses.images[index] if presses.background is not None else shown + presses.images[index]
        inside = _inside(presses, index)
        drawn, errors = [np.clip(actual, 0, 255).astype(float)], []
        for lighting in lightings.values():
            change = lighting.change(pixels.m, pixels.place, pixels.background)
            image = np.array(shown, float)
            base = pixels.background if pixels.background is not None else shown[inside]
            image[inside] = np.clip(base + change, 0, 255)
            drawn.append(image)
            error = np.zeros_like(image)
            error[inside] = np.minimum(GAIN * np.abs(image[inside] - drawn[0][inside]), 255)
            errors.append(error)
        rows.append(np.hstack([_tile(presses, index, image, tile) for image in drawn + errors]))
    names = ["frame", *lightings, *(f"{GAIN} x error" for _ in lightings)]
    heading = np.full((LABEL, rows[0].shape[1], 3), 255, np.uint8)
    for column, name in enumerate(names):
        place = (column * tile + 3, LABEL - 5)
        cv2.putText(heading, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([heading, *rows])


def _inside(presses: Presses, index: int) -> np.ndarray:
    """The pixels of the contact disc, (H, W)."""
    width, height = presses.size
    y, x = np.mgrid[:height, :width]
    (cx, cy), radius = presses.centre[index], presses.radius[index]
    return (x - cx) ** 2 + (y - cy) ** 2 < radius * radius


def _tile(presses: Presses, index: int, image: np.ndarray, size: int) -> np.ndarray:
    """The surroundings of a contact, resized."""
    import cv2

    reach = int(np.ceil(MARGIN * presses.radius.max()))
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    x, y = (round(float(c)) for c in presses.centre[index])
    crop = padded[y : y + 2 * reach, x : x + 2 * reach]
    return np.rint(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)).astype(np.uint8)
