"""Differentiable features of shapes: densities on a grid, distance to a target shape, distance to a manipulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pliant.envs.features.words import Feature, Sink, View, as_index
from pliant.sims.math.rotation_host import matrix_of_quaternion, turn_adjoint
from pliant.sims.shapes.shapes import Shape


@dataclass(frozen=True, eq=False)
class _Splat:
    """Quadratic B-spline weights of P = B n particles and the nodes they fall on; the long axis last, for speed."""

    nodes: np.ndarray  # (3**dim, P), numbers in the flattened (B, node count)
    weights: np.ndarray  # (dim, 3, P)
    slopes: np.ndarray  # (dim, 3, P), derivative with respect to position [1/m]
    density: np.ndarray  # (B, node count)


class DensityGrid:
    """Volume fraction of a group of particles on the nodes of a regular grid, in about [0, 1].

    Each particle spreads its rest volume over the 3**dim nearest nodes with quadratic B-spline weights. Particles
    whose nodes are not all on the grid do not count.

    Args:
        lower: position of node (0, ..., 0) [m], shape (dim,).
        cell: spacing of the nodes [m].
        counts: nodes along each axis, shape (dim,).
        rows: the particles.
        volume: rest volume of one particle [m^dim].
    """

    def __init__(
        self,
        *,
        lower: Sequence[float] | np.ndarray,
        cell: float,
        counts: Sequence[int],
        rows: np.ndarray | Sequence[int],
        volume: float,
    ) -> None:
        self.lower = np.asarray(lower, np.float64)
        self.cell, self.counts, self.volume = float(cell), np.asarray(counts, np.int64), float(volume)
        self.index = as_index(rows)
        self.dim = len(self.counts)
        self.node_count = int(np.prod(self.counts))
        strides = np.cumprod(np.concatenate([[1], self.counts[:0:-1]]))[::-1]  # C order
        self._strides = strides.astype(np.int64)
        self._offsets = np.array(list(np.ndindex(*(3,) * self.dim))) @ self._strides

    def density(self, position: np.ndarray) -> np.ndarray:
        """Volume fraction at the nodes for particles at ``position`` [m], shape (B, n, dim) -> (B, node_count)."""
        return self._splat(np.asarray(position, np.float64)).density

    def _splat(self, x: np.ndarray) -> _Splat:
        batch, total = len(x), x.shape[0] * x.shape[1]
        xi = ((x.reshape(total, self.dim) - self.lower) / self.cell).T
        base = np.floor(xi - 0.5).astype(np.int64)
        highest = self.counts[:, None] - 3
        inside = np.all((base >= 0) & (base <= highest), axis=0)
        base = np.clip(base, 0, highest)
        f = xi - base
        weights = np.stack([0.5 * (1.5 - f) ** 2, 0.75 - (f - 1.0) ** 2, 0.5 * (f - 0.5) ** 2], axis=1) * inside
        slopes = np.stack([f - 1.5, -2.0 * (f - 1.0), f - 0.5], axis=1) * (inside / self.cell)
        first = self._strides @ base + np.repeat(self.node_count * np.arange(batch), x.shape[1])
        nodes = first + self._offsets[:, None]
        product = weights[0]
        for axis in range(1, self.dim):
            product = (product[:, None] * weights[axis]).reshape(-1, total)
        volumes = np.bincount(nodes.ravel(), product.ravel(), minlength=batch * self.node_count)
        density = volumes.reshape(batch, self.node_count) * (self.volume / self.cell**self.dim)
        return _Splat(nodes, weights, slopes, density)

    def of(self, view: View) -> np.ndarray:
        """Density of the view's particles, shape (B, node_count), computed once per view."""
        return self._cached(view).density

    def _cached(self, view: View) -> _Splat:
        return view.cached(self, lambda: self._splat(self.points(view)))

    def points(self, view: View) -> np.ndarray:
        """The places [m] that count, shape (B, n, dim)."""
        return view.array("position")[:, self.index]

    def points_adjoint(self, view: View, points_bar: np.ndarray, sink: Sink) -> None:
        """From the cotangent of `points` to that of position."""
        sink.add("position", points_bar, self.index)

    def adjoint(self, view: View, density_bar: np.ndarray, sink: Sink) -> None:
        """From the cotangent of `of` to that of position: x_bar_p = V / h^dim sum_i density_bar_i grad w_ip."""
        splat = self._cached(view)
        scaled = density_bar.ravel() * (self.volume / self.cell**self.dim)
        gathered = scaled[splat.nodes].reshape((3,) * self.dim + (-1,))
        total = np.empty((self.dim, splat.nodes.shape[1]))
        for axis in range(self.dim):
            rest = gathered
            for other in reversed(range(self.dim)):  # the last remaining axis of the stencil goes first
                rest = np.einsum("...kp,kp->...p", rest, (splat.slopes if other == axis else splat.weights)[other])
            total[axis] = rest
        self.points_adjoint(view, total.T.reshape(view.batch, -1, self.dim), sink)


