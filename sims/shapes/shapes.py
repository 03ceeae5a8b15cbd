"""Rigid shapes as signed distances, in metres, in their own frame: negative inside.

Each shape is a dataclass with a radius that bounds it, a record for the kernels (``shape_kernels.py``), and its
distance in NumPy for checks and features. Axes of revolution lie along the local z.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pliant.sims.inputs import real, real_array, shown, whole
from pliant.sims.shapes.mesh_distance import MeshDistance, mesh_signed_distance, sample_mesh
from pliant.sims.shapes.mesh_parts import load_mesh
from pliant.sims.shapes.shape import (
    LONGEST,
    SHORTEST,
    Shape,
    check_lengths,
    cylindrical,
    make_record,
    revolve,
    too_thin,
)
from pliant.sims.shapes.shape_kernels import (
    BOX,
    CYLINDER,
    HALF_SPACE,
    MESH,
    RECORD_SIZE,
    ROUND,
    shape_functions,
)
from pliant.sims.shapes.thickness import sample_triangles, thin_place

__all__ = [
    "Box", "Capsule", "Cylinder", "HalfSpace", "Mesh", "Shape", "Sphere", "Torus", "pack_shapes", "shape_functions",
]  # fmt: skip

UNBOUNDED = 1e15  # stands for an infinite radius in kernels: its square is still a float32


@dataclass(frozen=True)
class _Round(Shape):
    """All points within a radius of a circle about z or of a segment on z."""

    def _skeleton(self) -> tuple[float, float, float]:
        """Ring radius, half length, radius [m]."""
        raise NotImplementedError

    @property
    def bounding_radius(self) -> float:
        return float(sum(self._skeleton()))

    @property
    def width(self) -> float:
        return 2.0 * self._skeleton()[2]

    def thin_part(self, least: float) -> str:
        return too_thin(self.width, least)

    def record(self, data_offset: int = 0) -> np.ndarray:
        return make_record(ROUND, *self._skeleton())

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ring, half_length, radius = self._skeleton()
        rho, e_r, z = cylindrical(points)
        a, b = rho - ring, z - np.clip(z, -half_length, half_length)
        d = np.hypot(a, b)
        safe = np.where(d > 0, d, 1.0)
        return d - radius, revolve(e_r, np.where(d > 0, a / safe, 1.0), b / safe)


@dataclass(frozen=True)
class Sphere(_Round):
    """A ball about the origin. radius [m]."""

    radius: float

    def __post_init__(self) -> None:
        check_lengths(self, "radius")

    def _skeleton(self) -> tuple[float, float, float]:
        return 0.0, 0.0, self.radius


@dataclass(frozen=True)
class Capsule(_Round):
    """A segment on z from -half_length to half_length, thickened by radius; both [m]."""

    radius: float
    half_length: float

    def __post_init__(self) -> None:
        check_lengths(self, "radius", "half_length")

    def _skeleton(self) -> tuple[float, float, float]:
        return 0.0, self.half_length, self.radius


@dataclass(frozen=True)
class Torus(_Round):
    """A tube of minor_radius about the circle of major_radius in the plane z = 0; both [m]."""

    major_radius: float
    minor_radius: float

    def __post_init__(self) -> None:
        check_lengths(self, "major_radius", "minor_radius")
        if self.minor_radius >= self.major_radius:
            raise ValueError(
                f"Torus: minor_radius={self.minor_radius!r} must be smaller than major_radius={self.major_radius!r}"
            )

    def _skeleton(self) -> tuple[float, float, float]:
        return self.major_radius, 0.0, self.minor_radius


@dataclass(frozen=True)
class Cylinder(Shape):
    """A solid cylinder about z, from -half_length to half_length, of radius; both [m]."""

    radius: float
    half_length: float

    def __post_init__(self) -> None:
        check_lengths(self, "radius", "half_length")

    @property
    def bounding_radius(self) -> float:
        return math.hypot(self.radius, self.half_length)

    @property
    def width(self) -> float:
        return 2.0 * self.radius

    def thin_part(self, least: float) -> str:
        return too_thin(2.0 * min(self.radius, self.half_length), least)

    def record(self, data_offset: int = 0) -> np.ndarray:
        return make_record(CYLINDER, self.radius, self.half_length)

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rho, e_r, z = cylindrical(points)
        a, b = rho - self.radius, np.abs(z) - self.half_length
        side = np.where(z >= 0, 1.0, -1.0)
        corner = (a > 0) & (b > 0)
        d = np.hypot(a, b)
        phi = np.where(corner, d, np.maximum(a, b))
        safe = np.where(corner, d, 1.0)
        f_r = np.where(corner, a / safe, a >= b)
        f_z = side * np.where(corner, b / safe, a < b)
        return phi, revolve(e_r, f_r, f_z)


@dataclass(frozen=True)
class Box(Shape):
    """A box of half_extents (3,) [m] about the origin; rounding [m] of its edges leaves the extents as they are."""

    half_extents: Sequence[float]
    rounding: float = 0.0

    def __post_init__(self) -> None:
        extents = real_array("Box: half_extents", self.half_extents)
        if extents.shape != (3,) or not (extents > 0).all():
            raise ValueError(f"Box: half_extents={shown(self.half_extents)} must be three positive finite lengths [m]")
        real("Box: rounding", self.rounding, 0.0, float(extents.min()), unit="m, at most the smallest half extent")
        object.__setattr__(self, "half_extents", tuple(extents.tolist()))

    @property
    def _core(self) -> np.ndarray:
        return np.array(self.half_extents) - self.rounding

    @property
    def bounding_radius(self) -> float:
        return float(np.linalg.norm(self._core)) + self.rounding

    @property
    def width(self) -> float:
        return 2.0 * sorted(self.half_extents)[1]

    def thin_part(self, least: float) -> str:
        return too_thin(2.0 * min(self.half_extents), least)

    def record(self, data_offset: int = 0) -> np.ndarray:
        return make_record(BOX, *self._core, self.rounding)

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sign = np.where(points >= 0, 1.0, -1.0)
        reach = np.abs(points) - self._core
        over = np.maximum(reach, 0.0)
        d = np.linalg.norm(over, axis=1)
        outside = d > 0
        phi = np.where(outside, d, reach.max(axis=1)) - self.rounding
        face = np.eye(3)[reach.argmax(axis=1)]
        return phi, sign * np.where(outside[:, None], over / np.where(outside, d, 1.0)[:, None], face)


@dataclass(frozen=True)
class HalfSpace(Shape):
    """The solid z < 0 with its surface z = 0 and the outward normal +z."""

    @property
    def bounding_radius(self) -> float:
        return math.inf

    def record(self, data_offset: int = 0) -> np.ndarray:
        return make_record(HALF_SPACE)

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return points[:, 2].copy(), np.tile([0.0, 0.0, 1.0], (len(points), 1))


@dataclass(frozen=True)
class Mesh(Shape):
    """A closed triangle mesh from a file: its signed distance on a grid, interpolated by quadratic B-splines.

    The interpolant agrees with the exact distance at the grid points and has continuous gradients; beyond the grid the
    distance to the grid is added.

    Args:
        path: file that trimesh reads (OBJ, STL, PLY, ...); the mesh must be watertight and must not cross itself. It
            may have several parts, which may overlap: what is solid is their union, and parts that are inside out are
            turned. A part within another one that looks the other way than that one is a cavity in it.
        scale: factor from the units of the file to metres.
        cells: grid cells along the longest side of the mesh, 4 to 128.
        margin: width of the grid beyond the mesh [m]; an eighth of the longest side unless given.

    Raises:
        ValueError: the file is missing, unreadable, empty, not watertight or crosses itself, or a number is out of
            range.
    """

    path: str | Path
    scale: float = 1.0
    cells: int = 32
    margin: float | None = None
    _vertices: np.ndarray = field(init=False, repr=False, compare=False)
    _faces: np.ndarray = field(init=False, repr=False, compare=False)
    _body: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        real("Mesh: scale", self.scale, above=0.0)
        check_lengths(self, *([] if self.margin is None else ["margin"]))
        whole("Mesh: cells", self.cells, 4, 128)
        vertices, faces, body = load_mesh(self.path)
        longest = float(np.ptp(vertices, axis=0).max()) * self.scale
        if not SHORTEST <= longest <= LONGEST:
            raise ValueError(
                f"Mesh: {os.fspath(self.path)!r} is {longest:.4g} m long at scale={self.scale:g}; allowed: "
                f"{SHORTEST:g} to {LONGEST:g} m"
            )
        object.__setattr__(self, "_vertices", vertices * self.scale)
        object.__setattr__(self, "_faces", faces)
        object.__setattr__(self, "_body", body)

    @functools.cached_property
    def _sampled(self) -> MeshDistance:
        return sample_mesh(self._vertices, self._faces, self.cells, self.margin, self._body)

    @property
    def bounding_radius(self) -> float:
        return float(np.linalg.norm(self._vertices, axis=1).max())

    @property
    def extent(self) -> float:
        return float(np.ptp(self._vertices, axis=0).max())

    @property
    def width(self) -> float:
        return float(np.sort(np.ptp(self._vertices, axis=0))[1])

    def thin_part(self, least: float) -> str:
        points, face = sample_triangles(self._vertices, self._faces, 0.5 * least)
        a, b, c = np.moveaxis(self._vertices[self._faces], 1, 0)
        normals = np.cross(b - a, c - a)
        normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True))[face]
        beneath = points - 0.5 * least * normals
        exact = mesh_signed_distance(self._vertices, self._faces, beneath, self._body)
        place = thin_place(points, beneath, exact, least)
        if place is not None:
            return f"is thinner than that near {[float(f'{x:.3g}') for x in points[place]]} m"
        # What is thick enough must be so in the samples that contact sees, too.
        lost = (exact < -0.49 * least) & (self._sampled.evaluate(beneath)[0] > -0.25 * least)
        if lost.any():
            return (
                f"is thick enough near {[float(f'{x:.3g}') for x in points[lost][0]]} m, but {self.cells} cells of "
                f"{self._sampled.spacing:.3g} m do not show it; use more cells"
            )
        return ""

    @property
    def data(self) -> np.ndarray:
        return self._sampled.coefficients.ravel()

    def record(self, data_offset: int = 0) -> np.ndarray:
        grid = self._sampled
        return make_record(MESH, *grid.coefficients.shape, *grid.origin, grid.spacing, data_offset)

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._sampled.evaluate(points)


def pack_shapes(shapes: Sequence[Shape]) -> np.ndarray:
    """What kernels read of several shapes: their records (16 each), their bounding radii (1 each), then their data.

    The record of shape j begins at 16 j; wherever the array is put inside a larger one, records stay valid.
    """
    count = len(shapes)
    next_data = count * (RECORD_SIZE + 1)
    records = []
    for j, shape in enumerate(shapes):
        records.append(shape.record(next_data - j * RECORD_SIZE))
        next_data += shape.data.size
    if next_data > 2**24:
        raise ValueError(f"the shapes need {next_data} samples together, more than {2**24}; use fewer cells for meshes")
    radii = np.array([min(shape.bounding_radius, UNBOUNDED) for shape in shapes])
    return np.concatenate([*records, radii, *(shape.data for shape in shapes)])
