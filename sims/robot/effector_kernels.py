"""Taichi functions of the effectors: pose integration and contact of a grid node, each with its adjoint."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.contact import contact_functions
from pliant.sims.fields import CONTROL, DT, OUTPUT, PARAMETER, PARTIAL, PARTIAL_OFFSET, STATE, SUBSTEPS, TEAM, Entries
from pliant.sims.math.access import access_functions
from pliant.sims.math.elementary import exp
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.part import Pass, Stage, Stages
from pliant.sims.robot.effector_places import (
    FORCE,
    P_FORCE,
    P_FRICTION,
    P_POSE,
    P_SIZE,
    P_SOFTNESS,
    P_TWIST,
    POSE,
    TWIST,
)
from pliant.sims.runtime import ti
from pliant.sims.shapes.shape_kernels import RECORD_SIZE, shape_functions

# exp(-30) = 1e-13: beyond this many decay lengths soft contact is dropped.
REACH = 30.0


@cache
def place_functions(eff: Entries, fp: Any) -> SimpleNamespace:
    """Where the partial sums and the twist of an effector are."""
    vec3 = ti.types.vector(3, fp)
    load3 = access_functions(fp).load3

    @ti.func
    def partial_at(mem: ti.template(), b, c, j):
        """Where member c's partial sums of effector j start."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[eff.partial] + j * P_SIZE

    @ti.func
    def twist_of(mem: ti.template(), b, j):
        """Velocity and angular velocity of effector j, and where they lie; zero and -1 if it is fixed."""
        h = ti.static(mem.integers)
        v = vec3(0.0)
        omega = vec3(0.0)
        at = -1
        if j < h[eff.moving]:
            at = b * h[CONTROL] + h[eff.twist] + j * TWIST
            v = load3(mem.controls, at)
            omega = load3(mem.controls, at + 3)
        return v, omega, at

    return SimpleNamespace(partial_at=partial_at, twist_of=twist_of)


