"""The adjoint of ``scatter`` in ``blocks.py``: from the nodes' cotangents to those of the particles of a block."""

from functools import cache
from typing import Any

from pliant.sims.fields import LANES, TWIN
from pliant.sims.mpm.laws.yielding import law_size as size_of_law
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.transfers.block import BLOCK, block_functions
from pliant.sims.mpm.transfers.point import point_functions
from pliant.sims.mpm.transfers.search import search_functions
from pliant.sims.runtime import ti


@cache
def node_sums_function(setup: Setup) -> Any:
    """``sum_over_nodes``: what the cotangents of a block's particles need of the nodes."""
    fp = setup.fp
    dim = 3
    vec, v4 = ti.types.vector(dim, fp), ti.types.vector(LANES, fp)
    stencil = stencil_functions(setup)
    rows, strides, step_node = stencil.rows, stencil.strides, stencil.step_node
    block, search = block_functions(setup), search_functions(setup)
    take_vec, take_column = block.take_vec, block.take_column
    parabola, axis_weights, load_plane = search.parabola, search.axis_weights, search.load_plane

    @ti.func
    def sum_over_nodes(
        mem: ti.template(), first, room, own: ti.template(), D: ti.template(), start_bar: ti.template(),
        along: ti.template(), sum_m: ti.template(), sum_q: ti.template(), Q: ti.template(),
    ):  # fmt: skip
        """Adds up over the nodes of a block, ``first`` and those that follow, with velocities u, cotangents q of the
        momenta and m_bar of the mass. along: dw/df s with s = m m_bar + u.(start_bar + D offset) + q.(start + A
        offset); sum_m: w m_bar; sum_q: w q; Q: w q offset^T."""
        twin = mem.integers[TWIN]
        stride_i, stride_j = strides(mem)
        plane = first
        for i in range(rows(mem, 0)):
            alpha, beta, gamma = parabola(i)
            u = [v4(0.0) for _ in ti.static(range(9))]
            q = [v4(0.0) for _ in ti.static(range(9))]
            load_plane(mem, plane, stride_j, u)
            load_plane(mem, plane + twin, stride_j, q)
            for l in range(room):
                away, f_j, f_k = own.f[0][l] - gamma, own.f[1][l], own.f[2][l]
                w_i, dw_i = alpha + beta * away * away, fp(2.0) * beta * away
                w_j, w_k = axis_weights(f_j), axis_weights(f_k)
                dw_j = (f_j - fp(1.5), fp(2.0) - fp(2.0) * f_j, f_j - fp(0.5))
                dw_k = (f_k - fp(1.5), fp(2.0) - fp(2.0) * f_k, f_k - fp(0.5))
                # sums over the plane, its weight left out
                over_s, over_s_j, over_s_k, over_m = fp(0.0), fp(0.0), fp(0.0), fp(0.0)
                over_q, over_q_j, over_q_k = vec(0.0), vec(0.0), vec(0.0)
                A_j, A_k = take_column(own.A, l, 1), take_column(own.A, l, 2)
                D_j, D_k = take_column(D, l, 1), take_column(D, l, 2)
                start_j = take_vec(own.start, l) + i * take_column(own.A, l, 0)
                bar_j = take_vec(start_bar, l) + i * take_column(D, l, 0)
                for j in ti.static(range(3)):
                    value, bar = start_j, bar_j
                    row_s, row_s_k, row_m = fp(0.0), fp(0.0), fp(0.0)
                    row_q, row_q_k = vec(0.0), vec(0.0)
                    for k in ti.static(range(3)):
                        s = q[3 * j + k][LANES - 1] * own.mass[0][l]
                        for d in ti.static(range(dim)):
                            s += u[3 * j + k][d] * bar[d] + q[3 * j + k][d] * value[d]
                            e = w_k[k] * q[3 * j + k][d]
                            row_q[d] += e
                            row_q_k[d] += k * e
                        row_s += w_k[k] * s
                        row_s_k += dw_k[k] * s
                        row_m += w_k[k] * q[3 * j + k][LANES - 1]
                        value += A_k
                        bar += D_k
                    start_j += A_j
                    bar_j += D_j
                    over_s += w_j[j] * row_s
                    over_s_j += dw_j[j] * row_s
                    over_s_k += w_j[j] * row_s_k
                    over_m += w_j[j] * row_m
                    over_q += w_j[j] * row_q
                    over_q_j += (j * w_j[j]) * row_q
                    over_q_k += w_j[j] * row_q_k
                along[0][l] += dw_i * over_s
                along[1][l] += w_i * over_s_j
                along[2][l] += w_i * over_s_k
                sum_m[l] += w_i * over_m
                for d in ti.static(range(dim)):
                    sum_q[d][l] += w_i * over_q[d]
                    Q[dim * d][l] += (i * w_i) * over_q[d]
                    Q[dim * d + 1][l] += w_i * over_q_j[d]
                    Q[dim * d + 2][l] += w_i * over_q_k[d]
            plane = step_node(plane, stride_i)

    return sum_over_nodes


