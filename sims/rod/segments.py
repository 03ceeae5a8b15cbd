"""Nearest points of two segments, on the device with their derivatives, and on the host.

Of the segments a + s e and c + t f, 0 <= s, t <= 1, with w = a - c + s e - t f: the least

    |w|^2/2 + ROUND/2 (|e|^2 (s - 1/2)^2 + |f|^2 (t - 1/2)^2).

The small second term, which draws both places to the middle of their segments, makes the least unique and continuous
also where the segments are parallel; elsewhere it moves the places by less than ROUND and lengthens the distance by a
second-order amount. The places have kinks, and the gradient is one of the two one-sided ones, where a place reaches an
end of its segment.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from pliant.sims.runtime import ti

ROUND = 1e-3


@cache
def segment_functions(fp: Any) -> SimpleNamespace:
    """Taichi functions of one floating-point type.

    ``nearest(e, f, r)``: the places s and t, for r = a - c.  ``nearest_adjoint(e, f, r, s, t, s_bar, t_bar)``: their
    cotangents for e, f and r.
    """

    @ti.func
    def system(e, f):
        """Entries of the matrix ((A, -B), (-B, C)) of the quadratic function of s and t."""
        return (1 + fp(ROUND)) * e.dot(e), e.dot(f), (1 + fp(ROUND)) * f.dot(f)

    @ti.func
    def nearest(e, f, r):
        """Minimum over the unit square (Ericson 2005, section 5.1.9): s of the free minimum, clamped; the best t for
        that s; if that t must be clamped, the best s for it, clamped."""
        A, B, C = system(e, f)
        p = fp(ROUND / 2) * e.dot(e) - e.dot(r)
        q = fp(ROUND / 2) * f.dot(f) + f.dot(r)
        s = ti.min(ti.max((p * C + q * B) / (A * C - B * B), fp(0.0)), fp(1.0))
        t = (q + B * s) / C
        if t < 0 or t > 1:
            t = ti.min(ti.max(t, fp(0.0)), fp(1.0))
            s = ti.min(ti.max((p + B * t) / A, fp(0.0)), fp(1.0))
        return s, t

    @ti.func
    def nearest_adjoint(e, f, r, s, t, s_bar, t_bar):
        """Places inside their segments satisfy e.w + ROUND e.e (s - 1/2) = 0 and -f.w + ROUND f.f (t - 1/2) = 0. With
        l the solution of the same symmetric system for their cotangents, the cotangents are minus those of

        l_s (e.w + ROUND e.e (s - 1/2)) + l_t (-f.w + ROUND f.f (t - 1/2)) at fixed s and t."""
        A, B, C = system(e, f)
        l_s = fp(0.0)
        l_t = fp(0.0)
        s_moves = s > 0 and s < 1
        t_moves = t > 0 and t < 1
        if s_moves and t_moves:
            inverse = 1 / (A * C - B * B)
            l_s = (C * s_bar + B * t_bar) * inverse
            l_t = (B * s_bar + A * t_bar) * inverse
        elif s_moves:
            l_s = s_bar / A
        elif t_moves:
            l_t = t_bar / C
        w = r + s * e - t * f
        r_bar = l_t * f - l_s * e
        e_bar = s * r_bar - l_s * (w + fp(2 * ROUND) * (s - fp(0.5)) * e)
        f_bar = -t * r_bar + l_t * (w - fp(2 * ROUND) * (t - fp(0.5)) * f)
        return e_bar, f_bar, r_bar

    return SimpleNamespace(nearest=nearest, nearest_adjoint=nearest_adjoint)


def distances(position: np.ndarray, parents: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Distances [m] of the nearest points of pairs of edges (m, 2), by their last vertices, of shapes (..., n, 3)."""
    i, j = pairs.T
    a, c = position[..., parents[i], :], position[..., parents[j], :]
    e, f, r = position[..., i, :] - a, position[..., j, :] - c, a - c

    def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.sum(x * y, axis=-1)

    A, B, C, p, q = dot(e, e), dot(e, f), dot(f, f), -dot(e, r), dot(f, r)
    determinant = np.maximum(A * C - B * B, 1e-12 * A * C)  # any place will do on parallel segments
    s = np.clip((p * C + q * B) / determinant, 0.0, 1.0)
    t = np.clip((q + B * s) / C, 0.0, 1.0)
    s = np.clip((p + B * t) / A, 0.0, 1.0)
    return np.linalg.norm(r + s[..., None] * e - t[..., None] * f, axis=-1)


def separate_pairs(parents: np.ndarray) -> np.ndarray:
    """Pairs of edges of a tree that do not share a vertex, by their last vertices, shape (m, 2)."""
    i, j = np.triu_indices(len(parents), 1)
    keep = (i > 0) & (parents[j] != i) & (parents[i] != parents[j])
    return np.stack([i[keep], j[keep]], axis=1)
