"""Adjoint of an implicit step of a rod.

The step solves R(z; p) = 0 for z, the new positions and frames; p is all else (old state, clamps, parameters). For a
cotangent z_bar the multiplier solves the same symmetric system, (dR/dz) l = z_bar, and p_bar = -(dR/dp)^T l. Held
unknowns have no equation: what is left of their cotangent, z_bar - (dR/dz) l, goes to what holds them. Only the
factors of the strains' derivatives depend on p, never these themselves, so no third derivative occurs.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import CONTROL, PARAMETER, STATE
from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.assembly import assembly_functions
from pliant.sims.rod.clamps import clamp_functions
from pliant.sims.rod.multiplier import multiplier_functions
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti


@cache
def scale_adjoint(setup: Setup) -> Any:
    """``add_scales``: what the scales of a step get."""
    at, fp = setup.at, setup.fp
    add = access_functions(fp).add

    @ti.func
    def add_scales(mem: ti.template(), b, scale_bar):
        """Adds the cotangents of the four scales to those of their control, if the rod has one."""
        h = ti.static(mem.integers)
        if h[at.scaled] != 0:
            for k in ti.static(range(4)):
                add(mem.control_adjoint, b * h[CONTROL] + h[at.scale] + k, scale_bar[k])

    return add_scales


@cache
def edge_adjoints(setup: Setup) -> SimpleNamespace:
    """``edges``, ``frames``, ``first_strains`` and ``old_directors``: what goes through strains and directors."""
    at, fp, has_effectors = setup.at, setup.fp, setup.eff is not None
    rod = assembly_functions(setup)
    clamps = clamp_functions(setup)
    joint, tree = rod.joint, rod.tree
    add, add_scales = access_functions(fp).add, scale_adjoint(setup)
    vec3 = ti.types.vector(3, fp)
    vec4 = ti.types.vector(4, fp)

    @ti.func
    def edges(mem: ti.template(), b, r_in, r_out, second):
        """Stretching, bending and twisting: with l_e the multiplier's stretching of an edge and sigma_k its strain k,

        l.F = -sum_edges l_e K/L (eps - L) - sum_joints sigma_k w_k,  w = (B/l)(q - q0 l + s eta (q - q_o)).
        """
        h = ti.static(mem.integers)
        old, new, params, work = rod.starts(mem, b, r_in, r_out)
        adj = b * h[STATE] + h[at.state]
        s, last, before = rod.scheme(mem, second)
        bars = ti.static(mem.parameter_adjoint)
        scale = rod.scales(mem, b)
        scale_bar = vec4(0)
        for i in range(1, h[at.count]):
            p = rod.parent_of(mem, i)
            g = rod.parent_of(mem, p)
            oi = tree.entry(work, i, 0)
            op = tree.entry(work, p, 0)
            t, eps = rod.edge(mem, new, i)
            rest = mem.parameters[rod.parameter(params, i, places.REST_LENGTH)]
            K = mem.parameters[rod.parameter(params, i, places.STRETCH)]
            l_f = rod.load3(mem.scratch, oi + places.MULTIPLIER) - rod.load3(mem.scratch, op + places.MULTIPLIER)
            stretching = t.dot(l_f)
            add(bars, rod.parameter(params, i, places.STRETCH), -stretching * (eps - rest) / rest)
            rest_bar = stretching * K * eps / (rest * rest)
            if g >= 0:
                og = tree.entry(work, g, 0)
                l_e = rod.load3(mem.scratch, op + places.MULTIPLIER) - rod.load3(mem.scratch, og + places.MULTIPLIER)
                f = rod.field(old, i, 0)
                strain = rod.load3(mem.frames, rod.field(new, i, places.STRAIN))
                earlier = last * rod.load3(mem.frames, f + places.STRAIN)
                earlier += before * rod.load3(mem.frames, f + places.OLD_STRAIN)
                w, stiffness, viscous, natural, length = rod.moments(mem, params, i, p, s, strain, earlier, scale)
                earlier_bar = vec3(0)
                length_bar = fp(0.0)
                for k in ti.static(range(3)):
                    kept = oi + places.DERIVATIVES + 8 * k
                    w_bar = -rod.load3(mem.scratch, kept).dot(l_e) - rod.load3(mem.scratch, kept + 3).dot(l_f)
                    w_bar -= mem.scratch[kept + 6] * mem.scratch[op + places.MULTIPLIER + 3]
                    w_bar -= mem.scratch[kept + 7] * mem.scratch[oi + places.MULTIPLIER + 3]
                    rate = strain[k] - earlier[k]
                    elastic = w_bar * stiffness[k]
                    kind = ti.static(places.TWIST_SCALE if k == 2 else places.BEND_SCALE)
                    by_factor = w_bar * w[k] / stiffness[k]
                    add(bars, rod.parameter(params, i, places.BEND + k), by_factor * scale[kind] / length)
                    scale_bar[kind] += by_factor * stiffness[k] / scale[kind]
                    add(bars, rod.parameter(params, i, places.CURVATURE + k), -elastic * length)
                    damping = ti.static(places.TWIST_DAMPING if k == 2 else places.BEND_DAMPING)
                    add(bars, rod.parameter(params, i, damping), elastic * s * scale[places.DAMPING_SCALE] * rate)
                    scale_bar[places.DAMPING_SCALE] += elastic * viscous[k] / scale[places.DAMPING_SCALE] * rate
                    length_bar -= (w_bar * w[k] + elastic * natural[k]) / length
                    earlier_bar[k] = -elastic * viscous[k]
                rest_bar += length_bar / 2
                add(bars, rod.parameter(params, p, places.REST_LENGTH), length_bar / 2)
                late_bar = rod.load3(mem.adjoint, rod.field(adj, i, places.OLD_STRAIN))
                rod.add3(mem.scratch, oi + places.COTANGENT + places.STRAIN, last * earlier_bar + late_bar)
                rod.add3(mem.scratch, oi + places.COTANGENT + places.OLD_STRAIN, before * earlier_bar)
            add(bars, rod.parameter(params, i, places.REST_LENGTH), rest_bar)
        add_scales(mem, b, scale_bar)

    @ti.func
    def frames(mem: ti.template(), b, r_in, r_out):
        """Frames of held edges: turned with their effector, or carried along from the old tangent by parallel
        transport, d theta_new = d theta_old - kb.(de_old/(2 eps_old) + de_new/(2 eps_new)),
        kb = 2 t_old x t_new/(1 + t_old.t_new).
        """
        h = ti.static(mem.integers)
        old, new, _params, work = rod.starts(mem, b, r_in, r_out)
        for i in range(1, h[at.count]):
            if not tree.turns_freely(mem, i):
                o = tree.entry(work, i, 0)
                q = tree.entry(work, rod.parent_of(mem, i), 0)
                turn_bar = mem.scratch[o + places.SEED + 3]
                u, eps_u = rod.edge(mem, new, i)
                is_driven = 1
                if ti.static(has_effectors):
                    if clamps.turns_with_effector(mem, i):
                        is_driven = 0
                        m, _m = rod.director(mem, new, i, u)
                        clamps.held_director_adjoint(mem, b, r_out, i, turn_bar * u.cross(m))
                if is_driven == 1:
                    t, eps = rod.edge(mem, old, i)
                    m, _m = rod.director(mem, old, i, t)
                    kb, _chi = joint.curvature_binormal(t, u)
                    rod.add3(mem.scratch, o + places.COTANGENT + places.DIRECTOR, turn_bar * t.cross(m))
                    old_bar = -turn_bar / (2 * eps) * kb
                    new_bar = -turn_bar / (2 * eps_u) * kb
                    rod.add3(mem.scratch, o + places.COTANGENT + places.POSITION, old_bar)
                    rod.add3(mem.scratch, q + places.COTANGENT + places.POSITION, -old_bar)
                    rod.add3(mem.scratch, o + places.SEED, new_bar)
                    rod.add3(mem.scratch, q + places.SEED, -new_bar)

    @ti.func
    def first_strains(mem: ti.template(), b, r_in, r_out):
        """The first step measures the old strains itself: their cotangent goes to the old positions and directors."""
        old, _new, _params, work = rod.starts(mem, b, r_in, r_out)
        for i in range(1, mem.integers[at.count]):
            p = rod.parent_of(mem, i)
            g = rod.parent_of(mem, p)
            if g >= 0:
                o = tree.entry(work, i, places.COTANGENT)
                op = tree.entry(work, p, places.COTANGENT)
                t, eps = rod.edge(mem, old, p)
                u, eps_f = rod.edge(mem, old, i)
                m1, _m = rod.director(mem, old, p, t)
                n1, _n = rod.director(mem, old, i, u)
                bar = rod.load3(mem.scratch, o + places.STRAIN)
                by_e, by_f, turn_e, turn_f = joint.slopes(t, u, m1, eps, eps_f, bar)
                rod.add3(mem.scratch, o + places.POSITION, by_f)
                rod.add3(mem.scratch, op + places.POSITION, by_e - by_f)
                rod.add3(mem.scratch, tree.entry(work, g, places.COTANGENT) + places.POSITION, -by_e)
                rod.add3(mem.scratch, op + places.DIRECTOR, turn_e * t.cross(m1))
                rod.add3(mem.scratch, o + places.DIRECTOR, turn_f * u.cross(n1))
                rod.store3(mem.scratch, o + places.STRAIN, vec3(0))

    @ti.func
    def old_directors(mem: ti.template(), b, r_in, r_out):
        """From a director made normal and of length one to the one in the row: m' = m - t t.m, m_hat = m'/|m'|."""
        old, _new, _params, work = rod.starts(mem, b, r_in, r_out)
        for i in range(1, mem.integers[at.count]):
            o = tree.entry(work, i, places.COTANGENT)
            hat_bar = rod.load3(mem.scratch, o + places.DIRECTOR)
            if hat_bar.dot(hat_bar) > 0:
                t, eps = rod.edge(mem, old, i)
                hat, length = rod.director(mem, old, i, t)
                m = rod.load3(mem.frames, rod.field(old, i, places.DIRECTOR))
                m_bar = (hat_bar - hat * hat.dot(hat_bar)) / length
                t_bar = -(t.dot(m) * m_bar + t.dot(m_bar) * m)
                e_bar = (t_bar - t * t.dot(t_bar)) / eps
                rod.store3(mem.scratch, o + places.DIRECTOR, m_bar - t * t.dot(m_bar))
                rod.add3(mem.scratch, o + places.POSITION, e_bar)
                q = tree.entry(work, rod.parent_of(mem, i), places.COTANGENT)
                rod.add3(mem.scratch, q + places.POSITION, -e_bar)

    return SimpleNamespace(edges=edges, frames=frames, first_strains=first_strains, old_directors=old_directors)


