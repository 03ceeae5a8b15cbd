"""The equations of an implicit step of a rod: residual and matrix at a trial state, shared by step and adjoint.

BDF2 with h the step: v = s (z - z_o), s = 3/(2h), z_o = (4 x_n - x_(n-1))/3; the residual of a vertex at z is

    R = m s^2 (z - y) + drag(v) + dE/dz + viscous - m g - contact,   y = z_o + (4 v_n - v_(n-1))/(3 s),

and that of an edge's angle the sum of the moments of its joints: edges turn without inertia, so that twist is at rest
in every step. Backward Euler, and the first step of any episode: s = 1/h, z_o = x_n, y = x_n + v_n/s. A joint's viscous
moments oppose the rate of its strains, s (q - q_o) with q_o formed from old strains as z_o from old positions.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import CONTROL, DT, PARAMETER, STATE
from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.contact import rod_contact_functions
from pliant.sims.rod.energies import joint_functions
from pliant.sims.rod.linear import tree_functions
from pliant.sims.rod.places import Setup
from pliant.sims.rod.self_contact import self_contact_functions
from pliant.sims.runtime import ti


@cache
def assembly_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one floating-point type and the kinds of shapes that may be touched, maybe with self-contact.

    Throughout, ``old`` and ``new`` are where the rod's state starts in the rows before and after the step, ``params``
    where its parameters start, ``work`` where its working memory starts.
    """
    at, fp, has_effectors, has_self_contact = setup.at, setup.fp, setup.eff is not None, setup.has_self_contact
    eff: Any = setup.eff
    vec3 = ti.types.vector(3, fp)
    vec4 = ti.types.vector(4, fp)
    joint = joint_functions(fp)
    tree = tree_functions(setup)
    access = access_functions(fp)
    load3, store3, add3 = access.load3, access.store3, access.add3
    contact: Any = rod_contact_functions(setup) if setup.eff else None
    self_contact: Any = self_contact_functions(setup) if setup.has_self_contact else None

    @ti.func
    def parent_of(mem: ti.template(), i):
        """Parent of node i; -1 for the root and for what does not exist."""
        result = -1
        if i >= 0:
            result = mem.integers[mem.integers[at.parents] + i]
        return result

    @ti.func
    def starts(mem: ti.template(), b, r_in, r_out):
        """Where old state, new state, parameters and working memory of world b start."""
        h = ti.static(mem.integers)
        old = r_in * h[STATE] + h[at.state]
        new = r_out * h[STATE] + h[at.state]
        params = b * h[PARAMETER] + h[at.properties]
        work = h[at.system] + b * h[at.count] * places.WORK_RECORD
        return old, new, params, work

    @ti.func
    def field(start, i, k):
        """Index of entry k of node i in a state that starts at ``start``."""
        return start + i * places.STATE_RECORD + k

    @ti.func
    def parameter(params, i, k):
        """Index of parameter k of node i."""
        return params + i * places.NODE_PARAMETERS + k

    @ti.func
    def is_second_order(mem: ti.template(), r_in):
        """1 if the step from this row has a step before it to build on."""
        h = ti.static(mem.integers)
        result = 0
        if h[at.second_order] != 0 and mem.frames[r_in * h[STATE] + h[at.history]] > 0.5:
            result = 1
        return result

    @ti.func
    def scheme(mem: ti.template(), second):
        """s, and the shares of the last and the last but one value in z_o."""
        s = 1 / mem.constants[DT]
        last = fp(1.0)
        before = fp(0.0)
        if second != 0:
            s *= fp(1.5)
            last = fp(4.0 / 3.0)
            before = fp(-1.0 / 3.0)
        return s, last, before

    @ti.func
    def edge(mem: ti.template(), start, i):
        """Unit tangent and length of node i's edge."""
        a = ti.static(mem.frames)
        e = load3(a, field(start, i, places.POSITION)) - load3(a, field(start, parent_of(mem, i), places.POSITION))
        length = ti.sqrt(e.dot(e))
        return e / length, length

    @ti.func
    def director(mem: ti.template(), start, i, t):
        """First director of node i's edge, made normal to the tangent t; and its length before normalisation."""
        m = load3(mem.frames, field(start, i, places.DIRECTOR))
        m -= t * t.dot(m)
        length = ti.sqrt(m.dot(m))
        return m / length, length

    @ti.func
    def measure(mem: ti.template(), start):
        """Writes the strains of all joints into the row itself."""
        for i in range(1, mem.integers[at.count]):
            p = parent_of(mem, i)
            if parent_of(mem, p) >= 0:
                t, _eps = edge(mem, start, p)
                u, _eps_f = edge(mem, start, i)
                m1, _m = director(mem, start, p, t)
                n1, _n = director(mem, start, i, u)
                store3(mem.frames, field(start, i, places.STRAIN), joint.strains(t, u, m1, n1))

    @ti.func
    def scales(mem: ti.template(), b):
        """Factors of bend stiffness, twist stiffness, mass and damping in this step."""
        h = ti.static(mem.integers)
        result = vec4(1)
        if h[at.scaled] != 0:
            for k in ti.static(range(4)):
                result[k] += mem.controls[b * h[CONTROL] + h[at.scale] + k]
        return result

    @ti.func
    def applied(mem: ti.template(), b, i):
        """Force on vertex i that is a control [N]."""
        h = ti.static(mem.integers)
        result = vec3(0)
        if h[at.forced] != 0:
            result = load3(mem.controls, b * h[CONTROL] + h[at.vertex_force] + 3 * i)
        return result

    @ti.func
    def moments(mem: ti.template(), params, i, p, s, strain, earlier, scale):
        """Moments w conjugate to the strains of node i's joint (bend, bend, twist), their elastic stiffness, viscous
        share and the joint's length."""
        a = ti.static(mem.parameters)
        length = (a[parameter(params, i, places.REST_LENGTH)] + a[parameter(params, p, places.REST_LENGTH)]) / 2
        stiffness = load3(a, parameter(params, i, places.BEND)) / length
        stiffness *= vec3(scale[places.BEND_SCALE], scale[places.BEND_SCALE], scale[places.TWIST_SCALE])
        s_damping = s * scale[places.DAMPING_SCALE]
        natural = load3(a, parameter(params, i, places.CURVATURE)) * length
        bend = s_damping * a[parameter(params, i, places.BEND_DAMPING)]
        viscous = vec3(bend, bend, s_damping * a[parameter(params, i, places.TWIST_DAMPING)])
        w = stiffness * (strain - natural + viscous * (strain - earlier))
        return w, stiffness, viscous, natural, length

    @ti.func
    def add_outer(mem: ti.template(), o, scale, p, q):
        """Adds scale p q' to the 3 x 3 corner of the 4 x 4 block at o."""
        for r in ti.static(range(3)):
            for c in ti.static(range(3)):
                mem.scratch[o + 4 * r + c] = mem.scratch[o + 4 * r + c] + scale * p[r] * q[c]

    @ti.func
    def add_block(mem: ti.template(), o, m):
        """Adds the 3 x 3 matrix m to the corner of the 4 x 4 block at o."""
        for r in ti.static(range(3)):
            for c in ti.static(range(3)):
                mem.scratch[o + 4 * r + c] = mem.scratch[o + 4 * r + c] + m[r, c]

    @ti.func
    def add_angles(mem: ti.template(), o, column, row, corner):
        """Adds to the entries of the block at o that belong to the angle: (position, angle), (angle, position)."""
        for r in ti.static(range(3)):
            mem.scratch[o + 4 * r + 3] = mem.scratch[o + 4 * r + 3] + column[r]
            mem.scratch[o + 12 + r] = mem.scratch[o + 12 + r] + row[r]
        mem.scratch[o + 15] = mem.scratch[o + 15] + corner

    @ti.func
    def add4(mem: ti.template(), o, v, angle):
        """Adds (v, angle) to the four entries at o."""
        add3(mem.scratch, o, v)
        mem.scratch[o + 3] = mem.scratch[o + 3] + angle

    @ti.func
    def clear(mem: ti.template(), work):
        """Sets the system, matrix and right-hand side, to zero."""
        for i in range(mem.integers[at.count]):
            o = tree.entry(work, i, 0)
            for k in range(places.SYSTEM):
                mem.scratch[o + k] = fp(0.0)

    @ti.func
    def vertices(mem: ti.template(), b, r_out, old, new, params, work, second, scale, reverse: ti.template()):
        """Inertia, drag, gravity and contact of each vertex."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        s, last, before = scheme(mem, second)
        gravity = load3(mem.parameters, b * h[PARAMETER] + h[at.world] + places.GRAVITY)
        for i in range(h[at.count]):
            o = tree.entry(work, i, 0)
            f = field(old, i, 0)
            z = load3(a, field(new, i, places.POSITION))
            x_o = load3(a, f + places.POSITION)
            v_o = last * load3(a, f + places.VELOCITY) + before * load3(a, f + places.OLD_VELOCITY)
            v = s * (z - last * x_o - before * load3(a, f + places.OLD_POSITION))
            speed = ti.sqrt(v.dot(v))
            m = scale[places.MASS_SCALE] * mem.parameters[parameter(params, i, places.MASS)]
            quadratic = mem.parameters[parameter(params, i, places.QUADRATIC_DRAG)]
            resistance = mem.parameters[parameter(params, i, places.DRAG)] + quadratic * speed
            force = m * (s * (v_o - v) + gravity) - resistance * v + applied(mem, b, i)
            if ti.static(has_effectors):
                if tree.is_free(mem, i):
                    for j in range(h[eff.count]):
                        push, k = contact.push(mem, b, r_out, j, x_o, z)
                        force += push
                        add_block(mem, o + places.BLOCK, k)
                        if ti.static(reverse):
                            # the force reported is minus the push; d push / dz = -k
                            add3(mem.scratch, o + places.SEED, k @ contact.force_cotangent(mem, b, j))
            if ti.static(not reverse):
                add3(mem.scratch, o + places.RIGHT, force)
            if speed > 0:
                add_outer(mem, o + places.BLOCK, s * quadratic / speed, v, v)
            for d in ti.static(range(3)):
                k = o + places.BLOCK + 5 * d
                mem.scratch[k] = mem.scratch[k] + s * (m * s + resistance)

    @ti.func
    def stretch(mem: ti.template(), new, params, work, exact, reverse: ti.template()):
        """E = K/(2 L) (eps - L)^2 of each edge; without ``exact``, compression lends no negative stiffness."""
        for i in range(1, mem.integers[at.count]):
            t, eps = edge(mem, new, i)
            rest = mem.parameters[parameter(params, i, places.REST_LENGTH)]
            rate = mem.parameters[parameter(params, i, places.STRETCH)] / rest
            tension = rate * (eps - rest)
            across = tension / eps
            if exact == 0:
                across = ti.max(across, fp(0.0))
            o = tree.entry(work, i, 0)
            q = tree.entry(work, parent_of(mem, i), 0)
            if ti.static(not reverse):
                add3(mem.scratch, o + places.RIGHT, -tension * t)
                add3(mem.scratch, q + places.RIGHT, tension * t)
            k = (rate - across) * t.outer_product(t)
            for d in ti.static(range(3)):
                k[d, d] += across
            add_block(mem, o + places.BLOCK, k)
            add_block(mem, q + places.BLOCK, k)
            add_block(mem, o + places.PARENT_BLOCK, -k)

    @ti.func
    def joints(mem: ti.template(), old, new, adj, params, work, second, exact, scale, reverse: ti.template()):
        """Bending and twisting. The matrix is sum_k dw_k/dq_k q_k' q_k'^T plus, if ``exact``, sum_k w_k q_k''.

        In reverse the derivatives of the strains are kept, and the cotangent of the new strains (in the row's cotangent
        at ``adj``) is pulled back to the seed of the unknowns.
        """
        a = ti.static(mem.frames)
        s, last, before = scheme(mem, second)
        for i in range(1, mem.integers[at.count]):
            p = parent_of(mem, i)
            g = parent_of(mem, p)
            if g >= 0:
                t, eps = edge(mem, new, p)
                u, eps_f = edge(mem, new, i)
                m1, _m = director(mem, new, p, t)
                n1, _n = director(mem, new, i, u)
                f = field(old, i, 0)
                earlier = last * load3(a, f + places.STRAIN) + before * load3(a, f + places.OLD_STRAIN)
                strain = joint.strains(t, u, m1, n1)
                w, stiffness, viscous, _natural, _length = moments(mem, params, i, p, s, strain, earlier, scale)
                oi = tree.entry(work, i, 0)
                op = tree.entry(work, p, 0)
                og = tree.entry(work, g, 0)
                for k in range(3):
                    unit = vec3(0)
                    weight = fp(0.0)
                    pull = fp(0.0)
                    for d in ti.static(range(3)):
                        if d == k:
                            unit[d] = fp(1.0)
                            weight = stiffness[d] * (1 + viscous[d])
                            pull = -w[d]
                    by_e, by_f, turn_e, turn_f = joint.slopes(t, u, m1, eps, eps_f, unit)
                    by_p = by_e - by_f
                    right = places.RIGHT
                    if ti.static(reverse):
                        right = places.SEED
                        pull = mem.adjoint[field(adj, i, places.STRAIN) + k]
                        kept = oi + places.DERIVATIVES + 8 * k
                        store3(mem.scratch, kept, by_e)
                        store3(mem.scratch, kept + 3, by_f)
                        mem.scratch[kept + 6] = turn_e
                        mem.scratch[kept + 7] = turn_f
                    add4(mem, oi + right, pull * by_f, pull * turn_f)
                    add4(mem, op + right, pull * by_p, pull * turn_e)
                    add4(mem, og + right, -pull * by_e, fp(0.0))
                    add_outer(mem, oi + places.BLOCK, weight, by_f, by_f)
                    add_outer(mem, op + places.BLOCK, weight, by_p, by_p)
                    add_outer(mem, og + places.BLOCK, weight, by_e, by_e)
                    add_outer(mem, oi + places.PARENT_BLOCK, weight, by_f, by_p)
                    add_outer(mem, oi + places.GRAND_BLOCK, -weight, by_f, by_e)
                    add_outer(mem, op + places.PARENT_BLOCK, -weight, by_p, by_e)
                    te = weight * turn_e
                    tf = weight * turn_f
                    add_angles(mem, oi + places.BLOCK, tf * by_f, tf * by_f, tf * turn_f)
                    add_angles(mem, op + places.BLOCK, te * by_p, te * by_p, te * turn_e)
                    add_angles(mem, oi + places.PARENT_BLOCK, te * by_f, tf * by_p, tf * turn_e)
                    add3(mem.scratch, oi + places.GRAND_BLOCK + 12, -tf * by_e)
                    add3(mem.scratch, op + places.PARENT_BLOCK + 12, -te * by_e)
                if exact != 0:
                    ee, ff, ef, turn_e, turn_f, corner = joint.bends(t, u, m1, eps, eps_f, w)
                    fe = ef.transpose()
                    add_block(mem, oi + places.BLOCK, ff)
                    add_block(mem, op + places.BLOCK, ee - ef - fe + ff)
                    add_block(mem, og + places.BLOCK, ee)
                    add_block(mem, oi + places.PARENT_BLOCK, fe - ff)
                    add_block(mem, oi + places.GRAND_BLOCK, -fe)
                    add_block(mem, op + places.PARENT_BLOCK, fe - ee)
                    add_angles(mem, op + places.BLOCK, turn_e - turn_f, turn_e - turn_f, corner)
                    add_angles(mem, oi + places.PARENT_BLOCK, turn_f, vec3(0), fp(0.0))
                    add3(mem.scratch, op + places.PARENT_BLOCK + 12, -turn_e)

    @ti.func
    def assemble(mem: ti.template(), b, r_in, r_out, second, exact, reverse: ti.template()):
        """Fills the system at the state of row r_out; the right-hand side is minus the residual (not in reverse)."""
        old, new, params, work = starts(mem, b, r_in, r_out)
        adj = b * mem.integers[STATE] + mem.integers[at.state]
        clear(mem, work)
        scale = scales(mem, b)
        vertices(mem, b, r_out, old, new, params, work, second, scale, reverse)
        stretch(mem, new, params, work, exact, reverse)
        joints(mem, old, new, adj, params, work, second, exact, scale, reverse)
        if ti.static(has_self_contact):
            self_contact.collect(mem, b, old, new)
            if ti.static(not reverse):
                self_contact.push(mem, b, work)

    @ti.func
    def solve(mem: ti.template(), b, work, region):
        """As ``solve`` of the tree, for the system in the given region with self-contact."""
        is_definite = tree.solve(mem, work, region)
        if ti.static(has_self_contact):
            self_contact.solve(mem, b, work, region)
        return is_definite

    return SimpleNamespace(
        joint=joint,
        tree=tree,
        contact=contact,
        self_contact=self_contact,
        load3=load3,
        store3=store3,
        add3=add3,
        parent_of=parent_of,
        starts=starts,
        field=field,
        parameter=parameter,
        is_second_order=is_second_order,
        scheme=scheme,
        edge=edge,
        director=director,
        measure=measure,
        scales=scales,
        applied=applied,
        moments=moments,
        assemble=assemble,
        solve=solve,
    )
