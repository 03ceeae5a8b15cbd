"""What can go wrong in a step, and how it is told."""

from __future__ import annotations

from typing import NamedTuple

STATUS_SIZE = 5
"""Integers of a status record: substep of the first failure + 1 (0: none), element, code, second element + 1 (0: none),
number of the part."""

LEFT_DOMAIN, NOT_FINITE, TOO_FAST, NOT_CONVERGED, NOT_DEFINITE = range(1, 6)


class Cause(NamedTuple):
    """The likely cause of a failure, and the state array in which it shows."""

    text: str
    array: str = "velocity"


CAUSES = {
    LEFT_DOMAIN: Cause("a particle left the domain", "position"),
    NOT_FINITE: Cause("a value is not finite; the substep is too large or an element has inverted"),
    TOO_FAST: Cause("a particle crossed more than one cell in a substep"),
    NOT_CONVERGED: Cause("an iteration did not converge; the substep is too large"),
    NOT_DEFINITE: Cause("the matrix of a linear system, or its preconditioner, is not positive definite"),
}
"""Codes that any part may report; those of one part alone begin at 20."""


class SimulationDiverged(RuntimeError):
    """A state or a gradient is no longer finite, a particle left the domain, or a body is torn or has collapsed.

    Attributes:
        step, substep: where (substep is None for a gradient).  array: which quantity.  world: index in the batch.
        cause: the likely reason.
    """

    def __init__(self, step: int, substep: int | None, array: str, world: int, cause: str) -> None:
        self.step, self.substep, self.array, self.world, self.cause = step, substep, array, world, cause
        at = f"step {step}" + ("" if substep is None else f", substep {substep}")
        super().__init__(f"simulation diverged at {at} in {array} of world {world}: {cause}")
