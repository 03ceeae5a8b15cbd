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
from typing import Any, NamedTuple, Protocol

import numpy as np

from pliant.sims.fields import Field, Needs, Places


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

    def check_fit(self, name: str, values: np.ndarray, parameters: dict[str, np.ndarray]) -> None:
        """The same for what depends on this part's parameters, by name, of the worlds whose state is being set."""
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
