"""What a particle does by itself before and after its transfers, forward and adjoint.

before     A = -dt V (4 / cell^2) tau + m C, with the Kirchhoff stress tau of the trial deformation gradient
           (1 + dt C) F, which the material maps to the next F
after      x' = x + dt v',  C' = (4 / cell^2) sum w u d^T of the sums that ``sims/mpm/transfers.py`` forms
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.products import product_functions
from pliant.sims.mpm import state as at
from pliant.sims.mpm.materials import RIGID, material_functions
from pliant.sims.mpm.rigid_kernels import rigid_functions
from pliant.sims.mpm.stencil import FLOAT_MASK, stencil_functions
from pliant.sims.mpm.yielding import BULK, LAMBDA, MU, YIELD, law_size
from pliant.sims.runtime import ti
from pliant.sims.solver import (
    CELL,
    CONTROL,
    DT,
    INVERSE_CELL,
    LEFT_DOMAIN,
    NOT_FINITE,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    RECORDS,
    STATE,
    STATUS,
    STATUS_SIZE,
    TEAM,
    TOO_FAST,
)


@cache
def point_functions(dim: int, fp: Any, kinds: tuple[int, ...], has_muscles: bool, atomic: bool) -> SimpleNamespace:
    """``send`` and ``receive``, what comes before the transfer to the grid and after that from it; ``receive_adjoint``,
    ``resend`` and ``send_adjoint`` for the reverse sweep.

    Rows r are (frame * batch + world). A and D (the affine velocity's cotangent) are scaled to offsets in cells.
    """
    mat = ti.types.matrix(dim, dim, fp)
    material = material_functions(dim, fp, kinds)
    products = product_functions(dim, fp)
    stencil = stencil_functions(dim, fp, atomic)
    load_vec, load_mat, store_vec, store_mat = stencil.load_vec, stencil.load_mat, stencil.store_vec, stencil.store_mat
    add, apply, apply_transposed, one_plus = stencil.add, stencil.apply, stencil.apply_transposed, stencil.one_plus
    multiply, multiply_transposed = products.multiply, products.multiply_transposed
    law_vec = ti.types.vector(law_size(kinds), fp)
    flow_constants = law_size(kinds) - BULK  # none: -1 or 0
    record, parameters = at.record_size(dim), at.parameter_size(dim, flow_constants > 0)
    FLOW_AT = at.FIBRE + dim
    last = dim - 1
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim
    has_rigid = RIGID in kinds
    rigid = rigid_functions(dim, fp, kinds) if has_rigid else None

    @ti.func
    def state_of(mem: ti.template(), row, p):
        """Where particle p's state starts in a row of frames (or its cotangent, in a world's row)."""
        h = ti.static(mem.integers)
        return (row * h[STATE] + h[at.STATE_AT] + p * record) & FLOAT_MASK

    @ti.func
    def parameters_of(mem: ti.template(), b, p):
        h = ti.static(mem.integers)
        return (b * h[PARAMETER] + h[at.PARTICLE_AT] + p * parameters) & FLOAT_MASK

    @ti.func
    def constants_of(mem: ti.template(), q):
        """Constants of the law of the particle whose parameters start at q, 1/(1 + nu) and 1/(1 - 2 nu)."""
        young, nu = mem.parameters[q + at.YOUNG], mem.parameters[q + at.POISSON]
        once, twice = fp(1.0) / (fp(1.0) + nu), fp(1.0) / (fp(1.0) - fp(2.0) * nu)
        law = law_vec(0.0)
        law[MU] = fp(0.5) * young * once
        law[LAMBDA] = fp(2.0) * law[MU] * nu * twice
        law[YIELD] = mem.parameters[q + at.YIELD]
        for k in ti.static(range(flow_constants)):
            law[BULK + k] = mem.parameters[q + FLOW_AT + k]
        return law, once, twice

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
    def trial(mem: ti.template(), i):
        """C and the trial deformation gradient (1 + dt C) F of the particle whose state starts at i."""
        C = load_mat(mem.frames, i + C_AT)
        return C, multiply(one_plus(mem.constants[DT], C), load_mat(mem.frames, i + F_AT))

    @ti.func
    def affine(mem: ti.template(), b, q, p, C, stored, tau, mass, volume):
        """A of the particle whose parameters start at q: of its stress, muscles included, and affine velocity."""
        stress = tau
        if ti.static(has_muscles):
            control = activation(mem, b, p)
            if control >= 0:
                fibre = apply(stored, load_vec(mem.parameters, q + at.FIBRE))
                stress += (mem.controls[control] * mem.parameters[q + at.STRENGTH]) * fibre.outer_product(fibre)
        scale = fp(-4.0) * mem.constants[DT] * volume * mem.constants[INVERSE_CELL] * mem.constants[INVERSE_CELL]
        return scale * stress + mass * C

    @ti.func
    def send(mem: ti.template(), b, r_in, r_out, p):
        """Mass, momentum and A of particle p; its deformation gradient to the next frame."""
        h = ti.static(mem.integers)
        i_in = state_of(mem, r_in, p)
        q = parameters_of(mem, b, p)
        volume = mem.constants[h[at.VOLUME_AT] + p]
        mass = volume * mem.parameters[q + at.DENSITY]
        law, _, _ = constants_of(mem, q)
        C, F = trial(mem, i_in)
        stored, tau = material.update(h[h[at.INFO_AT] + 2 * p], F, C, law, mem.constants[DT])
        A = affine(mem, b, q, p, C, stored, tau, mass, volume)
        store_mat(mem.frames, state_of(mem, r_out, p) + F_AT, stored)
        return mass, mass * load_vec(mem.frames, i_in + V_AT), mem.constants[CELL] * A

    @ti.func
    def receive(mem: ti.template(), b, c, r_in, r_out, p, f, v, C_i, C_j, C_l, substep):
        """Particle p, at f in its stencil, to the next frame: from v = sum w u and C_k = sum w u offset_k."""
        h = ti.static(mem.integers)
        cell = mem.constants[CELL]
        dt = mem.constants[DT]
        o = state_of(mem, r_out, p)
        scale = fp(4.0) * mem.constants[INVERSE_CELL]
        C = mat(0.0)
        for k in ti.static(range(dim)):
            C[k, 0] = scale * (C_i[k] - v[k] * f[0])
            C[k, last] = scale * (C_l[k] - v[k] * f[last])
            if ti.static(dim == 3):
                C[k, 1] = scale * (C_j[k] - v[k] * f[1])
        x_new = load_vec(mem.frames, state_of(mem, r_in, p)) + dt * v
        store_vec(mem.frames, o, x_new)
        store_vec(mem.frames, o + V_AT, v)
        store_mat(mem.frames, o + C_AT, C)
        cause = 0
        reach = cell / dt
        if not v.dot(v) < reach * reach:  # a NaN fails every comparison
            cause = NOT_FINITE
            if v.dot(v) >= reach * reach:
                cause = TOO_FAST
        for d in ti.static(range(dim)):
            if x_new[d] < cell or x_new[d] > (h[at.EXTENT + d] - 2) * cell:
                cause = LEFT_DOMAIN
        if cause != 0:
            status = h[STATUS] + (b * h[RECORDS] + c) * STATUS_SIZE
            if h[status] == 0:
                h[status] = substep + 1
                h[status + 1] = p
                h[status + 2] = cause

    @ti.func
    def receive_adjoint(mem: ti.template(), b, p):
        """v'_bar + dt x'_bar and D = (4 / cell^2) C'_bar of particle p."""
        a = state_of(mem, b, p)
        D = (fp(4.0) * mem.constants[INVERSE_CELL]) * load_mat(mem.adjoint, a + C_AT)
        return load_vec(mem.adjoint, a + V_AT) + mem.constants[DT] * load_vec(mem.adjoint, a), D

    @ti.func
    def resend(mem: ti.template(), b, r_in, p):
        """Mass, momentum and A of particle p again; and for ``send_adjoint`` the deformation gradient stored and the
        principal axes and stretches of the trial one."""
        h = ti.static(mem.integers)
        i_in = state_of(mem, r_in, p)
        q = parameters_of(mem, b, p)
        volume = mem.constants[h[at.VOLUME_AT] + p]
        mass = volume * mem.parameters[q + at.DENSITY]
        kind = h[h[at.INFO_AT] + 2 * p]
        law, _, _ = constants_of(mem, q)
        C, F = trial(mem, i_in)
        U, sigma, V = material.axes(kind, F)
        stored, tau = material.respond(kind, F, U, sigma, V, C, law, mem.constants[DT])
        A = affine(mem, b, q, p, C, stored, tau, mass, volume)
        return mass, mass * load_vec(mem.frames, i_in + V_AT), mem.constants[CELL] * A, stored, U, sigma, V

    @ti.func
    def send_adjoint(
        mem: ti.template(), b, c, r_in, r_out, p, f, mass, A, stored, U, sigma, V, along, sum_m, sum_q, q_i, q_j, q_l
    ):
        """Cotangent of particle p at this frame from that of the next (in place) and the sums over its nodes.

        With nodes' velocities u and cotangents (q, m_bar) of their momenta and masses,

            along = sum (u . (v'_bar + dt x'_bar + D d) + q . (m v + A d) + m_bar m) grad w,  sum_m = sum w m_bar
            sum_q = sum w q,  q_k = sum w q offset_k

            x_bar = x'_bar + (1/cell) [along - D^T sum w u] - A^T sum w q,   D = (4 / cell^2) C'_bar, d in cells where D
            and A are scaled by cell
            v_bar = m sum w q,  A_bar = sum w q d^T,  tau_bar = -dt V (4 / cell^2) A_bar,  C_bar = m A_bar + dt
            F_t_bar F^T + L_bar  (L_bar: of the viscous stress)
            F_bar = (1 + dt C)^T F_t_bar   (F_t: trial deformation gradient),  m_bar = v . sum w q + C : A_bar + sum w
            m_bar
        where sum w u = v', the velocity of the next frame.
        """
        h = ti.static(mem.integers)
        own = ti.static(mem.parameter_adjoint)
        cell = mem.constants[CELL]
        inverse = mem.constants[INVERSE_CELL]
        dt = mem.constants[DT]
        i_in = state_of(mem, r_in, p)
        a = state_of(mem, b, p)
        q = parameters_of(mem, b, p)
        volume = mem.constants[h[at.VOLUME_AT] + p]
        kind = h[h[at.INFO_AT] + 2 * p]
        law, once, twice = constants_of(mem, q)
        C, F = trial(mem, i_in)
        v = load_vec(mem.frames, i_in + V_AT)
        v_next = load_vec(mem.frames, state_of(mem, r_out, p) + V_AT)
        if ti.static(has_rigid):
            place = h[h[at.RIGID_PLACE_AT] + p]
            if place >= 0:  # the next frame has it after shape matching
                v_next = rigid.velocity_before(mem, r_out, place)
        x_bar = load_vec(mem.adjoint, a)
        D = (fp(4.0) * inverse) * load_mat(mem.adjoint, a + C_AT)
        A_bar = mat(0.0)
        for k in ti.static(range(dim)):
            A_bar[k, 0] = cell * (q_i[k] - sum_q[k] * f[0])
            A_bar[k, last] = cell * (q_l[k] - sum_q[k] * f[last])
            if ti.static(dim == 3):
                A_bar[k, 1] = cell * (q_j[k] - sum_q[k] * f[1])
        store_vec(mem.adjoint, a, x_bar + inverse * (along - apply_transposed(D, v_next) - apply_transposed(A, sum_q)))
        store_vec(mem.adjoint, a + V_AT, mass * sum_q)
        mass_bar = v.dot(sum_q) + sum_m
        for j in ti.static(range(dim)):
            for k in ti.static(range(dim)):
                mass_bar += C[j, k] * A_bar[j, k]
        own[q + at.DENSITY] = own[q + at.DENSITY] + volume * mass_bar
        tau_bar = (fp(-4.0) * dt * volume * inverse * inverse) * A_bar
        stored_bar = load_mat(mem.adjoint, a + F_AT)
        if ti.static(has_muscles):
            control = activation(mem, b, p)
            if control >= 0:
                # tau += s a f f^T with f = F' d, F' the stored deformation gradient of the next frame
                fibre = load_vec(mem.parameters, q + at.FIBRE)
                f_now = apply(stored, fibre)
                signal = mem.controls[control]
                power = mem.parameters[q + at.STRENGTH]
                tau_bar_f = apply(tau_bar, f_now)
                pull = f_now.dot(tau_bar_f)
                f_bar = (signal * power) * (tau_bar_f + apply_transposed(tau_bar, f_now))
                stored_bar += f_bar.outer_product(fibre)
                fibre_bar = apply_transposed(stored, f_bar)
                own[q + at.STRENGTH] = own[q + at.STRENGTH] + signal * pull
                for d in ti.static(range(dim)):
                    own[q + at.FIBRE + d] = own[q + at.FIBRE + d] + fibre_bar[d]
                partial = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.PARTIAL_AT] + 3 * dim
                add(mem.scratch, partial + h[h[at.INFO_AT] + 2 * p + 1], power * pull)
        F_bar, L_bar, law_bar = material.respond_adjoint(kind, F, U, sigma, V, C, law, dt, stored_bar, tau_bar)
        before = load_mat(mem.frames, i_in + F_AT)
        store_mat(mem.adjoint, a + C_AT, mass * A_bar + L_bar + dt * multiply_transposed(F_bar, before))
        store_mat(mem.adjoint, a + F_AT, products.transposed_multiply(one_plus(dt, C), F_bar))
        young, nu = mem.parameters[q + at.YOUNG], mem.parameters[q + at.POISSON]
        # mu = E / (2 (1 + nu)), lambda = E nu / ((1 + nu)(1 - 2 nu))
        mu_slope, lam_slope = fp(0.5) * once, nu * once * twice  # by E
        own[q + at.YOUNG] = own[q + at.YOUNG] + law_bar[MU] * mu_slope + law_bar[LAMBDA] * lam_slope
        lam_slope = young * (fp(1.0) + fp(2.0) * nu * nu) * once * once * twice * twice  # by nu
        own[q + at.POISSON] = own[q + at.POISSON] + law_bar[LAMBDA] * lam_slope - law_bar[MU] * law[MU] * once
        own[q + at.YIELD] = own[q + at.YIELD] + law_bar[YIELD]
        for k in ti.static(range(flow_constants)):
            own[q + FLOW_AT + k] = own[q + FLOW_AT + k] + law_bar[BULK + k]

    return SimpleNamespace(
        state_of=state_of,
        send=send,
        receive=receive,
        receive_adjoint=receive_adjoint,
        resend=resend,
        send_adjoint=send_adjoint,
        record=record,
    )
