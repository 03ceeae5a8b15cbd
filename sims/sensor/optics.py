"""The RGB image that a camera behind a gel sees, from the normals of the gel's surface, and its adjoint.

    optics = Optics.load("gelsight", size=(320, 240))
    image, kept = optics(normals, depth)
    normals_bar, depth_bar = optics.adjoint(kept, image_bar)

Where nothing touches, the image is the background, a frame of the sensor without contact. In contact a calibrated
lighting (`optics_network`, `optics_lighting`) adds a change that depends on the surface's normal and on the pixel.

The image is differentiable once, continuously, but for: colours that leave 0..255 are clipped, and have no gradient;
surfaces tilted by more than a right angle are shown as seen edge-on; a ``mask`` switches pixels on and off.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.sims import runtime
from pliant.sims.arrays import Array
from pliant.sims.inputs import numbers, real, real_array, shown, whole
from pliant.sims.sensor.optics_background import resized_background, smoothed_background
from pliant.sims.sensor.optics_ensemble import lookup
from pliant.sims.sensor.optics_features import positions
from pliant.sims.sensor.optics_files import LARGEST_SIDE, Calibration, load_calibration
from pliant.sims.sensor.optics_kernels import shading_kernels

FULL_DEPTH = 1e-4
"""Depth of a dent from which on the lighting counts in full [m]."""

TERMS = 8
"""Products of a function of the normal and one of the pixel that a lighting is summed up from."""

GREY = 128.0
"""Grey level of the background of a sensor that comes without one."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What the adjoint of an image needs: flat arrays of the forward call."""

    shape: tuple[int, int, int]
    normals: np.ndarray
    weight: np.ndarray
    full_depth: float
    raw: np.ndarray


