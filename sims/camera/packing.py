"""What a picture shows, checked and packed as the kernels read it: bodies, markers, light, ground, sizes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pliant.sims.camera import chains, shading, solids
from pliant.sims.camera.camera import Camera
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.shapes import shapes
from pliant.sims.shapes.profile import Revolution

Box = tuple[np.ndarray, np.ndarray]
_CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


class Spheres:
    """Particles packed for the kernels: flat ``centres`` and ``colors``, 3 each, of ``count`` spheres of one radius."""

    def __init__(self, points: np.ndarray, colors: np.ndarray, radius: float) -> None:
        self.count, self.radius = len(points), radius
        self.centres, self.colors = flat_triples(points), flat_triples(colors)

    def boxes(self) -> list[Box]:
        """Low and high corner [m] of all spheres together; empty without spheres."""
        if not self.count:
            return []
        centres = self.centres.reshape(-1, 3)
        return [(centres.min(0) - self.radius, centres.max(0) + self.radius)]


class Solids:
    """Effectors as (shape, position (3,) [m], orientation (w, x, y, z), color), packed for ``solids.solid_kernel``."""

    def __init__(
        self,
        surfaces: Sequence[tuple[Any, Sequence[float], Sequence[float], Sequence[float]]],
        half_thickness: float,
        *,
        farthest: float,
    ) -> None:
        self.count, self.half_thickness, self.farthest = len(surfaces), half_thickness, farthest
        self.shapes = [shape for shape, *_ in surfaces]
        self.kinds = tuple(sorted({int(shape.record()[0]) for shape in self.shapes}))
        self.rows = np.zeros((max(self.count, 1), solids.ROW_SIZE), np.float32)
        colors = np.zeros((self.count, 3), np.float32)
        for row, paint, (shape, position, orientation, color) in zip(self.rows, colors, surfaces, strict=False):
            row[:9] = rotation_matrix(orientation).ravel()
            row[9:12] = checked_points("surface position", np.reshape(position, (1, -1)), 3)[0]
            row[solids.RADIUS] = min(shape.bounding_radius, shapes.UNBOUNDED)
            paint[:] = checked_color("surface color", color, 1)
        self.colors = flat_triples(colors)
        # A two-dimensional scene's solids are extruded cross-sections: these may leave the solid, but not the ball.
        self._hulls = [(_hull if half_thickness == 0.0 else _ball)(shape) for shape in self.shapes]

    def boxes(self) -> list[Box]:
        """Low and high corners [m] of the bounded ones."""
        bounded = [row for row in self.rows[: self.count] if row[solids.RADIUS] < shapes.UNBOUNDED]
        return [(row[9:12] - row[solids.RADIUS], row[9:12] + row[solids.RADIUS]) for row in bounded]

    def pack(self, view: np.ndarray, width: int, height: int) -> tuple[np.ndarray, list[int]]:
        """The rows for one view, flat, and the window that holds all: left, top, columns, lines [pixels]."""
        rows = self.rows.copy()
        for row, (points, margin) in zip(rows, self._hulls, strict=False):
            rectangle = pixel_rectangle(view, points @ row[:9].reshape(3, 3).T + row[9:12], margin)
            row[solids.RECTANGLE : solids.RECTANGLE + 4] = np.clip(rectangle, -1.0, max(width, height))
        rectangles = rows[: self.count, solids.RECTANGLE : solids.RECTANGLE + 4]
        left, top = (max(0, math.floor(edge)) for edge in rectangles[:, :2].min(0))
        right, bottom = rectangles[:, 2:].max(0)
        columns, lines = min(width, math.ceil(right)) - left, min(height, math.ceil(bottom)) - top
        return rows.ravel(), [left, top, max(columns, 0), max(lines, 0)]


class Chains:
    """Rods as (vertices, edges, radius, color), packed for ``chains.draw_chains``: each edge is a capsule.

    Vertices [m] have shape (n, dim), dim 2 or 3; edges (m, 2) name two vertices each, so that any chain, ring or tree
    is possible; radius [m] and color are one for all edges or one for each, shapes (m,) and (m, 3).
    """

    def __init__(self, rods: Sequence[tuple[Any, Any, Any, Any]], dim: int) -> None:
        rows, colors = [np.zeros((0, chains.ROW_SIZE))], [np.zeros((0, 3))]
        for vertices, edges, radius, color in rods:
            points, pairs = checked_points("chain vertices", vertices, dim), np.asarray(edges)
            if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
                raise ValueError(f"chain edges has shape {pairs.shape}, dtype {pairs.dtype}; allowed: (m, 2) integers")
            if pairs.size and not (pairs.min() >= 0 and pairs.max() < len(points)):
                raise ValueError(f"chain edges must be in 0..{len(points) - 1}, is in {pairs.min()}..{pairs.max()}")
            radii = np.asarray(radius, np.float32)
            if radii.shape not in ((), (len(pairs),)) or not (np.isfinite(radii) & (radii > 0.0)).all():
                raise ValueError(f"chain radius={radius!r} must be one positive length [m] or {len(pairs)} of them")
            row = np.zeros((len(pairs), chains.ROW_SIZE))
            row[:, :dim], row[:, 3 : 3 + dim] = points[pairs[:, 0]], points[pairs[:, 1]]
            row[:, 6] = radii
            rows.append(row)
            colors.append(np.broadcast_to(checked_color("chain color", color, len(pairs)), (len(pairs), 3)))
        self._rows = np.concatenate(rows)
        self.count, self.colors = len(self._rows), flat_triples(np.concatenate(colors))
        self.rows = np.resize(self._rows.astype(np.float32).ravel(), max(self._rows.size, 1))

    def boxes(self) -> list[Box]:
        """Low and high corner [m] of all edges together; empty without edges."""
        if not self.count:
            return []
        ends, radius = self._rows[:, :6].reshape(-1, 2, 3), self._rows[:, None, 6:]
        return [((ends - radius).min((0, 1)), (ends + radius).max((0, 1)))]


def _ball(shape: shapes.Shape) -> tuple[np.ndarray, float]:
    """Centre (1, 3) [m], in the frame of a shape, and radius [m] of a ball that holds it."""
    return np.zeros((1, 3)), min(shape.bounding_radius, shapes.UNBOUNDED)


def _hull(shape: shapes.Shape) -> tuple[np.ndarray, float]:
    """Points (K, 3) [m] in the frame of a shape, and a margin [m]: their convex hull, so much wider, holds it."""
    if isinstance(shape, shapes.Capsule):
        return np.array([[0.0, 0.0, -shape.half_length], [0.0, 0.0, shape.half_length]]), shape.radius
    if isinstance(shape, shapes.Box):
        return _CORNERS * np.array(shape.half_extents), 0.0
    if isinstance(shape, shapes.Cylinder):
        return _CORNERS * np.array([shape.radius, shape.radius, shape.half_length]), 0.0
    if isinstance(shape, Revolution):
        radius, low, high = shape.bounds
        return _CORNERS * np.array([radius, radius, (high - low) / 2]) + [0.0, 0.0, (high + low) / 2], 0.0
    return _ball(shape)


def bounding_box(boxes: Sequence[Box]) -> Box:
    """Low and high corner [m], shape (3,), of several boxes; a unit cube if there are none."""
    if not boxes:
        return -np.ones(3), np.ones(3)
    return np.min([low for low, _ in boxes], 0), np.max([high for _, high in boxes], 0)


def pack_look(camera: Camera, dim: int, radius: float, ground: float | None) -> np.ndarray:
    """Light and sizes, shape (LOOK_SIZE,); colours are left 0. The light comes from over the camera's left shoulder."""
    look = np.zeros(shading.LOOK_SIZE, np.float32)
    right, _, forward = camera.axes
    if dim == 3:
        up = np.array([0.0, 0.0, 1.0])
        level = forward - up * (forward @ up)
        level /= max(float(np.linalg.norm(level)), 1e-9)
        sun = 1.05 * up - 0.6 * right - 0.35 * level
    else:
        sun = 0.7 * np.array([0.0, 1.0, 0.0]) - 0.45 * right - 1.3 * forward
    frame = camera.height_at_target
    look[shading.SUN : shading.SUN + 3] = sun / np.linalg.norm(sun)
    look[shading.GROUND_KIND] = 0.0 if ground is None else 4.0 - dim
    look[shading.HEIGHT] = 0.0 if ground is None else ground
    look[shading.WALL] = 2.0 * radius
    look[shading.CHECK] = _nice_length(frame / 8.0)
    look[shading.TARGET : shading.TARGET + 3] = camera.target
    look[shading.FRAME] = frame
    look[shading.BIAS] = 1.2 * radius
    look[shading.SOFTNESS] = 0.018 * frame
    look[shading.CORNER] = 0.06 * frame
    look[shading.TAPS :] = np.concatenate([_spiral(shading.SHADOW_TAPS), _spiral(shading.OCCLUSION_TAPS)])
    return look


