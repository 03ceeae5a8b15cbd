"""The stages of all parts as one flat list, for either driver."""

from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from pliant.sims.fields import LANES, STATE, Entries
from pliant.sims.part import Loop, Part, Pass, Stage
from pliant.sims.runtime import quick_build, ti


class Item(NamedTuple):
    """A pass or a loop, for the substeps that are multiples of ``every``; if not ``is_due``, for the others."""

    work: Pass | Loop
    every: int = 1
    is_due: bool = True


class Schedule(NamedTuple):
    """What a launch does: ``begin``, then ``forward`` or ``reverse`` in each substep, then a finish."""

    begin: list[Pass]
    forward: list[Item]
    reverse: list[Item]
    finish: list[Pass]
    finish_adjoint: list[Pass]


_made: dict[Any, SimpleNamespace] = {}


def compiled(kind: str, dim: int, fp: Any, parts: Sequence[Part], make: Callable[[], SimpleNamespace]) -> Any:
    """What ``make`` gives, made once for parts of the same keys, rates and entries."""
    key = (kind, dim, fp, tuple((part.key, part.every, part.at) for part in parts))
    with quick_build():
        if key not in _made:
            _made[key] = make()
    return _made[key]


def make_schedule(dim: int, fp: Any, parts: Sequence[Part], *, device: bool) -> Schedule:
    """The stages of the parts one after the other, then their late ones; in reverse, from the last to the first."""
    offered = [(part, part.stages(dim, fp, device)) for part in parts]
    order: list[tuple[Part, Stage]] = [(part, stage) for part, own in offered for stage in own.substep]
    order += [(part, stage) for part, own in offered for stage in own.late]
    held = [Item(hold(part.at), part.every, False) for part in parts if part.every > 1]
    return Schedule(
        begin=[one for _, own in offered for one in own.begin],
        forward=[*held, *(Item(work, part.every) for part, stage in order for work in stage.forward)],
        reverse=[Item(work, part.every) for part, stage in reversed(order) for work in stage.adjoint],
        finish=[one for _, own in offered for one in own.finish],
        finish_adjoint=[one for _, own in offered for one in own.finish_adjoint],
    )


def array_types(fp: Any) -> tuple[Any, Any, Any]:
    """Types of the arrays of floats, nodes and integers that kernels take."""
    return ti.types.ndarray(fp, 1), ti.types.ndarray(ti.types.vector(LANES, fp), 1), ti.types.ndarray(ti.i32, 1)


@cache
def hold(at: Entries) -> Pass:
    """What a part does in a substep in which it takes no step: its state stays. The adjoint stays too."""

    @ti.func
    def run(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The part's floats first..stop-1 of the state, from one row to the next."""
        h = ti.static(mem.integers)
        for k in range(first, stop):
            mem.frames[row_out * h[STATE] + h[at.row_at] + k] = mem.frames[row_in * h[STATE] + h[at.row_at] + k]

    return Pass(run, at.row_size)


def element_count(one: Pass) -> Any:
    """A Taichi function (memory, b, c): how many elements a pass works on."""
    return _counter(one.count)


@cache
def _counter(count: Any) -> Any:
    @ti.func
    def constant(mem: ti.template(), b, c):
        """One element."""
        return 1

    @ti.func
    def entry(mem: ti.template(), b, c):
        """As many elements as the header says."""
        return mem.integers[count]

    if count is None:
        return constant
    return entry if isinstance(count, int) else count
