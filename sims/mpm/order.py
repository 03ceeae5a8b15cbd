"""The order in which particles are taken: by their cells, as they are at the beginning of a launch."""

from functools import cache
from typing import Any

from pliant.sims.fields import PARTIAL, PARTIAL_OFFSET, TEAM
from pliant.sims.mpm import places
from pliant.sims.mpm.boxes import box_functions
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.part import Pass
from pliant.sims.runtime import ti


@cache
def order_passes(setup: Setup) -> list[Pass]:
    """Passes before the first substep: partial sums are emptied, particles are sorted.

    One member sorts them, by a stable counting sort. On a device all threads do, and cells come in the order in which
    threads claim places for them.
    """
    at, dim, fp = setup.at, setup.dim, setup.fp
    index = stencil_functions(setup).index
    boxes: Any = box_functions(setup)
    base_of_particle = boxes.base_of_particle
    sums = places.world_sums(dim) + int(setup.has_tension)

    @ti.func
    def empty_sums(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Empties member c's partial sums."""
        h = ti.static(mem.integers)
        o = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.partial]
        for i in range(o, o + sums + h[at.groups]):
            mem.scratch[i] = fp(0.0)

    @ti.func
    def sort(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Order of the particles by cell (a stable counting sort)."""
        h = ti.static(mem.integers)
        cells = h[at.cells] + b * h[at.nodes]
        order = h[at.order] + b * h[at.count]
        for _ in range(first, stop):
            lowest, highest = h[at.nodes], -1
            for turn in range(3):  # find the range of the cells, count their particles, hand out places
                if turn == 1:
                    for n in range(cells + lowest, cells + highest + 1):
                        h[n] = 0
                elif turn == 2:
                    total = 0
                    for n in range(cells + lowest, cells + highest + 1):
                        here = h[n]
                        h[n] = total
                        total += here
                for p in range(h[at.count]):
                    cell = index(mem, base_of_particle(mem, row_in, p))
                    n = cells + cell
                    if turn == 0:
                        lowest = ti.min(lowest, cell)
                        highest = ti.max(highest, cell)
                    else:
                        if turn == 2:
                            h[order + h[n]] = p
                        h[n] = h[n] + 1

    @ti.func
    def empty_cells(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Sets the counts of cells to zero; no place of the order is claimed."""
        h = ti.static(mem.integers)
        for n in range(first, stop):
            h[h[at.cells] + b * h[at.nodes] + n] = 0
            if n == 0:
                h[h[at.claimed] + b] = 0

    @ti.func
    def count_particles(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Counts the particles of each cell."""
        h = ti.static(mem.integers)
        for p in range(first, stop):
            ti.atomic_add(h[h[at.cells] + b * h[at.nodes] + index(mem, base_of_particle(mem, row_in, p))], 1)

    @ti.func
    def claim_places(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Each cell takes as many places of the order as it has particles: its count becomes its first place."""
        h = ti.static(mem.integers)
        for n in range(first, stop):
            cell = h[at.cells] + b * h[at.nodes] + n
            if h[cell] > 0:
                h[cell] = ti.atomic_add(h[h[at.claimed] + b], h[cell])

    @ti.func
    def place_particles(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Each particle takes the next place of its cell in the order."""
        h = ti.static(mem.integers)
        for p in range(first, stop):
            cell = h[at.cells] + b * h[at.nodes] + index(mem, base_of_particle(mem, row_in, p))
            h[h[at.order] + b * h[at.count] + ti.atomic_add(h[cell], 1)] = p

    start = Pass(empty_sums, alone=True, waits=False)
    if not setup.device:
        return [start, Pass(sort)]
    # a thread a node of the whole grid: in loops over nodes, Mesa's software device would lose claims
    return [
        start,
        Pass(empty_cells, at.nodes),
        Pass(count_particles, at.count),
        Pass(claim_places, at.nodes),
        Pass(place_particles, at.count),
    ]
