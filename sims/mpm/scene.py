"""What a scene of the material point method consists of: domain, walls, bodies, effectors. Plain data, validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.sims.inputs import real, real_array, sequence_of, shown, whole
from pliant.sims.mpm.bodies import LARGEST_CELL, MARGIN, Body, Walls
from pliant.sims.mpm.solver import MPMPart
from pliant.sims.mpm.supply.nozzles import Drain, Injector, check_supply
from pliant.sims.mpm.supply.part import InjectorPart
from pliant.sims.mpm.tension.energy import check_tension
from pliant.sims.part import Part
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.effector_part import EffectorPart
from pliant.sims.shapes.thickness import NARROW


@dataclass
class Scene:
    """A world of the material point method.

    dim: 2 or 3.
    grid: cells along each axis. The domain is the box from the origin to ``grid * cell``; particles start ``MARGIN``
        cells or more from its edge.
    cell: edge of a cell [m].
    gravity: (dim,) [m/s^2], default 9.81 down the last axis.
    injectors: nozzles on effectors that let the particles of a body in.
    drains: boxes that take particles out.
    damping: rate at which a medium around the bodies slows all motion, dv/dt = -damping v [1/s]. At 0 there is no such
        parameter.
    surface_tension: gamma of all liquids [N/m], in 2-D [N]; see ``tension/energy.py``. At 0 there is no such parameter.
    """

    dim: int
    grid: Sequence[int]
    cell: float
    bodies: list[Body]
    effectors: list[Effector] = field(default_factory=list)
    walls: Walls = field(default_factory=Walls)
    gravity: Sequence[float] | None = None
    injectors: list[Injector] = field(default_factory=list)
    drains: list[Drain] = field(default_factory=list)
    damping: float = 0.0
    surface_tension: float = 0.0

    def __post_init__(self) -> None:
        whole("dim", self.dim, 2, 3)
        cells = real_array("grid", self.grid)
        if cells.shape != (self.dim,) or (cells != np.floor(cells)).any() or cells.min() < 8 or cells.max() > 1024:
            raise ValueError(f"grid={shown(self.grid)} must be {self.dim} integers in 8..1024")
        real("cell", self.cell, 0.0, LARGEST_CELL, above=0.0, unit="m")
        if not sequence_of("bodies", self.bodies, Body, "Body"):
            raise ValueError("bodies is empty; a scene needs at least one body")
        sequence_of("effectors", self.effectors, Effector, "Effector")
        sequence_of("injectors", self.injectors, Injector, "Injector")
        sequence_of("drains", self.drains, Drain, "Drain")
        if not isinstance(self.walls, Walls):
            raise ValueError(f"walls={shown(self.walls)} must be a Walls")
        for body in self.bodies:
            body.check(self.dim)
        if self.gravity is None:
            self.gravity = (0.0,) * (self.dim - 1) + (-9.81,)
        real_array("gravity", self.gravity, shape=(self.dim,))
        real("surface_tension", self.surface_tension, 0.0, unit="N/m" if self.dim == 3 else "N")
        real("damping", self.damping, 0.0, unit="1/s")
        self.walls.faces(self.dim)
        for what, names in (("effectors", [e.name for e in self.effectors]), ("bodies", [b.name for b in self.bodies])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} have the names {names}; each name may stand once")
        for effector in self.effectors:
            effector.check_size(self.size, self.cell)
            effector.check_cell(self.cell)
        self.check_inside(self.position)
        check_supply(self, (MARGIN - 1) * self.cell)
        check_tension(self)

    @property
    def position(self) -> np.ndarray:
        """All particles in the order of the bodies, shape (N, dim) [m]."""
        return np.concatenate([np.asarray(body.position, float) for body in self.bodies])

    @property
    def size(self) -> np.ndarray:
        """Edges of the domain, shape (dim,) [m]."""
        return np.asarray(self.grid) * self.cell

    @property
    def muscle_groups(self) -> int:
        """Number of muscle activations: one more than the highest group of any body."""
        groups = [int(np.max(b.muscle_group)) for b in self.bodies if b.muscle_group is not None]
        return max(groups, default=-1) + 1

    def group(self, name: str) -> slice:
        """The particles of the body ``name`` within the scene's order."""
        start = 0
        for body in self.bodies:
            if body.name == name:
                return slice(start, start + len(body))
            start += len(body)
        raise ValueError(f"body {shown(name)} is unknown; bodies: {', '.join(b.name for b in self.bodies)}")

    def check_inside(self, position: np.ndarray, margin: int = MARGIN - 1) -> None:
        """Raise ``ValueError`` if a particle lies within ``margin`` cells of the edge of the domain (or beyond)."""
        low, high = margin * self.cell, self.size - margin * self.cell
        outside = ~((position > low) & (position < high)).all(-1)
        if outside.any():
            first = np.argwhere(outside)[0]
            raise ValueError(
                f"position of particle {int(first[-1])} is {position[tuple(first)].tolist()}; allowed: strictly "
                f"between {[low] * self.dim} and {high.tolist()} [m]"
            )

    def parts(self, *, dt: float, soft_contact: bool, untouched: Sequence[str] = ()) -> list[Part]:
        """The scene as the World takes it: effectors, injectors and drains, if there are any, and the bodies.

        Args:
            dt: duration of a substep [s].
            soft_contact: see ``World``.
            untouched: names of effectors that no particle touches.

        Raises:
            ValueError: ``dt`` [s] is too large for the elastic waves of a body or the flow of an injector, or particles
                would pass through an effector, which is too thin for the grid and this kind of contact.
        """
        carriers = {injector.effector for injector in self.injectors}
        for effector in self.effectors:
            # a narrow nozzle may be as thin as it likes: what leaves it need not touch it
            is_narrow = effector.name in carriers and effector.shape.width <= NARROW * self.cell
            if not is_narrow and effector.name not in untouched:
                effector.check_thickness(self.cell, soft_contact=soft_contact)
        effectors = None
        if self.effectors:
            effectors = EffectorPart(self.effectors, soft_contact=soft_contact, untouched=untouched)
        supply = InjectorPart(self, dt) if self.injectors or self.drains else None
        bodies = MPMPart(self, dt, effectors, supply)
        if supply:
            supply.setup = bodies.setup
        return [part for part in (effectors, supply, bodies) if part]
