"""Contact of a rod's vertices with the signed distances of effectors: the force of an implicit step, and its adjoint.

The surface is taken as the tangent plane at the vertex's position x_o before the step, g(z) = phi(x_o) + n.(z - x_o) -
radius. Normal force k h(g) n with h(g) = 0, (g - w)^2/(4 w), -g for g > w, |g| <= w, g < -w (w: width of the onset).
Friction: -mu N_o u/sqrt(|u|^2 + c^2), u the tangential velocity (z - x_o)/dt relative to the surface, N_o = k h(g(x_o))
the normal force before the step, c a small speed. Both are derivatives of a potential of z, so that the system stays
symmetric (compare Li et al. 2020, "Incremental potential contact", section 5).
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import CONTROL, DT, OUTPUT, PARAMETER, PARTIAL, PARTIAL_OFFSET, STATE, SUBSTEPS, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.robot.effector_kernels import P_FORCE, P_SIZE
from pliant.sims.robot.effector_places import FORCE, POSE, TWIST
from pliant.sims.rod import places
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti
from pliant.sims.shapes.shape_kernels import RECORD_SIZE, shape_functions


@cache
def onset_function(fp: Any) -> Any:
    """``onset(g, width)``: h of a distance g, see above, and its derivative."""

    @ti.func
    def onset(g, width):
        """h(g) and dh/dg for a width w."""
        value = fp(0.0)
        slope = fp(0.0)
        if g < -width:
            value = -g
            slope = fp(-1.0)
        elif g < width:
            value = (g - width) * (g - width) / (4 * width)
            slope = (g - width) / (2 * width)
        return value, slope

    return onset


@cache
def surface_functions(setup: Setup) -> SimpleNamespace:
    """``gap_at`` and ``is_near``: where the surface of an effector is, seen from a vertex, and whether it is near."""
    at, fp, kinds = setup.at, setup.fp, setup.shape_kinds
    eff: Any = setup.eff
    rotation = rotation_functions(fp)
    access = access_functions(fp)
    load3, load4 = access.load3, access.load4
    shapes = shape_functions(fp, kinds)

    @ti.func
    def numbers(mem: ti.template()):
        """Where the rod's constants start."""
        return mem.integers[at.numbers]

    @ti.func
    def gap_at(mem: ti.template(), row, j, x_o):
        """Distance of x_o's surface from effector j, its normal, and what they come from."""
        h = ti.static(mem.integers)
        pose = row * h[STATE] + h[eff.pose] + j * POSE
        q = load4(mem.frames, pose + 3)
        R = rotation.matrix(q)
        arm = x_o - load3(mem.frames, pose)
        record = h[eff.shapes] + j * RECORD_SIZE
        phi, local_normal = shapes.distance(mem.constants, record, R.transpose() @ arm)
        return phi - mem.constants[numbers(mem) + places.RADIUS], local_normal, q, R, arm

    @ti.func
    def is_near(mem: ti.template(), row, j, x_o, z):
        """Whether effector j can touch at all: it is one that is touched, and x_o, and with it z, are near its bounding
        ball."""
        h = ti.static(mem.integers)
        pose = row * h[STATE] + h[eff.pose] + j * POSE
        arm = x_o - load3(mem.frames, pose)
        move = z - x_o
        limit = mem.constants[h[eff.shapes] + h[eff.count] * RECORD_SIZE + j]
        limit += mem.constants[numbers(mem) + places.RADIUS] + mem.constants[numbers(mem) + places.ONSET]
        limit += ti.sqrt(move.dot(move))
        return arm.dot(arm) < limit * limit and h[h[eff.is_touched] + j] == 1

    return SimpleNamespace(numbers=numbers, gap_at=gap_at, is_near=is_near)


