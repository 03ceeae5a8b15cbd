"""Where kernels find things: the flat arrays, the header that says where in them, named fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np

# Stretches of the integer header: the World's own from 0 on, then one stretch a part.
MPM_HEADER = 16

EFFECTOR_HEADER = 64

ROD_HEADER = 96

INJECTOR_HEADER = 128

FREE_HEADER = 144  # to HEADER_SIZE: for parts from outside the package

HEADER_SIZE = 192

# The World's own header entries.
BATCH, TEAM, STATE, PARAMETER, CONTROL, OUTPUT, FRAMES, PARTIAL, PARTIAL_OFFSET, STATUS, BARRIER, SUBSTEPS = range(12)

RECORDS = 12  # status records a world: one for each thread that may report a failure

KEPT, KEPT_AT = 13, 14  # floats kept a row by this launch (0: none), and where they begin

TWIN = 15  # from a node of the grid to its cotangent

# First entries of the constants: the substep, the cell and its inverse.
DT, CELL, INVERSE_CELL = range(3)

CONSTANTS_SIZE = 16

LANES = 4


class Memory(NamedTuple):
    """The flat arrays that kernels work on, with offsets from the header.

    frames: states, ((frame * batch + world) * state size + field offset). In a recording what the parts keep of each
        substep beside the states follows: KEPT_AT + (frame * batch + world) * KEPT + offset.
    adjoint: cotangent of one state, (world * state size + field offset).
    parameters, parameter_adjoint, controls, control_adjoint, outputs, output_adjoint: (world * size + offset).
    constants: floats that do not change (step, cell, volumes, shapes).  scratch: partial sums and the like.
    grid: nodes, elements of LANES floats: momentum or velocity in the first lanes, mass in the last. Where gradients
        are asked for, the nodes' cotangents follow: that of node n is at n + TWIN.
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

    @property
    def columns(self) -> slice:
        """Columns of the row that the field takes, if its elements lie close together."""
        return slice(self.offset, self.offset + prod(self.shape) * (self.count or 1))

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The field as a window onto contiguous ``rows``, shape (B, row size): (B, count, *shape) or (B, *shape)."""
        if self.count is None:
            return rows[:, self.offset : self.offset + prod(self.shape)].reshape(len(rows), *self.shape)
        item = rows.itemsize
        inner = tuple(prod(self.shape[i + 1 :]) * item for i in range(len(self.shape)))
        return np.ndarray(
            (len(rows), self.count, *self.shape),
            rows.dtype,
            rows,
            self.offset * item,
            (rows.strides[0], self.stride * item, *inner),
        )


@dataclass
class Needs:
    """Memory that a part asks of the World beyond its rows.

    constants: floats that do not change.  common: values of the first entries of the constants (CELL, ...).
    integers: arrays of int32 by name, or how many zeros.  scratch: floats by name.  nodes: of a grid, for each member
    of each team; the grid belongs to the one part that asks for nodes.  kept: floats of a world that a recorded substep
    may leave to the reverse sweep, so that they need not be worked out again.
    """

    constants: np.ndarray = field(default_factory=lambda: np.zeros(0))
    common: dict[int, float] = field(default_factory=dict)
    integers: dict[str, np.ndarray | int] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)
    nodes: int = 0
    kept: int = 0


@dataclass
class Places:
    """Where the World has put what a part asked for.

    partial: its stretch within a member's partial sums.  kept: within what is kept of a substep.
    """

    constants: int
    partial: int
    integers: dict[str, int]
    scratch: dict[str, int]
    kept: int = 0
