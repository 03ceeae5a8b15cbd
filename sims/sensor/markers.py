"""Markers in a gel's skin, as the camera sees them move.

A marker is bound at rest to the triangle of the skin above its place, by barycentric coordinates beta, and lies a fixed
depth h under it, along the triangle's normal n (of length one, out of the gel):

    p = beta_a a + beta_b b + beta_c c - h n,      n = m / |m|,      m = (b - a) x (c - a).

It stays with its triangle whatever the gel does, so that readings are smooth in the nodes; markers that the gel hides
are read as if it did not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from pliant.sims.inputs import real, real_array, shown, whole
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.surface import checked_positions, checked_surface

MOST_MARKERS = 100_000


def marker_grid(rows: int, columns: int, pitch: float) -> np.ndarray:
    """Places (rows * columns, 2) [m] in lines along x, from the lowest y, centred on the mount's axis.

    Args:
        rows, columns: how many there are along y and along x.
        pitch: from one to the next [m].
    """
    whole("rows", rows, 1, MOST_MARKERS)
    whole("columns", columns, 1, MOST_MARKERS)
    real("pitch", pitch, above=0.0, unit="m")
    x, y = (np.arange(columns) - (columns - 1) / 2) * pitch, (np.arange(rows) - (rows - 1) / 2) * pitch
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def marker_disc(count: int, radius: float) -> np.ndarray:
    """Places (count, 2) [m] that fill a disc evenly, as round gels have them: along a spiral around the mount's axis.

    Successive ones are a golden angle apart, so that each has about the area pi radius^2 / count to itself.

    Args:
        count: of the markers.
        radius: of the disc [m].
    """
    whole("count", count, 1, MOST_MARKERS)
    real("radius", radius, above=0.0, unit="m")
    number = np.arange(count)
    angle = number * np.pi * (3.0 - np.sqrt(5.0))
    distance = radius * np.sqrt((number + 0.5) / count)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


@dataclass(frozen=True, eq=False)
class MarkerReading:
    """Markers of B worlds; all arrays in the type of the positions that they were read from.

    Attributes:
        pixels: where they are in the picture, shape (B, M, 2); some may have left it.
        displacements: from the picture at rest [pixels], shape (B, M, 2).
        points: in the mount's frame [m], shape (B, M, 3).
        motions: from rest [m], shape (B, M, 3).
        corners: of their triangles [m], shape (B, M, 3, 3), float64; the adjoint needs them.
    """

    pixels: np.ndarray
    displacements: np.ndarray
    points: np.ndarray
    motions: np.ndarray
    corners: np.ndarray


class Markers:
    """Markers of one gel before one camera.

    Args:
        triangles: of the skin, node numbers, shape (S, 3), counter-clockwise seen from outside.
        rest: positions of all nodes at rest in the mount's frame [m], shape (N, 3).
        camera: that sees them.
        places: (x, y) of each in the mount's frame at rest [m], shape (M, 2): on the skin above or below them, the
            highest where there are several.
        depth: under the skin [m].

    Raises:
        ValueError: no skin at a marker's place, or the camera does not show a marker at rest.
    """

    def __init__(self, triangles: Any, rest: Any, camera: CalibratedCamera, places: Any, *, depth: float = 0.0) -> None:
        nodes, faces = checked_surface(triangles, rest)
        given = real_array("places", places)
        if given.ndim != 2 or given.shape[1] != 2 or not 1 <= len(given) <= MOST_MARKERS:
            raise ValueError(f"places has shape {given.shape}, must be (M, 2), 1 <= M <= {MOST_MARKERS}")
        self.depth = real("depth", depth, 0.0, unit="m")
        self.camera, self._node_count = camera, len(nodes)
        triangle, self._shares = _bind(nodes, faces, given)
        self._corners = faces[triangle]
        count = 3 * len(given)
        rows = (self._corners.ravel(), np.arange(count))
        self._spread = sparse.csr_matrix((np.ones(count), rows), shape=(len(nodes), count))
        self.rest_points = self._points_of(nodes[None, self._corners])[0]
        try:
            self.rest_pixels = camera.project(self.rest_points)
        except ValueError as error:
            raise ValueError(f"depth={self.depth:g} m: {error}") from None
        outside = (self.rest_pixels < -0.5).any(1) | (self.rest_pixels > (camera.width - 0.5, camera.height - 0.5)).any(
            1
        )
        if outside.any():
            at = int(np.argmax(outside))
            raise ValueError(
                f"places[{at}]={given[at].tolist()} [m] is at pixel {self.rest_pixels[at].round(1).tolist()}, outside "
                f"of the camera's picture of {camera.width} x {camera.height}"
            )

    def __len__(self) -> int:
        return len(self.rest_points)

    def read(self, positions: Any) -> MarkerReading:
        """Markers of gels with nodes at ``positions`` (B, N, 3) [m] in the mount's frame.

        Raises:
            ValueError: another shape, a number that is not finite, a marker at or behind the camera.
        """
        kind = np.float32 if getattr(positions, "dtype", None) == np.float32 else np.float64
        nodes = checked_positions(positions, self._node_count, kind)
        corners = nodes[:, self._corners].astype(np.float64, copy=False)
        points = self._points_of(corners)
        pixels = self.camera.project(points)
        values = (pixels, pixels - self.rest_pixels, points, points - self.rest_points)
        pixels, displacements, points, motions = (value.astype(kind, copy=False) for value in values)
        return MarkerReading(pixels, displacements, points, motions, corners)

    def adjoint(self, reading: MarkerReading, *, pixels_bar: Any = None, points_bar: Any = None) -> np.ndarray:
        """Cotangents (B, N, 3) of the nodes, in the type of the reading.

        Args:
            reading: whose.
            pixels_bar: cotangents of pixels, or of displacements, (B, M, 2); None: zero.
            points_bar: cotangents of points, or of motions, (B, M, 3); None: zero.
        """
        corners, batch = reading.corners, len(reading.pixels)
        bar = np.zeros((batch, len(self), 3))
        if points_bar is not None:
            bar += real_array("points_bar", points_bar, shape=bar.shape)
        if pixels_bar is not None:
            given = real_array("pixels_bar", pixels_bar, shape=(*bar.shape[:2], 2))
            bar += self.camera.project_adjoint(self._points_of(corners), given)
        corners_bar = bar[:, :, None] * self._shares[:, :, None]
        if self.depth:
            # p = ... - h m / |m|:  m_bar = -h (p_bar - n (n . p_bar)) / |m|,  a_bar += (b - c) x m_bar, in turn
            n, length = _normals(corners)
            m_bar = -self.depth * (bar - n * (n * bar).sum(axis=-1, keepdims=True)) / length
            sides = np.roll(corners, -1, axis=2) - np.roll(corners, -2, axis=2)
            corners_bar += np.cross(sides, m_bar[:, :, None])
        flat = corners_bar.reshape(batch, -1, 3).transpose(1, 0, 2).reshape(-1, 3 * batch)
        nodes_bar = (self._spread @ flat).reshape(self._node_count, batch, 3).transpose(1, 0, 2)
        return np.ascontiguousarray(nodes_bar, reading.pixels.dtype)

    def _points_of(self, corners: np.ndarray) -> np.ndarray:
        points = np.einsum("bmki,mk->bmi", corners, self._shares)
        return points - self.depth * _normals(corners)[0] if self.depth else points


def draw_markers(
    markers: Markers, reading: MarkerReading, world: int = 0, *, image: Any = None, gain: float = 1.0
) -> np.ndarray:
    """A picture of the markers of one world, and arrows from where they were at rest, (height, width, 3) uint8, RGB.

    Args:
        markers: that were read.
        reading: of them.
        world: which of the reading's.
        image: to draw on, (height, width, 3), 0..255; None: light grey.
        gain: arrows are so many times as long as the displacements.
    """
    import cv2

    number = whole("world", world, 0, len(reading.pixels) - 1)
    real("gain", gain, 0.0)
    shape = (markers.camera.height, markers.camera.width, 3)
    if image is None:
        picture = np.full(shape, 208, np.uint8)
    else:
        picture = np.clip(np.rint(real_array("image", image, shape=shape)), 0, 255).astype(np.uint8)
    ends = markers.rest_pixels + gain * reading.displacements[number]
    size = max(1, round(min(shape[:2]) / 120))
    fraction = 4  # bits of a pixel, as cv2 takes them

    def fixed(pixel: np.ndarray) -> tuple[int, int]:
        bound = np.clip(pixel, -1e4, 1e5)  # whatever is far outside of the picture stays there
        return round(float(bound[0]) * 2**fraction), round(float(bound[1]) * 2**fraction)

    for pixel in reading.pixels[number]:
        cv2.circle(picture, fixed(pixel), size << fraction, (32, 32, 32), -1, cv2.LINE_AA, fraction)
    for start, end in zip(markers.rest_pixels, ends, strict=True):
        if np.hypot(*(end - start)) > 0.25:
            tip = min(0.4, 3.0 * size / np.hypot(*(end - start)))
            cv2.arrowedLine(picture, fixed(start), fixed(end), (220, 40, 20), 1, cv2.LINE_AA, fraction, tip)
    return picture


def _normals(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (B, M, 3) of triangles and the lengths (B, M, 1) that they had."""
    m = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    length = np.maximum(np.linalg.norm(m, axis=-1, keepdims=True), 1e-30)
    return m / length, length


def _bind(nodes: np.ndarray, faces: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest triangle (M,) above each place (M, 2), and the shares (M, 3) of its corners there."""
    corners = nodes[faces]
    flat = corners[:, :, :2]
    low, high = flat.min(axis=1), flat.max(axis=1)
    margin = 1e-9 * (high - low).max()
    triangle, shares = np.empty(len(places), np.int64), np.empty((len(places), 3))
    for m, place in enumerate(places):
        near = np.flatnonzero(((low <= place + margin) & (place - margin <= high)).all(axis=1))
        a, b, c = (flat[near, k] - place for k in range(3))
        w = np.stack([_turn(b, c), _turn(c, a), _turn(a, b)], axis=1)
        total = w.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            w = w / total
        w[~((w >= -1e-9).all(axis=1) & (np.abs(total[:, 0]) > 1e-30))] = np.nan
        above = (w * corners[near, :, 2]).sum(axis=1)
        if np.isnan(above).all():
            raise ValueError(f"places[{m}]={shown(place.tolist())} [m]: there is no skin above it")
        best = int(np.nanargmax(above))
        triangle[m], shares[m] = near[best], w[best]
    return triangle, shares


def _turn(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
