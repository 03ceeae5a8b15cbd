"""Rigid bodies inside the material point method: what shape matching reads of a scene.

The kernels are in ``matching.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pliant.sims.mpm.laws.laws import MATERIALS, NEO_HOOKEAN, RIGID

if TYPE_CHECKING:
    from pliant.sims.mpm.bodies import Body


ROW = 3
"""Integers of a body in the table: its first particle, how many it has, its first place among rigid particles."""


def law_of(body: Body) -> int:
    """The constitutive law of a body's particles: that of the skin, see ``matching.py``, if it is rigid."""
    number = MATERIALS[body.material]
    return NEO_HOOKEAN if number == RIGID else number


def rigid_table(bodies: list[Body]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rigid bodies of a scene, in the order of its particles.

    Returns:
        the table of bodies, shape (bodies * ROW,); each particle's place among the rigid ones, -1 for others, shape
        (N,); the rest positions of the rigid particles, from the middle of their body, shape (n, dim) [m].
    """
    table, places, rest = [], np.full(sum(len(body) for body in bodies), -1, np.int32), []
    start = place = 0
    for body in bodies:
        n = len(body)
        if MATERIALS[body.material] == RIGID:
            position = np.asarray(body.position, float)
            table += [start, n, place]
            places[start : start + n] = np.arange(place, place + n)
            rest.append(position - position.mean(0))
            place += n
        start += n
    dim = np.shape(bodies[0].position)[1]
    return np.array(table, np.int32), places, np.concatenate([np.zeros((0, dim)), *rest])


def rigid_motion(body: Body, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """The rigid motion nearest a body's initial velocities, in the sense of kinetic energy.

    Returns:
        velocities (N, dim) [m/s] and the velocity gradient (dim, dim) [1/s].
    """
    mass = body.column("volume") * body.column("density")
    share = (mass / mass.sum())[:, None]
    position, velocity = np.asarray(body.position, float), body.rows("velocity", dim)
    r = position - (share * position).sum(0)
    mean = (share * velocity).sum(0)
    gradient = np.zeros((dim, dim))
    if dim == 2:
        turn = (share * (r[:, :1] * velocity[:, 1:] - r[:, 1:] * velocity[:, :1])).sum() / (share * r**2).sum()
        gradient[1, 0], gradient[0, 1] = turn, -turn
    else:
        moment = (share[:, :, None] * r[:, :, None] * r[:, None, :]).sum(0)
        w = np.linalg.solve(np.trace(moment) * np.eye(3) - moment, (share * np.cross(r, velocity)).sum(0))
        gradient = np.cross(w, np.eye(3)).T
    return mean + r @ gradient.T, gradient
