"""The adjoint of a step for rigid bodies: seeds of the linear solve, and shares afterwards."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import Setup
from pliant.sims.fields import DT, PARAMETER
from pliant.sims.math.access import access_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.runtime import ti


@cache
def body_adjoint_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one body."""
    at, fp, eff = setup.at, setup.fp, setup.eff
    vec = ti.types.vector(3, fp)
    mat = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, load4, store3 = access.load3, access.load4, access.store3
    rotation = rotation_functions(fp)
    frames, nodes, pairs = frame_functions(setup), node_functions(setup), pair_functions(setup)
    body_multiplier = nodes.body_multiplier

    @ti.func
    def find_increment(mem: ti.template(), b, k, row_in, row_out):
        """The unknowns of a body, from its state before and after: d = dt (V - V_0), theta = dt (omega - omega_0)."""
        dt = mem.constants[DT]
        w = frames.work_of(mem, b, k) + places.INCREMENT
        o, n = nodes.body_state(mem, row_in, k), nodes.body_state(mem, row_out, k)
        for e in ti.static(range(6)):
            at_e = places.BODY_VELOCITY + e
            mem.scratch[w + e] = dt * (mem.frames[n + at_e] - mem.frames[o + at_e])

    @ti.func
    def seed_body(mem: ti.template(), b, k):
        """Cotangent of a body's unknowns, in place of its residual."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        dt = mem.constants[DT]
        w, a = frames.work_of(mem, b, k), nodes.body_state(mem, b, k)
        theta = load3(s, w + places.INCREMENT + 3)
        d_bar = load3(mem.adjoint, a) + load3(mem.adjoint, a + places.BODY_VELOCITY) / dt
        _q_bar, theta_bar = rotation.integrate_adjoint(
            load4(s, w + places.PREDICTED + 3), theta, fp(1.0), load4(mem.adjoint, a + places.BODY_ORIENTATION)
        )
        theta_bar += load3(mem.adjoint, a + places.BODY_SPIN) / dt
        center = load3(s, w + places.PREDICTED)
        for i in range(h[at.points]):
            for j in range(h[at.shapes]):
                pair = pairs.work_of(mem, b, i, j)
                if s[pair + places.PAIR_ACTIVE] > 0:
                    W_bar = nodes.side_of(mem, k, i, j) * load3(s, pair + places.PAIR_SEED)
                    arm = load3(s, nodes.point_work_of(mem, b, i) + places.POINT_CARRIED) - center
                    d_bar += W_bar
                    theta_bar += arm.cross(W_bar)
        store3(s, w + places.BODY_RESIDUAL, d_bar)
        store3(s, w + places.BODY_RESIDUAL + 3, theta_bar)

    @ti.func
    def pull_attachments(mem: ti.template(), b, k, l_force, l_torque):
        """Cotangents of a body's predicted pose through its attachments; those of their stiffnesses are added."""
        h = ti.static(mem.integers)
        w = frames.work_of(mem, b, k)
        d, theta = load3(mem.scratch, w + places.INCREMENT), load3(mem.scratch, w + places.INCREMENT + 3)
        center = load3(mem.scratch, w + places.PREDICTED)
        p_bar, R_bar = vec(0), mat(0)
        for n in range(h[at.attachment_count]):
            owner, stiffness, anchor, arm, place = nodes.attachment(mem, b, n)
            if owner == k:
                stretch = anchor - center - arm - d - theta.cross(arm)
                force_bar = l_force + l_torque.cross(arm)
                o = b * h[PARAMETER] + h[at.attachment_stiffness] + n
                mem.parameter_adjoint[o] = mem.parameter_adjoint[o] + force_bar.dot(stretch)
                p_bar -= stiffness * force_bar
                arm_bar = stiffness * stretch.cross(l_torque) - stiffness * (force_bar + force_bar.cross(theta))
                R_bar += arm_bar.outer_product(place)
        return p_bar, R_bar

    @ti.func
    def pull_body(mem: ti.template(), b, c, k, row_in, row_out):
        """What a body's new state and its multiplier leave to its old state and its parameters."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        dt = mem.constants[DT]
        w, a, o = frames.work_of(mem, b, k), nodes.body_state(mem, b, k), nodes.body_state(mem, row_in, k)
        f = h[eff.count] + k
        q_hat, q = load4(s, w + places.PREDICTED + 3), load4(mem.frames, o + places.BODY_ORIENTATION)
        d, theta = load3(s, w + places.INCREMENT), load3(s, w + places.INCREMENT + 3)
        omega = load3(mem.frames, o + places.BODY_SPIN)
        l_force, l_torque = body_multiplier(mem, b, f)
        params = nodes.body_parameters(mem, b, k)
        mass = mem.parameters[params + places.MASS]
        gravity = nodes.gravity_of(mem, b)
        # m d/dt^2 - m g
        mass_bar = -l_force.dot(d / (dt * dt) - gravity)
        pairs.add_gravity(mem, b, c, mass * l_force)
        # I theta/dt^2 + omega x I omega
        I, R_hat = nodes.inertia_of(mem, b, k)
        L = I @ omega
        L_bar = omega.cross(l_torque)
        I_bar = -l_torque.outer_product(theta) / (dt * dt) + L_bar.outer_product(omega)
        omega_bar = I @ L_bar - L.cross(l_torque)
        local = R_hat.transpose() @ I_bar @ R_hat
        p_hat_bar, R_hat_bar = frames.take(mem, b, f, places.END_POSITION)
        both = I_bar + I_bar.transpose()
        for e in ti.static(range(3)):
            at_e = params + places.INERTIA + e
            mem.parameter_adjoint[at_e] = mem.parameter_adjoint[at_e] + local[e, e]
            axis = vec([R_hat[0, e], R_hat[1, e], R_hat[2, e]])
            column = mem.parameters[at_e] * (both @ axis)
            for r in ti.static(range(3)):
                R_hat_bar[r, e] += column[r]
        mem.parameter_adjoint[params + places.MASS] = mem.parameter_adjoint[params + places.MASS] + mass_bar
        p_attached, R_attached = pull_attachments(mem, b, k, l_force, l_torque)
        p_hat_bar += p_attached + load3(mem.adjoint, a)
        R_hat_bar += R_attached
        # the new pose and velocities
        v_bar = load3(mem.adjoint, a + places.BODY_VELOCITY)
        omega_bar += load3(mem.adjoint, a + places.BODY_SPIN)
        q_hat_bar, _theta_bar = rotation.integrate_adjoint(
            q_hat, theta, fp(1.0), load4(mem.adjoint, a + places.BODY_ORIENTATION)
        )
        q_hat_bar += rotation.matrix_adjoint(q_hat, R_hat_bar)
        # p^ = p_0 + dt V_0, q^ = q_0 turned by dt omega_0
        p_start_bar, R_start_bar = frames.take(mem, b, f, places.START_POSITION)
        q_bar, omega_more = rotation.integrate_adjoint(q, omega, dt, q_hat_bar)
        q_bar += rotation.matrix_adjoint(q, R_start_bar)
        store3(mem.adjoint, a, p_hat_bar + p_start_bar)
        for e in ti.static(range(4)):
            mem.adjoint[a + places.BODY_ORIENTATION + e] = q_bar[e]
        store3(mem.adjoint, a + places.BODY_VELOCITY, v_bar + dt * p_hat_bar)
        store3(mem.adjoint, a + places.BODY_SPIN, omega_bar + omega_more)

    return SimpleNamespace(
        find_increment=find_increment,
        seed_body=seed_body,
        pull_body=pull_body,
    )
