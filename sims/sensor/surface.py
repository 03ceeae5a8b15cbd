"""Depth and normals of a gel's skin as the camera sees them, and their derivatives by the gel's nodes.

Which triangle a pixel shows is found anew for each reading and is fixed in the derivative. The readings are smooth in
the nodes as long as that stays. Depth and normals are continuous across edges within the skin (normals are those of the
vertices, interpolated), but their derivatives jump there. At the skin's rim, and where one part of it hides another, a
pixel jumps from one surface to another, and the derivative does not see it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import sparse

from pliant.sims import runtime
from pliant.sims.inputs import numbers, real, real_array
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.raster import NOTHING, PLANE, SUMS, raster_kernels

MOST_ENTRIES = 2**31 - 1
"""Numbers of one array in a kernel."""

NEAREST = 1e-6
"""Depth that all of the skin must have before the camera [m]."""

FARTHEST = 1e3
"""Largest coordinate of the skin in the camera's frame [m]; squares of areas still fit in float32."""

BANDS = 32
"""Stretches of lines into which threads divide a picture on the CPU."""

GROUPS = 64
TASK = 512  # Taichi hands a CPU thread at least so many iterations of an outermost loop
FINEST = 512  # cells along a side in which rays are looked up

_built: set[tuple[str, str]] = set()  # kernels, by precision and direction, that this process has compiled


@dataclass(frozen=True, eq=False)
class SurfaceView:
    """What the camera sees of the skin in B worlds.

    Attributes:
        depth: of the surface along the camera's axis [m], shape (B, height, width); 0 where there is none.
        normals: unit normals in the camera's frame, shape (B, height, width, 3), out of the gel, so away from the
            camera; (0, 0, 1) where there is no surface.
        triangle: number of the triangle in each pixel, shape (B, height, width), int32; -1: none.
        kept: what the adjoint needs besides: vertices in the camera's frame, their normals and lengths, planes, boxes.
    """

    depth: np.ndarray
    normals: np.ndarray
    triangle: np.ndarray
    kept: tuple[np.ndarray, ...]