def light_view(look: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The packed orthographic view from the light that holds the box, for a square shadow map of ``size`` pixels."""
    low, high = box
    centre, reach = (low + high) / 2.0, float(np.linalg.norm(high - low)) / 2.0
    sun = look[shading.SUN : shading.SUN + 3].astype(float)
    up = (0.0, 1.0, 0.0) if abs(sun[2]) > 0.9 else (0.0, 0.0, 1.0)
    return Camera((centre + 2.0 * reach * sun).tolist(), centre.tolist(), up=up, frame_height=2.0 * reach).pack(
        size, size
    )


def pixel_rectangle(view: np.ndarray, points: np.ndarray, margin: float) -> np.ndarray:
    """Left, top, right, bottom [pixels] that hold ``points`` (K, 3) widened by ``margin`` [m]; everything if unsure."""
    relative = points - view[0:3]
    depth = relative @ view[9:12]
    if not np.isfinite(relative).all() or depth.min() <= margin:
        return np.array([-1e9, -1e9, 1e9, 1e9])
    flat = view[13] > 0.5
    scale = view[12] * (np.ones(len(points)) if flat else depth)
    x, y = view[14] + relative @ view[3:6] / scale, view[15] - relative @ view[6:9] / scale
    # A ball off the axis looks stretched: by less than the square of its slant, at the depth of its front.
    slant = 0.0 if flat else view[12] ** 2 * float(np.max((x - view[14]) ** 2 + (y - view[15]) ** 2))
    wider = 2.0 + margin / (scale.min() - (0.0 if flat else view[12] * margin)) * (1.0 + slant)
    return np.array([x.min() - wider, y.min() - wider, x.max() + wider, y.max() + wider])


def flat_triples(values: np.ndarray) -> np.ndarray:
    """Rows as flat float32 triples with z = 0 where they have none; at least one, since kernels take no empty array."""
    result = np.zeros((max(len(values), 1), 3), np.float32)
    result[: len(values), : values.shape[1]] = values
    return result.ravel()


def checked_points(name: str, values: Any, dim: int | None) -> np.ndarray:
    """Finite points [m], shape (count, dim), float32; ``dim=None``: 2 or 3."""
    points = np.asarray(values, np.float32)
    allowed = (2, 3) if dim is None else (dim,)
    if points.ndim != 2 or points.shape[1] not in allowed:
        dims = " or ".join(str(d) for d in allowed)
        raise ValueError(f"{name} has shape {points.shape}; allowed: (count, {dims}) [m]")
    if not np.isfinite(points).all():
        raise ValueError(f"{name} must be finite; row {int(np.argmin(np.isfinite(points).all(1)))} is not")
    return points


def checked_color(name: str, values: Any, count: int) -> np.ndarray:
    """One colour (3,) or ``count`` of them, float32 in 0..1."""
    colors = np.asarray(values, np.float32)
    if colors.shape not in ((3,), (count, 3)):
        raise ValueError(f"{name} has shape {colors.shape}; allowed: (3,) or ({count}, 3)")
    if colors.size and not (colors.min() >= 0.0 and colors.max() <= 1.0):
        raise ValueError(f"{name} must be in 0..1, is in {colors.min()}..{colors.max()}")
    return colors


def pack_markers(markers: Sequence[tuple[Sequence[float], float, Sequence[float]]], dim: int) -> np.ndarray:
    """Markers as flat centre (3), radius, linear colour (3) each; at least one entry."""
    rows = np.zeros((len(markers), 7), np.float32)
    for row, (position, size, color) in zip(rows, markers, strict=True):
        point = checked_points("marker position", np.reshape(position, (1, -1)), dim)
        if not 0.0 < size < math.inf:
            raise ValueError(f"marker radius={size!r} must be a positive length [m]")
        row[:dim], row[3], row[4:] = point[0], size, checked_color("marker color", color, 1) ** 2
    return rows.ravel() if len(rows) else np.zeros(1, np.float32)


def rotation_matrix(orientation: Sequence[float]) -> np.ndarray:
    """Rotation matrix of a quaternion (w, x, y, z), normalised first."""
    q = np.asarray(orientation, float)
    length = float(np.linalg.norm(q)) if q.shape == (4,) else 0.0
    if not 1e-9 < length < math.inf:
        raise ValueError(f"surface orientation={orientation!r} must be a quaternion (w, x, y, z) other than zero")
    return matrix_of_quaternion(q)


@functools.cache
def _spiral(count: int) -> np.ndarray:
    """Points (x, y) spread evenly over the unit disc by the golden angle, flat."""
    k = np.arange(count)[::-1]  # the outermost first
    angle, r = k * math.pi * (3.0 - math.sqrt(5.0)), np.sqrt((k + 0.5) / count)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], -1).ravel()


def _nice_length(length: float) -> float:
    """The nearest of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(length))
    return min((1.0, 2.0, 5.0, 10.0), key=lambda f: abs(f - length / power)) * power
