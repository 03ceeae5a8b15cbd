"""Small Taichi functions of the transfers: records in memory, stencils of nodes, quadratic B-spline weights."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.access import access_functions
from pliant.sims.mpm.places import Setup
from pliant.sims.runtime import ti

NODE_MASK, FLOAT_MASK = (1 << 28) - 1, (1 << 30) - 1
"""At least the index of any node, and of any float. Masked, an index is known to LLVM not to overflow when something
small is added, so that neighbouring floats have one address computation in common."""


@cache
def vector_functions(dim: int, fp: Any, atomic: bool) -> SimpleNamespace:
    """Vectors (dim,) and matrices (dim, dim) in flat arrays, vectors in the lanes of a node, products of small ones;
    ``atomic``: threads may share a node (a GPU)."""
    add = access_functions(fp, atomic).add

    @ti.func
    def load_vec(a: ti.template(), o):
        """Vector of the dim entries from o on."""
        return ti.Vector([a[o + d] for d in ti.static(range(dim))])

    @ti.func
    def load_mat(a: ti.template(), o):
        """Matrix (dim, dim) of the entries from o on, row by row."""
        return ti.Matrix([[a[o + dim * i + j] for j in ti.static(range(dim))] for i in ti.static(range(dim))])

    @ti.func
    def store_vec(a: ti.template(), o, v):
        """Writes a vector from o on."""
        for d in ti.static(range(dim)):
            a[o + d] = v[d]

    @ti.func
    def store_mat(a: ti.template(), o, m):
        """Writes a matrix from o on, row by row."""
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                a[o + dim * i + j] = m[i, j]

    @ti.func
    def add_narrow(a: ti.template(), n, v):
        """Adds v to the first lanes of a node's vector."""
        for d in ti.static(range(dim)):
            if ti.static(atomic):
                a[n][d] += v[d]
            else:
                a[n][d] = a[n][d] + v[d]

    @ti.func
    def widen(v, last):
        """v in the first lanes of a node's vector and ``last`` in its last lane."""
        return ti.Vector([v[0], v[1], v[2] if ti.static(dim == 3) else fp(0.0), last])

    @ti.func
    def narrow(w):
        """The first lanes of a node's vector."""
        return ti.Vector([w[d] for d in ti.static(range(dim))])

    @ti.func
    def apply(m, v):
        """m v"""
        return ti.Vector(
            [
                m[i, 0] * v[0] + m[i, 1] * v[1] + (m[i, 2] * v[2] if ti.static(dim == 3) else fp(0.0))
                for i in ti.static(range(dim))
            ]
        )

    @ti.func
    def apply_transposed(m, v):
        """m^T v"""
        return ti.Vector(
            [
                m[0, i] * v[0] + m[1, i] * v[1] + (m[2, i] * v[2] if ti.static(dim == 3) else fp(0.0))
                for i in ti.static(range(dim))
            ]
        )

    @ti.func
    def one_plus(scale, m):
        """1 + scale m"""
        r = scale * m
        for i in ti.static(range(dim)):
            r[i, i] += fp(1.0)
        return r

    @ti.func
    def column(m, j: ti.template()):
        """Column j of m."""
        return ti.Vector([m[i, j] for i in ti.static(range(dim))])

    return SimpleNamespace(
        add=add,
        load_vec=load_vec,
        load_mat=load_mat,
        store_vec=store_vec,
        store_mat=store_mat,
        add_narrow=add_narrow,
        widen=widen,
        narrow=narrow,
        apply=apply,
        apply_transposed=apply_transposed,
        one_plus=one_plus,
        column=column,
    )


