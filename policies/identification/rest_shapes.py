"""The shape without forces of a real wire, from shapes in which it hangs at rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from pliant.sims.failures import SimulationDiverged
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.topology import carried_directors, edges, joint_lengths, transport
from pliant.sims.world import World

ERROR_SCALE = 3e-3
"""Distance [m] below which the loss is quadratic; above it grows in proportion."""

RIDGE = 1e-7
"""Weight of the squared variables: keeps what the shapes do not tell near zero."""

ROLL_SCALE = 0.5
"""Of a gripper's turn about the wire [rad]; natural curvatures have the scale 1 / m."""

DIVERGED = 1.0
"""Loss of a shape with which the simulation diverges [m]."""


def bent_shape(curvature: np.ndarray, rod: Rod) -> np.ndarray:
    """Vertices (n, 3) [m] of a rod whose joints have the natural curvatures (n, 2) [1/m] and no twist: the first edge
    along x from the origin, its first director along z. Inverse of ``topology.strains``."""
    length = np.asarray(rod.rest_length)
    bend = curvature * joint_lengths(length, rod.tree)[:, None]
    position, tangent, director = np.zeros((3, len(rod), 3))
    tangent[1], director[1] = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    position[1] = length[1] * tangent[1]
    for i in range(2, len(rod)):
        p = rod.tree[i]
        t, m = tangent[p], director[p]
        kb = bend[i, 0] * np.cross(t, m) - bend[i, 1] * m  # = 2 tan(angle/2) about its own direction
        half = np.linalg.norm(kb) / 2
        tangent[i] = ((1 - half**2) * t + np.cross(kb, t)) / (1 + half**2)
        director[i] = transport(t, tangent[i], m)
        position[i] = position[p] + length[i] * tangent[i]
    return position


class RestProblem:
    """The distances from shapes to where a rod, held as they are, comes to rest, as a function of one vector z: natural
    curvatures [1/m], and for each shape the turns of both grips about the wire, in units of ``ROLL_SCALE``, which
    markers on the wire do not show.

    Args:
        shapes: (m, n, 3) [m].
        rod: its masses, stiffnesses and rest lengths; bends alike about both axes.
        grips: vertices that are held, those of either gripper.
        known: where ``shapes`` were measured, (m, n); other vertices are near there, but do not count. None: all.
    """

    SUBSTEP = 0.5  # so long that a step leads nearly to the shape at rest [s]
    STEPS = 6

    def __init__(
        self, shapes: np.ndarray, rod: Rod, grips: Sequence[Sequence[int]], known: np.ndarray | None = None
    ) -> None:
        self.shapes, self.rod = np.asarray(shapes, float), rod
        count, n = self.shapes.shape[:2]
        self.known = np.ones((count, n), bool) if known is None else np.asarray(known, bool)
        if self.known.shape != (count, n):
            raise ValueError(f"known has shape {self.known.shape}, the shapes need {(count, n)}")
        held = [v for grip in grips for v in grip]
        self.free = np.setdiff1d(np.arange(n), held)
        self.director = carried_directors(self.shapes, rod.tree)
        self.tangent = edges(self.shapes, rod.tree)[0]
        way = np.zeros(n)
        for i in range(1, n):
            on_the_way = i <= held[-1]
            way[i] = way[rod.tree[i]] + (np.asarray(rod.rest_length)[i] if on_the_way else 0.0)
        first, last = grips[0][-1], grips[-1][0]
        share = np.clip((way - way[first]) / (way[last] - way[first]), 0.0, 1.0)
        self._share = np.stack([1 - share, share], axis=1)
        self.sizes = 2 * n, 2 * count
        scene = RodScene(rod, [Grip(held)], integrator="backward_euler")
        self._world = World(
            scene, batch=count, substeps=1, dt=self.SUBSTEP, precision="f64", differentiable=True, horizon=self.STEPS
        )
        self._driven = self.shapes[:, held].reshape(count, -1)

    def curvature(self, z: np.ndarray) -> np.ndarray:
        """Natural curvatures at z, (n, 2) [1/m]."""
        return z[: self.sizes[0]].reshape(-1, 2)

    def settle(self, z: np.ndarray) -> np.ndarray:
        """Vertices at rest, (m, n, 3) [m]."""
        angle = (ROLL_SCALE * z[self.sizes[0] :].reshape(-1, 2) @ self._share.T)[..., None]
        world = self._world
        world.reset()
        world.set_parameter("natural_curvature", self.curvature(z))
        world.set_parameter("natural_twist", 0.0)
        world.set_state("position", self.shapes)
        turned = np.cos(angle) * self.director + np.sin(angle) * np.cross(self.tangent, self.director)
        world.set_state("director", turned)
        for _ in range(self.STEPS):
            world.step(self._driven)
        return world.state("position")

    def evaluate(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean of sqrt(d^2 + s^2) - s over the distances d of free vertices [m], s = ``ERROR_SCALE``, with the ridge;
        and its gradient."""
        ridge = RIDGE * float(z @ z)
        try:
            error = (self.settle(z) - self.shapes)[:, self.free]
        except SimulationDiverged:
            return DIVERGED, np.zeros(len(z))
        seen = self.known[:, self.free]
        error[~seen] = 0.0
        size = np.sqrt((error**2).sum(-1) + ERROR_SCALE**2)
        bar = np.zeros(self.shapes.shape)
        bar[:, self.free] = error / size[..., None] / seen.sum()
        world = self._world
        world.begin_adjoint()
        for step in reversed(range(self.STEPS)):
            world.load_step(step)
            if step == self.STEPS - 1:
                world.add_state_adjoint("position", bar)
            world.step_adjoint(step)
        world.load_initial()
        turned = world.state("director")
        by_angle = (world.state_adjoint("director") * np.cross(self.tangent, turned)).sum(-1)
        curvature_bar = world.parameter_adjoint("natural_curvature").sum(axis=0)
        world.end_adjoint()
        gradient = np.concatenate([curvature_bar.ravel(), ROLL_SCALE * (by_angle @ self._share).ravel()])
        return float((size - ERROR_SCALE).sum() / seen.sum()) + ridge, gradient + 2 * RIDGE * z

    def close(self) -> None:
        self._world.close()


def fit_rest_shape(
    shapes: np.ndarray,
    rod: Rod,
    grips: Sequence[Sequence[int]],
    *,
    known: np.ndarray | None = None,
    iterations: int = 120,
) -> tuple[np.ndarray, np.ndarray]:
    """The shape without forces (n, 3) [m] with which a rod that is held like ``shapes`` comes to rest nearest to them,
    by L-BFGS from a straight one, and how far its vertices are from them then, (m, n) [m]; NaN where that is
    not known. Arguments: `RestProblem`."""
    problem = RestProblem(shapes, rod, grips, known)
    found = minimize(
        lambda z: tuple(100 * v for v in problem.evaluate(z)),
        np.zeros(sum(problem.sizes)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxcor": 30},
    )
    distance = np.linalg.norm(problem.settle(found.x) - problem.shapes, axis=-1)
    distance[~problem.known] = np.nan
    shape = bent_shape(problem.curvature(found.x), rod)
    problem.close()
    return shape, distance
