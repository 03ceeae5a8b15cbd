"""Where a picture is taken from: a pinhole camera, or an orthographic one for two-dimensional scenes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VIEW_SIZE = 16  # floats of a packed view: position 3, right 3, up 3, forward 3, pixel size, is_orthographic, centre 2


@dataclass(frozen=True)
class Camera:
    """A camera at ``position`` [m] that looks at ``target`` [m], both (x, y, z).

    Attributes:
        position: where the camera stands [m].
        target: what it looks at, the centre of the picture [m].
        up: the direction that points up in the picture.
        field_of_view: vertical opening angle [degrees] of a pinhole camera, in (0, 180).
        frame_height: height of the world [m] that an orthographic camera shows; None: a pinhole camera.
    """

    position: Sequence[float]
    target: Sequence[float]
    up: Sequence[float] = (0.0, 0.0, 1.0)
    field_of_view: float = 35.0
    frame_height: float | None = None

    def __post_init__(self) -> None:
        for name in ("position", "target", "up"):
            value = np.asarray(getattr(self, name), float)
            if value.shape != (3,) or not np.isfinite(value).all():
                raise ValueError(f"{name}={getattr(self, name)!r} must be three finite numbers")
            object.__setattr__(self, name, tuple(value.tolist()))
        if not 0.0 < self.field_of_view < 180.0:
            raise ValueError(f"field_of_view={self.field_of_view!r} must be between 0 and 180 degrees")
        if self.frame_height is not None and not 0.0 < self.frame_height < math.inf:
            raise ValueError(f"frame_height={self.frame_height!r} must be a positive length [m] or None")
        if self.distance < 1e-9:
            raise ValueError(f"target={self.target!r} must differ from position={self.position!r}")
        if np.linalg.norm(np.cross(self._forward, self.up)) < 1e-6:
            raise ValueError(f"up={self.up!r} must not be zero or along the line of sight")

    @classmethod
    def frame_scene(
        cls, low: Sequence[float], high: Sequence[float], dim: int, *, aspect: float = 1.0, margin: float = 0.08
    ) -> Camera:
        """The camera that shows the box from ``low`` to ``high`` [m], shape (dim,), in a picture width/height = aspect.

        ``dim=3``: from the front right (the front is towards -y), a little above. ``dim=2``: straight from the front,
        y up, proportions kept. ``margin`` is the share of the picture left free on each side.
        """
        lower, upper = np.asarray(low, float), np.asarray(high, float)
        if dim not in (2, 3):
            raise ValueError(f"dim={dim!r} is not allowed; allowed: 2, 3")
        if lower.shape != (dim,) or upper.shape != (dim,) or not (lower < upper).all():
            raise ValueError(f"low={low!r}, high={high!r} must be the corners of a box, {dim} numbers each, low < high")
        if not (0.0 < aspect < math.inf and 0.0 <= margin < 0.5):
            raise ValueError(f"aspect={aspect!r} must be positive and margin={margin!r} in [0, 0.5)")
        if dim == 2:
            width, height = upper - lower
            frame = float(max(height, width / aspect) / (1.0 - 2.0 * margin))
            x, y = (lower + upper) / 2.0
            return cls((x, y, 2.0 * frame), (x, y, 0.0), up=(0.0, 1.0, 0.0), frame_height=frame)
        return cls._frame_box(lower, upper, aspect, margin)

    @classmethod
    def _frame_box(cls, lower: np.ndarray, upper: np.ndarray, aspect: float, margin: float) -> Camera:
        centre, field_of_view = (lower + upper) / 2.0, 30.0
        backward = np.array([0.5, -1.0, 0.46])
        backward /= np.linalg.norm(backward)
        corners = np.array([[lower[0], upper[0]], [lower[1], upper[1]], [lower[2], upper[2]]])
        box = np.stack(np.meshgrid(*corners, indexing="ij"), -1).reshape(8, 3) - centre
        near = cls((centre + backward).tolist(), centre.tolist(), field_of_view=field_of_view)
        right, up, forward = near.axes
        # A corner at depth z = distance + forward·c stays inside if |right·c| <= z tan(half angle), and so for up.
        tangent = math.tan(math.radians(field_of_view / 2.0)) * (1.0 - 2.0 * margin)
        across, along, depth = np.abs(box @ right) / (tangent * aspect), np.abs(box @ up) / tangent, box @ forward
        distance = float(np.max(np.maximum(across, along) - depth))
        return cls((centre + distance * backward).tolist(), centre.tolist(), field_of_view=field_of_view)

    @property
    def distance(self) -> float:
        """From the camera to its target [m]."""
        return float(np.linalg.norm(np.subtract(self.target, self.position)))

    @property
    def height_at_target(self) -> float:
        """Height of the world [m] that the picture shows at the target's distance."""
        if self.frame_height is not None:
            return self.frame_height
        return 2.0 * self.distance * math.tan(math.radians(self.field_of_view / 2.0))

    @property
    def _forward(self) -> np.ndarray:
        return np.subtract(self.target, self.position) / self.distance

    @functools.cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors right, up and forward of the picture, in the world."""
        forward = self._forward
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        return right, np.cross(right, forward), forward

    def pack(self, width: int, height: int) -> np.ndarray:
        """The view as kernels read it, shape (VIEW_SIZE,), float32, for a picture of width x height pixels."""
        right, up, forward = self.axes
        orthographic = self.frame_height is not None
        frame = self.height_at_target if orthographic else self.height_at_target / self.distance
        tail = [frame / height, float(orthographic), width / 2.0, height / 2.0]
        return np.concatenate([self.position, right, up, forward, tail]).astype(np.float32)
