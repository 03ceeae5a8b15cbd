"""Taichi functions of injectors: flow, emission, each with its adjoint."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.failures import LEFT_DOMAIN
from pliant.sims.fields import CONTROL, DT, PARAMETER, PARTIAL, PARTIAL_OFFSET, STATE, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.mpm import places
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply import places as supply
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.part import Pass, Stage, Stages
from pliant.sims.reports import report_function
from pliant.sims.robot.effector_places import POSE, TWIST
from pliant.sims.runtime import ti


@cache
def nozzle_functions(setup: Setup) -> SimpleNamespace:
    """Where injectors keep things, and the jet of a particle that comes out."""
    dim, fp = setup.dim, setup.fp
    inj: Any = setup.inj
    eff: Any = setup.eff
    vec3 = ti.types.vector(3, fp)
    load3 = access_functions(fp, setup.device).load3
    injected_at = activity_functions(setup).injected_at

    @ti.func
    def partial_at(mem: ti.template(), b, c, j):
        """Where member c's partial sums of injector j start."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[inj.partial] + j * supply.P_SIZE

    @ti.func
    def effector_of(mem: ti.template(), j):
        """Number of the effector that carries injector j."""
        return mem.integers[mem.integers[inj.effectors] + j]

    @ti.func
    def twist_at(mem: ti.template(), b, j):
        """Where the twist of injector j's effector stands among the controls; -1 if it is fixed."""
        h = ti.static(mem.integers)
        e = effector_of(mem, j)
        place = -1
        if e < h[eff.moving]:
            place = b * h[CONTROL] + h[eff.twist] + e * TWIST
        return place

    @ti.func
    def widen(a: ti.template(), o):
        """The dim entries from o on as a 3-vector."""
        w = vec3(0.0)
        for d in ti.static(range(dim)):
            w[d] = a[o + d]
        return w

    @ti.func
    def jet(mem: ti.template(), b, r_out, e, j):
        """Of the particle of entry e: pose q, arm a and direction d in the nozzle's frame, distance s past the opening,
        speed Q / area, and the twist (0 of a fixed effector)."""
        h = ti.static(mem.integers)
        pose = r_out * h[STATE] + h[eff.pose] + effector_of(mem, j) * POSE
        o = h[inj.injectors] + j * supply.INJECTOR_SIZE
        k = h[inj.pool] + e * supply.POOL_SIZE
        i = injected_at(mem, r_out, j)
        inverse = fp(1.0) / mem.constants[o + supply.AREA]
        passed = (mem.frames[i] - mem.constants[k + supply.QUANTA]) * mem.constants[o + supply.QUANTUM] + (
            mem.frames[i + 1] - mem.constants[k + supply.REMAINDER]
        )
        speed = mem.controls[b * h[CONTROL] + h[inj.flow] + j] * inverse
        v, omega = vec3(0.0), vec3(0.0)
        t = twist_at(mem, b, j)
        if t >= 0:
            v = load3(mem.controls, t)
            omega = load3(mem.controls, t + 3)
        arm, axis = load3(mem.constants, k + supply.ARM), load3(mem.constants, o + supply.DIRECTION)
        return pose, arm, axis, passed * inverse, speed, inverse, v, omega

    @ti.func
    def time_outside(mem: ti.template(), s, speed):
        """Time T since the particle left the opening, at most a substep, and 1 / speed (0 where T is bounded)."""
        time, pace = mem.constants[DT], fp(0.0)
        if s < speed * time:
            pace = fp(1.0) / speed
            time = s * pace
        return time, pace

    return SimpleNamespace(
        partial_at=partial_at,
        effector_of=effector_of,
        twist_at=twist_at,
        widen=widen,
        jet=jet,
        time_outside=time_outside,
    )