class GelSurface:
    """The skin of a gel before a camera.

    Args:
        triangles: of the skin, node numbers, shape (S, 3), counter-clockwise seen from outside of the gel. Only what
            the camera is to see: not the face by which the gel is bonded to its mount (`skin_triangles`).
        rest: positions of all nodes at rest in the mount's frame [m], shape (N, 3).
        camera: that looks at the skin from inside.
        precision: "f32" or "f64", in which all is computed.

    Raises:
        ValueError: the triangles are no oriented surface, have no area, or are not in front of the camera.
    """

    def __init__(self, triangles: Any, rest: Any, camera: CalibratedCamera, *, precision: str = "f32") -> None:
        self._dtype = runtime.numpy_type(precision)
        self.rest, self.triangles = checked_surface(triangles, rest)
        self.camera, self.precision = camera, precision
        used, faces = np.unique(self.triangles, return_inverse=True)
        self._vertices = used.astype(np.int32)
        self._faces = faces.astype(np.int32).ravel()
        order = np.argsort(self._faces, kind="stable").astype(np.int32)
        counts = np.bincount(self._faces, minlength=len(used))
        self._incident, self._starts = order, np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self._pose = np.concatenate([camera.rotation.ravel(), camera.position]).astype(self._dtype)
        self._check_places(camera.to_camera(self.rest[used])[None])
        self._check_orientation()
        self._order = self._order_along_lines()

    @property
    def node_count(self) -> int:
        """N, all nodes of the gel."""
        return len(self.rest)

    @functools.cached_property
    def at_rest(self) -> SurfaceView:
        """The view of the undeformed gel, B = 1."""
        view = self._read(self.rest[None])
        if not (view.triangle != NOTHING).any():
            raise ValueError("camera: no pixel shows the gel; it looks past the surface that it was given")
        return view

    def read(self, positions: Any) -> SurfaceView:
        """What the camera sees of gels with nodes at ``positions`` (B, N, 3) [m] in the mount's frame.

        Raises:
            ValueError: another shape, a number that is not finite, a vertex of the skin at or behind the camera, more
                worlds than one array can hold; the camera sees nothing of the gel at rest.
        """
        self.at_rest  # noqa: B018 - looks once whether the camera sees the gel
        return self._read(positions)

    def _read(self, positions: Any) -> SurfaceView:
        nodes = checked_positions(positions, self.node_count, self._dtype)
        batch, height, width = len(nodes), self.camera.height, self.camera.width
        v_count, t_count = len(self._vertices), len(self.triangles)
        if batch * max(height * width * 3, t_count * PLANE, self.node_count * 3) > MOST_ENTRIES:
            raise ValueError(f"positions: {batch} worlds of {width} x {height} pixels are too many for one reading")
        empty = functools.partial(np.empty, dtype=self._dtype)
        placed, normals, lengths = empty(batch * v_count * 3), empty(batch * v_count * 3), empty(batch * v_count)
        plane, boxes = empty(batch * t_count * PLANE), np.empty(batch * t_count * 4, np.int32)
        depth, shown = empty(batch * height * width), empty(batch * height * width * 3)
        found = np.empty(batch * height * width, np.int32)
        grid, cells, columns, rows = self._cells
        with self._kernels("forward") as kernels:
            kernels.place(nodes.ravel(), self._vertices, self._pose, batch, self.node_count, v_count, placed)
            self._check_places(placed.reshape(batch, v_count, 3))
            kernels.smooth_normals(placed, self._faces, self._starts, self._incident, batch, v_count, normals, lengths)
            kernels.planes(
                placed, normals, self._faces, grid, cells, batch, v_count, t_count, columns, rows, plane, boxes
            )  # fmt: skip
            bands, _, stride = self._shares(batch)
            kernels.draw(
                placed, self._faces, plane, boxes, self._slopes,
                batch, v_count, t_count, width, height, bands, stride, found, depth, shown,
            )  # fmt: skip
        image = (batch, height, width)
        kept = (placed, normals, lengths, plane, boxes)
        return SurfaceView(depth.reshape(image), shown.reshape(*image, 3), found.reshape(image), kept)

    def adjoint(
        self, view: SurfaceView, *, depth_bar: Any = None, normals_bar: Any = None, points_bar: Any = None
    ) -> np.ndarray:
        """Cotangents (B, N, 3) of the nodes, from those of a view's depth, normals and ``points``; None: zero."""
        batch, height, width = view.depth.shape
        v_count, t_count = len(self._vertices), len(self.triangles)
        image = (batch, height, width)
        zeros = functools.partial(np.zeros, dtype=self._dtype)
        d_bar = zeros(image) if depth_bar is None else self._checked_bar("depth_bar", depth_bar, image)
        n_bar = (
            zeros((*image, 3)) if normals_bar is None else self._checked_bar("normals_bar", normals_bar, (*image, 3))
        )
        if points_bar is not None:
            p_bar = self._checked_bar("points_bar", points_bar, (*image, 3))
            d_bar = d_bar + (p_bar * self._directions).sum(axis=-1)
        placed, normals, lengths, plane, boxes = view.kept
        sums = np.empty(batch * t_count * SUMS, self._dtype)
        placed_bar, m_bar = np.empty_like(placed), np.empty_like(placed)
        nodes_bar = zeros((batch, self.node_count, 3))
        _, groups, stride = self._shares(batch)
        with self._kernels("adjoint") as kernels:
            kernels.gather(
                placed, normals, self._faces, plane, boxes, self._slopes, view.triangle.ravel(), self._order,
                d_bar.ravel(), n_bar.ravel(), batch, v_count, t_count, width, height, groups, stride, sums,
            )  # fmt: skip
            kernels.collect(
                normals, lengths, self._starts, self._incident, sums, batch, v_count, t_count, placed_bar, m_bar
            )
            kernels.put_back(
                placed, self._faces, self._starts, self._incident, self._vertices, self._pose, placed_bar, m_bar,
                batch, self.node_count, v_count, nodes_bar.ravel(),
            )  # fmt: skip
        return nodes_bar

    def points(self, view: SurfaceView) -> np.ndarray:
        """Points of the skin that the pixels show, in the mount's frame [m], shape (B, height, width, 3).

        Where there is no surface: the camera's position.
        """
        return view.depth[..., None] * self._directions + self.camera.position.astype(self._dtype)

    @contextmanager
    def _kernels(self, which: str) -> Iterator[SimpleNamespace]:
        """Kernels for this thread alone; what comes first in a process compiles them."""
        with runtime.exclusive():
            runtime.start()
            with nullcontext() if (self.precision, which) in _built else runtime.quick_build():
                yield raster_kernels(self.precision)
            _built.add((self.precision, which))

    @functools.cached_property
    def _slopes(self) -> np.ndarray:
        return self.camera.slopes.astype(self._dtype).ravel()

    @functools.cached_property
    def _directions(self) -> np.ndarray:
        """Rays of depth 1 in the mount's frame, (height, width, 3)."""
        slopes = self.camera.slopes
        rays = np.concatenate([slopes, np.ones((*slopes.shape[:2], 1))], axis=2)
        return (rays @ self.camera.rotation).astype(self._dtype)

    @functools.cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Cells of slopes: where they begin and how many there are to the unit, the pixels' box of each, their counts.

        They tell which pixels a triangle may cover whatever the lens does to its edges.
        """
        slopes = self._slopes.reshape(-1, 2)
        low, high = slopes.min(axis=0), slopes.max(axis=0)
        counts = np.array([max(1, min(self.camera.width // 2, FINEST)), max(1, min(self.camera.height // 2, FINEST))])
        scale = (counts / np.maximum(high - low, 1e-6)).astype(self._dtype)
        cell = np.minimum(((slopes - low) * scale).astype(np.int32), counts - 1)
        number = cell[:, 1] * counts[0] + cell[:, 0]
        boxes = np.empty((counts[0] * counts[1], 4), np.int32)
        boxes[:, 0::2], boxes[:, 1::2] = 1 << 30, -1
        y, x = np.divmod(np.arange(len(slopes)), self.camera.width)
        for column, which, values in ((0, np.minimum, x), (1, np.maximum, x), (2, np.minimum, y), (3, np.maximum, y)):
            which.at(boxes[:, column], number, values.astype(np.int32))
        return np.concatenate([low, scale]).astype(self._dtype), boxes.ravel(), int(counts[0]), int(counts[1])

    def _shares(self, batch: int) -> tuple[int, int, int]:
        """Bands of a picture, groups of triangles, and iterations that a task takes."""
        if runtime.choose() == "cpu":
            return min(BANDS, self.camera.height), min(GROUPS, batch * len(self.triangles)), TASK
        return self.camera.height, batch * len(self.triangles), 1

    def _checked_bar(self, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        return np.ascontiguousarray(real_array(name, value, shape=shape, dtype=self._dtype))

    def _check_places(self, seen: np.ndarray) -> None:
        if np.abs(seen).max() > FARTHEST:
            world, vertex = (int(i) for i in np.argwhere(np.abs(seen).max(axis=-1) > FARTHEST)[0])
            raise ValueError(
                f"positions: node {self._vertices[vertex]} of world {world} is at {seen[world, vertex].tolist()} m "
                f"from the camera; no coordinate may be larger than {FARTHEST:g} m"
            )
        depth = seen[..., 2]
        if not (depth >= NEAREST).all():
            world, vertex = (int(i) for i in np.argwhere(~(depth >= NEAREST))[0])
            raise ValueError(
                f"positions: node {self._vertices[vertex]} of world {world} is at depth {depth[world, vertex]:g} m: "
                "the skin must stay in front of the camera; it is pressed too deep, or the camera is too near"
            )

    def _order_along_lines(self) -> np.ndarray:
        """Triangles in lines of the picture at rest: neighbours in memory are drawn one after the other."""
        corners = self.camera.to_camera(self.rest)[self.triangles]
        sight = corners[..., 1] / corners[..., 2]
        tall = np.median(sight.max(axis=1) - sight.min(axis=1))
        line = np.floor(sight.mean(axis=1) / max(tall, 1e-12))
        across = (corners[..., 0] / corners[..., 2]).mean(axis=1)
        return np.lexsort((across, line)).astype(np.int32)

    def _check_orientation(self) -> None:
        a, b, c = (self.camera.to_camera(self.rest[self.triangles[:, k]]) for k in range(3))
        if np.einsum("ij,ij->", np.cross(b - a, c - a), (a + b + c) / 3) <= 0.0:
            raise ValueError(
                "triangles: their normals look towards the camera; they must be counter-clockwise seen from outside"
            )


def skin_triangles(triangles: Any, rest: Any, *, steepest: float = 80.0) -> np.ndarray:
    """The triangles of a gel's whole surface that look along +z of the mount at rest: those that a camera is to see.

    Args:
        triangles: node numbers, shape (S, 3), counter-clockwise seen from outside.
        rest: positions of all nodes at rest [m], shape (N, 3).
        steepest: largest angle of a normal to the z axis [degrees], above 0, at most 90.

    Raises:
        ValueError: as `GelSurface`; or there are none.
    """
    limit = real("steepest", steepest, above=0.0, high=90.0, unit="degrees")
    nodes, faces = checked_surface(triangles, rest)
    a, b, c = (nodes[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    up = normal[:, 2] > np.cos(np.radians(limit)) * np.linalg.norm(normal, axis=1) + 1e-12 * np.abs(normal).max()
    if not up.any():
        raise ValueError(f"triangles: none looks along +z within steepest={limit:g} degrees")
    return faces[up]


def checked_positions(positions: Any, node_count: int, dtype: Any) -> np.ndarray:
    """Nodes of B worlds, shape (B, N, 3), contiguous; ``ValueError`` for anything else."""
    given = numbers("positions", positions)
    if given.ndim != 3 or given.shape[1:] != (node_count, 3) or not len(given):
        raise ValueError(f"positions has shape {given.shape}, must be (B, {node_count}, 3), B >= 1")
    return np.ascontiguousarray(real_array("positions", given, dtype=dtype))


def checked_surface(triangles: Any, rest: Any) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (N, 3) and triangles (S, 3) of an oriented surface, float64 and int64.

    Raises:
        ValueError: numbers of nodes that are not there, triangles without area, edges of more than two triangles or of
            two that are oriented differently.
    """
    nodes = real_array("rest", rest)
    if nodes.ndim != 2 or nodes.shape[1] != 3:
        raise ValueError(f"rest has shape {nodes.shape}, must be (N, 3)")
    faces = numbers("triangles", triangles)
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.dtype.kind not in "iu":
        raise ValueError(f"triangles must be integers of shape (S, 3), S >= 1; they have {faces.shape}, {faces.dtype}")
    wrong = ((faces < 0) | (faces >= len(nodes))).any(axis=1)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"triangles[{at}]={faces[at].tolist()} must be numbers of nodes, 0..{len(nodes) - 1}")
    faces = faces.astype(np.int64)
    a, b, c = (nodes[faces[:, k]] for k in range(3))
    longest = np.maximum.reduce([((b - a) ** 2).sum(1), ((c - b) ** 2).sum(1), ((a - c) ** 2).sum(1)])
    flat = np.linalg.norm(np.cross(b - a, c - a), axis=1) <= 1e-9 * longest
    if flat.any():
        at = int(np.argmax(flat))
        raise ValueError(f"triangles[{at}]={faces[at].tolist()} has no area at rest")
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    times = sparse.csr_matrix((np.ones(len(start)), (start, end)), shape=(len(nodes),) * 2).tocoo()
    if (times.data > 1).any():
        at = int(np.argmax(times.data > 1))
        raise ValueError(
            f"triangles: the edge from node {times.row[at]} to {times.col[at]} belongs to {int(times.data[at])} "
            "triangles in one direction; a surface has at most two at an edge, oriented alike"
        )
    return nodes, faces
