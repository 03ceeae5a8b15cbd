"""Contact of gels with the particles of the material point method.

With the quadratic spline W of width r (a cell of the grid), of integral one, and volumes V_p at rest a point at X sees

    fill phi = sum V_p W(X - x_p),   velocity v = sum V_p W v_p / phi,   gap g = (phi_0 - phi) r / 0.75.

phi is a half where X lies on the surface of matter, and 0.75 / r is the slope of phi there, so that the gap is a
distance near the surface. The surface that is touched looks against the gel's own normal. A force F on the point is
shared by the particles, f_p = -F V_p W / phi: its sum is -F. The particles' step takes dt f_p up with their momenta.

In reverse, with the cotangents b_p of f_p, which the particles' step has left as those of their velocities over m_p /
dt, and G = sum b_p V_p W / phi,

    F_bar -= G,   phi_bar += F.G / phi,   X_bar += sum V_p grad W (phi_bar + M_bar.v_p - b_p.F / phi),

M_bar = v_bar / phi being the cotangent of sum V_p W v_p; x_p takes minus its share of X_bar, v_p takes V_p W M_bar.
"""

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

from pliant.sims.fem import touch_places as own
from pliant.sims.fem.bins import bin_functions
from pliant.sims.fem.touch_places import TouchSetup
from pliant.sims.fem.touch_points import point_functions
from pliant.sims.fields import DT
from pliant.sims.math.access import access_functions
from pliant.sims.mpm import places as matter_places
from pliant.sims.mpm.transfers.particle import particle_functions
from pliant.sims.runtime import ti

SURFACE = 0.5
"""Fill at the surface of matter."""

SLOPE = 0.75
"""Slope of the fill there, per width of the kernel."""

LEAST_FILL = 0.1
"""Fill below which nothing is touched: far outside the reach of the force."""


@cache
def kernel_functions(fp) -> SimpleNamespace:
    """``weight(d, r)``: W at the distance vector d for the width r.  ``weight_slope(d, r)``: W and its gradient."""
    vec = ti.types.vector(3, fp)

    @ti.func
    def spline(s):
        """The quadratic spline at s and its derivative, without branches."""
        a = ti.abs(s)
        p, q = ti.max(fp(1.5) - a, fp(0.0)), ti.max(fp(0.5) - a, fp(0.0))
        return fp(0.5) * p * p - fp(1.5) * q * q, ti.select(s < 0, p - 3 * q, 3 * q - p)

    @ti.func
    def weight(d, r):
        """W"""
        inverse = 1 / r
        x, _x = spline(d[0] * inverse)
        y, _y = spline(d[1] * inverse)
        z, _z = spline(d[2] * inverse)
        return x * y * z * (inverse * inverse * inverse)

    @ti.func
    def weight_slope(d, r):
        """W and its gradient."""
        inverse = 1 / r
        x, dx = spline(d[0] * inverse)
        y, dy = spline(d[1] * inverse)
        z, dz = spline(d[2] * inverse)
        scale = inverse * inverse * inverse
        return x * y * z * scale, vec(dx * y * z, x * dy * z, x * y * dz) * (scale * inverse)

    return SimpleNamespace(weight=weight, weight_slope=weight_slope)