@cache
def flow_functions(setup: Setup) -> SimpleNamespace:
    """``flow`` and ``flow_adjoint`` of an injector."""
    fp = setup.fp
    inj: Any = setup.inj
    eff: Any = setup.eff
    injected_at = activity_functions(setup).injected_at
    nozzle = nozzle_functions(setup)
    partial_at, effector_of, twist_at = nozzle.partial_at, nozzle.effector_of, nozzle.twist_at

    @ti.func
    def flow(mem: ti.template(), b, j, r_in, r_out, substep):
        """W' = W + dt Q of injector j, whole quanta taken out of the remainder."""
        h = ti.static(mem.integers)
        i, o = injected_at(mem, r_in, j), injected_at(mem, r_out, j)
        quantum = mem.constants[h[inj.injectors] + j * supply.INJECTOR_SIZE + supply.QUANTUM]
        rest = mem.frames[i + 1] + mem.constants[DT] * mem.controls[b * h[CONTROL] + h[inj.flow] + j]
        whole = ti.max(ti.floor(rest / quantum), fp(0.0))  # never back, whatever the rounding
        mem.frames[o] = mem.frames[i] + whole
        mem.frames[o + 1] = ti.max(rest - whole * quantum, fp(0.0))

    @ti.func
    def flow_adjoint(mem: ti.template(), b, j, r_in, r_out, substep):
        """The members' sums to the cotangents of pose, twist, W' and Q; then W_bar = W'_bar, Q_bar += dt W'_bar."""
        h = ti.static(mem.integers)
        pose = b * h[STATE] + h[eff.pose] + effector_of(mem, j) * POSE
        t = twist_at(mem, b, j)
        w = b * h[STATE] + h[inj.injected] + 2 * j + 1
        q = b * h[CONTROL] + h[inj.flow] + j
        for m in range(h[TEAM]):
            o = partial_at(mem, b, m, j)
            for d in range(POSE):
                mem.adjoint[pose + d] = mem.adjoint[pose + d] + mem.scratch[o + supply.P_POSE + d]
            if t >= 0:
                for d in range(TWIST):
                    mem.control_adjoint[t + d] = mem.control_adjoint[t + d] + mem.scratch[o + supply.P_TWIST + d]
            mem.adjoint[w] = mem.adjoint[w] + mem.scratch[o + supply.P_VOLUME]
            mem.control_adjoint[q] = mem.control_adjoint[q] + mem.scratch[o + supply.P_FLOW]
            for d in range(supply.P_SIZE):
                mem.scratch[o + d] = fp(0.0)
        mem.control_adjoint[q] = mem.control_adjoint[q] + mem.constants[DT] * mem.adjoint[w]

    return SimpleNamespace(flow=flow, flow_adjoint=flow_adjoint)


@cache
def emission_functions(setup: Setup) -> SimpleNamespace:
    """``emit`` and ``emit_adjoint`` of a particle."""
    at, dim, fp = setup.at, setup.dim, setup.fp
    inj: Any = setup.inj
    access = access_functions(fp, setup.device)
    load3, load4, add, add3 = access.load3, access.load4, access.add, access.add3
    rotation = rotation_functions(fp)
    report = report_function(inj.part)
    activity, stencil, nozzle = activity_functions(setup), stencil_functions(setup), nozzle_functions(setup)
    partial_at, widen, jet, time_outside = nozzle.partial_at, nozzle.widen, nozzle.jet, nozzle.time_outside
    size = places.record_size(dim)
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim

    @ti.func
    def emit(mem: ti.template(), b, c, record, e, r_in, r_out, substep):
        """The particle of entry e, if it is emitted in this substep, at its end; a failure goes to ``record``.

        x = p + R (a + s d) + T (T + dt) g / 2,  v = v_n + omega x R a + R d Q / area + T g,  C = 0,  F = 1
        s = (W' - w) / area,  T = s area / Q
        """
        h = ti.static(mem.integers)
        p = h[h[inj.particles] + e]
        if activity.is_emitted(mem, r_in, r_out, p):
            pose, arm, axis, s, speed, _inverse, v_n, omega = jet(mem, b, r_out, e, h[h[inj.owners] + e])
            R = rotation.matrix(load4(mem.frames, pose + 3))
            opening, along = R @ arm, R @ axis
            g = widen(mem.parameters, b * h[PARAMETER] + h[at.gravity])
            time, _pace = time_outside(mem, s, speed)
            x = load3(mem.frames, pose) + opening + s * along + (fp(0.5) * time * (time + mem.constants[DT])) * g
            v = v_n + omega.cross(opening) + speed * along + time * g
            o = r_out * h[STATE] + h[at.state] + p * size
            for d in ti.static(range(dim)):
                mem.frames[o + d] = x[d]
                mem.frames[o + V_AT + d] = v[d]
            for i in ti.static(range(dim)):
                for k in ti.static(range(dim)):
                    mem.frames[o + C_AT + dim * i + k] = fp(0.0)
                    mem.frames[o + F_AT + dim * i + k] = fp(1.0 if i == k else 0.0)
            if not stencil.is_inside(mem, x):
                report(mem, b, record, substep, p, LEFT_DOMAIN, -1)

    @ti.func
    def emit_adjoint(mem: ti.template(), b, c, e, r_in, r_out, substep):
        """Cotangents of pose, twist, W' and Q from those of an emitted particle, to the partial sums.

        with l = R a and d' = R d:  p_bar = x_bar,  l_bar = x_bar + v_bar x omega,  d'_bar = s x_bar + (Q / area) v_bar
        R_bar = l_bar a^T + d'_bar d^T,  v_n_bar = v_bar,  omega_bar = l x v_bar
        g_bar = T (T + dt) / 2 x_bar + T v_bar,  T_bar = g . ((T + dt / 2) x_bar + v_bar)
        W'_bar = x_bar . d' / area + T_bar / Q,  Q_bar = v_bar . d' / area - T_bar T / Q
        """
        h = ti.static(mem.integers)
        p = h[h[inj.particles] + e]
        if activity.is_emitted(mem, r_in, r_out, p):
            j = h[h[inj.owners] + e]
            pose, arm, axis, s, speed, inverse, _v, omega = jet(mem, b, r_out, e, j)
            q = load4(mem.frames, pose + 3)
            R = rotation.matrix(q)
            opening, along = R @ arm, R @ axis
            a = b * h[STATE] + h[at.state] + p * size
            x_bar, v_bar = widen(mem.adjoint, a), widen(mem.adjoint, a + V_AT)
            opening_bar = x_bar + v_bar.cross(omega)
            along_bar = s * x_bar + speed * v_bar
            q_bar = rotation.matrix_adjoint(q, opening_bar.outer_product(arm) + along_bar.outer_product(axis))
            o = partial_at(mem, b, c, j)
            add3(mem.scratch, o + supply.P_POSE, x_bar)
            for d in ti.static(range(4)):
                add(mem.scratch, o + supply.P_POSE + 3 + d, q_bar[d])
            add3(mem.scratch, o + supply.P_TWIST, v_bar)
            add3(mem.scratch, o + supply.P_TWIST + 3, opening.cross(v_bar))
            dt = mem.constants[DT]
            g = widen(mem.parameters, b * h[PARAMETER] + h[at.gravity])
            time, pace = time_outside(mem, s, speed)
            time_bar = g.dot((time + fp(0.5) * dt) * x_bar + v_bar)
            add(mem.scratch, o + supply.P_VOLUME, inverse * (x_bar.dot(along) + pace * time_bar))
            add(mem.scratch, o + supply.P_FLOW, inverse * (v_bar.dot(along) - time * pace * time_bar))
            own = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.partial]  # the solver's, of gravity
            for d in ti.static(range(dim)):
                add(mem.scratch, own + d, fp(0.5) * time * (time + dt) * x_bar[d] + time * v_bar[d])

    return SimpleNamespace(emit=emit, emit_adjoint=emit_adjoint)


