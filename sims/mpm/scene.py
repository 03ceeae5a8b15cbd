"""What a scene of the material point method consists of: domain, walls, bodies, effectors. Plain data, validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.sims.inputs import label, real, real_array, sequence_of, shown, whole, word
from pliant.sims.mpm.injector import Drain, Injector, InjectorPart, check_supply
from pliant.sims.mpm.materials import MATERIALS
from pliant.sims.mpm.rigid import check_rigid
from pliant.sims.mpm.tension import STAGES, check_tension
from pliant.sims.robot.contact import CONTACT_KINDS
from pliant.sims.robot.effector import Effector, EffectorPart
from pliant.sims.robot.thickness import NARROW
from pliant.sims.solver import Part

MARGIN = 3
"""Cells between the edge of the grid and the nearest place where a particle may start."""
EDGE = 1
"""Cells between the edge of the grid and the nearest place where a particle may get to (``stencil.is_inside``). A wall
of MARGIN cells or more holds what tools press into it half a cell short of that."""


LARGEST_CELL = 1e6
"""Longest edge of a cell [m]."""

MOST_MUSCLES = 1024
"""Groups of muscles that a scene may have."""

FLOW_INDEX_RANGE = (0.2, 1.0)
"""Herschel-Bulkley indices that the viscoplastic law takes: shear thinning to Bingham."""


@dataclass
class Walls:
    """The faces of the domain, ``thickness`` cells deep; three or more let nothing out, whatever presses.

    kind: "separate" (with Coulomb friction), "slip" or "sticky", one for all faces or one each in the order
    (low x, high x, low y, high y, ...).  friction: coefficient, one or one each.
    """

    kind: str | Sequence[str] = "separate"
    friction: float | Sequence[float] = 0.5
    thickness: int = 3

    def faces(self, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Kinds (2 * dim,) as integers and friction coefficients (2 * dim,)."""
        names = [self.kind] * (2 * dim) if isinstance(self.kind, str) else self.kind
        is_list = isinstance(names, (list, tuple)) and len(names) == 2 * dim
        if not is_list or not all(isinstance(name, str) and name in CONTACT_KINDS for name in names):
            raise ValueError(
                f"walls: kind={shown(self.kind)} must be one of {', '.join(CONTACT_KINDS)}, or a list of {2 * dim} of "
                "them"
            )
        friction = real_array("walls: friction", self.friction)
        if friction.shape not in ((), (2 * dim,)) or (friction < 0).any():
            raise ValueError(f"walls: friction={shown(self.friction)} must be one or {2 * dim} finite numbers >= 0")
        whole("walls: thickness", self.thickness, 1, 16)
        return np.array([CONTACT_KINDS[name] for name in names], np.int32), np.broadcast_to(friction, (2 * dim,)).copy()


