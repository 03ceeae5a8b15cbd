"""Where the stages of surface tension come between the phases, and the passes, of the material point method."""

from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import PARAMETER, TEAM
from pliant.sims.mpm import places as at
from pliant.sims.part import Pass, Passes, Phases
from pliant.sims.runtime import ti


def tense_phases(dim: int, fp: Any, tension: SimpleNamespace, tools: SimpleNamespace, phases: Phases) -> Phases:
    """The phases of a team, with those of surface tension between them.

    phases: without rigid bodies' ones first in forward, last in reverse.  tools: ``kernels.py``'s own functions of
    shares, boxes and rows.
    """

    def over_nodes(stage: Any) -> Any:
        @ti.func
        def phase(mem: ti.template(), b, c, r_in, r_out, substep):
            h = ti.static(mem.integers)
            low, high = tools.whole_box(mem, b)
            wide_low, wide_high = tension.grown(mem, low, high)
            count = tools.row_count(wide_low, wide_high)
            for row in range(count * c // h[TEAM], count * (c + 1) // h[TEAM]):
                node = tools.row_node(wide_low, wide_high, row)
                for k in range(wide_low[dim - 1], wide_high[dim - 1] + 1):
                    node[dim - 1] = k
                    stage(mem, b, c, low, high, wide_low, wide_high, node, tension.index(mem, node))

        return phase

    def then_colours(before: Any) -> Any:
        @ti.func
        def phase(mem: ti.template(), b, c, r_in, r_out, substep):
            before(mem, b, c, r_in, r_out, substep)
            low, high = tools.box(mem, b, c)
            place = tension.colour_at(mem, b, c)
            for row in range(tools.row_count(low, high)):
                first = place + tension.index(mem, tools.row_node(low, high, row))
                for n in range(first, first + (high[dim - 1] - low[dim - 1] + 1)):
                    mem.scratch[n] = fp(0.0)
            for i in range(tools.share(mem, c), tools.share(mem, c + 1)):
                tension.scatter(mem, b, place, r_in, tools.ordered(mem, b, i))

        return phase

    @ti.func
    def collect_colours(mem: ti.template(), b, c, r_in, r_out, substep):
        """The members' copies are added up in the first; nothing to do for a team of one."""
        h = ti.static(mem.integers)
        if h[TEAM] > 1:
            low, high = tools.whole_box(mem, b)
            count = tools.row_count(low, high)
            for row in range(count * c // h[TEAM], count * (c + 1) // h[TEAM]):
                node = tools.row_node(low, high, row)
                for k in range(low[dim - 1], high[dim - 1] + 1):
                    node[dim - 1] = k
                    n = tension.index(mem, node)
                    total = fp(0.0)
                    for m in range(h[TEAM]):
                        one_low, one_high = tools.box(mem, b, m)
                        if tools.holds(one_low, one_high, node):
                            total += mem.scratch[tension.colour_at(mem, b, m) + n]
                    mem.scratch[tension.colour_at(mem, b, 0) + n] = total

    gathers_adjoint = phases.reverse[-1]

    @ti.func
    def gathers_and_pulls_adjoint(mem: ti.template(), b, c, r_in, r_out, substep):
        gathers_adjoint(mem, b, c, r_in, r_out, substep)
        for i in range(tools.share(mem, c), tools.share(mem, c + 1)):
            tension.pull(mem, b, r_in, tools.ordered(mem, b, i))

    @ti.func
    def begin(mem: ti.template(), b, c, r):
        phases.begin(mem, b, c, r)
        mem.scratch[tension.partial_at(mem, b, c)] = fp(0.0)

    @ti.func
    def finish_reverse(mem: ti.template(), b, c):
        phases.finish_reverse(mem, b, c)
        if c == 0:
            h = ti.static(mem.integers)
            i = b * h[PARAMETER] + h[at.SURFACE_AT]
            for m in range(h[TEAM]):
                mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[tension.partial_at(mem, b, m)]

    chain = [collect_colours, *(over_nodes(stage) for stage in tension.stages)]
    *rigid, scatters_adjoint, update_grid_adjoint, _ = phases.reverse
    return Phases(
        begin=begin,
        forward=[then_colours(phases.forward[0]), *chain, *phases.forward[1:]],
        reverse=[
            *rigid,
            then_colours(scatters_adjoint),
            *chain,
            update_grid_adjoint,
            *(over_nodes(stage) for stage in tension.stages_adjoint),
            gathers_and_pulls_adjoint,
        ],
        finish=phases.finish,
        finish_reverse=finish_reverse,
    )


def tense_passes(dim: int, fp: Any, tension: SimpleNamespace, tools: SimpleNamespace, passes: Passes) -> Passes:
    """``tense_phases`` for a device of very many threads; ``tools``: ``passes.py``'s own functions."""

    def over_nodes(visit: Any) -> Pass:
        @ti.func
        def body(mem: ti.template(), b, i, r_in, r_out, substep):
            low, extent, volume = tools.box(mem, b)
            high = low + extent - 1
            if volume > 0:
                wide_low, wide_high = tension.grown(mem, low, high)
                wide_extent = wide_high - wide_low + 1
                wide_volume = 1
                for d in ti.static(range(dim)):
                    wide_volume *= wide_extent[d]
                stride = tools.node_threads(mem)
                for m in range((wide_volume - i + stride - 1) // stride):
                    node = tools.node_of(wide_low, wide_extent, i + m * stride)
                    visit(mem, b, 0, low, high, wide_low, wide_high, node, tension.index(mem, node))

        return Pass(tools.node_threads, body)

    @ti.func
    def clear(mem: ti.template(), b, c, low, high, wide_low, wide_high, node, n):
        mem.scratch[tension.colour_at(mem, b, 0) + n] = fp(0.0)

    @ti.func
    def colour(mem: ti.template(), b, i, r_in, r_out, substep):
        tension.scatter(mem, b, tension.colour_at(mem, b, 0), r_in, tools.ordered(mem, b, i))

    @ti.func
    def pull(mem: ti.template(), b, i, r_in, r_out, substep):
        tension.pull(mem, b, r_in, tools.ordered(mem, b, i))

    @ti.func
    def begin_world(mem: ti.template(), b, i, r_in, r_out, substep):
        mem.scratch[tension.partial_at(mem, b, 0)] = fp(0.0)

    colours = [over_nodes(clear), Pass(tools.particles, colour)]
    # an empty list where teams collect their colours, so that phases of other parts meet the same ones
    chain: list[list[Pass]] = [[], *([over_nodes(stage)] for stage in tension.stages)]
    *rigid, scatters_adjoint, update_adjoint, gathers_adjoint = passes.reverse
    return passes._replace(
        begin=[*passes.begin, Pass(tools.worlds, begin_world)],
        forward=[[*passes.forward[0], *colours], *chain, *passes.forward[1:]],
        reverse=[
            *rigid,
            [*scatters_adjoint, *colours],
            *chain,
            update_adjoint,
            *([over_nodes(stage)] for stage in tension.stages_adjoint),
            [*gathers_adjoint, Pass(tools.particles, pull)],
        ],
    )