@cache
def scatter_adjoint_function(setup: Setup) -> Any:
    """``scatter_adjoint``, see ``block_transfer_functions`` in ``blocks.py``."""
    at, fp, kinds, has_muscles = setup.at, setup.fp, setup.kinds, setup.has_muscles
    dim = 3
    lanes = ti.types.vector(BLOCK, fp)
    members = ti.types.vector(BLOCK, ti.i32)
    vec, mat = ti.types.vector(dim, fp), ti.types.matrix(dim, dim, fp)
    law_vec = ti.types.vector(size_of_law(kinds), fp)
    point = point_functions(setup)
    stencil = stencil_functions(setup)
    apply, step_node = stencil.apply, stencil.step_node
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim
    block, next_block = block_functions(setup), search_functions(setup).next_block
    sum_over_nodes = node_sums_function(setup)
    put_vec, put_mat, take_vec, take_mat = block.put_vec, block.put_mat, block.take_vec, block.take_mat
    take_column = block.take_column

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, c, n0, r_in, r_out, begin, stop):
        """Cotangents of particles begin to stop - 1 at this frame from those of the next (in place) and the nodes'
        velocities and cotangents; see ``send_adjoint``."""
        room = block.room(mem)
        i_next = begin
        while i_next < stop:
            who = members(0)
            count, first, go_on = next_block(mem, b, r_in, i_next, stop, who)
            i_next = go_on
            kind = members(0)
            vectors = [lanes(number) for number in ti.static(block.numbers)]
            own = ti.static(block.own_of(vectors))
            busy = block.respond(mem, b, r_in, who, kind, own, count, room)
            D = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            x_bar = [lanes(0.0) for _ in ti.static(range(dim))]
            start_bar = [lanes(0.0) for _ in ti.static(range(dim))]
            v_next = [lanes(0.0) for _ in ti.static(range(dim))]
            F_bar = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            for l in range(count):
                if who[l] < 0:
                    break
                a = point.state_of(mem, b, who[l])
                arriving, D_l = point.receive_adjoint(mem, b, who[l])
                put_mat(D, l, D_l)
                put_vec(start_bar, l, arriving)
                put_vec(x_bar, l, stencil.load_vec(mem.adjoint, a))
                put_mat(F_bar, l, stencil.load_mat(mem.adjoint, a + F_AT))
                put_vec(v_next, l, point.gathered_velocity(mem, r_out, who[l]))
            for l in range(room):
                put_vec(start_bar, l, take_vec(start_bar, l) - apply(take_mat(D, l), take_vec(own.f, l)))
            along = [lanes(0.0) for _ in ti.static(range(dim))]
            sum_m = lanes(0.0)
            sum_q = [lanes(0.0) for _ in ti.static(range(dim))]
            Q = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            sum_over_nodes(mem, step_node(n0, first), room, own, D, start_bar, along, sum_m, sum_q, Q)
            density_bar, young_bar, poisson_bar, tension = lanes(0.0), lanes(0.0), lanes(0.0), lanes(0.0)
            law_bar = [lanes(0.0) for _ in ti.static(range(block.law_size))]
            fibre_bar = [lanes(0.0) for _ in ti.static(range(dim if has_muscles else 0))]
            for l in range(busy):
                U_l, V_l = mat(0.0), mat(0.0)
                if ti.static(block.decomposes):
                    U_l, V_l = take_mat(own.U, l), take_mat(own.V, l)
                C_l, f_l, q_l = take_mat(own.C, l), take_vec(own.f, l), take_vec(sum_q, l)
                law_l, once, twice = block.law_at(own, l)
                signal_l, strength_l, fibre_l = block.muscle_at(own, l)
                A_bar = mem.constants[at.cell] * point.about(
                    q_l, f_l, take_column(Q, l, 0), take_column(Q, l, 1), take_column(Q, l, 2)
                )
                C_bar_l, F_bar_l, law_bar_l, tension_l, fibre_bar_l = point.stress_adjoint(
                    mem, kind[l], C_l, take_mat(own.before, l), take_mat(own.F, l), U_l, take_vec(own.sigma, l), V_l,
                    take_mat(own.stored, l), law_l, own.mass[0][l], own.volume[0][l], signal_l, strength_l, fibre_l,
                    A_bar, take_mat(F_bar, l),
                )  # fmt: skip
                density_bar[l] = own.volume[0][l] * point.mass_adjoint(take_vec(own.v, l), C_l, sum_m[l], q_l, A_bar)
                young_l, poisson_l = point.elasticity_adjoint(
                    own.young[0][l], own.poisson[0][l], law_l, once, twice, law_bar_l
                )
                young_bar[l] = young_l
                poisson_bar[l] = poisson_l
                for k in ti.static(range(block.law_size)):
                    law_bar[k][l] = law_bar_l[point.own_constants[k][0]]
                if ti.static(has_muscles):
                    tension[l] = tension_l
                    put_vec(fibre_bar, l, fibre_bar_l)
                A_l, D_l, along_l = take_mat(own.A, l), take_mat(D, l), take_vec(along, l)
                put_vec(
                    x_bar, l, point.motion_adjoint(mem, D_l, A_l, take_vec(x_bar, l), take_vec(v_next, l), along_l, q_l)
                )
                put_vec(start_bar, l, own.mass[0][l] * q_l)  # v_bar
                put_mat(D, l, C_bar_l)
                put_mat(F_bar, l, F_bar_l)
            for l in range(count):
                if who[l] < 0:
                    break
                a = point.state_of(mem, b, who[l])
                stencil.store_vec(mem.adjoint, a, take_vec(x_bar, l))
                stencil.store_vec(mem.adjoint, a + V_AT, take_vec(start_bar, l))
                stencil.store_mat(mem.adjoint, a + C_AT, take_mat(D, l))
                stencil.store_mat(mem.adjoint, a + F_AT, take_mat(F_bar, l))
                signal_l, strength_l, _fibre = block.muscle_at(own, l)
                bars = law_vec(0.0)
                for k in ti.static(range(block.law_size)):
                    bars[point.own_constants[k][0]] = law_bar[k][l]
                fibre_bar_l = vec(0.0)
                if ti.static(has_muscles):
                    fibre_bar_l = take_vec(fibre_bar, l)
                point.add_to_parameters(
                    mem, b, c, who[l], density_bar[l], young_bar[l], poisson_bar[l], bars, signal_l, strength_l,
                    tension[l], fibre_bar_l,
                )  # fmt: skip

    return scatter_adjoint
