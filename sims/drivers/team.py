"""Kernels that step all worlds through the substeps of one environment step, forward and reverse, on a CPU.

One launch does all substeps. A world belongs to a team of ``team`` threads that meet at a barrier after every pass that
asks for it; a team of one needs none. The barrier spins on an atomic counter, so all members must be running at once:
batch * team never exceeds the threads that taichi has. Taichi hands a CPU task at least 512 iterations of an outermost
loop, hence TASK.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from pliant.sims.drivers.schedule import Item, Schedule, array_types, compiled, element_count, make_schedule
from pliant.sims.fields import BARRIER, BATCH, Memory
from pliant.sims.memory import CACHE_LINE
from pliant.sims.part import Loop, Part, Pass
from pliant.sims.reports import report_function
from pliant.sims.runtime import is_known, ti

TASK = 512

PART = 6
"""How many passes or loops of a substep are compiled as one function."""


def team_drivers(dim: int, fp: Any, parts: Sequence[Part]) -> SimpleNamespace:
    """``forward`` and ``reverse`` for these parts; made once for parts of the same keys and entries."""
    return compiled("team", dim, fp, parts, lambda: _make_drivers(fp, make_schedule(dim, fp, parts, device=False)))


@ti.func
def barrier(integers: ti.template(), b, team, turn):
    """Wait until the team of world b has come here ``turn`` times, all members counted."""
    if team > 1:
        counter = integers[BARRIER] + b * CACHE_LINE
        ti.atomic_add(integers[counter], 1)
        while ti.atomic_add(integers[counter], 0) < turn:
            pass


@ti.func
def beginning(n, c, team):
    """First of n elements that is member c's, of a team; where c is ``team``, n."""
    return ti.cast(ti.raw_div(ti.cast(n, ti.i64) * c, ti.cast(team, ti.i64)), ti.i32)


def _run(item: Pass | Loop) -> Any:
    """A function (mem, b, c, team, row_in, row_out, substep, turn) that runs it; returns the next barrier's turn."""
    return _run_loop(item) if isinstance(item, Loop) else _run_pass(item)


def _run_pass(one: Pass) -> Any:
    count, is_single = element_count(one), one.count is None

    @ti.func
    def run(mem: ti.template(), b, c, team, row_in, row_out, substep, turn):
        """Member c's share of a pass, and the barrier after it."""
        next_turn = turn
        if team > 0:  # always: a block of its own, since taichi's time for a block grows with the square of its length
            n = count(mem, b, c)
            if ti.static(one.alone):
                one.run(mem, b, c, 0, n, row_in, row_out, substep)
            elif ti.static(is_single):
                if c == 0:  # also where it does not look at its range: sums are added once
                    one.run(mem, b, c, 0, 1, row_in, row_out, substep)
            else:
                one.run(mem, b, c, beginning(n, c, team), beginning(n, c + 1, team), row_in, row_out, substep)
            if ti.static(one.waits):
                barrier(mem.integers, b, team, turn)
                next_turn += team
        return next_turn

    return run


def _run_loop(loop: Loop) -> Any:
    inner = [_run(one) for one in loop.passes]
    report = report_function(loop.part)

    @ti.func
    def run(mem: ti.template(), b, c, team, row_in, row_out, substep, turn):
        """Rounds of the loop's passes, which may be loops, until its world is done, or too many."""
        h = ti.static(mem.integers)
        next_turn = turn
        rounds = 0
        goes_on = not loop.until(mem, b)
        # All members look before one of them changes what they look at.
        barrier(h, b, team, next_turn)
        next_turn += team
        while goes_on:
            for one in ti.static(inner):
                next_turn = one(mem, b, c, team, row_in, row_out, substep, next_turn)
            rounds += 1
            goes_on = not loop.until(mem, b)
            barrier(h, b, team, next_turn)
            next_turn += team
            if goes_on and rounds >= h[loop.most]:
                goes_on = False
                if c == 0:
                    report(mem, b, c, substep, 0, loop.code, -1)
        return next_turn

    return run


def _run_item(item: Item) -> Any:
    """The same for an item of a schedule, in the substeps in which it is to run."""
    run, every, is_due = _run(item.work), item.every, item.is_due

    @ti.func
    def run_at_its_rate(mem: ti.template(), b, c, team, row_in, row_out, substep, turn):
        """The item, if this substep is one of its own."""
        next_turn = turn
        if (substep % every == 0) == is_due:
            next_turn = run(mem, b, c, team, row_in, row_out, substep, turn)
        return next_turn

    return run if every == 1 else run_at_its_rate


def _in_parts(runs: Sequence[Any], fp: Any) -> Any:
    """A function like each of ``runs`` that runs one after the other; compiled in parts of ``PART``.

    Taichi and LLVM take much longer for one long function than for its parts. Each part calls the next one: what calls
    several is not found again in taichi's cache on disk, whose key has them in the order of their addresses.
    """
    rest = _nothing
    for first in reversed(range(0, len(runs), PART)):
        rest = _apart(_sequence(runs[first : first + PART], rest), fp)
    return rest


@ti.func
def _nothing(mem: ti.template(), b, c, team, row_in, row_out, substep, turn):
    """No pass at all."""
    return turn


