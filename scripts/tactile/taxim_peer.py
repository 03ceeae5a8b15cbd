"""The package taxim (PyPI, MIT licence) beside ours: its calibrated table and its renderer, where it is installed."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

BINS = 125  # of its table on each axis: angle of the tilt, direction of the tilt


def package_folder() -> Path | None:
    """Where taxim is installed; None: nowhere."""
    found = importlib.util.find_spec("taxim")
    return Path(found.origin).parent if found is not None and found.origin else None


class TaximTable:
    """Its table for the GelSight sensor, a polynomial of the pixel for each bin of the normal: a lighting.

    It was fitted to all of its frames, so that none of these is new to it.

    Args:
        folder: of the package.
        size: (width, height) of the frames [pixels].
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        with np.load(folder / "calib" / "gelsight" / "polycalib.npz", allow_pickle=False) as found:
            # Its names are those of B G R pictures read as R G B.
            self._table = np.stack([found[name] for name in ("grad_b", "grad_g", "grad_r")], axis=2)
        self._size = size

    def change(self, m: np.ndarray, place: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
        """Change of colour [grey levels] of pixels with tilts m and (u, v), both (P, 2); shape (P, 3)."""
        angle, direction = 2.0 * np.arctan(np.linalg.norm(m, axis=1)), np.arctan2(m[:, 1], m[:, 0])
        i = np.clip(angle / (0.5 * np.pi / (BINS - 1)), 0, BINS - 1).astype(int)
        j = np.clip((direction + np.pi) / (2.0 * np.pi / (BINS - 1)), 0, BINS - 1).astype(int)
        x, y = (0.5 * (place + 1.0) * self._size - 0.5).T
        terms = np.stack([x * x, y * y, x * y, x, y, np.ones_like(x)], axis=-1)
        return (self._table[i, j] * terms[:, None, :]).sum(axis=-1)


def renderer() -> Any:
    """Its renderer on torch, on the CPU; None where the package or torch is not installed.

    It imports torch_scatter for shadows alone. Where that is missing an empty module takes its place: nothing here
    draws shadows.
    """
    if package_folder() is None or any(importlib.util.find_spec(name) is None for name in ("torch", "torchvision")):
        return None
    if importlib.util.find_spec("torch_scatter") is None:
        sys.modules["torch_scatter"] = types.ModuleType("torch_scatter")
    from taxim.taxim_torch import TaximTorch

    return TaximTorch(device="cpu")


def ball_surface(width: int, height: int, contact: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A ball pressed into the middle of a flat gel, so that it touches a share ``contact`` of a picture of 4 by 3.

    Returns:
        normals (1, H, W, 3), contact (1, H, W), and heights of the ball over the flat gel [mm], (H, W), below 0 in
        contact, at 0.0295 mm a pixel of a picture 640 wide.
    """
    y, x = np.mgrid[:height, :width]
    dx, dy = x - (width - 1) / 2, y - (height - 1) / 2
    radius = np.sqrt(contact * width * height / np.pi)
    ball = 1.3 * radius
    squared = dx * dx + dy * dy
    touched = squared < radius * radius
    lean = -np.stack([dx, dy], axis=-1) / ball * touched[..., None]
    normals = np.concatenate([lean, np.sqrt(1.0 - (lean**2).sum(-1, keepdims=True))], axis=-1)
    rise = np.sqrt(ball**2 - radius**2) - np.sqrt(np.maximum(ball**2 - squared, 0.0))
    heights = np.where(squared < (1.2 * radius) ** 2, rise, rise[squared < (1.2 * radius) ** 2].max())
    return normals[None], touched[None], heights * 0.0295 * 640 / width
