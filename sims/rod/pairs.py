"""Pairs of edges of a rod that touch each other: how they are found and listed, and the force between two edges.

Symbols as in ``self_contact.py``.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fields import DT, PARAMETER
from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.contact import onset_function
from pliant.sims.rod.linear import tree_functions
from pliant.sims.rod.places import Setup
from pliant.sims.rod.segments import segment_functions
from pliant.sims.runtime import ti


@cache
def pair_functions(setup: Setup) -> SimpleNamespace:
    """Records of the listed pairs of a world, and the force between two edges.

    ``old`` and ``new`` are where the rod's state starts in its rows before and after the step.
    """
    at, fp = setup.at, setup.fp
    vec3 = ti.types.vector(3, fp)
    vec4 = ti.types.vector(4, fp)
    mat3 = ti.types.matrix(3, 3, fp)
    ivec4 = ti.types.vector(4, ti.i32)
    load3 = access_functions(fp).load3
    onset = onset_function(fp)

    @ti.func
    def position(mem: ti.template(), start, i):
        """Position of vertex i in the state that starts at ``start``."""
        return load3(mem.frames, start + i * places.STATE_RECORD + places.POSITION)

    @ti.func
    def header(mem: ti.template(), b):
        """Where the list of pairs of world b starts."""
        h = ti.static(mem.integers)
        return h[at.pairs] + b * (places.PAIR_HEADER + 2 * h[at.self_capacity])

    @ti.func
    def record(mem: ti.template(), b, pair):
        """Where the numbers of a listed pair start; those of all pairs lie in a row."""
        h = ti.static(mem.integers)
        room = h[at.self_capacity]
        one = room * (places.PAIR_RECORD + 12 * h[at.count]) + 3 * room * (3 * room + 1)
        return h[at.self_work] + b * one + pair * places.PAIR_RECORD

    @ti.func
    def answers(mem: ti.template(), b, pair):
        """Where the answers of the tree to unit forces on a pair are."""
        h = ti.static(mem.integers)
        return record(mem, b, h[at.self_capacity]) + 12 * h[at.count] * pair

    @ti.func
    def laws(mem: ti.template(), b):
        """Where stiffness and friction are, their values and the friction speed."""
        h = ti.static(mem.integers)
        k = b * h[PARAMETER] + h[at.world] + places.SELF_STIFFNESS
        mu = b * h[PARAMETER] + h[at.world] + places.SELF_FRICTION
        c = mem.constants[h[at.numbers] + places.FRICTION_SPEED]
        return k, mu, mem.parameters[k], mem.parameters[mu], c

    @ti.func
    def width_of(mem: ti.template(), i, j):
        """Width of the onset between two edges, and the sum of their radii."""
        h = ti.static(mem.integers)
        radii = mem.constants[h[at.self_radii] + i] + mem.constants[h[at.self_radii] + j]
        return mem.constants[h[at.numbers] + places.SELF_ONSET] * radii / 2, radii

    @ti.func
    def nodes_of(mem: ti.template(), i, j):
        """The four vertices of edges i and j: parent of i, i, parent of j, j."""
        h = ti.static(mem.integers)
        return ivec4(h[h[at.parents] + i], i, h[h[at.parents] + j], j)

    @ti.func
    def weights_of(s, t):
        """Weights of the four vertices for nearest points at shares s and t of the edges: 1 - s, s, t - 1, -t."""
        return vec4(1 - s, s, t - 1, -t)

    @ti.func
    def pair_of(mem: ti.template(), b, pair):
        """Vertices of a listed pair and their weights."""
        o = header(mem, b) + places.PAIR_HEADER + 2 * pair
        r = record(mem, b, pair)
        nodes = nodes_of(mem, mem.integers[o], mem.integers[o + 1])
        return nodes, weights_of(mem.scratch[r + places.PLACE_S], mem.scratch[r + places.PLACE_T])

    @ti.func
    def stiffness_of(mem: ti.template(), b, pair):
        """K = -df/dq of a listed pair, (3, 3)."""
        r = record(mem, b, pair) + places.PAIR_STIFFNESS
        result = mat3(0)
        for p in ti.static(range(3)):
            for d in ti.static(range(3)):
                result[p, d] = mem.scratch[r + 3 * p + d]
        return result

    @ti.func
    def moved(mem: ti.template(), old, new, nodes, weights):
        """q = sum_k w_k (z_k - x_k)."""
        q = vec3(0)
        for k in ti.static(range(4)):
            q += weights[k] * (position(mem, new, nodes[k]) - position(mem, old, nodes[k]))
        return q

    @ti.func
    def force_of(mem: ti.template(), k, mu, c, width, gap, n, q):
        """Force of a pair and minus its derivative by q."""
        value, slope = onset(gap + n.dot(q), width)
        before, _slope = onset(gap, width)
        rate = 1 / mem.constants[DT]
        drag = mu * k * before
        u = (q - n * n.dot(q)) * rate
        inverse = 1 / ti.sqrt(u.dot(u) + c * c)
        e = u * inverse
        stiffness = -k * slope * n.outer_product(n)
        for p in ti.static(range(3)):
            for r in ti.static(range(3)):
                stiffness[p, r] -= drag * rate * inverse * (n[p] * n[r] + e[p] * e[r])
            stiffness[p, p] += drag * rate * inverse
        return k * value * n - drag * e, stiffness

    return SimpleNamespace(
        position=position,
        header=header,
        record=record,
        answers=answers,
        laws=laws,
        width_of=width_of,
        nodes_of=nodes_of,
        weights_of=weights_of,
        pair_of=pair_of,
        stiffness_of=stiffness_of,
        moved=moved,
        force_of=force_of,
    )


@cache
def listing_functions(setup: Setup) -> SimpleNamespace:
    """``collect(mem, b, old, new)``: lists the pairs of edges in contact, with their forces and stiffnesses.
    ``is_crowded(mem, b)``: whether the list was too short.
    """
    at, fp = setup.at, setup.fp
    store3 = access_functions(fp).store3
    segments = segment_functions(fp)
    tree = tree_functions(setup)
    pairs = pair_functions(setup)
    position, header, record, nodes_of = pairs.position, pairs.header, pairs.record, pairs.nodes_of
    laws, width_of, weights_of = pairs.laws, pairs.width_of, pairs.weights_of
    moved, force_of = pairs.moved, pairs.force_of

    @ti.func
    def is_pair(mem: ti.template(), i, j):
        """Whether two edges share no vertex and one of their vertices is free."""
        nodes = nodes_of(mem, i, j)
        result = nodes[0] != nodes[2] and nodes[2] != i
        if result:
            result = False
            for k in ti.static(range(4)):
                if tree.is_free(mem, nodes[k]):
                    result = True
        return result

    @ti.func
    def list_pair(mem: ti.template(), b, old, new, i, j, reach):
        """Lists a pair if it is in contact; ``reach``: how far a vertex comes in this step."""
        h = ti.static(mem.integers)
        nodes = nodes_of(mem, i, j)
        a = position(mem, old, nodes[0])
        c = position(mem, old, nodes[2])
        e = position(mem, old, i) - a
        f = position(mem, old, j) - c
        width, radii = width_of(mem, i, j)
        between = a - c + (e - f) / 2
        limit = ti.sqrt(e.dot(e)) / 2 + ti.sqrt(f.dot(f)) / 2 + radii + width + 2 * reach
        if between.dot(between) < limit * limit:
            s, t = segments.nearest(e, f, a - c)
            w = a - c + s * e - t * f
            distance = ti.max(ti.sqrt(w.dot(w)), fp(1e-12))
            n = w / distance
            gap = distance - radii
            q = moved(mem, old, new, nodes, weights_of(s, t))
            if ti.min(gap, gap + n.dot(q)) < width:
                o = header(mem, b)
                pair = h[o + places.PAIR_COUNT]
                if pair < h[at.self_capacity]:
                    h[o + places.PAIR_COUNT] = pair + 1
                    h[o + places.PAIR_HEADER + 2 * pair] = i
                    h[o + places.PAIR_HEADER + 2 * pair + 1] = j
                    _k, _mu, k, mu, slow = laws(mem, b)
                    force, stiffness = force_of(mem, k, mu, slow, width, gap, n, q)
                    r = record(mem, b, pair)
                    mem.scratch[r + places.PLACE_S] = s
                    mem.scratch[r + places.PLACE_T] = t
                    mem.scratch[r + places.PAIR_GAP] = gap
                    store3(mem.scratch, r + places.PAIR_NORMAL, n)
                    store3(mem.scratch, r + places.PAIR_FORCE, force)
                    for p in ti.static(range(3)):
                        for d in ti.static(range(3)):
                            mem.scratch[r + places.PAIR_STIFFNESS + 3 * p + d] = stiffness[p, d]
                else:
                    h[o + places.PAIRS_LOST] = 1

    @ti.func
    def collect(mem: ti.template(), b, old, new):
        """Lists the pairs of edges in contact, with their forces and stiffnesses."""
        h = ti.static(mem.integers)
        n = h[at.count]
        o = header(mem, b)
        h[o + places.PAIR_COUNT] = 0
        h[o + places.PAIRS_LOST] = 0
        reach = fp(0.0)
        for i in range(n):
            move = position(mem, new, i) - position(mem, old, i)
            reach = ti.max(reach, move.dot(move))
        reach = ti.sqrt(reach)
        for i in range(1, n):
            for j in range(i + 1, n):
                if is_pair(mem, i, j):
                    list_pair(mem, b, old, new, i, j, reach)

    @ti.func
    def is_crowded(mem: ti.template(), b):
        """Whether the last list had no room for a pair."""
        return mem.integers[header(mem, b) + places.PAIRS_LOST] == 1

    return SimpleNamespace(collect=collect, is_crowded=is_crowded)
