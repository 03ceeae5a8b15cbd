"""The multiplier of an implicit step's adjoint: (dR/dz) l = z_bar, see ``adjoint.py``."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fields import STATE
from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.assembly import assembly_functions
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti


@cache
def multiplier_functions(setup: Setup) -> SimpleNamespace:
    """``seed``: cotangents of the unknowns, the seeds of the system.  ``solve``: the multiplier l."""
    at, fp = setup.at, setup.fp
    rod = assembly_functions(setup)
    tree = rod.tree
    add = access_functions(fp).add

    @ti.func
    def seed(mem: ti.template(), b, r_in, r_out, second):
        """Cotangents of the new positions and turns, from positions, velocities and directors.

        A director turns by the angle about its tangent and is carried along by its edge: dm = m2 dtheta - t (m.dt).
        """
        h = ti.static(mem.integers)
        _old, new, _params, work = rod.starts(mem, b, r_in, r_out)
        adj = b * h[STATE] + h[at.state]
        s, _last, _before = rod.scheme(mem, second)
        for i in range(h[at.count]):
            o = tree.entry(work, i, places.SEED)
            a = rod.field(adj, i, 0)
            x_bar = rod.load3(mem.adjoint, a + places.POSITION) + s * rod.load3(mem.adjoint, a + places.VELOCITY)
            rod.store3(mem.scratch, o, x_bar)
            mem.scratch[o + 3] = fp(0.0)
            for k in range(places.STATE_RECORD):
                mem.scratch[tree.entry(work, i, places.COTANGENT) + k] = fp(0.0)
        for i in range(1, h[at.count]):
            t, eps = rod.edge(mem, new, i)
            m, _m = rod.director(mem, new, i, t)
            m_bar = rod.load3(mem.adjoint, rod.field(adj, i, places.DIRECTOR))
            o = tree.entry(work, i, places.SEED)
            e_bar = -m_bar.dot(t) / eps * m
            rod.add3(mem.scratch, o, e_bar)
            rod.add3(mem.scratch, tree.entry(work, rod.parent_of(mem, i), places.SEED), -e_bar)
            add(mem.scratch, o + 3, m_bar.dot(t.cross(m)))

    @ti.func
    def multiply_block(mem: ti.template(), block, left, right, transposed):
        """seed(left) -= block @ multiplier(right), or with the transposed block."""
        for r in range(4):
            total = fp(0.0)
            for c in range(4):
                k = 4 * r + c
                if transposed == 1:
                    k = 4 * c + r
                total += mem.scratch[block + k] * mem.scratch[right + places.MULTIPLIER + c]
            add(mem.scratch, left + places.SEED + r, -total)

    @ti.func
    def solve(mem: ti.template(), b, work):
        """The multiplier; the seeds become z_bar - (dR/dz) l."""
        h = ti.static(mem.integers)
        for i in range(h[at.count]):
            o = tree.entry(work, i, 0)
            for k in range(places.RIGHT):
                mem.scratch[o + places.FACTORS + k] = mem.scratch[o + k]
            for k in range(4):
                mem.scratch[o + places.FACTORS + places.RIGHT + k] = mem.scratch[o + places.SEED + k]
        rod.solve(mem, b, work, places.FACTORS)
        for i in range(h[at.count]):
            o = tree.entry(work, i, 0)
            q = o
            block = places.BLOCK
            levels = 1
            p = rod.parent_of(mem, i)
            if p >= 0:
                levels = 2
                if rod.parent_of(mem, p) >= 0:
                    levels = 3
            for level in range(levels):
                if level == 1:
                    q = tree.entry(work, p, 0)
                    block = places.PARENT_BLOCK
                if level == 2:
                    q = tree.entry(work, rod.parent_of(mem, p), 0)
                    block = places.GRAND_BLOCK
                multiply_block(mem, o + block, o, q, 0)
                if level > 0:
                    multiply_block(mem, o + block, q, o, 1)

    return SimpleNamespace(seed=seed, solve=solve)
