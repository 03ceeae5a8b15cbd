"""Rods and trees of rods, what holds them, contact with themselves: plain, checked data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pliant.sims.inputs import real, real_array, shown
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.segments import distances, separate_pairs
from pliant.sims.rod.topology import (
    carried_directors,
    check_folds,
    check_natural_folds,
    check_parents,
    edges,
    joint_lengths,
    strains,
)
from pliant.sims.shapes.shape import LONGEST

Numbers = float | Sequence[float] | np.ndarray


@dataclass
class Rod:
    """An elastic rod, or a tree of rods (a wire harness): n vertices and an edge from each to its predecessor.

    What belongs to edges and joints is counted by their last vertex: edge i joins vertices parents[i] and i; joint i
    is that between the edges parents[i] and i. A scalar holds for all.

    Args:
        position: (n, 3) vertices at the start [m]; no joint may be folded by more than 170 degrees.
        parents: (n,) predecessor of each vertex, -1 for the first; None: a chain.
        mass: of each vertex [kg], scalar or (n,).
        bend_stiffness: [N m^2], scalar, (n,) or (n, 2): about both axes of the cross-section.
        twist_stiffness: [N m^2], scalar or (n,).
        stretch_stiffness: [N], scalar or (n,).
        rest_length: of each edge [m], (n,) (the first is not used); None: as in ``position``.
        rest_position: (n, 3) the shape without forces, which gives natural curvatures and twists; None: straight, but
            for branches, which leave their parent as in ``position``.
        natural_strain: (n, 3) natural curvatures about both axes [1/m] and twist [rad/m] of each joint, in place of a
            shape without forces; None: those of that shape.
        bend_damping, twist_damping: relaxation times [s]: viscous moment / (stiffness x rate of strain).
        drag: of each vertex [N s/m].  quadratic_drag: [N s^2/m^2].
        radius: of the cross-section [m], for contact and pictures.
        director: (3,) direction that the first director of the first edge is nearest to.
        color: (r, g, b) in 0..1.
    """

    position: np.ndarray
    parents: Sequence[int] | np.ndarray | None = None
    mass: Numbers = 1e-3
    bend_stiffness: Numbers = 1e-4
    twist_stiffness: Numbers = 1e-4
    stretch_stiffness: Numbers = 1e2
    rest_length: np.ndarray | None = None
    rest_position: np.ndarray | None = None
    natural_strain: np.ndarray | None = None
    bend_damping: Numbers = 0.0
    twist_damping: Numbers = 0.0
    drag: Numbers = 0.0
    quadratic_drag: Numbers = 0.0
    radius: float = 2e-3
    director: Sequence[float] = (0.0, 0.0, 1.0)
    color: tuple[float, float, float] = (0.85, 0.45, 0.2)
    tree: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.position = _points("position", self.position)
        n = len(self.position)
        self.tree = check_parents(np.arange(-1, n - 1) if self.parents is None else self.parents)
        if len(self.tree) != n:
            raise ValueError(f"parents has {len(self.tree)} entries, position {n} vertices")
        lengths = edges(self.position, self.tree)[1]
        if (lengths[1:] < 1e-9).any():
            raise ValueError(f"position: edge {int(np.argmax(lengths[1:] < 1e-9)) + 1} has length zero")
        check_folds("position", self.position, self.tree)
        if self.rest_length is None:
            self.rest_length = lengths
        self.rest_length = np.array(self.column("rest_length"))
        self.rest_length[0] = self.rest_length[1]
        for name in ("mass", "bend_stiffness", "twist_stiffness", "stretch_stiffness", "rest_length"):
            if (self.column(name) <= 0).any():
                raise ValueError(f"{name}={shown(getattr(self, name))} must be positive")
        for name in ("bend_damping", "twist_damping", "drag", "quadratic_drag"):
            if (self.column(name) < 0).any():
                raise ValueError(f"{name}={shown(getattr(self, name))} must not be negative")
        real("radius", self.radius, above=0.0, unit="m")
        if not real_array("director", self.director, shape=(3,)).any():
            raise ValueError(f"director={shown(self.director)} must not be zero")
        color = real_array("color", self.color, shape=(3,))
        if color.min() < 0 or color.max() > 1:
            raise ValueError(f"color={shown(self.color)} must be (r, g, b) in 0..1")
        if self.rest_position is not None:
            self.rest_position = _points("rest_position", self.rest_position)
            if len(self.rest_position) != n:
                raise ValueError(f"rest_position has {len(self.rest_position)} vertices, position {n}")
            if (edges(self.rest_position, self.tree)[1][1:] < 1e-9).any():
                raise ValueError("rest_position has an edge of length zero")
            check_folds("rest_position", self.rest_position, self.tree)
        if self.natural_strain is not None:
            self.natural_strain = np.array(self.natural_strain, float)
            if self.natural_strain.shape != (n, 3) or not np.isfinite(self.natural_strain).all():
                raise ValueError(f"natural_strain has shape {self.natural_strain.shape}, must be ({n}, 3), all finite")
            if self.rest_position is not None:
                raise ValueError("natural_strain and rest_position both say what the rod is without forces; give one")
            check_natural_folds("natural_strain", self.natural_strain[None, :, :2], self.rest_length[None], self.tree)

    def __len__(self) -> int:
        return len(self.position)

    def column(self, name: str) -> np.ndarray:
        """A quantity of each node, shape (n,); of bend stiffness (n, 2)."""
        value = real_array(name, getattr(self, name))
        n = len(self.position)
        if name == "bend_stiffness":
            if value.shape not in ((), (n,), (n, 2)):
                raise ValueError(f"{name} has shape {value.shape}, must be (), ({n},) or ({n}, 2)")
            return np.broadcast_to(value[:, None] if value.shape == (n,) else value, (n, 2))
        if value.shape not in ((), (n,)):
            raise ValueError(f"{name} has shape {value.shape}, must be () or ({n},)")
        return np.broadcast_to(value, (n,))

    def directors(self, position: np.ndarray | None = None) -> np.ndarray:
        """Twist-free first directors of the edges, (..., n, 3), of a shape (..., n, 3); default: that at the start."""
        return carried_directors(self.position if position is None else position, self.tree, self.director)

    def natural_strains(self) -> np.ndarray:
        """Natural curvatures about both axes [1/m] and twist [rad/m] of each joint, (n, 3)."""
        if self.natural_strain is not None:
            return self.natural_strain
        lengths = joint_lengths(np.asarray(self.rest_length), self.tree)
        shape = self.position if self.rest_position is None else self.rest_position
        natural = strains(shape, self.directors(shape), self.tree) / lengths[:, None]
        if self.rest_position is None:
            first_child = np.full(len(self), -1)
            for i in range(len(self) - 1, 0, -1):
                first_child[self.tree[i]] = i
            is_branch = first_child[self.tree] != np.arange(len(self))
            natural[~is_branch] = 0.0
        return natural


@dataclass
class Grip:
    """Vertices that are held: by an effector, as parts of its rigid body, or (None) along given positions.

    An edge whose two vertices are in one grip turns with it.
    """

    vertices: Sequence[int]
    effector: str | None = None


@dataclass
class SelfContact:
    """Contact of a rod with itself: of any two edges that do not share a vertex, as capsules.

    Args:
        stiffness: [N/m] of two edges against each other.
        friction: Coulomb's coefficient.
        radius: of the edges [m], scalar or (n,) (the first is not used); None: the rod's.
    """

    stiffness: float = 1e4
    friction: float = 0.3
    radius: Numbers | None = None

    def __post_init__(self) -> None:
        for name, unit in (("stiffness", "N/m"), ("friction", "")):
            real(f"self_contact: {name}", getattr(self, name), 0.0, unit=unit)

    def radii(self, rod: Rod) -> np.ndarray:
        """Of each edge [m], (n,).

        Raises:
            ValueError: one is not positive, or there are not as many as edges.
        """
        value = real_array("self_contact: radius", rod.radius if self.radius is None else self.radius)
        if value.shape not in ((), (len(rod),)):
            raise ValueError(f"self_contact: radius has shape {value.shape}, must be () or ({len(rod)},)")
        if not ((value > 0) & (value <= LONGEST)).all():
            raise ValueError(f"self_contact: radius={shown(self.radius)} must be a positive length [m], <= {LONGEST:g}")
        return np.broadcast_to(value, (len(rod),))

    def check(self, rod: Rod) -> None:
        """Raise ``ValueError`` if the rod overlaps itself, at the start or in its shape without forces."""
        radii, pairs = self.radii(rod), separate_pairs(rod.tree)
        for name, shape in (("position", rod.position), ("rest_position", rod.rest_position)):
            if shape is not None and len(pairs):
                distance = distances(shape, rod.tree, pairs)
                excess = radii[pairs].sum(axis=1) - distance
                worst = int(excess.argmax())
                if excess[worst] > 0:
                    i, j = (int(v) for v in pairs[worst])
                    raise ValueError(
                        f"self_contact: the edges that end in vertices {i} and {j} overlap in {name}: they are "
                        f"{distance[worst]:.3g} m apart, their radii sum to {radii[[i, j]].sum():.3g} m"
                    )


def _points(name: str, value: Any) -> np.ndarray:
    points = np.array(real_array(name, value))
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2:
        raise ValueError(f"{name} has shape {points.shape}, must be (n, 3) with n >= 2 [m]")
    return points


class Wiring(Protocol):
    """What the part of a rod needs to know of its scene; see ``scene.RodScene`` for what each one means."""

    rod: Rod
    effectors: list[Effector]
    gravity: Sequence[float]
    contact_stiffness: float
    integrator: str
    iterations: int
    scaled: bool
    forced: bool
    self_contact: SelfContact | None
    grip_of: np.ndarray
    driven_count: int
