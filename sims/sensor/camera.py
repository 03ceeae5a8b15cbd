"""The calibrated camera behind a gel: where a point of the gel is in the picture, and which ray a pixel sees.

All in OpenCV's conventions: the camera's frame has x to the right, y down and z ahead in the picture, pixel (0, 0) is
the centre of the upper left one, and lens coefficients are those that ``cv2.calibrateCamera`` and
``cv2.fisheye.calibrate`` give. Without a pose the camera's axes are those of the mount, so that it looks along +z
through the gel.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.sims.inputs import flag, real, real_array, shown, whole, word
from pliant.sims.sensor.lens import COUNTS, LENSES, distort, distort_coefficients_adjoint, full_coefficients

LARGEST = 16384  # pixels along a side of a picture
_PRECISE = 1e-9  # pixels; a ray goes through its pixel as exactly as this
_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class CalibratedCamera:
    """A camera with a lens, fixed to a sensor's mount.

    A point p of the mount's frame is at ``rotation @ (p - position)`` in the camera's.

    Attributes:
        width, height: of the picture [pixels].
        focal: (fx, fy) [pixels], above 0.
        centre: the principal point (cx, cy) [pixels]; None: the middle of the picture.
        distortion: the lens's coefficients in OpenCV's order (`pliant.sims.sensor.lens`): 0, 4, 5, 8 or 12 of a
            pinhole, 0 or 4 of a fisheye. Of 14, as OpenCV's tilted sensors have, the last two must be 0.
        lens: "pinhole" (Brown-Conrady) or "fisheye" (Kannala-Brandt).
        rotation: its rows are the camera's axes in the mount's frame, shape (3, 3).
        position: of the camera in the mount's frame [m].

    Raises:
        ValueError: a number is out of range, or the distortion cannot be undone at some pixel.
    """

    width: int
    height: int
    focal: Any
    centre: Any = None
    distortion: Any = ()
    lens: str = "pinhole"
    rotation: Any = field(default=_IDENTITY)
    position: Any = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        whole("width", self.width, 1, LARGEST)
        whole("height", self.height, 1, LARGEST)
        word("lens", self.lens, LENSES)
        focal = real_array("focal", self.focal, shape=(2,))
        for name, length in zip(("fx", "fy"), focal, strict=True):
            if length <= 0.0:
                raise ValueError(f"focal: {name}={length} must be > 0 [pixels]")
        middle = ((self.width - 1) / 2, (self.height - 1) / 2)
        centre = real_array("centre", middle if self.centre is None else self.centre, shape=(2,))
        rotation = real_array("rotation", self.rotation, shape=(3, 3))
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-6 or np.linalg.det(rotation) < 0.0:
            raise ValueError("rotation must be a rotation matrix: orthonormal rows, determinant 1")
        values = {"focal": focal, "centre": centre, "rotation": rotation}
        values["distortion"] = _checked_distortion(self.lens, self.distortion)
        values["position"] = real_array("position", self.position, shape=(3,))
        for name, value in values.items():
            value = np.array(value)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        columns, rows = np.linspace(0, self.width - 1, 9), np.linspace(0, self.height - 1, 9)
        self._slopes_at(np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2))

    @classmethod
    def behind_gel(
        cls,
        size: Any,
        *,
        width: int = 320,
        height: int = 240,
        distance: float = 0.025,
        top: float = 0.0,
        fill: bool = False,
    ) -> CalibratedCamera:
        """A pinhole camera on the mount's axis that just shows a gel of ``size`` (x, y) [m].

        Args:
            size: of the gel across x and y [m].
            width, height: of the picture [pixels].
            distance: of the camera behind the mount's origin [m]: it is at z = -distance.
            top: height z of the gel's surface in the mount's frame [m], where ``size`` is measured.
            fill: where the proportions differ: whether the picture is filled and the gel cut, or all of it is shown.
        """
        extent = real_array("size", size, shape=(2,))
        if (extent <= 0.0).any():
            raise ValueError(f"size={shown(size)} must be two lengths > 0 [m]")
        real("distance", distance, above=0.0, unit="m")
        real("top", top, -distance * 0.999, unit="m")
        whole("width", width, 1, LARGEST)
        whole("height", height, 1, LARGEST)
        choose = max if flag("fill", fill) else min
        focal = (top + distance) * choose(width / extent[0], height / extent[1])
        return cls(width, height, (focal, focal), position=(0.0, 0.0, -distance))

    @classmethod
    def from_opencv(
        cls,
        camera_matrix: Any,
        distortion: Any,
        size: Any,
        *,
        lens: str = "pinhole",
        rotation_vector: Any = (0.0, 0.0, 0.0),
        translation: Any = (0.0, 0.0, 0.0),
    ) -> CalibratedCamera:
        """The camera of an OpenCV calibration.

        Args:
            camera_matrix: shape (3, 3), without skew.
            distortion: coefficients, any shape with as many numbers as the lens allows.
            size: (width, height) [pixels].
            lens: "pinhole" or "fisheye".
            rotation_vector, translation: OpenCV's ``rvec`` and ``tvec`` [m] from the mount's frame to the camera's.
        """
        import cv2

        matrix = checked_matrix(camera_matrix)
        width, height = np.asarray(size).tolist() if np.shape(size) == (2,) else (None, None)
        rotation = cv2.Rodrigues(real_array("rotation_vector", rotation_vector).reshape(3))[0]
        place = -rotation.T @ real_array("translation", translation).reshape(3)
        focal, centre = (matrix[0, 0], matrix[1, 1]), (matrix[0, 2], matrix[1, 2])
        return cls(width, height, focal, centre, np.ravel(distortion), lens, rotation, place)  # type: ignore[arg-type]

    @property
    def matrix(self) -> np.ndarray:
        """OpenCV's camera matrix, shape (3, 3)."""
        (fx, fy), (cx, cy) = self.focal, self.centre
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the mount's frame in the camera's [m]."""
        return (points - self.position) @ self.rotation.T

    def project(self, points: Any) -> np.ndarray:
        """Pixel positions (..., 2) of points (..., 3) [m] of the mount's frame; outside of the picture too.

        Computed in float64, given in the type of the points.

        Raises:
            ValueError: a point is not in front of the camera.
        """
        given = np.asarray(points)
        _, slopes = self._sight(given)
        pixels = distort(self.lens, self.distortion, slopes)[0] * self.focal + self.centre
        return pixels.astype(given.dtype if given.dtype.kind == "f" else np.float64, copy=False)

    def project_adjoint(self, points: Any, pixels_bar: Any) -> np.ndarray:
        """Cotangents of the points (..., 3) of ``project`` from those of the pixel positions (..., 2)."""
        return self._adjoint(points, pixels_bar)[0]

    def parameters_adjoint(self, points: Any, pixels_bar: Any) -> dict[str, np.ndarray]:
        """Cotangents of what ``project`` depends on beside the points, from those of the pixel positions (..., 2).

        Returns:
            "focal" (2,), "centre" (2,), "distortion" (as many as there are), "position" (3,), and "rotation" (3,), of a
            small rotation vector w in the camera's frame that turns what it sees: p to p + w x p.
        """
        _, seen, seen_bar, slopes, image_bar = self._adjoint(points, pixels_bar)
        image, _ = distort(self.lens, self.distortion, slopes)
        bar = np.asarray(pixels_bar, np.float64).reshape(-1, 2)
        return {
            "focal": (image.reshape(-1, 2) * bar).sum(axis=0),
            "centre": bar.sum(axis=0),
            "distortion": distort_coefficients_adjoint(self.lens, self.distortion, slopes, image_bar),
            "position": -seen_bar.reshape(-1, 3).sum(axis=0) @ self.rotation,
            "rotation": np.cross(seen, seen_bar).reshape(-1, 3).sum(axis=0),
        }

    def rays(self, pixels: Any) -> np.ndarray:
        """Unit vectors (..., 3), in the camera's frame, along which pixel positions (..., 2) are seen.

        Raises:
            ValueError: the distortion cannot be undone there: the lens folds the picture over.
        """
        given = real_array("pixels", pixels)
        if given.shape[-1:] != (2,):
            raise ValueError(f"pixels has shape {given.shape}, must be (..., 2)")
        slopes = self._slopes_at(given.reshape(-1, 2))
        rays = np.concatenate([slopes, np.ones((len(slopes), 1))], axis=1)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return rays.reshape(*given.shape[:-1], 3)

    @functools.cached_property
    def slopes(self) -> np.ndarray:
        """Slopes (x, y) = (X, Y) / Z of the rays of all pixels in the camera's frame, shape (height, width, 2)."""
        pixels = np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), axis=-1).astype(float)
        slopes = self._slopes_at(pixels.reshape(-1, 2)).reshape(self.height, self.width, 2)
        slopes.setflags(write=False)
        return slopes

    def undistort(self, image: Any) -> np.ndarray:
        """A picture (height, width) or (height, width, channels) as a pinhole of the same camera matrix takes it."""
        import cv2

        picture = np.asarray(image)
        if picture.shape[:2] != (self.height, self.width) or picture.ndim > 3:
            raise ValueError(
                f"image has shape {picture.shape}, must be ({self.height}, {self.width}) or with channels behind"
            )
        if self.lens == "fisheye":
            matrix, coefficients = self.matrix, full_coefficients(self.lens, self.distortion)
            return cv2.fisheye.undistortImage(picture, matrix, coefficients, Knew=matrix)
        return cv2.undistort(picture, self.matrix, self.distortion if len(self.distortion) else np.zeros(4))

    def _sight(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points in the camera's frame and their slopes."""
        if points.shape[-1:] != (3,):
            raise ValueError(f"points has shape {points.shape}, must be (..., 3)")
        seen = self.to_camera(points.astype(np.float64, copy=False))
        depth = seen[..., 2:]
        if not (depth > 0.0).all():
            where = tuple(int(i) for i in np.argwhere(~(depth[..., 0] > 0.0))[0])
            raise ValueError(
                f"points at {where} is {shown(points[where].tolist())} [m], at depth {depth[where][0]:g} m: all must "
                "be in front of the camera (depth > 0)"
            )
        return seen, seen[..., :2] / depth

    def _adjoint(self, points: Any, pixels_bar: Any) -> tuple[np.ndarray, ...]:
        """The points' cotangents; the points in the camera's frame with theirs; slopes, and distorted ones' bars."""
        given = np.asarray(points)
        seen, slopes = self._sight(given)
        bar = np.asarray(pixels_bar)
        if bar.shape != slopes.shape:
            raise ValueError(f"pixels_bar has shape {bar.shape}, must be {slopes.shape}")
        image_bar = bar * self.focal
        _, jacobian = distort(self.lens, self.distortion, slopes)
        slopes_bar = np.einsum("...i,...ij->...j", image_bar, jacobian)
        # (x, y) = (X, Y) / Z:  X_bar = x_bar / Z,  Z_bar = -(x x_bar + y y_bar) / Z
        seen_bar = np.concatenate([slopes_bar, -(slopes * slopes_bar).sum(axis=-1, keepdims=True)], axis=-1)
        seen_bar /= seen[..., 2:]
        points_bar = (seen_bar @ self.rotation).astype(
            given.dtype if given.dtype.kind == "f" else np.float64, copy=False
        )
        return points_bar, seen, seen_bar, slopes, image_bar

    def _slopes_at(self, pixels: np.ndarray) -> np.ndarray:
        """Slopes (n, 2) of the rays of pixel positions (n, 2): OpenCV's inverse, made exact by Newton's method."""
        import cv2

        wanted = (pixels - self.centre) / self.focal
        if not len(self.distortion) and self.lens == "pinhole":
            return wanted
        points, matrix = np.ascontiguousarray(pixels)[:, None], self.matrix
        if self.lens == "fisheye":
            found = cv2.fisheye.undistortPoints(points, matrix, full_coefficients(self.lens, self.distortion))
        else:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-8)
            found = cv2.undistortPoints(points, matrix, self.distortion, criteria=criteria)
        slopes = found.reshape(-1, 2).astype(np.float64)
        with np.errstate(all="ignore"):
            for _ in range(8):
                image, jacobian = distort(self.lens, self.distortion, slopes)
                miss = image - wanted
                turn = jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]
                good = (np.abs(miss * self.focal).max(axis=1) <= _PRECISE) & (turn > 0.0)
                if good.all():
                    return slopes
                x, y = miss[:, 0], miss[:, 1]
                step = [jacobian[:, 1, 1] * x - jacobian[:, 0, 1] * y, jacobian[:, 0, 0] * y - jacobian[:, 1, 0] * x]
                slopes = slopes - np.stack(step, axis=1) / turn[:, None]
        bad = pixels[np.argmin(good)]
        raise ValueError(
            f"distortion={shown(self.distortion.tolist())} cannot be undone at pixel ({bad[0]:g}, {bad[1]:g}): there "
            f"the {self.lens} lens shows no ray, or folds the picture over"
        )


def _checked_distortion(lens: str, distortion: Any) -> np.ndarray:
    coefficients = real_array("distortion", distortion).ravel()
    if lens == "pinhole" and len(coefficients) == 14 and not coefficients[12:].any():
        coefficients = coefficients[:12]
    if len(coefficients) not in COUNTS[lens]:
        allowed = ", ".join(map(str, COUNTS[lens]))
        raise ValueError(f"distortion has {len(coefficients)} coefficients; allowed for a {lens} lens: {allowed}")
    return coefficients


def checked_matrix(camera_matrix: Any) -> np.ndarray:
    matrix = real_array("camera_matrix", camera_matrix, shape=(3, 3))
    if matrix[0, 1] != 0.0 or matrix[1, 0] != 0.0 or matrix[2].tolist() != [0.0, 0.0, 1.0]:
        raise ValueError("camera_matrix must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]: a skew is not supported")
    return matrix
