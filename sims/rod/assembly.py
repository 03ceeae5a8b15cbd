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

from pliant.sims.fields import PARAMETER, STATE
from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.contact import rod_contact_functions
from pliant.sims.rod.energies import joint_functions
from pliant.sims.rod.linear import tree_functions
from pliant.sims.rod.places import Setup
from pliant.sims.rod.quantities import quantity_functions
from pliant.sims.rod.self_contact import self_contact_functions
from pliant.sims.runtime import ti


@cache
def block_functions(setup: Setup) -> SimpleNamespace:
    """What is added to the 4 x 4 blocks of the matrix and to the right-hand sides; ``o`` is where a block starts."""
    at, fp = setup.at, setup.fp
    tree = tree_functions(setup)
    add3 = access_functions(fp).add3

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

    return SimpleNamespace(add_outer=add_outer, add_block=add_block, add_angles=add_angles, add4=add4, clear=clear)


@cache
def vertex_terms(setup: Setup) -> Any:
    """``vertices``: what each vertex by itself adds to the system."""
    at, fp, has_effectors = setup.at, setup.fp, setup.eff is not None
    eff: Any = setup.eff
    tree = tree_functions(setup)
    access = access_functions(fp)
    load3, add3 = access.load3, access.add3
    contact: Any = rod_contact_functions(setup) if setup.eff else None
    quantities, blocks = quantity_functions(setup), block_functions(setup)
    field, parameter, scheme, applied = quantities.field, quantities.parameter, quantities.scheme, quantities.applied
    add_block, add_outer = blocks.add_block, blocks.add_outer

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

    return vertices


@cache
def edge_terms(setup: Setup) -> SimpleNamespace:
    """``stretch`` and ``joints``: what edges and the joints between them add to the system."""
    at, fp = setup.at, setup.fp
    vec3 = ti.types.vector(3, fp)
    joint = joint_functions(fp)
    tree = tree_functions(setup)
    access = access_functions(fp)
    load3, store3, add3 = access.load3, access.store3, access.add3
    quantities, blocks = quantity_functions(setup), block_functions(setup)
    parent_of, field, parameter, scheme = (
        quantities.parent_of,
        quantities.field,
        quantities.parameter,
        quantities.scheme,
    )
    edge, director, moments = quantities.edge, quantities.director, quantities.moments
    add_outer, add_block, add_angles, add4 = blocks.add_outer, blocks.add_block, blocks.add_angles, blocks.add4

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

    return SimpleNamespace(stretch=stretch, joints=joints)


@cache
def assembly_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one floating-point type and the kinds of shapes that may be touched, maybe with self-contact:
    ``assemble`` and ``solve``, and all that the step and its adjoint need besides.

    Throughout, ``old`` and ``new`` are where the rod's state starts in the rows before and after the step, ``params``
    where its parameters start, ``work`` where its working memory starts.
    """
    at, fp, has_self_contact = setup.at, setup.fp, setup.has_self_contact
    joint = joint_functions(fp)
    tree = tree_functions(setup)
    access = access_functions(fp)
    contact: Any = rod_contact_functions(setup) if setup.eff else None
    self_contact: Any = self_contact_functions(setup) if setup.has_self_contact else None
    quantities = quantity_functions(setup)
    starts, scales = quantities.starts, quantities.scales
    clear, vertices, edges = block_functions(setup).clear, vertex_terms(setup), edge_terms(setup)
    stretch, joints = edges.stretch, edges.joints

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
        load3=access.load3,
        store3=access.store3,
        add3=access.add3,
        assemble=assemble,
        solve=solve,
        **vars(quantities),
    )
