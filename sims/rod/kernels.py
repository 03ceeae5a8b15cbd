"""One implicit step of a rod: clamps, Newton iteration, new velocities, strains and history; and its adjoint."""

from functools import cache
from typing import Any

from pliant.sims.rod import state as at
from pliant.sims.rod.adjoint import adjoint_functions
from pliant.sims.rod.assembly import assembly_functions
from pliant.sims.rod.clamps import clamp_functions
from pliant.sims.robot import effector as eff
from pliant.sims.runtime import ti
from pliant.sims.solver import NOT_CONVERGED, NOT_FINITE, RECORDS, STATE, STATUS, STATUS_SIZE, Phases


@cache
def rod_phases(fp: Any, kinds: tuple[int, ...], has_effectors: bool) -> Phases:
    """The phases of a rod that may touch effectors of the given kinds of shapes."""
    rod = assembly_functions(fp, kinds, has_effectors)
    clamps = clamp_functions(fp, has_effectors)
    step_adjoint = adjoint_functions(fp, kinds, has_effectors).step_adjoint
    joint, tree = rod.joint, rod.tree
    # Newton's iteration ends with a move below this share of an edge; it converges quadratically.
    precision = 1e-8 if fp is ti.f64 else 1e-4

    @ti.func
    def predict(mem: ti.template(), b, r_in, r_out, substep):
        """First guess: free vertices go on at their velocity, edges carry their frames along."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        old, new, _params, _work = rod.places(mem, b, r_in, r_out)
        _s, last, before = rod.scheme(mem, 0)
        dt = 1 / _s
        for i in range(h[at.COUNT]):
            o = rod.field(old, i, 0)
            x = rod.load3(a, o + at.POSITION)
            if tree.is_free(mem, i):
                x += dt * rod.load3(a, o + at.VELOCITY)
            else:
                x = clamps.target(mem, b, r_out, i, x, substep)
            rod.store3(a, rod.field(new, i, at.POSITION), x)
        for i in range(1, h[at.COUNT]):
            t, _eps = rod.edge(mem, old, i)
            u, _eps_new = rod.edge(mem, new, i)
            m, _m = rod.director(mem, old, i, t)
            m = joint.transport(t, u, m)
            if ti.static(has_effectors):
                if clamps.turns_with_effector(mem, i):
                    m = clamps.held_director(mem, r_out, i)
            rod.store3(a, rod.field(new, i, at.DIRECTOR), m)

    @ti.func
    def move(mem: ti.template(), new, work):
        """Takes the solution of the system as a step, shortened if it is longer than allowed; returns its length
        before, the largest over the vertices."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        largest = fp(0.0)
        is_finite = 1
        for i in range(h[at.COUNT]):
            d = rod.load3(mem.scratch, tree.entry(work, i, at.RIGHT))
            size = ti.sqrt(d.dot(d))
            if not size < fp(1e30):  # a NaN fails every comparison
                is_finite = 0
            largest = ti.max(largest, size)
        scale = fp(1.0)
        limit = mem.constants[h[at.NUMBERS_AT] + at.EDGE_LENGTH]
        if largest > limit:
            scale = limit / largest
        if is_finite == 1:
            for i in range(1, h[at.COUNT]):
                p = rod.parent_of(mem, i)
                t, eps = rod.edge(mem, new, i)
                own = tree.entry(work, i, at.RIGHT)
                e = t * eps + scale * (
                    rod.load3(mem.scratch, own) - rod.load3(mem.scratch, tree.entry(work, p, at.RIGHT))
                )
                u = e / ti.sqrt(e.dot(e))
                m, _m = rod.director(mem, new, i, t)
                m = joint.turn(u, joint.transport(t, u, m), scale * mem.scratch[own + 3])
                rod.store3(a, rod.field(new, i, at.DIRECTOR), m)
            for i in range(h[at.COUNT]):
                step = scale * rod.load3(mem.scratch, tree.entry(work, i, at.RIGHT))
                rod.add3(a, rod.field(new, i, at.POSITION), step)
        else:
            largest = fp(-1.0)
        return largest

    @ti.func
    def iterate(mem: ti.template(), b, r_in, r_out, second):
        """Newton's iteration; returns the cause of a failure, or 0.

        Where the exact matrix is not definite (a rod about to buckle), the step is repeated without the terms that
        make it so.
        """
        h = ti.static(mem.integers)
        _old, new, _params, work = rod.places(mem, b, r_in, r_out)
        tolerance = fp(precision) * mem.constants[h[at.NUMBERS_AT] + at.EDGE_LENGTH]
        cause = NOT_CONVERGED
        exact = 1
        count = 0
        while count < h[at.MAX_ITERATIONS]:
            count += 1
            rod.assemble(mem, b, r_in, r_out, second, exact, False)
            is_definite = tree.solve(mem, work, at.BLOCK)
            if exact == 1 and is_definite == 0:
                exact = 0
            else:
                size = move(mem, new, work)
                if size < 0:
                    cause = NOT_FINITE
                    count = h[at.MAX_ITERATIONS]
                elif size < tolerance:
                    cause = 0
                    count = h[at.MAX_ITERATIONS]
        return cause

    @ti.func
    def conclude(mem: ti.template(), b, r_in, r_out, second):
        """Velocities, strains and history of the new state."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        old, new, _params, work = rod.places(mem, b, r_in, r_out)
        s, last, before = rod.scheme(mem, second)
        rod.measure(mem, new)
        for i in range(h[at.COUNT]):
            o = rod.field(old, i, 0)
            n = rod.field(new, i, 0)
            x_o = rod.load3(a, o + at.POSITION)
            z = rod.load3(a, n + at.POSITION)
            z_o = last * x_o + before * rod.load3(a, o + at.OLD_POSITION)
            rod.store3(a, n + at.VELOCITY, s * (z - z_o))
            rod.store3(a, n + at.OLD_POSITION, x_o)
            rod.store3(a, n + at.OLD_VELOCITY, rod.load3(a, o + at.VELOCITY))
            rod.store3(a, n + at.OLD_STRAIN, rod.load3(a, o + at.STRAIN))
            if ti.static(has_effectors):
                if tree.is_free(mem, i):
                    for j in range(h[eff.COUNT]):
                        force, _k = rod.contact.push(mem, b, r_out, j, x_o, z)
                        rod.contact.read_force(mem, b, j, force)
        mem.frames[r_out * h[STATE] + h[at.HISTORY_AT]] = fp(1.0)

    @ti.func
    def step(mem: ti.template(), b, c, r_in, r_out, substep):
        if c == 0:
            h = ti.static(mem.integers)
            old = r_in * h[STATE] + h[at.STATE_AT]
            if mem.frames[r_in * h[STATE] + h[at.HISTORY_AT]] < 0.5:
                rod.measure(mem, old)
            second = rod.is_second_order(mem, r_in)
            predict(mem, b, r_in, r_out, substep)
            cause = iterate(mem, b, r_in, r_out, second)
            conclude(mem, b, r_in, r_out, second)
            status = h[STATUS] + b * h[RECORDS] * STATUS_SIZE
            if cause != 0 and h[status] == 0:
                h[status] = substep + 1
                h[status + 1] = 0
                h[status + 2] = cause

    @ti.func
    def step_back(mem: ti.template(), b, c, r_in, r_out, substep):
        if c == 0:
            step_adjoint(mem, b, r_in, r_out, substep)

    @ti.func
    def begin(mem: ti.template(), b, c, r):
        pass

    @ti.func
    def finish(mem: ti.template(), b, c):
        pass

    return Phases(begin=begin, forward=[step], reverse=[step_back], finish=finish, finish_reverse=finish)
