"""Transfers of up to ``BLOCK`` particles of one cell at once, in three dimensions, for a thread that has a grid of its
own: what ``sims/mpm/transfers.py`` does for one particle.

Particles of a cell share their 27 nodes. So the innermost loops run over the particles of a block, do the same
arithmetic for each and touch neighbouring numbers only: LLVM makes vector instructions of them. For that the numbers of
a block stand in vectors of ``BLOCK`` entries, one a particle, a vector for each component (lists of ``lanes``), the
loops have a length that is known at run time only (else they are unrolled first), and nothing in them writes to arrays
of the kernel. Places of a block without a particle hold zeros, which weigh nothing.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.mpm import state as at
from pliant.sims.mpm.injector_kernels import activity_functions
from pliant.sims.mpm.material_point import point_functions
from pliant.sims.mpm.materials import in_stretches
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.runtime import ti
from pliant.sims.solver import LANES

BLOCK = 8
FEW = 3
"""From more particles than this on a whole block is worked on, whatever stands in it: vectors are then faster."""


@cache
def block_functions(fp: Any, kinds: tuple[int, ...], has_muscles: bool, has_supply: bool) -> SimpleNamespace:
    """``scatter``, ``gather``, ``scatter_adjoint`` and ``gather_adjoint`` as in ``transfer_functions``, of the
    particles start to stop - 1 in the order of world b. In a scene with injectors or drains, those that take no part
    are left alone.
    """
    dim = 3
    activity = activity_functions(dim, fp) if has_supply else None
    lanes = ti.types.vector(BLOCK, fp)
    members = ti.types.vector(BLOCK, ti.i32)
    vec, mat = ti.types.vector(dim, fp), ti.types.matrix(dim, dim, fp)
    v4 = ti.types.vector(LANES, fp)
    point = point_functions(dim, fp, kinds, has_muscles, False)
    stencil = stencil_functions(dim, fp, False)
    apply, locate, strides = stencil.apply, stencil.locate, stencil.strides
    rows, step_node = stencil.rows, stencil.step_node
    # What ``resend`` leaves for ``send_adjoint``, a particle after the other: stretches, axes, what a muscle pulls at.
    keeps_axes, keeps_stored = in_stretches(kinds), has_muscles
    KEPT_V, KEPT_STORED = dim + dim * dim, dim + 2 * dim * dim
    KEPT = KEPT_STORED + dim * dim if keeps_stored else KEPT_STORED if keeps_axes else dim
    kept_type = ti.types.vector(BLOCK * KEPT, fp)

    @ti.func
    def ordered(mem: ti.template(), b, i):
        return mem.integers[mem.integers[at.ORDER_AT] + b * mem.integers[at.COUNT] + i]

    @ti.func
    def next_block(mem: ti.template(), b, r, start, stop, who: ti.template()):
        """The next particles of one cell into ``who``: how many, their first node, where the search goes on, and for
        how many places to work."""
        i = start
        count = 0
        first = 0  # where nobody is left: nothing is brought there
        is_same = True
        while i < stop and count < BLOCK and is_same:
            p = ordered(mem, b, i)
            takes_part = True
            if ti.static(has_supply):
                takes_part = activity.is_active(mem, r, p)
            if takes_part:
                node, _f = locate(mem, point.state_of(mem, r, p))
                if count == 0:
                    first = node
                is_same = node == first
                if is_same:
                    who[count] = p
                    count += 1
            if is_same:
                i += 1
        places = count
        if count > FEW:
            places = BLOCK
        return count, first, i, places

    @ti.func
    def parabola(i):
        """N_i(f) = alpha + beta (f - gamma)^2 for i = 0, 1, 2, never negative where it is not."""
        alpha, beta = fp(0.0), fp(0.5)
        if i == 1:
            alpha, beta = fp(0.75), fp(-1.0)
        return alpha, beta, fp(1.5) - fp(0.5) * i

    @ti.func
    def three(f):
        """N_0(f), N_1(f), N_2(f)"""
        a, c, e = fp(1.5) - f, f - fp(1.0), f - fp(0.5)
        return fp(0.5) * a * a, fp(0.75) - c * c, fp(0.5) * e * e

    @ti.func
    def scatter(mem: ti.template(), b, n0, r_in, r_out, start, stop):
        stride_i, stride_j = strides(mem)
        i_next = start
        while i_next < stop:
            who = members(0)
            count, first, go_on, places = next_block(mem, b, r_in, i_next, stop, who)
            i_next = go_on
            f = [lanes(0.0) for _ in ti.static(range(dim))]
            v = [lanes(0.0) for _ in ti.static(range(dim))]
            A = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            m = lanes(0.0)
            for l in range(count):
                mass, momentum, A_l = point.send(mem, b, r_in, r_out, who[l])
                _first, f_l = locate(mem, point.state_of(mem, r_in, who[l]))
                momentum -= apply(A_l, f_l)
                m[l] = mass
                for d in ti.static(range(dim)):
                    f[d][l] = f_l[d]
                    v[d][l] = momentum[d]
                    for k in ti.static(range(dim)):
                        A[dim * d + k][l] = A_l[d, k]
            plane = step_node(n0, first)
            for i in range(rows(mem, 0)):
                alpha, beta, gamma = parabola(i)
                total = [v4(0.0) for _ in ti.static(range(9))]
                for l in range(places):
                    away = f[0][l] - gamma
                    w_i = alpha + beta * away * away
                    w_j = three(f[1][l])
                    w_k = three(f[2][l])
                    for j in ti.static(range(3)):
                        w_ij = w_i * w_j[j]
                        for k in ti.static(range(3)):
                            w = w_ij * w_k[k]
                            for d in ti.static(range(dim)):
                                value = v[d][l] + i * A[dim * d][l] + j * A[dim * d + 1][l] + k * A[dim * d + 2][l]
                                total[3 * j + k][d] += w * value
                            total[3 * j + k][LANES - 1] += w * m[l]
                n = plane
                for j in ti.static(range(3)):
                    for k in ti.static(range(3)):
                        mem.grid[n + k] = mem.grid[n + k] + total[3 * j + k]
                    n = step_node(n, stride_j)
                plane = step_node(plane, stride_i)

    @ti.func
    def gather(mem: ti.template(), b, c, n0, r_in, r_out, start, stop, substep):
        stride_i, stride_j = strides(mem)
        i_next = start
        while i_next < stop:
            who = members(0)
            count, first, go_on, places = next_block(mem, b, r_in, i_next, stop, who)
            i_next = go_on
            f = [lanes(0.0) for _ in ti.static(range(dim))]
            v = [lanes(0.0) for _ in ti.static(range(dim))]
            C = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            for l in range(count):
                _first, f_l = locate(mem, point.state_of(mem, r_in, who[l]))
                for d in ti.static(range(dim)):
                    f[d][l] = f_l[d]
            plane = step_node(n0, first)
            for i in range(rows(mem, 0)):
                alpha, beta, gamma = parabola(i)
                u = [v4(0.0) for _ in ti.static(range(9))]
                n = plane
                for j in ti.static(range(3)):
                    for k in ti.static(range(3)):
                        u[3 * j + k] = mem.grid[n + k]
                    n = step_node(n, stride_j)
                for l in range(places):
                    away = f[0][l] - gamma
                    w_i = alpha + beta * away * away
                    w_j = three(f[1][l])
                    w_k = three(f[2][l])
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
                f_l, v_l, C_i, C_j, C_k = vec(0.0), vec(0.0), vec(0.0), vec(0.0), vec(0.0)
                for d in ti.static(range(dim)):
                    f_l[d], v_l[d] = f[d][l], v[d][l]
                    C_i[d], C_j[d], C_k[d] = C[dim * d][l], C[dim * d + 1][l], C[dim * d + 2][l]
                point.receive(mem, b, c, r_in, r_out, who[l], f_l, v_l, C_i, C_j, C_k, substep)

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, n0, r_in, start, stop):
        stride_i, stride_j = strides(mem)
        i_next = start
        while i_next < stop:
            who = members(0)
            count, first, go_on, places = next_block(mem, b, r_in, i_next, stop, who)
            i_next = go_on
            # As in ``scatter`` but for the masses. What has no particle has f = 0, but nothing to bring.
            f = [lanes(0.0) for _ in ti.static(range(dim))]
            v = [lanes(0.0) for _ in ti.static(range(dim))]
            D = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            for l in range(count):
                arriving, D_l = point.receive_adjoint(mem, b, who[l])
                _first, f_l = locate(mem, point.state_of(mem, r_in, who[l]))
                arriving -= apply(D_l, f_l)
                for d in ti.static(range(dim)):
                    f[d][l] = f_l[d]
                    v[d][l] = arriving[d]
                    for k in ti.static(range(dim)):
                        D[dim * d + k][l] = D_l[d, k]
            plane = step_node(n0, first)
            for i in range(rows(mem, 0)):
                alpha, beta, gamma = parabola(i)
                total = [vec(0.0) for _ in ti.static(range(9))]
                for l in range(places):
                    away = f[0][l] - gamma
                    w_i = alpha + beta * away * away
                    w_j = three(f[1][l])
                    w_k = three(f[2][l])
                    for j in ti.static(range(3)):
                        w_ij = w_i * w_j[j]
                        for k in ti.static(range(3)):
                            w = w_ij * w_k[k]
                            for d in ti.static(range(dim)):
                                value = v[d][l] + i * D[dim * d][l] + j * D[dim * d + 1][l] + k * D[dim * d + 2][l]
                                total[3 * j + k][d] += w * value
                n = plane
                for j in ti.static(range(3)):
                    for k in ti.static(range(3)):
                        stencil.add_narrow(mem.grid_adjoint, n + k, total[3 * j + k])
                    n = step_node(n, stride_j)
                plane = step_node(plane, stride_i)

    @ti.func
    def gather_adjoint(mem: ti.template(), b, c, n0, r_in, r_out, start, stop):
        stride_i, stride_j = strides(mem)
        i_next = start
        while i_next < stop:
            who = members(0)
            count, first, go_on, places = next_block(mem, b, r_in, i_next, stop, who)
            i_next = go_on
            f = [lanes(0.0) for _ in ti.static(range(dim))]
            m = lanes(0.0)
            v, v_bar = [lanes(0.0) for _ in ti.static(range(dim))], [lanes(0.0) for _ in ti.static(range(dim))]
            A = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            D = [lanes(0.0) for _ in ti.static(range(dim * dim))]
            kept = kept_type(0.0)
            for l in range(count):
                mass, momentum, A_l, stored, U, sigma, V = point.resend(mem, b, r_in, who[l])
                arriving, D_l = point.receive_adjoint(mem, b, who[l])
                _first, f_l = locate(mem, point.state_of(mem, r_in, who[l]))
                momentum -= apply(A_l, f_l)
                arriving -= apply(D_l, f_l)
                m[l] = mass
                for d in ti.static(range(dim)):
                    f[d][l] = f_l[d]
                    v[d][l] = momentum[d]
                    v_bar[d][l] = arriving[d]
                    kept[l * KEPT + d] = sigma[d]
                    for k in ti.static(range(dim)):
                        A[dim * d + k][l] = A_l[d, k]
                        D[dim * d + k][l] = D_l[d, k]
                        if ti.static(keeps_axes):
                            kept[l * KEPT + dim + dim * d + k] = U[d, k]
                            kept[l * KEPT + KEPT_V + dim * d + k] = V[d, k]
                        if ti.static(keeps_stored):
                            kept[l * KEPT + KEPT_STORED + dim * d + k] = stored[d, k]
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
                        q[3 * j + k] = mem.grid_adjoint[n + k]
                    n = step_node(n, stride_j)
                for l in range(places):
                    away, f_j, f_k = f[0][l] - gamma, f[1][l], f[2][l]
                    w_i, dw_i = alpha + beta * away * away, fp(2.0) * beta * away
                    w_j, w_k = three(f_j), three(f_k)
                    dw_j = (f_j - fp(1.5), fp(2.0) - fp(2.0) * f_j, f_j - fp(0.5))
                    dw_k = (f_k - fp(1.5), fp(2.0) - fp(2.0) * f_k, f_k - fp(0.5))
                    # sums over the plane, its weight left out
                    over_s, over_s_j, over_s_k, over_m = fp(0.0), fp(0.0), fp(0.0), fp(0.0)
                    over_q, over_q_j, over_q_k = vec(0.0), vec(0.0), vec(0.0)
                    for j in ti.static(range(3)):
                        row_s, row_s_k, row_m = fp(0.0), fp(0.0), fp(0.0)
                        row_q, row_q_k = vec(0.0), vec(0.0)
                        for k in ti.static(range(3)):
                            s = q[3 * j + k][LANES - 1] * m[l]
                            for d in ti.static(range(dim)):
                                value = v[d][l] + i * A[dim * d][l] + j * A[dim * d + 1][l] + k * A[dim * d + 2][l]
                                bar = v_bar[d][l] + i * D[dim * d][l] + j * D[dim * d + 1][l] + k * D[dim * d + 2][l]
                                s += u[3 * j + k][d] * bar + q[3 * j + k][d] * value
                                e = w_k[k] * q[3 * j + k][d]
                                row_q[d] += e
                                row_q_k[d] += k * e
                            row_s += w_k[k] * s
                            row_s_k += dw_k[k] * s
                            row_m += w_k[k] * q[3 * j + k][LANES - 1]
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
            for l in range(count):
                f_l, along_l, sum_l, Q_i, Q_j, Q_k = vec(0.0), vec(0.0), vec(0.0), vec(0.0), vec(0.0), vec(0.0)
                sigma = vec(0.0)
                A_l, U, V, stored = mat(0.0), mat(0.0), mat(0.0), mat(0.0)
                for d in ti.static(range(dim)):
                    f_l[d], along_l[d], sum_l[d] = f[d][l], along[d][l], sum_q[d][l]
                    Q_i[d], Q_j[d], Q_k[d] = Q[dim * d][l], Q[dim * d + 1][l], Q[dim * d + 2][l]
                    sigma[d] = kept[l * KEPT + d]
                    for k in ti.static(range(dim)):
                        A_l[d, k] = A[dim * d + k][l]
                        if ti.static(keeps_axes):
                            U[d, k] = kept[l * KEPT + dim + dim * d + k]
                            V[d, k] = kept[l * KEPT + KEPT_V + dim * d + k]
                        if ti.static(keeps_stored):
                            stored[d, k] = kept[l * KEPT + KEPT_STORED + dim * d + k]
                point.send_adjoint(
                    mem, b, c, r_in, r_out, who[l], f_l, m[l], A_l, stored, U, sigma, V, along_l, sum_m[l], sum_l,
                    Q_i, Q_j, Q_k,
                )  # fmt: skip

    return SimpleNamespace(
        scatter=scatter, gather=gather, scatter_adjoint=scatter_adjoint, gather_adjoint=gather_adjoint
    )
