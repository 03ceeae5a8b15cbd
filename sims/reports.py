"""A Taichi function by which a thread reports that a substep has failed."""

from functools import cache
from typing import Any

from pliant.sims.failures import STATUS_SIZE
from pliant.sims.fields import RECORDS, STATUS
from pliant.sims.runtime import ti


@cache
def report_function(part: int) -> Any:
    """``report(mem, b, record, substep, element, code, other)`` for the part of this number.

    Only the first failure of a launch is kept in each of a world's records: one for each member of a team, or, on a
    device, for each element. ``other`` is a second element that is concerned, or -1.
    """

    @ti.func
    def report(mem: ti.template(), b, record, substep, element, code, other):
        """Fills the record, unless there is an earlier failure in it."""
        h = ti.static(mem.integers)
        status = h[STATUS] + (b * h[RECORDS] + record) * STATUS_SIZE
        if h[status] == 0:
            h[status] = substep + 1
            h[status + 1] = element
            h[status + 2] = code
            h[status + 3] = other + 1
            h[status + 4] = part

    return report
