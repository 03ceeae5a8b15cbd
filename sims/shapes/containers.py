"""Containers for liquids, sand and dough: cups, cones, bowls and ring tanks, open on top, with the local z upwards.

Each is a solid of revolution (``profile.py``) whose origin lies on the axis, halfway up: it stands on a table at
height z with its position at z + ``height`` / 2. What it holds stays out of its walls best with soft contact about half
a cell wide (``softness`` 2 / cell): sharp contact lets particles up to a cell deep into a wall.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.sims.inputs import flag, real, whole
from pliant.sims.shapes.profile import Revolution
from pliant.sims.shapes.shape import check_lengths, too_thin
from pliant.sims.shapes.thickness import CELLS

Corners = list[tuple[float, float]]

WALL_CELLS = CELLS
"""Grid cells that walls must be thick, in soft contact, too. Measured: dough dropped into cups leaks at 1.5 with sharp
contact, not at 2."""


@dataclass(frozen=True)
class Container(Revolution):
    """What all containers offer. The cavity is what they can be filled with, up to the rim.

    Attributes:
        cavity: the cavity as a solid of its own, in the frame of the container.
        height: from the lowest point to the rim [m].
    """

    profile: Sequence[Sequence[float]] = field(init=False, repr=False, compare=False)
    cavity: Revolution = field(init=False, repr=False, compare=False)
    height: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check()
        solid, hollow = self._draw()
        low, high = min(z for _, z in solid), max(z for _, z in solid)
        middle = (low + high) / 2
        object.__setattr__(self, "profile", [(r, z - middle) for r, z in solid])
        object.__setattr__(self, "cavity", Revolution([(r, z - middle) for r, z in hollow]))
        object.__setattr__(self, "height", high - low)
        super().__post_init__()

    @abstractmethod
    def _check(self) -> None:
        """Raise ``ValueError`` for sizes that make no container."""

    @abstractmethod
    def _draw(self) -> tuple[Corners, Corners]:
        """Profiles of the solid and of the cavity, at any height."""

    @property
    @abstractmethod
    def thicknesses(self) -> dict[str, float]:
        """Thickness [m] of what parts the cavity from the outside, by the name of the argument that sets it."""

    @property
    def _clear_from(self) -> float:
        return 0.0

    @functools.cached_property
    def floor(self) -> float:
        """Lowest z of the cavity in the frame of the container [m]."""
        return self.cavity.bounds[1]

    def check_cell(self, cell: float) -> None:
        """Raise ``ValueError`` if a wall or floor is thinner than ``WALL_CELLS`` cells of this edge [m]: it leaks."""
        for name, thickness in self.thicknesses.items():
            if thickness < WALL_CELLS * cell * (1 - 1e-9):
                raise ValueError(
                    f"{type(self).__name__}: {name}={getattr(self, name)!r} m makes it {thickness / cell:.3g} cells of "
                    f"{cell} m thick and leaks; allowed: at least {WALL_CELLS:g} cells, {WALL_CELLS * cell:.4g} m"
                )

    def thin_part(self, least: float) -> str:
        return too_thin(min(self.thicknesses.values()), least)

    def holds(self, points: np.ndarray, clearance: float = 0.0) -> np.ndarray:
        """Whether points (n, 3) [m], in the frame of the container, are in the cavity, ``clearance`` [m] off walls."""
        return (self.cavity.signed_distance(points) < 0) & (self.signed_distance(points) >= clearance)


@dataclass(frozen=True)
class Cup(Container):
    """A cup or glass: a tapered or straight wall about a level floor.

    Args:
        radius: inner radius at the floor [m].
        depth: from the floor to the rim [m].
        wall: thickness of the wall, measured horizontally [m].
        floor_thickness: [m]; 0 with ``open_bottom``.
        top_radius: inner radius at the rim [m]; as at the floor unless given.
        open_bottom: a tube without a floor (a funnel, if tapered).
    """

    radius: float
    depth: float
    wall: float
    floor_thickness: float
    top_radius: float | None = None
    open_bottom: bool = False

    def _check(self) -> None:
        check_lengths(self, "radius", "depth", "wall", *([] if self.top_radius is None else ["top_radius"]))
        flag("Cup: open_bottom", self.open_bottom)
        if not self.open_bottom:
            check_lengths(self, "floor_thickness", hint="; open_bottom=True makes a tube without a floor")
        elif real("Cup: floor_thickness", self.floor_thickness) != 0:
            raise ValueError(f"Cup: floor_thickness={self.floor_thickness!r} must be 0 with open_bottom=True")

    @property
    def _top(self) -> float:
        return self.radius if self.top_radius is None else self.top_radius

    @property
    def thicknesses(self) -> dict[str, float]:
        upright = self.wall * self.depth / math.hypot(self.depth, self._top - self.radius)
        return {"wall": upright} | ({} if self.open_bottom else {"floor_thickness": self.floor_thickness})

    def _draw(self) -> tuple[Corners, Corners]:
        bottom, top, depth = self.radius, self._top, self.depth
        inside = [(top, depth), (bottom, 0.0)]
        hollow = [(0.0, 0.0), (bottom, 0.0), (top, depth), (0.0, depth)]
        if self.open_bottom:
            return [(bottom + self.wall, 0.0), (top + self.wall, depth), *inside], hollow
        low = -self.floor_thickness
        outside = [(0.0, low), (bottom + self.wall, low), (bottom + self.wall, 0.0), (top + self.wall, depth)]
        return [*outside, *inside, (0.0, 0.0)], hollow


@dataclass(frozen=True)
class Cone(Container):
    """A hollow cone on its tip, open on top, as for ice cream.

    Args:
        radius: inner radius at the rim [m].
        depth: from the inner tip to the rim [m].
        wall: thickness of the wall, measured across it [m].
    """

    radius: float
    depth: float
    wall: float

    def _check(self) -> None:
        check_lengths(self, "radius", "depth", "wall")

    @property
    def thicknesses(self) -> dict[str, float]:
        return {"wall": self.wall}

    def _draw(self) -> tuple[Corners, Corners]:
        slant = math.hypot(self.radius, self.depth)
        tip = -self.wall * slant / self.radius
        rim = self.radius + self.wall * slant / self.depth
        hollow = [(0.0, 0.0), (self.radius, self.depth), (0.0, self.depth)]
        return [(0.0, tip), (rim, self.depth), (self.radius, self.depth), (0.0, 0.0)], hollow


@dataclass(frozen=True)
class Bowl(Container):
    """A hollow cap of a ball, open on top.

    Its arcs are polygons with corners on the circles: they lie inside by ``error`` [m] at most.

    Args:
        radius: of the inner ball [m].
        wall: thickness of the wall [m].
        depth: from the lowest point of the inner ball to the rim [m], at most ``radius``; half a ball unless given.
        edges: of each arc, 24 to 200.
    """

    radius: float
    wall: float
    depth: float | None = None
    edges: int = 24

    def _check(self) -> None:
        check_lengths(self, "radius", "wall", *([] if self.depth is None else ["depth"]))
        if self._depth > self.radius:
            raise ValueError(f"Bowl: depth={self.depth!r} must be at most the radius, {self.radius!r} m")
        whole("Bowl: edges", self.edges, 24, 200)

    @property
    def _depth(self) -> float:
        return self.radius if self.depth is None else self.depth

    def _step(self, radius: float) -> float:
        """Angle of an edge of the arc of this radius, which ends at the rim."""
        return math.acos((self.radius - self._depth) / radius) / (self.edges - 0.5)

    @property
    def error(self) -> float:
        """Largest distance between the polygons and the circles [m]."""
        return max(r * (1 - math.cos(self._step(r) / 2)) for r in (self.radius, self.radius + self.wall))

    @property
    def thicknesses(self) -> dict[str, float]:
        return {"wall": self.wall - self.error}

    def _arc(self, radius: float) -> Corners:
        """From the axis to the rim; level on the axis, so that there is no tip."""
        step = self._step(radius)
        angles = step * (np.arange(self.edges) + 0.5)
        level = (0.0, -radius * math.cos(step / 2))
        return [level, *((float(radius * math.sin(a)), float(-radius * math.cos(a))) for a in angles)]

    def _draw(self) -> tuple[Corners, Corners]:
        inside, outside = self._arc(self.radius), self._arc(self.radius + self.wall)
        return outside + inside[::-1], [*inside, (0.0, inside[-1][1])]


@dataclass(frozen=True)
class RingTank(Container):
    """A channel about a round obstacle: an outer wall, a level floor, and a solid middle as high as the wall.

    Args:
        inner_radius: of the obstacle in the middle [m].
        outer_radius: of the channel [m].
        depth: from the floor to the rim [m].
        wall: thickness of the outer wall [m].
        floor_thickness: [m].
    """

    inner_radius: float
    outer_radius: float
    depth: float
    wall: float
    floor_thickness: float

    def _check(self) -> None:
        check_lengths(self, "inner_radius", "outer_radius", "depth", "wall", "floor_thickness")
        if self.outer_radius <= self.inner_radius:
            raise ValueError(
                f"RingTank: outer_radius={self.outer_radius!r} must be larger than inner_radius={self.inner_radius!r}"
            )

    @property
    def thicknesses(self) -> dict[str, float]:
        return {"wall": self.wall, "floor_thickness": self.floor_thickness, "inner_radius": 2 * self.inner_radius}

    @property
    def _clear_from(self) -> float:
        return (self.inner_radius + self.outer_radius) / 2

    def _draw(self) -> tuple[Corners, Corners]:
        low, high, near, far = -self.floor_thickness, self.depth, self.inner_radius, self.outer_radius
        hollow = [(near, 0.0), (far, 0.0), (far, high), (near, high)]
        rim = far + self.wall
        outside = [(0.0, low), (rim, low), (rim, high)]
        return [*outside, (far, high), (far, 0.0), (near, 0.0), (near, high), (0.0, high)], hollow
