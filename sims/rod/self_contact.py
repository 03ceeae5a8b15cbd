"""Contact of a rod with itself: pairs of edges that share no vertex, as capsules, with friction.

As in contact with effectors (``contact.py``), the geometry is that before the step. It consists of the nearest points
of both centre lines (``segments.py``) with the weights w_k of their four vertices, sum_k w_k = 0, the unit vector n
from one to the other, and the gap, their distance less both radii. The force of an implicit step is then a function of
q = sum_k w_k (z_k - x_k) alone (``pairs.py``):

    normal force  k h(gap + n.q) n, with the onset h of contact with effectors
    friction      -mu N_o u/sqrt(|u|^2 + c^2), u the part of q/dt normal to n, N_o = k h(gap)

Vertex k gets w_k times the force f. There is no resultant. The only moment about the nearest points is that of
friction, which acts on the centre lines, not on the surfaces, and so does not roll the rods. Where a nearest point
passes from one edge to the next, both pairs act.

A pair couples vertices that the tree does not. The system is T + sum_pairs W^T K W, with T that of the tree
(``linear.py``), W (3 rows) the weights and K = -df/dq, symmetric. By Woodbury's formula its solution is that of T less
T^-1 W^T y with (1 + K W T^-1 W^T) y = K W T^-1 r, a dense system of three rows for each pair in contact. The adjoint
solves the same system.

What is not smooth: a nearest point that reaches an end of its edge, centre lines that meet (n is lost).
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import DT
from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.contact import onset_function
from pliant.sims.rod.linear import dense_solver, tree_functions
from pliant.sims.rod.pairs import listing_functions, pair_functions
from pliant.sims.rod.places import Setup
from pliant.sims.rod.segments import segment_functions
from pliant.sims.runtime import ti


@cache
def coupled_solver(setup: Setup) -> Any:
    """``solve(mem, b, work, region)``: makes the solution of the tree's system, factored, that of the whole system."""
    at, fp = setup.at, setup.fp
    vec3 = ti.types.vector(3, fp)
    mat3 = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, add = access.load3, access.add
    tree = tree_functions(setup)
    dense = dense_solver(fp)
    pairs = pair_functions(setup)
    header, answers, pair_of, stiffness_of = pairs.header, pairs.answers, pairs.pair_of, pairs.stiffness_of

    @ti.func
    def solve(mem: ti.template(), b, work, region):
        """Woodbury's formula: takes T^-1 W^T y off the solution of the tree's system."""
        h = ti.static(mem.integers)
        a = ti.static(mem.scratch)
        count = h[header(mem, b) + places.PAIR_COUNT]
        entries = 12 * h[at.count]
        for pair in range(count):
            nodes, weights = pair_of(mem, b, pair)
            o = answers(mem, b, pair)
            for k in range(entries):
                a[o + k] = fp(0.0)
            for k in ti.static(range(4)):
                for d in ti.static(range(3)):
                    a[o + 12 * nodes[k] + 4 * d] = weights[k]
            tree.solve_again(mem, work, region, o)
        matrix = answers(mem, b, h[at.self_capacity])
        size = 3 * count
        for pair in range(count):
            nodes, weights = pair_of(mem, b, pair)
            K = stiffness_of(mem, b, pair)
            for other in range(count):
                o = answers(mem, b, other)
                S = mat3(0)
                for k in ti.static(range(4)):
                    for r in ti.static(range(3)):
                        for c in ti.static(range(3)):
                            S[r, c] += weights[k] * a[o + 12 * nodes[k] + 3 * r + c]
                KS = K @ S
                for r in ti.static(range(3)):
                    for c in ti.static(range(3)):
                        a[matrix + (3 * pair + r) * (size + 1) + 3 * other + c] = KS[r, c]
            q = vec3(0)
            for k in ti.static(range(4)):
                q += weights[k] * load3(a, tree.entry(work, nodes[k], region + places.RIGHT))
            right = K @ q
            for r in ti.static(range(3)):
                add(a, matrix + (3 * pair + r) * (size + 1) + 3 * pair + r, fp(1.0))
                a[matrix + (3 * pair + r) * (size + 1) + size] = right[r]
        dense(mem, matrix, size)
        for pair in range(count):
            o = answers(mem, b, pair)
            y = vec3(0)
            for d in ti.static(range(3)):
                y[d] = a[matrix + (3 * pair + d) * (size + 1) + size]
            for i in range(h[at.count]):
                for d in ti.static(range(4)):
                    add(a, tree.entry(work, i, region + places.RIGHT) + d, -load3(a, o + 12 * i + 3 * d).dot(y))

    return solve


