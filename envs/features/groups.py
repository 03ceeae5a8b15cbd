"""Differentiable features of liquids and other matter that flows, is let in and is poured about.

All of them see particles through a `Group`: places in the world or in the frame of a moving container, along some axes
only (a pattern on a surface has two), and without the particles that wait in a pool or lie in a drain.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from pliant.envs.features.shapes import DensityGrid
from pliant.envs.features.words import Feature, Sink, View, as_index
from pliant.sims.math.rotation_host import matrix_of_quaternion, turn_adjoint
from pliant.sims.shapes.shapes import Shape


class Group:
    """Particles as these features see them; share one group among features, they then share its work.

    Args:
        rows: the particles, n of them.
        axes: the axes that count, d of them.
        effector: number of the effector in whose frame places are, or None for the world.
        dim: of the scene; frames of effectors need 3.
    """

    def __init__(
        self,
        rows: np.ndarray | Sequence[int],
        *,
        axes: Sequence[int] = (0, 1, 2),
        effector: int | None = None,
        dim: int = 3,
    ) -> None:
        if effector is not None and dim != 3:
            raise ValueError(f"effector={effector} gives the frame, which takes dim=3, not dim={dim}")
        self.index, self.axes, self.effector, self.dim = as_index(rows), list(axes), effector, dim
        self.count = len(np.arange(self.index.stop)[self.index] if isinstance(self.index, slice) else self.index)

    @property
    def size(self) -> int:
        """Axes that count."""
        return len(self.axes)

    def active(self, view: View) -> np.ndarray:
        """Which particles take part in the motion, booleans, shape (B, n)."""
        return view.cached((self, "active"), lambda: view.array("active")[:, self.index] > 0.0)

    def shares(self, view: View) -> np.ndarray:
        """Weights of a mean over the active particles, shape (B, n); zeros where there are none."""

        def make() -> np.ndarray:
            active = self.active(view)
            return active / np.maximum(active.sum(axis=1, keepdims=True), 1)

        return view.cached((self, "shares"), make)

    def places(self, view: View) -> np.ndarray:
        """Where the particles are [m], shape (B, n, d)."""
        return view.cached((self, "places"), lambda: self._local(view)[2][..., self.axes])

    def _local(self, view: View) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
        """Offsets from the effector, its rotation, and places along all axes."""
        position = view.array("position")[:, self.index]
        if self.effector is None:
            return None, None, position
        offset = position - view.array("effector_position")[:, self.effector, None]
        rotation = matrix_of_quaternion(view.array("effector_orientation")[:, self.effector])
        return offset, rotation, offset @ rotation

    def adjoint(self, view: View, places_bar: np.ndarray, sink: Sink) -> None:
        """From the cotangent of `places`, shape (B, n, d), to those of particles and effector.

        With l = R^T (x - p): x_bar = R l_bar, p_bar = -sum x_bar; a small turn psi of R makes
        dl = -R^T (psi x (x - p)), psi_bar = -sum (x - p) x x_bar.
        """
        bar = np.zeros((*places_bar.shape[:2], self.dim))
        bar[..., self.axes] = places_bar
        if self.effector is None:
            sink.add("position", bar, self.index)
            return
        offset, rotation, _ = self._local(view)
        assert offset is not None and rotation is not None
        bar = bar @ rotation.transpose(0, 2, 1)
        turn_bar = -np.cross(offset, bar).sum(axis=1)
        q_bar = turn_adjoint(view.array("effector_orientation")[:, self.effector], turn_bar)
        own = slice(self.effector, self.effector + 1)
        sink.add("position", bar, self.index)
        sink.add("effector_position", -bar.sum(axis=1, keepdims=True), own)
        sink.add("effector_orientation", q_bar[:, None], own)


class GroupCentre(Feature):
    """Mean place of a group's active particles [m], size d; 0 where there are none."""

    def __init__(self, name: str, group: Group) -> None:
        self.name, self.group, self.size = name, group, group.size

    def value(self, view: View) -> np.ndarray:
        return np.einsum("bn,bnd->bd", self.group.shares(view), self.group.places(view))

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        self.group.adjoint(view, self.group.shares(view)[..., None] * cotangent[:, None], sink)


class GroupVelocity(Feature):
    """Mean velocity of a group's active particles along its axes, in the world [m/s], size d; 0 without any."""

    def __init__(self, name: str, group: Group) -> None:
        self.name, self.group, self.size = name, group, group.size

    def value(self, view: View) -> np.ndarray:
        velocity = view.array("velocity")[:, self.group.index][..., self.group.axes]
        return np.einsum("bn,bnd->bd", self.group.shares(view), velocity)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        bar = np.zeros((view.batch, self.group.count, self.group.dim))
        bar[..., self.group.axes] = self.group.shares(view)[..., None] * cotangent[:, None]
        sink.add("velocity", bar, self.group.index)