def _sequence(runs: Sequence[Any], rest: Any) -> Any:
    @ti.func
    def run_all(mem: ti.template(), b, c, team, row_in, row_out, substep, turn):
        """One after the other, then the rest."""
        next_turn = turn
        for run in ti.static(runs):
            next_turn = run(mem, b, c, team, row_in, row_out, substep, next_turn)
        return rest(mem, b, c, team, row_in, row_out, substep, next_turn)

    return run_all


def _apart(run: Any, fp: Any) -> Any:
    """``run`` as a function that is compiled for itself, where taichi can be brought to do that."""
    if not is_known():
        return run
    floats, nodes, ints = array_types(fp)

    @ti.real_func
    def body(
        frames: floats,
        adjoint: floats,
        parameters: floats,
        parameter_adjoint: floats,
        controls: floats,
        control_adjoint: floats,
        outputs: floats,
        output_adjoint: floats,
        constants: floats,
        grid: nodes,
        scratch: floats,
        integers: ints,
        b: ti.i32,
        c: ti.i32,
        team: ti.i32,
        row_in: ti.i32,
        row_out: ti.i32,
        substep: ti.i32,
        turn: ti.i32,
    ) -> ti.i32:
        """Run, and return the next barrier's turn."""
        mem = ti.static(
            Memory(
                frames,
                adjoint,
                parameters,
                parameter_adjoint,
                controls,
                control_adjoint,
                outputs,
                output_adjoint,
                constants,
                grid,
                scratch,
                integers,
            )
        )
        return run(mem, b, c, team, row_in, row_out, substep, turn)

    @ti.func
    def call(mem: ti.template(), b, c, team, row_in, row_out, substep, turn):
        """The function. Were it called at one place only, LLVM would put it in there again."""
        next_turn = turn
        if mem.integers[BATCH] > 0:  # always
            next_turn = body(*mem, b, c, team, row_in, row_out, substep, turn)
        else:
            next_turn = body(*mem, b, c, team, row_in, row_out, substep, -1)
        return next_turn

    return call


def _make_drivers(fp: Any, schedule: Schedule) -> SimpleNamespace:
    begin = [_run(one) for one in schedule.begin]
    run_forward = _in_parts([_run_item(item) for item in schedule.forward], fp)
    run_reverse = _in_parts([_run_item(item) for item in schedule.reverse], fp)
    # what parts do at the end is each one's own, and the launch ends with it
    finish = [_run(one._replace(waits=False)) for one in schedule.finish]
    finish_adjoint = [_run(one._replace(waits=False)) for one in schedule.finish_adjoint]
    floats, nodes, ints = array_types(fp)

    @ti.kernel
    def forward(
        frames: floats,
        parameters: floats,
        controls: floats,
        outputs: floats,
        constants: floats,
        grid: nodes,
        scratch: floats,
        integers: ints,
        batch: ti.i32,
        team: ti.i32,
        first: ti.i32,
        count: ti.i32,
        frame_count: ti.i32,
    ):
        """``count`` substeps from frame ``first`` on, through ``frame_count`` frames that are gone round."""
        mem = ti.static(
            Memory(
                frames,
                frames,
                parameters,
                parameters,
                controls,
                controls,
                outputs,
                outputs,
                constants,
                grid,
                scratch,
                integers,
            )
        )
        ti.loop_config(block_dim=TASK)
        for t in range(batch * team * TASK):
            if t % TASK == 0:
                b = t // TASK // team
                c = t // TASK % team
                turn = team
                for run in ti.static(begin):
                    turn = run(mem, b, c, team, first * batch + b, first * batch + b, 0, turn)
                for s in range(count):
                    row_in = (first + s) % frame_count * batch + b
                    row_out = (first + s + 1) % frame_count * batch + b
                    turn = run_forward(mem, b, c, team, row_in, row_out, s, turn)
                for run in ti.static(finish):
                    turn = run(mem, b, c, team, b, b, count, turn)

    @ti.kernel
    def reverse(
        frames: floats,
        adjoint: floats,
        parameters: floats,
        parameter_adjoint: floats,
        controls: floats,
        control_adjoint: floats,
        outputs: floats,
        output_adjoint: floats,
        constants: floats,
        grid: nodes,
        scratch: floats,
        integers: ints,
        batch: ti.i32,
        team: ti.i32,
        count: ti.i32,
    ):
        """The cotangent of the state after ``count`` substeps back to the first frame."""
        mem = ti.static(
            Memory(
                frames,
                adjoint,
                parameters,
                parameter_adjoint,
                controls,
                control_adjoint,
                outputs,
                output_adjoint,
                constants,
                grid,
                scratch,
                integers,
            )
        )
        ti.loop_config(block_dim=TASK)
        for t in range(batch * team * TASK):
            if t % TASK == 0:
                b = t // TASK // team
                c = t // TASK % team
                turn = team
                for run in ti.static(begin):
                    turn = run(mem, b, c, team, b, b, 0, turn)
                for s in range(count):
                    row = (count - 1 - s) * batch + b
                    turn = run_reverse(mem, b, c, team, row, row + batch, count - 1 - s, turn)
                for run in ti.static(finish_adjoint):
                    turn = run(mem, b, c, team, b, b, 0, turn)

    return SimpleNamespace(forward=forward, reverse=reverse)
