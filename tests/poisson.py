"""A part that solves Poisson's equation on a cube of n^3 cells: what the tests of linear solvers work on."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import scipy.sparse

from pliant.sims.accessors import accessors
from pliant.sims.fields import Quantity, Record
from pliant.sims.linear.conjugate_gradient import ConjugateGradients, conjugate_gradient_needs, vectors
from pliant.sims.part import Part, Pass, Stage, Stages
from pliant.sims.runtime import ti
from pliant.sims.world import World

DAMPING = 0.6  # of Jacobi's iteration


class Poisson(Part):
    """u' solves A u' = u + source, with A the 7-point Laplacian of a conductivity k a cell and u = 0 in the walls.

    (A u)_i = the sum over the six neighbours j of w_ij (u_i - u_j), w_ij = (k_i + k_j) / 2; in a wall k_j = k_i.

    Args:
        size: cells along each axis, n.
        precondition: None, "jacobi", or "passes": two sweeps of damped Jacobi, each a pass.
        is_warm: start from u.
    """

    element_name = "cell"

    def __init__(self, size, *, precondition="jacobi", is_warm=False, tolerance=1e-12, most=1000, name=""):
        self.size, self.precondition, self.is_warm, self.name = size, precondition, is_warm, name
        self.tolerance, self.most = tolerance, most
        self.elements = size**3
        self.key = ("poisson", precondition, is_warm)

    def needs(self, *, batch, team, differentiable):
        n = self.elements
        own = conjugate_gradient_needs("heat", n, batch=batch, tolerance=self.tolerance, most=self.most)
        return replace(
            own,
            state=[Record("cells", [Quantity("u", unit="K")], n)],
            parameters=[Record("matter", [Quantity("conductivity", unit="W/(m K)")], n)],
            controls=[Record("sources", [Quantity("source", unit="W")], n)],
            counts={"cell_count": n, "size": self.size, **own.counts},
            scratch={"smoothed": batch * n, **own.scratch},
        )

    def initial(self):
        return {"conductivity": 1.0}

    def stages(self, dim, fp, device):
        my, at = accessors(self, fp, device), self.at
        found = vectors(at, "heat")

        @ti.func
        def neighbour(mem: ti.template(), i, a: ti.template(), s: ti.template()):
            """The cell beside i along axis a, on side s; -1 in the wall."""
            n = mem.integers[at.size]
            stride = n * n if ti.static(a == 0) else n if ti.static(a == 1) else 1
            k = i // stride % n + s
            j = i + s * stride
            if k < 0 or k >= n:
                j = -1
            return j

        @ti.func
        def row(mem: ti.template(), b, i, v, row_in, row_out):
            k, u, image = my.conductivity.load(mem, b, i), mem.scratch[v + i], fp(0.0)
            for a, s in ti.static([(a, s) for a in range(3) for s in (-1, 1)]):
                j = neighbour(mem, i, a, s)
                if j < 0:
                    image += k * u
                else:
                    image += fp(0.5) * (k + my.conductivity.load(mem, b, j)) * (u - mem.scratch[v + j])
            return image

        @ti.func
        def diagonal(mem: ti.template(), b, i):
            k, d = my.conductivity.load(mem, b, i), fp(0.0)
            for a, s in ti.static([(a, s) for a in range(3) for s in (-1, 1)]):
                j = neighbour(mem, i, a, s)
                if j < 0:
                    d += k
                else:
                    d += fp(0.5) * (k + my.conductivity.load(mem, b, j))
            return d

        @ti.func
        def jacobi(mem: ti.template(), b, i, value, row_in, row_out):
            return value / diagonal(mem, b, i)

        @ti.func
        def smoothed(mem: ti.template(), b):
            return mem.integers[at.smoothed] + b * mem.integers[at.cell_count]

        @ti.func
        def first_sweep(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            r, y = found.remainder(mem, b), smoothed(mem, b)
            for i in range(first, stop):
                mem.scratch[y + i] = fp(DAMPING) * mem.scratch[r + i] / diagonal(mem, b, i)

        @ti.func
        def second_sweep(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            r, y, z = found.remainder(mem, b), smoothed(mem, b), found.preconditioned(mem, b)
            for i in range(first, stop):
                rest = mem.scratch[r + i] - row(mem, b, i, y, row_in, row_out)
                mem.scratch[z + i] = mem.scratch[y + i] + fp(DAMPING) * rest / diagonal(mem, b, i)

        @ti.func
        def right(mem: ti.template(), b, i, row_in, row_out):
            return my.u.load(mem, row_in, i) + my.source.load(mem, b, i)

        @ti.func
        def take(mem: ti.template(), b, i, row_in, row_out, value):
            my.u.store(mem, row_out, i, value)

        @ti.func
        def guess(mem: ti.template(), b, i, row_in, row_out):
            return my.u.load(mem, row_in, i)

        @ti.func
        def right_adjoint(mem: ti.template(), b, i, row_in, row_out):
            return my.u.load_bar(mem, b, i)

        @ti.func
        def take_adjoint(mem: ti.template(), b, i, row_in, row_out, value):
            my.u.store_bar(mem, b, i, value)
            my.source.add_bar(mem, b, i, value)

        @ti.func
        def conductivity_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            """A_bar = -lambda u^T: w_bar = -(lambda_i - lambda_j) (u_i - u_j), once for each pair."""
            o = found.solution(mem, b)
            for i in range(first, stop):
                l, u, bar = mem.scratch[o + i], my.u.load(mem, row_out, i), fp(0.0)
                for a, s in ti.static([(a, s) for a in range(3) for s in (-1, 1)]):
                    j = neighbour(mem, i, a, s)
                    if j < 0:
                        bar -= l * u
                    else:
                        bar -= fp(0.5) * (l - mem.scratch[o + j]) * (u - my.u.load(mem, row_out, j))
                my.conductivity.add_bar(mem, b, i, bar)

        sweeps = [Pass(first_sweep, at.cell_count), Pass(second_sweep, at.cell_count)]
        chosen = {None: None, "jacobi": jacobi, "passes": sweeps}[self.precondition]
        system = ConjugateGradients(at, "heat", fp, device, row=row, precondition=chosen)
        forward = system.solve(right, take, guess if self.is_warm else None)
        adjoint = [*system.solve(right_adjoint, take_adjoint), Pass(conductivity_adjoint, at.cell_count)]
        return Stages([Stage(forward, adjoint)])


def poisson_world(*parts, batch=1, **options):
    """A World of such parts."""
    scene = SimpleNamespace(dim=3, parts=lambda **_: list(parts))
    settings = {"substeps": 1, "dt": 1.0, "precision": "f64", "differentiable": False} | options
    return World(scene, batch=batch, **settings)


def laplacian(conductivity):
    """The matrix A of a conductivity (n, n, n), sparse."""
    k = conductivity
    n = len(k)
    cells = np.arange(n**3).reshape(n, n, n)
    diagonal, rows, columns, entries = np.zeros(k.shape), [], [], []
    for a in range(3):
        low, high = (np.take(cells, range(*ends), axis=a) for ends in ((0, n - 1), (1, n)))
        w = 0.5 * (k.ravel()[low] + k.ravel()[high])
        np.add.at(diagonal.ravel(), low, w)
        np.add.at(diagonal.ravel(), high, w)
        for end in (0, n - 1):
            wall = np.take(cells, end, axis=a)
            np.add.at(diagonal.ravel(), wall, k.ravel()[wall])
        rows += [low.ravel(), high.ravel()]
        columns += [high.ravel(), low.ravel()]
        entries += [-w.ravel(), -w.ravel()]
    rows, columns = [*rows, cells.ravel()], [*columns, cells.ravel()]
    entries = np.concatenate([*entries, diagonal.ravel()])
    return scipy.sparse.csc_matrix((entries, (np.concatenate(rows), np.concatenate(columns))))