@cache
def list_functions(setup: TouchSetup) -> SimpleNamespace:
    """``list_particle(mem, b, s, row_in)``, ``list_bar``: what points see of the particle of slot s.  ``seen_at``,
    ``listed_at``: where what is seen of the point, or the particle, of a slot begins.  ``particle_of``, ``point_of``:
    who has a slot.  ``kick_at``: where the force on a particle begins.  ``sum_over_particles(size, term)``,
    ``sum_over_points``: a function (mem, b, x, here) that sums the vectors term(mem, x, here, there) of particles, or
    of points that may be touched, near x; here and there: where what is seen of both begins."""
    at, fp = setup.at, setup.fp
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    bins, particle, matter = bin_functions(setup), particle_functions(setup.matter), setup.matter.at

    @ti.func
    def seen_at(mem: ti.template(), b, s):
        """Where what particles see of the point of slot s begins."""
        h = ti.static(mem.integers)
        return h[at.seen] + (b * h[at.points] + s) * own.SEEN

    @ti.func
    def listed_at(mem: ti.template(), b, s):
        """Where what points see of the particle of slot s begins."""
        h = ti.static(mem.integers)
        return h[at.listed] + (b * h[at.particles] + s) * own.LISTED

    @ti.func
    def particle_of(mem: ti.template(), b, s):
        """The particle of slot s."""
        _starts, order = bins.particle_list(mem, b)
        return mem.integers[order + s]

    @ti.func
    def point_of(mem: ti.template(), b, s):
        """The point of slot s."""
        _starts, order = bins.point_list(mem, b)
        return mem.integers[order + s]

    @ti.func
    def kick_at(mem: ti.template(), b, n):
        """Where the force on particle n begins."""
        h = ti.static(mem.integers)
        return h[at.kicks] + 3 * (b * h[at.particles] + n)

    @ti.func
    def list_particle(mem: ti.template(), b, s, row_in):
        """Place, velocity and volume of the particle of slot s, side by side."""
        n, o = particle_of(mem, b, s), listed_at(mem, b, s)
        x = particle.state_of(mem, row_in, n)
        store3(mem.scratch, o + own.LISTED_PLACE, load3(mem.frames, x))
        store3(mem.scratch, o + own.LISTED_VELOCITY, load3(mem.frames, x + 3))
        mem.scratch[o + own.LISTED_VOLUME] = mem.constants[mem.integers[matter.volumes] + n]

    @ti.func
    def list_bar(mem: ti.template(), b, s):
        """The cotangent of the force on the particle of slot s: that of its momentum, times dt."""
        n, o = particle_of(mem, b, s), listed_at(mem, b, s)
        density = mem.parameters[particle.parameters_of(mem, b, n) + matter_places.DENSITY]
        bar = load3(mem.adjoint, particle.state_of(mem, b, n) + 3)
        mass = mem.scratch[o + own.LISTED_VOLUME] * density
        store3(mem.scratch, o + own.LISTED_BAR, (mem.constants[DT] / mass) * bar)

    @ti.func
    def particle_at(mem: ti.template(), b, order, k):
        """Where what is seen of the particle of slot k begins."""
        return listed_at(mem, b, k)

    @ti.func
    def active_at(mem: ti.template(), b, order, k):
        """Where what is seen of the k-th point that may be touched begins."""
        return seen_at(mem, b, mem.integers[order + k])

    def sum_function(list_of: Any, place_of: Any, size: int, term: Any) -> Any:
        @ti.func
        def sum_near(mem: ti.template(), b, x, here):
            """The sum of the terms of what is listed near x."""
            h = ti.static(mem.integers)
            total = ti.Vector.zero(fp, size)
            starts, order = list_of(mem, b)
            low, high = bins.bounds(mem, b, x)
            for p in range(low[0], high[0] + 1):
                for q in range(low[1], high[1] + 1):
                    first = starts + bins.row(mem, b, p, q)
                    for k in range(h[first + low[2]], h[first + high[2] + 1]):
                        total += term(mem, x, here, place_of(mem, b, order, k))
            return total

        return sum_near

    return SimpleNamespace(
        sum_over_particles=partial(sum_function, bins.particle_list, particle_at),
        sum_over_points=partial(sum_function, bins.active_list, active_at),
        seen_at=seen_at,
        listed_at=listed_at,
        particle_of=particle_of,
        point_of=point_of,
        kick_at=kick_at,
        list_particle=list_particle,
        list_bar=list_bar,
    )


