"""When an elastic body is torn or has collapsed, and how far its neighbouring particles have parted.

The particles of an elastic body (neo-Hookean, fixed corotated, Hencky: without plasticity) keep their neighbours, so
that one can see whether it is still one body. Neighbours are two particles of a body that lie within ``REACH`` spacings
of each other in the scene, and within a cell. They act on each other through the nodes that both reach, and a quadratic
spline reaches 1.5 cells: what two particles have in common shrinks to 3 % of what one has at a distance of two cells
along an axis, and to nothing at three.

    torn        two neighbours are more than ``GAP`` cells apart along an axis. A stretched body does not come near
                it: blocks that are pulled apart by their ends, at two or three particles a cell and with each law, stay
                whole up to a gap of 1.1 to 1.6 cells (strains of 120 to 220 %) and then part within a few steps.
    collapsed   a particle of a solid, also a plastic one, has less than ``LEAST_VOLUME`` of its volume at rest, or is
                inverted. The Kirchhoff stress of the fixed corotated law vanishes there: such a particle does not come
                back.

Both end a step with `SimulationDiverged`: what follows would not be the motion of the body. Both are looked for once a
step, before its last substep.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pliant.sims.mpm.bodies import Body, Matter
from pliant.sims.mpm.laws.laws import ELASTIC
from pliant.sims.world import World

PARTED, COLLAPSED = 21, 22
"""Codes of the failures."""

REACH = 1.5
"""Spacings within which two particles of the scene are neighbours; the spacing is the edge of a particle's volume."""

GAP = 2.0
"""Cells along an axis beyond which neighbours are torn apart."""

LEAST_VOLUME = 1e-3
"""Share of its volume at rest below which a particle has collapsed."""


def neighbours(scene: Matter) -> np.ndarray:
    """Pairs of neighbouring particles of all elastic bodies, shape (P, 2), the lower number first, in ascending order.

    Particles that wait in an injector's pool are in no pair: they are not yet a body.
    """
    injected = {injector.body for injector in scene.injectors}
    found = [np.zeros((0, 2), np.int64)]
    for body in scene.bodies:
        if body.material in ELASTIC and body.name not in injected:
            found.append(_neighbours_within(body, scene.dim, scene.cell) + scene.group(body.name).start)
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _neighbours_within(body: Body, dim: int, cell: float) -> np.ndarray:
    from scipy.spatial import cKDTree

    spacing = float(np.median(body.column("volume"))) ** (1 / dim)
    tree = cKDTree(np.asarray(body.position, float))
    return tree.query_pairs(min(REACH * spacing, cell), output_type="ndarray")


def largest_stretch(world: World) -> dict[str, np.ndarray]:
    """How far the neighbours of each elastic body have parted at most: their distance now over that in the scene.

    Returns:
        by the body's name, shape (B,); 1 for a body without neighbours.

    Raises:
        ValueError: the World has no bodies of the material point method.
    """
    scene = _scene_of(world)
    start = scene.position

    def stretch(position: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        rest = np.linalg.norm(start[pairs[:, 0]] - start[pairs[:, 1]], axis=1)
        apart = np.linalg.norm(position[:, pairs[:, 0]] - position[:, pairs[:, 1]], axis=2)
        return np.divide(apart, rest, out=np.ones_like(apart), where=rest > 0)

    return _largest(world, scene, stretch, nothing=1.0)


def largest_gap(world: World) -> dict[str, np.ndarray]:
    """The widest gap along an axis between neighbours of each elastic body [cells]; beyond ``GAP`` it is torn.

    Returns:
        by the body's name, shape (B,); 0 for a body without neighbours.

    Raises:
        ValueError: the World has no bodies of the material point method.
    """
    scene = _scene_of(world)

    def gap(position: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        return np.abs(position[:, pairs[:, 0]] - position[:, pairs[:, 1]]).max(axis=2) / scene.cell

    return _largest(world, scene, gap, nothing=0.0)


def _scene_of(world: World) -> Matter:
    scene: Any = getattr(world.scene, "matter", world.scene)  # what gels hold
    if not hasattr(scene, "bodies"):
        raise ValueError(f"world is one of a {type(scene).__name__}, must be one of a scene with bodies (Scene)")
    return scene


def _largest(world: World, scene: Matter, measure, *, nothing: float) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    """The largest value of ``measure(position, pairs)`` over the active neighbours of each elastic body."""
    pairs, position, active = neighbours(scene), world.state("position").astype(float), world.derived("active")
    largest = {}
    for body in scene.bodies:
        if body.material in ELASTIC:
            group = scene.group(body.name)
            own = pairs[(pairs[:, 0] >= group.start) & (pairs[:, 0] < group.stop)]
            values = measure(position, own)
            values[~active[:, own].all(axis=2)] = nothing
            largest[body.name] = values.max(axis=1, initial=nothing)
    return largest