@cache
def injector_stages(setup: Setup) -> Stages:
    """What injectors do: their flow, and the emission of what has come out."""
    fp, device = setup.fp, setup.device
    inj: Any = setup.inj
    partial_at = nozzle_functions(setup).partial_at
    flow, flow_adjoint = flow_functions(setup).flow, flow_functions(setup).flow_adjoint
    emit, emit_adjoint = emission_functions(setup).emit, emission_functions(setup).emit_adjoint

    @ti.func
    def empty_sums(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Empties member c's partial sums of injectors first to stop - 1."""
        for j in range(first, stop):
            o = partial_at(mem, b, c, j)
            for k in range(o, o + supply.P_SIZE):
                mem.scratch[k] = fp(0.0)

    # Injectors may ride on one effector: one thread does them all.

    @ti.func
    def flows(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """``flow`` of all injectors."""
        for j in range((stop - first) * mem.integers[inj.count]):
            flow(mem, b, j, row_in, row_out, substep)

    @ti.func
    def flows_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """``flow_adjoint`` of all injectors."""
        for j in range((stop - first) * mem.integers[inj.count]):
            flow_adjoint(mem, b, j, row_in, row_out, substep)

    @ti.func
    def emissions(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """``emit`` for entries first to stop - 1; a device has a record of failures for each particle."""
        for e in range(first, stop):
            record = c
            if ti.static(device):
                record = mem.integers[mem.integers[inj.particles] + e]
            emit(mem, b, c, record, e, row_in, row_out, substep)

    @ti.func
    def emissions_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """``emit_adjoint`` for entries first to stop - 1."""
        for e in range(first, stop):
            emit_adjoint(mem, b, c, e, row_in, row_out, substep)

    # What comes out is at its place at the end of the substep, when all else has moved; in reverse its cotangents are
    # taken from it before those of the particles that moved are worked out. Its poses' are complete before the
    # effectors take them to the beginning of the substep.
    return Stages(
        substep=[Stage([Pass(flows)], [Pass(flows_adjoint)])],
        late=[Stage([Pass(emissions, inj.pool_size)], [Pass(emissions_adjoint, inj.pool_size)])],
        begin=[Pass(empty_sums, inj.count, alone=True, waits=False)],
    )
