"""The look-out for torn and collapsed bodies, see ``inspection.py``."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import STATE, SUBSTEPS
from pliant.sims.mpm import places
from pliant.sims.mpm.laws.yielding import LIQUID
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions
from pliant.sims.mpm.tearing.inspection import COLLAPSED, GAP, LEAST_VOLUME, PARTED
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti


@cache
def tearing_functions(setup: Setup) -> SimpleNamespace:
    """``is_due(mem, substep)``: whether to look in this substep.  ``inspect(mem, b, c, r, p, substep)``: looks at
    particle p and those of its neighbours that come after it, in row r, and reports to record c of world b.
    """
    at, dim, fp = setup.at, setup.dim, setup.fp
    inj: Any = setup.inj
    has_supply = inj is not None
    stencil = stencil_functions(setup)
    activity: Any = activity_functions(setup) if setup.inj else None
    report = report_function(at.part)
    record = places.record_size(dim)
    F_AT = 2 * dim + dim * dim

    @ti.func
    def is_due(mem: ti.template(), substep):
        """Whether this is the last substep of an environment step."""
        return substep == mem.integers[SUBSTEPS] - 1

    @ti.func
    def takes_part(mem: ti.template(), r, p):
        """Whether particle p takes part in the motion at row r."""
        part = True
        if ti.static(has_supply):
            part = activity.is_active(mem, r, p)
        return part

    @ti.func
    def inspect(mem: ti.template(), b, c, r, p, substep):
        """Reports particle p if it has parted from a neighbour or its volume has collapsed."""
        h = ti.static(mem.integers)
        row = r * h[STATE] + h[at.state]
        cause, other = 0, -1
        if takes_part(mem, r, p):
            x = stencil.load_vec(mem.frames, row + p * record)
            limit = fp(GAP) * mem.constants[at.cell]
            for k in range(h[h[at.bond_starts] + p], h[h[at.bond_starts] + p + 1]):
                q = h[h[at.bonds] + k]
                away = ti.abs(stencil.load_vec(mem.frames, row + q * record) - x)
                if away.max() > limit and takes_part(mem, r, q):
                    cause, other = PARTED, q
            if h[h[at.info] + 2 * p] < LIQUID:
                F = stencil.load_mat(mem.frames, row + p * record + F_AT)
                if F.determinant() < fp(LEAST_VOLUME):
                    cause, other = COLLAPSED, -1
        if cause != 0:
            report(mem, b, c, substep, p, cause, other)

    return SimpleNamespace(is_due=is_due, inspect=inspect)
