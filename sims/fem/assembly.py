"""The linear system of a step: blocks of 3 x 3 by row, scaled by its diagonal, and conjugate gradients on it.

Blocks couple the nodes of a cell. A node that touches a body couples with the body's six unknowns; those couplings and
the body's own block stay beside the sparse matrix. Rows and columns are scaled so that the diagonal is 1: that is
Jacobi's preconditioner, and it makes metres and radians comparable.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fem import places
from pliant.sims.fem.elements import element_functions
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import ADJOINT, FORWARD, Setup
from pliant.sims.fem.points import implicit_motion, point_functions
from pliant.sims.fem.skin import CORNERS
from pliant.sims.fields import DT
from pliant.sims.linear.conjugate_gradient import ConjugateGradients
from pliant.sims.math.access import access_functions
from pliant.sims.math.products import product_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.part import Loop, Pass
from pliant.sims.runtime import ti

TOLERANCES = {(FORWARD, ti.f32): 1e-1, (ADJOINT, ti.f32): 1e-5, (FORWARD, ti.f64): 1e-4, (ADJOINT, ti.f64): 1e-12}
"""Of the linear systems: the steps of Newton's iteration correct each other, the adjoint is solved once."""


@cache
def system_functions(setup: Setup) -> SimpleNamespace:
    """``assemble_row``: the blocks of a node's row.  ``scale_body``: a body's block.  ``rows``: a product of the scaled
    matrix.  ``scale_at``, ``residual_at``: where the scale of an unknown lies, and its residual, in reverse its
    cotangent."""
    at, fp, eff = setup.at, setup.fp, setup.eff
    vec = ti.types.vector(3, fp)
    mat = ti.types.matrix(3, 3, fp)
    load3 = access_functions(fp).load3
    turn, products = turning_functions(fp), product_functions(3, fp)
    elements, frames = element_functions(setup), frame_functions(setup)
    nodes, pairs = node_functions(setup), pair_functions(setup)

    @ti.func
    def assemble_row(mem: ti.template(), b, i, row_out):
        """The blocks of node i's row from the diagonal on, scaled, those of its column, its couplings with bodies."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        own = nodes.work_of(mem, b, i)
        scale = load3(s, own + places.SCALE)
        start = h[at.blocks] + b * h[at.slots] * 9
        for n in range(h[h[at.diagonal_slots] + i], h[h[at.rows] + i + 1]):
            block = mat(0)
            for t in range(h[h[at.slot_starts] + n], h[h[at.slot_starts] + n + 1]):
                code = h[h[at.slot_terms] + t]
                per_cell = places.CELL_NODES * places.CELL_NODES
                o = elements.work_of(mem, b, code // per_cell) + places.CELL_BLOCKS
                a = code % per_cell // places.CELL_NODES
                d = code % places.CELL_NODES
                if a <= d:
                    block += turn.load33(s, o + 9 * (places.CELL_NODES * a + d))
                else:
                    block += turn.load33(s, o + 9 * (places.CELL_NODES * d + a)).transpose()
            j = h[h[at.slot_nodes] + n]
            if j == i:
                mass, _at = nodes.mass_of(mem, b, i)
                for d in ti.static(range(3)):
                    block[d, d] += mass / (mem.constants[DT] * mem.constants[DT])
            for t in range(h[h[at.touched_slots] + n], h[h[at.touched_slots] + n + 1]):
                code = h[h[at.slot_points] + t]
                point = code // (CORNERS * CORNERS)
                o = nodes.point_work_of(mem, b, point) + places.POINT_STIFFNESS
                if s[o] + s[o + 4] + s[o + 8] > 0:
                    weights = h[at.point_weights] + CORNERS * point
                    first = mem.constants[weights + code // CORNERS % CORNERS]
                    block += first * mem.constants[weights + code % CORNERS] * turn.load33(s, o)
            other = load3(s, nodes.work_of(mem, b, j) + places.SCALE)
            twin = h[h[at.slot_twins] + n]
            for d in ti.static(range(3)):
                for e in ti.static(range(3)):
                    value = scale[d] * block[d, e] * other[e]
                    s[start + 9 * n + 3 * d + e] = value
                    s[start + 9 * twin + 3 * e + d] = value
        if ti.static(setup.has_bodies):
            skin = h[h[at.node_skins] + i]
            if skin >= 0:
                for k in range(h[at.shapes]):
                    if pairs.frame_of(mem, k) >= h[eff.count]:
                        couple(mem, b, i, skin, k, row_out, scale)

    @ti.func
    def coupling_at(mem: ti.template(), b, skin, body):
        """Where the coupling of a node of the surface, by its number among these, with a body begins."""
        h = ti.static(mem.integers)
        return h[at.couplings] + ((b * h[at.skins] + skin) * h[at.bodies] + body) * places.COUPLING_WORK

    @ti.func
    def couple(mem: ti.template(), b, i, skin, k, row_out, scale):
        """Coupling of node i with the body of shape k, of all its points that touch it: -R^T K [I, -[r]x], scaled."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        _p, R = frames.end(mem, b, row_out, nodes.mount_of(mem, i))
        number = pairs.frame_of(mem, k) - h[eff.count]
        body = frames.work_of(mem, b, number)
        is_coupled = fp(0.0)
        left, right = mat(0), mat(0)
        touched = h[at.node_points_start] + i
        for n in range(h[touched], h[touched + 1]):
            point, weight = nodes.touch_of(mem, n)
            pair = pairs.work_of(mem, b, point, k)
            if s[pair + places.PAIR_ACTIVE] > 0:
                is_coupled = fp(1.0)
                arm = load3(s, nodes.point_work_of(mem, b, point) + places.POINT_CARRIED)
                arm -= load3(s, body + places.PREDICTED)
                K = weight * products.transposed_multiply(R, turn.load33(s, pair + places.PAIR_STIFFNESS))
                left -= K
                right += products.multiply(K, nodes.cross_matrix(arm))
        o = coupling_at(mem, b, skin, number)
        s[o + places.IS_COUPLED] = is_coupled
        if is_coupled > 0:
            o += places.COUPLING
            for d in ti.static(range(3)):
                for e in ti.static(range(3)):
                    s[o + 6 * d + e] = scale[d] * left[d, e] * s[body + places.BODY_SCALE + e]
                    s[o + 6 * d + e + 3] = scale[d] * right[d, e] * s[body + places.BODY_SCALE + 3 + e]

    @ti.func
    def scale_body(mem: ti.template(), b, k):
        """A body's own block, scaled."""
        s = ti.static(mem.scratch)
        w = frames.work_of(mem, b, k)
        for d in range(6):
            for e in range(6):
                o = w + places.BODY_BLOCK + 6 * d + e
                s[o] = s[w + places.BODY_SCALE + d] * s[o] * s[w + places.BODY_SCALE + e]

    @ti.func
    def rows(mem: ti.template(), b, i, v, row_in, row_out):
        """Entries i, i + 1, i + 2 of the product of the scaled matrix with the vector at v of the scratch."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        found = vec(0)
        bodies_from = 3 * h[at.count]
        if i < bodies_from:
            node = i // 3
            nodes_at = h[at.slot_nodes]
            o = h[at.blocks] + b * h[at.slots] * 9
            for n in range(h[h[at.rows] + node], h[h[at.rows] + node + 1]):
                w = v + 3 * h[nodes_at + n]
                m = o + 9 * n
                x, y, z = s[w], s[w + 1], s[w + 2]
                found += vec(
                    s[m] * x + s[m + 1] * y + s[m + 2] * z,
                    s[m + 3] * x + s[m + 4] * y + s[m + 5] * z,
                    s[m + 6] * x + s[m + 7] * y + s[m + 8] * z,
                )
            if ti.static(setup.has_bodies):
                skin = h[h[at.node_skins] + node]
                if skin >= 0:
                    for body in range(h[at.bodies]):
                        m = coupling_at(mem, b, skin, body)
                        if s[m + places.IS_COUPLED] > 0:
                            for e in range(6):
                                x = s[v + bodies_from + 6 * body + e]
                                for d in ti.static(range(3)):
                                    found[d] += s[m + places.COUPLING + 6 * d + e] * x
        if ti.static(setup.has_bodies):
            if i >= bodies_from:
                body = (i - bodies_from) // 6
                e = (i - bodies_from) % 6
                w = frames.work_of(mem, b, body) + places.BODY_BLOCK + 6 * e
                for f in range(6):
                    for d in ti.static(range(3)):
                        found[d] += s[w + 6 * d + f] * s[v + bodies_from + 6 * body + f]
                for skin in range(h[at.skins]):
                    m = coupling_at(mem, b, skin, body)
                    if s[m + places.IS_COUPLED] > 0:
                        u = v + 3 * h[h[at.skin_nodes] + skin]
                        for d in ti.static(range(3)):
                            for g in ti.static(range(3)):
                                found[d] += s[m + places.COUPLING + 6 * g + e + d] * s[u + g]
        return found

    def entry_function(of_node: int, of_body: int) -> Any:
        @ti.func
        def entry_at(mem: ti.template(), b, i):
            """Where the entry of unknown i lies, in the scratch of its node or body."""
            bodies_from = 3 * mem.integers[at.count]
            o = nodes.work_of(mem, b, i // 3) + of_node + i % 3
            if ti.static(setup.has_bodies):
                if i >= bodies_from:
                    o = frames.work_of(mem, b, (i - bodies_from) // 6) + of_body + (i - bodies_from) % 6
            return o

        return entry_at

    return SimpleNamespace(
        assemble_row=assemble_row,
        scale_body=scale_body,
        rows=rows,
        scale_at=entry_function(places.SCALE, places.BODY_SCALE),
        residual_at=entry_function(places.RESIDUAL, places.BODY_RESIDUAL),
    )


@cache
def assembly_passes(setup: Setup, exact: Any) -> list[Pass | Loop]:
    """Passes that make the residual and the matrix; ``exact``: Taichi function (mem, b), 1 if all terms count."""
    at = setup.at
    elements, nodes, system = element_functions(setup), node_functions(setup), system_functions(setup)
    points = point_functions(setup, implicit_motion)

    @ti.func
    def cells(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces and derivatives of cells first to stop - 1."""
        for k in range(first, stop):
            elements.assemble(mem, b, k, row_in, row_out, exact(mem, b))

    @ti.func
    def balances(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Residuals of nodes first to stop - 1."""
        for i in range(first, stop):
            nodes.balance_node(mem, b, i, row_in, row_out)

    @ti.func
    def touch(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on points first to stop - 1."""
        for i in range(first, stop):
            points.evaluate(mem, b, i, row_in, row_out)

    @ti.func
    def body_balances(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Residuals and blocks of bodies first to stop - 1."""
        for k in range(first, stop):
            nodes.balance_body(mem, b, k, row_in)
            system.scale_body(mem, b, k)

    @ti.func
    def rows(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Rows of the matrix of nodes first to stop - 1."""
        for i in range(first, stop):
            system.assemble_row(mem, b, i, row_out)

    passes: list[Pass | Loop] = [Pass(cells, at.cells, waits=False), Pass(touch, at.points), Pass(balances, at.count)]
    if setup.has_bodies:
        passes.append(Pass(body_balances, at.bodies))
    return [*passes, Pass(rows, at.count)]


@cache
def solver(setup: Setup, name: str, on_indefinite: Any = None) -> ConjugateGradients:
    """Conjugate gradients on the scaled matrix."""
    return ConjugateGradients(
        setup.at,
        name,
        setup.fp,
        setup.device,
        row=system_functions(setup).rows,
        width=3,
        on_indefinite=on_indefinite,
        tolerance=TOLERANCES[name, setup.fp],
    )
