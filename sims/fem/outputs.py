"""What is read out of a step of gels: the force and the torque of contact on each, about the origin of its mount."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem.places import Setup
from pliant.sims.fields import OUTPUT, PARTIAL, PARTIAL_OFFSET, SUBSTEPS, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.runtime import ti


@cache
def output_functions(setup: Setup) -> SimpleNamespace:
    """``add_force``, its cotangent ``force_bar``, and the passes ``clear`` and ``read``."""
    at, fp = setup.at, setup.fp
    access = access_functions(fp, setup.device)
    load3, add3 = access.load3, access.add3

    @ti.func
    def sums_of(mem: ti.template(), b, c, g):
        """Where member c's sums of gel g begin."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.gel_sums] + g * places.GEL_SUMS

    @ti.func
    def add_force(mem: ti.template(), b, c, g, arm, force):
        """Adds a force on gel g, at ``arm`` from the origin of its mount."""
        o = sums_of(mem, b, c, g)
        add3(mem.scratch, o, force)
        add3(mem.scratch, o + 3, arm.cross(force))

    @ti.func
    def force_bar(mem: ti.template(), b, g, arm, force):
        """Cotangents of a force on gel g and of its arm: a step tells the mean of its substeps."""
        h = ti.static(mem.integers)
        o = b * h[OUTPUT] + h[at.gel_wrench] + g * places.GEL_SUMS
        share = 1 / ti.cast(h[SUBSTEPS], fp)
        torque_bar = share * load3(mem.output_adjoint, o + 3)
        return share * load3(mem.output_adjoint, o) + torque_bar.cross(arm), force.cross(torque_bar)

    @ti.func
    def clear(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Empties member c's sums of gels first to stop - 1."""
        for g in range(first, stop):
            for k in range(places.GEL_SUMS):
                mem.scratch[sums_of(mem, b, c, g) + k] = fp(0.0)

    @ti.func
    def read(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Mean force and torque of the step on gels first to stop - 1."""
        h = ti.static(mem.integers)
        for g in range(first, stop):
            o = b * h[OUTPUT] + h[at.gel_wrench] + g * places.GEL_SUMS
            for k in range(places.GEL_SUMS):
                total = fp(0.0)
                for m in range(h[TEAM]):
                    total += mem.scratch[sums_of(mem, b, m, g) + k]
                mem.outputs[o + k] = total / ti.cast(h[SUBSTEPS], fp)

    return SimpleNamespace(add_force=add_force, force_bar=force_bar, clear=clear, read=read)
