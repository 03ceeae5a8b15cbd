"""Sums over the unknowns of a system that do not depend on how many threads share them: in fixed blocks, in order."""

from types import SimpleNamespace
from typing import Any

from pliant.sims.part import Pass
from pliant.sims.runtime import ti

BLOCK = 240
"""Unknowns that are summed one after the other."""
LANES = 1024
"""Threads of a device that sum."""
SLOTS = 7
RIGHT, GUESSED, TARGET, RESIDUAL, PRODUCT, CURVATURE, BEFORE = range(SLOTS)
"""The sums: |b|, |b - A guess| (of absolute values), b.b, r.r, r.z, p.Ap; BEFORE is r.z of the round before."""
SOLUTION, REMAINDER, DIRECTION, IMAGE = range(4)
"""The vectors x, r, p, and A p, which z = M r takes the place of once r is updated."""


def sum_functions(own: SimpleNamespace, fp: Any, device: bool, places: Any) -> SimpleNamespace:
    """Passes over the unknowns of a system, with sums that do not depend on the team.

    ``slot(mem, b, s)``: place of slot s of world b. ``total(mem, b, s)``: the sum in it, once a pass has ended.
    ``each(begin, work)``: a pass; ``sweep(begin, work, terms, slots)``: passes that also sum up in ``slots``.

    ``begin(mem, b, c, first, substep)`` is called once by each thread and returns a vector, which ``work(mem, b, i,
    row_in, row_out, o, given)`` gets as ``given`` for each unknown, beside the places of the vectors ``o``;
    ``terms(mem, i, o)`` is a vector of what unknown i adds to the sums.
    """

    @ti.func
    def slot(mem: ti.template(), b, s):
        """Place of slot s of world b."""
        h = ti.static(mem.integers)
        return h[own.sums] + (b * SLOTS + s) * h[own.stride]

    @ti.func
    def add_up(mem: ti.template(), b, s, count):
        """Sum of the first ``count`` partial sums of a slot, in order."""
        o, found = slot(mem, b, s) + 1, fp(0.0)
        for k in range(count):
            found += mem.scratch[o + k]
        return found

    @ti.func
    def total(mem: ti.template(), b, s):
        """The sum in a slot."""
        if ti.static(device):
            return mem.scratch[slot(mem, b, s)]
        else:
            return add_up(mem, b, s, mem.integers[own.blocks])

    def each(begin: Any, work: Any) -> Pass:
        @ti.func
        def by_element(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """``work`` on unknowns first to stop - 1."""
            given, o = begin(mem, b, c, first, substep), places(mem, b)
            for i in range(first, stop):
                work(mem, b, i, row_in, row_out, o, given)

        @ti.func
        def by_block(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """``work`` on the unknowns of blocks first to stop - 1, the same as where sums are taken."""
            given, o = begin(mem, b, c, first, substep), places(mem, b)
            for i in range(first * BLOCK, ti.min(stop * BLOCK, mem.integers[own.unknowns])):
                work(mem, b, i, row_in, row_out, o, given)

        return Pass(by_element, own.unknowns) if device else Pass(by_block, own.blocks)

    def sweep(begin: Any, work: Any, terms: Any, slots: tuple[int, ...]) -> list[Pass]:
        count, does_work = len(slots), work is not None

        @ti.func
        def by_block(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """``work`` on the unknowns of blocks first to stop - 1, and their partial sums."""
            given, o = begin(mem, b, c, first, substep), places(mem, b)
            for k in range(first, stop):
                found = ti.Vector.zero(fp, count)
                for i in range(k * BLOCK, ti.min((k + 1) * BLOCK, mem.integers[own.unknowns])):
                    if ti.static(does_work):
                        work(mem, b, i, row_in, row_out, o, given)
                    found += terms(mem, i, o)
                for s in ti.static(range(count)):
                    mem.scratch[slot(mem, b, slots[s]) + 1 + k] = found[s]

        @ti.func
        def by_lane(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """Partial sums of lanes first to stop - 1, each of every ``lanes``-th unknown."""
            h = ti.static(mem.integers)
            o = places(mem, b)
            for k in range(first, stop):
                found = ti.Vector.zero(fp, count)
                i = k
                while i < h[own.unknowns]:
                    found += terms(mem, i, o)
                    i += h[own.lanes]
                for s in ti.static(range(count)):
                    mem.scratch[slot(mem, b, slots[s]) + 1 + k] = found[s]

        @ti.func
        def gather(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """Adds the lanes' sums up."""
            for s in ti.static(range(count)):
                mem.scratch[slot(mem, b, slots[s])] = add_up(mem, b, slots[s], mem.integers[own.lanes])

        if not device:
            return [Pass(by_block, own.blocks)]
        return [*([] if not does_work else [each(begin, work)]), Pass(by_lane, own.lanes), Pass(gather)]

    return SimpleNamespace(slot=slot, total=total, each=each, sweep=sweep)
