"""Particles at the start: lattices that fill simple shapes, and small random velocities.

A lattice has one particle in the middle of each cube of edge ``spacing``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pliant.sims.mpm.scene import Scene

Vector = Sequence[float] | np.ndarray


def fill_box(lower: Vector, upper: Vector, spacing: float) -> np.ndarray:
    """Particles of a box [m], shape (N, dim); each edge has a whole number of intervals near ``spacing``."""
    axes = []
    for low, high in zip(np.asarray(lower, float), np.asarray(upper, float), strict=True):
        count = max(round((high - low) / spacing), 1)
        axes.append(low + (np.arange(count) + 0.5) * (high - low) / count)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(lower))


def fill_ball(centre: Vector, radius: float, spacing: float) -> np.ndarray:
    """Particles of a ball (a disc in 2-D) [m], shape (N, dim), on a lattice symmetric about the centre."""
    centre = np.asarray(centre, float)
    reach = np.ceil(radius / spacing) * spacing
    lattice = fill_box([-reach] * len(centre), [reach] * len(centre), spacing)
    return lattice[np.linalg.norm(lattice, axis=1) <= radius] + centre


def fill_cylinder(base: Vector, radius: float, length: float, spacing: float) -> np.ndarray:
    """Particles of a vertical cylinder [m], shape (N, 3); ``base`` is the centre of its lower end."""
    reach = np.ceil(radius / spacing) * spacing
    lattice = fill_box([-reach, -reach, 0.0], [reach, reach, length], spacing)
    return lattice[np.hypot(lattice[:, 0], lattice[:, 1]) <= radius] + np.asarray(base, float)


def nearest(position: np.ndarray, points: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Numbers of the particles nearest to each point, without repetition, in ascending order."""
    points = np.atleast_2d(np.asarray(points, float))
    distance = np.linalg.norm(position[:, None] - points[None], axis=-1)
    return np.unique(distance.argmin(axis=0))


def spread(count: int, samples: int) -> np.ndarray:
    """``samples`` numbers spread evenly over ``range(count)``, without repetition."""
    return np.unique(np.linspace(0, count - 1, min(samples, count)).round().astype(int))


def agitation(scene: Scene, rng: np.random.Generator, scale: float) -> np.ndarray:
    """Random velocities [m/s] of standard deviation ``scale``, shape (N, dim).

    A rigid body has one velocity as a whole; particles that wait in a pool have none. Matter exactly at rest would be
    at the kink of contact that opens and of friction that starts to slide, where the return has no derivative.
    """
    velocity = rng.normal(scale=scale, size=scene.position.shape)
    waiting = {injector.body for injector in scene.injectors}
    for body in scene.bodies:
        if body.name in waiting:
            velocity[scene.group(body.name)] = 0.0
        elif body.material == "rigid":
            velocity[scene.group(body.name)] = rng.normal(scale=scale, size=scene.dim)
    return velocity
