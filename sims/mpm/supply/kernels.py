"""Taichi functions of injectors: flow, emission, each with its adjoint."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.failures import LEFT_DOMAIN, STATUS_SIZE
from pliant.sims.fields import CONTROL, DT, PARAMETER, PARTIAL, PARTIAL_OFFSET, RECORDS, STATE, STATUS, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.mpm import places as at
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply import places as inj
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.part import Pass, Passes, Phases
from pliant.sims.robot import effector_places as eff
from pliant.sims.runtime import ti


@cache
def injector_functions(dim: int, fp: Any, atomic: bool) -> SimpleNamespace:
    """``phases`` and ``passes`` of the injectors; ``atomic``: threads share the partial sums (a GPU)."""
    vec3 = ti.types.vector(3, fp)
    access = access_functions(fp, atomic)
    load3, load4, add, add3 = access.load3, access.load4, access.add, access.add3
    rotation = rotation_functions(fp)
    activity, stencil = activity_functions(dim, fp), stencil_functions(dim, fp, atomic)
    injected_at = activity.injected_at
    record = at.record_size(dim)
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim

    @ti.func
    def partial_at(mem: ti.template(), b, c, j):
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[inj.PARTIAL_AT] + j * inj.P_SIZE

    @ti.func
    def effector_of(mem: ti.template(), j):
        return mem.integers[mem.integers[inj.EFFECTOR_AT] + j]

    @ti.func
    def twist_at(mem: ti.template(), b, j):
        """Where the twist of injector j's effector stands among the controls; -1 if it is fixed."""
        h = ti.static(mem.integers)
        e = effector_of(mem, j)
        place = -1
        if e < h[eff.MOVING]:
            place = b * h[CONTROL] + h[eff.CONTROL_AT] + e * eff.TWIST
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
        pose = r_out * h[STATE] + h[eff.STATE_AT] + effector_of(mem, j) * eff.POSE
        o = h[inj.INJECTOR_AT] + j * inj.INJECTOR_SIZE
        k = h[inj.POOL_AT] + e * inj.POOL_SIZE
        i = injected_at(mem, r_out, j)
        inverse = fp(1.0) / mem.constants[o + inj.AREA]
        passed = (mem.frames[i] - mem.constants[k + inj.QUANTA]) * mem.constants[o + inj.QUANTUM] + (
            mem.frames[i + 1] - mem.constants[k + inj.REMAINDER]
        )
        speed = mem.controls[b * h[CONTROL] + h[inj.FLOW_AT] + j] * inverse
        v, omega = vec3(0.0), vec3(0.0)
        t = twist_at(mem, b, j)
        if t >= 0:
            v = load3(mem.controls, t)
            omega = load3(mem.controls, t + 3)
        arm, axis = load3(mem.constants, k + inj.ARM), load3(mem.constants, o + inj.DIRECTION)
        return pose, arm, axis, passed * inverse, speed, inverse, v, omega

    @ti.func
    def since(mem: ti.template(), s, speed):
        """Time T since the particle left the opening, at most a substep, and 1 / speed (0 where T is bounded)."""
        time, pace = mem.constants[DT], fp(0.0)
        if s < speed * time:
            pace = fp(1.0) / speed
            time = s * pace
        return time, pace

    @ti.func
    def flow(mem: ti.template(), b, j, r_in, r_out, substep):
        """W' = W + dt Q of injector j, whole quanta taken out of the remainder."""
        h = ti.static(mem.integers)
        i, o = injected_at(mem, r_in, j), injected_at(mem, r_out, j)
        quantum = mem.constants[h[inj.INJECTOR_AT] + j * inj.INJECTOR_SIZE + inj.QUANTUM]
        rest = mem.frames[i + 1] + mem.constants[DT] * mem.controls[b * h[CONTROL] + h[inj.FLOW_AT] + j]
        whole = ti.max(ti.floor(rest / quantum), fp(0.0))  # never back, whatever the rounding
        mem.frames[o] = mem.frames[i] + whole
        mem.frames[o + 1] = ti.max(rest - whole * quantum, fp(0.0))

    @ti.func
    def flow_adjoint(mem: ti.template(), b, j, r_in, r_out, substep):
        """The members' sums to the cotangents of pose, twist, W' and Q; then W_bar = W'_bar, Q_bar += dt W'_bar."""
        h = ti.static(mem.integers)
        pose = b * h[STATE] + h[eff.STATE_AT] + effector_of(mem, j) * eff.POSE
        t = twist_at(mem, b, j)
        w = b * h[STATE] + h[inj.STATE_AT] + 2 * j + 1
        q = b * h[CONTROL] + h[inj.FLOW_AT] + j
        for m in range(h[TEAM]):
            o = partial_at(mem, b, m, j)
            for d in range(eff.POSE):
                mem.adjoint[pose + d] = mem.adjoint[pose + d] + mem.scratch[o + inj.P_POSE + d]
            if t >= 0:
                for d in range(eff.TWIST):
                    mem.control_adjoint[t + d] = mem.control_adjoint[t + d] + mem.scratch[o + inj.P_TWIST + d]
            mem.adjoint[w] = mem.adjoint[w] + mem.scratch[o + inj.P_VOLUME]
            mem.control_adjoint[q] = mem.control_adjoint[q] + mem.scratch[o + inj.P_FLOW]
            for d in range(inj.P_SIZE):
                mem.scratch[o + d] = fp(0.0)
        mem.control_adjoint[q] = mem.control_adjoint[q] + mem.constants[DT] * mem.adjoint[w]

    @ti.func
    def emit(mem: ti.template(), b, c, e, r_in, r_out, substep):
        """The particle of entry e, if it is emitted in this substep, at its end.

        x = p + R (a + s d) + T (T + dt) g / 2,  v = v_n + omega x R a + R d Q / area + T g,  C = 0,  F = 1
        s = (W' - w) / area,  T = s area / Q
        """
        h = ti.static(mem.integers)
        p = h[h[inj.PARTICLE_AT] + e]
        if activity.is_emitted(mem, r_in, r_out, p):
            pose, arm, axis, s, speed, _inverse, v_n, omega = jet(mem, b, r_out, e, h[h[inj.OWNER_AT] + e])
            R = rotation.matrix(load4(mem.frames, pose + 3))
            opening, along = R @ arm, R @ axis
            g = widen(mem.parameters, b * h[PARAMETER] + h[at.GRAVITY_AT])
            time, _pace = since(mem, s, speed)
            x = load3(mem.frames, pose) + opening + s * along + (fp(0.5) * time * (time + mem.constants[DT])) * g
            v = v_n + omega.cross(opening) + speed * along + time * g
            o = r_out * h[STATE] + h[at.STATE_AT] + p * record
            for d in ti.static(range(dim)):
                mem.frames[o + d] = x[d]
                mem.frames[o + V_AT + d] = v[d]
            for i in ti.static(range(dim)):
                for k in ti.static(range(dim)):
                    mem.frames[o + C_AT + dim * i + k] = fp(0.0)
                    mem.frames[o + F_AT + dim * i + k] = fp(1.0 if i == k else 0.0)
            if not stencil.is_inside(mem, x):
                status = h[STATUS] + (b * h[RECORDS] + c) * STATUS_SIZE
                if h[status] == 0:
                    h[status] = substep + 1
                    h[status + 1] = p
                    h[status + 2] = LEFT_DOMAIN

    @ti.func
    def emit_adjoint(mem: ti.template(), b, c, e, r_in, r_out, substep):
        """Cotangents of pose, twist, W' and Q from those of an emitted particle, to the partial sums.

        with l = R a and d' = R d:  p_bar = x_bar,  l_bar = x_bar + v_bar x omega,  d'_bar = s x_bar + (Q / area) v_bar
        R_bar = l_bar a^T + d'_bar d^T,  v_n_bar = v_bar,  omega_bar = l x v_bar
        g_bar = T (T + dt) / 2 x_bar + T v_bar,  T_bar = g . ((T + dt / 2) x_bar + v_bar)
        W'_bar = x_bar . d' / area + T_bar / Q,  Q_bar = v_bar . d' / area - T_bar T / Q
        """
        h = ti.static(mem.integers)
        p = h[h[inj.PARTICLE_AT] + e]
        if activity.is_emitted(mem, r_in, r_out, p):
            j = h[h[inj.OWNER_AT] + e]
            pose, arm, axis, s, speed, inverse, _v, omega = jet(mem, b, r_out, e, j)
            q = load4(mem.frames, pose + 3)
            R = rotation.matrix(q)
            opening, along = R @ arm, R @ axis
            a = b * h[STATE] + h[at.STATE_AT] + p * record
            x_bar, v_bar = widen(mem.adjoint, a), widen(mem.adjoint, a + V_AT)
            opening_bar = x_bar + v_bar.cross(omega)
            along_bar = s * x_bar + speed * v_bar
            q_bar = rotation.matrix_adjoint(q, opening_bar.outer_product(arm) + along_bar.outer_product(axis))
            o = partial_at(mem, b, c, j)
            add3(mem.scratch, o + inj.P_POSE, x_bar)
            for d in ti.static(range(4)):
                add(mem.scratch, o + inj.P_POSE + 3 + d, q_bar[d])
            add3(mem.scratch, o + inj.P_TWIST, v_bar)
            add3(mem.scratch, o + inj.P_TWIST + 3, opening.cross(v_bar))
            dt = mem.constants[DT]
            g = widen(mem.parameters, b * h[PARAMETER] + h[at.GRAVITY_AT])
            time, pace = since(mem, s, speed)
            time_bar = g.dot((time + fp(0.5) * dt) * x_bar + v_bar)
            add(mem.scratch, o + inj.P_VOLUME, inverse * (x_bar.dot(along) + pace * time_bar))
            add(mem.scratch, o + inj.P_FLOW, inverse * (v_bar.dot(along) - time * pace * time_bar))
            own = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.PARTIAL_AT]  # the solver's, of gravity
            for d in ti.static(range(dim)):
                add(mem.scratch, own + d, fp(0.5) * time * (time + dt) * x_bar[d] + time * v_bar[d])

    @ti.func
    def begin(mem: ti.template(), b, c, r):
        o = partial_at(mem, b, c, 0)
        for k in range(o, o + mem.integers[inj.COUNT] * inj.P_SIZE):
            mem.scratch[k] = fp(0.0)

    @ti.func
    def flows(mem: ti.template(), b, c, r_in, r_out, substep):
        if c == 0:
            for j in range(mem.integers[inj.COUNT]):
                flow(mem, b, j, r_in, r_out, substep)

    @ti.func
    def flows_adjoint(mem: ti.template(), b, c, r_in, r_out, substep):
        if c == 0:
            for j in range(mem.integers[inj.COUNT]):
                flow_adjoint(mem, b, j, r_in, r_out, substep)

    @ti.func
    def share(mem: ti.template(), c):
        return mem.integers[inj.POOL] * c // mem.integers[TEAM]

    @ti.func
    def emissions(mem: ti.template(), b, c, r_in, r_out, substep):
        for e in range(share(mem, c), share(mem, c + 1)):
            emit(mem, b, c, e, r_in, r_out, substep)

    @ti.func
    def emissions_adjoint(mem: ti.template(), b, c, r_in, r_out, substep):
        for e in range(share(mem, c), share(mem, c + 1)):
            emit_adjoint(mem, b, c, e, r_in, r_out, substep)

    @ti.func
    def finish(mem: ti.template(), b, c):
        pass

    @ti.func
    def worlds(mem: ti.template()):
        return 1

    @ti.func
    def pool(mem: ti.template()):
        return mem.integers[inj.POOL]

    @ti.func
    def begin_world(mem: ti.template(), b, i, r_in, r_out, substep):
        begin(mem, b, 0, r_in)

    @ti.func
    def emit_one(mem: ti.template(), b, i, r_in, r_out, substep):
        emit(mem, b, mem.integers[mem.integers[inj.PARTICLE_AT] + i], i, r_in, r_out, substep)  # a status record each

    @ti.func
    def emit_one_adjoint(mem: ti.template(), b, i, r_in, r_out, substep):
        emit_adjoint(mem, b, 0, i, r_in, r_out, substep)

    @ti.func
    def flow_in_turn(mem: ti.template(), b, i, r_in, r_out, substep):
        flows(mem, b, 0, r_in, r_out, substep)

    @ti.func
    def flow_adjoint_in_turn(mem: ti.template(), b, i, r_in, r_out, substep):
        flows_adjoint(mem, b, 0, r_in, r_out, substep)  # injectors may ride on one effector

    # Forward, poses and volumes of r_out come in the first phase, emissions in the second; back, the pose's cotangents
    # are complete before the third phase, in which the effectors take them to r_in.
    return SimpleNamespace(
        phases=Phases(
            begin=begin,
            forward=[flows, emissions],
            reverse=[emissions_adjoint, flows_adjoint],
            finish=finish,
            finish_reverse=finish,
        ),
        passes=Passes(
            begin=[Pass(worlds, begin_world)],
            forward=[[Pass(worlds, flow_in_turn)], [Pass(pool, emit_one)]],
            reverse=[[Pass(pool, emit_one_adjoint)], [Pass(worlds, flow_adjoint_in_turn)]],
            finish=[],
            finish_reverse=[],
        ),
    )
