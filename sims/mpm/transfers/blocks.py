"""Transfers of up to ``BLOCK`` particles of one cell at once, in three dimensions, for a thread that has a grid of its
own: what ``one.py`` does for one particle.

Particles of a cell share their 27 nodes: see ``block.py`` for how they are worked on together. Places of a
block without a particle have no mass and no start, and so add nothing to the nodes.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fields import LANES, TWIN
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.transfers.block import BLOCK, block_functions
from pliant.sims.mpm.transfers.blocks_adjoint import scatter_adjoint_function
from pliant.sims.mpm.transfers.point import point_functions
from pliant.sims.mpm.transfers.search import search_functions
from pliant.sims.runtime import ti


@cache
def block_transfer_functions(setup: Setup) -> SimpleNamespace:
    """``scatter``, ``gather`` and ``scatter_adjoint``, as in ``transfer_functions``, of the particles begin to stop - 1
    in the order of world b. ``scatter`` is also the adjoint of ``gather``, a scatter of cotangents. In a scene with
    injectors or drains, particles that take no part are left alone.
    """
    fp = setup.fp
    dim = 3
    lanes = ti.types.vector(BLOCK, fp)
    members = ti.types.vector(BLOCK, ti.i32)
    vec, mat = ti.types.vector(dim, fp), ti.types.matrix(dim, dim, fp)
    v4 = ti.types.vector(LANES, fp)
    point = point_functions(setup)
    stencil = stencil_functions(setup)
    apply, locate, strides = stencil.apply, stencil.locate, stencil.strides
    rows, step_node = stencil.rows, stencil.step_node
    block, search = block_functions(setup), search_functions(setup)
    put_vec, put_mat, take_vec = block.put_vec, block.put_mat, block.take_vec
    take_column = block.take_column
    next_block, load_plane = search.next_block, search.load_plane
    parabola, axis_weights = search.parabola, search.axis_weights

    @ti.func
    def add_to_nodes(
        mem: ti.template(), first, room, f: ti.template(), start: ti.template(),
        A: ti.template(), mass: ti.template(),
    ):  # fmt: skip
        """Adds w (start + A offset) and w mass to the nodes from ``first`` on. Places without a particle add none."""
        stride_i, stride_j = strides(mem)
        plane = first
        for i in range(rows(mem, 0)):
            alpha_i, beta_i, gamma_i = parabola(i)
            n = plane
            for j in range(rows(mem, 1)):
                alpha_j, beta_j, gamma_j = parabola(j)
                total = [v4(0.0) for _ in ti.static(range(3))]
                for l in range(room):
                    away_i, away_j = f[0][l] - gamma_i, f[1][l] - gamma_j
                    w_ij = (alpha_i + beta_i * away_i * away_i) * (alpha_j + beta_j * away_j * away_j)
                    w_k = axis_weights(f[2][l])
                    along_k = take_column(A, l, 2)
                    value = take_vec(start, l) + i * take_column(A, l, 0) + j * take_column(A, l, 1)
                    for k in ti.static(range(3)):
                        w = w_ij * w_k[k]
                        for d in ti.static(range(dim)):
                            total[k][d] += w * value[d]
                        total[k][LANES - 1] += w * mass[l]
                        value += along_k
                for k in ti.static(range(3)):
                    mem.grid[n + k] = mem.grid[n + k] + total[k]
                n = step_node(n, stride_j)
            plane = step_node(plane, stride_i)

    @ti.func
    def scatter(mem: ti.template(), b, n0, r_in, r_out, begin, stop, half, is_reverse: ti.template()):
        """Particles to the nodes and, in the reverse sweep, their cotangents to the nodes' cotangents; ``half`` is 1
        where the particles are left out, else 0. One piece of code for both, for the time to compile."""
        twin = mem.integers[TWIN]
        room = block.room(mem)
        i_next = begin
        while i_next < stop:
            who = members(0)
            count, first, go_on = next_block(mem, b, r_in, i_next, stop, who)
            i_next = go_on
            f = [lanes(0.0) for _ in ti.static(range(dim))]
            start = [lanes(0.0) for _ in ti.static(range(dim))]
            A = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            mass = lanes(0.0)
            for part in range(half, 2 if ti.static(is_reverse) else 1):
                for l in range(count):
                    if who[l] < 0:
                        break
                    mass_l, brought, A_l = fp(0.0), vec(0.0), mat(0.0)
                    if ti.static(not is_reverse):
                        mass_l, brought, A_l = point.send(mem, b, r_in, r_out, who[l])
                    elif part == 0:
                        mass_l, brought, A_l, _stored, _U, _sigma, _V = point.resend(mem, b, r_in, who[l])
                    else:
                        brought, A_l = point.receive_adjoint(mem, b, who[l])
                    _first, f_l = locate(mem, point.state_of(mem, r_in, who[l]))
                    mass[l] = mass_l
                    put_vec(f, l, f_l)
                    put_vec(start, l, brought - apply(A_l, f_l))
                    put_mat(A, l, A_l)
                add_to_nodes(mem, step_node(n0 + part * twin, first), room, f, start, A, mass)

    @ti.func
    def gather(mem: ti.template(), b, c, n0, r_in, r_out, begin, stop, substep):
        """Particles begin to stop - 1 of the order from the grid, to the next frame."""
        stride_i, stride_j = strides(mem)
        room = block.room(mem)
        i_next = begin
        while i_next < stop:
            who = members(0)
            count, first, go_on = next_block(mem, b, r_in, i_next, stop, who)
            i_next = go_on
            f = [lanes(0.0) for _ in ti.static(range(dim))]
            v = [lanes(0.0) for _ in ti.static(range(dim))]
            C = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            for l in range(count):
                if who[l] < 0:
                    break
                _first, f_l = locate(mem, point.state_of(mem, r_in, who[l]))
                put_vec(f, l, f_l)
            plane = step_node(n0, first)
            for i in range(rows(mem, 0)):
                alpha, beta, gamma = parabola(i)
                u = [v4(0.0) for _ in ti.static(range(9))]
                load_plane(mem, plane, stride_j, u)
                for l in range(room):
                    away = f[0][l] - gamma
                    w_i = alpha + beta * away * away
                    w_j = axis_weights(f[1][l])
                    w_k = axis_weights(f[2][l])
                    for d in ti.static(range(dim)):
                        over, over_j, over_k = fp(0.0), fp(0.0), fp(0.0)
                        for j in ti.static(range(3)):
                            one = w_k[1] * u[3 * j + 1][d]
                            two = w_k[2] * u[3 * j + 2][d]
                            row = w_j[j] * (w_k[0] * u[3 * j][d] + one + two)
                            over += row
                            over_j += j * row
                            over_k += w_j[j] * (one + fp(2.0) * two)
                        over *= w_i
                        v[d][l] += over
                        C[dim * d][l] += i * over
                        C[dim * d + 1][l] += w_i * over_j
                        C[dim * d + 2][l] += w_i * over_k
                plane = step_node(plane, stride_i)
            for l in range(count):
                if who[l] < 0:
                    break
                point.receive(
                    mem, b, c, r_in, r_out, who[l], take_vec(f, l), take_vec(v, l), take_column(C, l, 0),
                    take_column(C, l, 1), take_column(C, l, 2), substep,
                )  # fmt: skip

    return SimpleNamespace(scatter=scatter, gather=gather, scatter_adjoint=scatter_adjoint_function(setup))
