"""The state, the parameters and the outputs of a batch of worlds, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pliant.sims.checks import fit, look_up
from pliant.sims.copying import MadeAnew
from pliant.sims.fields import KINDS
from pliant.sims.inputs import real_array, shown
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
        self._fields = {
            kind: {f.name: f for part in reversed(parts) for f in part.fields[kind].values() if f.is_shown}
            for kind in KINDS
        }
        self._derived = {
            part.prefix + name: (part, function)
            for part in reversed(parts)
            for name, function in part.derived().items()
        }
        self._closed = False
        self._current = 0  # the live frame that holds the current state
        self._shown = np.zeros((0, 0))  # the current state, or the one loaded in a reverse sweep
        self._shown_outputs = np.zeros((0, 0))

    def _check_scene(self) -> None:
        """Raise ``ValueError`` if a quantity of the scene is out of range in the World's precision."""
        parameters = self._memory.rows("parameters", self._sizes.parameters)
        for kind, rows in (("state", self._memory.initial), ("parameters", parameters)):
            for part in self._parts:
                for field in part.fields[kind].values():
                    if field.is_shown:
                        real_array(f"{kind.removesuffix('s')} {field.name!r}", field.of(rows), dtype=self.dtype)
        for part in self._parts:
            values = _values(part, parameters)
            for name in values:
                part.check_parameters(name, values)
        real_array(
            "a constant of the scene", self._memory.constants.read(0, self._memory.constants.size), dtype=self.dtype
        )

    def count(self, name: str) -> int:
        """Elements of a state quantity in one world, N; 0 where it is the whole world's or there is none."""
        if not isinstance(name, str):
            raise ValueError(f"name={shown(name)} must be the name of a state quantity")
        field = self._fields["state"].get(name)
        return (field.count or 0) if field else 0

    @property
    def control_size(self) -> int:
        """Controls of one world, C."""
        return self._sizes.controls

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(self._fields["state"])

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(self._fields["parameters"])

    def state(self, name: str) -> np.ndarray:
        """A quantity of the current (or loaded) state, shape (B, N, ...) [SI]; a copy."""
        self._check_open()
        return look_up(self._fields["state"], name, "state").of(self._shown).copy()

    def set_state(self, name: str, values: Any, worlds: np.ndarray | None = None) -> None:
        """Overwrite a quantity of the state right after a reset, in all worlds or those of the mask ``worlds`` (B,).

        Raises:
            ValueError: unknown name, wrong shape, not finite, outside the domain, or in the middle of a recording.
        """
        self._check_open()
        field = look_up(self._fields["state"], name, "state")
        if self.differentiable and self.step_count:
            raise ValueError(f"state {name!r} can be set before the first step of a recording only; reset first")
        state = self._memory.frame(self._memory.live, self._current).copy()
        window = field.of(state)
        window[self._mask(worlds)] = fit(values, window, name)[self._mask(worlds)]
        (owner, own_name), mask = self._owner("state", name), self._mask(worlds)
        owner.check_state(own_name, window)
        rows = self._memory.rows("parameters", self._sizes.parameters)
        owner.check_fit(own_name, window[mask], {key: values[mask] for key, values in _values(owner, rows).items()})
        self._show(state)

    def check_state(self, name: str, values: Any) -> None:
        """Raise the ``ValueError`` with which `set_state` would refuse ``values``, shape (B, ...); changes nothing."""
        self._check_open()
        field = look_up(self._fields["state"], name, "state")
        owner, own_name = self._owner("state", name)
        owner.check_state(own_name, fit(values, field.of(self._shown), name))

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(self._fields["outputs"])

    def output(self, name: str) -> np.ndarray:
        """What the last (or loaded) step gave besides the state (contact forces), shape (B, ...) [SI]; a copy."""
        self._check_open()
        return look_up(self._fields["outputs"], name, "output").of(self._shown_outputs).copy()

    @property
    def derived_names(self) -> tuple[str, ...]:
        return tuple(self._derived)

    def derived(self, name: str) -> np.ndarray:
        """A quantity that follows from the current (or loaded) state, shape (B, ...), such as "active"."""
        self._check_open()
        part, function = look_up(self._derived, name, "derived quantity")
        prefix = part.prefix
        return function(lambda own: self.state(prefix + own) if own in part.fields["state"] else self.state(own))

    def parameter(self, name: str) -> np.ndarray:
        """A parameter, shape (B, N), (B, N, dim) or (B, ...) [SI]; a copy."""
        self._check_open()
        field = look_up(self._fields["parameters"], name, "parameter")
        return field.of(self._memory.rows("parameters", self._sizes.parameters)).copy()

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
        rows = self._memory.rows("parameters", self._sizes.parameters).copy()
        mask = self._mask(worlds)
        for name, value in values.items():
            window = look_up(self._fields["parameters"], name, "parameter").of(rows)
            window[mask] = fit(value, window, name)[mask]
        for name in values:
            owner, own_name = self._owner("parameters", name)
            owner.check_parameters(own_name, _values(owner, rows))
        return rows

    def _owner(self, kind: str, name: str) -> tuple[Part, str]:
        """The part that a state or parameter belongs to, and the name that the part gave it."""
        return next(
            (part, own) for part in self._parts for own, field in part.fields[kind].items() if field.name == name
        )

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


def _values(part: Part, rows: np.ndarray) -> dict[str, np.ndarray]:
    """A part's parameters in rows (B, parameter size) of all, by the names that the part gave them."""
    return {name: field.of(rows) for name, field in part.fields["parameters"].items()}
