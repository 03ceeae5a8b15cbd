"""Kernels that step all worlds through the substeps of one environment step, forward and reverse.

On the CPU one launch does all substeps. A world belongs to a team of ``team`` threads that meet at a barrier after
every phase; a team of one needs none. The barrier spins on an atomic counter, so all members must be running at once:
batch * team never exceeds the threads that taichi has. Taichi hands a CPU task at least 512 iterations of an
outermost loop, hence TASK.
"""

from collections.abc import Sequence
from itertools import zip_longest
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import BARRIER, FRAMES, LANES, TEAM, Memory
from pliant.sims.memory import CACHE_LINE
from pliant.sims.part import Part, Phases
from pliant.sims.runtime import quick_build, ti

TASK = 512


_compiled: dict[Any, SimpleNamespace] = {}


def team_drivers(dim: int, fp: Any, parts: Sequence[Part]) -> SimpleNamespace:
    """``forward`` and ``reverse`` for these parts; made once for parts of the same keys."""
    key = (dim, fp, tuple(part.key for part in parts))
    with quick_build():
        if key not in _compiled:
            _compiled[key] = _make_drivers(fp, [part.phases(dim, fp) for part in parts])
    return _compiled[key]


def _make_drivers(fp: Any, parts: list[Phases]) -> SimpleNamespace:
    begins = [part.begin for part in parts]
    forwards = [[p for p in phase if p is not None] for phase in zip_longest(*(part.forward for part in parts))]
    reverses = [[p for p in phase if p is not None] for phase in zip_longest(*(part.reverse for part in parts))]
    finishes = [part.finish for part in parts]
    finish_reverses = [part.finish_reverse for part in parts]
    floats = ti.types.ndarray(fp, 1)
    nodes = ti.types.ndarray(ti.types.vector(LANES, fp), 1)
    ints = ti.types.ndarray(ti.i32, 1)

    @ti.func
    def barrier(integers: ti.template(), b, turn):
        if integers[TEAM] > 1:
            counter = integers[BARRIER] + b * CACHE_LINE
            ti.atomic_add(integers[counter], 1)
            while ti.atomic_add(integers[counter], 0) < turn:
                pass

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
    ):
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
                for begin in ti.static(begins):
                    begin(mem, b, c, first * batch + b)
                barrier(integers, b, turn)
                for s in range(count):
                    r_in = (first + s) % integers[FRAMES] * batch + b
                    r_out = (first + s + 1) % integers[FRAMES] * batch + b
                    for phase in ti.static(forwards):
                        for step in ti.static(phase):
                            step(mem, b, c, r_in, r_out, s)
                        turn += team
                        barrier(integers, b, turn)
                for finish in ti.static(finishes):
                    finish(mem, b, c)

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
                for begin in ti.static(begins):
                    begin(mem, b, c, b)
                barrier(integers, b, turn)
                for s in range(count):
                    r = (count - 1 - s) * batch + b
                    for phase in ti.static(reverses):
                        for step in ti.static(phase):
                            step(mem, b, c, r, r + batch, count - 1 - s)
                        turn += team
                        barrier(integers, b, turn)
                for finish in ti.static(finish_reverses):
                    finish(mem, b, c)

    return SimpleNamespace(forward=forward, reverse=reverse)
