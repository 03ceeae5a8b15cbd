"""Contact of gels with the particles of the material point method.

With the quadratic spline W of width r (a cell of the grid), of integral one, and volumes V_p at rest a point at X sees

    fill phi = sum V_p W(X - x_p),   velocity v = sum V_p W v_p / phi,   gap g = (phi_0 - phi) r / 0.75.

phi is a half where X lies on the surface of matter, and 0.75 / r is the slope of phi there, so that the gap is a distance
near the surface. The surface that is touched looks against the gel's own normal. A force F on the point is shared by the
particles, f_p = -F V_p W / phi: its sum is -F. The particles' step takes dt f_p up with their momenta.

In reverse, with the cotangents b_p of f_p, which the particles' step has left as those of their velocities over m_p / dt,
and G = sum b_p V_p W / phi,

    F_bar -= G,   phi_bar += F.G / phi,   X_bar += sum V_p grad W (phi_bar + M_bar.v_p - b_p.F / phi),

M_bar = v_bar / phi being the cotangent of sum V_p W v_p; x_p takes minus its share of X_bar, v_p takes V_p W M_bar.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import touch_places as own
from pliant.sims.fem.bins import bin_functions
from pliant.sims.fem.points import point_functions
from pliant.sims.fem.touch_places import TouchSetup
from pliant.sims.fields import DT, STATE
from pliant.sims.math.access import access_functions
from pliant.sims.mpm import places as matter_places
from pliant.sims.mpm.transfers.particle import particle_functions
from pliant.sims.part import Pass, Stage, Stages
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
        """The quadratic spline and its derivative at s."""
        a = ti.abs(s)
        value, slope = fp(0.0), fp(0.0)
        if a < 0.5:
            value = fp(0.75) - s * s
            slope = -2 * s
        elif a < 1.5:
            rest = fp(1.5) - a
            value = rest * rest / 2
            slope = rest if s < 0 else -rest
        return value, slope

    @ti.func
    def weight(d, r):
        """W"""
        x, _x = spline(d[0] / r)
        y, _y = spline(d[1] / r)
        z, _z = spline(d[2] / r)
        return x * y * z / (r * r * r)

    @ti.func
    def weight_slope(d, r):
        """W and its gradient."""
        x, dx = spline(d[0] / r)
        y, dy = spline(d[1] / r)
        z, dz = spline(d[2] / r)
        scale = 1 / (r * r * r)
        return x * y * z * scale, vec(dx * y * z, x * dy * z, x * y * dz) * (scale / r)

    return SimpleNamespace(weight=weight, weight_slope=weight_slope)


@cache
def particle_touch_functions(setup: TouchSetup) -> SimpleNamespace:
    """Taichi functions of a point i or of slot s in the list of particles.

    ``press(mem, b, i, row_in, row_out)``: sums, force and new state of a point, the force to the gel's scratch.
    ``share(mem, b, s, row_in)``: the force on a particle, to the scratch.  ``find_kick_bar(mem, b, s)``: its cotangent.
    """
    at, gel, fp = setup.at, setup.gel.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    points, bins, kernel = point_functions(setup), bin_functions(setup), kernel_functions(fp)
    particle = particle_functions(setup.matter)
    matter = setup.matter.at
    work_of = points.work_of

    @ti.func
    def place_of(mem: ti.template(), row, p):
        """Place of particle p."""
        return load3(mem.frames, particle.state_of(mem, row, p))

    @ti.func
    def velocity_of(mem: ti.template(), row, p):
        """Velocity of particle p."""
        return load3(mem.frames, particle.state_of(mem, row, p) + 3)

    @ti.func
    def volume_of(mem: ti.template(), p):
        """Volume of particle p at rest."""
        return mem.constants[mem.integers[matter.volumes] + p]

    @ti.func
    def kick_at(mem: ti.template(), b, n):
        """Where the force on particle n begins, in reverse its cotangent."""
        h = ti.static(mem.integers)
        return h[at.kicks] + 3 * (b * h[at.particles] + n)

    @ti.func
    def gap_of(mem: ti.template(), fill):
        """The gap, and its derivative by the fill."""
        slope = -mem.constants[at.width] / fp(SLOPE)
        return (fill - fp(SURFACE)) * slope, slope

    @ti.func
    def gather(mem: ti.template(), b, i, row_in):
        """Fill and sum of V W v at point i."""
        h = ti.static(mem.integers)
        X = load3(mem.scratch, work_of(mem, b, i) + own.PLACE)
        r = mem.constants[at.width]
        fill, momentum = fp(0.0), vec(0)
        starts, order = bins.particle_list(mem, b)
        low, high = bins.bounds(mem, b, X)
        for p in range(low[0], high[0] + 1):
            for q in range(low[1], high[1] + 1):
                first = starts + bins.row(mem, b, p, q)
                for s in range(h[first + low[2]], h[first + high[2] + 1]):
                    n = h[order + s]
                    share = volume_of(mem, n) * kernel.weight(X - place_of(mem, row_in, n), r)
                    fill += share
                    momentum += share * velocity_of(mem, row_in, n)
        return fill, momentum

    @ti.func
    def press(mem: ti.template(), b, i, row_in, row_out):
        """Sums, force and new state of point i."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        w = work_of(mem, b, i)
        fill, momentum = gather(mem, b, i, row_in)
        force, mean = vec(0), vec(0)
        if fill > fp(LEAST_FILL):
            mean = momentum / fill
            gap, _slope = gap_of(mem, fill)
            force = points.respond(mem, b, i, row_in, row_out, gap, -load3(s, w + own.NORMAL), mean)
        else:
            points.release(mem, row_out, i)
        s[w + own.FILL] = fill
        store3(s, w + own.MEAN, mean)
        store3(s, w + own.FORCE, force)
        store3(s, h[gel.push] + 3 * (b * h[gel.count] + points.node_of(mem, i)), force)

    @ti.func
    def share(mem: ti.template(), b, s, row_in):
        """The force on the particle of slot s."""
        h = ti.static(mem.integers)
        _starts, particles = bins.particle_list(mem, b)
        n = h[particles + s]
        x = place_of(mem, row_in, n)
        r = mem.constants[at.width]
        total = vec(0)
        starts, order = bins.point_list(mem, b)
        low, high = bins.bounds(mem, b, x)
        for p in range(low[0], high[0] + 1):
            for q in range(low[1], high[1] + 1):
                first = starts + bins.row(mem, b, p, q)
                for k in range(h[first + low[2]], h[first + high[2] + 1]):
                    w = work_of(mem, b, h[order + k])
                    fill = mem.scratch[w + own.FILL]
                    if fill > fp(LEAST_FILL):
                        weight = kernel.weight(load3(mem.scratch, w + own.PLACE) - x, r)
                        total -= (weight / fill) * load3(mem.scratch, w + own.FORCE)
        store3(mem.scratch, kick_at(mem, b, n), volume_of(mem, n) * total)

    @ti.func
    def find_kick_bar(mem: ti.template(), b, s):
        """The cotangent of the force on the particle of slot s takes its place."""
        _starts, particles = bins.particle_list(mem, b)
        n = mem.integers[particles + s]
        mass = volume_of(mem, n) * mem.parameters[particle.parameters_of(mem, b, n) + matter_places.DENSITY]
        bar = load3(mem.adjoint, particle.state_of(mem, b, n) + 3)
        store3(mem.scratch, kick_at(mem, b, n), (mem.constants[DT] / mass) * bar)

    @ti.func
    def bracket(mem: ti.template(), w, kick_bar, v):
        """phi_bar + M_bar.v_p - b_p.F / phi, for the point whose scratch begins at w."""
        along = kick_bar.dot(load3(mem.scratch, w + own.FORCE)) / mem.scratch[w + own.FILL]
        return mem.scratch[w + own.FILL_BAR] + v.dot(load3(mem.scratch, w + own.MOMENTUM_BAR)) - along

    return SimpleNamespace(
        place_of=place_of,
        velocity_of=velocity_of,
        volume_of=volume_of,
        kick_at=kick_at,
        gap_of=gap_of,
        press=press,
        share=share,
        find_kick_bar=find_kick_bar,
        bracket=bracket,
    )


