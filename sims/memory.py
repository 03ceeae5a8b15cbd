"""The memory of a World: what lies where, allocated once, with windows for the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from pliant.sims.arrays import Array
from pliant.sims.checks import fit
from pliant.sims.failures import STATUS_SIZE
from pliant.sims.fields import (
    BARRIER,
    BATCH,
    CONTROL,
    KEPT,
    KEPT_AT,
    KINDS,
    LANES,
    LOOP_DEPTH,
    LOOPING,
    OUTPUT,
    OWN_HEADER,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    RECORDS,
    STATE,
    STATUS,
    SUBSTEPS,
    TEAM,
    TWIN,
    Entries,
    Field,
    Needs,
)
from pliant.sims.inputs import shown, whole
from pliant.sims.part import Part
from pliant.sims.runtime import numpy_type

CACHE_LINE = 16
"""Integers between the barrier counters of two worlds."""


FORWARD_ARRAYS = ("parameters", "controls", "outputs", "constants", "grid", "scratch", "integers")
"""What the forward kernel takes after the frames."""

REVERSE_ARRAYS = (
    *("adjoint", "parameters", "parameter_adjoint", "controls", "control_adjoint", "outputs", "output_adjoint"),
    *("constants", "grid", "scratch", "integers"),
)
"""What the reverse kernel takes after the frames."""


class WorldMemory:
    """Arrays of ``batch`` worlds made of ``parts``, and the header that tells kernels their places.

    A world is worked on by ``team`` threads with a grid each, of which ``records`` in all may report a failure.

    Attributes:
        live: the two frames that steps without a recording go back and forth between.
        parameters, controls, outputs, constants, grid, scratch, integers and, if ``differentiable``, adjoint,
        parameter_adjoint, control_adjoint, output_adjoint: see ``fields.Memory``.
        sizes: floats of a world's state, parameters, controls, outputs and partial sums.
        kept: floats that all worlds keep of a recorded substep beside the state (0 unless ``keeps``).

    Raises:
        ValueError: an array would have 2^30 elements or more, or two parts have a quantity of the same name.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        batch: int,
        team: int,
        records: int,
        substeps: int,
        dt: float,
        precision: str,
        differentiable: bool,
        keeps: bool = False,
    ) -> None:
        self.batch, self.records, self.dtype = batch, records, numpy_type(precision)
        copies = batch * team
        for part in parts:
            _check(part, substeps)
        needs = [part.needs(batch=batch, team=team, differentiable=differentiable) for part in parts]
        layout = _Layout(batch=batch, records=records, dt=dt)
        for number, (part, need) in enumerate(zip(parts, needs, strict=True)):
            layout.add(number, part, need, copies, keeps)
        self.sizes = sizes = layout.sizes
        nodes, self.kept = layout.nodes, batch * layout.kept
        grids = 2 if differentiable else 1  # nodes, and their cotangents
        recording = (substeps + 1) * batch * sizes.state + substeps * self.kept
        for what, size in (("grid", grids * nodes * LANES), ("recording", recording)):
            if size >= 2**30:
                raise ValueError(
                    f"batch={shown(batch)} and substeps={shown(substeps)} are too many: the {what} would need "
                    f"{shown(size)} floats; allowed: < 2^30"
                )
        integers, own, scratch_size = layout.integers(copies)
        for entry, value in (
            (BATCH, batch),
            (TEAM, team),
            (STATE, sizes.state),
            (PARAMETER, sizes.parameters),
            (CONTROL, sizes.controls),
            (OUTPUT, sizes.outputs),
            (PARTIAL, sizes.partial),
            (PARTIAL_OFFSET, 0),
            (STATUS, own["status"]),
            (BARRIER, own["barrier"]),
            (LOOPING, own["looping"]),
            (SUBSTEPS, substeps),
            (RECORDS, records),
            (KEPT_AT, (substeps + 1) * batch * sizes.state),
            (TWIN, nodes),
        ):
            integers[entry] = value
        self.integers = Array(len(integers), np.int32)
        self.integers.write(integers)
        self.constants = self._array(layout.constants())
        self.grid = Array(grids * nodes, self.dtype, lanes=LANES)
        self.scratch = Array(scratch_size, self.dtype)
        self.live = Array(2 * batch * sizes.state, self.dtype)
        self.controls = Array(batch * sizes.controls, self.dtype)
        self.outputs = Array(batch * sizes.outputs, self.dtype)
        if differentiable:
            self.adjoint = Array(batch * sizes.state, self.dtype)
            self.parameter_adjoint = Array(batch * sizes.parameters, self.dtype)
            self.control_adjoint = Array(batch * sizes.controls, self.dtype)
            self.output_adjoint = Array(batch * sizes.outputs, self.dtype)
        initial = [part.initial() for part in parts]
        state, parameters = np.zeros((1, sizes.state)), np.zeros((1, sizes.parameters))
        for part, values in zip(parts, initial, strict=True):
            _fill(part, values, state, parameters)
        with np.errstate(over="ignore"):  # the World names what is too large for its precision
            self.initial = np.repeat(state, batch, axis=0).astype(self.dtype)
        self.parameters = self._array(np.tile(parameters[0], batch))
        self._barrier_at, self._status_at = own["barrier"], own["status"]
        self._status_size = batch * records * STATUS_SIZE
        self._clean = np.zeros(own["status"] - own["barrier"] + self._status_size, np.int32)

    def _array(self, values: np.ndarray) -> Array:
        array = Array(len(values), self.dtype)
        if len(values):  # an array has an entry where there is nothing to keep, too
            with np.errstate(over="ignore"):  # the World names what is too large for its precision
                array.write(values.astype(self.dtype))
        return array

    def arrays(self, names: tuple[str, ...]) -> list[Array]:
        """The arrays of these names, to be bound to a kernel."""
        return [getattr(self, name) for name in names]

    def rows(self, name: str, size: int) -> np.ndarray:
        """The array ``name`` as (B, size): a window on the CPU, a copy elsewhere."""
        return getattr(self, name).read(0, self.batch * size).reshape(self.batch, size)

    def frame(self, array: Array, frame: int) -> np.ndarray:
        """One frame of an array of states, (B, state size): a window on the CPU, a copy elsewhere."""
        n = self.batch * self.sizes.state
        return array.read(frame * n, n).reshape(self.batch, -1)

    def write_frame(self, array: Array, frame: int, state: np.ndarray) -> None:
        """Overwrite one frame of an array of states by (B, state size)."""
        array.overwrite(frame * self.batch * self.sizes.state, state)

    def prepare_launch(self, *, recorded: bool) -> None:
        """Reset barriers and status; ``recorded``: the launch steps through a segment of a recording."""
        self.integers.overwrite(self._barrier_at, self._clean)  # the status follows the barriers
        if self.kept:
            self.integers.overwrite(KEPT, np.array([self.kept // self.batch if recorded else 0], np.int32))

    def status(self) -> np.ndarray:
        """First failures: (B, records, STATUS_SIZE)."""
        return self.integers.read(self._status_at, self._status_size).reshape(self.batch, self.records, STATUS_SIZE)

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        arrays = [value for value in vars(self).values() if isinstance(value, Array)]
        return sum(array.size * array.dtype.itemsize for array in arrays) + self.initial.nbytes

    def free(self) -> None:
        """Release all arrays."""
        for name, value in list(vars(self).items()):
            if isinstance(value, Array):
                value.free()
                delattr(self, name)
        self.initial = np.zeros((0, 0))


class _Layout:
    """Where everything lies: rows, header, constants, integers, scratch; filled part by part."""

    def __init__(self, *, batch: int, records: int, dt: float) -> None:
        self.sizes = SimpleNamespace(state=0, parameters=0, controls=0, outputs=0, partial=0)
        self.nodes = self.kept = 0
        self._header: list[int] = [0] * OWN_HEADER
        self._numbers = [dt]
        self._constants: list[tuple[int, np.ndarray]] = []  # the header entry that tells where an array begins, and it
        self._scratch: list[tuple[int, int]] = []
        self._integers: list[tuple[int | str, np.ndarray | int]] = [
            ("barrier", batch * CACHE_LINE),
            ("status", batch * records * STATUS_SIZE),
            ("looping", batch * LOOP_DEPTH),
        ]
        self._names: dict[str, set[str]] = {kind: set() for kind in KINDS}

    def add(self, number: int, part: Part, needs: Needs, copies: int, keeps: bool) -> None:
        """Lay out a part behind the others; sets its ``at`` and ``fields``."""
        kind_of_part = type(part).__name__
        entries: dict[str, int] = {}

        def enter(name: str, values: Sequence[int]) -> int:
            if name in entries:
                raise ValueError(f"{kind_of_part} keeps two things of the name {name!r}")
            entries[name] = len(self._header)
            self._header.extend(values)
            return entries[name]

        start = self.sizes.state
        fields = {kind: self._rows(part, kind, getattr(needs, kind), enter) for kind in KINDS}
        enter("row_at", [start])
        enter("row_size", [self.sizes.state - start])
        for name, count in needs.counts.items():
            enter(name, list(count) if isinstance(count, tuple) else [int(count)])
        for name, size in needs.partial.items():
            enter(name, [self.sizes.partial])
            self.sizes.partial += size
        enter("grid", [self.nodes])
        self.nodes += copies * needs.nodes
        enter("kept", [self.kept])
        self.kept += needs.kept if keeps else 0
        for name, values in needs.constants.items():
            self._constants.append((enter(name, [0]), values))
        for name, content in needs.integers.items():
            self._integers.append((enter(name, [0]), content))
        for name, size in needs.scratch.items():
            self._scratch.append((enter(name, [0]), size))
        for name, value in needs.numbers.items():
            entries[name] = len(self._numbers)
            self._numbers.append(value)
        part.at, part.fields = Entries(number, entries), fields

    def _rows(self, part: Part, kind: str, records: Sequence[Any], enter: Any) -> dict[str, Field]:
        """A part's quantities in the rows of one kind, by the names that it gave them."""
        prefix, found = part.prefix, {}
        for record in records:
            at = getattr(self.sizes, kind)
            entry = enter(record.name, [at])
            setattr(self.sizes, kind, at + record.size)
            for field in record.fields(at, prefix, entry):
                if field.name in self._names[kind]:
                    raise ValueError(
                        f"two parts have {kind} of the name {field.name!r}; give one of the parts a name of its own"
                    )
                self._names[kind].add(field.name)
                found[field.name.removeprefix(prefix)] = field
        return found

    def constants(self) -> np.ndarray:
        """All constants, in float64."""
        return np.concatenate([self._numbers, *(content for _, content in self._constants)])

    def integers(self, copies: int) -> tuple[np.ndarray, dict[str, int], int]:
        """Header and integers, where the World's own stretches begin, and the number of floats of the scratch memory.

        Partial sums come first in the scratch memory, ``copies`` times.
        """
        at = len(self._numbers)
        for entry, content in self._constants:
            self._header[entry] = at
            at += len(content)
        scratch = copies * self.sizes.partial
        for entry, size in self._scratch:
            self._header[entry] = scratch
            scratch += size
        own: dict[str, int] = {}
        at = len(self._header)
        for place, values in self._integers:
            if isinstance(place, str):
                own[place] = at
            else:
                self._header[place] = at
            at += values if isinstance(values, int) else len(values)
        integers = np.zeros(at, np.int32)
        integers[: len(self._header)] = self._header
        for place, values in self._integers:
            if not isinstance(values, int):
                start = self._header[place]  # type: ignore[index]
                integers[start : start + len(values)] = values
        return integers, own, scratch


def _check(part: Part, substeps: int) -> None:
    """Raise ``ValueError`` unless a part can be laid out in a new World of so many substeps a step."""
    kind = type(part).__name__
    if "at" in vars(part):
        raise ValueError(f"{kind} is part of a World already; parts() must make new ones for each World")
    if not isinstance(part.name, str) or not (part.name == "" or part.name.isidentifier()):
        raise ValueError(f"{kind}: name={shown(part.name)} must be letters, digits and _, or empty")
    if substeps % whole(f"{kind}: every", part.every, 1):
        raise ValueError(f"substeps={shown(substeps)} must be a multiple of {part.every}, as {kind} asks")


def _fill(part: Part, values: Mapping[str, Any], state: np.ndarray, parameters: np.ndarray) -> None:
    """Write a part's initial values into rows, shape (1, size) each."""
    for name, value in values.items():
        rows = state if name in part.fields["state"] else parameters
        field = part.fields["state"].get(name) or part.fields["parameters"].get(name)
        if field is None:
            kind = type(part).__name__
            raise ValueError(f"{kind} has an initial value of {name!r}, which is neither state nor parameter of it")
        window = field.of(rows)
        window[:] = fit(value, window, f"initial value of {field.name!r}")
