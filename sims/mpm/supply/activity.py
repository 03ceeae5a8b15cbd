"""Which particles take part in the motion: those that wait in a pool or lie in a drain do not."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import STATE
from pliant.sims.mpm import places
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply import places as supply
from pliant.sims.runtime import ti


@cache
def activity_functions(setup: Setup) -> SimpleNamespace:
    """Who takes part in the motion, decided from the state of a row r = frame * batch + world alone.

    ``is_active(mem, r, p)``: particle p neither waits nor lies in a drain.  ``is_emitted(mem, r_in, r_out, p)``: it
    waits at r_in and no longer at r_out.
    """
    at, dim = setup.at, setup.dim
    inj: Any = setup.inj
    record = places.record_size(dim)

    @ti.func
    def injected_at(mem: ti.template(), r, j):
        """Where the injected quanta of injector j stand in row r; the remainder follows."""
        h = ti.static(mem.integers)
        return r * h[STATE] + h[inj.injected] + 2 * j

    @ti.func
    def waits(mem: ti.template(), r, e):
        """Whether the particle of entry e of the pools waits. Comparisons only: all passes get the same answer."""
        h = ti.static(mem.integers)
        i = injected_at(mem, r, h[h[inj.owners] + e])
        k = h[inj.pool] + e * supply.POOL_SIZE
        ahead = mem.frames[i] > mem.constants[k + supply.QUANTA]
        if mem.frames[i] == mem.constants[k + supply.QUANTA]:
            ahead = mem.frames[i + 1] > mem.constants[k + supply.REMAINDER]
        return not ahead

    @ti.func
    def is_drained(mem: ti.template(), r, p):
        """Whether particle p lies inside a drain at row r."""
        h = ti.static(mem.integers)
        drained = False
        x = r * h[STATE] + h[at.state] + p * record
        for k in range(h[inj.drain_count]):
            o = h[inj.drains] + k * 2 * dim
            inside = True
            for d in ti.static(range(dim)):
                if mem.frames[x + d] <= mem.constants[o + d] or mem.frames[x + d] >= mem.constants[o + dim + d]:
                    inside = False
            if inside:
                drained = True
        return drained

    @ti.func
    def is_active(mem: ti.template(), r, p):
        """Whether particle p takes part in the motion at row r."""
        e = mem.integers[mem.integers[inj.entries] + p]
        active = True
        if e >= 0:
            active = not waits(mem, r, e)
        if active and e != supply.RIGID:
            active = not is_drained(mem, r, p)
        return active

    @ti.func
    def is_emitted(mem: ti.template(), r_in, r_out, p):
        """Whether particle p waits at r_in and no longer at r_out."""
        e = mem.integers[mem.integers[inj.entries] + p]
        emitted = False
        if e >= 0:
            emitted = waits(mem, r_in, e) and not waits(mem, r_out, e)
        return emitted

    return SimpleNamespace(injected_at=injected_at, is_active=is_active, is_emitted=is_emitted)


@cache
def rest_functions(setup: Setup) -> SimpleNamespace:
    """``rest`` and ``rest_adjoint`` of a particle that takes no part: it keeps place and deformation, without velocity.
    A particle that is being emitted is left to the injector, forward and in reverse."""
    at, dim, fp = setup.at, setup.dim, setup.fp
    activity, stencil = activity_functions(setup), stencil_functions(setup)
    record = places.record_size(dim)
    MOTION, F_AT = dim, 2 * dim + dim * dim  # velocity and affine velocity lie side by side

    @ti.func
    def rest(mem: ti.template(), r_in, r_out, p):
        """x' = x, F' = F, v' = 0, C' = 0; nothing if emitted."""
        if not activity.is_emitted(mem, r_in, r_out, p):
            h = ti.static(mem.integers)
            i = r_in * h[STATE] + h[at.state] + p * record
            o = r_out * h[STATE] + h[at.state] + p * record
            stencil.store_vec(mem.frames, o, stencil.load_vec(mem.frames, i))
            for k in range(MOTION, F_AT):
                mem.frames[o + k] = fp(0.0)
            stencil.store_mat(mem.frames, o + F_AT, stencil.load_mat(mem.frames, i + F_AT))

    @ti.func
    def rest_adjoint(mem: ti.template(), b, r_in, r_out, p):
        """x_bar = x'_bar, F_bar = F'_bar, v_bar = 0, C_bar = 0; all 0 if emitted."""
        h = ti.static(mem.integers)
        a = b * h[STATE] + h[at.state] + p * record
        is_new = activity.is_emitted(mem, r_in, r_out, p)
        for k in range(record):
            if is_new or (k >= MOTION and k < F_AT):
                mem.adjoint[a + k] = fp(0.0)

    return SimpleNamespace(rest=rest, rest_adjoint=rest_adjoint)


def supplied_transfers(setup: Setup, transfers: SimpleNamespace) -> SimpleNamespace:
    """The transfers of a scene with injectors or drains: particles that take no part leave the grid alone."""
    activity, resting = activity_functions(setup), rest_functions(setup)

    @ti.func
    def scatter(mem: ti.template(), b, n0, r_in, r_out, p):
        """``scatter`` of an active particle."""
        if activity.is_active(mem, r_in, p):
            transfers.scatter(mem, b, n0, r_in, r_out, p)

    @ti.func
    def gather(mem: ti.template(), b, c, n0, r_in, r_out, p, substep):
        """``gather`` of an active particle, else ``rest``."""
        if activity.is_active(mem, r_in, p):
            transfers.gather(mem, b, c, n0, r_in, r_out, p, substep)
        else:
            resting.rest(mem, r_in, r_out, p)

    @ti.func
    def gather_adjoint(mem: ti.template(), b, n0, r_in, p):
        """``gather_adjoint`` of an active particle."""
        if activity.is_active(mem, r_in, p):
            transfers.gather_adjoint(mem, b, n0, r_in, p)

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, c, n0, r_in, r_out, p):
        """``scatter_adjoint`` of an active particle, else ``rest_adjoint``."""
        if activity.is_active(mem, r_in, p):
            transfers.scatter_adjoint(mem, b, c, n0, r_in, r_out, p)
        else:
            resting.rest_adjoint(mem, b, r_in, r_out, p)

    return SimpleNamespace(
        scatter=scatter,
        gather=gather,
        gather_adjoint=gather_adjoint,
        scatter_adjoint=scatter_adjoint,
    )
