"""Kernels that step all worlds on devices of very many threads (GPUs): a launch a pass, over batch x elements.

The counterpart of ``team.py``, with the same calls. There a few threads share a world and meet at barriers; here every
particle and every node is a thread of its own, launches follow each other in stream order, and what threads share
(nodes, boxes, sums) they update atomically, so that sums are equal from run to run to rounding only. Each pass is a
kernel of its own: several in one kernel do not compile for Vulkan. Teams have one member.

Mesa's software device for Vulkan loses atomic updates of integers, not of floats, in loops of three rounds or more,
where some threads of a block of 128 idle. No pass has one: in passes with ``threads`` integers are not shared.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from pliant.sims.drivers.schedule import Item, Schedule, array_types, compiled, element_count, make_schedule
from pliant.sims.fields import BATCH, LOOP_DEPTH, LOOPING, Memory
from pliant.sims.part import Loop, Part, Pass
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti

LOOK = 8
"""Rounds of a loop between looks, from the host, at whether a world goes on: a look waits for the device."""

Run = Callable[[Memory, int, int, int, int], None]
"""Launches something: (memory, batch, first frame in, first frame out, substep)."""


def element_drivers(dim: int, fp: Any, parts: Sequence[Part]) -> SimpleNamespace:
    """``forward`` and ``reverse`` for these parts; made once for parts of the same keys and entries."""
    return compiled("elements", dim, fp, parts, lambda: _make_drivers(fp, make_schedule(dim, fp, parts, device=True)))


class _Kernels:
    """Kernels of passes and loops; one for each, wherever it stands in the schedule."""

    def __init__(self, fp: Any) -> None:
        self._fp = fp
        self._types = array_types(fp)
        self._made: dict[Any, Run] = {}

    def of(self, item: Pass | Loop, depth: int = 0) -> Run:
        """Launches a pass or a loop that stands in ``depth`` loops; there the worlds that are done are left out."""
        key = (id(item), depth)
        if key not in self._made:
            self._made[key] = self._of_loop(item, depth) if isinstance(item, Loop) else self._of_pass(item, depth)
        return self._made[key]

    def _of_pass(self, one: Pass, depth: int) -> Run:
        floats, nodes, ints = self._types
        is_whole = one.threads is None  # a thread for each element
        count, threads = element_count(one), element_count(one._replace(count=one.threads or one.count))

        @ti.kernel
        def run(
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
            frame_in: ti.i32,
            frame_out: ti.i32,
            substep: ti.i32,
        ):
            """One pass over all elements of all worlds."""
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
            for t in range(batch * threads(mem, 0, 0)):
                n = threads(mem, 0, 0)
                b = t // n
                goes_on = True
                if ti.static(depth > 0):
                    goes_on = integers[integers[LOOPING] + (depth - 1) * batch + b] == 1
                if goes_on:
                    if ti.static(is_whole):
                        k = t - b * n
                        one.run(mem, b, 0, k, k + 1, frame_in * batch + b, frame_out * batch + b, substep)
                    else:
                        total = count(mem, b, 0)
                        for turn in range((total + n - 1) // n):
                            k = t - b * n + turn * n
                            if k < total:
                                one.run(mem, b, 0, k, k + 1, frame_in * batch + b, frame_out * batch + b, substep)

        def launch(memory: Memory, batch: int, frame_in: int, frame_out: int, substep: int) -> None:
            run(*memory, batch, frame_in, frame_out, substep)

        return launch

    def _of_loop(self, loop: Loop, depth: int) -> Run:
        if depth == LOOP_DEPTH:
            raise ValueError(f"loops stand in each other more than {LOOP_DEPTH} deep")
        _, _, ints = self._types
        report = report_function(loop.part)

        @ti.func
        def note_whether_done(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """Notes whether world b goes on; if not, it takes no part in the loops within either."""
            h = ti.static(mem.integers)
            goes_on = 1
            if ti.static(depth > 0):
                goes_on = h[h[LOOPING] + (depth - 1) * h[BATCH] + b]
            if goes_on == 1:
                goes_on -= ti.cast(loop.until(mem, b), ti.i32)
            h[h[LOOPING] + depth * h[BATCH] + b] = goes_on

        @ti.func
        def give_up(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """Reports that world b has had all rounds and is not done."""
            report(mem, b, 0, substep, 0, loop.code, -1)

        @ti.kernel
        def left(integers: ints, batch: ti.i32) -> ti.i32:
            """How many worlds go on."""
            total = 0
            for b in range(batch):
                total += integers[integers[LOOPING] + depth * batch + b]
            return total

        @ti.kernel
        def limit(integers: ints) -> ti.i32:
            """Rounds after which a world has failed."""
            return integers[loop.most]

        # the last of a round's launches notes who is done; whoever is left after all rounds has failed
        start = self._of_pass(Pass(note_whether_done), 0)
        of_a_round = [*(self.of(one, depth + 1) for one in loop.passes), start]
        fail = self._of_pass(Pass(give_up), depth + 1)

        def launch(memory: Memory, batch: int, frame_in: int, frame_out: int, substep: int) -> None:
            most, rounds = limit(memory.integers), 0
            start(memory, batch, frame_in, frame_out, substep)
            while rounds < most and left(memory.integers, batch):
                for _ in range(min(LOOK, most - rounds)):
                    for run in of_a_round:
                        run(memory, batch, frame_in, frame_out, substep)
                    rounds += 1
            fail(memory, batch, frame_in, frame_out, substep)

        return launch


def _make_drivers(fp: Any, schedule: Schedule) -> SimpleNamespace:
    kernels = _Kernels(fp)
    begin = [kernels.of(one) for one in schedule.begin]
    forward_items = [_at_its_rate(item, kernels) for item in schedule.forward]
    reverse_items = [_at_its_rate(item, kernels) for item in schedule.reverse]
    finish = [kernels.of(one) for one in schedule.finish]
    finish_adjoint = [kernels.of(one) for one in schedule.finish_adjoint]

    def forward(
        frames: Any,
        parameters: Any,
        controls: Any,
        outputs: Any,
        constants: Any,
        grid: Any,
        scratch: Any,
        integers: Any,
        batch: int,
        team: int,
        first: int,
        count: int,
        frame_count: int,
    ) -> None:
        memory = Memory(
            frames, frames, parameters, parameters, controls, controls, outputs, outputs, constants, grid,
            scratch, integers,
        )  # fmt: skip
        for run in begin:
            run(memory, batch, first % frame_count, first % frame_count, 0)
        for s in range(count):
            for run in forward_items:
                run(memory, batch, (first + s) % frame_count, (first + s + 1) % frame_count, s)
        for run in finish:
            run(memory, batch, 0, 0, count)

    def reverse(
        frames: Any,
        adjoint: Any,
        parameters: Any,
        parameter_adjoint: Any,
        controls: Any,
        control_adjoint: Any,
        outputs: Any,
        output_adjoint: Any,
        constants: Any,
        grid: Any,
        scratch: Any,
        integers: Any,
        batch: int,
        team: int,
        count: int,
    ) -> None:
        memory = Memory(
            frames, adjoint, parameters, parameter_adjoint, controls, control_adjoint, outputs, output_adjoint,
            constants, grid, scratch, integers,
        )  # fmt: skip
        for run in begin:
            run(memory, batch, 0, 0, 0)
        for s in reversed(range(count)):
            for run in reverse_items:
                run(memory, batch, s, s + 1, s)
        for run in finish_adjoint:
            run(memory, batch, 0, 0, 0)

    return SimpleNamespace(forward=forward, reverse=reverse)


def _at_its_rate(item: Item, kernels: _Kernels) -> Run:
    run = kernels.of(item.work)

    def run_at_its_rate(memory: Memory, batch: int, frame_in: int, frame_out: int, substep: int) -> None:
        if (substep % item.every == 0) == item.is_due:
            run(memory, batch, frame_in, frame_out, substep)

    return run if item.every == 1 else run_at_its_rate
