"""Gels do not touch each other: a pass that reports one that has gone into another one's hull."""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fem import places
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.places import TOO_CLOSE, Setup
from pliant.sims.fem.points import point_functions
from pliant.sims.math.access import access_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.part import Pass
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti


@cache
def apart_pass(setup: Setup, motion_of: Callable[[Any], SimpleNamespace], every: int = 1) -> Pass:
    """Looks at all points of gels after a substep; ``every``: in each one whose number that divides.

    ``motion_of``: see `point_functions`.
    """
    at, fp = setup.at, setup.fp
    load3 = access_functions(fp).load3
    turn, frames, points = turning_functions(fp), frame_functions(setup), point_functions(setup, motion_of)
    report = report_function(at.part)

    @ti.func
    def inspect_points(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Reports a point of points first to stop - 1 that is within another gel's hull."""
        h = ti.static(mem.integers)
        if substep % every == 0:
            for n in range(first, stop):
                gel, _is_gel, f = points.owner_of(mem, n)
                p, R = frames.end(mem, b, row_out, f)
                x = p + turn.forth(R, points.place_in_frame(mem, row_out, n, True))
                for g in range(h[at.gels]):
                    if g != gel:
                        q, S = frames.end(mem, b, row_out, h[h[at.gel_mounts] + g])
                        y = turn.back(S, x - q)
                        k, is_inside = h[h[at.hull_starts] + g], True
                        while is_inside and k < h[h[at.hull_starts] + g + 1]:
                            o = h[at.hulls] + 4 * k
                            is_inside = y.dot(load3(mem.constants, o)) + mem.constants[o + 3] < 0
                            k += 1
                        if is_inside:
                            node = h[h[at.skin_nodes] + h[h[at.point_skins] + n]]
                            cell = h[h[at.node_cells] + h[h[at.node_cells_start] + node]] // places.CELL_NODES
                            report(mem, b, c, substep, cell, TOO_CLOSE, -1)

    return Pass(inspect_points, at.gel_points, waits=False)
