"""One implicit step of a rod: clamps, Newton iteration, new velocities, strains and history; and its adjoint."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.failures import NOT_CONVERGED, NOT_FINITE
from pliant.sims.fields import DT, STATE
from pliant.sims.part import Pass, Stage, Stages
from pliant.sims.reports import report_function
from pliant.sims.rod import places
from pliant.sims.rod.adjoint import adjoint_functions
from pliant.sims.rod.assembly import assembly_functions
from pliant.sims.rod.clamps import clamp_functions
from pliant.sims.rod.places import CROWDED, CUT_SHORT, FOLDED, TORN, Setup
from pliant.sims.rod.potential import potential_functions
from pliant.sims.rod.topology import FLAT_OPENING
from pliant.sims.runtime import ti

PATIENCE = 6
"""Newton steps before the line search begins; a usual step takes three."""


@cache
def newton_functions(setup: Setup) -> SimpleNamespace:
    """``predict``: the first guess of a step.  ``iterate``: Newton's iteration from there."""
    at, fp, has_effectors = setup.at, setup.fp, setup.eff is not None
    rod = assembly_functions(setup)
    clamps = clamp_functions(setup)
    potential = potential_functions(setup).potential
    joint, tree = rod.joint, rod.tree
    # Newton's iteration ends with a move below this share of an edge: the next would be its square. The derivative lags
    # one move behind: with friction, which turns within FRICTION_SPEED x DT, f64 needs this much to know it to 1e-6.
    precision = 1e-8 if fp is ti.f64 else 1e-3
    linear = 1e-12 if fp is ti.f64 else 1e-6  # without the exact matrix it converges linearly
    rounding = 1e-14 if fp is ti.f64 else 1e-6  # of the potential

    @ti.func
    def predict(mem: ti.template(), b, r_in, r_out, substep):
        """First guess: free vertices go on at their velocity, edges carry their frames along."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        old, new, _params, _work = rod.starts(mem, b, r_in, r_out)
        dt = mem.constants[DT]
        for i in range(h[at.count]):
            o = rod.field(old, i, 0)
            x = rod.load3(a, o + places.POSITION)
            if tree.is_free(mem, i):
                x += dt * rod.load3(a, o + places.VELOCITY)
            else:
                x = clamps.target(mem, b, r_out, i, x, substep)
            rod.store3(a, rod.field(new, i, places.POSITION), x)
        for i in range(1, h[at.count]):
            t, _eps = rod.edge(mem, old, i)
            u, _eps_new = rod.edge(mem, new, i)
            m, _m = rod.director(mem, old, i, t)
            m = joint.transport(t, u, m)
            if ti.static(has_effectors):
                if clamps.turns_with_effector(mem, i):
                    m = clamps.held_director(mem, r_out, i)
            rod.store3(a, rod.field(new, i, places.DIRECTOR), m)

    @ti.func
    def longest_move(mem: ti.template(), work):
        """The longest move of a vertex in the solution of the system; -1 if one is not finite."""
        result = fp(0.0)
        for i in range(mem.integers[at.count]):
            d = rod.load3(mem.scratch, tree.entry(work, i, places.RIGHT))
            size = ti.sqrt(d.dot(d))
            if not size < fp(1e30):  # a NaN fails every comparison
                result = fp(-1.0)
            if result >= 0:
                result = ti.max(result, size)
        return result

    @ti.func
    def move(mem: ti.template(), new, work, scale):
        """Takes the solution of the system, scaled, as a step."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        for i in range(1, h[at.count]):
            p = rod.parent_of(mem, i)
            t, eps = rod.edge(mem, new, i)
            own = tree.entry(work, i, places.RIGHT)
            apart = rod.load3(mem.scratch, own) - rod.load3(mem.scratch, tree.entry(work, p, places.RIGHT))
            e = t * eps + scale * apart
            u = e / ti.sqrt(e.dot(e))
            m, _m = rod.director(mem, new, i, t)
            m = joint.turn(u, joint.transport(t, u, m), scale * mem.scratch[own + 3])
            rod.store3(a, rod.field(new, i, places.DIRECTOR), m)
        for i in range(h[at.count]):
            step = scale * rod.load3(mem.scratch, tree.entry(work, i, places.RIGHT))
            rod.add3(a, rod.field(new, i, places.POSITION), step)

    @ti.func
    def iterate(mem: ti.template(), b, r_in, r_out, second):
        """Newton's iteration; returns the cause of a failure, or 0.

        Where the exact matrix is not definite (a rod about to buckle), the step is repeated without the terms that
        make it so. From the ``PATIENCE``-th iteration on, steps are halved until they lower the incremental potential.
        """
        h = ti.static(mem.integers)
        _old, new, _params, work = rod.starts(mem, b, r_in, r_out)
        edge_length = mem.constants[h[at.numbers] + places.EDGE_LENGTH]
        tolerance = fp(precision) * edge_length
        cause = NOT_CONVERGED
        exact = 1
        is_stubborn = 0
        energy = fp(0.0)
        count = 0
        halvings = 0
        scale = fp(0.0)
        size = fp(0.0)
        while count < h[at.max_iterations]:
            accept = 1
            if count >= PATIENCE:
                level = potential(mem, b, r_in, r_out, second)
                if scale != 0 and halvings < 20 and level > energy + fp(rounding) * ti.abs(energy):
                    accept = 0
                    scale /= 2
                    halvings += 1
                    move(mem, new, work, -scale)
                else:
                    energy = level
            if accept == 1:
                count += 1
                halvings = 0
                scale = fp(0.0)
                rod.assemble(mem, b, r_in, r_out, second, exact, False)
                is_definite = rod.solve(mem, b, work, places.BLOCK)
                size = longest_move(mem, work)
                if size < 0:
                    cause = NOT_FINITE
                    count = h[at.max_iterations]
                elif exact == 1 and is_definite == 0:
                    exact = 0
                    if count > PATIENCE:
                        is_stubborn = 1
                else:
                    scale = ti.min(fp(1.0), edge_length / ti.max(size, tolerance))
                    move(mem, new, work, scale)
                    if size < tolerance and (exact == 1 or size < fp(linear) * edge_length):
                        cause = 0
                        count = h[at.max_iterations]
                    elif size < fp(0.1) * edge_length and is_stubborn == 0:
                        exact = 1
        return cause

    return SimpleNamespace(predict=predict, iterate=iterate)