class Optics:
    """Images of one sensor, of one size and precision.

    Args:
        calibration: the sensor's.
        size: (width, height) of the images [pixels]; None: as the calibration's frames. They show the same stretch of
            the gel at any size.
        background: RGB frame without contact [grey levels 0 to 255], shape (H, W, 3), of any size; None: the
            calibration's, or an even grey where it has none.
        precision: "f32" or "f64".
        full_depth: depth of a dent [m] from which on the lighting counts in full. Below, its share is a smooth step.
        terms: products of a function of the normal and one of the pixel that the lighting is summed up from, at most;
            an image costs in proportion, and few are enough.

    Attributes:
        width, height: of the images [pixels].
        background: what they show without contact [grey levels], shape (H, W, 3).

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        calibration: Calibration,
        *,
        size: Any = None,
        background: Any = None,
        precision: str = "f32",
        full_depth: float = FULL_DEPTH,
        terms: int = TERMS,
    ) -> None:
        self.calibration = calibration
        self.precision = precision
        self._dtype = runtime.numpy_type(precision)
        self.full_depth = real("full_depth", full_depth, above=0.0, unit="m")
        width, height = calibration.size if size is None else _checked_size(size)
        self.width, self.height = width, height
        frame = calibration.background if background is None else _checked_background(background)
        if frame is None:
            frame = np.full((height, width, 3), GREY)
        self.background = resized_background(smoothed_background(frame), width, height)
        place = positions(width, height).reshape(-1, 2)
        colours = self.background.reshape(-1, 3)
        table, factors = lookup(calibration.lighting, place, colours, terms=whole("terms", terms, 1, 64))
        self._nodes, self._terms = len(table), table.shape[-1]
        self._table, self._factors = self._array(table), self._array(factors)
        self._colours = self._array(self.background)
        self._ones = np.ones(0, self._dtype)

    @classmethod
    def load(cls, named: str | os.PathLike[str], **options: Any) -> Optics:
        """Optics of a known sensor, "gelsight" or "digit", or of a file that `pliant tactile calibrate` wrote.

        Args:
            named: the sensor, or the path.
            options: as for the class.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the name is unknown, the file is no calibration, or an option is out of range.
        """
        return cls(load_calibration(named), **options)

    def _array(self, values: np.ndarray) -> Array:
        """Constant values where the kernels run."""
        array = Array(values.size, self._dtype)
        array.write(np.ascontiguousarray(values, self._dtype).ravel())
        return array

    def __call__(self, normals: Any, depth: Any = None, *, mask: Any = None) -> tuple[np.ndarray, Kept]:
        """The images of a batch of surfaces.

        Args:
            normals: unit normals of the gel's outer surface, away from the gel, in the camera's frame (x along columns,
                y along rows, z away from the camera): (0, 0, 1) where it squarely faces the camera; shape (B, H, W, 3).
                Their length is not looked at.
            depth: how far the surface is pushed in from where it rests [m], shape (B, H, W). The lighting's share is
                0 at rest, 1 from ``full_depth`` on. None: 1 everywhere.
            mask: shares in place of those from a depth, 0 to 1 or truth values, shape (B, H, W) or (H, W).

        Returns:
            RGB images [grey levels, 0 to 255, not rounded], shape (B, H, W, 3), and what ``adjoint`` needs.

        Raises:
            ValueError: shapes do not fit, numbers are not finite, a normal points back at the camera, depth and mask
                are both given.
        """
        flat, batch = self._checked_normals(normals)
        shape = (batch, self.height, self.width)
        if depth is not None and mask is not None:
            raise ValueError("depth and mask are both given; pass one of them")
        weight, reach = self._checked_weight(depth, mask, shape)
        self._check_values(flat, weight)
        raw = np.empty(flat.size, self._dtype)
        shade, _ = shading_kernels(self.precision, self._terms)
        sizes = (flat.size // 3, self.height * self.width, self._nodes)
        self._launch(shade, *sizes, reach, flat, weight, self._factors, self._colours, self._table, raw)
        image = np.clip(raw, 0.0, 255.0).reshape(*shape, 3)
        return image, Kept(shape, flat, weight, reach, raw)

    def adjoint(self, kept: Kept, image_bar: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Cotangents of what an image was made of.

        Args:
            kept: of the forward call.
            image_bar: cotangent of the image, shape (B, H, W, 3).

        Returns:
            Cotangents of the normals, shape (B, H, W, 3), each component taken for itself (not only along the sphere),
            and of the depth, or of the shares of a mask of numbers, shape (B, H, W); None where neither was given.

        Raises:
            ValueError: the shape does not fit, or a number is not finite.
        """
        bar = real_array("image_bar", image_bar, shape=(*kept.shape, 3), dtype=self._dtype)
        flat = np.ascontiguousarray(bar).ravel()
        normals_bar, weight_bar = np.empty_like(kept.raw), np.empty_like(kept.weight)
        _, shade_adjoint = shading_kernels(self.precision, self._terms)
        sizes = (kept.weight.size, self.height * self.width, self._nodes)
        self._launch(
            shade_adjoint,
            *sizes,
            kept.full_depth,
            kept.normals,
            kept.weight,
            self._factors,
            self._table,
            kept.raw,
            flat,
            normals_bar,
            weight_bar,
        )
        return normals_bar.reshape(*kept.shape, 3), None if kept.full_depth < 0.0 else weight_bar.reshape(kept.shape)

    def _launch(self, kernel: Any, *arguments: Any) -> None:
        with runtime.exclusive():
            runtime.start()
            kernel(*(a.device_array if isinstance(a, Array) else a for a in arguments))

    def _checked_normals(self, normals: Any) -> tuple[np.ndarray, int]:
        given = numbers("normals", normals)
        if given.ndim != 4 or given.shape[1:] != (self.height, self.width, 3) or not len(given):
            raise ValueError(f"normals has shape {given.shape}, must be (batch, {self.height}, {self.width}, 3)")
        return np.ascontiguousarray(given, self._dtype).ravel(), len(given)

    def _checked_weight(self, depth: Any, mask: Any, shape: tuple[int, int, int]) -> tuple[np.ndarray, float]:
        """Depths and what is full depth, or shares and 0, or -1 where they are not numbers to be differentiated."""
        if depth is not None:
            given = numbers("depth", depth)
            if given.shape != shape:
                raise ValueError(f"depth has shape {given.shape}, must be {shape}")
            return np.ascontiguousarray(given, self._dtype).ravel(), self.full_depth
        count = shape[0] * shape[1] * shape[2]
        if mask is None:
            if self._ones.size != count:
                self._ones = np.ones(count, self._dtype)
            return self._ones, -1.0
        given = np.asarray(mask)
        if given.shape not in (shape, shape[1:]):
            raise ValueError(f"mask has shape {given.shape}, must be {shape} or {shape[1:]}")
        if given.dtype == bool:
            return np.ascontiguousarray(np.broadcast_to(given, shape), self._dtype).ravel(), -1.0
        values = real_array("mask", given, dtype=self._dtype)
        if values.min() < 0.0 or values.max() > 1.0:
            raise ValueError(f"mask goes from {values.min():g} to {values.max():g}; allowed: 0 to 1")
        return np.ascontiguousarray(np.broadcast_to(values, shape)).ravel(), 0.0

    def _check_values(self, normals: np.ndarray, depth: np.ndarray) -> None:
        """Refuse what is not finite, at the cost of a sum of squares, and normals without a tilt."""
        if not np.isfinite(np.dot(normals, normals)):
            real_array("normals", normals.reshape(-1, self.height, self.width, 3))
        if not np.isfinite(np.dot(depth, depth)):
            real_array("depth", depth.reshape(-1, self.height, self.width))
        ahead = normals[2::3]
        if ahead.min() <= -1.0:
            worst = normals.reshape(-1, 3)[np.argmin(ahead)]
            raise ValueError(f"normals: {worst} points back at the camera; allowed: n_z > -1")


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        width, height = size
    except (TypeError, ValueError):
        raise ValueError(f"size={shown(size)} must be (width, height) [pixels]") from None
    return whole("size[0], the width,", width, 1, LARGEST_SIDE), whole("size[1], the height,", height, 1, LARGEST_SIDE)


def _checked_background(background: Any) -> np.ndarray:
    frame = real_array("background", background)
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"background has shape {frame.shape}, must be (height, width, 3)")
    if frame.min() < 0.0 or frame.max() > 255.0:
        raise ValueError(f"background goes from {frame.min():g} to {frame.max():g}; allowed: grey levels 0 to 255")
    return frame
