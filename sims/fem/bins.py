"""Who is near whom: the points of gels and the particles around them, sorted into cells, anew in each substep.

The cells fill a box around all points of a world; their edge is that of the kernel, or longer where there would be too
many. Particles count only in cells that the kernel of a point reaches. Both lists are in the order of the cells, within
a cell in that of the numbers, so that sums over neighbours have one order however many threads share the work. Cells
along the last axis follow each other: the neighbours of a place are a few stretches of the list.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import touch_places as own
from pliant.sims.fem.touch_places import TouchSetup
from pliant.sims.fem.touch_points import point_functions
from pliant.sims.math.access import access_functions
from pliant.sims.runtime import ti

MOST_CELLS = 1 << 14
LIVE = 4
"""Integers of the box: its extents along the axes, how many particles are listed."""

REACH = 1.5
"""Reach of the kernel in its own widths."""


@cache
def bin_functions(setup: TouchSetup) -> SimpleNamespace:
    """Taichi functions of the cells of world b.

    ``make(mem, b)``: the box, and the points by cells.  ``code(mem, b, x)``: the cell of a particle at x, -1 if it is
    out of reach.  ``sort(mem, b)``: the particles by cells, from their codes.  ``choose(mem, b)``: of the points those
    that may be touched.  ``bounds(mem, b, x)``: lowest and highest cell that a kernel at x reaches.  ``row(mem, b, i,
    j)``: the first cell of a row.  ``point_list``, ``particle_list``, ``active_list``: (mem, b) -> where starts of the
    cells and the list begin; the last one's is of slots in the list of points.  ``live(mem, b)``: particles that are
    listed.
    """
    at, fp = setup.at, setup.fp
    vec, ivec = ti.types.vector(3, fp), ti.types.vector(3, ti.i32)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    points = point_functions(setup)
    most = float(MOST_CELLS)

    @ti.func
    def box_at(mem: ti.template(), b):
        """Where the integers of the box begin."""
        return mem.integers[at.box] + b * LIVE

    @ti.func
    def corner_at(mem: ti.template(), b):
        """Where the lowest corner and the inverse edge of the cells lie."""
        return mem.integers[at.corner] + b * 4

    @ti.func
    def extents(mem: ti.template(), b):
        """Cells along each axis."""
        o = box_at(mem, b)
        return ivec(mem.integers[o], mem.integers[o + 1], mem.integers[o + 2])

    @ti.func
    def cell_at(mem: ti.template(), b, x):
        """Cell that x lies in, along each axis; it may lie outside the box."""
        o = corner_at(mem, b)
        return ti.cast(ti.floor((x - load3(mem.scratch, o)) * mem.scratch[o + 3]), ti.i32)

    @ti.func
    def kept_in(mem: ti.template(), b, cell):
        """The nearest cell of the box."""
        return ti.max(ivec(0), ti.min(cell, extents(mem, b) - 1))

    @ti.func
    def row(mem: ti.template(), b, i, j):
        """Number of the first cell of row (i, j)."""
        n = extents(mem, b)
        return (i * n[1] + j) * n[2]

    @ti.func
    def bounds(mem: ti.template(), b, x):
        """Lowest and highest cell that a kernel at x reaches, in the box."""
        reach = vec(fp(REACH) * mem.constants[at.width])
        return kept_in(mem, b, cell_at(mem, b, x - reach)), kept_in(mem, b, cell_at(mem, b, x + reach))

    @ti.func
    def point_list(mem: ti.template(), b):
        """Where the starts of the cells and the list of points begin."""
        h = ti.static(mem.integers)
        return h[at.point_starts] + b * (MOST_CELLS + 1), h[at.point_order] + b * h[at.points]

    @ti.func
    def particle_list(mem: ti.template(), b):
        """Where the starts of the cells and the list of particles begin."""
        h = ti.static(mem.integers)
        return h[at.particle_starts] + b * (MOST_CELLS + 1), h[at.particle_order] + b * h[at.particles]

    @ti.func
    def active_list(mem: ti.template(), b):
        """Where the starts of the cells and the list of slots of points that may be touched begin."""
        h = ti.static(mem.integers)
        return h[at.active_starts] + b * (MOST_CELLS + 1), h[at.active_order] + b * h[at.points]

    @ti.func
    def fit(mem: ti.template(), b):
        """The box around all points."""
        h = ti.static(mem.integers)
        low, high = vec(fp(1e30)), vec(fp(-1e30))
        for i in range(h[at.points]):
            x = load3(mem.scratch, points.work_of(mem, b, i) + own.PLACE)
            low, high = ti.min(low, x), ti.max(high, x)
        edge = mem.constants[at.width]
        low -= vec(fp(REACH + 0.01) * edge)
        high += vec(fp(REACH + 0.01) * edge)
        size = ti.min(high - low, vec(fp(1e6) * edge))
        counts = vec(0)
        total = fp(1e30)
        rounds = 0
        while total > most and rounds < 200:
            counts = ti.floor(size / edge) + 1
            total = counts[0] * counts[1] * counts[2]
            if total > most:
                edge *= fp(1.25)
            rounds += 1
        n = ti.max(ivec(1), ti.cast(counts, ti.i32))
        if not total <= most:  # not finite
            n = ivec(1)
        o = corner_at(mem, b)
        store3(mem.scratch, o, low)
        mem.scratch[o + 3] = 1 / edge
        for d in ti.static(range(3)):
            h[box_at(mem, b) + d] = n[d]
        return n[0] * n[1] * n[2]

    @ti.func
    def make(mem: ti.template(), b):
        """The box, the points by cells, and which cells kernels reach."""
        h = ti.static(mem.integers)
        total = fit(mem, b)
        starts, order = point_list(mem, b)
        live = h[at.reached] + b * MOST_CELLS
        for k in range(total):
            h[starts + k] = 0
            h[live + k] = 0
        h[starts + total] = 0
        for i in range(h[at.points]):
            x = load3(mem.scratch, points.work_of(mem, b, i) + own.PLACE)
            cell = kept_in(mem, b, cell_at(mem, b, x))
            k = row(mem, b, cell[0], cell[1]) + cell[2]
            h[starts + k] = h[starts + k] + 1
            low, high = bounds(mem, b, x)
            for p in range(low[0], high[0] + 1):
                for q in range(low[1], high[1] + 1):
                    first = live + row(mem, b, p, q)
                    for mark in range(first + low[2], first + high[2] + 1):
                        h[mark] = 1
        hand_out(mem, starts, total)
        for i in range(h[at.points]):
            cell = kept_in(mem, b, cell_at(mem, b, load3(mem.scratch, points.work_of(mem, b, i) + own.PLACE)))
            k = starts + row(mem, b, cell[0], cell[1]) + cell[2]
            h[order + h[k]] = i
            h[k] = h[k] + 1
        shift(mem, starts, total)

    @ti.func
    def hand_out(mem: ti.template(), starts, total):
        """Counts of cells become their first places."""
        h = ti.static(mem.integers)
        place = 0
        for k in range(starts, starts + total + 1):
            here = h[k]
            h[k] = place
            place += here

    @ti.func
    def shift(mem: ti.template(), starts, total):
        """The ends of cells become their first places again."""
        h = ti.static(mem.integers)
        before = 0
        for k in range(starts, starts + total + 1):
            here = h[k]
            h[k] = before
            before = here

    @ti.func
    def code(mem: ti.template(), b, x):
        """The cell of a particle at x; -1 if no kernel reaches it."""
        h = ti.static(mem.integers)
        cell, n = cell_at(mem, b, x), extents(mem, b)
        found = -1
        if cell[0] >= 0 and cell[1] >= 0 and cell[2] >= 0 and cell[0] < n[0] and cell[1] < n[1] and cell[2] < n[2]:
            k = row(mem, b, cell[0], cell[1]) + cell[2]
            if h[h[at.reached] + b * MOST_CELLS + k] == 1:
                found = k
        return found

    @ti.func
    def sort(mem: ti.template(), b):
        """The particles within reach by cells."""
        h = ti.static(mem.integers)
        n = extents(mem, b)
        total = n[0] * n[1] * n[2]
        starts, order = particle_list(mem, b)
        codes = h[at.codes] + b * h[at.particles]
        for k in range(starts, starts + total + 1):
            h[k] = 0
        for p in range(h[at.particles]):
            k = h[codes + p]
            if k >= 0:
                h[starts + k] = h[starts + k] + 1
        hand_out(mem, starts, total)
        h[box_at(mem, b) + 3] = h[starts + total]
        for p in range(h[at.particles]):
            k = h[codes + p]
            if k >= 0:
                h[order + h[starts + k]] = p
                h[starts + k] = h[starts + k] + 1
        shift(mem, starts, total)

    @ti.func
    def choose(mem: ti.template(), b):
        """Of the list of points those that may be touched."""
        h = ti.static(mem.integers)
        n = extents(mem, b)
        total = n[0] * n[1] * n[2]
        starts, order = point_list(mem, b)
        active_starts, active = active_list(mem, b)
        count = 0
        for k in range(total):
            h[active_starts + k] = count
            for s in range(h[starts + k], h[starts + k + 1]):
                if mem.scratch[points.work_of(mem, b, h[order + s]) + own.ACTIVE] > 0:
                    h[active + count] = s
                    count += 1
        h[active_starts + total] = count

    @ti.func
    def live(mem: ti.template(), b, c):
        """How many particles are listed."""
        return mem.integers[box_at(mem, b) + 3]

    return SimpleNamespace(
        make=make,
        code=code,
        sort=sort,
        choose=choose,
        bounds=bounds,
        row=row,
        point_list=point_list,
        particle_list=particle_list,
        active_list=active_list,
        live=live,
    )