@cache
def self_contact_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one floating-point type; ``old`` and ``new`` are where the rod's state starts in its rows
    before and after the step, ``work`` where its working memory starts.

    ``collect(mem, b, old, new)``: lists the pairs of edges in contact, with their forces and stiffnesses.
    ``push(mem, b, work)``: adds their forces to the right-hand side.
    ``potential(mem, b, old, new)``: what the forces are minus the derivative of, by the new positions.
    ``solve(mem, b, work, region)``: makes the solution of the tree's system, factored, that of the whole system.
    ``push_adjoint(mem, b, old, new, work)``: with l the multiplier, takes K l off the seeds and adds the cotangents of
    l.force to stiffness and friction, and to those of the old positions.
    ``is_crowded(mem, b)``: whether the list was too short.
    """
    fp = setup.fp
    vec3 = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, add, add3 = access.load3, access.add, access.add3
    onset = onset_function(fp)
    segments = segment_functions(fp)
    tree = tree_functions(setup)
    pairs, listing = pair_functions(setup), listing_functions(setup)
    position, header, record, pair_of = pairs.position, pairs.header, pairs.record, pairs.pair_of
    laws, width_of, stiffness_of, moved = pairs.laws, pairs.width_of, pairs.stiffness_of, pairs.moved
    collect = listing.collect

    @ti.func
    def push(mem: ti.template(), b, work):
        """Adds w_k f of each listed pair to the right-hand sides of its vertices."""
        for pair in range(mem.integers[header(mem, b) + places.PAIR_COUNT]):
            nodes, weights = pair_of(mem, b, pair)
            force = load3(mem.scratch, record(mem, b, pair) + places.PAIR_FORCE)
            for k in ti.static(range(4)):
                add3(mem.scratch, tree.entry(work, nodes[k], places.RIGHT), weights[k] * force)

    @ti.func
    def potential(mem: ti.template(), b, old, new):
        """Potential of all pairs [J], whose derivative by the new positions is minus their forces."""
        h = ti.static(mem.integers)
        collect(mem, b, old, new)
        energy = fp(0.0)
        _k, _mu, k, mu, c = laws(mem, b)
        dt = mem.constants[DT]
        o = header(mem, b)
        for pair in range(h[o + places.PAIR_COUNT]):
            nodes, weights = pair_of(mem, b, pair)
            listed = o + places.PAIR_HEADER + 2 * pair
            width, _radii = width_of(mem, h[listed], h[listed + 1])
            r = record(mem, b, pair)
            gap = mem.scratch[r + places.PAIR_GAP]
            n = load3(mem.scratch, r + places.PAIR_NORMAL)
            q = moved(mem, old, new, nodes, weights)
            g = gap + n.dot(q)
            if g < -width:
                energy += k * (g * g / 2 + width * width / 6)
            elif g < width:
                energy += k * (width - g) ** 3 / (12 * width)
            before, _slope = onset(gap, width)
            u = (q - n * n.dot(q)) / dt
            energy += mu * k * before * dt * ti.sqrt(u.dot(u) + c * c)
        return energy

    @ti.func
    def push_adjoint(mem: ti.template(), b, old, new, work):
        """With a = sum_k w_k l_k, g = gap + n.q, u = (q - n n.q)/dt and r = sqrt(|u|^2 + c^2):

        a.force = k h(g) a.n - mu k h(gap) a.u/r,  d w = d x_0 - d x_2 + s d e - t d f + e d s - f d t,

        w = rho n from one nearest point to the other, e and f the edges; rho depends on the places s and t by
        ``ROUND`` only, n and the weights depend on them as well."""
        h = ti.static(mem.integers)
        k_at, mu_at, k, mu, c = laws(mem, b)
        bars = ti.static(mem.parameter_adjoint)
        rate = 1 / mem.constants[DT]
        for pair in range(h[header(mem, b) + places.PAIR_COUNT]):
            nodes, weights = pair_of(mem, b, pair)
            r_at = record(mem, b, pair)
            s = mem.scratch[r_at + places.PLACE_S]
            t = mem.scratch[r_at + places.PLACE_T]
            gap = mem.scratch[r_at + places.PAIR_GAP]
            n = load3(mem.scratch, r_at + places.PAIR_NORMAL)
            force = load3(mem.scratch, r_at + places.PAIR_FORCE)
            width, radii = width_of(mem, nodes[1], nodes[3])
            q = moved(mem, old, new, nodes, weights)
            l = vec3(0)
            for v in ti.static(range(4)):
                l += weights[v] * load3(mem.scratch, tree.entry(work, nodes[v], places.MULTIPLIER))
            taken = stiffness_of(mem, b, pair) @ l
            value, slope = onset(gap + n.dot(q), width)
            before, slope_before = onset(gap, width)
            along = l.dot(n)
            u = (q - n * n.dot(q)) * rate
            inverse = 1 / ti.sqrt(u.dot(u) + c * c)
            work_done = l.dot(u) * inverse
            add(bars, k_at, value * along - mu * before * work_done)
            add(bars, mu_at, -k * before * work_done)
            near_bar = k * slope * along
            gap_bar = near_bar - mu * k * slope_before * work_done
            u_bar = -mu * k * before * inverse * rate * (l - u * (work_done * inverse))
            n_bar = k * value * l + near_bar * q - n.dot(q) * u_bar - n.dot(u_bar) * q
            q_bar = near_bar * n + u_bar - n * n.dot(u_bar)
            w_bar = (n_bar - n * n.dot(n_bar)) / (gap + radii) + gap_bar * n
            edge_e = position(mem, old, nodes[1]) - position(mem, old, nodes[0])
            edge_f = position(mem, old, nodes[3]) - position(mem, old, nodes[2])
            apart = position(mem, old, nodes[0]) - position(mem, old, nodes[2])
            s_bar = w_bar.dot(edge_e)
            t_bar = -w_bar.dot(edge_f)
            for v in ti.static(range(4)):
                moves = position(mem, new, nodes[v]) - position(mem, old, nodes[v])
                multiplier = load3(mem.scratch, tree.entry(work, nodes[v], places.MULTIPLIER))
                weight_bar = multiplier.dot(force) + q_bar.dot(moves)
                sign = ti.static((-1.0, 1.0, 1.0, -1.0)[v])  # of the weight's derivative by s or t
                if ti.static(v < 2):
                    s_bar += sign * weight_bar
                else:
                    t_bar += sign * weight_bar
            e_bar, f_bar, r_bar = segments.nearest_adjoint(edge_e, edge_f, apart, s, t, s_bar, t_bar)
            e_bar += s * w_bar
            f_bar -= t * w_bar
            r_bar += w_bar
            for v in ti.static(range(4)):
                add3(mem.scratch, tree.entry(work, nodes[v], places.SEED), -weights[v] * taken)
                x_bar = -weights[v] * q_bar
                if ti.static(v == 0):
                    x_bar += r_bar - e_bar
                elif ti.static(v == 1):
                    x_bar += e_bar
                elif ti.static(v == 2):
                    x_bar -= r_bar + f_bar
                else:
                    x_bar += f_bar
                add3(mem.scratch, tree.entry(work, nodes[v], places.COTANGENT) + places.POSITION, x_bar)

    return SimpleNamespace(
        collect=collect,
        push=push,
        potential=potential,
        solve=coupled_solver(setup),
        push_adjoint=push_adjoint,
        is_crowded=listing.is_crowded,
    )
