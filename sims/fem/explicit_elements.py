"""Elastic and viscous forces of the cells of an explicit gel, at the start of a substep, and their adjoint.

The material is that of ``elements.py``; the viscous stress follows the rate of Green's strain, E' = sym(F^T F'), of the
velocities relative to the mount. With C = cof F, J the mean dilatation of the cell, k = lambda' (J - 1) - mu and
S = eta E' the first Piola stress is P = mu F + k C + F S. A force enters the motion as -f, so that the cotangent of f
is -l with the multipliers l; with L = sum l_a G_a^T, Q = sym(F^T L) and m = sum V C:L / sum V the stress leaves

    F_bar = -V (mu L + k cof'(F)[L] + lambda' m C + L S + eta F' Q),   F'_bar = -V eta F Q,

cof'(F)[L] being the derivative of the cofactors along L, which is symmetric in the sense that A:cof'(F)[L] =
L:cof'(F)[A].
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import explicit_places as own
from pliant.sims.fem import places
from pliant.sims.fem.explicit_places import ExplicitSetup
from pliant.sims.fem.moduli import moduli_of
from pliant.sims.fem.places import CELL_TETS
from pliant.sims.fields import STATE
from pliant.sims.math.access import access_functions
from pliant.sims.math.tensors import tensor_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.runtime import ti


@cache
def explicit_element_functions(setup: ExplicitSetup) -> SimpleNamespace:
    """Taichi functions of one cell of world b.

    ``work_of``: where its scratch begins.  ``forces(mem, b, cell, row_in)``: forces on its nodes (what its potential
    grows by), to its scratch; returns its mean dilatation.  ``pull_back(mem, b, cell, row_in)``: cotangents of
    displacements, rates and moduli for the multipliers of the nodes, to its scratch.
    """
    at, fp = setup.at, setup.fp
    mat = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, add3 = access.load3, access.add3
    tensors, turn = tensor_functions(fp), turning_functions(fp)
    cofactor, inner, load33, store33 = tensors.cofactor, tensors.inner, turn.load33, turn.store33
    moduli = moduli_of(setup)

    @ti.func
    def work_of(mem: ti.template(), b, cell):
        """Where the scratch of a cell begins."""
        h = ti.static(mem.integers)
        return h[at.cell_work] + (b * h[at.cells] + cell) * own.CELL_WORK

    @ti.func
    def is_there(mem: ti.template(), cell, t):
        """Whether the cell has a t-th tetrahedron."""
        h = ti.static(mem.integers)
        return h[h[at.cell_tets] + (cell * CELL_TETS + t) * 4] >= 0

    @ti.func
    def record_of(mem: ti.template(), cell, t):
        """Where the constants of a tetrahedron begin."""
        return mem.integers[at.tets] + (cell * CELL_TETS + t) * places.TET_RECORD

    @ti.func
    def spread(mem: ti.template(), a: ti.template(), first, stride, cell, t):
        """Sum of v_a G_a^T over the nodes of tetrahedron t, of the vectors that begin at first + stride * node."""
        h = ti.static(mem.integers)
        H = mat(0.0)
        n, o = h[at.tet_nodes] + (cell * CELL_TETS + t) * 4, record_of(mem, cell, t)
        for k in ti.static(range(4)):
            i = h[n + k]
            if i >= 0:
                H += load3(a, first + stride * i).outer_product(load3(mem.constants, o + 3 * k))
        return H

    @ti.func
    def add_spread(mem: ti.template(), o, cell, t, P):
        """Adds P G_a to the vectors of the cell's nodes from o on."""
        h = ti.static(mem.integers)
        n, record = h[at.cell_tets] + (cell * CELL_TETS + t) * 4, record_of(mem, cell, t)
        for k in ti.static(range(4)):
            add3(mem.scratch, o + 3 * h[n + k], P @ load3(mem.constants, record + 3 * k))

    @ti.func
    def rates_of(mem: ti.template(), b, cell, t):
        """F' of tetrahedron t."""
        h = ti.static(mem.integers)
        return spread(
            mem, mem.scratch, h[at.node_work] + b * h[at.count] * own.NODE_WORK + own.RATE, own.NODE_WORK, cell, t
        )

    @ti.func
    def multipliers_of(mem: ti.template(), b, cell, t):
        """L of tetrahedron t."""
        h = ti.static(mem.integers)
        first = h[at.node_work] + b * h[at.count] * own.NODE_WORK + own.MULTIPLIER
        return spread(mem, mem.scratch, first, own.NODE_WORK, cell, t)

    @ti.func
    def measure(mem: ti.template(), b, cell, row_in, with_multipliers: ti.template()):
        """J - 1 of the cell, its volume and sum V C:L; F of each tetrahedron goes to its scratch."""
        h = ti.static(mem.integers)
        growth, volume, along = fp(0.0), fp(0.0), fp(0.0)
        first = row_in * h[STATE] + h[at.nodes] + places.DISPLACEMENT
        for t in range(CELL_TETS):
            if is_there(mem, cell, t):
                F = spread(mem, mem.frames, first, places.NODE_STATE, cell, t)
                for d in ti.static(range(3)):
                    F[d, d] += fp(1.0)
                store33(mem.scratch, work_of(mem, b, cell) + own.CELL_NOW + 9 * t, F)
                V = mem.constants[record_of(mem, cell, t) + places.VOLUME]
                C = cofactor(F)
                growth += V * (tensors.determinant(F, C) - 1)
                volume += V
                if ti.static(with_multipliers):
                    along += V * inner(C, multipliers_of(mem, b, cell, t))
        return growth / volume, volume, along

    @ti.func
    def forces(mem: ti.template(), b, cell, row_in):
        """Forces on the nodes of a cell, to its scratch; its mean dilatation."""
        s = ti.static(mem.scratch)
        work = work_of(mem, b, cell)
        for k in range(own.CELL_RATE):
            s[work + k] = fp(0.0)
        mu, lam, eta = moduli(mem, b, cell)
        growth, _volume, _along = measure(mem, b, cell, row_in, False)
        pressure = lam * growth - mu
        for t in range(CELL_TETS):
            if is_there(mem, cell, t):
                F = load33(s, work + own.CELL_NOW + 9 * t)
                S = eta * tensors.symmetric(F.transpose() @ rates_of(mem, b, cell, t))
                P = mu * F + pressure * cofactor(F) + F @ S
                V = mem.constants[record_of(mem, cell, t) + places.VOLUME]
                add_spread(mem, work + own.CELL_FORCE, cell, t, V * P)
        return 1 + growth

    @ti.func
    def pull_back(mem: ti.template(), b, cell, row_in):
        """Cotangents of displacements, rates and moduli, to the cell's scratch."""
        s = ti.static(mem.scratch)
        work = work_of(mem, b, cell)
        for k in range(own.CELL_NOW):
            s[work + k] = fp(0.0)
        mu, lam, eta = moduli(mem, b, cell)
        growth, volume, along = measure(mem, b, cell, row_in, True)
        pressure, mean = lam * growth - mu, lam * along / volume
        mu_bar, eta_bar = fp(0.0), fp(0.0)
        for t in range(CELL_TETS):
            if is_there(mem, cell, t):
                F, rate = load33(s, work + own.CELL_NOW + 9 * t), rates_of(mem, b, cell, t)
                L = multipliers_of(mem, b, cell, t)
                C = cofactor(F)
                V = mem.constants[record_of(mem, cell, t) + places.VOLUME]
                E = tensors.symmetric(F.transpose() @ rate)
                Q = tensors.symmetric(F.transpose() @ L)
                F_bar = mu * L + pressure * tensors.cofactor_slope(F, L) + mean * C + eta * (L @ E + rate @ Q)
                add_spread(mem, work + own.CELL_FORCE, cell, t, -V * F_bar)
                add_spread(mem, work + own.CELL_RATE, cell, t, (-V * eta) * (F @ Q))
                mu_bar -= V * inner(F - C, L)
                eta_bar -= V * inner(E, Q)
        s[work + own.CELL_PARAMETERS] = mu_bar
        s[work + own.CELL_PARAMETERS + 1] = -growth * along
        s[work + own.CELL_PARAMETERS + 2] = eta_bar

    return SimpleNamespace(work_of=work_of, forces=forces, pull_back=pull_back)