@cache
def ending_functions(setup: Setup) -> SimpleNamespace:
    """``conclude``: what follows from the new positions.  ``torn_node`` and ``folded_node``: what has gone wrong."""
    at, fp, has_effectors = setup.at, setup.fp, setup.eff is not None
    eff: Any = setup.eff
    rod = assembly_functions(setup)
    tree = rod.tree

    @ti.func
    def conclude(mem: ti.template(), b, r_in, r_out, second):
        """Velocities, strains and history of the new state."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        old, new, _params, _work = rod.starts(mem, b, r_in, r_out)
        s, last, before = rod.scheme(mem, second)
        rod.measure(mem, new)
        for i in range(h[at.count]):
            o = rod.field(old, i, 0)
            n = rod.field(new, i, 0)
            x_o = rod.load3(a, o + places.POSITION)
            z = rod.load3(a, n + places.POSITION)
            z_o = last * x_o + before * rod.load3(a, o + places.OLD_POSITION)
            rod.store3(a, n + places.VELOCITY, s * (z - z_o))
            rod.store3(a, n + places.OLD_POSITION, x_o)
            rod.store3(a, n + places.OLD_VELOCITY, rod.load3(a, o + places.VELOCITY))
            rod.store3(a, n + places.OLD_STRAIN, rod.load3(a, o + places.STRAIN))
            if ti.static(has_effectors):
                if tree.is_free(mem, i):
                    for j in range(h[eff.count]):
                        force, _k = rod.contact.push(mem, b, r_out, j, x_o, z)
                        rod.contact.read_force(mem, b, j, force)
        mem.frames[r_out * h[STATE] + h[at.history]] = fp(1.0)

    @ti.func
    def torn_node(mem: ti.template(), b, r_out):
        """A node whose edge is stretched beyond all bounds, or 0."""
        h = ti.static(mem.integers)
        _old, new, params, _work = rod.starts(mem, b, r_out, r_out)
        limit = mem.constants[h[at.numbers] + places.LONGEST_STRETCH]
        result = 0
        for i in range(1, h[at.count]):
            _t, eps = rod.edge(mem, new, i)
            if eps > limit * mem.parameters[rod.parameter(params, i, places.REST_LENGTH)]:
                result = i
        return result

    @ti.func
    def folded_node(mem: ti.template(), b, r_out):
        """The vertex of a joint whose edges lie nearly on each other, or 0. There the curvature is cut off (to be
        finite), so that nothing would open the joint again."""
        _old, new, _params, _work = rod.starts(mem, b, r_out, r_out)
        result = 0
        for i in range(1, mem.integers[at.count]):
            p = rod.parent_of(mem, i)
            if rod.parent_of(mem, p) >= 0:
                t, _eps = rod.edge(mem, new, p)
                u, _eps_f = rod.edge(mem, new, i)
                s = t + u
                if s.dot(s) < 2 * fp(FLAT_OPENING):
                    result = p
        return result

    return SimpleNamespace(conclude=conclude, torn_node=torn_node, folded_node=folded_node)


@cache
def rod_stages(setup: Setup) -> Stages:
    """An implicit step of a rod, and its adjoint. One thread of each world does it."""
    at, has_self_contact = setup.at, setup.has_self_contact
    report = report_function(at.part)
    rod = assembly_functions(setup)
    newton, ending = newton_functions(setup), ending_functions(setup)
    predict, iterate = newton.predict, newton.iterate
    conclude, torn_node, folded_node = ending.conclude, ending.torn_node, ending.folded_node
    step_adjoint = adjoint_functions(setup).step_adjoint

    @ti.func
    def is_cut_short(mem: ti.template()):
        """Whether a loop ends before its time: Mesa's software device ends all loops of a thread after 65535 rounds."""
        rounds = 0
        for _ in range(mem.integers[at.count]):
            rounds += 1
        return rounds < mem.integers[at.count]

    @ti.func
    def one_step(mem: ti.template(), b, c, r_in, r_out, substep):
        """Reports why the step failed, if it did: at a node, where one can be told."""
        h = ti.static(mem.integers)
        old = r_in * h[STATE] + h[at.state]
        if mem.frames[r_in * h[STATE] + h[at.history]] < 0.5:
            rod.measure(mem, old)
        second = rod.is_second_order(mem, r_in)
        predict(mem, b, r_in, r_out, substep)
        cause = iterate(mem, b, r_in, r_out, second)
        conclude(mem, b, r_in, r_out, second)
        node = 0
        if cause != NOT_FINITE:
            node = folded_node(mem, b, r_out)
            if node > 0:
                cause = FOLDED
            stretched = torn_node(mem, b, r_out)
            if stretched > 0:
                node = stretched
                cause = TORN
        if ti.static(has_self_contact):
            if rod.self_contact.is_crowded(mem, b):
                cause = CROWDED
        if is_cut_short(mem):
            cause = CUT_SHORT
        if cause != 0:
            report(mem, b, 0, substep, node, cause, -1)

    @ti.func
    def step(mem: ti.template(), b, c, first, stop, r_in, r_out, substep):
        """``one_step`` of the world's rod."""
        for _ in range(first, stop):
            one_step(mem, b, c, r_in, r_out, substep)

    @ti.func
    def step_back(mem: ti.template(), b, c, first, stop, r_in, r_out, substep):
        """``step_adjoint`` of the world's rod."""
        for _ in range(first, stop):
            step_adjoint(mem, b, r_in, r_out, substep)

    return Stages([Stage([Pass(step)], [Pass(step_back)])])
