"""Which nodes a world's particles reach, and loops over these: only they are cleared, filled and updated.

Each member of a team has a grid of its own and a box around the stencils of its particles. A device has one of each.
Boxes are kept with their numbers of nodes, as passes over nodes ask for them again and again.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import STATE, TEAM
from pliant.sims.mpm import places
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.part import Pass
from pliant.sims.runtime import ti

NODE_THREADS = 1 << 15
"""Threads of a device that share the nodes of a world's box (fewer where the grid has fewer nodes)."""


@cache
def member_boxes(setup: Setup) -> SimpleNamespace:
    """The boxes themselves: ``reset`` and ``grow`` find them. ``own`` and ``whole`` (mem, b, c) -> low, high: that of a
    member, and that of all."""
    at, dim, inj, device = setup.at, setup.dim, setup.inj, setup.device
    has_supply = inj is not None
    ivec = ti.types.vector(dim, ti.i32)
    record, size = places.record_size(dim), places.box_size(dim)
    stencil = stencil_functions(setup)
    activity: Any = activity_functions(setup) if inj else None

    @ti.func
    def ordered(mem: ti.template(), b, i):
        """The i-th particle in the order of the cells."""
        return mem.integers[mem.integers[at.order] + b * mem.integers[at.count] + i]

    @ti.func
    def base_of_particle(mem: ti.template(), r, p):
        """Lowest node of the stencil of particle p."""
        h = ti.static(mem.integers)
        x = stencil.load_vec(mem.frames, r * h[STATE] + h[at.state] + p * record)
        return stencil.base_of(mem, x * mem.constants[at.inverse_cell])

    @ti.func
    def grid_at(mem: ti.template(), b, c):
        """First node of member c's copy of the grid."""
        h = ti.static(mem.integers)
        return h[at.grid] + (b * h[TEAM] + c) * h[at.nodes]

    @ti.func
    def own_at(mem: ti.template(), b, c):
        """Where member c's box stands; that of all members comes after the last one's."""
        return mem.integers[at.box] + (b * (mem.integers[TEAM] + 1) + c) * size

    @ti.func
    def volume(low, high):
        """Number of nodes of a box."""
        n = 1
        for d in ti.static(range(dim)):
            n *= ti.max(high[d] - low[d] + 1, 0)
        return n

    @ti.func
    def reset(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """An empty box, for the threads of a device to grow."""
        o = own_at(mem, b, c)
        for _ in range(first, stop):
            for d in ti.static(range(dim)):
                mem.integers[o + d] = 1 << 20
                mem.integers[o + dim + d] = 0

    @ti.func
    def grow(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The box around the stencils of these particles, as far as they take part in the motion."""
        h = ti.static(mem.integers)
        low = ivec(1 << 20)
        high = ivec(-2)
        for i in range(first, stop):
            p = ordered(mem, b, i)
            takes_part = True
            if ti.static(has_supply):
                takes_part = activity.is_active(mem, row_in, p)
            if takes_part:
                base = base_of_particle(mem, row_in, p)
                low = ti.min(low, base)
                high = ti.max(high, base)
        high += 2
        o = own_at(mem, b, c)
        for d in ti.static(range(dim)):
            if ti.static(device):  # most particles find the box wide enough and leave it alone
                if low[d] < h[o + d]:
                    ti.atomic_min(h[o + d], low[d])
                if high[d] > h[o + dim + d]:
                    ti.atomic_max(h[o + dim + d], high[d])
            else:
                h[o + d] = low[d]
                h[o + dim + d] = high[d]
        if ti.static(not device):
            h[o + 2 * dim] = volume(low, high)

    @ti.func
    def unite(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The box of all members."""
        h = ti.static(mem.integers)
        for _ in range(first, stop):
            low = ivec(1 << 20)
            high = ivec(-1)
            for m in range(h[TEAM]):
                one_low, one_high = own(mem, b, m)
                if ti.static(device):
                    h[own_at(mem, b, m) + 2 * dim] = volume(one_low, one_high)
                low = ti.min(low, one_low)
                high = ti.max(high, one_high)
            o = own_at(mem, b, h[TEAM])
            for d in ti.static(range(dim)):
                h[o + d] = low[d]
                h[o + dim + d] = high[d]
            h[o + 2 * dim] = volume(low, high)

    @ti.func
    def own(mem: ti.template(), b, c):
        """Lowest and highest node of member c's box."""
        h = ti.static(mem.integers)
        o = own_at(mem, b, c)
        low = ivec(0)
        high = ivec(0)
        for d in ti.static(range(dim)):
            low[d] = h[o + d]
            high[d] = h[o + dim + d]
        return low, high

    @ti.func
    def whole(mem: ti.template(), b, c):
        """Lowest and highest node of the box of all members."""
        low, high = own(mem, b, mem.integers[TEAM])
        return low, high

    return SimpleNamespace(
        ordered=ordered,
        base_of_particle=base_of_particle,
        grid_at=grid_at,
        own=own,
        whole=whole,
        own_at=own_at,
        volume=volume,
        reset=reset,
        grow=grow,
        unite=unite,
    )


@cache
def box_functions(setup: Setup) -> SimpleNamespace:
    """Boxes of nodes: ``find``, the passes that find them, ``own`` and ``whole`` (mem, b, c) -> low, high; and
    ``over(box, visit)``: a pass's function that calls visit(mem, b, c, row_in, low, high, node, n) for the n-th node.
    """
    at, dim, device = setup.at, setup.dim, setup.device
    last = dim - 1
    stencil, members = stencil_functions(setup), member_boxes(setup)
    own = members.own

    @ti.func
    def node_at(low, high, n):
        """The n-th node of a box, the last axis fastest."""
        node = low
        rest = n
        for e in ti.static(range(dim)):
            d = ti.static(dim - 1 - e)
            extent = high[d] - low[d] + 1
            node[d] += rest % extent
            rest = rest // extent
        return node

    @ti.func
    def count_own(mem: ti.template(), b, c):
        """Number of nodes of member c's box."""
        return mem.integers[members.own_at(mem, b, c) + 2 * dim]

    @ti.func
    def count_whole(mem: ti.template(), b, c):
        """Number of nodes of the box of all members."""
        return mem.integers[members.own_at(mem, b, mem.integers[TEAM]) + 2 * dim]

    @ti.func
    def threads(mem: ti.template(), b, c):
        """Threads of a device for nodes."""
        return ti.min(mem.integers[at.nodes], NODE_THREADS)

    @ti.func
    def nothing(mem: ti.template(), b, row_in):
        """What a visit needs to know where it needs nothing."""
        return 0

    def over(box: Any, visit: Any, prepare: Any = nothing) -> Any:
        """The function of a pass that visits nodes first..stop-1 of a box, row by row.

        ``prepare(mem, b, row_in)`` gives what ``visit`` takes last, once for all nodes.
        """

        @ti.func
        def run(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """Calls ``visit`` for nodes first to stop - 1 of the box, row by row."""
            low, high = box(mem, b, c)
            prepared = prepare(mem, b, row_in)
            n = first
            while n < stop:
                node = node_at(low, high, n)
                beyond = n + ti.min(stop - n, high[last] - node[last] + 1)
                for k in range(n, beyond):
                    visit(mem, b, c, row_in, low, high, node, k, prepared)
                    node[last] += 1
                n = beyond

        return run

    def clearing(array: str, place: Any, copies: Any, zero: Any) -> Any:
        """A pass's function that empties member c's box in some copies of an array.

        copies: (mem, row_in) -> (first, stop), which copies.  place: (mem, b, c, k) -> where the grid begins in copy k.
        """

        @ti.func
        def run(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """Sets nodes first to stop - 1 of member c's box to ``zero``, in each of its copies."""
            a = ti.static(getattr(mem, array))
            low, high = own(mem, b, c)
            begin, end = copies(mem, row_in)
            n = first
            while n < stop:
                node = node_at(low, high, n)
                length = ti.min(stop - n, high[last] - node[last] + 1)
                start = stencil.index(mem, node)
                for k in range(begin, end):
                    o = place(mem, b, c, k) + start
                    for m in range(o, o + length):
                        a[m] = zero
                n += length

        return run

    find = [Pass(members.grow, at.count), Pass(members.unite)]
    if device:
        find.insert(0, Pass(members.reset))
    return SimpleNamespace(
        **vars(members),
        node_at=node_at,
        count_own=count_own,
        count_whole=count_whole,
        threads=threads,
        over=over,
        clearing=clearing,
        find=find,
    )