class DensityMatch(Feature):
    """Mismatch between the density and a target density, size 1: 0 where they agree, about 1 where they are disjoint.

    ``sum_i s(density_i - target_i) / (2 sum_i target_i)`` with s(d) = sqrt(d^2 + e^2) - e (a smooth absolute value).
    The target is the goal array ``goal``, shape (B, node_count).
    """

    def __init__(self, grid: DensityGrid, goal: str, *, smoothing: float = 0.02, name: str = "density") -> None:
        self.name, self.size = name, 1
        self.grid, self.goal, self.smoothing = grid, goal, smoothing

    def value(self, view: View) -> np.ndarray:
        target = view.goal[self.goal]
        root = np.sqrt((self.grid.of(view) - target) ** 2 + self.smoothing**2)
        return ((root - self.smoothing).sum(axis=1) / (2.0 * target.sum(axis=1)))[:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        target = view.goal[self.goal]
        difference = self.grid.of(view) - target
        density_bar = difference / np.sqrt(difference**2 + self.smoothing**2)
        density_bar *= cotangent / (2.0 * target.sum(axis=1))[:, None]
        self.grid.adjoint(view, density_bar, sink)


def soft_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Soft intersection over union of volume fractions (capped at 1), shapes (B, nodes) -> (B,)."""
    a, b = np.minimum(a, 1.0), np.minimum(b, 1.0)
    intersection = (a * b).sum(axis=1)
    return intersection / ((a + b).sum(axis=1) - intersection)


class TargetDistance(Feature):
    """Mean distance [m] of a grid's particles from a target shape, size 1: the mass outside of it, by how far.

    The goal array ``goal``, shape (B, node_count), is the distance of each node from the shape, 0 within; the mean over
    particles of its spline interpolant is ``h^dim / (n V) sum_i density_i goal_i``.
    """

    def __init__(self, grid: DensityGrid, goal: str, *, name: str = "outside") -> None:
        self.name, self.size = name, 1
        self.grid, self.goal = grid, goal

    def _share(self, view: View) -> float:
        count = view.array("position")[:, self.grid.index].shape[1]
        return self.grid.cell**self.grid.dim / (count * self.grid.volume)

    def value(self, view: View) -> np.ndarray:
        return self._share(view) * (self.grid.of(view) * view.goal[self.goal]).sum(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        self.grid.adjoint(view, cotangent * self._share(view) * view.goal[self.goal], sink)


class SoftIoU(Feature):
    """Soft intersection over union of the density with the goal array ``goal``, size 1, in [0, 1]."""

    def __init__(self, grid: DensityGrid, goal: str, *, name: str = "iou") -> None:
        self.name, self.size = name, 1
        self.grid, self.goal = grid, goal

    def value(self, view: View) -> np.ndarray:
        return soft_iou(self.grid.of(view), view.goal[self.goal])[:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        density = self.grid.of(view)
        a, b = np.minimum(density, 1.0), np.minimum(view.goal[self.goal], 1.0)
        intersection = (a * b).sum(axis=1, keepdims=True)
        union = (a + b).sum(axis=1, keepdims=True) - intersection
        # d(I/U)/da = (b U - I (1 - b)) / U^2
        density_bar = cotangent * (b * union - intersection * (1.0 - b)) / union**2
        self.grid.adjoint(view, np.where(density < 1.0, density_bar, 0.0), sink)


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of the smaller over sum of the larger volume fractions (capped at 1), shapes (B, nodes) -> (B,)."""
    a, b = np.minimum(a, 1.0), np.minimum(b, 1.0)
    return np.minimum(a, b).sum(axis=1) / np.maximum(a, b).sum(axis=1)


class Overlap(Feature):
    """Intersection over union of the density with the goal array ``goal`` by minima and maxima, size 1, in [0, 1].

    It is 1 for equal densities and nothing else, where `SoftIoU` also likes compact shapes better than ragged ones:
    the measure for targets that differ little from the start.
    """

    def __init__(self, grid: DensityGrid, goal: str, *, name: str = "overlap") -> None:
        self.name, self.size = name, 1
        self.grid, self.goal = grid, goal

    def value(self, view: View) -> np.ndarray:
        return overlap(self.grid.of(view), view.goal[self.goal])[:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        density = self.grid.of(view)
        a, b = np.minimum(density, 1.0), np.minimum(view.goal[self.goal], 1.0)
        union = np.maximum(a, b).sum(axis=1, keepdims=True)
        # d(I/U)/da = 1/U where a < b, else -(I/U)/U
        density_bar = cotangent * np.where(a < b, 1.0, -overlap(a, b)[:, None]) / union
        self.grid.adjoint(view, np.where(density < 1.0, density_bar, 0.0), sink)


class OutsideBox(Feature):
    """Mean distance [m] by which particles lie outside an axis-aligned box, size 1.

    Distances d are smoothed to sqrt(d^2 + e^2) - e. The box is given by two goal arrays, its centre and its half
    extents [m], shape (B, dim) each.
    """

    def __init__(
        self,
        rows: np.ndarray | Sequence[int],
        *,
        centre: str,
        half_extent: str,
        smoothing: float,
        name: str = "outside",
    ) -> None:
        self.name, self.size, self.index = name, 1, as_index(rows)
        self.centre, self.half_extent, self.smoothing = centre, half_extent, smoothing

    def _excess(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from_centre = view.array("position")[:, self.index] - view.goal[self.centre][:, None]
        excess = np.maximum(np.abs(from_centre) - view.goal[self.half_extent][:, None], 0.0)
        return excess, np.sign(from_centre), np.sqrt((excess**2).sum(axis=-1) + self.smoothing**2)

    def value(self, view: View) -> np.ndarray:
        return (self._excess(view)[2] - self.smoothing).mean(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        excess, sign, root = self._excess(view)
        sink.add("position", (cotangent / root.shape[1] / root)[..., None] * excess * sign, self.index)


class OutsideBall(Feature):
    """Mean distance [m] by which particles lie outside a ball, size 1, smoothed as in `OutsideBox`.

    The centre [m] is the goal array ``centre``, shape (B, dim); ``radius`` [m] is fixed.
    """

    def __init__(
        self,
        rows: np.ndarray | Sequence[int],
        *,
        centre: str,
        radius: float,
        smoothing: float,
        name: str = "outside",
    ) -> None:
        self.name, self.size, self.index = name, 1, as_index(rows)
        self.centre, self.radius, self.smoothing = centre, radius, smoothing

    def _excess(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from_centre = view.array("position")[:, self.index] - view.goal[self.centre][:, None]
        length = np.linalg.norm(from_centre, axis=-1)
        excess = np.maximum(length - self.radius, 0.0)
        direction = from_centre / np.maximum(length, np.finfo(float).tiny)[..., None]
        return excess, direction, np.sqrt(excess**2 + self.smoothing**2)

    def value(self, view: View) -> np.ndarray:
        return (self._excess(view)[2] - self.smoothing).mean(axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        excess, direction, root = self._excess(view)
        sink.add("position", (cotangent / root.shape[1] * excess / root)[..., None] * direction, self.index)


class ContactDistance(Feature):
    """How far an effector is from touching a group of particles [m], size 1: 0 in contact.

    With r_i the distance of particle i from the effector's origin and p = softmax(-sharpness r), the soft minimum
    m = sum_i p_i r_i reaches the surface at ``reach``; the value is sqrt(max(m - reach, 0)^2 + e^2) - e.

    Args:
        effector: its number.
        rows: the particles.
        reach: distance from the effector's origin to its surface [m], with the usual half particle spacing.
        sharpness: of the soft minimum [1/m]; 1/sharpness is how far it lies above the true minimum.
        smoothing: e [m].
    """

    def __init__(
        self,
        effector: int,
        rows: np.ndarray | Sequence[int],
        *,
        reach: float,
        sharpness: float,
        smoothing: float,
        dim: int = 3,
        name: str = "contact",
    ) -> None:
        self.name, self.size, self.index = name, 1, as_index(rows)
        self.effector, self.reach, self.sharpness, self.smoothing, self.dim = effector, reach, sharpness, smoothing, dim

    def _soft_minimum(self, view: View) -> tuple[np.ndarray, ...]:
        origin = view.array("effector_position")[:, self.effector, None, : self.dim]
        offset = view.array("position")[:, self.index] - origin
        r = np.linalg.norm(offset, axis=-1)
        p = np.exp(-self.sharpness * (r - r.min(axis=1, keepdims=True)))
        p /= p.sum(axis=1, keepdims=True)
        m = (p * r).sum(axis=1, keepdims=True)
        return offset, r, p, m, np.maximum(m - self.reach, 0.0)

    def value(self, view: View) -> np.ndarray:
        gap = self._soft_minimum(view)[-1]
        return np.sqrt(gap**2 + self.smoothing**2) - self.smoothing

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        offset, r, p, m, gap = self._soft_minimum(view)
        m_bar = cotangent * gap / np.sqrt(gap**2 + self.smoothing**2)
        # dm/dr_i = p_i (1 - sharpness (r_i - m))
        r_bar = m_bar * p * (1.0 - self.sharpness * (r - m))
        offset_bar = (r_bar / np.maximum(r, np.finfo(float).tiny))[..., None] * offset
        sink.add("position", offset_bar, self.index)
        pose_bar = np.zeros((view.batch, 1, 3))
        pose_bar[:, 0, : self.dim] = -offset_bar.sum(axis=1)
        sink.add("effector_position", pose_bar, slice(self.effector, self.effector + 1))


class SurfaceDistance(Feature):
    """How far an effector of any shape is from touching a group of particles in 3-D [m], size 1: 0 in contact.

    With r_i the signed distance of particle i from the effector's surface, the soft minimum of `ContactDistance`; the
    value is sqrt(max(m, 0)^2 + e^2) - e.

    Args:
        effector: its number.
        shape: its shape.
        rows: the particles.
        sharpness: of the soft minimum [1/m]; 1/sharpness is how far it lies above the true minimum.
        smoothing: e [m].
    """

    def __init__(
        self,
        effector: int,
        shape: Shape,
        rows: np.ndarray | Sequence[int],
        *,
        sharpness: float,
        smoothing: float,
        name: str = "contact",
    ) -> None:
        self.name, self.size, self.index = name, 1, as_index(rows)
        self.effector, self.shape, self.sharpness, self.smoothing = effector, shape, sharpness, smoothing

    def _local(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from the origin, the rotation, and the offsets in the frame of the shape as rows."""
        offset = view.array("position")[:, self.index] - view.array("effector_position")[:, self.effector, None]
        rotation = matrix_of_quaternion(view.array("effector_orientation")[:, self.effector])
        return offset, rotation, (offset @ rotation).reshape(-1, 3)

    def _soft_minimum(self, view: View, local: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r = self.shape.signed_distance(local).reshape(view.batch, -1)
        p = np.exp(-self.sharpness * (r - r.min(axis=1, keepdims=True)))
        p /= p.sum(axis=1, keepdims=True)
        return r, p, (p * r).sum(axis=1, keepdims=True)

    def value(self, view: View) -> np.ndarray:
        gap = np.maximum(self._soft_minimum(view, self._local(view)[2])[2], 0.0)
        return np.sqrt(gap**2 + self.smoothing**2) - self.smoothing

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        # r = phi(R^T d), n = R grad phi:  d_bar = r_bar n; a small turn psi of R makes dr = -psi . (d x n)
        offset, rotation, local = self._local(view)
        r, p, m = self._soft_minimum(view, local)
        gap = np.maximum(m, 0.0)
        r_bar = cotangent * gap / np.sqrt(gap**2 + self.smoothing**2) * p * (1.0 - self.sharpness * (r - m))
        normal = self.shape.gradient(local).reshape(offset.shape) @ rotation.transpose(0, 2, 1)
        offset_bar = r_bar[..., None] * normal
        turn_bar = -np.cross(offset, offset_bar).sum(axis=1)
        q_bar = turn_adjoint(view.array("effector_orientation")[:, self.effector], turn_bar)
        own = slice(self.effector, self.effector + 1)
        sink.add("position", offset_bar, self.index)
        sink.add("effector_position", -offset_bar.sum(axis=1, keepdims=True), own)
        sink.add("effector_orientation", q_bar[:, None], own)
