"""The state, the parameters and the outputs of a batch of worlds, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pliant.sims.checks import fit, look_up
from pliant.sims.copying import MadeAnew
from pliant.sims.inputs import real_array
from pliant.sims.memory import WorldMemory
from pliant.sims.part import Part
from pliant.sims.runtime import check_process, numpy_type


class WorldState(MadeAnew):
    """The half of a ``World`` that reads and writes quantities by name; the other half, ``World``, moves them.

    Args:
        parts: what the world is made of, solvers after what they are coupled to.
        memory: the arrays that the parts are laid out in.
        batch: number of worlds B.
        precision: of the numbers read, see ``runtime``.
        differentiable: whether steps are recorded; then quantities are set before the first step only.
    """

    def __init__(
        self, parts: Sequence[Part], memory: WorldMemory, *, batch: int, precision: str, differentiable: bool
    ) -> None:
        self.batch, self.differentiable = batch, differentiable
        self.precision, self.dtype = precision, numpy_type(precision)
        self.step_count = 0
        self._parts, self._memory, self._sizes = parts, memory, memory.sizes
        # names of solvers come first
        self._state_fields = {f.name: f for part in reversed(parts) for f in part.state_fields}
        self._parameter_fields = {f.name: f for part in reversed(parts) for f in part.parameter_fields}
        self._output_fields = {f.name: f for part in parts for f in part.output_fields}
        self._closed = False
        self._current = 0  # the live frame that holds the current state
        self._shown = np.zeros((0, 0))  # the current state, or the one loaded in a reverse sweep
        self._shown_outputs = np.zeros((0, 0))

    def _check_scene(self) -> None:
        """Raise ``ValueError`` if a quantity of the scene is out of range in the World's precision."""
        parameters = self._memory.rows("parameters", self._sizes.parameter)
        for what, fields, rows in (
            ("state", self._state_fields, self._memory.initial),
            ("parameter", self._parameter_fields, parameters),
        ):
            for name, field in fields.items():
                real_array(f"{what} {name!r}", field.of(rows), dtype=self.dtype)
        for part in self._parts:
            values = {field.name: field.of(parameters) for field in part.parameter_fields}
            for name in values:
                part.check_parameters(name, values)
        real_array(
            "a constant of the scene", self._memory.constants.read(0, self._memory.constants.size), dtype=self.dtype
        )

    @property
    def particle_count(self) -> int:
        """Particles of one world, N."""
        return self._count("position")

    @property
    def effector_count(self) -> int:
        """Effectors of one world, M."""
        return self._count("effector_position")

    def _count(self, name: str) -> int:
        field = self._state_fields.get(name)
        return (field.count or 0) if field else 0

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
        self._check_open()
        return look_up(self._state_fields, name, "state").of(self._shown).copy()

    def set_state(self, name: str, values: Any, worlds: np.ndarray | None = None) -> None:
        """Overwrite a quantity of the state right after a reset, in all worlds or those of the mask ``worlds`` (B,).

        Raises:
            ValueError: unknown name, wrong shape, not finite, outside the domain, or in the middle of a recording.
        """
        self._check_open()
        field = look_up(self._state_fields, name, "state")
        if self.differentiable and self.step_count:
            raise ValueError(f"state {name!r} can be set before the first step of a recording only; reset first")
        state = self._memory.frame(self._memory.live, self._current).copy()
        window = field.of(state)
        window[self._mask(worlds)] = fit(values, window, name)[self._mask(worlds)]
        owner, mask = self._owner(name), self._mask(worlds)
        owner.check_state(name, window)
        rows = self._memory.rows("parameters", self._sizes.parameter)
        owner.check_fit(name, window[mask], {f.name: f.of(rows)[mask] for f in owner.parameter_fields})
        self._show(state)

    def check_state(self, name: str, values: Any) -> None:
        """Raise the ``ValueError`` with which `set_state` would refuse ``values``, shape (B, ...); changes nothing."""
        self._check_open()
        field = look_up(self._state_fields, name, "state")
        self._owner(name).check_state(name, fit(values, field.of(self._shown), name))

    def active_particles(self) -> np.ndarray:
        """Which particles take part in the motion in the current (or loaded) state, shape (B, N), booleans.

        The others, ``idle_particles``, lie at their places, at rest, without mass on the grid.
        """
        waiting, drained = self.idle_particles()
        return ~(waiting | drained)

    def idle_particles(self) -> tuple[np.ndarray, np.ndarray]:
        """Which particles wait in the pool of an injector, and which lie in a drain, shape (B, N) booleans each."""
        position = self.state("position")
        for part in self._parts:
            idle = part.idle(self._shown, position)
            if idle is not None:
                return idle
        return np.zeros(position.shape[:2], bool), np.zeros(position.shape[:2], bool)

    def parameter(self, name: str) -> np.ndarray:
        """A parameter, shape (B, N), (B, N, dim) or (B, ...) [SI]; a copy."""
        self._check_open()
        field = look_up(self._parameter_fields, name, "parameter")
        return field.of(self._memory.rows("parameters", self._sizes.parameter)).copy()

    def set_parameter(self, name: str, values: Any, worlds: np.ndarray | None = None) -> None:
        """Overwrite a parameter with values that broadcast to its shape, before the first step of a recording.

        In all worlds, or in those of the mask ``worlds`` (B,).

        Raises:
            ValueError: unknown name, wrong shape, not finite, out of range, or unstable with the World's dt.
        """
        self.set_parameters({name: values}, worlds)

    def set_parameters(self, values: Mapping[str, Any], worlds: np.ndarray | None = None) -> None:
        """`set_parameter` of several that are checked together; where one is refused, none is changed."""
        rows = self._changed_parameters(values, worlds)
        if self.differentiable and self.step_count:
            names = ", ".join(map(repr, values))
            raise ValueError(f"parameter {names} can be set before the first step of a recording only; reset first")
        self._memory.parameters.overwrite(0, rows)

    def check_parameters(self, values: Mapping[str, Any], worlds: np.ndarray | None = None) -> None:
        """Raise the ``ValueError`` with which `set_parameters` would refuse ``values`` now or after a reset."""
        self._changed_parameters(values, worlds)

    def _changed_parameters(self, values: Mapping[str, Any], worlds: np.ndarray | None) -> np.ndarray:
        """Rows of all parameters (B, parameter size) with new values in them, checked."""
        self._check_open()
        rows = self._memory.rows("parameters", self._sizes.parameter).copy()
        mask = self._mask(worlds)
        for name, value in values.items():
            window = look_up(self._parameter_fields, name, "parameter").of(rows)
            window[mask] = fit(value, window, name)[mask]
        for name in values:
            owner = self._owner(name)
            owner.check_parameters(name, {f.name: f.of(rows) for f in owner.parameter_fields})
        return rows

    def _owner(self, name: str) -> Part:
        """The part that a state or parameter belongs to."""
        return next(p for p in self._parts if any(f.name == name for f in (*p.state_fields, *p.parameter_fields)))

    @property
    def effector_force(self) -> np.ndarray:
        """Mean force of the particles on each effector over the last (or loaded) step, shape (B, M, 3) [N]; a copy."""
        self._check_open()
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
        self._memory.write_frame(self._memory.live, self._current, state)
        self._shown = self._memory.frame(self._memory.live, self._current)

    def _check_open(self) -> None:
        """Raise ``ValueError`` if closed, ``RuntimeError`` in a process that was forked after taichi had started."""
        check_process()
        if self._closed:
            raise ValueError("this World is closed")
