"""Elastic and viscous forces of the cells of a gel, their derivatives, and their adjoint.

Stable neo-Hookean (Smith, de Goes and Kim 2018, without the logarithm) with the mean dilatation of each cell
(Nagtegaal, Parks and Rice 1974), and a viscosity that acts on the rate of Green's strain E = (F^T F - I) / 2, so that
turning is not damped. For the tetrahedra t of a cell, of volumes V_t, J_t = det F_t and J = sum V_t J_t / sum V_t, the
potential is

    sum V_t (mu/2 (|F_t|^2 - 3) - mu (J_t - 1)) + sum V_t (lambda'/2) (J - 1)^2 + sum V_t eta/(2 dt) |E_t - E_t0|^2

with lambda' = lambda + mu, so that small strains see Lame's constants; E_t0 is the strain at the start of the step.
With C = cof F, k = lambda' (J - 1) - mu and S = eta (E - E_0) / dt the first Piola stress is P = mu F + k C + F S, and
the force that node a takes is V P G_a, G_a being the gradient of its shape function.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem.moduli import moduli_of
from pliant.sims.fem.places import CELL_NODES, CELL_TETS, Setup
from pliant.sims.fields import DT, STATE
from pliant.sims.math.access import access_functions
from pliant.sims.math.products import product_functions
from pliant.sims.math.tensors import tensor_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.runtime import ti


@cache
def element_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one cell of world b.

    ``remember(mem, b, cell, row_in)``: what does not change during the iteration.
    ``assemble(mem, b, cell, row_in, row_out, exact)``: forces and derivatives, to the cell's scratch; ``exact`` 0
    leaves out what may make the matrix indefinite.
    ``pull_back(mem, b, cell, row_in, row_out, multiplier)``: see there.
    ``least_dilatation(mem, cell, row)``: the smallest det F of its tetrahedra.
    """
    at, fp = setup.at, setup.fp
    mat = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, add3 = access.load3, access.add3
    turn, products = turning_functions(fp), product_functions(3, fp)
    tensors, moduli = tensor_functions(fp), moduli_of(setup)
    load33, store33 = turn.load33, turn.store33
    cofactor, determinant, inner = tensors.cofactor, tensors.determinant, tensors.inner

    @ti.func
    def work_of(mem: ti.template(), b, cell):
        """Where the scratch of a cell begins."""
        h = ti.static(mem.integers)
        return h[at.cell_work] + (b * h[at.cells] + cell) * places.CELL_WORK

    @ti.func
    def node_of(mem: ti.template(), cell, local):
        """Number of a free node, or -1 of a mounted one."""
        h = ti.static(mem.integers)
        return h[h[at.cell_nodes] + cell * CELL_NODES + local]

    @ti.func
    def local_of(mem: ti.template(), cell, t, a):
        """Which of the cell's nodes the a-th of tetrahedron t is; -1 if there is no such tetrahedron."""
        h = ti.static(mem.integers)
        return h[h[at.cell_tets] + (cell * CELL_TETS + t) * 4 + a]

    @ti.func
    def gradient_of(mem: ti.template(), cell, t, a):
        """G_a of tetrahedron t."""
        h = ti.static(mem.integers)
        return load3(mem.constants, h[at.tets] + (cell * CELL_TETS + t) * places.TET_RECORD + 3 * a)

    @ti.func
    def volume_of(mem: ti.template(), cell, t):
        """Volume of tetrahedron t at rest."""
        return mem.constants[mem.integers[at.tets] + (cell * CELL_TETS + t) * places.TET_RECORD + places.VOLUME]

    @ti.func
    def spread(mem: ti.template(), a: ti.template(), first, stride, cell, t):
        """Sum of v_a G_a^T over the nodes of tetrahedron t, of the vectors that begin at first + stride * node."""
        H = mat(0.0)
        for k in ti.static(range(4)):
            i = node_of(mem, cell, local_of(mem, cell, t, k))
            if i >= 0:
                H += load3(a, first + stride * i).outer_product(gradient_of(mem, cell, t, k))
        return H

    @ti.func
    def deformation(mem: ti.template(), row, cell, t):
        """F of tetrahedron t."""
        h = ti.static(mem.integers)
        first = row * h[STATE] + h[at.nodes] + places.DISPLACEMENT
        return spread(mem, mem.frames, first, places.NODE_STATE, cell, t) + mat([[1, 0, 0], [0, 1, 0], [0, 0, 1]])

    @ti.func
    def strain(F):
        """Green's strain of a deformation gradient less one, H = F - 1: exact for small ones too."""
        H = F - mat([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        return (H + H.transpose() + products.transposed_multiply(H, H)) / 2

    @ti.func
    def remember(mem: ti.template(), b, cell, row_in):
        """Strains at the start of the step, to the cell's scratch."""
        for t in range(CELL_TETS):
            if local_of(mem, cell, t, 0) >= 0:
                o = work_of(mem, b, cell) + places.CELL_BEFORE + 9 * t
                store33(mem.scratch, o, strain(deformation(mem, row_in, cell, t)))

    @ti.func
    def dilatation(mem: ti.template(), b, cell, row):
        """J - 1 of the cell, and its volume; the deformation gradients go to the cell's scratch."""
        total, volume = fp(0.0), fp(0.0)
        for t in range(CELL_TETS):
            if local_of(mem, cell, t, 0) >= 0:
                F = deformation(mem, row, cell, t)
                store33(mem.scratch, work_of(mem, b, cell) + places.CELL_NOW + 9 * t, F)
                V = volume_of(mem, cell, t)
                total += V * (determinant(F, cofactor(F)) - 1)
                volume += V
        return total / volume, volume

    @ti.func
    def assemble(mem: ti.template(), b, cell, row_in, row_out, exact):
        """Forces on the nodes of a cell (what its potential grows by), and the second derivatives of the potential: the
        blocks (a, d) of nodes with a <= d."""
        s = ti.static(mem.scratch)
        work = work_of(mem, b, cell)
        for k in range(places.CELL_BEFORE):
            s[work + k] = fp(0.0)
        mu, lam, eta = moduli(mem, b, cell)
        rate = eta / mem.constants[DT]
        growth, volume = dilatation(mem, b, cell, row_out)
        pressure = lam * growth - mu
        for t in range(CELL_TETS):
            if local_of(mem, cell, t, 0) >= 0:
                F = load33(s, work + places.CELL_NOW + 9 * t)
                C = cofactor(F)
                V = volume_of(mem, cell, t)
                S = rate * (strain(F) - load33(s, work + places.CELL_BEFORE + 9 * t))
                P = mu * F + pressure * C + products.multiply(F, S)
                left = (V * rate / 2) * products.multiply_transposed(F, F)
                for a in range(4):
                    la, Ga = local_of(mem, cell, t, a), gradient_of(mem, cell, t, a)
                    add3(s, work + places.CELL_FORCE + 3 * la, V * turn.forth(P, Ga))
                    add3(s, work + places.CELL_SPREAD + 3 * la, V * turn.forth(C, Ga))
                    FGa = (V * rate / 2) * turn.forth(F, Ga)
                    SGa = turn.forth(S, Ga)
                    for d in range(4):
                        ld = local_of(mem, cell, t, d)
                        if la <= ld:
                            Gd = gradient_of(mem, cell, t, d)
                            dot = Ga.dot(Gd)
                            block = dot * left + turn.forth(F, Gd).outer_product(FGa)
                            line = V * mu * dot
                            if exact == 1:
                                line += V * SGa.dot(Gd)
                                w = (V * pressure) * turn.forth(F, Ga.cross(Gd))
                                block += mat([[0, w[2], -w[1]], [-w[2], 0, w[0]], [w[1], -w[0], 0]])
                            o = work + places.CELL_BLOCKS + 9 * (CELL_NODES * la + ld)
                            for i in ti.static(range(3)):
                                s[o + 4 * i] = s[o + 4 * i] + line
                                for j in ti.static(range(3)):
                                    s[o + 3 * i + j] = s[o + 3 * i + j] + block[i, j]
        for a in range(CELL_NODES):
            ha = load3(s, work + places.CELL_SPREAD + 3 * a) * (lam / volume)
            for d in range(a, CELL_NODES):
                hd = load3(s, work + places.CELL_SPREAD + 3 * d)
                o = work + places.CELL_BLOCKS + 9 * (CELL_NODES * a + d)
                for i in ti.static(range(3)):
                    for j in ti.static(range(3)):
                        s[o + 3 * i + j] = s[o + 3 * i + j] + ha[i] * hd[j]

    @ti.func
    def pull_back(mem: ti.template(), b, cell, row_in, row_out, multiplier):
        """Cotangents of what the forces depend on besides the new displacements, for the cotangents -l of the forces.

        l is the vector at ``multiplier`` of the scratch. To the cell's scratch: cotangents of the displacements at the
        start (in place of the forces), and of mu, lambda' and eta (in place of the first derivatives).
        """
        s = ti.static(mem.scratch)
        work = work_of(mem, b, cell)
        for k in range(places.CELL_BLOCKS + 3):
            s[work + k] = fp(0.0)
        _mu, _lam, eta = moduli(mem, b, cell)
        inverse_dt = 1 / mem.constants[DT]
        growth, _volume = dilatation(mem, b, cell, row_out)
        mu_bar, lam_bar, eta_bar = fp(0.0), fp(0.0), fp(0.0)
        for t in range(CELL_TETS):
            if local_of(mem, cell, t, 0) >= 0:
                F = load33(s, work + places.CELL_NOW + 9 * t)
                F_before = deformation(mem, row_in, cell, t)
                C = cofactor(F)
                V = volume_of(mem, cell, t)
                L = spread(mem, s, multiplier, 3, cell, t)
                mu_bar -= V * inner(F - C, L)
                lam_bar -= V * growth * inner(C, L)
                Q = tensors.symmetric(products.transposed_multiply(F, L))
                eta_bar -= V * inverse_dt * inner(strain(F) - strain(F_before), Q)
                back = (V * eta * inverse_dt) * products.multiply(F_before, Q)
                for a in range(4):
                    o = work + places.CELL_FORCE + 3 * local_of(mem, cell, t, a)
                    add3(s, o, turn.forth(back, gradient_of(mem, cell, t, a)))
        s[work + places.CELL_BLOCKS] = mu_bar
        s[work + places.CELL_BLOCKS + 1] = lam_bar
        s[work + places.CELL_BLOCKS + 2] = eta_bar

    @ti.func
    def least_dilatation(mem: ti.template(), cell, row):
        """The smallest det F of the cell's tetrahedra."""
        least = fp(1e30)
        for t in range(CELL_TETS):
            if local_of(mem, cell, t, 0) >= 0:
                F = deformation(mem, row, cell, t)
                least = ti.min(least, determinant(F, cofactor(F)))
        return least

    return SimpleNamespace(
        remember=remember,
        assemble=assemble,
        pull_back=pull_back,
        least_dilatation=least_dilatation,
        work_of=work_of,
    )
