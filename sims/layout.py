"""The memory of a World: what lies where, allocated once, with windows for the host."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from pliant.sims.mpm import state as mpm_at
from pliant.sims.mpm.solver import MPMPart
from pliant.sims.robot.effector import EffectorPart
from pliant.sims.runtime import Array, numpy_type
from pliant.sims.solver import (
    BARRIER,
    BATCH,
    CELL,
    CONSTANTS_SIZE,
    CONTROL,
    DT,
    FRAMES,
    HEADER_SIZE,
    INVERSE_CELL,
    LANES,
    OUTPUT,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    STATE,
    STATUS,
    STATUS_SIZE,
    SUBSTEPS,
    TEAM,
    Field,
    Part,
)

CACHE_LINE = 16
"""Integers between the barrier counters of two worlds."""


class WorldMemory:
    """Arrays of ``batch`` worlds made of the parts ``mpm`` and ``effectors``, and the header that tells kernels their
    places.

    Attributes:
        live: the two frames that steps without a recording go back and forth between.
        parameters, controls, outputs, constants, grid, scratch, integers and, if ``differentiable``, adjoint,
        parameter_adjoint, control_adjoint, output_adjoint, grid_adjoint: see ``solver.Memory``.
        sizes: floats of a world's state, parameters, controls, outputs and partial sums.

    Raises:
        ValueError: an array would have 2^31 elements or more.
    """

    def __init__(
        self,
        mpm: MPMPart,
        effectors: EffectorPart,
        *,
        batch: int,
        team: int,
        substeps: int,
        dt: float,
        precision: str,
        differentiable: bool,
    ) -> None:
        self.batch, self.team, self.dtype = batch, team, numpy_type(precision)
        parts: list[Part] = [effectors, mpm]
        self.sizes, partial_at = lay_out(parts)
        self.state_fields = {f.name: f for part in reversed(parts) for f in part.state_fields}
        self.parameter_fields = {f.name: f for part in reversed(parts) for f in part.parameter_fields}
        self.output_fields = {f.name: f for part in parts for f in part.output_fields}
        self.control_fields = {f.name: f for part in parts for f in part.control_fields}
        sizes, copies, dim, cell = self.sizes, batch * team, mpm.dim, mpm.scene.cell
        nodes = copies * mpm.nodes
        affine = batch * mpm.count * dim * dim if differentiable else 0
        scratch_at, scratch_size = _stack({"affine": affine, "partial": copies * sizes.partial})
        at, integers_size = _stack(
            {
                "header": HEADER_SIZE,
                "barrier": batch * CACHE_LINE,
                "status": copies * STATUS_SIZE,
                "wall_kinds": 2 * dim,
                "effector_kinds": effectors.count,
                "info": 2 * mpm.count,
                "order": batch * mpm.count,
                "box": copies * 2 * dim,
                "cells": batch * mpm.nodes,
            }
        )
        for what, size in (("grid", nodes * LANES), ("recording", (substeps + 1) * batch * sizes.state)):
            if size >= 2**31:
                raise ValueError(f"batch={batch} is too large: the {what} would need {size} floats; allowed: < 2^31")
        shapes_at = CONSTANTS_SIZE + mpm.count
        constants = np.zeros(CONSTANTS_SIZE)
        constants[DT], constants[CELL], constants[INVERSE_CELL] = dt, cell, 1 / cell
        self.constants = self._array(np.concatenate([constants, mpm.volumes(), effectors.constants()]))
        self.grid = Array(nodes, self.dtype, lanes=LANES)
        self.scratch = Array(scratch_size, self.dtype)
        self.integers = Array(integers_size, np.int32)
        self.live = Array(2 * batch * sizes.state, self.dtype)
        self.parameters = self._array(np.tile(np.concatenate([p.initial_parameters() for p in parts]), batch))
        self.controls = Array(batch * sizes.control, self.dtype)
        self.outputs = Array(batch * sizes.output, self.dtype)
        if differentiable:
            self.grid_adjoint = Array(nodes, self.dtype, lanes=LANES)
            self.adjoint = Array(batch * sizes.state, self.dtype)
            self.parameter_adjoint = Array(batch * sizes.parameter, self.dtype)
            self.control_adjoint = Array(batch * sizes.control, self.dtype)
            self.output_adjoint = Array(batch * sizes.output, self.dtype)
        self.initial = np.tile(np.concatenate([p.initial_state() for p in parts]), (batch, 1)).astype(self.dtype)
        header = np.zeros(integers_size, np.int32)
        for entry, value in (
            (BATCH, batch),
            (TEAM, team),
            (STATE, sizes.state),
            (PARAMETER, sizes.parameter),
            (CONTROL, sizes.control),
            (OUTPUT, sizes.output),
            (FRAMES, 2),
            (PARTIAL, sizes.partial),
            (PARTIAL_OFFSET, scratch_at["partial"]),
            (STATUS, at["status"]),
            (BARRIER, at["barrier"]),
            (SUBSTEPS, substeps),
        ):
            header[entry] = value
        effectors.write_header(
            header, record_at=shapes_at, kind_at=at["effector_kinds"], partial_at=partial_at[effectors]
        )
        mpm.write_header(
            header,
            {
                mpm_at.AFFINE_AT: scratch_at["affine"],
                mpm_at.ORDER_AT: at["order"],
                mpm_at.CELLS_AT: at["cells"],
                mpm_at.BOX_AT: at["box"],
                mpm_at.WALL_KIND_AT: at["wall_kinds"],
                mpm_at.INFO_AT: at["info"],
                mpm_at.VOLUME_AT: CONSTANTS_SIZE,
                mpm_at.PARTIAL_AT: partial_at[mpm],
            },
        )
        for place, values in (
            ("wall_kinds", mpm.scene.walls.faces(dim)[0]),
            ("effector_kinds", effectors.kinds()),
            ("info", mpm.info()),
        ):
            header[at[place] : at[place] + len(values)] = values
        self.integers.write(header)
        self._barrier = slice(at["barrier"], at["barrier"] + batch * CACHE_LINE)
        self._status = slice(at["status"], at["status"] + copies * STATUS_SIZE)

    def _array(self, values: np.ndarray) -> Array:
        array = Array(len(values), self.dtype)
        array.write(values.astype(self.dtype))
        return array

    def rows(self, name: str, size: int) -> np.ndarray:
        """The array ``name`` as (B, size): a window on the CPU, a copy elsewhere."""
        return getattr(self, name).view()[: self.batch * size].reshape(self.batch, size)

    def frame(self, array: Array, frame: int) -> np.ndarray:
        """One frame of an array of states, (B, state size): a window on the CPU, a copy elsewhere."""
        n = self.batch * self.sizes.state
        return array.view()[frame * n : (frame + 1) * n].reshape(self.batch, -1)

    def write_frame(self, array: Array, frame: int, state: np.ndarray) -> None:
        """Overwrite one frame of an array of states by (B, state size)."""
        n = self.batch * self.sizes.state
        self.write(array, frame * n, state)

    @staticmethod
    def write(array: Array, start: int, values: np.ndarray) -> None:
        """Overwrite the stretch of an array that begins at ``start``."""
        view = array.view()
        view[start : start + values.size] = values.ravel()
        array.write(view)

    def prepare_launch(self, frames: int | None = None) -> None:
        """Reset barriers and status; ``frames``: of the array that the launch will step through."""
        integers = self.integers.view()
        integers[self._barrier] = 0
        integers[self._status] = 0
        if frames is not None:
            integers[FRAMES] = frames
        self.integers.write(integers)

    def status(self) -> np.ndarray:
        """First failures: (B, team, STATUS_SIZE)."""
        return self.integers.view()[self._status].reshape(self.batch, self.team, STATUS_SIZE)

    def free(self) -> None:
        """Release all arrays."""
        for name, value in list(vars(self).items()):
            if isinstance(value, Array):
                value.free()
                delattr(self, name)
        self.initial = np.zeros((0, 0))


def lay_out(parts: list[Part]) -> tuple[SimpleNamespace, dict[Part, int]]:
    """Give each part its stretches of the rows; returns the rows' sizes and where each part's partial sums begin."""
    sizes = SimpleNamespace(state=0, parameter=0, control=0, output=0, partial=0)
    partial_at: dict[Part, int] = {}
    for part in parts:
        part.lay_out(sizes.state, sizes.parameter, sizes.control, sizes.output)
        partial_at[part] = sizes.partial
        for name in vars(sizes):
            setattr(sizes, name, getattr(sizes, name) + getattr(part, f"{name}_size"))
    return sizes, partial_at


def control_slices(fields: dict[str, Field]) -> dict[str, slice]:
    """Columns of the controls that each control field takes."""
    return {
        name: slice(f.offset, f.offset + int(np.prod(f.shape, dtype=int)) * (f.count or 1))
        for name, f in fields.items()
    }


def _stack(sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Offsets of stretches laid one after the other, and their total."""
    offsets, total = {}, 0
    for name, size in sizes.items():
        offsets[name] = total
        total += size
    return offsets, total