@cache
def particle_touch_adjoints(setup: TouchSetup) -> SimpleNamespace:
    """``press_back(mem, b, c, i, row_in)``: what the forces of point i leave to its old state, place, velocity, normal and
    sums.  ``share_back(mem, b, s, row_in)``: what they leave to the particle of slot s."""
    at, gel, fp = setup.at, setup.gel.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3, add3 = access.load3, access.store3, access.add3
    points, bins, kernel = point_functions(setup), bin_functions(setup), kernel_functions(fp)
    touch, particle = particle_touch_functions(setup), particle_functions(setup.matter)
    work_of = points.work_of

    @ti.func
    def gather_kicks(mem: ti.template(), b, i, row_in):
        """sum b_p V W at point i"""
        h = ti.static(mem.integers)
        X = load3(mem.scratch, work_of(mem, b, i) + own.PLACE)
        r = mem.constants[at.width]
        total = vec(0)
        starts, order = bins.particle_list(mem, b)
        low, high = bins.bounds(mem, b, X)
        for p in range(low[0], high[0] + 1):
            for q in range(low[1], high[1] + 1):
                first = starts + bins.row(mem, b, p, q)
                for s in range(h[first + low[2]], h[first + high[2] + 1]):
                    n = h[order + s]
                    weight = touch.volume_of(mem, n) * kernel.weight(X - touch.place_of(mem, row_in, n), r)
                    total += weight * load3(mem.scratch, touch.kick_at(mem, b, n))
        return total

    @ti.func
    def gather_slopes(mem: ti.template(), b, i, row_in):
        """The cotangent of the place of point i through the weights."""
        h = ti.static(mem.integers)
        w = work_of(mem, b, i)
        X = load3(mem.scratch, w + own.PLACE)
        r = mem.constants[at.width]
        total = vec(0)
        starts, order = bins.particle_list(mem, b)
        low, high = bins.bounds(mem, b, X)
        for p in range(low[0], high[0] + 1):
            for q in range(low[1], high[1] + 1):
                first = starts + bins.row(mem, b, p, q)
                for s in range(h[first + low[2]], h[first + high[2] + 1]):
                    n = h[order + s]
                    _weight, slope = kernel.weight_slope(X - touch.place_of(mem, row_in, n), r)
                    kick_bar = load3(mem.scratch, touch.kick_at(mem, b, n))
                    scale = touch.bracket(mem, w, kick_bar, touch.velocity_of(mem, row_in, n))
                    total += (scale * touch.volume_of(mem, n)) * slope
        return total

    @ti.func
    def press_back(mem: ti.template(), b, c, i, row_in):
        """See above."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        w = work_of(mem, b, i)
        fill = s[w + own.FILL]
        s[w + own.FILL_BAR] = fp(0.0)
        for o in ti.static((own.MOMENTUM_BAR, own.NORMAL_BAR, own.PLACE_BAR)):
            store3(s, w + o, vec(0))
        if fill > fp(LEAST_FILL):
            force, mean = load3(s, w + own.FORCE), load3(s, w + own.MEAN)
            G = gather_kicks(mem, b, i, row_in) / fill
            force_bar = load3(s, h[gel.push_bar] + 3 * (b * h[gel.count] + points.node_of(mem, i))) - G
            gap, slope = touch.gap_of(mem, fill)
            m = -load3(s, w + own.NORMAL)
            gap_bar, m_bar, mean_bar = points.respond_back(mem, b, c, i, row_in, gap, m, mean, force, force_bar)
            s[w + own.FILL_BAR] = slope * gap_bar + (force.dot(G) - mean.dot(mean_bar)) / fill
            store3(s, w + own.MOMENTUM_BAR, mean_bar / fill)
            points.keep_normal_bar(mem, b, c, i, row_in, -m_bar)
            store3(s, w + own.PLACE_BAR, gather_slopes(mem, b, i, row_in))
        else:
            points.release_back(mem, b, i)

    @ti.func
    def share_back(mem: ti.template(), b, s, row_in):
        """See above."""
        h = ti.static(mem.integers)
        _starts, particles = bins.particle_list(mem, b)
        n = h[particles + s]
        x, v = touch.place_of(mem, row_in, n), touch.velocity_of(mem, row_in, n)
        r = mem.constants[at.width]
        kick_bar = load3(mem.scratch, touch.kick_at(mem, b, n))
        x_bar, v_bar = vec(0), vec(0)
        starts, order = bins.point_list(mem, b)
        low, high = bins.bounds(mem, b, x)
        for p in range(low[0], high[0] + 1):
            for q in range(low[1], high[1] + 1):
                first = starts + bins.row(mem, b, p, q)
                for k in range(h[first + low[2]], h[first + high[2] + 1]):
                    w = work_of(mem, b, h[order + k])
                    if mem.scratch[w + own.FILL] > fp(LEAST_FILL):
                        weight, slope = kernel.weight_slope(load3(mem.scratch, w + own.PLACE) - x, r)
                        x_bar -= touch.bracket(mem, w, kick_bar, v) * slope
                        v_bar += weight * load3(mem.scratch, w + own.MOMENTUM_BAR)
        o = particle.state_of(mem, b, n)
        V = touch.volume_of(mem, n)
        add3(mem.adjoint, o, V * x_bar)
        add3(mem.adjoint, o + 3, V * v_bar)

    return SimpleNamespace(press_back=press_back, share_back=share_back)


@cache
def particle_touch_stages(setup: TouchSetup) -> Stages:
    """Forces at the start of a substep. In reverse they are found again before the steps of gels and particles, which
    take them up, and pulled back after them."""
    at, fp = setup.at, setup.fp
    points, bins = point_functions(setup), bin_functions(setup)
    touch, back = particle_touch_functions(setup), particle_touch_adjoints(setup)

    @ti.func
    def locate(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Places, velocities and normals of points first to stop - 1."""
        for i in range(first, stop):
            points.locate(mem, b, i, row_in)

    @ti.func
    def make(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The cells, and the points by cells."""
        for _ in range(first, stop):
            bins.make(mem, b)

    @ti.func
    def classify(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cells of particles first to stop - 1, on which no force acts yet."""
        h = ti.static(mem.integers)
        for p in range(first, stop):
            h[h[at.codes] + b * h[at.particles] + p] = bins.code(mem, b, touch.place_of(mem, row_in, p))
            for d in ti.static(range(3)):
                mem.scratch[touch.kick_at(mem, b, p) + d] = fp(0.0)

    @ti.func
    def sort(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The particles by cells."""
        for _ in range(first, stop):
            bins.sort(mem, b)

    @ti.func
    def press(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on points first to stop - 1."""
        for i in range(first, stop):
            touch.press(mem, b, i, row_in, row_out)

    @ti.func
    def share(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on the particles of slots first to stop - 1."""
        for s in range(first, stop):
            touch.share(mem, b, s, row_in)

    @ti.func
    def find_kick_bars(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cotangents of the forces on the particles of slots first to stop - 1."""
        for s in range(first, stop):
            touch.find_kick_bar(mem, b, s)

    @ti.func
    def press_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What the forces on points first to stop - 1 depend on."""
        for i in range(first, stop):
            back.press_back(mem, b, c, i, row_in)

    @ti.func
    def share_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The same for the particles of slots first to stop - 1."""
        for s in range(first, stop):
            back.share_back(mem, b, s, row_in)

    @ti.func
    def settle(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What points first to stop - 1 leave to nodes and mounts."""
        for i in range(first, stop):
            points.settle(mem, b, c, i, row_in, True)

    listed = {"count": bins.live, "threads": at.particles}
    forces = [
        Pass(locate, at.points),
        Pass(make),
        Pass(classify, at.particles),
        Pass(sort),
        Pass(press, at.points),
        Pass(share, **listed),
    ]
    settles = [
        Pass(find_kick_bars, **listed),
        Pass(press_back, at.points),
        Pass(share_back, **listed),
        Pass(settle, at.points),
        Pass(points.settle_effectors, setup.gel.eff.count),
    ]
    return Stages(
        substep=[Stage(forces, settles)],
        late=[Stage([], forces)],
        begin=[Pass(points.clear_sums, at.sum_count, alone=True)],
        finish_adjoint=[Pass(points.add_sums)],
    )
