"""Which particles make a block, and the nodes that they share, in three dimensions."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.mpm.transfers.block import BLOCK
from pliant.sims.mpm.transfers.point import point_functions
from pliant.sims.runtime import ti


@cache
def search_functions(setup: Setup) -> SimpleNamespace:
    """``next_block``: particles of one cell; ``load_plane``: the nodes that they share, and their weights."""
    at, fp = setup.at, setup.fp
    has_supply = setup.inj is not None
    activity: Any = activity_functions(setup) if setup.inj else None
    locate, step_node = stencil_functions(setup).locate, stencil_functions(setup).step_node
    state_of = point_functions(setup).state_of

    @ti.func
    def ordered(mem: ti.template(), b, i):
        """The i-th particle in the order of the cells."""
        return mem.integers[mem.integers[at.order] + b * mem.integers[at.count] + i]

    @ti.func
    def next_block(mem: ti.template(), b, r, begin, stop, who: ti.template()):
        """The next particles of one cell into ``who``: how many, their first node, where the search goes on."""
        i = begin
        count = 0
        first = 0  # where nobody is left: nothing is brought there
        is_same = True
        while i < stop and count < BLOCK and is_same:
            p = ordered(mem, b, i)
            takes_part = True
            if ti.static(has_supply):
                takes_part = activity.is_active(mem, r, p)
            if takes_part:
                node, _f = locate(mem, state_of(mem, r, p))
                if count == 0:
                    first = node
                is_same = node == first
                if is_same:
                    who[count] = p
                    count += 1
            if is_same:
                i += 1
        return count, first, i

    @ti.func
    def parabola(i):
        """N_i(f) = alpha + beta (f - gamma)^2 for i = 0, 1, 2, never negative where it is not."""
        alpha, beta = fp(0.0), fp(0.5)
        if i == 1:
            alpha, beta = fp(0.75), fp(-1.0)
        return alpha, beta, fp(1.5) - fp(0.5) * i

    @ti.func
    def axis_weights(f):
        """N_0(f), N_1(f), N_2(f)"""
        a, c, e = fp(1.5) - f, f - fp(1.0), f - fp(0.5)
        return fp(0.5) * a * a, fp(0.75) - c * c, fp(0.5) * e * e

    @ti.func
    def load_plane(mem: ti.template(), plane, stride_j, u: ti.template()):
        """The nine nodes with one index of the first axis, row by row, into the list u; ``plane``: the first."""
        n = plane
        for j in ti.static(range(3)):
            for k in ti.static(range(3)):
                u[3 * j + k] = mem.grid[n + k]
            n = step_node(n, stride_j)

    return SimpleNamespace(next_block=next_block, parabola=parabola, axis_weights=axis_weights, load_plane=load_plane)
