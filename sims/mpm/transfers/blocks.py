"""Transfers of up to ``BLOCK`` particles of one cell at once, in three dimensions, for a thread that has a grid of its
own: what ``one.py`` does for one particle.

Particles of a cell share their 27 nodes: see ``block.py`` for how they are worked on together. Places of a
block without a particle have no mass and no start, and so add nothing to the nodes.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import LANES, TWIN
from pliant.sims.mpm.laws.yielding import law_size as size_of_law
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.mpm.transfers.block import BLOCK, block_functions
from pliant.sims.mpm.transfers.point import point_functions
from pliant.sims.runtime import ti


@cache
def search_functions(setup: Setup) -> SimpleNamespace:
    """``next_block``: particles of one cell; and the weights of their nodes."""
    at, fp = setup.at, setup.fp
    has_supply = setup.inj is not None
    activity: Any = activity_functions(setup) if setup.inj else None
    locate = stencil_functions(setup).locate
    state_of = point_functions(setup).state_of

    @ti.func
    def ordered(mem: ti.template(), b, i):
        """The i-th particle in the order of the cells."""
        return mem.integers[mem.integers[at.order] + b * mem.integers[at.count] + i]

    @ti.func
    def next_block(mem: ti.template(), b, r, begin, stop, who: ti.template()):
        """The next particles of one cell into ``who``: how many, their first node, where the search goes on."""
        i = begin
        count = 0
        first = 0  # where nobody is left: nothing is brought there
        is_same = True
        while i < stop and count < BLOCK and is_same:
            p = ordered(mem, b, i)
            takes_part = True
            if ti.static(has_supply):
                takes_part = activity.is_active(mem, r, p)
            if takes_part:
                node, _f = locate(mem, state_of(mem, r, p))
                if count == 0:
                    first = node
                is_same = node == first
                if is_same:
                    who[count] = p
                    count += 1
            if is_same:
                i += 1
        return count, first, i

    @ti.func
    def parabola(i):
        """N_i(f) = alpha + beta (f - gamma)^2 for i = 0, 1, 2, never negative where it is not."""
        alpha, beta = fp(0.0), fp(0.5)
        if i == 1:
            alpha, beta = fp(0.75), fp(-1.0)
        return alpha, beta, fp(1.5) - fp(0.5) * i

    @ti.func
    def axis_weights(f):
        """N_0(f), N_1(f), N_2(f)"""
        a, c, e = fp(1.5) - f, f - fp(1.0), f - fp(0.5)
        return fp(0.5) * a * a, fp(0.75) - c * c, fp(0.5) * e * e

    return SimpleNamespace(next_block=next_block, parabola=parabola, axis_weights=axis_weights)


@cache
def scatter_adjoint_function(setup: Setup) -> Any:
    """``scatter_adjoint``, see ``block_transfer_functions``."""
    at, fp, kinds, has_muscles = setup.at, setup.fp, setup.kinds, setup.has_muscles
    dim = 3
    lanes = ti.types.vector(BLOCK, fp)
    members = ti.types.vector(BLOCK, ti.i32)
    vec, mat = ti.types.vector(dim, fp), ti.types.matrix(dim, dim, fp)
    v4 = ti.types.vector(LANES, fp)
    law_vec = ti.types.vector(size_of_law(kinds), fp)
    point = point_functions(setup)
    stencil = stencil_functions(setup)
    apply, strides = stencil.apply, stencil.strides
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim
    rows, step_node = stencil.rows, stencil.step_node
    block, search = block_functions(setup), search_functions(setup)
    put_vec, put_mat, take_vec, take_mat = block.put_vec, block.put_mat, block.take_vec, block.take_mat
    take_column = block.take_column
    next_block, parabola, axis_weights = search.next_block, search.parabola, search.axis_weights

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, c, n0, r_in, r_out, begin, stop):
        """Cotangents of particles begin to stop - 1 at this frame from those of the next (in place) and the nodes'
        velocities and cotangents; see ``send_adjoint``."""
        twin = mem.integers[TWIN]
        stride_i, stride_j = strides(mem)
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
            Q = [lanes(0.0) for _ in ti.static(range(dim * dim))]  # sums of w q offset^T
            plane = step_node(n0, first)
            for i in range(rows(mem, 0)):
                alpha, beta, gamma = parabola(i)
                u = [v4(0.0) for _ in ti.static(range(9))]
                q = [v4(0.0) for _ in ti.static(range(9))]
                n = plane
                for j in ti.static(range(3)):
                    for k in ti.static(range(3)):
                        u[3 * j + k] = mem.grid[n + k]
                        q[3 * j + k] = mem.grid[n + twin + k]
                    n = step_node(n, stride_j)
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
    next_block, parabola, axis_weights = search.next_block, search.parabola, search.axis_weights

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
                n = plane
                for j in ti.static(range(3)):
                    for k in ti.static(range(3)):
                        u[3 * j + k] = mem.grid[n + k]
                    n = step_node(n, stride_j)
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
