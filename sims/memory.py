"""The memory of a World: what lies where, allocated once, with windows for the host."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from pliant.sims.arrays import Array
from pliant.sims.failures import STATUS_SIZE
from pliant.sims.fields import (
    BARRIER,
    BATCH,
    CONSTANTS_SIZE,
    CONTROL,
    DT,
    FRAMES,
    HEADER_SIZE,
    KEPT,
    KEPT_AT,
    LANES,
    OUTPUT,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    RECORDS,
    STATE,
    STATUS,
    SUBSTEPS,
    TEAM,
    TWIN,
    Places,
)
from pliant.sims.inputs import shown
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
        parameter_adjoint, control_adjoint, output_adjoint: see ``solver.Memory``.
        sizes: floats of a world's state, parameters, controls, outputs and partial sums.
        kept: floats that all worlds keep of a recorded substep beside the state (0 unless ``keeps``).

    Raises:
        ValueError: an array would have 2^30 elements or more.
    """

    def __init__(
        self,
        parts: list[Part],
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
        self.sizes, partial_at = lay_out(parts)
        sizes, copies = self.sizes, batch * team
        needs = [part.needs(batch=batch, team=team, differentiable=differentiable) for part in parts]
        nodes = copies * max(need.nodes for need in needs)
        grids = 2 if differentiable else 1  # nodes, and their cotangents
        kept_at, kept = _stack([need.kept if keeps else 0 for need in needs])
        self.kept = batch * kept
        recording = (substeps + 1) * batch * sizes.state + substeps * self.kept
        for what, size in (("grid", grids * nodes * LANES), ("recording", recording)):
            if size >= 2**30:
                raise ValueError(
                    f"batch={shown(batch)} and substeps={shown(substeps)} are too many: the {what} would need "
                    f"{shown(size)} floats; allowed: < 2^30"
                )
        head = np.zeros(CONSTANTS_SIZE)
        head[DT] = dt
        for need in needs:
            for entry, value in need.common.items():
                head[entry] = value
        constants_at, _ = _stack([CONSTANTS_SIZE] + [len(need.constants) for need in needs])
        self.constants = self._array(np.concatenate([head] + [need.constants for need in needs]))
        stretches: list[tuple[int, str, np.ndarray | int]] = [
            (-1, "header", HEADER_SIZE),
            (-1, "barrier", batch * CACHE_LINE),
            (-1, "status", batch * records * STATUS_SIZE),
        ]
        stretches += [(k, name, value) for k, need in enumerate(needs) for name, value in need.integers.items()]
        integers_at, integers_size = _stack([v if isinstance(v, int) else len(v) for _, _, v in stretches])
        integers = np.zeros(integers_size, np.int32)
        places = [Places(constants_at[k + 1], partial_at[k], {}, {}, kept_at[k]) for k in range(len(parts))]
        own: dict[str, int] = {}
        for (k, name, content), start in zip(stretches, integers_at, strict=True):
            if not isinstance(content, int):
                integers[start : start + len(content)] = content
            (places[k].integers if k >= 0 else own)[name] = start
        floats = [(k, name, size) for k, need in enumerate(needs) for name, size in need.scratch.items()]
        scratch_at, scratch_size = _stack([copies * sizes.partial] + [size for _, _, size in floats])
        for (k, name, _), start in zip(floats, scratch_at[1:], strict=True):
            places[k].scratch[name] = start
        for entry, value in (
            (BATCH, batch),
            (TEAM, team),
            (STATE, sizes.state),
            (PARAMETER, sizes.parameter),
            (CONTROL, sizes.control),
            (OUTPUT, sizes.output),
            (FRAMES, 2),
            (PARTIAL, sizes.partial),
            (PARTIAL_OFFSET, scratch_at[0]),
            (STATUS, own["status"]),
            (BARRIER, own["barrier"]),
            (SUBSTEPS, substeps),
            (RECORDS, records),
            (KEPT_AT, (substeps + 1) * batch * sizes.state),
            (TWIN, nodes),
        ):
            integers[entry] = value
        for part, place in zip(parts, places, strict=True):
            part.write_header(integers, place)
        self.integers = Array(integers_size, np.int32)
        self.integers.write(integers)
        self.grid = Array(grids * nodes, self.dtype, lanes=LANES)
        self.scratch = Array(scratch_size, self.dtype)
        self.live = Array(2 * batch * sizes.state, self.dtype)
        self.parameters = self._array(np.tile(np.concatenate([p.initial_parameters() for p in parts]), batch))
        self.controls = Array(batch * sizes.control, self.dtype)
        self.outputs = Array(batch * sizes.output, self.dtype)
        if differentiable:
            self.adjoint = Array(batch * sizes.state, self.dtype)
            self.parameter_adjoint = Array(batch * sizes.parameter, self.dtype)
            self.control_adjoint = Array(batch * sizes.control, self.dtype)
            self.output_adjoint = Array(batch * sizes.output, self.dtype)
        self.initial = np.tile(np.concatenate([p.initial_state() for p in parts]), (batch, 1)).astype(self.dtype)
        self._frames = 2  # as in the header
        self._barrier_at, self._status_at = own["barrier"], own["status"]
        self._status_size = batch * records * STATUS_SIZE
        self._clean = np.zeros(own["status"] - own["barrier"] + self._status_size, np.int32)

    def _array(self, values: np.ndarray) -> Array:
        array = Array(len(values), self.dtype)
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

    def prepare_launch(self, frames: int | None = None, *, recorded: bool) -> None:
        """Reset barriers and status.

        frames: of the array that the launch will step through.  recorded: it is a segment of a recording.
        """
        self.integers.overwrite(self._barrier_at, self._clean)  # the status follows the barriers
        if frames is not None and frames != self._frames:
            self.integers.overwrite(FRAMES, np.array([frames], np.int32))
            self._frames = frames
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


def lay_out(parts: list[Part]) -> tuple[SimpleNamespace, list[int]]:
    """Give each part its stretches of the rows; returns the rows' sizes and where each part's partial sums begin."""
    sizes = SimpleNamespace(state=0, parameter=0, control=0, output=0, partial=0)
    partial_at = []
    for part in parts:
        part.lay_out(sizes.state, sizes.parameter, sizes.control, sizes.output)
        partial_at.append(sizes.partial)
        for name in vars(sizes):
            setattr(sizes, name, getattr(sizes, name) + getattr(part, f"{name}_size"))
    return sizes, partial_at


def _stack(sizes: list[int]) -> tuple[list[int], int]:
    """Offsets of stretches laid one after the other, and their total."""
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()
    return offsets[:-1], offsets[-1]
