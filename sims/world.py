"""World: the parts of a scene stepped together, forward and reverse, for a batch of independent worlds."""

from __future__ import annotations

from typing import Any

import numpy as np

from pliant.sims.arrays import Array
from pliant.sims.checkpoint import Checkpoints, parse_memory
from pliant.sims.checks import add_cotangent, check_gradient, look_up
from pliant.sims.drivers.elements import element_drivers
from pliant.sims.drivers.team import team_drivers
from pliant.sims.failures import SimulationDiverged
from pliant.sims.inputs import flag, real, real_array, shown, whole
from pliant.sims.launch import Launch
from pliant.sims.memory import FORWARD_ARRAYS, REVERSE_ARRAYS, WorldMemory
from pliant.sims.part import Model
from pliant.sims.runtime import choose, float_type, numpy_type, thread_count
from pliant.sims.world_state import WorldState

MEMBER_ELEMENTS = 2048
"""Particles (or other elements) that a team member must have to be worth its barriers."""


class World(WorldState):
    """``batch`` copies of a scene, stepped by the same kernels, each with its own state, parameters and controls.

    Args:
        scene: what is simulated: a ``Scene``, or another object that offers parts.
        batch: number of worlds B.
        substeps: k, substeps a step.
        dt: duration of a substep [s]; checked against the elastic wave speed.
        device: "auto", "cpu", "cuda", "vulkan" or "metal"; see ``runtime.choose``.
        precision: "f32", or "f64" (not on "vulkan" and "metal").
        soft_contact: effectors act through a soft layer (True) or inside their shape only.
        differentiable: record steps so that the reverse sweep can follow.
        memory: budget of the recording ("2GiB").
        horizon: steps that will be recorded, if known.

    Raises:
        ValueError: an argument is out of range; the message names it, its value and what is allowed.
    """

    def __init__(
        self,
        scene: Model,
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
        batch, differentiable = whole("batch", batch, 1), flag("differentiable", differentiable)
        flag("soft_contact", soft_contact)
        real("dt", dt, above=0.0, unit="s", dtype=numpy_type(precision))
        if horizon is not None:
            whole("horizon", horizon, 1)
        if not hasattr(scene, "parts"):
            raise ValueError(f"scene={shown(scene)} must be a Scene, or another object that offers parts")
        self.scene, self.substeps, self.dt = scene, whole("substeps", substeps, 1), float(dt)
        self.dim, budget = scene.dim, parse_memory(memory)
        parts = scene.parts(dt=self.dt, soft_contact=soft_contact)
        if not parts:
            raise ValueError(f"scene={shown(scene)} has no parts")
        self.device = choose(device, precision=precision)
        on_cpu = self.device == "cpu"
        elements = sum(part.elements for part in parts)
        # CPU threads: as many a world as the machine has to spare and the elements can feed
        self._team = max(1, min(thread_count() // batch, elements // MEMBER_ELEMENTS)) if on_cpu else 1
        arrays = WorldMemory(
            parts,
            batch=batch,
            team=self._team,
            records=self._team if on_cpu else max(1, elements),
            substeps=self.substeps,
            dt=self.dt,
            precision=precision,
            differentiable=differentiable,
            keeps=on_cpu and differentiable,
        )
        super().__init__(parts, arrays, batch=batch, precision=precision, differentiable=differentiable)
        try:
            self._check_scene()
        except ValueError:
            arrays.free()
            raise
        self.control_layout = {f.name: f.columns for part in parts for f in part.fields["controls"].values()}
        self._checkpoints: Checkpoints | None = None
        if self.differentiable:
            row, kept = self.batch * self._sizes.state, self._memory.kept
            self._checkpoints = Checkpoints(row, self.dtype, self.substeps, budget, horizon, kept)
        drivers = (team_drivers if on_cpu else element_drivers)(self.dim, float_type(precision), parts)
        fast_math = all(part.fast_math for part in parts)
        self._forward = Launch(drivers.forward, self._memory.arrays(FORWARD_ARRAYS), fast_math=fast_math)
        if self.differentiable:
            # measured: without simplification it compiles in three quarters of the time and runs no slower
            reverse_arrays = self._memory.arrays(REVERSE_ARRAYS)
            self._reverse = Launch(drivers.reverse, reverse_arrays, simplify=False, fast_math=fast_math)
        self._diverged = False
        self._before = np.zeros((0, 0))  # the state before the step under way, or the last one
        self._recorded_controls: list[np.ndarray] = []
        self._recorded_outputs: list[np.ndarray] = []
        self._loaded: int | None = None  # step that is shown in a reverse sweep
        self._reversed: int | None = None  # step that was reversed last
        self._begin(self._mask(None))

    @property
    def time_step(self) -> float:
        """Duration of a step [s]."""
        return self.substeps * self.dt

    @property
    def memory_bytes(self) -> int:
        """Bytes of all arrays but the recording's."""
        return self._memory.bytes

    def snapshot(self) -> tuple[np.ndarray, np.ndarray]:
        """All that the next step depends on besides controls and parameters, to the last bit, and the outputs shown.

        Returns:
            the state, shape (B, floats of a world's state), and the outputs, shape (B, floats of its outputs); copies.
        """
        self._check_open()
        return self._shown.copy(), self._shown_outputs.copy()

    def restore(self, state: np.ndarray, outputs: np.ndarray) -> None:
        """Begin anew, as after a reset, from a `snapshot` of this World or of another one of the same scene.

        Raises:
            ValueError: the arrays are not those of such a World and of as many worlds.
        """
        self._check_open()
        state, outputs = (
            np.array(real_array(f"{name} of the snapshot", values, shape=(self.batch, size), dtype=self.dtype))
            for name, values, size in (("state", state, self._sizes.state), ("outputs", outputs, self._sizes.outputs))
        )
        self.reset()
        self._show(state)
        self._shown_outputs = outputs

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle is given besides the arguments; steps recorded are not part of it."""
        state, outputs = self.snapshot()
        if self._loaded is not None:
            raise ValueError("the reverse sweep is under way; end_adjoint() before copying")
        parameters = self._memory.rows("parameters", self._sizes.parameters).copy()
        return {"state": state, "outputs": outputs, "parameters": parameters, "diverged": self._diverged}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self._memory.parameters.overwrite(0, kept["parameters"])
        self.restore(kept["state"], kept["outputs"])
        self._diverged = kept["diverged"]

    # ------------------------------------------------------------------ forward

    def begin_window(self) -> None:
        """Forget the recording; the current state, kept to the last bit, is the start of a new one."""
        self._check_differentiable().clear()
        self.end_adjoint()
        self.step_count = 0
        self._recorded_controls, self._recorded_outputs = [], []

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """Back to the scene's initial state, in all worlds or those of the mask; a full reset empties the recording.

        Raises:
            ValueError: some but not all worlds are reset in the middle of a recording.
        """
        self._check_open()
        self._begin(self._mask(worlds))

    def _begin(self, mask: np.ndarray) -> None:
        if not mask.all():
            if self.differentiable and self.step_count:
                raise ValueError("worlds: a recording covers all worlds alike; reset all of them")
            state = self._memory.frame(self._memory.live, self._current).copy()
            state[mask] = self._memory.initial[mask]
            outputs = self._shown_outputs.copy()
            outputs[mask] = 0
        else:
            state, outputs = self._memory.initial, np.zeros((self.batch, self._sizes.outputs), self.dtype)
            self._current = 0
            self.step_count = 0
            self._diverged = False
            self._loaded = self._reversed = None
            self._recorded_controls, self._recorded_outputs = [], []
            if self._checkpoints:
                self._checkpoints.clear()
        self._shown_outputs = outputs
        self._show(state)

    def step(self, controls: Any, *, may_fail: np.ndarray | None = None) -> np.ndarray:
        """Advance all worlds by one step of k substeps under constant controls, shape (B, C).

        Args:
            controls: of the step.
            may_fail: mask (B,) of worlds whose divergence is no error: they are put back to where they were before
                the step, and the others go on as if they were alone. Not while steps are recorded.

        Returns:
            which worlds were put back, shape (B,).

        Raises:
            ValueError: wrong shape, or not finite.
            SimulationDiverged: the state diverged. All worlds show the state before this step, which is not recorded: a
                reverse sweep covers the steps before it. To step on, the World wants a reset or a restore.
        """
        self._check_open()
        if self._diverged:
            raise ValueError("step: the state has diverged; reset() all worlds first")
        tolerated = np.zeros(self.batch, bool) if may_fail is None else self._mask(may_fail)
        if tolerated.any() and self.differentiable:
            raise ValueError("may_fail: a recording covers all worlds alike; none of them may fail")
        shape = (self.batch, self.control_size)
        values = np.ascontiguousarray(real_array("controls", controls, shape=shape, dtype=self.dtype))
        for part in self._parts:
            part.check_controls({name: field.of(values) for name, field in part.fields["controls"].items()})
        self._before = np.array(self._shown)
        segment = None
        if self._checkpoints:
            if self._loaded is not None:
                raise ValueError("step: the reverse sweep is under way; end_adjoint() first")
            segment = self._checkpoints.open_segment()
            if segment is None:
                self._checkpoints.keep_state(
                    lambda: self._memory.frame(self._memory.live, self._current).ravel().copy()
                )
            self._recorded_controls.append(values.copy())
        self._write_controls(values)
        failed = self._advance(segment, tolerated)
        if self._checkpoints:
            self._recorded_outputs.append(self._shown_outputs.copy())
        self.step_count += 1
        return failed

    def _write_controls(self, values: np.ndarray) -> None:
        if self.control_size:
            self._memory.controls.overwrite(0, values)

    def _advance(self, segment: Array | None, may_fail: np.ndarray) -> np.ndarray:
        """One step from the current state, through a segment that keeps all substeps or through the two live frames;
        returns which of the worlds that may fail did and were put back."""
        frames, first, count = self._memory.live, self._current, 2
        outputs = self._shown_outputs
        if segment is not None:
            self._memory.write_frame(segment, 0, self._memory.frame(self._memory.live, self._current))
            frames, first, count = segment, 0, self.substeps + 1
        failed = self._launch(frames, first, count, may_fail)
        if segment is not None:
            self._show(self._memory.frame(segment, self.substeps))
        else:
            self._current = (self._current + self.substeps) % 2
            self._shown = self._memory.frame(self._memory.live, self._current)
        if self._sizes.outputs:
            self._shown_outputs = self._memory.rows("outputs", self._sizes.outputs).copy()
        if failed.any():
            state = self._shown.copy()
            state[failed], self._shown_outputs[failed] = self._before[failed], outputs[failed]
            self._show(state)
        return failed

    def _launch(self, frames: Array, first: int, count: int, may_fail: np.ndarray) -> np.ndarray:
        memory = self._memory
        memory.prepare_launch(recorded=frames is not memory.live)
        self._forward(frames, self.batch, self._team, first, self.substeps, count)
        return self._check_status(may_fail)

    def _check_status(self, may_fail: np.ndarray, reversed_step: int | None = None) -> np.ndarray:
        """Which of the worlds that may fail did, shape (B,), in the step under way or in the adjoint of one.

        Raises:
            SimulationDiverged: another one failed.
        """
        status = self._memory.status()
        if not status.any():
            return np.zeros(self.batch, bool)
        has_failed = status[..., 0] > 0
        others = np.argwhere(has_failed & ~may_fail[:, None])
        if not len(others):
            return np.asarray(has_failed.any(axis=1))
        b, c = min(others.tolist(), key=lambda i: int(status[i[0], i[1], 0]))
        substep, element, code, other, number = (int(v) for v in status[b, c])
        part, cause = self._parts[number], self._parts[number].causes[code]
        name, prefix = part.element_name, f"{part.name}: " if part.name else ""
        who = f"{name} {element}" if other == 0 else f"{name}s {element} and {other - 1}"
        self._take_back()
        step, what = (self.step_count, "") if reversed_step is None else (reversed_step, "gradient of ")
        raise SimulationDiverged(step, substep - 1, f"{what}{prefix}{cause.array} of {who}", b, cause.text)

    def _take_back(self) -> None:
        """Undo the step that has just diverged, whose outputs have not been taken over yet."""
        if self._loaded is not None:  # one that is recomputed in a reverse sweep
            return
        self._diverged = True
        self._current = 0
        self._show(self._before)
        if self._checkpoints:
            self._checkpoints.take_back()
            del self._recorded_controls[self.step_count :]

    # ------------------------------------------------------------------ reverse

    def _check_differentiable(self) -> Checkpoints:
        self._check_open()
        if self._checkpoints is None:
            raise ValueError("differentiable=False: this World keeps no recording; make it with differentiable=True")
        return self._checkpoints

    def memory_for(self, *, whole: int, states: int) -> int:
        """Bytes of a budget that keeps all substeps of ``whole`` steps and the states before ``states`` others."""
        recording = self._check_differentiable()
        return whole * recording.segment_bytes + states * recording.state_bytes

    def begin_adjoint(self) -> None:
        """Start a reverse sweep: all cotangents are zero."""
        self._check_differentiable()
        self._end_state = self._memory.frame(self._memory.live, self._current).copy()
        self._end_outputs = self._shown_outputs.copy()
        for name in ("adjoint", "parameter_adjoint", "control_adjoint", "output_adjoint"):
            getattr(self._memory, name).fill(0)
        self._loaded = self._reversed = self.step_count

    def load_step(self, step: int) -> None:
        """Show the state right after ``step`` (recomputed if it was not kept); steps are loaded last first."""
        recording = self._check_differentiable()
        if self._reversed is None or step != self._reversed - 1:
            following = "begin_adjoint() first" if self._reversed is None else f"the next one is {self._reversed - 1}"
            raise ValueError(f"step={step} cannot be loaded in the reverse sweep; {following}")
        segment = recording.segment_of(step, self._recompute)
        self._segment = segment
        self._shown = self._memory.frame(segment, self.substeps)
        self._shown_outputs = self._recorded_outputs[step]
        self._write_controls(self._recorded_controls[step])
        self._loaded = step

    def _recompute(
        self, first: int, step: int, states: dict[int, np.ndarray], wanted: set[int], segment: Array
    ) -> None:
        """Steps first..step again from states[first], the last into the segment (see ``Checkpoints.segment_of``)."""
        state, none = states[first].reshape(self.batch, -1), np.zeros(self.batch, bool)
        if first < step:
            self._current = 0
            self._show(state)
            for t in range(first, step):
                if t in wanted:
                    states[t] = self._memory.frame(self._memory.live, self._current).ravel().copy()
                self._write_controls(self._recorded_controls[t])
                self._advance(None, none)
            state = self._memory.frame(self._memory.live, self._current)
        self._memory.write_frame(segment, 0, state)
        self._write_controls(self._recorded_controls[step])
        self._launch(segment, 0, self.substeps + 1, none)

    def load_initial(self) -> None:
        """Show the state before the first step."""
        self._check_differentiable()
        if self.step_count == 0:
            return
        if self._reversed != 0:
            raise ValueError("load_initial: step 0 has not been reversed yet")
        self._shown = self._memory.frame(self._segment, 0)

    def add_state_adjoint(self, name: str, cotangent: Any) -> None:
        """Add to the cotangent of a quantity of the state shown, shape (B, N, ...)."""
        self._check_differentiable()
        field = look_up(self._fields["state"], name, "state")
        rows = self._memory.rows("adjoint", self._sizes.state)
        add_cotangent(field.of(rows), cotangent, name)
        if self.device != "cpu":
            self._memory.adjoint.overwrite(0, rows)

    def add_output_adjoint(self, name: str, cotangent: Any) -> None:
        """Add to the cotangent of an output of the step loaded, shape (B, ...)."""
        self._check_differentiable()
        field = look_up(self._fields["outputs"], name, "output")
        rows = self._memory.rows("output_adjoint", self._sizes.outputs)
        add_cotangent(field.of(rows), cotangent, name)
        if self.device != "cpu":
            self._memory.output_adjoint.overwrite(0, rows)

    def step_adjoint(self, step: int) -> np.ndarray:
        """Reverse the loaded step: the state's cotangent becomes that of the state before it.

        Returns:
            the cotangent of the step's controls, shape (B, C).

        Raises:
            SimulationDiverged: a cotangent is not finite, or an iteration of an adjoint did not converge.
        """
        self._check_differentiable()
        if step != self._loaded or step == self._reversed:
            raise ValueError(f"step={step} is not loaded; load_step({step}) first")
        memory = self._memory
        memory.prepare_launch(recorded=True)
        memory.control_adjoint.fill(0)
        self._reverse(self._segment, self.batch, self._team, self.substeps)
        memory.output_adjoint.fill(0)
        self._reversed = step
        self._check_status(np.zeros(self.batch, bool), reversed_step=step)
        self._check_adjoint(step)
        return self._memory.rows("control_adjoint", self._sizes.controls).copy()

    def _check_adjoint(self, step: int) -> None:
        for kind, size, fields in (
            ("adjoint", self._sizes.state, [f for part in self._parts for f in part.fields["state"].values()]),
            ("control_adjoint", self._sizes.controls, self._fields["controls"].values()),
        ):
            rows = self._memory.rows(kind, size)
            if np.isfinite(rows).all():
                continue
            for field in fields:
                check_gradient(field.of(rows), field.name, step)

    def state_adjoint(self, name: str) -> np.ndarray:
        """Cotangent of a quantity of the state shown, shape (B, N, ...); a copy."""
        self._check_differentiable()
        return look_up(self._fields["state"], name, "state").of(self._memory.rows("adjoint", self._sizes.state)).copy()

    def state_adjoint_norm(self) -> np.ndarray:
        """Euclidean norm of the cotangent of the whole state shown, SI units side by side: float64, shape (B,)."""
        self._check_differentiable()
        return np.linalg.norm(self._memory.rows("adjoint", self._sizes.state).astype(np.float64), axis=1)

    def parameter_adjoint(self, name: str) -> np.ndarray:
        """Cotangent of a parameter over the steps reversed so far, in the parameter's shape; a copy.

        Raises:
            SimulationDiverged: it is not finite.
        """
        self._check_differentiable()
        field = look_up(self._fields["parameters"], name, "parameter")
        bar = field.of(self._memory.rows("parameter_adjoint", self._sizes.parameters)).copy()
        check_gradient(bar, name, self._reversed or 0)
        return bar

    def end_adjoint(self) -> None:
        """End the reverse sweep: the latest state is shown again and stepping may go on."""
        self._check_differentiable()
        if self._loaded is None:
            return
        self._current = 0
        self._show(self._end_state)
        self._shown_outputs = self._end_outputs
        self._loaded = self._reversed = None

    def close(self) -> None:
        """Release all memory; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._checkpoints:
            self._checkpoints.free()
        self._shown = self._shown_outputs = np.zeros((0, 0))
        self._recorded_controls, self._recorded_outputs = [], []
        del self._forward  # the launches hold the arrays
        if self.differentiable:
            del self._reverse
        self._memory.free()