@dataclass
class Body:
    """A group of particles of one material.

    position: (N, dim) [m].  volume: at rest, a number or (N,) [m^dim].  youngs_modulus [Pa], poissons_ratio [-],
    density [kg/m^dim], yield_stress [Pa] (von Mises, uniaxial): numbers or (N,).  velocity: (dim,) or (N, dim) [m/s].
    Of what flows: bulk_modulus [Pa] of a liquid, density times its speed of sound squared; viscosity [Pa s] of a
    liquid, consistency [Pa s^n] of a viscoplastic body with flow_index n [-]; friction_angle [rad] of sand.
    A body of material "rigid" keeps its shape; youngs_modulus and poissons_ratio are those of its skin, by which
    contact holds it: choose them so stiff that its load would hardly squeeze an elastic body of its size.
    muscle_group: (N,) integers, -1 for none; fibre_direction: (dim,) or (N, dim), normalised here; muscle_strength
    [Pa].
    color: (r, g, b) in 0..1 or (N, 3), for rendering.
    """

    name: str
    position: np.ndarray
    volume: float | np.ndarray
    material: str = "neo_hookean"
    youngs_modulus: float | np.ndarray = 5e3
    poissons_ratio: float | np.ndarray = 0.2
    density: float | np.ndarray = 1e3
    yield_stress: float | np.ndarray = 100.0
    bulk_modulus: float | np.ndarray = 5e4
    viscosity: float | np.ndarray = 1e-3
    flow_index: float | np.ndarray = 1.0
    friction_angle: float | np.ndarray = 0.6
    velocity: Sequence[float] | np.ndarray | None = None
    muscle_group: np.ndarray | None = None
    fibre_direction: Sequence[float] | np.ndarray | None = None
    muscle_strength: float | np.ndarray = 0.0
    color: Sequence[float] | np.ndarray = (0.86, 0.47, 0.36)

    def __len__(self) -> int:
        return len(self.position)

    def check(self, dim: int) -> None:
        """Raise ``ValueError`` naming body, argument, value and what is allowed."""
        where = f"body {label('body: name', self.name)!r}"
        position = real_array(f"{where}: position", self.position)
        if position.ndim != 2 or position.shape[1] != dim or len(position) == 0:
            raise ValueError(f"{where}: position has shape {position.shape}, must be (N >= 1, {dim})")
        word(f"{where}: material", self.material, MATERIALS)
        limits = {
            "volume": (0.0, np.inf, False),
            "youngs_modulus": (0.0, np.inf, False),
            "poissons_ratio": (-1.0, 0.5, False),
            "density": (0.0, np.inf, False),
            "yield_stress": (0.0, np.inf, True),
            "bulk_modulus": (0.0, np.inf, False),
            "viscosity": (0.0, np.inf, True),
            "flow_index": (FLOW_INDEX_RANGE[0], FLOW_INDEX_RANGE[1] * (1 + 1e-12), True),
            "friction_angle": (0.0, np.pi / 2, True),
            "muscle_strength": (0.0, np.inf, True),
        }
        for name, (low, high, closed) in limits.items():
            check_range(f"{where}: {name}", self.column(name), low, high, closed=closed)
        if self.muscle_group is not None:
            group = real_array(f"{where}: muscle_group", self.muscle_group, shape=(len(self),))
            if (group != np.floor(group)).any() or group.min() < -1 or group.max() >= MOST_MUSCLES:
                raise ValueError(f"{where}: muscle_group must be integers in -1..{MOST_MUSCLES - 1}, -1 for none")
        color = real_array(f"{where}: color", self.color)
        if color.shape not in ((3,), (len(self), 3)) or color.min() < 0 or color.max() > 1:
            raise ValueError(f"{where}: color={shown(self.color)} must be (r, g, b) in 0..1, or one for each particle")
        if self.material == "rigid":
            check_rigid(self, dim)
        self.rows("velocity", dim)
        self.rows("fibre_direction", dim)

    def column(self, name: str) -> np.ndarray:
        """A scalar quantity per particle, shape (N,)."""
        value = real_array(f"body {self.name!r}: {name}", getattr(self, name))
        if value.shape not in ((), (len(self),)):
            raise ValueError(f"body {self.name!r}: {name} has shape {value.shape}, must be () or ({len(self)},)")
        return np.broadcast_to(value, (len(self),))

    def rows(self, name: str, width: int) -> np.ndarray:
        """A vector quantity per particle, shape (N, width); zero where the body states none."""
        value = getattr(self, name)
        value = np.zeros(width) if value is None else real_array(f"body {self.name!r}: {name}", value)
        if value.shape not in ((width,), (len(self), width)):
            raise ValueError(
                f"body {self.name!r}: {name} has shape {value.shape}, must be ({width},) or ({len(self)}, {width})"
            )
        return np.broadcast_to(value, (len(self), width))


def check_range(what: str, value: np.ndarray, low: float, high: float, *, closed: bool) -> None:
    """Raise ``ValueError`` unless low < value < high (low <= value if ``closed``) everywhere."""
    inside = np.isfinite(value) & ((value >= low) if closed else (value > low)) & (value < high)
    if not inside.all():
        worst = np.asarray(value)[~inside].ravel()[0]
        raise ValueError(f"{what}={worst!r} is out of range; allowed: {'[' if closed else '('}{low}, {high})")


@dataclass
class Scene:
    """A world of the material point method.

    dim: 2 or 3.  grid: cells along each axis; the domain is the box from the origin to ``grid * cell`` and particles
    keep
    ``MARGIN`` cells off its edge.  cell: edge of a cell [m].  gravity: (dim,) [m/s^2], default 9.81 down the last axis.
    injectors: nozzles on effectors that let the particles of a body in.  drains: boxes that take particles out.
    damping: rate at which a medium around the bodies slows all motion, dv/dt = -damping v [1/s]; 0 leaves out the
        parameter.
    surface_tension: gamma of all liquids [N/m], in 2-D [N]; see ``tension.py``. 0 leaves it out, kernels and parameter.
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

    def parts(self, *, dt: float, soft_contact: bool) -> list[Part]:
        """The scene as the World takes it: effectors, injectors and drains, if there are any, and the bodies.

        Raises:
            ValueError: ``dt`` [s] is too large for the elastic waves of a body or the flow of an injector, or particles
                would pass through an effector, which is too thin for the grid and this kind of contact.
        """
        from pliant.sims.mpm.solver import MPMPart

        carriers = {injector.effector for injector in self.injectors}
        for effector in self.effectors:
            # a narrow nozzle may be as thin as it likes: what leaves it need not touch it
            if not (effector.name in carriers and effector.shape.width <= NARROW * self.cell):
                effector.check_thickness(self.cell, soft_contact=soft_contact)
        has_supply = bool(self.injectors or self.drains)
        supply: list[Part] = [InjectorPart(self, dt)] if has_supply else []
        if not self.effectors:
            return [*supply, MPMPart(self, dt, has_supply=has_supply)]
        has_rigid = any(body.material == "rigid" for body in self.bodies)
        delay = int(has_rigid) + (STAGES if self.surface_tension > 0 else 0)
        effectors = EffectorPart(self.effectors, soft_contact=soft_contact, delay=delay)
        return [effectors, *supply, MPMPart(self, dt, effectors.shape_kinds, has_supply=has_supply)]