@cache
def particle_touch_functions(setup: TouchSetup) -> SimpleNamespace:
    """Taichi functions of the point or the particle of slot s.

    ``press(mem, b, s, row_in, row_out)``: sums, force and new state of a point, the force to the gel's scratch.
    ``share(mem, b, s)``: the force on a particle, to the scratch.  ``gap_slope(mem)``: derivative of the gap by the
    fill.
    """
    at, fp = setup.at, setup.fp
    vec, vec4 = ti.types.vector(3, fp), ti.types.vector(4, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    points, kernel, lists = point_functions(setup), kernel_functions(fp), list_functions(setup)
    work_of = points.work_of

    @ti.func
    def gap_slope(mem: ti.template()):
        """Derivative of the gap by the fill."""
        return -mem.constants[at.width] / fp(SLOPE)

    @ti.func
    def fill_term(mem: ti.template(), X, here, o):
        """V W and V W v."""
        a = ti.static(mem.scratch)
        W = kernel.weight(X - load3(a, o + own.LISTED_PLACE), mem.constants[at.width])
        share, v = a[o + own.LISTED_VOLUME] * W, load3(a, o + own.LISTED_VELOCITY)
        return vec4(share, share * v[0], share * v[1], share * v[2])

    @ti.func
    def force_term(mem: ti.template(), x, here, point):
        """-F W / phi"""
        a = ti.static(mem.scratch)
        W = kernel.weight(load3(a, point + own.SEEN_PLACE) - x, mem.constants[at.width])
        return -W * load3(a, point + own.SEEN_FORCE)

    sum_fill, sum_forces = lists.sum_over_particles(4, fill_term), lists.sum_over_points(3, force_term)

    @ti.func
    def press(mem: ti.template(), b, s, row_in, row_out):
        """Sums, force and new state of the point of slot s."""
        i, o = lists.point_of(mem, b, s), lists.seen_at(mem, b, s)
        w = work_of(mem, b, i)
        X = load3(mem.scratch, w + own.PLACE)
        sums = sum_fill(mem, b, X, o)
        fill, pull = sums[0], vec(0)
        if fill > fp(LEAST_FILL):
            gap = (fill - fp(SURFACE)) * gap_slope(mem)
            m = -load3(mem.scratch, w + own.NORMAL)
            pull = points.respond(mem, b, i, row_in, row_out, gap, m, vec(sums[1], sums[2], sums[3]) / fill) / fill
        else:
            points.release(mem, b, i, row_out)
        store3(mem.scratch, o + own.SEEN_PLACE, X)
        store3(mem.scratch, o + own.SEEN_FORCE, pull)

    @ti.func
    def share(mem: ti.template(), b, s):
        """The force on the particle of slot s."""
        a = ti.static(mem.scratch)
        o = lists.listed_at(mem, b, s)
        total = sum_forces(mem, b, load3(a, o + own.LISTED_PLACE), o)
        store3(a, lists.kick_at(mem, b, lists.particle_of(mem, b, s)), a[o + own.LISTED_VOLUME] * total)

    return SimpleNamespace(press=press, share=share, gap_slope=gap_slope)


@cache
def particle_touch_adjoints(setup: TouchSetup) -> SimpleNamespace:
    """``press_back(mem, b, c, s, row_in)``: what the force on the point of slot s leaves to its old state, place,
    velocity, normal and sums.  ``share_back(mem, b, s)``: what forces leave to the particle of slot s."""
    at, fp = setup.at, setup.fp
    vec, vec4, vec6 = (ti.types.vector(n, fp) for n in (3, 4, 6))
    access = access_functions(fp)
    load3, store3, add3 = access.load3, access.store3, access.add3
    points, kernel, lists = point_functions(setup), kernel_functions(fp), list_functions(setup)
    touch, particle = particle_touch_functions(setup), particle_functions(setup.matter)

    @ti.func
    def bracket(mem: ti.template(), point, o):
        """phi_bar + M_bar.v_p - b_p.F / phi, of the point that is seen at ``point`` and the particle that is listed
        at o."""
        a = ti.static(mem.scratch)
        momentum = load3(a, point + own.SEEN_MOMENTUM_BAR).dot(load3(a, o + own.LISTED_VELOCITY))
        return (
            a[point + own.SEEN_FILL_BAR] + momentum - load3(a, o + own.LISTED_BAR).dot(load3(a, point + own.SEEN_FORCE))
        )

    @ti.func
    def bar_term(mem: ti.template(), X, here, o):
        """V W and b_p V W."""
        a = ti.static(mem.scratch)
        W = kernel.weight(X - load3(a, o + own.LISTED_PLACE), mem.constants[at.width])
        share, bar = a[o + own.LISTED_VOLUME] * W, load3(a, o + own.LISTED_BAR)
        return vec4(share, share * bar[0], share * bar[1], share * bar[2])

    @ti.func
    def place_term(mem: ti.template(), X, here, o):
        """The cotangent of the place of the point that is seen here, through the weight."""
        a = ti.static(mem.scratch)
        _W, slope = kernel.weight_slope(X - load3(a, o + own.LISTED_PLACE), mem.constants[at.width])
        return (a[o + own.LISTED_VOLUME] * bracket(mem, here, o)) * slope

    @ti.func
    def particle_term(mem: ti.template(), x, here, point):
        """The cotangents of the place of the particle that is listed here, and of its velocity, per volume."""
        a = ti.static(mem.scratch)
        W, slope = kernel.weight_slope(load3(a, point + own.SEEN_PLACE) - x, mem.constants[at.width])
        x_bar, v_bar = -bracket(mem, point, here) * slope, W * load3(a, point + own.SEEN_MOMENTUM_BAR)
        return vec6(x_bar[0], x_bar[1], x_bar[2], v_bar[0], v_bar[1], v_bar[2])

    sum_bars, sum_places = lists.sum_over_particles(4, bar_term), lists.sum_over_particles(3, place_term)
    sum_points = lists.sum_over_points(6, particle_term)

    @ti.func
    def press_back(mem: ti.template(), b, c, s, row_in):
        """See above."""
        a = ti.static(mem.scratch)
        i, o = lists.point_of(mem, b, s), lists.seen_at(mem, b, s)
        w = points.work_of(mem, b, i)
        fill_bar, momentum_bar = fp(0.0), vec(0)
        if a[w + own.ACTIVE] > 0:
            force, mean, m = load3(a, w + own.FORCE), load3(a, w + own.MEAN), -load3(a, w + own.NORMAL)
            sums = sum_bars(mem, b, load3(a, o + own.SEEN_PLACE), o)
            fill = sums[0]
            G = vec(sums[1], sums[2], sums[3]) / fill
            force_bar = points.push_bar_of(mem, b, i) - G
            gap_bar, m_bar, mean_bar = points.respond_back(
                mem, b, c, i, row_in, a[w + own.GAP], m, mean, force, force_bar
            )
            points.keep_normal_bar(mem, b, c, i, row_in, -m_bar)
            fill_bar = touch.gap_slope(mem) * gap_bar + (force.dot(G) - mean.dot(mean_bar)) / fill
            momentum_bar = mean_bar / fill
        else:
            points.release_back(mem, b, i)
        a[o + own.SEEN_FILL_BAR] = fill_bar
        store3(a, o + own.SEEN_MOMENTUM_BAR, momentum_bar)
        if a[w + own.ACTIVE] > 0:
            store3(a, w + own.PLACE_BAR, sum_places(mem, b, load3(a, o + own.SEEN_PLACE), o))

    @ti.func
    def share_back(mem: ti.template(), b, s):
        """See above."""
        a = ti.static(mem.scratch)
        own_at = lists.listed_at(mem, b, s)
        bars = a[own_at + own.LISTED_VOLUME] * sum_points(mem, b, load3(a, own_at + own.LISTED_PLACE), own_at)
        o = particle.state_of(mem, b, lists.particle_of(mem, b, s))
        add3(mem.adjoint, o, vec(bars[0], bars[1], bars[2]))
        add3(mem.adjoint, o + 3, vec(bars[3], bars[4], bars[5]))

    return SimpleNamespace(press_back=press_back, share_back=share_back)
