"""What a particle does by itself before and after its transfers, forward and adjoint.

before     A = -dt V (4 / cell^2) tau + m C, with the Kirchhoff stress tau of the trial deformation gradient
           (1 + dt C) F, which the material maps to the next F
after      x' = x + dt v',  C' = (4 / cell^2) sum w u d^T of the sums that ``one.py`` forms
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.failures import LEFT_DOMAIN, NOT_FINITE, TOO_FAST
from pliant.sims.fields import DT, PARTIAL, PARTIAL_OFFSET, TEAM
from pliant.sims.math.products import product_functions
from pliant.sims.mpm import places
from pliant.sims.mpm.laws.laws import RIGID, material_functions
from pliant.sims.mpm.laws.yielding import LAMBDA, MU
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.rigid.matching import rigid_functions
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.transfers.particle import particle_functions
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti


@cache
def forward_functions(setup: Setup) -> SimpleNamespace:
    """``send``, ``resend`` and ``receive``: what comes before the transfer to the grid and after that from it."""
    at, dim, fp, kinds, has_muscles = setup.at, setup.dim, setup.fp, setup.kinds, setup.has_muscles
    mat = ti.types.matrix(dim, dim, fp)
    material = material_functions(dim, fp, kinds)
    multiply = product_functions(dim, fp).multiply
    report = report_function(at.part)
    stencil = stencil_functions(setup)
    load_vec, load_mat, store_vec, store_mat = stencil.load_vec, stencil.load_mat, stencil.store_vec, stencil.store_mat
    apply, one_plus = stencil.apply, stencil.one_plus
    particle = particle_functions(setup)
    state_of, parameters_of = particle.state_of, particle.parameters_of
    constants_of, muscle_of = particle.constants_of, particle.muscle_of
    last, is_pushed = dim - 1, setup.push is not None
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim

    @ti.func
    def trial(C, F, dt):
        """(1 + dt C) F"""
        return multiply(one_plus(dt, C), F)

    @ti.func
    def affine(mem: ti.template(), C, stored, tau, mass, volume, power, fibre):
        """A of the stress, with that of a muscle of this power (signal times strength), and of the affine velocity."""
        stress = tau
        if ti.static(has_muscles):
            pulled = apply(stored, fibre)
            stress += power * pulled.outer_product(pulled)
        scale = fp(-4.0) * mem.constants[DT] * volume * mem.constants[at.inverse_cell]
        return scale * stress + (mem.constants[at.cell] * mass) * C

    @ti.func
    def send(mem: ti.template(), b, r_in, r_out, p):
        """Mass, momentum and A of particle p; its deformation gradient to the next frame."""
        mass, momentum, A, stored, _U, _sigma, _V = resend(mem, b, r_in, p)
        store_mat(mem.frames, state_of(mem, r_out, p) + F_AT, stored)
        return mass, momentum, A

    @ti.func
    def resend(mem: ti.template(), b, r_in, p):
        """Mass, momentum and A of particle p; and for ``send_adjoint`` the deformation gradient stored, and principal
        axes and stretches of the trial one."""
        h = ti.static(mem.integers)
        i_in = state_of(mem, r_in, p)
        q = parameters_of(mem, b, p)
        volume = mem.constants[h[at.volumes] + p]
        mass = volume * mem.parameters[q + places.DENSITY]
        kind = h[h[at.info] + 2 * p]
        law = constants_of(mem, q)
        C = load_mat(mem.frames, i_in + C_AT)
        F = trial(C, load_mat(mem.frames, i_in + F_AT), mem.constants[DT])
        U, sigma, V = material.axes(kind, F)
        stored, tau = material.respond(kind, F, U, sigma, V, C, law, mem.constants[DT])
        signal, strength, fibre = muscle_of(mem, b, p)
        A = affine(mem, C, stored, tau, mass, volume, signal * strength, fibre)
        momentum = mass * load_vec(mem.frames, i_in + V_AT)
        if ti.static(is_pushed):
            momentum += particle.impulse_of(mem, b, p)
        return mass, momentum, A, stored, U, sigma, V

    @ti.func
    def about(total, f, by_i, by_j, by_l):
        """sum w u (offset - f)^T from sum w u and, for each axis, sum w u offset"""
        M = mat(0.0)
        for k in ti.static(range(dim)):
            M[k, 0] = by_i[k] - total[k] * f[0]
            M[k, last] = by_l[k] - total[k] * f[last]
            if ti.static(dim == 3):
                M[k, 1] = by_j[k] - total[k] * f[1]
        return M

    @ti.func
    def receive(mem: ti.template(), b, c, r_in, r_out, p, f, v, C_i, C_j, C_l, substep):
        """Particle p, at f in its stencil, to the next frame: from v = sum w u and C_k = sum w u offset_k."""
        cell = mem.constants[at.cell]
        dt = mem.constants[DT]
        o = state_of(mem, r_out, p)
        C = (fp(4.0) * mem.constants[at.inverse_cell]) * about(v, f, C_i, C_j, C_l)
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
        if cause != NOT_FINITE and not stencil.is_inside(mem, x_new):
            cause = LEFT_DOMAIN
        if cause != 0:
            report(mem, b, c, substep, p, cause, -1)

    return SimpleNamespace(trial=trial, affine=affine, send=send, resend=resend, about=about, receive=receive)


@cache
def term_adjoints(setup: Setup) -> SimpleNamespace:
    """What the terms of ``send`` and of the motion hand back, each by itself."""
    at, dim, fp, kinds, has_muscles = setup.at, setup.dim, setup.fp, setup.kinds, setup.has_muscles
    vec = ti.types.vector(dim, fp)
    material = material_functions(dim, fp, kinds)
    products = product_functions(dim, fp)
    stencil = stencil_functions(setup)
    apply, apply_transposed, one_plus = stencil.apply, stencil.apply_transposed, stencil.one_plus
    multiply_transposed = products.multiply_transposed

    @ti.func
    def motion_adjoint(mem: ti.template(), D, A, x_bar, v_next, along, sum_q):
        """x_bar"""
        inverse = mem.constants[at.inverse_cell]
        return x_bar + inverse * (along - apply_transposed(D, v_next) - apply_transposed(A, sum_q))

    @ti.func
    def stress_adjoint(
        mem: ti.template(), kind, C, before, F, U, sigma, V, stored, law: ti.template(), mass, volume, signal, strength,
        fibre, A_bar, stored_bar,
    ):  # fmt: skip
        """C_bar, the cotangent of F before, law_bar, and of a muscle the cotangents of its power and fibre."""
        dt, inverse = mem.constants[DT], mem.constants[at.inverse_cell]
        tau_bar = (fp(-4.0) * dt * volume * inverse * inverse) * A_bar
        all_bar = stored_bar
        tension, fibre_bar = fp(0.0), vec(0.0)
        if ti.static(has_muscles):
            # tau += s a f f^T with f = F' d, F' the stored deformation gradient of the next frame
            pulled = apply(stored, fibre)
            bar = apply(tau_bar, pulled)
            tension = pulled.dot(bar)
            pulled_bar = (signal * strength) * (bar + apply_transposed(tau_bar, pulled))
            all_bar += pulled_bar.outer_product(fibre)
            fibre_bar = apply_transposed(stored, pulled_bar)
        F_bar, L_bar, law_bar = material.respond_adjoint(kind, F, U, sigma, V, C, law, dt, all_bar, tau_bar)
        C_bar = mass * A_bar + L_bar + dt * multiply_transposed(F_bar, before)
        return C_bar, products.transposed_multiply(one_plus(dt, C), F_bar), law_bar, tension, fibre_bar

    @ti.func
    def elasticity_adjoint(young, nu, law: ti.template(), once, twice, law_bar: ti.template()):
        """Cotangents of E and nu: mu = E / (2 (1 + nu)), lambda = E nu / ((1 + nu)(1 - 2 nu))."""
        by_young = law_bar[MU] * (fp(0.5) * once) + law_bar[LAMBDA] * (nu * once * twice)
        slope = young * (fp(1.0) + fp(2.0) * nu * nu) * once * once * twice * twice
        return by_young, law_bar[LAMBDA] * slope - law_bar[MU] * law[MU] * once

    @ti.func
    def mass_adjoint(v, C, sum_m, sum_q, A_bar):
        """m_bar = v . sum w q + C : A_bar + sum w m_bar"""
        mass_bar = v.dot(sum_q) + sum_m
        for j in ti.static(range(dim)):
            for k in ti.static(range(dim)):
                mass_bar += C[j, k] * A_bar[j, k]
        return mass_bar

    return SimpleNamespace(
        axes=material.axes,
        respond=material.respond,
        motion_adjoint=motion_adjoint,
        stress_adjoint=stress_adjoint,
        elasticity_adjoint=elasticity_adjoint,
        mass_adjoint=mass_adjoint,
    )


@cache
def point_functions(setup: Setup) -> SimpleNamespace:
    """``send`` and ``receive``, what comes before the transfer to the grid and after that from it; ``receive_adjoint``,
    ``resend`` and ``send_adjoint`` for the reverse sweep.

    Rows r are (frame * batch + world). A and D (the affine velocity's cotangent) are scaled to offsets in cells.
    """
    at, dim, fp, kinds, has_muscles = setup.at, setup.dim, setup.fp, setup.kinds, setup.has_muscles
    stencil = stencil_functions(setup)
    load_vec, load_mat, store_vec, store_mat = stencil.load_vec, stencil.load_mat, stencil.store_vec, stencil.store_mat
    add = stencil.add
    particle, forward, terms = particle_functions(setup), forward_functions(setup), term_adjoints(setup)
    own_constants, state_of, parameters_of = particle.own_constants, particle.state_of, particle.parameters_of
    law_of, constants_of = particle.law_of, particle.constants_of
    control_of, muscle_of = particle.control_of, particle.muscle_of
    trial, about = forward.trial, forward.about
    motion_adjoint, stress_adjoint = terms.motion_adjoint, terms.stress_adjoint
    elasticity_adjoint, mass_adjoint = terms.elasticity_adjoint, terms.mass_adjoint
    sums = places.world_sums(dim)
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim
    has_rigid = RIGID in kinds
    rigid: Any = rigid_functions(setup) if has_rigid else None

    @ti.func
    def receive_adjoint(mem: ti.template(), b, p):
        """v'_bar + dt x'_bar and D = (4 / cell^2) C'_bar of particle p."""
        a = state_of(mem, b, p)
        D = (fp(4.0) * mem.constants[at.inverse_cell]) * load_mat(mem.adjoint, a + C_AT)
        return load_vec(mem.adjoint, a + V_AT) + mem.constants[DT] * load_vec(mem.adjoint, a), D

    @ti.func
    def gathered_velocity(mem: ti.template(), r_out, p):
        """sum w u of particle p: its next velocity, before shape matching."""
        v_next = load_vec(mem.frames, state_of(mem, r_out, p) + V_AT)
        if ti.static(has_rigid):
            place = mem.integers[mem.integers[at.rigid_places] + p]
            if place >= 0:
                v_next = rigid.velocity_before(mem, r_out, place)
        return v_next

    @ti.func
    def add_to_parameters(
        mem: ti.template(), b, c, p, density_bar, young_bar, nu_bar, law_bar: ti.template(), signal, strength, tension,
        fibre_bar,
    ):  # fmt: skip
        """Adds cotangents to those of particle p's parameters; that of its activation to member c's partial sums."""
        h = ti.static(mem.integers)
        own = ti.static(mem.parameter_adjoint)
        q = parameters_of(mem, b, p)
        own[q + places.DENSITY] = own[q + places.DENSITY] + density_bar
        own[q + places.YOUNG] = own[q + places.YOUNG] + young_bar
        own[q + places.POISSON] = own[q + places.POISSON] + nu_bar
        for k in ti.static(range(len(own_constants))):
            o = q + own_constants[k][1]
            own[o] = own[o] + law_bar[own_constants[k][0]]
        if ti.static(has_muscles):
            control = control_of(mem, b, p)
            if control >= 0:
                own[q + places.STRENGTH] = own[q + places.STRENGTH] + signal * tension
                for d in ti.static(range(dim)):
                    own[q + places.FIBRE + d] = own[q + places.FIBRE + d] + fibre_bar[d]
                partial = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.partial] + sums
                add(mem.scratch, partial + h[h[at.info] + 2 * p + 1], strength * tension)

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
        i_in = state_of(mem, r_in, p)
        a = state_of(mem, b, p)
        q = parameters_of(mem, b, p)
        volume = mem.constants[h[at.volumes] + p]
        young, nu = mem.parameters[q + places.YOUNG], mem.parameters[q + places.POISSON]
        law = constants_of(mem, q)
        _law, once, twice = law_of(young, nu)
        C, before = load_mat(mem.frames, i_in + C_AT), load_mat(mem.frames, i_in + F_AT)
        _arriving, D = receive_adjoint(mem, b, p)
        A_bar = mem.constants[at.cell] * about(sum_q, f, q_i, q_j, q_l)
        signal, strength, fibre = muscle_of(mem, b, p)
        C_bar, F_bar, law_bar, tension, fibre_bar = stress_adjoint(
            mem, h[h[at.info] + 2 * p], C, before, trial(C, before, mem.constants[DT]), U, sigma, V, stored, law,
            mass, volume, signal, strength, fibre, A_bar, load_mat(mem.adjoint, a + F_AT),
        )  # fmt: skip
        x_bar = motion_adjoint(
            mem, D, A, load_vec(mem.adjoint, a), gathered_velocity(mem, r_out, p), along, sum_q
        )  # fmt: skip
        mass_bar = mass_adjoint(load_vec(mem.frames, i_in + V_AT), C, sum_m, sum_q, A_bar)
        young_bar, nu_bar = elasticity_adjoint(young, nu, law, once, twice, law_bar)
        store_vec(mem.adjoint, a, x_bar)
        store_vec(mem.adjoint, a + V_AT, mass * sum_q)
        store_mat(mem.adjoint, a + C_AT, C_bar)
        store_mat(mem.adjoint, a + F_AT, F_bar)
        add_to_parameters(
            mem, b, c, p, volume * mass_bar, young_bar, nu_bar, law_bar, signal, strength, tension, fibre_bar
        )

    return SimpleNamespace(
        **vars(particle),
        **vars(forward),
        **vars(terms),
        receive_adjoint=receive_adjoint,
        gathered_velocity=gathered_velocity,
        add_to_parameters=add_to_parameters,
        send_adjoint=send_adjoint,
    )
