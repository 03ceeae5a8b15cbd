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

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple, Protocol

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

# A status record: substep of the first failure + 1 (0: none), element, code, second element + 1 (0: none).
STATUS_SIZE = 4
LEFT_DOMAIN, NOT_FINITE, TOO_FAST, NOT_CONVERGED, TORN, CROWDED, PARTED, COLLAPSED = 1, 2, 3, 4, 5, 6, 7, 8
CAUSES = {
    LEFT_DOMAIN: "a particle left the domain",
    NOT_FINITE: "a value is not finite; the substep is too large or an element has inverted",
    TOO_FAST: "a particle crossed more than one cell in a substep",
    NOT_CONVERGED: "the implicit step did not converge; the substep is too large or a clamp tears the rod",
    TORN: "a clamp or a force tears the rod: an edge is more than twice its rest length",
    PARTED: "an elastic body is torn: neighbouring particles are more than two cells apart",
    COLLAPSED: "a body has collapsed: a particle has less than a thousandth of its volume, or is inverted",
    CROWDED: "the rod is crumpled: more pairs of its edges are in contact than there is room for",
}


def failed_array(code: int) -> str:
    """The state array in which a failure shows."""
    if code == COLLAPSED:
        return "deformation_gradient"
    return "position" if code in (LEFT_DOMAIN, TORN, PARTED) else "velocity"


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


class Pass(NamedTuple):
    """Work that a device of very many threads shares out: body(memory, b, i, row_in, row_out, substep) for each i in
    range(count(memory)) of each world b. What several i touch is updated atomically."""

    count: Any
    body: Any


class Passes(NamedTuple):
    """``Phases`` for such a device: each phase is a list of passes, one after the other."""

    begin: list[Pass]
    forward: list[list[Pass]]
    reverse: list[list[Pass]]
    finish: list[Pass]
    finish_reverse: list[Pass]


class Part(ABC):
    """A solver or a coupling, as the World sees it. Sizes count floats of one world; a part without a kind has size 0.

    key: what the compiled functions depend on (never sizes: kernels compile once per dimension and precision).
    elements: how many things the work is shared out by (particles, edges); 0 for a coupling.
    element_name: what one of the things is called that the part reports a failure of.
    """

    key: tuple[Any, ...]
    elements: int = 0
    element_name: str = "particle"
    state_size: int = 0
    parameter_size: int = 0
    control_size: int = 0
    output_size: int = 0
    partial_size: int = 0
    state_fields: Sequence[Field] = ()
    parameter_fields: Sequence[Field] = ()
    control_fields: Sequence[Field] = ()
    output_fields: Sequence[Field] = ()

    @abstractmethod
    def lay_out(self, state: int, parameter: int, control: int, output: int) -> None:
        """Take the stretches of the rows that start at these offsets and name what is in them."""

    @abstractmethod
    def initial_state(self) -> np.ndarray:
        """The state row at reset, shape (state_size,)."""

    @abstractmethod
    def write_header(self, header: np.ndarray, places: Places) -> None:
        """Fill this part's stretch of the integer header."""

    @abstractmethod
    def phases(self, dim: int, fp: Any) -> Phases:
        """The compiled functions; equal keys must give equal functions."""

    def passes(self, dim: int, fp: Any) -> Passes | None:
        """The same for a GPU; None: there one thread a world runs each phase (fine for a few elements)."""
        return None

    def initial_parameters(self) -> np.ndarray:
        """The parameter row, shape (parameter_size,)."""
        return np.zeros(self.parameter_size)

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Memory beyond the rows."""
        return Needs()

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Raise ``ValueError`` if values (B, ...) of one of this part's state fields are not allowed."""
        return None

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Raise ``ValueError`` if this part's parameters, of which ``name`` has just been changed, are not allowed."""
        return None

    def check_controls(self, controls: np.ndarray) -> None:
        """Raise ``ValueError`` if this part's among the controls (B, C) of a step are not allowed."""
        return None

    def idle(self, state: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Which particles at ``position`` (B, N, dim) of rows of states (B, state size) take no part in the motion:
        those that wait to be let in, and those that have been drained, (B, N) booleans each; None: all take part."""
        return None


class Model(Protocol):
    """What a World is made of: a scene, or any object that offers these."""

    dim: int

    def parts(self, *, dt: float, soft_contact: bool) -> list[Part]:
        """The parts in the order in which the i-th phases run."""
        ...
