"""Differentiable features of a rod that is to pass through a round opening: what is left of its way, and how far it is
off the middle.

The opening is a disc that moves with an effector: its centre c is the effector's, its normal a the effector's z axis.
A vertex at x has the height s = (x - c).a over its plane. The rod passes if its tip lies above the plane, s > 0, and
the last edge that crosses the plane from below does so within the disc. A rod that comes backwards through the disc
does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pliant.envs.features.words import Feature, Sink, View, as_index


@dataclass(frozen=True, eq=False)
class Passage:
    """Where a rod is to pass, shared by its features.

    Attributes:
        path: vertices up to the tip, in order.
        effector: number of the effector that has the opening.
        opening: radius of the opening [m].
        depth: height of the tip that is wanted [m].
        smoothing: distances below are quadratic in `Aside` and, about the depth, in `WayLeft` [m].
    """

    path: Sequence[int] | np.ndarray
    effector: int
    opening: float
    depth: float
    smoothing: float = 0.003

    def look(self, view: View) -> _Look:
        """Where the rod is now; computed once per view."""
        return view.cached(self, lambda: _look(self, view))

    def add_adjoint(self, sink: Sink, x_bar: np.ndarray, c_bar: np.ndarray, a_bar: np.ndarray, q: np.ndarray) -> None:
        """Give the sink the cotangents of path (B, m, 3), centre (B, 3) and normal (B, 3) at orientation q (B, 4)."""
        # a = (2 (xz + wy), 2 (yz - wx), w^2 - x^2 - y^2 + z^2)
        w, x, y, z = q.T
        rows = np.array([[y, -x, w], [z, -w, -x], [w, z, -y], [x, y, z]])  # (4, 3, B), half of da/dq
        here = slice(self.effector, self.effector + 1)
        sink.add("position", x_bar, as_index(self.path))
        sink.add("effector_position", c_bar[:, None], here)
        sink.add("effector_orientation", 2.0 * np.einsum("kdb,bd->bk", rows, a_bar)[:, None], here)


@dataclass(frozen=True, eq=False)
class _Look:
    """Where the rod and the opening are."""

    x: np.ndarray  # path, (B, m, 3)
    q: np.ndarray  # orientation of the effector, (B, 4)
    a: np.ndarray  # its z axis, (B, 3)
    u: np.ndarray  # x - c, (B, m, 3)
    s: np.ndarray  # heights, (B, m)
    edge: np.ndarray  # first vertex of the edge that crosses, (B,)
    share: np.ndarray  # of that edge below the plane, (B,)
    crossing: np.ndarray  # where it crosses, relative to c, (B, 3)
    passes: np.ndarray  # (B,)


def _look(passage: Passage, view: View) -> _Look:
    x = view.array("position")[:, as_index(passage.path)]
    q = view.array("effector_orientation")[:, passage.effector]
    w, i, j, k = q.T
    a = np.stack([2 * (i * k + w * j), 2 * (j * k - w * i), w * w - i * i - j * j + k * k], axis=1)
    u = x - view.array("effector_position")[:, passage.effector, None]
    s = np.einsum("bmd,bd->bm", u, a)
    worlds, last = np.arange(len(x)), s.shape[1] - 1
    below = s <= 0.0
    edge = np.minimum(last - np.argmax(below[:, ::-1], axis=1), last - 1)
    crosses = ~below[:, -1] & below.any(axis=1)
    low, high = s[worlds, edge], s[worlds, edge + 1]
    share = np.divide(low, low - high, out=np.zeros_like(low), where=crosses)
    crossing = u[worlds, edge] + share[:, None] * (x[worlds, edge + 1] - x[worlds, edge])
    passes = crosses & (np.linalg.norm(crossing, axis=1) < passage.opening)
    return _Look(x, q, a, u, s, edge, share, crossing, passes)


def _split(u: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height s = u.a (B,) and offset w = u - s a (B, 3) of a point."""
    s = (u * a).sum(axis=1)
    return s, u - s[:, None] * a