@cache
def stencil_functions(setup: Setup) -> SimpleNamespace:
    """Functions shared by all transfers: those of ``vector_functions``, and stencils.

    A stencil has three nodes along each axis. Loops go over ``i`` (first axis) and ``j`` (second axis of three; a
    single pass in 2-D) and are unrolled along the last axis, whose nodes lie next to each other in memory. They run
    ``rows`` times, which is known at run time only, and step from row to row by ``step_node``; otherwise LLVM unrolls
    or vectorises them into gathers of single floats, which run slower and take twice as long to compile.
    """
    at, dim, fp = setup.at, setup.dim, setup.fp
    wmat = ti.types.matrix(3, dim, fp)
    vectors = vector_functions(dim, fp, setup.device)
    load_vec = vectors.load_vec

    @ti.func
    def base_of(mem: ti.template(), xi):
        """Lowest node of the stencil at xi (in cells), kept on the grid: a lost particle touches no foreign memory."""
        base = ti.cast(xi - fp(0.5), ti.i32)
        for d in ti.static(range(dim)):
            base[d] = ti.max(0, ti.min(base[d], mem.integers[at.extent + d] - 3))
        return base

    @ti.func
    def is_inside(mem: ti.template(), x):
        """Whether x is a cell or more from every edge of the domain; a NaN is not.

        No contact takes a particle out: walls of three cells or more act last, and they stop all nodes of a particle
        that is a cell and a half from an edge.
        """
        cell = mem.constants[at.cell]
        inside = True
        for d in ti.static(range(dim)):
            if not (x[d] >= cell and x[d] <= (mem.integers[at.extent + d] - 1) * cell):
                inside = False
        return inside

    @ti.func
    def index(mem: ti.template(), node):
        """Index of a node in its grid."""
        n = node[0]
        for d in ti.static(range(1, dim)):
            n = n * mem.integers[at.extent + d] + node[d]
        return n

    @ti.func
    def holds(low, high, node):
        """Whether a node lies in the box from low to high, both included."""
        inside = True
        for d in ti.static(range(dim)):
            if node[d] < low[d] or node[d] > high[d]:
                inside = False
        return inside

    @ti.func
    def locate(mem: ti.template(), o):
        """First node of the stencil of the particle whose position is at o, and the place f of the particle in it."""
        xi = load_vec(mem.frames, o) * mem.constants[at.inverse_cell]
        base = base_of(mem, xi)
        return index(mem, base), xi - base

    @ti.func
    def strides(mem: ti.template()):
        """Nodes from one to the next along the first and the second axis of three (the latter unused in 2-D)."""
        last = mem.integers[at.extent + dim - 1]
        first = last
        if ti.static(dim == 3):
            first = last * mem.integers[at.extent + 1]
        return first, last

    @ti.func
    def rows(mem: ti.template(), axis: ti.template()):
        """Passes of the loop along the first (0) or second (1) axis of three."""
        n = 1
        if ti.static(axis == 0 or dim == 3):
            n = mem.integers[at.width]
        return n

    @ti.func
    def step_node(n, stride):
        """The node ``stride`` on."""
        return (n + stride) & NODE_MASK

    @ti.func
    def weights(f):
        """N_k(f_d), quadratic B-spline weights: rows are the three nodes k, columns the axes d."""
        w = wmat(0.0)
        for d in ti.static(range(dim)):
            w[0, d] = fp(0.5) * (fp(1.5) - f[d]) * (fp(1.5) - f[d])
            w[1, d] = fp(0.75) - (f[d] - fp(1.0)) * (f[d] - fp(1.0))
            w[2, d] = fp(0.5) * (f[d] - fp(0.5)) * (f[d] - fp(0.5))
        return w

    @ti.func
    def weight_slopes(f):
        """dN_k/df_d, in the layout of ``weights``."""
        w = wmat(0.0)
        for d in ti.static(range(dim)):
            w[0, d] = f[d] - fp(1.5)
            w[1, d] = fp(2.0) - fp(2.0) * f[d]
            w[2, d] = f[d] - fp(0.5)
        return w

    return SimpleNamespace(
        **vars(vectors),
        base_of=base_of,
        is_inside=is_inside,
        index=index,
        holds=holds,
        locate=locate,
        strides=strides,
        rows=rows,
        step_node=step_node,
        weights=weights,
        weight_slopes=weight_slopes,
    )