@cache
def effector_functions(eff: Entries, dim: int, fp: Any, kinds: tuple[int, ...], atomic: bool) -> SimpleNamespace:
    """Contact of one node with one effector: ``touch`` and ``touch_adjoint``.

    ``eff``: where the effectors keep things.  ``kinds``: the kinds of shapes that occur.
    ``atomic``: partial sums are shared between threads (a GPU), not one per team member.
    """
    vec = ti.types.vector(dim, fp)
    vec3 = ti.types.vector(3, fp)
    rotation = rotation_functions(fp)
    access = access_functions(fp, atomic)
    load3, load4, add = access.load3, access.load4, access.add
    shapes = shape_functions(fp, kinds)
    law = contact_functions(dim, fp)
    own = place_functions(eff, fp)
    partial_at, twist_of = own.partial_at, own.twist_of

    @ti.func
    def widen(v):
        """A vector of the scene in three dimensions."""
        w = vec3(0.0)
        for d in ti.static(range(dim)):
            w[d] = v[d]
        return w

    @ti.func
    def narrow(w):
        """The scene's dimensions of a 3-vector."""
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
    def approach(mem: ti.template(), b, pose, j, x):
        """Softness, arm from the effector's centre to x (3-vector), whether x can be in contact (bounding sphere, and
        j is one that is touched)."""
        h = ti.static(mem.integers)
        softness = mem.parameters[b * h[PARAMETER] + h[eff.softness] + j]
        reach = mem.constants[h[eff.shapes] + h[eff.count] * RECORD_SIZE + j]
        if h[eff.soft] != 0:
            reach += REACH / ti.max(softness, fp(1e-6))
        r = x - load3(mem.frames, pose)
        return softness, r, r.dot(r) < reach * reach and h[h[eff.is_touched] + j] == 1

    @ti.func
    def touch(mem: ti.template(), b, c, f, j, x, u, mass, reads_force: ti.template()):
        """Velocity of a node at x after contact with effector j; adds its impulse to the force on j."""
        h = ti.static(mem.integers)
        pose = f * h[STATE] + h[eff.pose] + j * POSE
        u_out = u
        softness, r, is_near = approach(mem, b, pose, j, widen(x))
        if is_near:
            R = rotation.matrix(load4(mem.frames, pose + 3))
            phi, n_local = shapes.distance(mem.constants, h[eff.shapes] + j * RECORD_SIZE, R.transpose() @ r)
            s = blend(h[eff.soft], softness, phi)
            if s > 0.0:
                v, omega, _at = twist_of(mem, b, j)
                surface = narrow(v + omega.cross(r))
                mu = mem.parameters[b * h[PARAMETER] + h[eff.friction] + j]
                relative = u - surface  # so that what leaves is left alone to the last bit
                answer = law.respond(relative, narrow(R @ n_local), mem.integers[h[eff.kinds] + j], mu)
                change = s * (answer - relative)
                u_out = u + change
                if ti.static(reads_force):
                    o = partial_at(mem, b, c, j) + P_FORCE
                    for d in ti.static(range(dim)):
                        add(mem.scratch, o + d, -mass * change[d])
        return u_out

    @ti.func
    def touch_adjoint(mem: ti.template(), b, c, f, j, x, u, mass, u_out_bar, force_scale):
        """Cotangents (u_bar, mass_bar); those of pose, twist, friction and softness go to the partial sums.

        u_out = u + s (law(u - w, n) - (u - w)), w = v + omega x r, r = x - p, n = R n_local(R^T r);
        force += force_scale * mass (u - u_out).
        """
        h = ti.static(mem.integers)
        pose = f * h[STATE] + h[eff.pose] + j * POSE
        u_bar = u_out_bar
        mass_bar = fp(0.0)
        softness, r, is_near = approach(mem, b, pose, j, widen(x))
        if is_near:
            q = load4(mem.frames, pose + 3)
            R = rotation.matrix(q)
            local = R.transpose() @ r
            record = h[eff.shapes] + j * RECORD_SIZE
            phi, n_local = shapes.distance(mem.constants, record, local)
            s = blend(h[eff.soft], softness, phi)
            if s > 0.0:
                v, omega, _at = twist_of(mem, b, j)
                surface = narrow(v + omega.cross(r))
                mu = mem.parameters[b * h[PARAMETER] + h[eff.friction] + j]
                kind = mem.integers[h[eff.kinds] + j]
                n = narrow(R @ n_local)
                relative = u - surface
                jump = law.respond(relative, n, kind, mu) - relative
                force_bar = vec(0.0)
                for d in ti.static(range(dim)):
                    force_bar[d] = force_scale * mem.output_adjoint[b * h[OUTPUT] + h[eff.force] + j * FORCE + d]
                mass_bar = -s * jump.dot(force_bar)
                out_bar = u_out_bar - mass * force_bar
                s_bar = jump.dot(out_bar)
                relative_bar, n_bar, mu_bar = law.respond_adjoint(relative, n, kind, mu, s * out_bar)
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

    return SimpleNamespace(touch=touch, touch_adjoint=touch_adjoint)


