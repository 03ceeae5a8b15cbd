"""What a part keeps in a World, by name, and where kernels find it: the flat arrays and the header in front of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np

# The World's own entries of the integer header; those of the parts follow.
BATCH, TEAM, STATE, PARAMETER, CONTROL, OUTPUT, PARTIAL, PARTIAL_OFFSET, STATUS, BARRIER, SUBSTEPS = range(11)
RECORDS = 11  # status records a world: one for each thread that may report a failure
KEPT, KEPT_AT = 12, 13  # floats kept a row by this launch (0: none), and where they begin
TWIN = 14  # from a node of a grid to its cotangent
LOOPING = 15  # where each world says whether a loop of the device driver goes on, for each depth
OWN_HEADER = 16

LOOP_DEPTH = 3
"""How deep loops may stand in each other."""

DT = 0
"""Entry of the constants: the substep [s]. The numbers of the parts follow."""

LANES = 4
"""Floats of a node of a grid."""


class Memory(NamedTuple):
    """The flat arrays that kernels work on, with offsets from the header.

    frames: states, ((frame * batch + world) * state size + field offset). In a recording what the parts keep of each
        substep beside the states follows: KEPT_AT + (frame * batch + world) * KEPT + offset.
    adjoint: cotangent of one state, (world * state size + field offset).
    parameters, parameter_adjoint, controls, control_adjoint, outputs, output_adjoint: (world * size + offset).
    constants: floats that do not change (step, cells, volumes, shapes).  scratch: partial sums and the like.
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
class Quantity:
    """An array of a record: so many numbers for each element.

    Attributes:
        name: what users call it.
        shape: of one element.
        unit: SI, "" for a pure number.
        is_shown: whether users see it; what only the part itself needs (a history) is not.
    """

    name: str
    shape: tuple[int, ...] = ()
    unit: str = ""
    is_shown: bool = True

    @property
    def size(self) -> int:
        """Numbers of one element."""
        return prod(self.shape)


@dataclass(frozen=True)
class Record:
    """Quantities that lie side by side, element by element.

    Attributes:
        name: what the part's kernels call the place of the first element.
        quantities: what there is of each element, in this order.
        count: number of elements (particles, vertices); None: the quantities are the whole world's (gravity).
        width: floats of an element, where that is more than the quantities take.
    """

    name: str
    quantities: Sequence[Quantity]
    count: int | None = None
    width: int | None = None

    @property
    def stride(self) -> int:
        """Floats from one element to the next."""
        return sum(q.size for q in self.quantities) if self.width is None else self.width

    @property
    def size(self) -> int:
        """Floats of all elements."""
        return self.stride * (1 if self.count is None else self.count)

    def fields(self, start: int, prefix: str, entry: int) -> list[Field]:
        """Where each quantity lies in a row in which the record starts at ``start``, as header entry ``entry`` says."""
        found, within = [], 0
        for q in self.quantities:
            place = (start + within, q.shape, self.count, self.stride)
            found.append(Field(prefix + q.name, *place, q.unit, q.is_shown, entry, within))
            within += q.size
        return found


def numbers(name: str, count: int, unit: str = "", title: str | None = None) -> Record:
    """A record of one array of ``count`` numbers that belong to the whole world; ``title``: its name for users."""
    return Record(name, [Quantity(title or name, (count,), unit)])


@dataclass(frozen=True)
class Field:
    """A named array inside a row: element ``i`` starts at ``offset + i * stride`` and has ``shape`` entries.

    ``count`` is None for a quantity of the whole world (gravity), else the number of elements (particles,
    manipulators). ``entry`` is the header entry that tells kernels where its record starts, ``within`` how far into an
    element of it the field begins.
    """

    name: str
    offset: int
    shape: tuple[int, ...]
    count: int | None = None
    stride: int = 0
    unit: str = ""
    is_shown: bool = True
    entry: int = -1
    within: int = 0

    @property
    def columns(self) -> slice:
        """Columns of the row that the field takes, if its elements lie close together."""
        return slice(self.offset, self.offset + prod(self.shape) * (1 if self.count is None else self.count))

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The field as a window onto contiguous ``rows``, shape (B, row size): (B, count, *shape) or (B, *shape)."""
        if self.count is None:
            return rows[:, self.offset : self.offset + prod(self.shape)].reshape(len(rows), *self.shape)
        if not self.count * prod(self.shape):
            return np.zeros((len(rows), self.count, *self.shape), rows.dtype)
        item = rows.itemsize
        inner = tuple(prod(self.shape[i + 1 :]) * item for i in range(len(self.shape)))
        return np.ndarray(
            (len(rows), self.count, *self.shape),
            rows.dtype,
            rows,
            self.offset * item,
            (rows.strides[0], self.stride * item, *inner),
        )


KINDS = ("state", "parameters", "controls", "outputs")
"""What the rows of a World hold; axis 0 of each is the world."""


@dataclass
class Needs:
    """All that a part keeps in a World. Each name becomes an entry of ``Part.at`` for its kernels.

    Attributes:
        state, parameters, controls, outputs: records in the rows of each world.
        counts: integers that do not change, or tuples of some; ``h[at.name]`` is the (first) value.
        numbers: floats that do not change; ``mem.constants[at.name]``.
        constants: arrays of floats that do not change; ``mem.constants[h[at.name] + i]``.
        integers: arrays of int32, or how many zeros; ``h[h[at.name] + i]``.
        scratch: how many floats, of all worlds together; ``mem.scratch[h[at.name] + i]``.
        partial: floats that each member of each team sums up in, to be added in the order of the members; those of
            member c of world b begin at h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.name].
        nodes: of the part's grid, for each member of each team; the first is at ``h[at.grid]``.
        kept: floats of a world that a recorded substep may leave to the reverse sweep, so that they need not be worked
            out again; ``h[at.kept]`` within what is kept of a substep.
    """

    state: Sequence[Record] = ()
    parameters: Sequence[Record] = ()
    controls: Sequence[Record] = ()
    outputs: Sequence[Record] = ()
    counts: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    integers: Mapping[str, np.ndarray | int] = field(default_factory=dict)
    scratch: Mapping[str, int] = field(default_factory=dict)
    partial: Mapping[str, int] = field(default_factory=dict)
    nodes: int = 0
    kept: int = 0


class Entries:
    """Where kernels find what a part keeps: places in the header by name. Compiled functions depend on it alone.

    Attributes:
        part: number of the part in its World, for its reports of failures.
        others: of the names in `Needs`; also ``row_at`` and ``row_size``, the stretch of the state's row.
    """

    def __init__(self, part: int, entries: Mapping[str, int]) -> None:
        self.part = part
        self._key = (part, tuple(sorted(entries.items())))
        self.__dict__.update(entries)

    def __getattr__(self, name: str) -> int:
        raise AttributeError(f"part {self.__dict__.get('part')} keeps nothing of the name {name!r} in its World")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entries) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)
