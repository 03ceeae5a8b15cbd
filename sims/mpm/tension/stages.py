"""The stages of surface tension between those of the material point method."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import TEAM
from pliant.sims.mpm.boxes import box_functions
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.tension.kernels import tension_functions
from pliant.sims.part import Pass, Stage
from pliant.sims.runtime import ti


@cache
def tension_stages(setup: Setup) -> SimpleNamespace:
    """``colour``: particles to the colours of nodes, and back; ``potential``: from these to what pulls at the nodes.

    The adjoint of the colours adds to the particles' positions, after that of the momenta has set them: the stage
    stands before that of the momenta.
    """
    at, fp, device = setup.at, setup.fp, setup.device
    tension: Any = tension_functions(setup)
    boxes: Any = box_functions(setup)
    holds = stencil_functions(setup).holds

    @ti.func
    def wide(mem: ti.template(), b, c):
        """The box of all members, grown by what the differences reach."""
        low, high = boxes.whole(mem, b, c)
        wide_low, wide_high = tension.grown(mem, low, high)
        return wide_low, wide_high

    @ti.func
    def count_wide(mem: ti.template(), b, c):
        """Number of nodes of the grown box."""
        low, high = wide(mem, b, c)
        return boxes.volume(low, high)

    def over_wide_box(function: Any) -> Pass:
        @ti.func
        def visit(mem: ti.template(), b, c, row_in, wide_low, wide_high, node, n):
            """``function`` at a node of the grown box."""
            low, high = boxes.whole(mem, b, c)
            function(mem, b, c, low, high, wide_low, wide_high, node, tension.index(mem, node))

        return Pass(boxes.over(wide, visit), count_wide, threads=boxes.threads)

    @ti.func
    def only_one(mem: ti.template(), row_in):
        """One array: the colour."""
        return 0, 1

    @ti.func
    def copy_at(mem: ti.template(), b, c, k):
        """First node of member c's copy of the colours."""
        return tension.colour_at(mem, b, c)

    @ti.func
    def scatter(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Particles first to stop - 1 of the order to member c's colours."""
        for i in range(first, stop):
            tension.scatter(mem, b, tension.colour_at(mem, b, c), row_in, boxes.ordered(mem, b, i))

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Adds to the position cotangents of particles first to stop - 1 of the order."""
        for i in range(first, stop):
            tension.scatter_adjoint(mem, b, row_in, boxes.ordered(mem, b, i))

    @ti.func
    def collect(mem: ti.template(), b, c, row_in, low, high, node, n):
        """The members' copies are added up in the first; nothing to do for a team of one."""
        k = tension.index(mem, node)
        total = fp(0.0)
        for m in range(mem.integers[TEAM]):
            one_low, one_high = boxes.own(mem, b, m)
            if holds(one_low, one_high, node):
                total += mem.scratch[tension.colour_at(mem, b, m) + k]
        mem.scratch[tension.colour_at(mem, b, 0) + k] = total

    @ti.func
    def count_shared(mem: ti.template(), b, c):
        """Number of nodes whose copies are added up: none for a team of one."""
        n = 0
        if mem.integers[TEAM] > 1:
            n = boxes.count_whole(mem, b, c)
        return n

    clear = boxes.clearing("scratch", copy_at, only_one, 0.0)
    colours = [
        Pass(clear, boxes.count_own, alone=True, waits=False, threads=boxes.threads),
        Pass(scatter, at.count),
    ]
    if not device:
        colours.append(Pass(boxes.over(boxes.whole, collect), count_shared))
    return SimpleNamespace(
        colour=Stage(colours, [Pass(scatter_adjoint, at.count)]),
        potential=Stage(
            [over_wide_box(function) for function in tension.functions],
            [over_wide_box(function) for function in tension.functions_adjoint],
        ),
    )
