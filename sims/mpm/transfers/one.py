"""Transfers of one particle to and from the grid, forward and adjoint: MLS-MPM (Hu et al. 2018) with
APIC (Jiang et al. 2015).

With x in cells xi = x / cell, base = floor(xi - 1/2), f = xi - base, quadratic B-spline weights w = prod N(f), d =
(offset - f) cell:

    to the grid     (mv)_i += w (m v + A d),  m_i += w m,   A = -dt V (4 / cell^2) tau + m C
    from the grid   v' = sum w u_i,  C' = (4 / cell^2) sum w u_i d^T,  x' = x + dt v'

What a particle does by itself is in ``point.py``; the same transfers for several particles of a cell
at once in ``blocks.py``.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import LANES, TWIN
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.transfers.point import point_functions
from pliant.sims.runtime import ti


@cache
def row_function() -> Any:
    """``along_row(v, step, l)``: values along the last axis of a stencil."""

    @ti.func
    def along_row(v, step, l: ti.template()):
        """v + l step"""
        r = v
        if ti.static(l > 0):
            r += l * step
        return r

    return along_row


@cache
def scatter_adjoint_function(setup: Setup) -> Any:
    """``scatter_adjoint``, see ``transfer_functions``."""
    dim, fp = setup.dim, setup.fp
    vec = ti.types.vector(dim, fp)
    point = point_functions(setup)
    stencil = stencil_functions(setup)
    apply, column, locate = stencil.apply, stencil.column, stencil.locate
    strides, weights, narrow = stencil.strides, stencil.weights, stencil.narrow
    rows, step_node = stencil.rows, stencil.step_node
    along_row = row_function()
    last = dim - 1

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, c, n0, r_in, r_out, p):
        """Cotangent of particle p at this frame from that of the next (in place), nodes' velocities u and the
        cotangents (q, m_bar) of their momenta and masses; see ``send_adjoint``."""
        mass, momentum, A, stored, U, sigma, V = point.resend(mem, b, r_in, p)
        arriving, D = point.receive_adjoint(mem, b, p)
        first, f = locate(mem, point.state_of(mem, r_in, p))
        stride_i, stride_j = strides(mem)
        w = weights(f)
        dw = stencil.weight_slopes(f)
        start_bar = arriving - apply(D, f)
        start = momentum - apply(A, f)
        A_i, A_j, A_l = column(A, 0), column(A, dim - 2), column(A, last)
        D_i, D_j, D_l = column(D, 0), column(D, dim - 2), column(D, last)
        along = vec(0.0)
        sum_q, sum_m = vec(0.0), fp(0.0)
        q_i, q_j, q_l = vec(0.0), vec(0.0), vec(0.0)
        twin = mem.integers[TWIN]
        plane = step_node(n0, first)
        for i in range(rows(mem, 0)):
            n = plane
            value, value_bar = start + i * A_i, start_bar + i * D_i
            # sums over the plane, its weight left out
            over_s, over_s_j, over_s_l, over_m = fp(0.0), fp(0.0), fp(0.0), fp(0.0)
            over_q, over_q_j, over_q_l = vec(0.0), vec(0.0), vec(0.0)
            for j in range(rows(mem, 1)):
                row_q, row_q_l = vec(0.0), vec(0.0)
                row_m, row_s, row_s_l = fp(0.0), fp(0.0), fp(0.0)
                for l in ti.static(range(3)):
                    u_n = narrow(mem.grid[n + l])
                    node_bar = mem.grid[n + l + twin]
                    q_n = narrow(node_bar)
                    m_n = node_bar[LANES - 1]
                    s = u_n.dot(along_row(value_bar, D_l, l)) + q_n.dot(along_row(value, A_l, l)) + m_n * mass
                    row_s += w[l, last] * s
                    row_s_l += dw[l, last] * s
                    row_m += w[l, last] * m_n
                    e = w[l, last] * q_n
                    row_q += e
                    if ti.static(l > 0):
                        row_q_l += l * e
                if ti.static(dim == 3):
                    over_s_j += dw[j, 1] * row_s
                    row_s *= w[j, 1]
                    row_s_l *= w[j, 1]
                    row_m *= w[j, 1]
                    row_q *= w[j, 1]
                    row_q_l *= w[j, 1]
                    over_q_j += j * row_q
                over_s += row_s
                over_s_l += row_s_l
                over_m += row_m
                over_q += row_q
                over_q_l += row_q_l
                value += A_j
                value_bar += D_j
                n = step_node(n, stride_j)
            along[0] += dw[i, 0] * over_s
            if ti.static(dim == 3):
                along[1] += w[i, 0] * over_s_j
            along[last] += w[i, 0] * over_s_l
            sum_m += w[i, 0] * over_m
            over_q *= w[i, 0]
            sum_q += over_q
            q_i += i * over_q
            q_j += w[i, 0] * over_q_j
            q_l += w[i, 0] * over_q_l
            plane = step_node(plane, stride_i)
        point.send_adjoint(
            mem, b, c, r_in, r_out, p, f, mass, A, stored, U, sigma, V, along, sum_m, sum_q, q_i, q_j, q_l
        )

    return scatter_adjoint


@cache
def transfer_functions(setup: Setup) -> SimpleNamespace:
    """``scatter``, ``gather`` and, for the reverse sweep, ``gather_adjoint`` (adjoint of ``gather``) and
    ``scatter_adjoint`` (adjoint of ``scatter`` and of the positions in ``gather``).

    Rows r are (frame * batch + world); n0 is the first node of the world's (or the member's) grid.
    """
    dim, fp = setup.dim, setup.fp
    vec = ti.types.vector(dim, fp)
    point = point_functions(setup)
    stencil = stencil_functions(setup)
    add, apply, column, locate = stencil.add, stencil.apply, stencil.column, stencil.locate
    strides, weights, widen, narrow = stencil.strides, stencil.weights, stencil.widen, stencil.narrow
    add_narrow, rows, step_node = stencil.add_narrow, stencil.rows, stencil.step_node
    along_row = row_function()
    last = dim - 1

    @ti.func
    def scatter(mem: ti.template(), b, n0, r_in, r_out, p):
        """Particle p to the grid; its deformation gradient to the next frame."""
        mass, momentum, A = point.send(mem, b, r_in, r_out, p)
        first, f = locate(mem, point.state_of(mem, r_in, p))
        stride_i, stride_j = strides(mem)
        w = weights(f)
        start = momentum - apply(A, f)
        A_i, A_j, A_l = column(A, 0), column(A, dim - 2), column(A, last)
        plane = step_node(n0, first)
        for i in range(rows(mem, 0)):
            n = plane
            value = start + i * A_i
            for j in range(rows(mem, 1)):
                wij = w[i, 0]
                if ti.static(dim == 3):
                    wij *= w[j, 1]
                for l in ti.static(range(3)):
                    wl = wij * w[l, last]
                    add(mem.grid, n + l, widen(wl * along_row(value, A_l, l), wl * mass))
                value += A_j
                n = step_node(n, stride_j)
            plane = step_node(plane, stride_i)

    @ti.func
    def gather(mem: ti.template(), b, c, n0, r_in, r_out, p, substep):
        """Particle p from the grid, to the next frame."""
        first, f = locate(mem, point.state_of(mem, r_in, p))
        stride_i, stride_j = strides(mem)
        w = weights(f)
        v = vec(0.0)
        C_i = vec(0.0)
        C_j = vec(0.0)
        C_l = vec(0.0)
        plane = step_node(n0, first)
        for i in range(rows(mem, 0)):
            n = plane
            over, over_j, over_l = vec(0.0), vec(0.0), vec(0.0)  # sums over the plane, its weight left out
            for j in range(rows(mem, 1)):
                row = vec(0.0)
                row_l = vec(0.0)
                for l in ti.static(range(3)):
                    e = w[l, last] * narrow(mem.grid[n + l])
                    row += e
                    if ti.static(l > 0):
                        row_l += l * e
                if ti.static(dim == 3):
                    row *= w[j, 1]
                    row_l *= w[j, 1]
                    over_j += j * row
                over += row
                over_l += row_l
                n = step_node(n, stride_j)
            over *= w[i, 0]
            v += over
            C_i += i * over
            C_j += w[i, 0] * over_j
            C_l += w[i, 0] * over_l
            plane = step_node(plane, stride_i)
        point.receive(mem, b, c, r_in, r_out, p, f, v, C_i, C_j, C_l, substep)

    @ti.func
    def gather_adjoint(mem: ti.template(), b, n0, r_in, p):
        """Adjoint of ``gather`` at the nodes: u_bar_i += w q with q = v'_bar + dt x'_bar + (4 / cell^2) C'_bar d."""
        first, f = locate(mem, point.state_of(mem, r_in, p))
        stride_i, stride_j = strides(mem)
        w = weights(f)
        arriving, D = point.receive_adjoint(mem, b, p)
        start = arriving - apply(D, f)
        D_i, D_j, D_l = column(D, 0), column(D, dim - 2), column(D, last)
        plane = step_node(n0 + mem.integers[TWIN], first)
        for i in range(rows(mem, 0)):
            n = plane
            value = start + i * D_i
            for j in range(rows(mem, 1)):
                wij = w[i, 0]
                if ti.static(dim == 3):
                    wij *= w[j, 1]
                for l in ti.static(range(3)):
                    add_narrow(mem.grid, n + l, (wij * w[l, last]) * along_row(value, D_l, l))
                value += D_j
                n = step_node(n, stride_j)
            plane = step_node(plane, stride_i)

    return SimpleNamespace(
        scatter=scatter,
        gather=gather,
        gather_adjoint=gather_adjoint,
        scatter_adjoint=scatter_adjoint_function(setup),
    )