@cache
def push_adjoint_function(setup: Setup) -> Any:
    """``push_adjoint``, see ``rod_contact_functions``."""
    at, fp, kinds = setup.at, setup.fp, setup.shape_kinds
    eff: Any = setup.eff
    vec3 = ti.types.vector(3, fp)
    rotation = rotation_functions(fp)
    access = access_functions(fp)
    load3, add3 = access.load3, access.add3
    shapes = shape_functions(fp, kinds)
    onset = onset_function(fp)
    surface_of = surface_functions(setup)
    numbers, gap_at, is_near = surface_of.numbers, surface_of.gap_at, surface_of.is_near

    @ti.func
    def push_adjoint(mem: ti.template(), b, row, j, x_o, z, a):
        """With g_o = phi(x_o) - radius, g = g_o + n.(z - x_o), u = (z - x_o)/dt - v - w x r, r = x_o - p, u_T = u - n
        n.u and s = sqrt(|u_T|^2 + c^2): a.force = k h(g) a.n - mu k h(g_o) a.u_T/s."""
        h = ti.static(mem.integers)
        x_bar = vec3(0)
        if is_near(mem, row, j, x_o, z):
            gap, local_normal, q, R, arm = gap_at(mem, row, j, x_o)
            n = R @ local_normal
            width = mem.constants[numbers(mem) + places.ONSET]
            stiffness_at = b * h[PARAMETER] + h[at.world] + places.CONTACT_STIFFNESS
            k = mem.parameters[stiffness_at]
            value, slope = onset(gap + n.dot(z - x_o), width)
            before, slope_before = onset(gap, width)
            if value > 0 or before > 0:
                along = a.dot(n)
                k_bar = value * along
                gap_bar = k * slope * along
                n_bar = k * value * a + gap_bar * (z - x_o)
                x_bar = -gap_bar * n
                friction_at = b * h[PARAMETER] + h[eff.friction] + j
                mu = mem.parameters[friction_at]
                twist = b * h[CONTROL] + h[eff.twist] + j * TWIST
                omega = load3(mem.controls, twist + 3)
                rate = 1 / mem.constants[DT]
                u = (z - x_o) * rate - load3(mem.controls, twist) - omega.cross(arm)
                t = u - n * n.dot(u)
                c = mem.constants[numbers(mem) + places.FRICTION_SPEED]
                inverse = 1 / ti.sqrt(t.dot(t) + c * c)
                work = a.dot(t) * inverse
                mem.parameter_adjoint[friction_at] = mem.parameter_adjoint[friction_at] - k * before * work
                k_bar -= mu * before * work
                gap_bar -= mu * k * slope_before * work
                t_bar = -mu * k * before * inverse * (a - t * (work * inverse))
                u_bar = t_bar - n * n.dot(t_bar)
                n_bar -= n.dot(u) * t_bar + n.dot(t_bar) * u
                x_bar -= u_bar * rate
                arm_bar = omega.cross(u_bar)
                add3(mem.control_adjoint, twist, -u_bar)
                add3(mem.control_adjoint, twist + 3, -arm.cross(u_bar))
                mem.parameter_adjoint[stiffness_at] = mem.parameter_adjoint[stiffness_at] + k_bar
                record = h[eff.shapes] + j * RECORD_SIZE
                local = R.transpose() @ arm
                local_bar = shapes.distance_adjoint(mem.constants, record, local, gap_bar, R.transpose() @ n_bar)
                arm_bar += R @ local_bar
                q_bar = rotation.matrix_adjoint(q, n_bar.outer_product(local_normal) + arm.outer_product(local_bar))
                pose = b * h[STATE] + h[eff.pose] + j * POSE
                add3(mem.adjoint, pose, -arm_bar)
                for d in ti.static(range(4)):
                    mem.adjoint[pose + 3 + d] = mem.adjoint[pose + 3 + d] + q_bar[d]
                x_bar += arm_bar
        return x_bar

    return push_adjoint


