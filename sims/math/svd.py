"""Singular value decomposition of 2x2 and 3x3 matrices by one-sided Jacobi rotations.

One-sided Jacobi (Hestenes 1958) turns the columns of F pairwise until they are orthogonal: F V = B. The lengths of the
columns of B are the singular values, their directions are U. Only square roots and divisions are used, so the result is
accurate to a few units in the last place on every device, repeated and vanishing singular values included.
"""

import functools
from types import SimpleNamespace

from pliant.sims.runtime import ti

MAX_ROTATIONS = 48  # convergence is quadratic: 9 to 18 rotations in practice


@functools.cache
def svd_functions(dim: int, fp) -> SimpleNamespace:
    """Taichi functions of one dimension (2 or 3) and floating-point type (ti.f32 or ti.f64).

    Returns a namespace with

    ``svd(F) -> (U, sigma, V)``: F = U diag(sigma) V^T, F of shape (dim, dim). U and V are proper rotations (det = +1),
    sigma (dim,) descends in magnitude, all but the last are >= 0 and the last carries the sign of det F.
    """
    if dim not in (2, 3):
        raise ValueError(f"dim={dim!r} must be 2 or 3")
    epsilon = 1.1920929e-07 if fp == ti.f32 else 2.220446049250313e-16
    orthogonal = (2.0 * epsilon) ** 2  # squared cosine below which two columns count as orthogonal
    rank_cut = 4.0 * epsilon
    vector = ti.types.vector(dim, fp)
    matrix = ti.types.matrix(dim, dim, fp)
    pair = ti.types.vector(2 * dim, fp)  # a column of B = F V above the same column of V: both turn alike

    @ti.func
    def top_dot(a, b):
        """a . b of the upper halves, the columns of B."""
        s = a[0] * b[0]
        for k in ti.static(range(1, dim)):
            s += a[k] * b[k]
        return s

    @ti.func
    def orthogonalise(a, b):
        """Rotate two columns in their plane so that their upper halves are orthogonal; also tells whether it had to."""
        aa = top_dot(a, a)
        bb = top_dot(b, b)
        ab = top_dot(a, b)
        turned = 0
        p, q = a, b
        if ab * ab > fp(orthogonal) * aa * bb:
            turned = 1
            # tan of the smaller root of t^2 + 2 zeta t - 1 = 0, zeta = (bb - aa) / (2 ab), written without overflow
            delta = bb - aa
            t = 2 * ab / (ti.abs(delta) + ti.sqrt(delta * delta + 4 * ab * ab))
            if delta < 0:
                t = -t
            c = 1 / ti.sqrt(1 + t * t)
            s = c * t
            p = c * a - s * b
            q = s * a + c * b
        return p, q, turned

    @ti.func
    def order(a, b):
        """Longer column first. One of two exchanged columns changes sign: the exchange stays a rotation."""
        p, q = a, b
        if top_dot(a, a) < top_dot(b, b):
            p, q = b, -a
        return p, q

    @ti.func
    def top(a):
        """Upper half of a pair: the column of B."""
        return vector([a[k] for k in ti.static(range(dim))])

    @ti.func
    def bottom(a):
        """Lower half of a pair: the column of V."""
        return vector([a[dim + k] for k in ti.static(range(dim))])

    @ti.func
    def bounded(value, limit):
        """The value cut to +-limit where rounding took it beyond. Unlike min and max it passes a NaN on."""
        result = value
        if value > limit:
            result = limit
        elif value < -limit:
            result = -limit
        return result

    @ti.func
    def first_direction(b):
        """b / |b| and |b|; the first unit vector where b = 0."""
        length = ti.sqrt(b.dot(b))
        u = vector(0)
        u[0] = fp(1.0)
        if length > 0:
            u = b / length
        return u, length

    @ti.func
    def svd_2(F):
        """U, sigma and V of a 2 x 2 matrix: one Jacobi rotation."""
        a = pair([F[0, 0], F[1, 0], 1, 0])
        b = pair([F[0, 1], F[1, 1], 0, 1])
        a, b, _turned = orthogonalise(a, b)
        a, b = order(a, b)
        u, length = first_direction(top(a))
        b_top = top(b)
        last = bounded(u[0] * b_top[1] - u[1] * b_top[0], length)
        v = bottom(a)
        U = matrix([[u[0], -u[1]], [u[1], u[0]]])
        V = matrix([[v[0], -v[1]], [v[1], v[0]]])
        return U, vector([length, last]), V

    @ti.func
    def svd_3(F):
        """U, sigma and V of a 3 x 3 matrix: Jacobi rotations until all three pairs of columns are orthogonal."""
        a = pair([F[0, 0], F[1, 0], F[2, 0], 1, 0, 0])
        b = pair([F[0, 1], F[1, 1], F[2, 1], 0, 1, 0])
        c = pair([F[0, 2], F[1, 2], F[2, 2], 0, 0, 1])
        step = 0
        quiet = 0  # pairs in a row that were orthogonal already
        while quiet < 3 and step < MAX_ROTATIONS:
            a, b, turned = orthogonalise(a, b)
            quiet = 0 if turned > 0 else quiet + 1
            a, b, c = b, c, a  # one copy of the rotation serves all pairs (and compiles three times faster)
            step += 1
        a, b = order(a, b)
        a, c = order(a, c)
        b, c = order(b, c)

        u0, length0 = first_direction(top(a))
        b_top = top(b)
        length1 = bounded(ti.sqrt(b_top.dot(b_top)), length0)
        rest = b_top - u0 * u0.dot(b_top)
        size = ti.sqrt(rest.dot(rest))
        if size <= fp(rank_cut) * length0:  # rank one or zero: any direction perpendicular to u0 serves
            rest = vector([0, -u0[2], u0[1]]) if ti.abs(u0[0]) < fp(0.7) else vector([u0[1], -u0[0], 0])
            rest -= u0 * u0.dot(rest)
            size = ti.sqrt(rest.dot(rest))
        u1 = rest / size
        u1 -= u0 * u0.dot(u1)  # once more: the first projection loses digits when sigma_1 << sigma_0
        u1 /= ti.sqrt(u1.dot(u1))
        u2 = u0.cross(u1)
        last = bounded(u2.dot(top(c)), length1)
        v0, v1 = bottom(a), bottom(b)
        v2 = v0.cross(v1)
        U = matrix([[u0[k], u1[k], u2[k]] for k in ti.static(range(3))])
        V = matrix([[v0[k], v1[k], v2[k]] for k in ti.static(range(3))])
        return U, vector([length0, length1, last]), V

    return SimpleNamespace(svd=svd_2 if dim == 2 else svd_3)