@cache
def motion_functions(eff: Entries, fp: Any) -> SimpleNamespace:
    """What the passes of the part do: poses, forces, and sums of the cotangents that contact has left."""
    rotation = rotation_functions(fp)
    load4 = access_functions(fp).load4
    own = place_functions(eff, fp)
    partial_at, twist_of = own.partial_at, own.twist_of

    @ti.func
    def integrate(mem: ti.template(), b, c, first, stop, f_in, f_out, substep):
        """Pose of the next frame: p' = p + dt v, q' = normalised q + dt/2 (0, omega) q."""
        h = ti.static(mem.integers)
        dt = mem.constants[DT]
        for j in range(first, stop):
            i = f_in * h[STATE] + h[eff.pose] + j * POSE
            o = f_out * h[STATE] + h[eff.pose] + j * POSE
            v, omega, _at = twist_of(mem, b, j)
            q = rotation.integrate(load4(mem.frames, i + 3), omega, dt)
            for d in ti.static(range(3)):
                mem.frames[o + d] = mem.frames[i + d] + dt * v[d]
            for d in ti.static(range(4)):
                mem.frames[o + 3 + d] = q[d]

    @ti.func
    def integrate_adjoint(mem: ti.template(), b, c, first, stop, f_in, f_out, substep):
        """Pose cotangent of this frame from the next one's and from the nodes in contact (empties the partial sums)."""
        h = ti.static(mem.integers)
        dt = mem.constants[DT]
        for j in range(first, stop):
            i = f_in * h[STATE] + h[eff.pose] + j * POSE
            a = b * h[STATE] + h[eff.pose] + j * POSE
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
                for d in range(POSE):
                    mem.adjoint[a + d] = mem.adjoint[a + d] + mem.scratch[o + P_POSE + d]
                    mem.scratch[o + P_POSE + d] = fp(0.0)
                for d in range(TWIST):
                    if twist >= 0:
                        share = mem.scratch[o + P_TWIST + d]
                        mem.control_adjoint[twist + d] = mem.control_adjoint[twist + d] + share
                    mem.scratch[o + P_TWIST + d] = fp(0.0)

    @ti.func
    def clear_partials(mem: ti.template(), b, c, first, stop, f_in, f_out, substep):
        """Empties member c's partial sums of effectors first to stop - 1."""
        for j in range(first, stop):
            o = partial_at(mem, b, c, j)
            for d in range(P_SIZE):
                mem.scratch[o + d] = fp(0.0)

    @ti.func
    def read_force(mem: ti.template(), b, c, first, stop, f_in, f_out, substep):
        """Mean force over the step: the impulses of all members, divided by its duration."""
        h = ti.static(mem.integers)
        scale = fp(1.0) / (mem.constants[DT] * h[SUBSTEPS])
        for j in range(first, stop):
            o = b * h[OUTPUT] + h[eff.force] + j * FORCE
            for d in ti.static(range(3)):
                mem.outputs[o + d] = fp(0.0)
                for m in range(h[TEAM]):
                    mem.outputs[o + d] = (
                        mem.outputs[o + d] + scale * mem.scratch[partial_at(mem, b, m, j) + P_FORCE + d]
                    )

    @ti.func
    def gather_parameters(mem: ti.template(), b, c, first, stop, f_in, f_out, substep):
        """Adds the partial sums of friction and softness to the parameter cotangents."""
        h = ti.static(mem.integers)
        for j in range(first, stop):
            for m in range(h[TEAM]):
                o = partial_at(mem, b, m, j)
                f = b * h[PARAMETER] + h[eff.friction] + j
                s = b * h[PARAMETER] + h[eff.softness] + j
                mem.parameter_adjoint[f] = mem.parameter_adjoint[f] + mem.scratch[o + P_FRICTION]
                mem.parameter_adjoint[s] = mem.parameter_adjoint[s] + mem.scratch[o + P_SOFTNESS]

    return SimpleNamespace(
        integrate=integrate,
        integrate_adjoint=integrate_adjoint,
        clear_partials=clear_partials,
        read_force=read_force,
        gather_parameters=gather_parameters,
    )


@cache
def effector_stages(eff: Entries, fp: Any) -> Stages:
    """Poses are integrated first. In reverse they come last: all that is in contact has added to their cotangents."""
    own = motion_functions(eff, fp)
    return Stages(
        substep=[Stage([Pass(own.integrate, eff.count)], [Pass(own.integrate_adjoint, eff.count)])],
        begin=[Pass(own.clear_partials, eff.count, alone=True, waits=False)],
        finish=[Pass(own.read_force, eff.count)],
        finish_adjoint=[Pass(own.gather_parameters, eff.count)],
    )
