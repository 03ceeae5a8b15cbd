"""Kernels that step all worlds on devices of very many threads (GPUs): a launch a pass, over batch x elements.

The counterpart of ``drivers.py``, with the same calls. There a few threads share a world and meet at barriers; here
every particle and every node is a thread of its own, passes follow each other in stream order, and what threads share
(nodes, boxes, sums) they update atomically, so that sums are equal from run to run to rounding only. Each pass is a
kernel of its own: taichi's compiler for Vulkan carries values from one outermost loop of a kernel to the next where it
must not, and fails. Teams have one member.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, zip_longest
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import quick_build, ti
from pliant.sims.solver import FRAMES, LANES, Memory, Part, Pass, Passes, Phases

_compiled: dict[Any, SimpleNamespace] = {}


def element_drivers(dim: int, fp: Any, parts: Sequence[Part]) -> SimpleNamespace:
    """``forward`` and ``reverse`` for these parts; made once for parts of the same keys."""
    key = (dim, fp, tuple(part.key for part in parts))
    with quick_build():
        if key not in _compiled:
            _compiled[key] = _make_drivers(
                fp, [part.passes(dim, fp) or serial_passes(part.phases(dim, fp)) for part in parts]
            )
    return _compiled[key]


def serial_passes(phases: Phases) -> Passes:
    """The passes of a part that offers phases only: one thread a world runs each of them."""

    @ti.func
    def one(mem: ti.template()):
        return 1

    def of_step(phase: Any) -> Pass:
        @ti.func
        def body(mem: ti.template(), b, i, row_in, row_out, substep):
            phase(mem, b, 0, row_in, row_out, substep)

        return Pass(one, body)

    def of_row(phase: Any) -> Pass:
        @ti.func
        def body(mem: ti.template(), b, i, row_in, row_out, substep):
            phase(mem, b, 0, row_in)

        return Pass(one, body)

    def of_world(phase: Any) -> Pass:
        @ti.func
        def body(mem: ti.template(), b, i, row_in, row_out, substep):
            phase(mem, b, 0)

        return Pass(one, body)

    return Passes(
        begin=[of_row(phases.begin)],
        forward=[[of_step(phase)] for phase in phases.forward],
        reverse=[[of_step(phase)] for phase in phases.reverse],
        finish=[of_world(phases.finish)],
        finish_reverse=[of_world(phases.finish_reverse)],
    )


def _make_drivers(fp: Any, parts: list[Passes]) -> SimpleNamespace:
    begin = _in_order(fp, list(chain(*(part.begin for part in parts))), True)
    forward_substep = _in_order(fp, _side_by_side([part.forward for part in parts]), True)
    reverse_substep = _in_order(fp, _side_by_side([part.reverse for part in parts]), False)
    finish = _in_order(fp, list(chain(*(part.finish for part in parts))), True)
    finish_reverse = _in_order(fp, list(chain(*(part.finish_reverse for part in parts))), False)

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
    ) -> None:
        memory = Memory(
            frames, frames, parameters, parameters, controls, controls, outputs, outputs, constants, grid,
            scratch, integers,
        )  # fmt: skip
        begin(*memory, batch, first, 0)
        for s in range(count):
            forward_substep(*memory, batch, first + s, s)
        finish(*memory, batch, first + count, count)

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
        begin(*memory, batch, 0, 0)
        for s in reversed(range(count)):
            reverse_substep(*memory, batch, s, s)
        finish_reverse(*memory, batch, 0, 0)

    return SimpleNamespace(forward=forward, reverse=reverse)


def _side_by_side(lists: list[list[list[Pass]]]) -> list[Pass]:
    """All passes in order: the parts' first phases, then their second ones, ..."""
    return [one for phases in zip_longest(*lists, fillvalue=()) for phase in phases for one in phase]


def _in_order(fp: Any, passes: list[Pass], wraps: bool) -> Callable[..., None]:
    """A function that launches ``passes`` one after the other."""
    kernels = [_make_kernel(fp, one, wraps) for one in passes]

    def launch(*arguments: Any) -> None:
        for kernel in kernels:
            kernel(*arguments)

    return launch


@cache
def _make_kernel(fp: Any, one: Pass, wraps: bool) -> Any:
    """The kernel of a pass; ``wraps``: frames are counted modulo their number."""
    floats = ti.types.ndarray(fp, 1)
    nodes = ti.types.ndarray(ti.types.vector(LANES, fp), 1)
    ints = ti.types.ndarray(ti.i32, 1)

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
        frame: ti.i32,
        substep: ti.i32,
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
        for t in range(batch * one.count(mem)):
            n = one.count(mem)
            b = t // n
            frame_in = frame
            frame_out = frame + 1
            if ti.static(wraps):
                frame_in = frame_in % integers[FRAMES]
                frame_out = frame_out % integers[FRAMES]
            one.body(mem, b, t - b * n, frame_in * batch + b, frame_out * batch + b, substep)

    return run
