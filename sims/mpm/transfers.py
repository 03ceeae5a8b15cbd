"""Transfers of one particle to and from the grid, forward and adjoint (KERNELS: MLS-MPM, Hu et al. 2018, with APIC).

With x in cells xi = x / cell, base = floor(xi - 1/2), f = xi - base, quadratic B-spline weights w = prod N(f), d = (offset - f) cell:

    to the grid     (mv)_i += w (m v + A d),  m_i += w m,   A = -dt V (4 / cell^2) tau + m C
    from the grid   v' = sum w u_i,  C' = (4 / cell^2) sum w u_i d^T,  x' = x + dt v'
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.mpm import state as at
from pliant.sims.mpm.materials import material_functions
from pliant.sims.runtime import ti
from pliant.sims.solver import (
    CELL,
    CONTROL,
    DT,
    LEFT_DOMAIN,
    NOT_FINITE,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    STATE,
    STATUS,
    STATUS_SIZE,
    TEAM,
    TOO_FAST,
)


@cache
def transfer_functions(dim: int, fp: Any, kinds: tuple[int, ...], has_muscles: bool, atomic: bool) -> SimpleNamespace:
    """``scatter``, ``gather`` and, for the reverse sweep, ``scatter_adjoint`` (both scatters at once) and ``gather_adjoint``.

    Rows r are (frame * batch + world); g0 and h0 are the first floats of the grid and of its cotangent.
    """
    vec = ti.types.vector(dim, fp)
    mat = ti.types.matrix(dim, dim, fp)
    wmat = ti.types.matrix(3, dim, fp)
    material = material_functions(dim, fp, kinds)
    record, parameters = at.record_size(dim), at.parameter_size(dim)
    width = dim + 1
    rows = 3 ** (dim - 1)
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim

    @ti.func
    def load_vec(a: ti.template(), o):
        v = vec(0.0)
        for d in ti.static(range(dim)):
            v[d] = a[o + d]
        return v

    @ti.func
    def load_mat(a: ti.template(), o):
        m = mat(0.0)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                m[i, j] = a[o + dim * i + j]
        return m

    @ti.func
    def store_vec(a: ti.template(), o, v):
        for d in ti.static(range(dim)):
            a[o + d] = v[d]

    @ti.func
    def store_mat(a: ti.template(), o, m):
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                a[o + dim * i + j] = m[i, j]

    @ti.func
    def add(a: ti.template(), o, value):
        if ti.static(atomic):
            a[o] += value
        else:
            a[o] = a[o] + value

    @ti.func
    def identity():
        m = mat(0.0)
        for i in ti.static(range(dim)):
            m[i, i] = fp(1.0)
        return m

    @ti.func
    def base_of(mem: ti.template(), x):
        """Lowest node of a particle's stencil, kept on the grid so that a lost particle cannot touch foreign memory."""
        xi = x / mem.constants[CELL]
        base = ti.cast(xi - fp(0.5), ti.i32)
        for d in ti.static(range(dim)):
            base[d] = ti.max(0, ti.min(base[d], mem.integers[at.EXTENT + d] - 3))
        return base

    @ti.func
    def weights(f):
        w = wmat(0.0)
        for d in ti.static(range(dim)):
            w[0, d] = fp(0.5) * (fp(1.5) - f[d]) ** 2
            w[1, d] = fp(0.75) - (f[d] - fp(1.0)) ** 2
            w[2, d] = fp(0.5) * (f[d] - fp(0.5)) ** 2
        return w

    @ti.func
    def weight_slopes(f):
        w = wmat(0.0)
        for d in ti.static(range(dim)):
            w[0, d] = f[d] - fp(1.5)
            w[1, d] = fp(-2.0) * (f[d] - fp(1.0))
            w[2, d] = f[d] - fp(0.5)
        return w

    @ti.func
    def row_node(mem: ti.template(), base, r):
        """Linear index of the first of the three nodes (along the last axis) of stencil row r."""
        n = base[0] + r
        if ti.static(dim == 3):
            n = (base[0] + r // 3) * mem.integers[at.EXTENT + 1] + base[1] + r % 3
        return n * mem.integers[at.EXTENT + dim - 1] + base[dim - 1]

    @ti.func
    def row_weight(w, r):
        value = w[r, 0]
        if ti.static(dim == 3):
            value = w[r // 3, 0] * w[r % 3, 1]
        return value

    @ti.func
    def row_offset(r):
        """Offset of the first node of stencil row r from the base, in cells."""
        o = vec(0.0)
        if ti.static(dim == 3):
            o[0] = r // 3
            o[1] = r % 3
        else:
            o[0] = r
        return o

    @ti.func
    def last_column(m):
        v = vec(0.0)
        for i in ti.static(range(dim)):
            v[i] = m[i, dim - 1]
        return v

    @ti.func
    def lame(mem: ti.template(), q):
        """Lame constants (mu, lambda) of the particle whose parameters start at q."""
        young, nu = mem.parameters[q + at.YOUNG], mem.parameters[q + at.POISSON]
        mu = young / (fp(2.0) * (fp(1.0) + nu))
        return mu, fp(2.0) * mu * nu / (fp(1.0) - fp(2.0) * nu)

    @ti.func
    def activation(mem: ti.template(), b, p):
        """Index of the control that drives particle p's muscle, or -1."""
        h = ti.static(mem.integers)
        group = h[h[at.INFO_AT] + 2 * p + 1]
        control = -1
        if group >= 0:
            control = b * h[CONTROL] + h[at.ACTIVATION_AT] + group
        return control

    @ti.func
    def affine(mem: ti.template(), b, i, q, p, mass, volume):
        """Stored deformation gradient and A of the particle whose state starts at i and parameters at q."""
        h = ti.static(mem.integers)
        dt = mem.constants[DT]
        mu, lam = lame(mem, q)
        C = load_mat(mem.frames, i + C_AT)
        F = (identity() + dt * C) @ load_mat(mem.frames, i + F_AT)
        stored, tau = material.update(h[h[at.INFO_AT] + 2 * p], F, mu, lam, mem.parameters[q + at.YIELD])
        if ti.static(has_muscles):
            control = activation(mem, b, p)
            if control >= 0:
                fibre = stored @ load_vec(mem.parameters, q + at.FIBRE)
                tau += (mem.controls[control] * mem.parameters[q + at.STRENGTH]) * fibre.outer_product(fibre)
        return stored, (fp(-4.0) * dt * volume / mem.constants[CELL] ** 2) * tau + mass * C

    @ti.func
    def scatter(mem: ti.template(), b, g0, r_in, r_out, p):
        """Particle p to the grid; its deformation gradient to the next frame."""
        h = ti.static(mem.integers)
        cell = mem.constants[CELL]
        i = r_in * h[STATE] + h[at.STATE_AT] + p * record
        q = b * h[PARAMETER] + h[at.PARTICLE_AT] + p * parameters
        volume = mem.constants[h[at.VOLUME_AT] + p]
        mass = volume * mem.parameters[q + at.DENSITY]
        stored, A = affine(mem, b, i, q, p, mass, volume)
        store_mat(mem.frames, r_out * h[STATE] + h[at.STATE_AT] + p * record + F_AT, stored)
        x = load_vec(mem.frames, i)
        base = base_of(mem, x)
        f = x / cell - base
        w = weights(f)
        A *= cell
        start = mass * load_vec(mem.frames, i + V_AT) - A @ f
        step = last_column(A)
        for r in range(rows):
            wr = row_weight(w, r)
            value = start + A @ row_offset(r)
            n = g0 + row_node(mem, base, r) * width
            for l in ti.static(range(3)):
                wl = wr * w[l, dim - 1]
                for d in ti.static(range(dim)):
                    add(mem.scratch, n + l * width + d, wl * (value[d] + l * step[d]))
                add(mem.scratch, n + l * width + dim, wl * mass)

    @ti.func
    def gather(mem: ti.template(), b, c, g0, r_in, r_out, p, substep):
        """Particle p from the grid, to the next frame."""
        h = ti.static(mem.integers)
        cell = mem.constants[CELL]
        dt = mem.constants[DT]
        i = r_in * h[STATE] + h[at.STATE_AT] + p * record
        o = r_out * h[STATE] + h[at.STATE_AT] + p * record
        x = load_vec(mem.frames, i)
        base = base_of(mem, x)
        f = x / cell - base
        w = weights(f)
        v = vec(0.0)
        C = mat(0.0)
        for r in range(rows):
            wr = row_weight(w, r)
            d0 = row_offset(r) - f
            n = g0 + row_node(mem, base, r) * width
            for l in ti.static(range(3)):
                e = (wr * w[l, dim - 1]) * load_vec(mem.scratch, n + l * width)
                v += e
                d = d0
                d[dim - 1] += l
                C += e.outer_product(d)
        x_new = x + dt * v
        store_vec(mem.frames, o, x_new)
        store_vec(mem.frames, o + V_AT, v)
        store_mat(mem.frames, o + C_AT, (fp(4.0) / cell) * C)
        cause = 0
        speed = ti.sqrt(v.dot(v))
        # written so that a NaN fails every comparison
        if not (speed * dt < cell):
            cause = TOO_FAST if speed * dt >= cell else NOT_FINITE
        for d in ti.static(range(dim)):
            if x_new[d] < fp(1.0) * cell or x_new[d] > (h[at.EXTENT + d] - 2) * cell:
                cause = LEFT_DOMAIN
        if cause != 0:
            status = h[STATUS] + (b * h[TEAM] + c) * STATUS_SIZE
            if h[status] == 0:
                h[status] = substep + 1
                h[status + 1] = p
                h[status + 2] = cause

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, g0, h0, r_in, p):
        """Both scatters of the reverse sweep: particle p to the grid as in ``scatter`` (A is kept for ``gather_adjoint``),
        and the adjoint of ``gather``: u_bar_i += w q with q = v'_bar + dt x'_bar + (4 / cell^2) C'_bar d."""
        h = ti.static(mem.integers)
        cell = mem.constants[CELL]
        i = r_in * h[STATE] + h[at.STATE_AT] + p * record
        a = b * h[STATE] + h[at.STATE_AT] + p * record
        q = b * h[PARAMETER] + h[at.PARTICLE_AT] + p * parameters
        volume = mem.constants[h[at.VOLUME_AT] + p]
        mass = volume * mem.parameters[q + at.DENSITY]
        _, A = affine(mem, b, i, q, p, mass, volume)
        store_mat(mem.scratch, h[at.AFFINE_AT] + (b * h[at.COUNT] + p) * (dim * dim), A)
        x = load_vec(mem.frames, i)
        base = base_of(mem, x)
        f = x / cell - base
        w = weights(f)
        A *= cell
        start = mass * load_vec(mem.frames, i + V_AT) - A @ f
        step = last_column(A)
        D = (fp(4.0) / cell) * load_mat(mem.adjoint, a + C_AT)
        start_bar = load_vec(mem.adjoint, a + V_AT) + mem.constants[DT] * load_vec(mem.adjoint, a) - D @ f
        step_bar = last_column(D)
        for r in range(rows):
            wr = row_weight(w, r)
            value = start + A @ row_offset(r)
            value_bar = start_bar + D @ row_offset(r)
            node = row_node(mem, base, r) * width
            for l in ti.static(range(3)):
                wl = wr * w[l, dim - 1]
                n = g0 + node + l * width
                m = h0 + node + l * width
                for d in ti.static(range(dim)):
                    add(mem.scratch, n + d, wl * (value[d] + l * step[d]))
                add(mem.scratch, n + dim, wl * mass)
                for d in ti.static(range(dim)):
                    add(mem.scratch, m + d, wl * (value_bar[d] + l * step_bar[d]))

    @ti.func
    def gather_adjoint(mem: ti.template(), b, c, g0, h0, r_in, p):
        """Cotangent of particle p at this frame from that of the next (in place), nodes' velocities u (g0) and the
        cotangents (q, m_bar) of their momenta and masses (h0).

            x_bar = x'_bar + (1/cell) [sum (u . (v'_bar + dt x'_bar + D d) + q . (m v + A d) + m_bar m) grad w - D^T sum w u]
                    - A^T sum w q,   D = (4 / cell^2) C'_bar, d in cells where D and A are scaled by cell
            v_bar = m sum w q,  A_bar = sum w q d^T,  tau_bar = -dt V (4 / cell^2) A_bar,  C_bar = m A_bar + dt F_t_bar F^T
            F_bar = (1 + dt C)^T F_t_bar   (F_t: trial deformation gradient),  m_bar = v . sum w q + C : A_bar + sum w m_bar
        """
        h = ti.static(mem.integers)
        cell = mem.constants[CELL]
        dt = mem.constants[DT]
        i = r_in * h[STATE] + h[at.STATE_AT] + p * record
        a = b * h[STATE] + h[at.STATE_AT] + p * record
        q = b * h[PARAMETER] + h[at.PARTICLE_AT] + p * parameters
        volume = mem.constants[h[at.VOLUME_AT] + p]
        mass = volume * mem.parameters[q + at.DENSITY]
        A = load_mat(mem.scratch, h[at.AFFINE_AT] + (b * h[at.COUNT] + p) * (dim * dim))
        x = load_vec(mem.frames, i)
        v = load_vec(mem.frames, i + V_AT)
        base = base_of(mem, x)
        f = x / cell - base
        w = weights(f)
        dw = weight_slopes(f)
        x_bar = load_vec(mem.adjoint, a)
        D = (fp(4.0) / cell) * load_mat(mem.adjoint, a + C_AT)
        next_bar = load_vec(mem.adjoint, a + V_AT) + dt * x_bar - D @ f
        value = mass * v - cell * (A @ f)
        step = cell * last_column(A)
        step_bar = last_column(D)
        along = vec(0.0)
        sum_u = vec(0.0)
        sum_q = vec(0.0)
        sum_m = fp(0.0)
        moment = mat(0.0)
        for r in range(rows):
            offset = row_offset(r)
            value_r = value + cell * (A @ offset)
            next_r = next_bar + D @ offset
            node = row_node(mem, base, r) * width
            wr = row_weight(w, r)
            # slopes of the row's weight along the first axes
            w_0 = dw[r, 0]
            w_1 = fp(0.0)
            if ti.static(dim == 3):
                w_0 = dw[r // 3, 0] * w[r % 3, 1]
                w_1 = w[r // 3, 0] * dw[r % 3, 1]
            row_u = vec(0.0)
            row_q = vec(0.0)
            row_ql = vec(0.0)
            s_w = fp(0.0)
            s_dw = fp(0.0)
            for l in ti.static(range(3)):
                u_i = load_vec(mem.scratch, g0 + node + l * width)
                q_i = load_vec(mem.scratch, h0 + node + l * width)
                m_i = mem.scratch[h0 + node + l * width + dim]
                wl = w[l, dim - 1]
                s = u_i.dot(next_r + l * step_bar) + q_i.dot(value_r + l * step) + m_i * mass
                s_w += wl * s
                s_dw += dw[l, dim - 1] * s
                sum_m += wr * wl * m_i
                row_u += wl * u_i
                row_q += wl * q_i
                row_ql += (wl * l) * q_i
            along[0] += w_0 * s_w
            if ti.static(dim == 3):
                along[1] += w_1 * s_w
            along[dim - 1] += wr * s_dw
            sum_u += wr * row_u
            sum_q += wr * row_q
            moment += (wr * row_q).outer_product(offset - f)
            for k in ti.static(range(dim)):
                moment[k, dim - 1] += wr * row_ql[k]
        A_bar = cell * moment
        store_vec(mem.adjoint, a, x_bar + (along - D.transpose() @ sum_u) / cell - A.transpose() @ sum_q)
        store_vec(mem.adjoint, a + V_AT, mass * sum_q)
        C = load_mat(mem.frames, i + C_AT)
        F = load_mat(mem.frames, i + F_AT)
        grow = identity() + dt * C
        trial = grow @ F
        mu, lam = lame(mem, q)
        strength = mem.parameters[q + at.YIELD]
        tau_bar = (fp(-4.0) * dt * volume / cell**2) * A_bar
        stored_bar = load_mat(mem.adjoint, a + F_AT)
        kind = h[h[at.INFO_AT] + 2 * p]
        if ti.static(has_muscles):
            control = activation(mem, b, p)
            if control >= 0:
                # tau += s a f f^T with f = F d
                stored, _ = material.update(kind, trial, mu, lam, strength)
                fibre = load_vec(mem.parameters, q + at.FIBRE)
                f_now = stored @ fibre
                signal = mem.controls[control]
                power = mem.parameters[q + at.STRENGTH]
                pull = f_now.dot(tau_bar @ f_now)
                f_bar = (signal * power) * ((tau_bar + tau_bar.transpose()) @ f_now)
                stored_bar += f_bar.outer_product(fibre)
                fibre_bar = stored.transpose() @ f_bar
                mem.parameter_adjoint[q + at.STRENGTH] = mem.parameter_adjoint[q + at.STRENGTH] + signal * pull
                for d in ti.static(range(dim)):
                    mem.parameter_adjoint[q + at.FIBRE + d] = mem.parameter_adjoint[q + at.FIBRE + d] + fibre_bar[d]
                partial = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.PARTIAL_AT] + 3 * dim
                add(mem.scratch, partial + h[h[at.INFO_AT] + 2 * p + 1], power * pull)
        trial_bar, p_bar = material.update_adjoint(kind, trial, mu, lam, strength, stored_bar, tau_bar)
        store_mat(mem.adjoint, a + C_AT, mass * A_bar + dt * (trial_bar @ F.transpose()))
        store_mat(mem.adjoint, a + F_AT, grow.transpose() @ trial_bar)
        mass_bar = v.dot(sum_q) + sum_m
        for j in ti.static(range(dim)):
            for k in ti.static(range(dim)):
                mass_bar += C[j, k] * A_bar[j, k]
        young, nu = mem.parameters[q + at.YOUNG], mem.parameters[q + at.POISSON]
        # mu = E / (2 (1 + nu)), lambda = E nu / ((1 + nu)(1 - 2 nu))
        d_lam = young * (fp(1.0) + fp(2.0) * nu * nu) / ((fp(1.0) + nu) * (fp(1.0) - fp(2.0) * nu)) ** 2
        own = ti.static(mem.parameter_adjoint)
        own[q + at.YOUNG] = own[q + at.YOUNG] + (p_bar[0] * mu + p_bar[1] * lam) / young
        own[q + at.POISSON] = own[q + at.POISSON] + p_bar[1] * d_lam - p_bar[0] * mu / (fp(1.0) + nu)
        own[q + at.DENSITY] = own[q + at.DENSITY] + volume * mass_bar
        own[q + at.YIELD] = own[q + at.YIELD] + p_bar[2]

    return SimpleNamespace(
        store_vec=store_vec,
        load_vec=load_vec,
        base_of=base_of,
        scatter=scatter,
        gather=gather,
        scatter_adjoint=scatter_adjoint,
        gather_adjoint=gather_adjoint,
        record=record,
    )