class Along(Feature):
    """How far a feature points in a direction: its dot product with the goal array ``goal``, shape (B, d); size 1."""

    def __init__(self, name: str, feature: Feature, goal: str) -> None:
        self.name, self.feature, self.goal, self.size = name, feature, goal, 1

    def value(self, view: View) -> np.ndarray:
        return (self.feature.value(view) * view.goal[self.goal]).sum(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        self.feature.adjoint(view, cotangent * view.goal[self.goal], sink)


class WeightedSum(Feature):
    """Several features of one size with weights: a score of one thing gained and another kept."""

    def __init__(self, name: str, parts: Sequence[tuple[float, Feature]]) -> None:
        sizes = {feature.size for _, feature in parts}
        if len(sizes) != 1:
            raise ValueError(f"feature {name!r}: its parts have the sizes {sorted(sizes)}, must be of one size")
        self.name, self.parts, self.size = name, list(parts), sizes.pop()

    def value(self, view: View) -> np.ndarray:
        return np.sum([weight * feature.value(view) for weight, feature in self.parts], axis=0)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        for weight, feature in self.parts:
            feature.adjoint(view, weight * cotangent, sink)


class MatchedDistance(Feature):
    """Mean distance [m] of the active particles, each from a place of its own, size 1 (an index-matched distance).

    Distances d are smoothed to sqrt(d^2 + e^2) - e. The places are the goal array ``goal``, shape (B, n, d) [m].
    """

    def __init__(self, name: str, group: Group, goal: str, *, smoothing: float) -> None:
        self.name, self.size = name, 1
        self.group, self.goal, self.smoothing = group, goal, smoothing

    def _away(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        away = self.group.places(view) - view.goal[self.goal]
        return away, np.sqrt((away**2).sum(axis=-1) + self.smoothing**2)

    def value(self, view: View) -> np.ndarray:
        root = self._away(view)[1]
        return (self.group.shares(view) * (root - self.smoothing)).sum(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        away, root = self._away(view)
        self.group.adjoint(view, (cotangent * self.group.shares(view) / root)[..., None] * away, sink)


class ShareInPlace(Feature):
    """Share of a group that is in place, in [0, 1]: sum of exp(-d^2 / (2 width^2)) over all its particles.

    d is the distance of an active particle from its place, the goal array ``goal``, shape (B, n, d) [m]; one that waits
    counts nothing. ``width`` [m].
    """

    def __init__(self, name: str, group: Group, goal: str, *, width: float) -> None:
        self.name, self.size = name, 1
        self.group, self.goal, self.width = group, goal, width

    def _bells(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        away = (self.group.places(view) - view.goal[self.goal]) / self.width
        return away, self.group.active(view) * np.exp(-0.5 * (away**2).sum(axis=-1)) / self.group.count

    def value(self, view: View) -> np.ndarray:
        return self._bells(view)[1].sum(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        away, bells = self._bells(view)
        self.group.adjoint(view, (-cotangent * bells / self.width)[..., None] * away, sink)


class Spread(Feature):
    """Variance of the places of a group's active particles, summed over its axes [m^2], size 1.

    Half the mean square distance of two particles, at a cost that grows with their number and not with its square.
    """

    def __init__(self, name: str, group: Group) -> None:
        self.name, self.group, self.size = name, group, 1

    def _from_centre(self, view: View) -> np.ndarray:
        places = self.group.places(view)
        return places - np.einsum("bn,bnd->bd", self.group.shares(view), places)[:, None]

    def value(self, view: View) -> np.ndarray:
        return (self.group.shares(view) * (self._from_centre(view) ** 2).sum(axis=-1)).sum(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        weights = 2.0 * cotangent * self.group.shares(view)
        self.group.adjoint(view, weights[..., None] * self._from_centre(view), sink)


class _InShape(Feature):
    """Mean over a group's active particles of a function of the signed distance [m] from a shape, size 1."""

    def __init__(self, name: str, group: Group, shape: Shape) -> None:
        if group.size != 3:
            raise ValueError(f"feature {name!r}: signed distances need a group with three axes, it has {group.axes}")
        self.name, self.group, self.shape, self.size = name, group, shape, 1

    @abstractmethod
    def _function(self, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The function and its derivative."""

    def value(self, view: View) -> np.ndarray:
        points = self.group.places(view).reshape(-1, 3)
        value = self._function(self.shape.signed_distance(points))[0].reshape(view.batch, -1)
        return (self.group.shares(view) * value).sum(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        points = self.group.places(view).reshape(-1, 3)
        slope = self._function(self.shape.signed_distance(points))[1].reshape(view.batch, -1)
        normal = self.shape.gradient(points).reshape(view.batch, -1, 3)
        self.group.adjoint(view, (cotangent * self.group.shares(view) * slope)[..., None] * normal, sink)


class ShareInside(_InShape):
    """Share of a group that lies within a shape, in [0, 1]: mean of 1 / (1 + exp((distance - margin) / softness)).

    The shape is in the frame of the group: a container's ``cavity``, with the container's effector for the frame. On a
    grid liquid comes up to half a cell into walls: a ``margin`` [m] of half the wall counts it in. ``softness`` [m].
    Particles several times that away have no gradient: see `DistanceFrom`.
    """

    def __init__(self, name: str, group: Group, shape: Shape, *, softness: float, margin: float = 0.0) -> None:
        super().__init__(name, group, shape)
        self.softness, self.margin = softness, margin

    def share(self, points: np.ndarray) -> np.ndarray:
        """The share of points (n, 3) [m] in the frame of the shape, shape ()."""
        return self._function(self.shape.signed_distance(points))[0].mean()

    def _function(self, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = 0.5 - 0.5 * np.tanh(0.5 * (distance - self.margin) / self.softness)
        return inside, -inside * (1.0 - inside) / self.softness


class DistanceFrom(_InShape):
    """Mean distance [m] by which a group's particles lie outside a shape, or with ``within`` inside it.

    Distances d are smoothed to sqrt(d^2 + e^2) - e.
    """

    def __init__(self, name: str, group: Group, shape: Shape, *, smoothing: float, within: bool = False) -> None:
        super().__init__(name, group, shape)
        self.smoothing, self.sign = smoothing, -1.0 if within else 1.0

    def _function(self, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        beyond = np.maximum(self.sign * distance, 0.0)
        root = np.sqrt(beyond**2 + self.smoothing**2)
        return root - self.smoothing, self.sign * beyond / root


class GroupDensity(DensityGrid):
    """Volume fraction of a group's active particles on the nodes of a grid along its axes.

    Along two axes it is a map seen from above: volume over area, in units of ``cell``; ``depth`` [m] makes it the
    fraction of that depth. The features of densities in `pliant.envs.features.shapes` take it.

    Args:
        group: the particles.
        lower: place of the first node [m], shape (d,).
        cell: spacing of the nodes [m].
        counts: nodes along each axis, shape (d,).
        volume: rest volume of one particle [m^dim].
        depth: what the axes that do not count stand for [m^(dim - d)]; 1 if all count.
    """

    def __init__(
        self,
        group: Group,
        *,
        lower: Sequence[float] | np.ndarray,
        cell: float,
        counts: Sequence[int],
        volume: float,
        depth: float = 1.0,
    ) -> None:
        super().__init__(lower=lower, cell=cell, counts=counts, rows=np.arange(group.count), volume=volume / depth)
        if self.dim != group.size:
            raise ValueError(f"counts={list(counts)} has {self.dim} axes, the group has {group.size}")
        self.group = group

    def points(self, view: View) -> np.ndarray:
        off_grid = self.lower - 8.0 * self.cell  # where nothing counts and there is no gradient
        return np.where(self.group.active(view)[..., None], self.group.places(view), off_grid)

    def points_adjoint(self, view: View, points_bar: np.ndarray, sink: Sink) -> None:
        self.group.adjoint(view, points_bar, sink)


class DensityMap(Feature):
    """A density on the nodes of a coarse grid as it is, size node count: what is observed of a pattern."""

    def __init__(self, name: str, grid: DensityGrid) -> None:
        self.name, self.grid, self.size = name, grid, grid.node_count

    def value(self, view: View) -> np.ndarray:
        return self.grid.of(view).copy()

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        self.grid.adjoint(view, cotangent, sink)


class DensityError(Feature):
    """Relative square error of a density, ``sum_i (density_i - target_i)^2 / sum_i target_i^2``, size 1.

    With the density of the evenly mixed state as target, the goal array ``goal`` of shape (B, node count), it is
    proportional to the intensity of segregation at the scale of the grid (Danckwerts 1952).
    """

    def __init__(self, name: str, grid: DensityGrid, goal: str) -> None:
        self.name, self.grid, self.goal, self.size = name, grid, goal, 1

    def value(self, view: View) -> np.ndarray:
        target = view.goal[self.goal]
        error = ((self.grid.of(view) - target) ** 2).sum(axis=1)
        return (error / (target**2).sum(axis=1))[:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        target = view.goal[self.goal]
        density_bar = 2.0 * (self.grid.of(view) - target) * (cotangent / (target**2).sum(axis=1)[:, None])
        self.grid.adjoint(view, density_bar, sink)
