"""Triangle meshes in a picture: the meshes themselves, and several of them packed for the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from pliant.sims.arrays import Array
from pliant.sims.camera import packing, rays, triangles
from pliant.sims.runtime import ti

MOST = rays.EFFECTOR // 4  # triangles: their numbers end where those of a key do
WIDE = 4096  # threads share the lines of triangles unless there are so many


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """A rigid part of a picture: triangles in its own frame, shaded smoothly but for sharp edges.

    Make one of each part and keep it: pictures recognise it and send it to the device once.

    Attributes:
        vertices: positions [m], shape (V, 3).
        faces: three vertices of each triangle, shape (F, 3), integers; both sides are seen, in either order.
        crease: edges between faces that turn by more than this angle [degrees] look sharp; 0: flat shading.
        corner_normals: unit normals at the corners of each face, shape (F, 3, 3).
    """

    vertices: np.ndarray
    faces: np.ndarray
    crease: float = 40.0
    corner_normals: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        vertices, faces = packing.checked_points("vertices", self.vertices, 3), np.asarray(self.faces)
        if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer) or not len(faces):
            raise ValueError(f"faces has shape {faces.shape}, dtype {faces.dtype}; allowed: (F, 3) integers, F > 0")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(f"faces must be in 0..{len(vertices) - 1}, is in {faces.min()}..{faces.max()}")
        if not 0.0 <= self.crease <= 180.0:
            raise ValueError(f"crease={self.crease!r} must be in 0..180 degrees")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces.astype(np.int32))
        object.__setattr__(self, "corner_normals", _corner_normals(vertices, faces, self.crease))


class Meshes:
    """Parts as (mesh, position (3,) [m], orientation (w, x, y, z), color), packed for ``triangles.py``.

    What does not change from picture to picture, the triangles, comes from ``before`` if its meshes are the same.
    """

    def __init__(
        self,
        parts: Sequence[tuple[TriangleMesh, Sequence[float], Sequence[float], Sequence[float]]],
        before: Meshes | None = None,
    ) -> None:
        self.meshes = [mesh for mesh, *_ in parts]
        self.poses = np.zeros((max(len(parts), 1), triangles.POSE_SIZE), np.float32)
        colors = np.zeros((len(parts), 3), np.float32)
        for pose, paint, (_, position, orientation, color) in zip(self.poses, colors, parts, strict=False):
            pose[:9] = packing.rotation_matrix(orientation).ravel()
            pose[9:] = packing.checked_points("mesh position", np.reshape(position, (1, -1)), 3)[0]
            paint[:] = packing.checked_color("mesh color", color, 1)
        self.colors = packing.flat_triples(colors)
        is_known = before is not None and before.meshes == self.meshes
        self._device: _Device = before._device if before and is_known else _Device(self.meshes)

    def boxes(self) -> list[packing.Box]:
        """Low and high corners [m] of the parts."""
        result = []
        for pose, mesh in zip(self.poses, self.meshes, strict=False):
            low, high = mesh.vertices.min(0), mesh.vertices.max(0)
            rotation = pose[:9].reshape(3, 3)
            centre, half = rotation @ ((low + high) / 2.0) + pose[9:], np.abs(rotation) @ ((high - low) / 2.0)
            result.append((centre - half, centre + half))
        return result

    def draw(self, view: np.ndarray, size: tuple[int, int], keys: ti.Ndarray) -> None:
        """Draw all over what the keys of a view of ``size`` (width, height) pixels show."""
        device = self._device
        if not device.count:
            return
        poses, bands = self.poses.ravel(), max(1, min(8, WIDE // device.count))
        triangles.place_vertices(view, device.vertex_count, device.vertices, device.part_of, poses, device.placed)
        triangles.draw_triangles(view, *size, bands, device.count, device.faces, device.placed, keys)

    def draw_surfaces(self, view: np.ndarray, size: tuple[int, int], layer: Any) -> None:
        """Colours and normals of the pixels of a layer that show a triangle; right after ``draw`` of the same view."""
        device = self._device
        if device.count:
            triangles.draw_triangle_surfaces(
                view,
                *size,
                layer.tiles.device_array,
                layer.keys,
                layer.kind,
                device.faces,
                device.placed,
                device.corner_normals,
                device.part_of,
                self.poses.ravel(),
                self.colors,
                layer.albedo,
                layer.normal,
            )


class _Device:
    """Several meshes as one on the device."""

    def __init__(self, meshes: Sequence[TriangleMesh]) -> None:
        self.count = sum(len(mesh.faces) for mesh in meshes)
        self.vertex_count = sum(len(mesh.vertices) for mesh in meshes)
        if self.count > MOST:
            raise ValueError(f"the meshes have {self.count} triangles together, more than {MOST}")
        if not self.count:
            return
        starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes], dtype=np.int32)
        self.vertices = _send(np.concatenate([mesh.vertices for mesh in meshes]))
        self.placed = Array(3 * self.vertex_count, np.float32).device_array
        self.faces = _send(np.concatenate([mesh.faces + k for mesh, k in zip(meshes, starts, strict=False)]))
        self.part_of = _send(np.repeat(np.arange(len(meshes), dtype=np.int32), np.diff(starts)))
        self.corner_normals = _send(np.concatenate([mesh.corner_normals for mesh in meshes]))


def _send(values: np.ndarray) -> ti.Ndarray:
    array = Array(values.size, values.dtype)
    array.write(values.ravel())
    return array.device_array


def _corner_normals(vertices: np.ndarray, faces: np.ndarray, crease: float) -> np.ndarray:
    """Unit normals at the corners of each face, shape (F, 3, 3): means over faces within ``crease`` [degrees]."""
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    areas = np.cross(b - a, c - a)
    normals = areas / np.maximum(np.linalg.norm(areas, axis=1, keepdims=True), 1e-30)
    # Files often hold a vertex once for each face: what counts is where they are.
    unit = 1e-6 * max(float(np.ptp(vertices, axis=0).max()), 1e-30)
    _, where = np.unique(np.round(vertices.astype(float) / unit), axis=0, return_inverse=True)
    points = where.ravel()[faces].ravel()
    corner_at = sparse.csr_matrix((np.ones(points.size), (np.arange(points.size), points)))
    pairs = (corner_at @ corner_at.T).tocoo()
    first, second = pairs.row // 3, pairs.col // 3
    near = (normals[first] * normals[second]).sum(1) >= np.cos(np.radians(crease)) - 1e-6
    mean = np.zeros((points.size, 3))
    np.add.at(mean, pairs.row[near], areas[second[near]])
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-30)
    return mean.reshape(-1, 3, 3).astype(np.float32)