@cache
def rod_contact_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one floating-point type for effectors of the given kinds of shapes.

    ``push(mem, b, row, j, x_o, z)``: force of effector j (pose of frame row ``row``) on a vertex that moves from x_o to
    z [N], and minus its derivative with respect to z.  ``potential``: see there.  ``push_adjoint(mem, b, row, j, x_o,
    z, a)``: adds the cotangents of a.force to pose, twist, friction and contact stiffness, returns that of x_o.
    """
    at, fp = setup.at, setup.fp
    eff: Any = setup.eff
    vec3 = ti.types.vector(3, fp)
    mat3 = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, add3 = access.load3, access.add3
    onset = onset_function(fp)
    surface_of = surface_functions(setup)
    numbers, gap_at, is_near = surface_of.numbers, surface_of.gap_at, surface_of.is_near

    @ti.func
    def push(mem: ti.template(), b, row, j, x_o, z):
        """Force of effector j on a vertex [N], and minus its derivative by z [N/m]."""
        h = ti.static(mem.integers)
        force = vec3(0)
        stiffness = mat3(0)
        if is_near(mem, row, j, x_o, z):
            gap, local_normal, _q, R, arm = gap_at(mem, row, j, x_o)
            n = R @ local_normal
            width = mem.constants[numbers(mem) + places.ONSET]
            k = mem.parameters[b * h[PARAMETER] + h[at.world] + places.CONTACT_STIFFNESS]
            value, slope = onset(gap + n.dot(z - x_o), width)
            before, _slope = onset(gap, width)
            force = k * value * n
            stiffness = -k * slope * n.outer_product(n)
            mu = mem.parameters[b * h[PARAMETER] + h[eff.friction] + j]
            drag = mu * k * before
            if drag > 0:
                twist = b * h[CONTROL] + h[eff.twist] + j * TWIST
                surface = load3(mem.controls, twist) + load3(mem.controls, twist + 3).cross(arm)
                rate = 1 / mem.constants[DT]
                u = (z - x_o) * rate - surface
                u -= n * n.dot(u)
                c = mem.constants[numbers(mem) + places.FRICTION_SPEED]
                inverse = 1 / ti.sqrt(u.dot(u) + c * c)
                e = u * inverse
                force -= drag * e
                for p in ti.static(range(3)):
                    for r in ti.static(range(3)):
                        stiffness[p, r] -= drag * rate * inverse * (n[p] * n[r] + e[p] * e[r])
                    stiffness[p, p] += drag * rate * inverse
        return force, stiffness

    @ti.func
    def potential(mem: ti.template(), b, row, j, x_o, z):
        """What ``push`` is minus the derivative of, with respect to z."""
        h = ti.static(mem.integers)
        energy = fp(0.0)
        if is_near(mem, row, j, x_o, z):
            gap, local_normal, _q, R, arm = gap_at(mem, row, j, x_o)
            n = R @ local_normal
            width = mem.constants[numbers(mem) + places.ONSET]
            k = mem.parameters[b * h[PARAMETER] + h[at.world] + places.CONTACT_STIFFNESS]
            g = gap + n.dot(z - x_o)
            if g < -width:
                energy = k * (g * g / 2 + width * width / 6)
            elif g < width:
                energy = k * (width - g) ** 3 / (12 * width)
            before, _slope = onset(gap, width)
            twist = b * h[CONTROL] + h[eff.twist] + j * TWIST
            dt = mem.constants[DT]
            u = (z - x_o) / dt - load3(mem.controls, twist) - load3(mem.controls, twist + 3).cross(arm)
            u -= n * n.dot(u)
            c = mem.constants[numbers(mem) + places.FRICTION_SPEED]
            mu = mem.parameters[b * h[PARAMETER] + h[eff.friction] + j]
            energy += mu * k * before * dt * ti.sqrt(u.dot(u) + c * c)
        return energy

    @ti.func
    def read_force(mem: ti.template(), b, j, force):
        """Adds the impulse that a vertex gives effector j in a substep."""
        h = ti.static(mem.integers)
        o = h[PARTIAL_OFFSET] + b * h[TEAM] * h[PARTIAL] + h[eff.partial] + j * P_SIZE + P_FORCE
        add3(mem.scratch, o, -mem.constants[DT] * force)

    @ti.func
    def force_cotangent(mem: ti.template(), b, j):
        """Cotangent of the force that a vertex exerts on effector j in a substep: a step reports the mean."""
        h = ti.static(mem.integers)
        o = b * h[OUTPUT] + h[eff.force] + j * FORCE
        return load3(mem.output_adjoint, o) / ti.cast(h[SUBSTEPS], fp)

    return SimpleNamespace(
        push=push,
        potential=potential,
        push_adjoint=push_adjoint_function(setup),
        read_force=read_force,
        force_cotangent=force_cotangent,
    )