def _split_adjoint(u: np.ndarray, a: np.ndarray, s_bar: np.ndarray, w_bar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u_bar = w_bar + (s_bar - a.w_bar) a,  a_bar = (s_bar - a.w_bar) u - s w_bar."""
    along = (s_bar - (a * w_bar).sum(axis=1))[:, None]
    return w_bar + along * a, along * u - (u * a).sum(axis=1)[:, None] * w_bar


class WayLeft(Feature):
    """What is left of the way [m], size 1.

    If the rod passes, that is from the tip's height s to the depth D: sqrt((D - s)^2 + e^2) - e. If not, it is the
    distance of the tip from the opening, and from there, s = 0, to the depth.
    """

    def __init__(self, passage: Passage, name: str = "way") -> None:
        self.name, self.size, self.passage = name, 1, passage

    def _outside(self, look: _Look) -> tuple[np.ndarray, ...]:
        """Height, offset, its length, excess over the opening and distance from it, of the tip."""
        s, w = _split(look.u[:, -1], look.a)
        rho = np.linalg.norm(w, axis=1)
        excess = np.maximum(rho - self.passage.opening, 0.0)
        return s, w, rho, excess, np.hypot(s, excess)

    def value(self, view: View) -> np.ndarray:
        look, e = self.passage.look(view), self.passage.smoothing
        rest = self.passage.depth - np.where(look.passes, look.s[:, -1], 0.0)
        way = np.sqrt(rest**2 + e**2) - e + np.where(look.passes, 0.0, self._outside(look)[-1])
        return way[:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        look, bar = self.passage.look(view), cotangent[:, 0]
        s, w, rho, excess, distance = self._outside(look)
        rest = self.passage.depth - s
        inside_bar = -bar * rest / np.sqrt(rest**2 + self.passage.smoothing**2)
        ratio = np.divide(bar, distance, out=np.zeros_like(bar), where=distance > 0.0)
        s_bar = np.where(look.passes, inside_bar, ratio * s)
        radial = np.where(look.passes, 0.0, ratio * excess) / np.maximum(rho, np.finfo(float).tiny)
        u_bar, a_bar = _split_adjoint(look.u[:, -1], look.a, s_bar, radial[:, None] * w)
        x_bar = np.zeros_like(look.x)
        x_bar[:, -1] = u_bar
        self.passage.add_adjoint(sink, x_bar, -u_bar, a_bar, look.q)


class Aside(Feature):
    """How far the rod is off the middle of the opening [m], size 1: sqrt(|w|^2 + e^2) - e.

    If the rod passes, w leads from the centre to where it crosses the plane; if not, from the axis to the tip.
    """

    def __init__(self, passage: Passage, name: str = "aside") -> None:
        self.name, self.size, self.passage = name, 1, passage

    def _offset(self, view: View) -> tuple[_Look, np.ndarray, np.ndarray]:
        look = self.passage.look(view)
        w = np.where(look.passes[:, None], look.crossing, _split(look.u[:, -1], look.a)[1])
        return look, w, np.sqrt((w**2).sum(axis=1) + self.passage.smoothing**2)

    def value(self, view: View) -> np.ndarray:
        return (self._offset(view)[2] - self.passage.smoothing)[:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        # crossing p = x_i + f (x_j - x_i), f = s_i / (s_i - s_j), d = s_i - s_j:
        #   f_bar = p_bar.(x_j - x_i),  s_i_bar = -s_j f_bar / d^2,  s_j_bar = s_i f_bar / d^2
        look, w, root = self._offset(view)
        w_bar = (cotangent[:, 0] / root)[:, None] * w
        off_bar = np.where(look.passes[:, None], 0.0, w_bar)
        u_bar, a_bar = _split_adjoint(look.u[:, -1], look.a, np.zeros(view.batch), off_bar)
        x_bar, c_bar = np.zeros_like(look.x), -u_bar
        x_bar[:, -1] = u_bar
        for b in np.flatnonzero(look.passes):
            i, f, p_bar, a = look.edge[b], look.share[b], w_bar[b], look.a[b]
            low, high = look.s[b, i], look.s[b, i + 1]
            f_bar = p_bar @ (look.x[b, i + 1] - look.x[b, i]) / (low - high) ** 2
            low_bar, high_bar = -high * f_bar, low * f_bar
            x_bar[b, i] += (1 - f) * p_bar + low_bar * a
            x_bar[b, i + 1] += f * p_bar + high_bar * a
            c_bar[b] -= p_bar + (low_bar + high_bar) * a
            a_bar[b] += low_bar * look.u[b, i] + high_bar * look.u[b, i + 1]
        self.passage.add_adjoint(sink, x_bar, c_bar, a_bar, look.q)


class Passed(Feature):
    """1 where the rod passes through the opening, else 0, size 1; without a derivative."""

    def __init__(self, passage: Passage, name: str = "passed") -> None:
        self.name, self.size, self.passage = name, 1, passage

    def value(self, view: View) -> np.ndarray:
        return self.passage.look(view).passes[:, None].astype(np.float64)
