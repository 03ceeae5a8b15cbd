"""What can go wrong in a step, and how it is told."""

from __future__ import annotations

# A status record: substep of the first failure + 1 (0: none), element, code, second element + 1 (0: none).
STATUS_SIZE = 4

LEFT_DOMAIN, NOT_FINITE, TOO_FAST, NOT_CONVERGED, TORN, CROWDED, FOLDED, PARTED, COLLAPSED = range(1, 10)

CAUSES = {
    LEFT_DOMAIN: "a particle left the domain",
    NOT_FINITE: "a value is not finite; the substep is too large or an element has inverted",
    TOO_FAST: "a particle crossed more than one cell in a substep",
    NOT_CONVERGED: "the implicit step did not converge; the substep is too large or a clamp tears the rod",
    TORN: "a clamp or a force tears the rod: an edge is more than twice its rest length",
    PARTED: "an elastic body is torn: neighbouring particles are more than two cells apart",
    COLLAPSED: "a body has collapsed: a particle has less than a thousandth of its volume, or is inverted",
    CROWDED: "the rod is crumpled: more pairs of its edges are in contact than there is room for",
    FOLDED: "the rod is folded: two edges lie on each other, more than 178 degrees apart in direction",
}


def failed_array(code: int) -> str:
    """The state array in which a failure shows."""
    if code == COLLAPSED:
        return "deformation_gradient"
    return "position" if code in (LEFT_DOMAIN, TORN, PARTED, FOLDED) else "velocity"


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
