"""Taichi functions of surface tension, forward and reverse; ``energy.py`` says what is computed, and why so.

A world has one scalar ``colour`` a node, scattered from its liquid particles, and a few *fields* that node functions
make from each other. Each pass writes one field, at its own node, from others at the neighbours; a barrier follows. In
units of cells, with S the binomial mean (1, 4, 6, 4, 1) / 16 along each axis and D the central difference, D^T = -D:

    forward   c_s = S c;  q = g / s, g = D f(c_s), s = sqrt(g.g + eps^2);  k = S m, m = f'(c_s) D . q;
              impulse_j = a c_j (D k)_j,  a = gamma dt cell^(dim - 2) / share
    reverse   r_j = a c_j p_j with the cotangent p of the momentum;  m_bar = S (-D . r);  q_bar = -D (f' m_bar);
              g_bar = q_bar / s - g (g . q_bar) / s^3;  c_s_bar = f' (-D . g_bar) + f'' (D . q) m_bar;
              c_bar_j = (S c_s_bar)_j + a p_j . (D k)_j;  a_bar = sum c_j p_j . (D k)_j

Fields are zero outside the box of the particles' stencils grown by ``REACH``, colour outside the box itself.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import STATE, TEAM, TWIN
from pliant.sims.mpm import places
from pliant.sims.mpm.laws.yielding import LIQUID
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.mpm.tension.energy import EPSILON
from pliant.sims.mpm.tension.operators import CURVATURE, OTHER, PHASE, SMOOTH, TURN, WORK, operator_functions
from pliant.sims.runtime import ti


@cache
def impulse_functions(setup: Setup) -> SimpleNamespace:
    """``functions``: the passes from the colours to k, in order.  ``impulse``: the momentum that follows from k."""
    fp = setup.fp
    index = stencil_functions(setup).index
    operators = operator_functions(setup)
    colour_at, field_at, grown = operators.colour_at, operators.field_at, operators.grown
    mean, slope, divergence = operators.mean, operators.slope, operators.divergence
    store_vector, scale, tension = operators.store_vector, operators.scale, operators.tension
    phase_slope = operators.phase_slope

    @ti.func
    def impulse(mem: ti.template(), b, low, high, node):
        """Momentum that a node of the box from low to high takes in a substep."""
        wide_low, wide_high = grown(mem, low, high)
        n = index(mem, node)
        k = slope(mem, field_at(mem, b, CURVATURE), wide_low, wide_high, node, n)
        return (scale(mem) * tension(mem, b) * mem.scratch[colour_at(mem, b, 0) + n]) * k

    @ti.func
    def smooth_colour(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """c_s = S c and f(c_s), f(x) = 3 x^2 - 2 x^3 (1 from 1 on)."""
        c_s = mean(mem, colour_at(mem, b, 0), low, high, node, n)
        x = ti.min(c_s, fp(1.0))
        mem.scratch[field_at(mem, b, SMOOTH) + n] = c_s
        mem.scratch[field_at(mem, b, PHASE) + n] = x * x * (fp(3.0) - fp(2.0) * x)

    @ti.func
    def normal(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """q = g / sqrt(g.g + eps^2), g = D f(c_s)."""
        g = slope(mem, field_at(mem, b, PHASE), wide_low, wide_high, node, n)
        store_vector(mem, b, n, g / ti.sqrt(g.dot(g) + fp(EPSILON * EPSILON)))

    @ti.func
    def curvature(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """D . q and m = f'(c_s) D . q."""
        turn = divergence(mem, b, wide_low, wide_high, node, n)
        mem.scratch[field_at(mem, b, TURN) + n] = turn
        mem.scratch[field_at(mem, b, WORK) + n] = phase_slope(mem, b, n) * turn

    @ti.func
    def smooth_curvature(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """k = S m"""
        k = mean(mem, field_at(mem, b, WORK), wide_low, wide_high, node, n)
        mem.scratch[field_at(mem, b, CURVATURE) + n] = k

    return SimpleNamespace(impulse=impulse, functions=[smooth_colour, normal, curvature, smooth_curvature])


@cache
def impulse_adjoint_functions(setup: Setup) -> list[Any]:
    """The passes from the cotangents of the nodes' momenta to those of the colours, in order."""
    at, dim, fp = setup.at, setup.dim, setup.fp
    vec = ti.types.vector(dim, fp)
    stencil = stencil_functions(setup)
    add, holds = stencil.add, stencil.holds
    operators = operator_functions(setup)
    colour_at, field_at, partial_at = operators.colour_at, operators.field_at, operators.partial_at
    mean, slope, divergence = operators.mean, operators.slope, operators.divergence
    store_vector, scale, tension = operators.store_vector, operators.scale, operators.tension
    phase_slope = operators.phase_slope

    @ti.func
    def momentum_cotangent(mem: ti.template(), b, n):
        """p"""
        h = ti.static(mem.integers)
        return stencil.narrow(mem.grid[h[at.grid] + b * h[TEAM] * h[at.nodes] + n + h[TWIN]])

    @ti.func
    def force_adjoint(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """r, and this node's share of a_bar."""
        r = vec(0.0)
        if holds(low, high, node):
            p = (scale(mem) * mem.scratch[colour_at(mem, b, 0) + n]) * momentum_cotangent(mem, b, n)
            k = slope(mem, field_at(mem, b, CURVATURE), wide_low, wide_high, node, n)
            add(mem.scratch, partial_at(mem, b, c), p.dot(k))
            r = tension(mem, b) * p
        store_vector(mem, b, n, r)

    @ti.func
    def slope_adjoint(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """-D . of the vector field: adjoint of D."""
        mem.scratch[field_at(mem, b, WORK) + n] = -divergence(mem, b, wide_low, wide_high, node, n)

    @ti.func
    def curvature_adjoint(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """f' m_bar, the cotangent of D . q, and what m = f' D . q adds to that of c_s."""
        m_bar = mean(mem, field_at(mem, b, WORK), wide_low, wide_high, node, n)
        mem.scratch[field_at(mem, b, OTHER) + n] = phase_slope(mem, b, n) * m_bar
        place = field_at(mem, b, TURN) + n
        x = mem.scratch[field_at(mem, b, SMOOTH) + n]
        bend = fp(0.0)
        if x < 1.0:
            bend = fp(6.0) - fp(12.0) * x
        mem.scratch[place] = bend * m_bar * mem.scratch[place]

    @ti.func
    def normal_adjoint(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """g_bar"""
        q_bar = -slope(mem, field_at(mem, b, OTHER), wide_low, wide_high, node, n)
        g = slope(mem, field_at(mem, b, PHASE), wide_low, wide_high, node, n)
        square = g.dot(g) + fp(EPSILON * EPSILON)
        store_vector(mem, b, n, (q_bar - (g.dot(q_bar) / square) * g) / ti.sqrt(square))

    @ti.func
    def phase_adjoint(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """c_s_bar, through f and through f'."""
        f_bar = -divergence(mem, b, wide_low, wide_high, node, n)
        through = phase_slope(mem, b, n) * f_bar + mem.scratch[field_at(mem, b, TURN) + n]
        mem.scratch[field_at(mem, b, WORK) + n] = through

    @ti.func
    def colour_adjoint(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        """c_bar"""
        if holds(low, high, node):
            c_bar = mean(mem, field_at(mem, b, WORK), wide_low, wide_high, node, n)
            k = slope(mem, field_at(mem, b, CURVATURE), wide_low, wide_high, node, n)
            c_bar += scale(mem) * tension(mem, b) * momentum_cotangent(mem, b, n).dot(k)
            mem.scratch[field_at(mem, b, OTHER) + n] = c_bar

    return [force_adjoint, slope_adjoint, curvature_adjoint, normal_adjoint, phase_adjoint, colour_adjoint]


@cache
def tension_functions(setup: Setup) -> SimpleNamespace:
    """Functions of a particle and of a node; on a device threads share colours and partial sums.

    ``scatter(mem, b, place, r, p)`` adds particle p to the colours from ``place`` on; ``scatter_adjoint(mem, b, r, p)``
    adds to its position's cotangent.
    ``functions`` and ``functions_adjoint`` work on a node of the grown box: (mem, b, c, low, high, wide_low, wide_high,
    node, n), with the box, the grown box and the index n of the node.
    ``impulse(mem, b, low, high, node)`` is the momentum that a node of the box takes in a substep.
    """
    at, dim, fp, kinds = setup.at, setup.dim, setup.fp, setup.kinds
    inj: Any = setup.inj
    has_supply = inj is not None
    vec = ti.types.vector(dim, fp)
    stencil = stencil_functions(setup)
    activity: Any = activity_functions(setup) if setup.inj else None
    add, step_node = stencil.add, stencil.step_node
    operators, forward = operator_functions(setup), impulse_functions(setup)
    field_at = operators.field_at
    record, last = places.record_size(dim), dim - 1
    only_liquid = kinds == (LIQUID,)

    @ti.func
    def is_liquid(mem: ti.template(), r, p):
        """Whether particle p counts in the colour: liquid and active."""
        counts = True
        if ti.static(not only_liquid):
            counts = mem.integers[mem.integers[at.info] + 2 * p] == LIQUID
        if ti.static(has_supply):
            if counts:
                counts = activity.is_active(mem, r, p)
        return counts

    @ti.func
    def fraction(mem: ti.template(), p):
        """Volume of particle p in cells."""
        share = mem.constants[mem.integers[at.volumes] + p]
        for _ in ti.static(range(dim)):
            share *= mem.constants[at.inverse_cell]
        return share

    @ti.func
    def scatter(mem: ti.template(), b, place, r, p):
        """c_i += V w_i / cell^dim for the nodes of particle p."""
        if is_liquid(mem, r, p):
            h = ti.static(mem.integers)
            first, f = stencil.locate(mem, r * h[STATE] + h[at.state] + p * record)
            stride_i, stride_j = stencil.strides(mem)
            w = stencil.weights(f)
            share = fraction(mem, p)
            plane = first
            for i in range(stencil.rows(mem, 0)):
                n = plane
                for j in range(stencil.rows(mem, 1)):
                    wij = share * w[i, 0]
                    if ti.static(dim == 3):
                        wij *= w[j, 1]
                    for l in ti.static(range(3)):
                        add(mem.scratch, place + n + l, wij * w[l, last])
                    n = step_node(n, stride_j)
                plane = step_node(plane, stride_i)

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, r, p):
        """x_bar += volume / cell^(dim + 1) sum c_bar_i grad w_i"""
        if is_liquid(mem, r, p):
            h = ti.static(mem.integers)
            first, f = stencil.locate(mem, r * h[STATE] + h[at.state] + p * record)
            stride_i, stride_j = stencil.strides(mem)
            w, dw = stencil.weights(f), stencil.weight_slopes(f)
            place = field_at(mem, b, OTHER)
            along = vec(0.0)
            plane = first
            for i in range(stencil.rows(mem, 0)):
                n = plane
                for j in range(stencil.rows(mem, 1)):
                    row, row_last = fp(0.0), fp(0.0)
                    for l in ti.static(range(3)):
                        c_bar = mem.scratch[place + n + l]
                        row += w[l, last] * c_bar
                        row_last += dw[l, last] * c_bar
                    if ti.static(dim == 3):
                        along[1] += w[i, 0] * dw[j, 1] * row
                        row *= w[j, 1]
                        row_last *= w[j, 1]
                    along[0] += dw[i, 0] * row
                    along[last] += w[i, 0] * row_last
                    n = step_node(n, stride_j)
                plane = step_node(plane, stride_i)
            share = fraction(mem, p) * mem.constants[at.inverse_cell]
            a = b * h[STATE] + h[at.state] + p * record
            for d in ti.static(range(dim)):
                mem.adjoint[a + d] = mem.adjoint[a + d] + share * along[d]

    return SimpleNamespace(
        colour_at=operators.colour_at,
        index=stencil.index,
        grown=operators.grown,
        impulse=forward.impulse,
        scatter=scatter,
        scatter_adjoint=scatter_adjoint,
        functions=forward.functions,
        functions_adjoint=impulse_adjoint_functions(setup),
    )