@cache
def vertex_adjoints(setup: Setup) -> Any:
    """``vertices``: what goes through positions and velocities."""
    at, fp, has_effectors, push = setup.at, setup.fp, setup.eff is not None, setup.push
    forces_bar_at = -1 if push is None else push[1]
    is_pushed = push is not None
    eff: Any = setup.eff
    rod = assembly_functions(setup)
    clamps = clamp_functions(setup)
    tree = rod.tree
    add, add_scales = access_functions(fp).add, scale_adjoint(setup)
    vec4 = ti.types.vector(4, fp)

    @ti.func
    def vertices(mem: ti.template(), b, r_in, r_out, second, substep):
        """With F = m (s (v_o - v) + g) - (c + c2 |v|) v + push, v = s (z - z_o): cotangents of l.F."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        bars = ti.static(mem.parameter_adjoint)
        old, new, params, work = rod.starts(mem, b, r_in, r_out)
        adj = b * h[STATE] + h[at.state]
        s, last, before = rod.scheme(mem, second)
        gravity_at = b * h[PARAMETER] + h[at.world] + places.GRAVITY
        gravity = rod.load3(mem.parameters, gravity_at)
        scale = rod.scales(mem, b)
        scale_bar = vec4(0)
        for i in range(h[at.count]):
            o = tree.entry(work, i, places.COTANGENT)
            f = rod.field(old, i, 0)
            bar = rod.field(adj, i, 0)
            l = rod.load3(mem.scratch, tree.entry(work, i, places.MULTIPLIER))
            z = rod.load3(a, rod.field(new, i, places.POSITION))
            x_o = rod.load3(a, f + places.POSITION)
            v_o = last * rod.load3(a, f + places.VELOCITY) + before * rod.load3(a, f + places.OLD_VELOCITY)
            v = s * (z - last * x_o - before * rod.load3(a, f + places.OLD_POSITION))
            speed = ti.sqrt(v.dot(v))
            own_mass = mem.parameters[rod.parameter(params, i, places.MASS)]
            m = scale[places.MASS_SCALE] * own_mass
            quadratic = mem.parameters[rod.parameter(params, i, places.QUADRATIC_DRAG)]
            resistance = mem.parameters[rod.parameter(params, i, places.DRAG)] + quadratic * speed
            along = l.dot(v)
            by_mass = l.dot(s * (v_o - v) + gravity)
            add(bars, rod.parameter(params, i, places.MASS), scale[places.MASS_SCALE] * by_mass)
            scale_bar[places.MASS_SCALE] += own_mass * by_mass
            add(bars, rod.parameter(params, i, places.DRAG), -along)
            add(bars, rod.parameter(params, i, places.QUADRATIC_DRAG), -speed * along)
            rod.add3(bars, gravity_at, m * l)
            v_bar = -(m * s + resistance) * l
            if h[at.forced] != 0:
                rod.add3(mem.control_adjoint, b * h[CONTROL] + h[at.vertex_force] + 3 * i, l)
            if ti.static(is_pushed):
                rod.store3(mem.scratch, h[forces_bar_at] + 3 * (b * h[at.count] + i), l)
            if speed > 0:
                v_bar -= quadratic * along / speed * v
            z_o_bar = -s * (v_bar + rod.load3(mem.adjoint, bar + places.VELOCITY))
            x_bar = last * z_o_bar + rod.load3(mem.adjoint, bar + places.OLD_POSITION)
            if tree.is_free(mem, i):
                if ti.static(has_effectors):
                    for j in range(h[eff.count]):
                        weight = l - rod.contact.force_cotangent(mem, b, j)
                        x_bar += rod.contact.push_adjoint(mem, b, r_out, j, x_o, z, weight)
            else:
                held_bar = rod.load3(mem.scratch, tree.entry(work, i, places.SEED))
                x_bar += clamps.target_adjoint(mem, b, r_out, i, substep, held_bar)
            v_o_bar = m * s * l
            rod.add3(mem.scratch, o + places.POSITION, x_bar)
            rod.add3(mem.scratch, o + places.OLD_POSITION, before * z_o_bar)
            rod.add3(
                mem.scratch, o + places.VELOCITY, last * v_o_bar + rod.load3(mem.adjoint, bar + places.OLD_VELOCITY)
            )
            rod.add3(mem.scratch, o + places.OLD_VELOCITY, before * v_o_bar)
        add_scales(mem, b, scale_bar)

    return vertices


@cache
def adjoint_functions(setup: Setup) -> SimpleNamespace:
    """``step_adjoint(mem, b, r_in, r_out, substep)``: turns the cotangent of row r_out into that of row r_in."""
    at, fp, has_self_contact = setup.at, setup.fp, setup.has_self_contact
    rod = assembly_functions(setup)
    tree = rod.tree
    multiplier, through_edges, vertices = multiplier_functions(setup), edge_adjoints(setup), vertex_adjoints(setup)
    seed, solve = multiplier.seed, multiplier.solve
    edges, frames = through_edges.edges, through_edges.frames
    first_strains, old_directors = through_edges.first_strains, through_edges.old_directors

    @ti.func
    def step_adjoint(mem: ti.template(), b, r_in, r_out, substep):
        """Turns the cotangent of row r_out into that of row r_in, in place; see the module."""
        h = ti.static(mem.integers)
        old, new, _params, work = rod.starts(mem, b, r_in, r_out)
        second = rod.is_second_order(mem, r_in)
        seed(mem, b, r_in, r_out, second)
        rod.assemble(mem, b, r_in, r_out, second, 1, True)
        solve(mem, b, work)
        if ti.static(has_self_contact):
            rod.self_contact.push_adjoint(mem, b, old, new, work)
        edges(mem, b, r_in, r_out, second)
        frames(mem, b, r_in, r_out)
        vertices(mem, b, r_in, r_out, second, substep)
        if mem.frames[r_in * h[STATE] + h[at.history]] < 0.5:
            first_strains(mem, b, r_in, r_out)
        old_directors(mem, b, r_in, r_out)
        adj = b * h[STATE] + h[at.state]
        for i in range(h[at.count]):
            o = tree.entry(work, i, places.COTANGENT)
            for k in range(places.STATE_RECORD):
                mem.adjoint[rod.field(adj, i, k)] = mem.scratch[o + k]
        mem.adjoint[b * h[STATE] + h[at.history]] = fp(0.0)

    return SimpleNamespace(step_adjoint=step_adjoint)
