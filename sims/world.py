"""World: the parts of a scene stepped together, forward and reverse, for a batch of independent worlds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from pliant.sims.checkpoint import Recording, parse_memory
from pliant.sims.drivers import CACHE_LINE, team_drivers
from pliant.sims.mpm import state as mpm_at
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.solver import COURANT_LIMIT, MPMPart, largest_substep
from pliant.sims.robot.effector import EffectorPart
from pliant.sims.runtime import Array, float_type, numpy_type, start, thread_count
from pliant.sims.solver import (
    BARRIER,
    BATCH,
    CAUSES,
    CELL,
    CONSTANTS_SIZE,
    CONTROL,
    DT,
    FRAMES,
    HEADER_SIZE,
    INVERSE_CELL,
    LANES,
    LEFT_DOMAIN,
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
)

MEMBER_PARTICLES = 2048
"""Particles that a team member must have to be worth its barriers."""


class SimulationDiverged(RuntimeError):
    """A state or a gradient is no longer finite, or a particle left the domain.

    Attributes:
        step, substep: where (substep is None for a gradient).  array: which quantity.  world: index in the batch.
        cause: the likely reason.
    """

    def __init__(self, step: int, substep: int | None, array: str, world: int, cause: str) -> None:
        self.step, self.substep, self.array, self.world, self.cause = step, substep, array, world, cause
        at = f"step {step}" + ("" if substep is None else f", substep {substep}")
        super().__init__(f"simulation diverged at {at} in {array} of world {world}: {cause}")


class World:
    """``batch`` copies of a scene, stepped by the same kernels, each with its own state, parameters and controls.

    Args:
        scene: what is simulated.
        batch: number of worlds B.
        substeps: k, substeps a step.
        dt: duration of a substep [s]; checked against the elastic wave speed.
        device, precision: see ``runtime``.
        soft_contact: effectors act through a soft layer (True) or inside their shape only.
        differentiable: record steps so that the reverse sweep can follow.
        memory: budget of the recording ("2GiB").
        horizon: steps that will be recorded, if known.

    Raises:
        ValueError: an argument is out of range; the message names it, its value and what is allowed.
    """

    def __init__(
        self,
        scene: Scene,
        *,
        batch: int = 1,
        substeps: int,
        dt: float,
        device: str = "auto",
        precision: str = "f32",
        soft_contact: bool = True,
        differentiable: bool = False,
        memory: str | int = "2GiB",
        horizon: int | None = None,
    ) -> None:
        if int(batch) != batch or batch < 1:
            raise ValueError(f"batch={batch!r} must be an integer >= 1")
        if int(substeps) != substeps or substeps < 1:
            raise ValueError(f"substeps={substeps!r} must be an integer >= 1")
        if not (np.isfinite(dt) and dt > 0):
            raise ValueError(f"dt={dt!r} must be a positive duration [s]")
        self.scene, self.batch, self.substeps, self.dt = scene, int(batch), int(substeps), float(dt)
        self.dim, self.precision, self.differentiable = scene.dim, precision, bool(differentiable)
        self.dtype, fp = numpy_type(precision), float_type(precision)
        budget = parse_memory(memory)
        self._mpm = MPMPart(scene, self.dt)
        self._effectors = EffectorPart(scene.effectors, soft_contact=soft_contact)
        self._parts = [self._effectors, self._mpm]
        self.device = start(device)
        self._lay_out()
        self.particle_count, self.effector_count = self._mpm.count, self._effectors.count
        row = self.batch * self._sizes.state
        self._recording = (
            Recording(row, self.dtype, self.substeps, budget, horizon) if self.differentiable else None
        )
        self._team = self._pick_team()
        has_effectors = self.effector_count > 0
        keys = tuple(part.key for part in self._parts if part is self._mpm or has_effectors)
        self._drivers = team_drivers(self.dim, fp, keys, has_effectors)
        self._allocate()
        self._closed = False
        self._recorded_controls: list[np.ndarray] = []
        self._recorded_outputs: list[np.ndarray] = []
        self._loaded: int | None = None
        self.step_count = 0
        self.reset()

    # ------------------------------------------------------------------ layout and memory

    def _lay_out(self) -> None:
        at = SimpleNamespace(state=0, parameter=0, control=0, output=0, partial=0)
        self._partial_at = {}
        for part in self._parts:
            part.lay_out(at.state, at.parameter, at.control, at.output)
            self._partial_at[part] = at.partial
            for name in vars(at):
                setattr(at, name, getattr(at, name) + getattr(part, f"{name}_size"))
        self._sizes = at
        self._state_fields = {f.name: f for part in reversed(self._parts) for f in part.state_fields}
        self._parameter_fields = {f.name: f for part in reversed(self._parts) for f in part.parameter_fields}
        self._output_fields = {f.name: f for part in self._parts for f in part.output_fields}
        fields = [f for part in self._parts for f in part.control_fields]
        self.control_layout = {
            f.name: slice(f.offset, f.offset + int(np.prod(f.shape, dtype=int)) * (f.count or 1)) for f in fields
        }

    def _pick_team(self) -> int:
        """Threads a world: as many as the machine has to spare and the particles can feed."""
        return max(1, min(thread_count() // self.batch, self.particle_count // MEMBER_PARTICLES))

    def _allocate(self) -> None:
        b, sizes, mpm, dim = self.batch, self._sizes, self._mpm, self.dim
        copies = b * self._team
        nodes = copies * mpm.nodes
        affine = b * mpm.count * dim * dim if self.differentiable else 0
        scratch_at, scratch_size = _stack({"affine": affine, "partial": copies * sizes.partial})
        integers_at, integers_size = _stack(
            {
                "header": HEADER_SIZE,
                "barrier": b * CACHE_LINE,
                "status": copies * STATUS_SIZE,
                "wall_kinds": 2 * dim,
                "effector_kinds": self._effectors.count,
                "info": 2 * mpm.count,
                "order": b * mpm.count,
                "box": copies * 2 * dim,
                "cells": b * mpm.nodes,
            }
        )
        for what, size in (("grid", nodes * LANES), ("recording", (self.substeps + 1) * b * sizes.state)):
            if size >= 2**31:
                raise ValueError(f"batch={b} is too large: the {what} would need {size} floats; allowed: fewer than 2^31")
        shapes_at = CONSTANTS_SIZE + mpm.count
        constants = np.zeros(CONSTANTS_SIZE)
        constants[DT], constants[CELL], constants[INVERSE_CELL] = self.dt, self.scene.cell, 1 / self.scene.cell
        constants = np.concatenate([constants, mpm.volumes(), self._effectors.constants()])
        self._constants = self._array(constants)
        self._grid = Array(nodes, self.dtype, lanes=LANES)
        self._scratch = Array(scratch_size, self.dtype)
        self._integers = Array(integers_size, np.int32)
        self._live = Array(2 * b * sizes.state, self.dtype)
        self._parameters = self._array(np.tile(np.concatenate([p.initial_parameters() for p in self._parts]), b))
        self._controls = Array(b * sizes.control, self.dtype)
        self._outputs = Array(b * sizes.output, self.dtype)
        if self.differentiable:
            self._grid_adjoint = Array(nodes, self.dtype, lanes=LANES)
            self._adjoint = Array(b * sizes.state, self.dtype)
            self._parameter_adjoint = Array(b * sizes.parameter, self.dtype)
            self._control_adjoint = Array(b * sizes.control, self.dtype)
            self._output_adjoint = Array(b * sizes.output, self.dtype)
        self._initial = np.tile(np.concatenate([p.initial_state() for p in self._parts]), (b, 1)).astype(self.dtype)
        header = np.zeros(integers_size, np.int32)
        for entry, value in (
            (BATCH, b),
            (TEAM, self._team),
            (STATE, sizes.state),
            (PARAMETER, sizes.parameter),
            (CONTROL, sizes.control),
            (OUTPUT, sizes.output),
            (FRAMES, 2),
            (PARTIAL, sizes.partial),
            (PARTIAL_OFFSET, scratch_at["partial"]),
            (STATUS, integers_at["status"]),
            (BARRIER, integers_at["barrier"]),
            (SUBSTEPS, self.substeps),
        ):
            header[entry] = value
        self._effectors.write_header(
            header,
            record_at=shapes_at,
            kind_at=integers_at["effector_kinds"],
            partial_at=self._partial_at[self._effectors],
        )
        mpm.write_header(
            header,
            {
                mpm_at.AFFINE_AT: scratch_at["affine"],
                mpm_at.ORDER_AT: integers_at["order"],
                mpm_at.CELLS_AT: integers_at["cells"],
                mpm_at.BOX_AT: integers_at["box"],
                mpm_at.WALL_KIND_AT: integers_at["wall_kinds"],
                mpm_at.INFO_AT: integers_at["info"],
                mpm_at.VOLUME_AT: CONSTANTS_SIZE,
                mpm_at.PARTIAL_AT: self._partial_at[mpm],
            },
        )
        for place, values in (
            ("wall_kinds", self.scene.walls.faces(dim)[0]),
            ("effector_kinds", self._effectors.kinds()),
            ("info", mpm.info()),
        ):
            header[integers_at[place] : integers_at[place] + len(values)] = values
        self._integers.write(header)
        self._barrier = slice(integers_at["barrier"], integers_at["barrier"] + b * CACHE_LINE)
        self._status = slice(integers_at["status"], integers_at["status"] + copies * STATUS_SIZE)

    def _array(self, values: np.ndarray) -> Array:
        array = Array(len(values), self.dtype)
        array.write(values.astype(self.dtype))
        return array

    def _rows(self, array: Array, size: int) -> np.ndarray:
        return array.view()[: self.batch * size].reshape(self.batch, size)

    def _frame(self, array: Array, frame: int) -> np.ndarray:
        """One frame of an array of states, shape (B, state size)."""
        n = self.batch * self._sizes.state
        return array.view()[frame * n : (frame + 1) * n].reshape(self.batch, -1)

    def _edit(self, array: Array, rows: slice, values: np.ndarray) -> None:
        view = array.view()
        view[rows] = values.ravel()
        array.write(view)

    # ------------------------------------------------------------------ state, parameters, controls

    @property
    def time_step(self) -> float:
        """Duration of a step [s]."""
        return self.substeps * self.dt

    @property
    def control_size(self) -> int:
        """Controls of one world, C."""
        return self._sizes.control

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(self._state_fields)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(self._parameter_fields)

    def state(self, name: str) -> np.ndarray:
        """A quantity of the current (or loaded) state, shape (B, N, ...) [SI]; a copy."""
        return _lookup(self._state_fields, name, "state").of(self._shown).copy()

    def set_state(self, name: str, values: Any, worlds: np.ndarray | None = None) -> None:
        """Overwrite a quantity of the state right after a reset, in all worlds or those of the mask ``worlds`` (B,).

        Raises:
            ValueError: unknown name, wrong shape, not finite, outside the domain, or steps have been recorded since the reset.
        """
        field = _lookup(self._state_fields, name, "state")
        if self.differentiable and self.step_count:
            raise ValueError(f"state {name!r} can be set before the first step of a recording only; reset first")
        state = self._frame(self._live, self._current).copy()
        window = field.of(state)
        window[self._mask(worlds)] = _fit(values, window, name)[self._mask(worlds)]
        if name == "position":
            self.scene.check_inside(window)
        self._show(state)

    def parameter(self, name: str) -> np.ndarray:
        """A parameter, shape (B, N), (B, N, dim) or (B, ...) [SI]; a copy."""
        field = _lookup(self._parameter_fields, name, "parameter")
        return field.of(self._rows(self._parameters, self._sizes.parameter)).copy()

    def set_parameter(self, name: str, values: Any) -> None:
        """Overwrite a parameter with values that broadcast to its shape, before the first step of a recording.

        Raises:
            ValueError: unknown name, wrong shape, not finite, out of range, or unstable with the World's dt.
        """
        field = _lookup(self._parameter_fields, name, "parameter")
        if self.differentiable and self.step_count:
            raise ValueError(f"parameter {name!r} can be set before the first step of a recording only; reset first")
        rows = self._rows(self._parameters, self._sizes.parameter).copy()
        window = field.of(rows)
        window[...] = _fit(values, window, name)
        _check_parameter(name, window)
        elastic = [
            self._parameter_fields[n].of(rows).astype(float) for n in ("youngs_modulus", "poissons_ratio", "density")
        ]
        limit = largest_substep(self.scene.cell, *elastic)
        if self.dt > limit * (1 + 1e-6):
            raise ValueError(
                f"parameter {name!r}: elastic waves would cross more than {COURANT_LIMIT} cells in dt={self.dt} s; "
                f"with these values dt may be at most {limit:.3g} s"
            )
        self._parameters.write(rows.ravel() if self.device != "cpu" else self._assign(self._parameters, rows))

    @staticmethod
    def _assign(array: Array, rows: np.ndarray) -> np.ndarray:
        view = array.view()
        view[: rows.size] = rows.ravel()
        return view

    @property
    def effector_force(self) -> np.ndarray:
        """Mean force of the particles on each effector over the last (or loaded) step, shape (B, M, 3) [N]; a copy."""
        if not self.effector_count:
            return np.zeros((self.batch, 0, 3), self.dtype)
        return self._output_fields["effector_force"].of(self._shown_outputs).copy()

    def _mask(self, worlds: np.ndarray | None) -> np.ndarray:
        if worlds is None:
            return np.ones(self.batch, bool)
        mask = np.asarray(worlds)
        if mask.shape != (self.batch,) or mask.dtype != bool:
            raise ValueError(f"worlds={worlds!r} must be a boolean mask of shape ({self.batch},)")
        return mask

    def _show(self, state: np.ndarray) -> None:
        """Make ``state`` (B, state size) the current one."""
        n = self.batch * self._sizes.state
        self._edit(self._live, slice(self._current * n, (self._current + 1) * n), state)
        self._shown = self._frame(self._live, self._current)

    # ------------------------------------------------------------------ forward

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """Back to the scene's initial state, in all worlds or those of the mask; a full reset empties the recording.

        Raises:
            ValueError: some but not all worlds are reset in the middle of a recording.
        """
        self._check_open()
        mask = self._mask(worlds)
        if not mask.all():
            if self.differentiable and self.step_count:
                raise ValueError("worlds: a recording covers all worlds alike; reset all of them")
            state = self._frame(self._live, self._current).copy()
            state[mask] = self._initial[mask]
        else:
            state = self._initial
            self._current = 0
            self.step_count = 0
            self._loaded = None
            self._recorded_controls, self._recorded_outputs = [], []
            if self._recording:
                self._recording.clear()
        self._shown_outputs = np.zeros((self.batch, self._sizes.output), self.dtype)
        self._show(state)

    def step(self, controls: Any) -> None:
        """Advance all worlds by one step of k substeps under constant controls, shape (B, C).

        Raises:
            ValueError: wrong shape, or not finite.  SimulationDiverged: the state diverged; the World wants a reset.
        """
        self._check_open()
        values = np.ascontiguousarray(controls, self.dtype)
        if values.shape != (self.batch, self.control_size):
            raise ValueError(f"controls have shape {values.shape}, must be ({self.batch}, {self.control_size})")
        if not np.isfinite(values).all():
            raise ValueError("controls contain a value that is not finite")
        segment = None
        if self._recording:
            if self._loaded is not None:
                raise ValueError("step: the reverse sweep is under way; end_adjoint() first")
            segment = self._recording.open_segment()
            if segment is None:
                self._recording.keep_state(lambda: self._frame(self._live, self._current).ravel().copy())
            self._recorded_controls.append(values.copy())
        self._write_controls(values)
        self._advance(segment)
        if self._recording:
            self._recorded_outputs.append(self._shown_outputs.copy())
        self.step_count += 1

    def _write_controls(self, values: np.ndarray) -> None:
        if self.control_size:
            self._edit(self._controls, slice(0, values.size), values)

    def _advance(self, segment: Array | None) -> None:
        """One step from the current state, through a segment that keeps all substeps or through the two live frames."""
        n = self.batch * self._sizes.state
        frames, first, count = self._live, self._current, 2
        if segment is not None:
            self._edit(segment, slice(0, n), self._frame(self._live, self._current))
            frames, first, count = segment, 0, self.substeps + 1
        self._launch(frames, first, count)
        if segment is not None:
            self._show(self._frame(segment, self.substeps))
        else:
            self._current = (self._current + self.substeps) % 2
            self._shown = self._frame(self._live, self._current)
        if self._sizes.output:
            self._shown_outputs = self._rows(self._outputs, self._sizes.output).copy()

    def _launch(self, frames: Array, first: int, count: int) -> None:
        integers = self._integers.view()
        integers[self._barrier] = 0
        integers[self._status] = 0
        integers[FRAMES] = count
        self._integers.write(integers)
        self._drivers.forward(
            frames.device_array,
            self._parameters.device_array,
            self._controls.device_array,
            self._outputs.device_array,
            self._constants.device_array,
            self._grid.device_array,
            self._scratch.device_array,
            self._integers.device_array,
            self.batch,
            self._team,
            first,
            self.substeps,
        )
        self._check_status()

    def _check_status(self) -> None:
        status = self._integers.view()[self._status].reshape(self.batch, self._team, STATUS_SIZE)
        if not status.any():
            return
        failed = np.argwhere(status[..., 0] > 0)
        b, c = min(failed.tolist(), key=lambda i: int(status[i[0], i[1], 0]))
        substep, particle, code = (int(v) for v in status[b, c])
        array = "position" if code == LEFT_DOMAIN else "velocity"
        raise SimulationDiverged(self.step_count, substep - 1, f"{array} of particle {particle}", b, CAUSES[code])

    # ------------------------------------------------------------------ reverse

    def _check_recording(self) -> Recording:
        self._check_open()
        if self._recording is None:
            raise ValueError("differentiable=False: this World keeps no recording; make it with differentiable=True")
        return self._recording

    def begin_adjoint(self) -> None:
        """Start a reverse sweep: all cotangents are zero."""
        self._check_recording()
        self._end_state = self._frame(self._live, self._current).copy()
        self._end_outputs = self._shown_outputs.copy()
        for array in (self._adjoint, self._parameter_adjoint, self._control_adjoint, self._output_adjoint):
            array.fill(0)
        self._loaded = self.step_count

    def load_step(self, step: int) -> None:
        """Show the state right after ``step`` (recomputed if it was not kept); steps are loaded last first."""
        recording = self._check_recording()
        if self._loaded is None or step != self._loaded - 1:
            raise ValueError(f"step={step} cannot be loaded; the next one in the reverse sweep is {(self._loaded or 0) - 1}")
        segment = recording.segment_of(step, self._replay)
        self._segment = segment
        self._shown = self._frame(segment, self.substeps)
        self._shown_outputs = self._recorded_outputs[step]
        self._write_controls(self._recorded_controls[step])
        self._loaded = step

    def _replay(self, first: int, step: int, states: dict[int, np.ndarray], wanted: set[int], segment: Array) -> None:
        """Recompute steps first..step from states[first], the last one into the segment (see ``Recording.segment_of``)."""
        self._current = 0
        self._show(states[first].reshape(self.batch, -1))
        for t in range(first, step + 1):
            if t in wanted:
                states[t] = self._frame(self._live, self._current).ravel().copy()
            self._write_controls(self._recorded_controls[t])
            self._advance(segment if t == step else None)

    def load_initial(self) -> None:
        """Show the state before the first step."""
        self._check_recording()
        if self.step_count == 0:
            return
        if self._loaded != 0:
            raise ValueError("load_initial: step 0 has not been reversed yet")
        self._shown = self._frame(self._segment, 0)

    def add_state_adjoint(self, name: str, cotangent: Any) -> None:
        """Add to the cotangent of a quantity of the state shown, shape (B, N, ...)."""
        field = _lookup(self._state_fields, name, "state")
        rows = self._rows(self._adjoint, self._sizes.state)
        window = field.of(rows)
        window += np.asarray(cotangent, self.dtype).reshape(window.shape)
        if self.device != "cpu":
            self._adjoint.write(rows.ravel())

    def add_force_adjoint(self, cotangent: Any) -> None:
        """Add to the cotangent of ``effector_force`` of the step loaded, shape (B, M, 3)."""
        if self.effector_count:
            rows = self._rows(self._output_adjoint, self._sizes.output)
            window = self._output_fields["effector_force"].of(rows)
            window += np.asarray(cotangent, self.dtype).reshape(window.shape)
            if self.device != "cpu":
                self._output_adjoint.write(rows.ravel())

    def step_adjoint(self, step: int) -> np.ndarray:
        """Reverse the loaded step: the state's cotangent becomes that of the state before it.

        Returns:
            the cotangent of the step's controls, shape (B, C).

        Raises:
            SimulationDiverged: a cotangent is not finite.
        """
        self._check_recording()
        if step != self._loaded:
            raise ValueError(f"step={step} is not loaded; load_step({step}) first")
        self._control_adjoint.fill(0)
        integers = self._integers.view()
        integers[self._barrier] = 0
        self._integers.write(integers)
        self._drivers.reverse(
            self._segment.device_array,
            self._adjoint.device_array,
            self._parameters.device_array,
            self._parameter_adjoint.device_array,
            self._controls.device_array,
            self._control_adjoint.device_array,
            self._outputs.device_array,
            self._output_adjoint.device_array,
            self._constants.device_array,
            self._grid.device_array,
            self._grid_adjoint.device_array,
            self._scratch.device_array,
            self._integers.device_array,
            self.batch,
            self._team,
            self.substeps,
        )
        self._output_adjoint.fill(0)
        self._check_adjoint(step)
        return self._rows(self._control_adjoint, self._sizes.control).copy()

    def _check_adjoint(self, step: int) -> None:
        rows = self._rows(self._adjoint, self._sizes.state)
        if np.isfinite(rows).all():
            return
        for name, field in self._state_fields.items():
            bad = ~np.isfinite(field.of(rows)).reshape(self.batch, -1).all(1)
            if bad.any():
                raise SimulationDiverged(
                    step, None, f"gradient of {name}", int(np.argmax(bad)), "the gradient overflowed in the reverse sweep"
                )

    def state_adjoint(self, name: str) -> np.ndarray:
        """Cotangent of a quantity of the state shown, shape (B, N, ...); a copy."""
        self._check_recording()
        return _lookup(self._state_fields, name, "state").of(self._rows(self._adjoint, self._sizes.state)).copy()

    def parameter_adjoint(self, name: str) -> np.ndarray:
        """Cotangent of a parameter over the steps reversed so far, in the parameter's shape; a copy."""
        self._check_recording()
        field = _lookup(self._parameter_fields, name, "parameter")
        return field.of(self._rows(self._parameter_adjoint, self._sizes.parameter)).copy()

    def end_adjoint(self) -> None:
        """End the reverse sweep: the latest state is shown again and stepping may go on."""
        self._check_recording()
        if self._loaded is None:
            return
        self._current = 0
        self._show(self._end_state)
        self._shown_outputs = self._end_outputs
        self._loaded = None

    # ------------------------------------------------------------------ end

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this World is closed")

    def close(self) -> None:
        """Release all memory; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._recording:
            self._recording.free()
        self._shown = self._shown_outputs = self._initial = np.zeros((0, 0))
        for name, value in list(vars(self).items()):
            if isinstance(value, Array):
                value.free()
                delattr(self, name)


def _stack(sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Offsets of stretches laid one after the other, and their total."""
    offsets, total = {}, 0
    for name, size in sizes.items():
        offsets[name] = total
        total += size
    return offsets, total


def _lookup(fields: dict[str, Field], name: str, what: str) -> Field:
    if name not in fields:
        raise ValueError(f"{what} {name!r} is unknown; this scene has: {', '.join(fields)}")
    return fields[name]


def _fit(values: Any, window: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(values, float)
    try:
        array = np.broadcast_to(array, window.shape)
    except ValueError:
        raise ValueError(f"{name} has shape {array.shape}, which does not broadcast to {window.shape}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains a value that is not finite")
    return array


def _check_parameter(name: str, values: np.ndarray) -> None:
    if name in ("youngs_modulus", "density") and (values <= 0).any():
        raise ValueError(f"parameter {name!r}={float(values.min())} must be positive")
    if name == "poissons_ratio" and ((values <= -1) | (values >= 0.5)).any():
        raise ValueError(f"parameter {name!r} must lie in (-1, 0.5); given {float(values.min())}..{float(values.max())}")
    if name in ("yield_stress", "muscle_strength", "wall_friction", "effector_friction", "effector_softness"):
        if (values < 0).any():
            raise ValueError(f"parameter {name!r}={float(values.min())} must not be negative")
