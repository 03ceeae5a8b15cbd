"""The contract that each solver and coupling of a World meets.

A World is a few *parts* (a solver, a set of manipulators, ...) that are stepped together. All state of one world lies
in one row of floats, so that a checkpoint is one copy and a kernel launch passes few arguments; each part says by name
what it keeps there (`Needs`). Likewise for parameters (quantities with a gradient), controls (what actions become) and
outputs (what is read out of a step, such as contact forces).

A part offers *stages*: pairs of what happens in a substep and its adjoint. The stages of all parts stand in one flat
list; the World runs it from first to last, and in the reverse sweep from last to first. What a stage does are *passes*:
Taichi functions that work on a range of elements. A team of CPU threads gets a share each, a GPU one element a thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from pliant.sims.failures import CAUSES, NOT_CONVERGED, Cause
from pliant.sims.fields import Entries, Field, Needs


class Pass(NamedTuple):
    """Work on elements, shared out among the threads of a world.

    Attributes:
        run: Taichi function (memory, world b, member c, first, stop, row_in, row_out, substep) that does the elements
            first..stop-1. Rows are frame * batch + world. On a device (GPU) c is 0 and stop is first + 1: what several
            elements touch is updated atomically there.
        count: how many elements: a header entry, a Taichi function (memory, b, c), or None for one, which one member of
            a team does.
        alone: each member of a team does all elements, of a copy of its own.
        waits: a barrier follows; not needed where only the same member reads what was written.
        threads: on a device, how many threads of a world share the elements; as ``count``, but the same in each world.
            None: as many as there are elements.
    """

    run: Any
    count: Any = None
    alone: bool = False
    waits: bool = True
    threads: Any = None


class Loop(NamedTuple):
    """Passes that are repeated until a condition holds, which is looked at before each round.

    Attributes:
        passes: of one round, one after the other; some may be loops themselves.
        until: Taichi function (memory, b): whether world b is done.
        most: header entry: rounds after which a world that is not done has failed.
        code: of that failure, see ``Part.causes``.
        part: number of the part that it belongs to (``Entries.part``).
    """

    passes: Sequence[Pass | Loop]
    until: Any
    most: int
    part: int
    code: int = NOT_CONVERGED


class Stage(NamedTuple):
    """What happens in a substep, and its adjoint, which takes the state's cotangent back through it.

    Each is a sequence of passes and loops. The adjoint may begin by computing again what ``forward`` has left in
    scratch memory and later stages have overwritten. It finds ``row_in`` and ``row_out`` as they were.
    """

    forward: Sequence[Pass | Loop]
    adjoint: Sequence[Pass | Loop]


class Stages(NamedTuple):
    """All that a part does in a launch of several substeps.

    Attributes:
        substep: its stages, in order; they come after those of the parts before it in the World.
        late: stages that come after those of all parts.
        begin: before the first substep, forward and in reverse; ``row_in`` is the first row.
        finish, finish_adjoint: after the last substep, forward and in reverse.
    """

    substep: Sequence[Stage]
    late: Sequence[Stage] = ()
    begin: Sequence[Pass] = ()
    finish: Sequence[Pass] = ()
    finish_adjoint: Sequence[Pass] = ()


Read = Callable[[str], np.ndarray]
"""Reads a quantity of the state or the parameters by the name that its part gave it, shape (B, ...)."""


class Part(ABC):
    """A solver or a coupling, as the World sees it.

    Attributes:
        key: what the compiled functions depend on (never sizes: kernels compile once per dimension and precision).
        name: goes before the names of all its quantities, with a dot, where it is not empty: so that two parts of one
            kind can live in one World.
        every: it takes one step every so many substeps, of that many times their duration.
        elements: how many things the work is shared out by (particles, edges); 0 for a coupling.
        element_name: what one of the things is called that the part reports a failure of.
        fast_math: whether the compiler may reorder its sums and take its numbers for finite.
        causes: what each code of a failure says, and the state array in which it shows.
        at: where its kernels find what it keeps; the World sets it.
        fields: its quantities, by kind and the name that the part gave them; the World sets it.
    """

    key: tuple[Any, ...]
    name: str = ""
    every: int = 1
    elements: int = 0
    element_name: str = "particle"
    fast_math: bool = True
    causes: Mapping[int, Cause] = CAUSES
    at: Entries
    fields: Mapping[str, Mapping[str, Field]]

    @property
    def prefix(self) -> str:
        """What stands before the names of its quantities."""
        return f"{self.name}." if self.name else ""

    @abstractmethod
    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """What it keeps in a World of ``batch`` worlds, each worked on by ``team`` threads."""

    @abstractmethod
    def initial(self) -> Mapping[str, Any]:
        """State at reset and parameters, by name; anything that broadcasts to the quantity. What is left out is 0."""

    @abstractmethod
    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """The compiled functions; equal keys and equal entries must give equal functions.

        Args:
            dim: of the scene.
            fp: the floating-point type, ti.f32 or ti.f64.
            device: for a device of very many threads, where each element is a thread's.
        """

    def derived(self) -> Mapping[str, Callable[[Read], np.ndarray]]:
        """Quantities that follow from the state, by name."""
        return {}

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Raise ``ValueError`` if values (B, ...) of one of this part's state quantities are not allowed."""
        return None

    def check_fit(self, name: str, values: np.ndarray, parameters: dict[str, np.ndarray]) -> None:
        """The same for what depends on this part's parameters, by name, of the worlds whose state is being set."""
        return None

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Raise ``ValueError`` if this part's parameters, of which ``name`` has just been changed, are not allowed."""
        return None

    def check_controls(self, values: dict[str, np.ndarray]) -> None:
        """Raise ``ValueError`` if this part's controls of a step, by name, (B, ...), are not allowed."""
        return None


class Model(Protocol):
    """What a World is made of: a scene, or any object that offers these."""

    dim: int

    def parts(self, *, dt: float, soft_contact: bool) -> list[Part]:
        """The parts, in the order of their stages."""
        ...
