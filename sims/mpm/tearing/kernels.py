"""The look-out for torn and collapsed bodies, see ``sims/mpm/tearing.py``."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.failures import COLLAPSED, PARTED, STATUS_SIZE
from pliant.sims.fields import CELL, RECORDS, STATE, STATUS, SUBSTEPS
from pliant.sims.mpm import places as at
from pliant.sims.mpm.laws.yielding import LIQUID
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.mpm.tearing.inspection import GAP, LEAST_VOLUME
from pliant.sims.runtime import ti


@cache
def tearing_functions(dim: int, fp: Any, has_supply: bool) -> SimpleNamespace:
    """``is_due(mem, substep)``: whether to look in this substep.  ``inspect(mem, b, c, r, p, substep)``: looks at
    particle p and those of its neighbours that come after it, in row r, and reports to record c of world b.
    """
    stencil = stencil_functions(dim, fp, False)
    activity: Any = activity_functions(dim, fp) if has_supply else None
    record = at.record_size(dim)
    F_AT = 2 * dim + dim * dim

    @ti.func
    def is_due(mem: ti.template(), substep):
        return substep == mem.integers[SUBSTEPS] - 1

    @ti.func
    def takes_part(mem: ti.template(), r, p):
        part = True
        if ti.static(has_supply):
            part = activity.is_active(mem, r, p)
        return part

    @ti.func
    def inspect(mem: ti.template(), b, c, r, p, substep):
        h = ti.static(mem.integers)
        row = r * h[STATE] + h[at.STATE_AT]
        cause, other = 0, -1
        if takes_part(mem, r, p):
            x = stencil.load_vec(mem.frames, row + p * record)
            limit = fp(GAP) * mem.constants[CELL]
            for k in range(h[h[at.BOND_STARTS_AT] + p], h[h[at.BOND_STARTS_AT] + p + 1]):
                q = h[h[at.BONDS_AT] + k]
                away = ti.abs(stencil.load_vec(mem.frames, row + q * record) - x)
                if away.max() > limit and takes_part(mem, r, q):
                    cause, other = PARTED, q
            if h[h[at.INFO_AT] + 2 * p] < LIQUID:
                F = stencil.load_mat(mem.frames, row + p * record + F_AT)
                if F.determinant() < fp(LEAST_VOLUME):
                    cause, other = COLLAPSED, -1
        if cause != 0:
            status = h[STATUS] + (b * h[RECORDS] + c) * STATUS_SIZE
            if h[status] == 0:
                h[status] = substep + 1
                h[status + 1] = p
                h[status + 2] = cause
                h[status + 3] = other + 1

    return SimpleNamespace(is_due=is_due, inspect=inspect)
