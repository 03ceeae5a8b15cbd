"""Taichi functions of the effectors: pose integration and contact of a grid node, each with its adjoint."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.access import access_functions
from pliant.sims.math.elementary import exp
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.robot import effector as eff
from pliant.sims.robot.contact import contact_functions
from pliant.sims.robot.shape_kernels import RECORD_SIZE, shape_functions
from pliant.sims.runtime import ti
from pliant.sims.solver import (
    CELL,
    CONTROL,
    DT,
    OUTPUT,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    STATE,
    SUBSTEPS,
    TEAM,
    Phases,
)

# exp(-30) = 1e-13: beyond this many decay lengths soft contact is dropped.
REACH = 30.0
# Entries of an effector's partial sums: friction, softness, pose, twist, force.
P_FRICTION, P_SOFTNESS, P_POSE, P_TWIST, P_FORCE, P_SIZE = 0, 1, 2, 9, 15, 18


@cache
def effector_functions(dim: int, fp: Any, kinds: tuple[int, ...], atomic: bool) -> SimpleNamespace:
    """Contact of one node with one effector, and the phases of the effector part.

    ``kinds``: the kinds of shapes that occur.  ``atomic``: partial sums are shared between threads (a GPU), not one
    per team member.
    """
    vec = ti.types.vector(dim, fp)
    vec3 = ti.types.vector(3, fp)
    rotation = rotation_functions(fp)
    access = access_functions(fp, atomic)
    load3, load4, add = access.load3, access.load4, access.add
    shapes = shape_functions(fp, kinds)
    law = contact_functions(dim, fp)

    @ti.func
    def partial_at(mem: ti.template(), b, c, j):
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[eff.PARTIAL_AT] + j * P_SIZE

    @ti.func
    def widen(v):
        """A vector of the scene in three dimensions."""
        w = vec3(0.0)
        for d in ti.static(range(dim)):
            w[d] = v[d]
        return w

    @ti.func
    def narrow(w):
        v = vec(0.0)
        for d in ti.static(range(dim)):
            v[d] = w[d]
        return v

    @ti.func
    def blend(soft, softness, phi):
        """Share s of the contact law in a node's velocity."""
        s = fp(0.0)
        if phi <= 0.0:
            s = fp(1.0)
        elif soft != 0 and softness * phi < REACH:
            s = exp(-softness * phi)
        return s

    @ti.func
    def twist_of(mem: ti.template(), b, j):
        """Velocity and angular velocity of effector j, and where they lie; zero and -1 if it is fixed."""
        h = ti.static(mem.integers)
        v = vec3(0.0)
        omega = vec3(0.0)
        at = -1
        if j < h[eff.MOVING]:
            at = b * h[CONTROL] + h[eff.CONTROL_AT] + j * eff.TWIST
            v = load3(mem.controls, at)
            omega = load3(mem.controls, at + 3)
        return v, omega, at

    @ti.func
    def approach(mem: ti.template(), b, pose, j, x):
        """Softness, arm from the effector's centre to x (3-vector), whether x can be in contact (bounding sphere)."""
        h = ti.static(mem.integers)
        softness = mem.parameters[b * h[PARAMETER] + h[eff.SOFTNESS_AT] + j]
        reach = mem.constants[h[eff.RECORD_AT] + h[eff.COUNT] * RECORD_SIZE + j]
        if h[eff.SOFT] != 0:
            reach += REACH / ti.max(softness, fp(1e-6))
        r = x - load3(mem.frames, pose)
        return softness, r, r.dot(r) < reach * reach

    @ti.func
    def touch(mem: ti.template(), b, c, f, j, node, u, mass, reads_force: ti.template()):
        """Velocity of a node after contact with effector j; adds its impulse to the force on j."""
        h = ti.static(mem.integers)
        pose = f * h[STATE] + h[eff.STATE_AT] + j * eff.POSE
        u_out = u
        softness, r, is_near = approach(mem, b, pose, j, widen(node * mem.constants[CELL]))
        if is_near:
            R = rotation.matrix(load4(mem.frames, pose + 3))
            phi, n_local = shapes.distance(mem.constants, h[eff.RECORD_AT] + j * RECORD_SIZE, R.transpose() @ r)
            s = blend(h[eff.SOFT], softness, phi)
            if s > 0.0:
                v, omega, _at = twist_of(mem, b, j)
                surface = narrow(v + omega.cross(r))
                mu = mem.parameters[b * h[PARAMETER] + h[eff.FRICTION_AT] + j]
                answer = surface + law.respond(u - surface, narrow(R @ n_local), mem.integers[h[eff.KIND_AT] + j], mu)
                u_out = u + s * (answer - u)
                if ti.static(reads_force):
                    o = partial_at(mem, b, c, j) + P_FORCE
                    for d in ti.static(range(dim)):
                        add(mem.scratch, o + d, mass * (u[d] - u_out[d]))
        return u_out

    @ti.func
    def touch_adjoint(mem: ti.template(), b, c, f, j, node, u, mass, u_out_bar, force_scale):
        """Cotangents (u_bar, mass_bar); those of pose, twist, friction and softness go to the partial sums.

        u_out = u + s (a - u), a = w + law(u - w, n), w = v + omega x r, r = x - p, n = R n_local(R^T r);
        force += force_scale * mass (u - u_out).
        """
        h = ti.static(mem.integers)
        pose = f * h[STATE] + h[eff.STATE_AT] + j * eff.POSE
        u_bar = u_out_bar
        mass_bar = fp(0.0)
        softness, r, is_near = approach(mem, b, pose, j, widen(node * mem.constants[CELL]))
        if is_near:
            q = load4(mem.frames, pose + 3)
            R = rotation.matrix(q)
            local = R.transpose() @ r
            record = h[eff.RECORD_AT] + j * RECORD_SIZE
            phi, n_local = shapes.distance(mem.constants, record, local)
            s = blend(h[eff.SOFT], softness, phi)
            if s > 0.0:
                v, omega, _at = twist_of(mem, b, j)
                surface = narrow(v + omega.cross(r))
                mu = mem.parameters[b * h[PARAMETER] + h[eff.FRICTION_AT] + j]
                kind = mem.integers[h[eff.KIND_AT] + j]
                n = narrow(R @ n_local)
                answer = surface + law.respond(u - surface, n, kind, mu)
                jump = answer - u
                force_bar = vec(0.0)
                for d in ti.static(range(dim)):
                    force_bar[d] = (
                        force_scale * mem.output_adjoint[b * h[OUTPUT] + h[eff.OUTPUT_AT] + j * eff.FORCE + d]
                    )
                mass_bar = -s * jump.dot(force_bar)
                out_bar = u_out_bar - mass * force_bar
                s_bar = jump.dot(out_bar)
                relative_bar, n_bar, mu_bar = law.respond_adjoint(u - surface, n, kind, mu, s * out_bar)
                u_bar = (fp(1.0) - s) * out_bar + relative_bar + mass * force_bar
                surface_bar = widen(s * out_bar - relative_bar)
                phi_bar = fp(0.0)
                o = partial_at(mem, b, c, j)
                if phi > 0.0:
                    phi_bar = -softness * s * s_bar
                    add(mem.scratch, o + P_SOFTNESS, -phi * s * s_bar)
                n_world_bar = widen(n_bar)
                local_bar = shapes.distance_adjoint(mem.constants, record, local, phi_bar, R.transpose() @ n_world_bar)
                R_bar = n_world_bar.outer_product(n_local) + r.outer_product(local_bar)
                r_bar = R @ local_bar + surface_bar.cross(omega)
                q_bar = rotation.matrix_adjoint(q, R_bar)
                omega_bar = r.cross(surface_bar)
                add(mem.scratch, o + P_FRICTION, mu_bar)
                for d in ti.static(range(3)):
                    add(mem.scratch, o + P_POSE + d, -r_bar[d])
                    add(mem.scratch, o + P_TWIST + d, surface_bar[d])
                    add(mem.scratch, o + P_TWIST + 3 + d, omega_bar[d])
                for d in ti.static(range(4)):
                    add(mem.scratch, o + P_POSE + 3 + d, q_bar[d])
        return u_bar, mass_bar

    @ti.func
    def integrate(mem: ti.template(), b, c, f_in, f_out, substep):
        """Pose of the next frame: p' = p + dt v, q' = normalised q + dt/2 (0, omega) q."""
        if c == 0:
            h = ti.static(mem.integers)
            dt = mem.constants[DT]
            for j in range(h[eff.COUNT]):
                i = f_in * h[STATE] + h[eff.STATE_AT] + j * eff.POSE
                o = f_out * h[STATE] + h[eff.STATE_AT] + j * eff.POSE
                v, omega, _at = twist_of(mem, b, j)
                q = rotation.integrate(load4(mem.frames, i + 3), omega, dt)
                for d in ti.static(range(3)):
                    mem.frames[o + d] = mem.frames[i + d] + dt * v[d]
                for d in ti.static(range(4)):
                    mem.frames[o + 3 + d] = q[d]

    @ti.func
    def integrate_adjoint(mem: ti.template(), b, c, f_in, f_out, substep):
        """Pose cotangent of this frame from the next one's and from the nodes in contact (empties the partial sums)."""
        if c == 0:
            h = ti.static(mem.integers)
            dt = mem.constants[DT]
            for j in range(h[eff.COUNT]):
                i = f_in * h[STATE] + h[eff.STATE_AT] + j * eff.POSE
                a = b * h[STATE] + h[eff.STATE_AT] + j * eff.POSE
                _v, omega, twist = twist_of(mem, b, j)
                q_bar, omega_bar = rotation.integrate_adjoint(
                    load4(mem.frames, i + 3), omega, dt, load4(mem.adjoint, a + 3)
                )
                if twist >= 0:
                    for d in ti.static(range(3)):
                        mem.control_adjoint[twist + d] = mem.control_adjoint[twist + d] + dt * mem.adjoint[a + d]
                        mem.control_adjoint[twist + 3 + d] = mem.control_adjoint[twist + 3 + d] + omega_bar[d]
                for d in ti.static(range(4)):
                    mem.adjoint[a + 3 + d] = q_bar[d]
                for m in range(h[TEAM]):
                    o = partial_at(mem, b, m, j)
                    for d in range(eff.POSE):
                        mem.adjoint[a + d] = mem.adjoint[a + d] + mem.scratch[o + P_POSE + d]
                        mem.scratch[o + P_POSE + d] = fp(0.0)
                    for d in range(eff.TWIST):
                        if twist >= 0:
                            share = mem.scratch[o + P_TWIST + d]
                            mem.control_adjoint[twist + d] = mem.control_adjoint[twist + d] + share
                        mem.scratch[o + P_TWIST + d] = fp(0.0)

    @ti.func
    def clear_partials(mem: ti.template(), b, c, r):
        h = ti.static(mem.integers)
        for j in range(h[eff.COUNT]):
            o = partial_at(mem, b, c, j)
            for d in range(P_SIZE):
                mem.scratch[o + d] = fp(0.0)

    @ti.func
    def read_force(mem: ti.template(), b, c):
        """Mean force over the step: the impulses of all members, divided by its duration."""
        if c == 0:
            h = ti.static(mem.integers)
            scale = fp(1.0) / (mem.constants[DT] * h[SUBSTEPS])
            for j in range(h[eff.COUNT]):
                o = b * h[OUTPUT] + h[eff.OUTPUT_AT] + j * eff.FORCE
                for d in ti.static(range(3)):
                    mem.outputs[o + d] = fp(0.0)
                    for m in range(h[TEAM]):
                        mem.outputs[o + d] = (
                            mem.outputs[o + d] + scale * mem.scratch[partial_at(mem, b, m, j) + P_FORCE + d]
                        )

    @ti.func
    def gather_parameters(mem: ti.template(), b, c):
        """Adds the partial sums of friction and softness to the parameter cotangents."""
        if c == 0:
            h = ti.static(mem.integers)
            for j in range(h[eff.COUNT]):
                for m in range(h[TEAM]):
                    o = partial_at(mem, b, m, j)
                    f = b * h[PARAMETER] + h[eff.FRICTION_AT] + j
                    s = b * h[PARAMETER] + h[eff.SOFTNESS_AT] + j
                    mem.parameter_adjoint[f] = mem.parameter_adjoint[f] + mem.scratch[o + P_FRICTION]
                    mem.parameter_adjoint[s] = mem.parameter_adjoint[s] + mem.scratch[o + P_SOFTNESS]

    @ti.func
    def idle(mem: ti.template(), b, c, f_in, f_out, substep):
        pass

    phases = Phases(
        begin=clear_partials,
        forward=[integrate],
        reverse=[idle, idle, integrate_adjoint],  # after the nodes have left their shares of the pose cotangents
        finish=read_force,
        finish_reverse=gather_parameters,
    )
    return SimpleNamespace(touch=touch, touch_adjoint=touch_adjoint, phases=phases)
