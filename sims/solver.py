"""The contract that each solver and coupling of a World meets, and the memory they share.

A World is a few *parts* (a solver, a set of manipulators, ...) that are stepped together. All state of one world lies
in one row of floats, so that a checkpoint is one copy and a kernel launch passes few arguments; each part owns a
stretch of that row and says what is in it (`Field`). Likewise for parameters (quantities with a gradient), controls
(what actions become) and outputs (what is read out of a step, such as contact forces).

A part offers *phases*: Taichi functions that a *team* of threads executes together, with a barrier after each phase.
Member ``c`` of ``team`` members does its share of the work of world ``b``; with one member the team is a single thread.
The same functions therefore serve a batch of small worlds (a thread each) and one large world (all threads).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

# Stretches of the integer header: the World's own, then one stretch a part.
WORLD_HEADER = 0
MPM_HEADER = 16
EFFECTOR_HEADER = 64
HEADER_SIZE = 128

# The World's own header entries.
BATCH, TEAM, STATE, PARAMETER, CONTROL, OUTPUT, FRAMES, PARTIAL, PARTIAL_OFFSET, STATUS, BARRIER, SUBSTEPS = range(12)

# First entries of the constants: the substep, the cell and its inverse.
DT, CELL, INVERSE_CELL = range(3)
CONSTANTS_SIZE = 16

LANES = 4

# A status record: substep of the first failure + 1 (0: none), element, code.
STATUS_SIZE = 3
LEFT_DOMAIN, NOT_FINITE, TOO_FAST = 1, 2, 3
CAUSES = {
    LEFT_DOMAIN: "a particle left the domain",
    NOT_FINITE: "a value is not finite; the substep is too large or an element has inverted",
    TOO_FAST: "a particle crossed more than one cell in a substep",
}


class Memory(NamedTuple):
    """The flat arrays that kernels work on, with offsets from the header.

    frames: states, ((frame * batch + world) * state size + field offset).
    adjoint: cotangent of one state, (world * state size + field offset).
    parameters, parameter_adjoint, controls, control_adjoint, outputs, output_adjoint: (world * size + offset).
    constants: floats that do not change (step, cell, volumes, shapes).  scratch: partial sums and the like.
    grid, grid_adjoint: nodes, elements of LANES floats: momentum or velocity in the first lanes, mass in the last.
    integers: header, indices, barrier counters, status.
    """

    frames: Any
    adjoint: Any
    parameters: Any
    parameter_adjoint: Any
    controls: Any
    control_adjoint: Any
    outputs: Any
    output_adjoint: Any
    constants: Any
    grid: Any
    grid_adjoint: Any
    scratch: Any
    integers: Any


@dataclass(frozen=True)
class Field:
    """A named array inside a row: element ``i`` starts at ``offset + i * stride`` and has ``shape`` entries.

    ``count`` is None for a quantity of the whole world (gravity), else the number of elements (particles,
    manipulators).
    """

    name: str
    offset: int
    shape: tuple[int, ...]
    count: int | None = None
    stride: int = 0

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The field as a window onto ``rows``, shape (B, row size): (B, count, *shape) or (B, *shape)."""
        size = int(np.prod(self.shape, dtype=int))
        item = rows.itemsize
        if self.count is None:
            return rows[:, self.offset : self.offset + size].reshape(len(rows), *self.shape)
        window = np.lib.stride_tricks.as_strided(
            rows[:, self.offset :],
            (len(rows), self.count, size),
            (rows.strides[0], self.stride * item, item),
        )
        if len(self.shape) < 2:
            return window if self.shape else window[:, :, 0]
        inner = tuple(int(np.prod(self.shape[i + 1 :], dtype=int)) * item for i in range(len(self.shape)))
        return np.lib.stride_tricks.as_strided(
            window, (len(rows), self.count, *self.shape), (rows.strides[0], self.stride * item, *inner)
        )


class Part(Protocol):
    """A solver or a coupling, as the World sees it."""

    key: tuple[Any, ...]
    """What the compiled functions depend on (never sizes: kernels compile once per dimension and precision)."""

    state_size: int
    parameter_size: int
    control_size: int
    output_size: int
    partial_size: int
    state_fields: list[Field]
    parameter_fields: list[Field]
    control_fields: list[Field]
    output_fields: list[Field]

    def lay_out(self, state: int, parameter: int, control: int, output: int) -> None:
        """Take the stretches of the rows that start at these offsets and name what is in them."""

    def initial_state(self) -> np.ndarray:
        """The state row at reset, shape (state_size,)."""
        ...

    def initial_parameters(self) -> np.ndarray:
        """The parameter row, shape (parameter_size,)."""
        ...


class Phases(NamedTuple):
    """The Taichi functions of a part (arguments: memory, world b, member c, then as named).

    begin(row): before the first substep.  forward[i](row_in, row_out, substep), reverse[i](row_in, row_out, substep):
    a barrier follows each.  finish(), finish_reverse(): after the last substep.  Rows are frame * batch + world.
    Lists may differ in length between parts: the i-th phases of all parts run side by side.
    """

    begin: Any
    forward: list[Any]
    reverse: list[Any]
    finish: Any
    finish_reverse: Any
