"""Rigid bodies that gels touch, hold and push: plain data, validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.sims.inputs import label, real, real_array, sequence_of, shown
from pliant.sims.shapes.shapes import Box, Capsule, Cylinder, Shape, Sphere


@dataclass(frozen=True)
class Attachment:
    """A spring without length between a point of a body and one of the world; two make a hinge.

    point: (3,) in the body's frame [m].  anchor: (3,) in the world [m].  stiffness: [N/m].
    """

    point: Sequence[float]
    anchor: Sequence[float]
    stiffness: float = 1e4

    def __post_init__(self) -> None:
        real_array("attachment: point", self.point, shape=(3,))
        real_array("attachment: anchor", self.anchor, shape=(3,))
        real("attachment: stiffness", self.stiffness, 0.0, unit="N/m")


@dataclass
class RigidBody:
    """A rigid body with six degrees of freedom.

    shape: one of ``pliant.sims.shapes.shapes``, its origin being the centre of mass.  mass: [kg].  inertia: principal
    moments about the axes of the shape, (3,) [kg m^2]; None: those of a solid of even density.  position: (3,) [m].
    orientation: quaternion (w, x, y, z).  velocity: (3,) [m/s].  angular_velocity: (3,) [rad/s], in the world's axes.
    friction: Coulomb coefficient of its surface.  points: (n, 3) places on its surface at which it touches effectors
    [m]; None: ``surface_points``.  attachments: springs to the world.  color: (r, g, b), for rendering only.
    """

    name: str
    shape: Any
    mass: float
    inertia: Sequence[float] | np.ndarray | None = None
    position: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)
    orientation: Sequence[float] | np.ndarray = (1.0, 0.0, 0.0, 0.0)
    velocity: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)
    angular_velocity: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)
    friction: float = 0.5
    points: Any = None
    attachments: list[Attachment] = field(default_factory=list)
    color: tuple[float, float, float] = (0.85, 0.55, 0.30)

    def __post_init__(self) -> None:
        where = f"body {label('body: name', self.name)!r}"
        if not isinstance(self.shape, Shape) or not np.isfinite(self.shape.bounding_radius):
            raise ValueError(f"{where}: shape={shown(self.shape)} must be a bounded one of pliant.sims.shapes.shapes")
        real(f"{where}: mass", self.mass, above=0.0, unit="kg")
        for name in ("position", "velocity", "angular_velocity"):
            setattr(self, name, real_array(f"{where}: {name}", getattr(self, name), shape=(3,)))
        orientation = real_array(f"{where}: orientation", self.orientation, shape=(4,))
        norm = float(np.linalg.norm(orientation))
        if norm < 1e-9:
            raise ValueError(f"{where}: orientation={shown(self.orientation)} must be a quaternion (w, x, y, z)")
        self.orientation = orientation / norm
        real(f"{where}: friction", self.friction, 0.0)
        given = solid_inertia(self.shape, self.mass, where) if self.inertia is None else self.inertia
        moments = real_array(f"{where}: inertia", given, shape=(3,))
        if moments.min() <= 0 or (2 * moments > moments.sum() * (1 + 1e-9)).any():
            raise ValueError(
                f"{where}: inertia={shown(given)} must be three positive moments, none above the sum of the others"
            )
        self.inertia = moments
        points = surface_points(self.shape) if self.points is None else real_array(f"{where}: points", self.points)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"{where}: points has shape {points.shape}, must be (n, 3) with n >= 1")
        self.points = points
        sequence_of(f"{where}: attachments", self.attachments, Attachment, "Attachment")

    @property
    def gyration(self) -> float:
        """Radius of gyration [m]: what turns are multiplied by to compare them with displacements."""
        return float(np.sqrt(np.sum(np.asarray(self.inertia, float)) / (3 * self.mass)))

    @property
    def point_area(self) -> float:
        """Area of the surface that each of the points stands for [m^2]."""
        if isinstance(self.shape, Box):
            a, b, c = 2 * np.asarray(self.shape.half_extents, float)
            return float(2 * (a * b + b * c + c * a) / len(self.points))
        return float(4 * np.pi * np.mean(np.sum(self.points**2, axis=1)) / len(self.points))


def solid_inertia(shape: Shape, mass: float, where: str) -> np.ndarray:
    """Principal moments (3,) [kg m^2] of a solid of even density.

    Raises:
        ValueError: there is no formula for the shape.
    """
    if isinstance(shape, Sphere):
        return np.full(3, 0.4 * mass * shape.radius**2)
    if isinstance(shape, Box):
        a, b, c = (2 * np.asarray(shape.half_extents, float)) ** 2
        return mass / 12 * np.array([b + c, a + c, a + b])
    if isinstance(shape, Cylinder):
        across = mass * (3 * shape.radius**2 + 4 * shape.half_length**2) / 12
        return np.array([across, across, mass * shape.radius**2 / 2])
    if isinstance(shape, Capsule):
        r, half = shape.radius, shape.half_length
        tube, ball = 2 * half * r**2, 4 / 3 * r**3
        m_tube, m_ball = mass * tube / (tube + ball), mass * ball / (tube + ball)
        along = m_tube * r**2 / 2 + 0.4 * m_ball * r**2
        across = m_tube * (3 * r**2 + 4 * half**2) / 12 + m_ball * (0.4 * r**2 + half**2 + 0.75 * half * r)
        return np.array([across, across, along])
    raise ValueError(f"{where}: inertia=None: there is no formula for a {type(shape).__name__}; give its three moments")


def surface_points(shape: Shape, spacing: float | None = None) -> np.ndarray:
    """Points on the surface of a shape, (n, 3) [m], about ``spacing`` [m] apart (None: a sixth of its bounding radius).

    Boxes get a grid on each face, with their corners; others points of a sphere that are moved to the surface along the
    gradient of the signed distance.
    """
    radius = shape.bounding_radius
    step = radius / 3 if spacing is None else real("spacing", spacing, above=0.0, unit="m")
    if isinstance(shape, Box):
        half = np.asarray(shape.half_extents, float)
        axes = [np.linspace(-h, h, max(2, int(np.ceil(2 * h / step)) + 1)) for h in half]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        return _on_surface(shape, grid[(np.abs(np.abs(grid) - half) < 1e-12 * radius).any(axis=1)])
    count = max(32, int(np.ceil(4 * np.pi * (radius / step) ** 2)))
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z * z)
    return _on_surface(shape, radius * np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1))


def _on_surface(shape: Shape, points: np.ndarray) -> np.ndarray:
    """Points (n, 3), moved to the surface along the gradient of the signed distance."""
    for _ in range(20):
        points = points - shape.signed_distance(points)[:, None] * shape.gradient(points)
    return points
