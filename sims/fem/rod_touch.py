"""Contact of gels with a rod.

A rod is round: its edges are capsules. A point at X is touched by the edge whose axis is nearest, at c = a + t (b - a),
t within 0...1: with d = X - c the gap is |d| - radius, the normal d / |d|, the velocity that of the axis there. The
force F on the gel acts on the vertices a and b as -(1 - t) F and -t F: momentum is kept. The rod's step takes it up as
a constant force. Points look only at edges that come near the box around all points of their gel.

In reverse the rod's step has left the cotangents l of the forces on its vertices:

    F_bar -= (1 - t) l_a + t l_b,   t_bar = F.(l_a - l_b) + v_bar.(v_b - v_a) - d_bar.(b - a)

and t = (X - a).e / e.e, e = b - a, where it is not at an end.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import touch_places as own
from pliant.sims.fem.touch_places import TouchSetup
from pliant.sims.fem.touch_points import point_functions
from pliant.sims.fem.touch_stages import touch_stages
from pliant.sims.fields import STATE
from pliant.sims.math.access import access_functions
from pliant.sims.part import Pass, Stages
from pliant.sims.rod import places as matter_places
from pliant.sims.rod.quantities import quantity_functions
from pliant.sims.runtime import ti


@cache
def rod_touch_functions(setup: TouchSetup) -> SimpleNamespace:
    """``search(mem, b, g, row_in)``: the edges near gel g.  ``press(mem, b, i, row_in, row_out)``: force on point i.
    ``share(mem, b, v)``: force on vertex v.  ``press_back``, ``share_back``: their adjoints."""
    at, gel, fp = setup.at, setup.gel.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3, add3 = access.load3, access.store3, access.add3
    points, rod, matter = point_functions(setup), quantity_functions(setup.matter), setup.matter.at

    @ti.func
    def radius_of(mem: ti.template()):
        """Radius of the rod."""
        return mem.constants[mem.integers[matter.numbers] + matter_places.RADIUS]

    @ti.func
    def place_of(mem: ti.template(), row, v):
        """Place of vertex v."""
        h = ti.static(mem.integers)
        return load3(mem.frames, rod.field(row * h[STATE] + h[matter.state], v, matter_places.POSITION))

    @ti.func
    def velocity_of(mem: ti.template(), row, v):
        """Velocity of vertex v."""
        h = ti.static(mem.integers)
        return load3(mem.frames, rod.field(row * h[STATE] + h[matter.state], v, matter_places.VELOCITY))

    @ti.func
    def work_of(mem: ti.template(), b, i):
        """Where what is kept of point i for the rod begins."""
        h = ti.static(mem.integers)
        return h[at.rod_work] + (b * h[at.points] + i) * own.ROD_WORK

    @ti.func
    def edge_at(mem: ti.template(), b, i):
        """Where the edge that is nearest to point i is told: its node, or 0."""
        h = ti.static(mem.integers)
        return h[at.nearest] + b * h[at.points] + i

    @ti.func
    def list_at(mem: ti.template(), b, g):
        """Where the number of edges near gel g and their list begin."""
        h = ti.static(mem.integers)
        return h[at.near] + (b * h[gel.gels] + g) * (h[matter.count] + 1)

    @ti.func
    def search(mem: ti.template(), b, g, row_in):
        """The edges that come near the box around the points of gel g."""
        h = ti.static(mem.integers)
        low, high = vec(fp(1e30)), vec(fp(-1e30))
        for i in range(h[at.points]):
            if points.gel_of(mem, i) == g:
                X = load3(mem.scratch, points.work_of(mem, b, i) + own.PLACE)
                low, high = ti.min(low, X), ti.max(high, X)
        reach = 2 * radius_of(mem)
        o, count = list_at(mem, b, g), 0
        for v in range(1, h[matter.count]):
            one, other = place_of(mem, row_in, v), place_of(mem, row_in, rod.parent_of(mem, v))
            apart = ti.max(ti.min(one, other) - high, low - ti.max(one, other))
            if apart.max() < reach:
                count += 1
                h[o + count] = v
        h[o] = count

    @ti.func
    def nearest_of(X, a, c):
        """Share of c in the nearest place of the segment from a to c, and whether that lies within."""
        e = c - a
        t = (X - a).dot(e) / e.dot(e)
        within = t > 0 and t < 1
        return ti.max(fp(0.0), ti.min(fp(1.0), t)), within

    @ti.func
    def press(mem: ti.template(), b, i, row_in, row_out):
        """Force on point i, its new state."""
        h = ti.static(mem.integers)
        X = load3(mem.scratch, points.work_of(mem, b, i) + own.PLACE)
        o = list_at(mem, b, points.gel_of(mem, i))
        best, least, share = 0, fp(1e30), fp(0.0)
        for n in range(h[o]):
            v = h[o + 1 + n]
            a, c = place_of(mem, row_in, rod.parent_of(mem, v)), place_of(mem, row_in, v)
            t, _within = nearest_of(X, a, c)
            d = X - a - t * (c - a)
            square = d.dot(d)
            if square < least:
                best, least, share = v, square, t
        gap = ti.sqrt(least) - radius_of(mem)
        if best > 0 and gap < radius_of(mem) and least > 0:
            p = rod.parent_of(mem, best)
            a, c = place_of(mem, row_in, p), place_of(mem, row_in, best)
            m = (X - a - share * (c - a)) / ti.sqrt(least)
            v = (1 - share) * velocity_of(mem, row_in, p) + share * velocity_of(mem, row_in, best)
            points.respond(mem, b, i, row_in, row_out, gap, m, v)
        else:
            best = 0
            points.release(mem, b, i, row_out)
        h[edge_at(mem, b, i)] = best
        mem.scratch[work_of(mem, b, i) + own.SHARE] = share

    @ti.func
    def share(mem: ti.template(), b, v):
        """The force on vertex v."""
        h = ti.static(mem.integers)
        total = vec(0)
        for i in range(h[at.points]):
            edge = h[edge_at(mem, b, i)]
            if edge > 0:
                t = mem.scratch[work_of(mem, b, i) + own.SHARE]
                if edge == v:
                    total -= t * load3(mem.scratch, points.work_of(mem, b, i) + own.FORCE)
                elif rod.parent_of(mem, edge) == v:
                    total -= (1 - t) * load3(mem.scratch, points.work_of(mem, b, i) + own.FORCE)
        store3(mem.scratch, h[at.kicks] + 3 * (b * h[matter.count] + v), total)

    @ti.func
    def bar_of(mem: ti.template(), b, v):
        """The cotangent of the force on vertex v."""
        h = ti.static(mem.integers)
        return load3(mem.scratch, h[at.kick_bars] + 3 * (b * h[matter.count] + v))

    @ti.func
    def press_back(mem: ti.template(), b, c, i, row_in):
        """What the force on point i leaves to its old state and place; what it leaves to the vertices is kept."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        w, o, best = points.work_of(mem, b, i), work_of(mem, b, i), h[edge_at(mem, b, i)]
        first_bar, second_bar, mean_bar = vec(0), vec(0), vec(0)
        if best > 0 and s[w + own.ACTIVE] > 0:
            p, t = rod.parent_of(mem, best), s[o + own.SHARE]
            X, force, mean = load3(s, w + own.PLACE), load3(s, w + own.FORCE), load3(s, w + own.MEAN)
            a, e = place_of(mem, row_in, p), place_of(mem, row_in, best) - place_of(mem, row_in, p)
            d = X - a - t * e
            length = ti.sqrt(d.dot(d))
            m = d / length
            l_first, l_second = bar_of(mem, b, p), bar_of(mem, b, best)
            force_bar = points.push_bar_of(mem, b, i) - (1 - t) * l_first - t * l_second
            gap_bar, m_bar, v_bar = points.respond_back(mem, b, c, i, row_in, s[w + own.GAP], m, mean, force, force_bar)
            mean_bar = v_bar
            d_bar = gap_bar * m + (m_bar - m * m.dot(m_bar)) / length
            X_bar = d_bar
            first_bar, second_bar = -(1 - t) * d_bar, -t * d_bar
            _t, within = nearest_of(X, a, a + e)
            if within:
                change = velocity_of(mem, row_in, best) - velocity_of(mem, row_in, p)
                t_bar = force.dot(l_first - l_second) + v_bar.dot(change) - d_bar.dot(e)
                along_bar = t_bar / e.dot(e)
                e_bar = along_bar * (X - a - 2 * t * e)
                X_bar += along_bar * e
                first_bar -= along_bar * e + e_bar
                second_bar += e_bar
            store3(s, w + own.PLACE_BAR, X_bar)
        else:
            points.release_back(mem, b, i)
        store3(s, o + own.FIRST_BAR, first_bar)
        store3(s, o + own.SECOND_BAR, second_bar)
        store3(s, o + own.MEAN_BAR, mean_bar)

    @ti.func
    def share_back(mem: ti.template(), b, v):
        """What points leave to vertex v."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        place_bar, velocity_bar = vec(0), vec(0)
        for i in range(h[at.points]):
            edge = h[edge_at(mem, b, i)]
            if edge > 0:
                o = work_of(mem, b, i)
                if edge == v:
                    place_bar += load3(s, o + own.SECOND_BAR)
                    velocity_bar += s[o + own.SHARE] * load3(s, o + own.MEAN_BAR)
                elif rod.parent_of(mem, edge) == v:
                    place_bar += load3(s, o + own.FIRST_BAR)
                    velocity_bar += (1 - s[o + own.SHARE]) * load3(s, o + own.MEAN_BAR)
        state = b * h[STATE] + h[matter.state]
        add3(mem.adjoint, rod.field(state, v, matter_places.POSITION), place_bar)
        add3(mem.adjoint, rod.field(state, v, matter_places.VELOCITY), velocity_bar)

    return SimpleNamespace(search=search, press=press, share=share, press_back=press_back, share_back=share_back)


@cache
def rod_touch_stages(setup: TouchSetup) -> Stages:
    """See ``touch_stages``."""
    at, touch = setup.at, rod_touch_functions(setup)

    @ti.func
    def search(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Edges near gels first to stop - 1."""
        for g in range(first, stop):
            touch.search(mem, b, g, row_in)

    @ti.func
    def press(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on points first to stop - 1."""
        for i in range(first, stop):
            touch.press(mem, b, i, row_in, row_out)

    @ti.func
    def share(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on vertices first to stop - 1."""
        for v in range(first, stop):
            touch.share(mem, b, v)

    @ti.func
    def press_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What the forces on points first to stop - 1 depend on."""
        for i in range(first, stop):
            touch.press_back(mem, b, c, i, row_in)

    @ti.func
    def share_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What they leave to vertices first to stop - 1."""
        for v in range(first, stop):
            touch.share_back(mem, b, v)

    vertices = setup.matter.at.count
    forces = [Pass(search, setup.gel.at.gels), Pass(press, at.points), Pass(share, vertices)]
    settles = [Pass(press_back, at.points), Pass(share_back, vertices)]
    return touch_stages(setup, forces, settles, has_normals=False)
