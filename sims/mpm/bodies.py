"""Bodies of particles and the walls around them: plain, checked data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pliant.sims.contact import CONTACT_KINDS
from pliant.sims.inputs import label, real_array, shown, whole, word
from pliant.sims.mpm.laws.laws import MATERIALS

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


class Matter(Protocol):
    """What the parts of a scene need to know of it; see ``scene.Scene`` for what each one means."""

    dim: int
    grid: Sequence[int]
    cell: float
    bodies: list[Body]
    walls: Walls
    gravity: Sequence[float] | None
    damping: float
    surface_tension: float
    injectors: list[Any]

    @property
    def position(self) -> np.ndarray: ...

    @property
    def muscle_groups(self) -> int: ...

    def group(self, name: str) -> slice: ...

    def check_inside(self, position: np.ndarray, margin: int) -> None: ...


def check_range(what: str, value: np.ndarray, low: float, high: float, *, closed: bool) -> None:
    """Raise ``ValueError`` unless low < value < high (low <= value if ``closed``) everywhere."""
    inside = np.isfinite(value) & ((value >= low) if closed else (value > low)) & (value < high)
    if not inside.all():
        worst = np.asarray(value)[~inside].ravel()[0]
        raise ValueError(f"{what}={float(worst)} is out of range; allowed: {'[' if closed else '('}{low}, {high})")


FLATNESS = 1e-4
"""Smallest width of a rigid body, relative to its length, across which its orientation can still be told."""


def check_rigid(body: Body, dim: int) -> None:
    """Raise ``ValueError`` unless the particles of a rigid body tell its orientation."""
    where = f"body {body.name!r}"
    position = np.asarray(body.position, float)
    widths = np.linalg.svd(position - position.mean(0), compute_uv=False)  # one per particle at most
    width = widths[dim - 2] if len(widths) > dim - 2 else 0.0
    if len(position) < dim or not width > FLATNESS * max(float(widths[0]), float(abs(position).max()) * 1e-3):
        raise ValueError(
            f"{where}: material='rigid' needs at least {dim} particles that do not lie "
            f"{'in one point' if dim == 2 else 'on one line'}; given {len(position)} with the "
            f"principal radii {(widths / len(position) ** 0.5).tolist()[:dim]} m"
        )
    if body.muscle_group is not None and (np.asarray(body.muscle_group) >= 0).any():
        raise ValueError(f"{where}: material='rigid' takes no muscle_group; given {np.max(body.muscle_group)}")
