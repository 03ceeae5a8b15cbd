"""An implicit step of gels and the bodies that they touch: Newton's iteration, and what follows from its solution."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.failures import NOT_FINITE
from pliant.sims.fem import places
from pliant.sims.fem.adjoint import adjoint_passes
from pliant.sims.fem.apart import apart_pass
from pliant.sims.fem.assembly import assembly_passes, solver, system_functions
from pliant.sims.fem.elements import element_functions
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.outputs import output_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import DONE, FORWARD, RETREATING, SOLVING, TOO_DEEP, Setup
from pliant.sims.fem.points import implicit_motion, point_functions
from pliant.sims.fields import DT
from pliant.sims.math.access import access_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.part import Loop, Pass, Stage, Stages
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti

MOST_RETREATS = 12
"""How often the length of a step of Newton's iteration is changed; then it is taken as it is."""

LEAST_SHARE = 0.05
"""Of the range in which the right length lies, by which a change of the length leaves its ends at least."""

OVERSHOOT = 0.5
"""A step is shortened if the potential rises at its end more than this much as steeply as it fell at its beginning; one
that has been shortened is made longer if it still falls as steeply."""


@cache
def newton_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of Newton's iteration: ``exact``, ``on_indefinite``, ``right``, ``take``, ``judge``, ``decide``,
    ``move``, ``is_done``, ``begin``."""
    at, fp = setup.at, setup.fp
    nodes, frames, system = node_functions(setup), frame_functions(setup), system_functions(setup)
    report = report_function(at.part)
    # The iteration ends with a move below this share of an edge; what is left of it is a hundredth in f32 (TOLERANCES).
    precision = 1e-9 if fp is ti.f64 else 1e-4

    @ti.func
    def newton_at(mem: ti.template(), b):
        """Where the state of the iteration of world b begins."""
        return mem.integers[at.newton] + b * places.NEWTON_WORK

    @ti.func
    def exact(mem: ti.template(), b):
        """1 if all terms of the matrix count, 0 if those are left out that may make it indefinite."""
        return ti.cast(mem.scratch[newton_at(mem, b) + places.EXACT], ti.i32)

    @ti.func
    def on_indefinite(mem: ti.template(), b):
        """The matrix is not definite."""
        mem.scratch[newton_at(mem, b) + places.EXACT] = fp(0.0)

    @ti.func
    def right(mem: ti.template(), b, i, row_in, row_out):
        """Minus the residual, scaled; 0 where a step is taken back."""
        value = fp(0.0)
        if mem.scratch[newton_at(mem, b) + places.MODE] == SOLVING:
            value = -mem.scratch[system.residual_at(mem, b, i)] * mem.scratch[system.scale_at(mem, b, i)]
        return value

    @ti.func
    def take(mem: ti.template(), b, i, row_in, row_out, value):
        """The direction, in its own units."""
        if mem.scratch[newton_at(mem, b) + places.MODE] == SOLVING:
            mem.scratch[nodes.solution_at(mem, b) + i] = value * mem.scratch[system.scale_at(mem, b, i)]

    @ti.func
    def slope_along(mem: ti.template(), b):
        """Residual times direction: how the potential changes along it."""
        found = fp(0.0)
        o = nodes.solution_at(mem, b)
        for i in range(mem.integers[at.unknowns]):
            found += mem.scratch[system.residual_at(mem, b, i)] * mem.scratch[o + i]
        return found

    @ti.func
    def judge(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Whether the last step went too far, or has been shortened too much; then where the slope between the ends of
        what is known would vanish."""
        s = ti.static(mem.scratch)
        for _ in range(first, stop):
            o = newton_at(mem, b)
            s[o + places.MODE] = SOLVING
            if s[o + places.ROUNDS] > 0 and s[o + places.RETREATS] < MOST_RETREATS and s[o + places.SHARE] > 0:
                slope, fall = slope_along(mem, b), ti.abs(s[o + places.SLOPE])
                if slope > OVERSHOOT * fall:
                    s[o + places.MODE] = RETREATING
                    s[o + places.HIGH], s[o + places.HIGH_SLOPE] = s[o + places.SHARE], slope
                elif s[o + places.HIGH] > 0 and slope < -OVERSHOOT * fall:
                    s[o + places.MODE] = RETREATING
                    s[o + places.LOW], s[o + places.LOW_SLOPE] = s[o + places.SHARE], slope
                if s[o + places.MODE] == RETREATING:
                    low, high = s[o + places.LOW], s[o + places.HIGH]
                    part = -s[o + places.LOW_SLOPE] / (s[o + places.HIGH_SLOPE] - s[o + places.LOW_SLOPE])
                    part = ti.min(ti.max(part, fp(LEAST_SHARE)), fp(1 - LEAST_SHARE))
                    s[o + places.KEPT] = low + part * (high - low)
            s[o + places.WISH] = s[o + places.EXACT]

    @ti.func
    def decide(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """How far to go along the direction."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        for _ in range(first, stop):
            o = newton_at(mem, b)
            if s[o + places.MODE] == RETREATING:
                s[o + places.WISH] = s[o + places.KEPT] - s[o + places.SHARE]
                s[o + places.SHARE] = s[o + places.KEPT]
                s[o + places.RETREATS] = s[o + places.RETREATS] + 1
            elif s[o + places.EXACT] < s[o + places.WISH]:
                s[o + places.WISH] = fp(0.0)  # again, without the terms that make the matrix indefinite
                s[o + places.SHARE] = fp(0.0)
            else:
                d, longest = nodes.solution_at(mem, b), fp(0.0)
                for i in range(3 * h[at.count]):
                    longest = ti.max(longest, ti.abs(s[d + i]))
                    if not ti.abs(s[d + i]) < fp(1e30):  # a NaN fails every comparison
                        longest = fp(2e30)
                if ti.static(setup.has_bodies):
                    for k in range(h[at.bodies]):
                        for e in ti.static(range(6)):
                            reach = ti.abs(s[d + 3 * h[at.count] + 6 * k + e])
                            if ti.static(e > 2):
                                reach *= mem.constants[h[at.body_lengths] + k]
                            longest = ti.max(longest, reach)
                            if not reach < fp(1e30):
                                longest = fp(2e30)
                share = ti.min(fp(1.0), mem.constants[at.longest_step] / ti.max(longest, fp(1e-30)))
                s[o + places.ROUNDS] = s[o + places.ROUNDS] + 1
                s[o + places.RETREATS] = fp(0.0)
                s[o + places.SLOPE] = slope_along(mem, b)
                s[o + places.LOW], s[o + places.LOW_SLOPE] = fp(0.0), -ti.abs(s[o + places.SLOPE])
                s[o + places.HIGH] = fp(0.0)
                s[o + places.SHARE] = share
                s[o + places.WISH] = share
                if longest > fp(1e30):
                    report(mem, b, c, substep, 0, NOT_FINITE, -1)
                    s[o + places.WISH] = fp(0.0)
                    s[o + places.MODE] = DONE
                elif longest < fp(precision) * mem.constants[at.edge]:
                    s[o + places.MODE] = DONE
                s[o + places.EXACT] = fp(1.0)

    @ti.func
    def move(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Moves nodes first to stop - 1, and with the first of them the bodies."""
        h = ti.static(mem.integers)
        share, d = mem.scratch[newton_at(mem, b) + places.WISH], nodes.solution_at(mem, b)
        for i in range(first, stop):
            o = nodes.state_of(mem, row_out, i) + places.DISPLACEMENT
            for e in ti.static(range(3)):
                mem.frames[o + e] = mem.frames[o + e] + share * mem.scratch[d + 3 * i + e]
        if ti.static(setup.has_bodies):
            if first == 0:
                for k in range(h[at.bodies]):
                    w = frames.work_of(mem, b, k) + places.INCREMENT
                    for e in ti.static(range(6)):
                        mem.scratch[w + e] = mem.scratch[w + e] + share * mem.scratch[d + 3 * h[at.count] + 6 * k + e]

    @ti.func
    def is_done(mem: ti.template(), b):
        """Whether the iteration of world b has ended."""
        return mem.scratch[newton_at(mem, b) + places.MODE] == DONE

    @ti.func
    def begin(mem: ti.template(), b):
        """The state of an iteration that has not begun."""
        for k in range(places.NEWTON_WORK):
            mem.scratch[newton_at(mem, b) + k] = fp(0.0)
        mem.scratch[newton_at(mem, b) + places.EXACT] = fp(1.0)

    return SimpleNamespace(
        exact=exact,
        on_indefinite=on_indefinite,
        right=right,
        take=take,
        judge=judge,
        decide=decide,
        move=move,
        is_done=is_done,
        begin=begin,
    )


@cache
def prediction_passes(setup: Setup, restarts: bool) -> list[Pass]:
    """What does not change during the iteration; with ``restarts`` the displacements begin where inertia alone would
    take them: a mount that moves evenly finds them near their place."""
    at = setup.at
    elements, nodes, newton = element_functions(setup), node_functions(setup), newton_functions(setup)
    points = point_functions(setup, implicit_motion)

    @ti.func
    def locate_points(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Where points first to stop - 1 are carried, and what they may touch there."""
        for i in range(first, stop):
            points.locate(mem, b, i, row_in, row_out)

    @ti.func
    def remember_cells(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Strains of cells first to stop - 1 at the start."""
        for k in range(first, stop):
            elements.remember(mem, b, k, row_in)

    @ti.func
    def predict_nodes(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Places of nodes first to stop - 1 that do not change."""
        for i in range(first, stop):
            nodes.predict_node(mem, b, i, row_in, row_out)
            if ti.static(restarts):
                nodes.guess(mem, b, i, row_out)

    @ti.func
    def predict_bodies(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Predicted poses of bodies first to stop - 1."""
        for k in range(first, stop):
            nodes.predict_body(mem, b, k, row_in)

    @ti.func
    def start(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """An iteration that has not begun."""
        for _ in range(first, stop):
            newton.begin(mem, b)

    passes = [Pass(start, waits=False), Pass(remember_cells, at.cells, waits=False)]
    if setup.has_bodies:
        passes.append(Pass(predict_bodies, at.bodies))
    return [*passes, Pass(locate_points, at.points, waits=False), Pass(predict_nodes, at.count)]


@cache
def conclusion_passes(setup: Setup) -> list[Pass]:
    """Velocities, poses, the state of contact and the forces of a step, from the unknowns; and what has gone wrong."""
    at, fp = setup.at, setup.fp
    access = access_functions(fp)
    load3, load4, store3 = access.load3, access.load4, access.store3
    rotation, turn = rotation_functions(fp), turning_functions(fp)
    elements, nodes, frames = element_functions(setup), node_functions(setup), frame_functions(setup)
    points = point_functions(setup, implicit_motion)
    report = report_function(at.part)

    @ti.func
    def conclude_nodes(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Velocities of nodes first to stop - 1."""
        for i in range(first, stop):
            w, o = nodes.work_of(mem, b, i), nodes.state_of(mem, row_out, i)
            p, R = frames.end(mem, b, row_out, nodes.mount_of(mem, i))
            x = p + turn.forth(R, nodes.rest_of(mem, i) + load3(mem.frames, o + places.DISPLACEMENT))
            store3(mem.frames, o + places.VELOCITY, (x - load3(mem.scratch, w + places.START)) / mem.constants[DT])

    @ti.func
    def conclude_points(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The new state of contact of points first to stop - 1, and their shares of the forces."""
        for i in range(first, stop):
            points.evaluate(mem, b, i, row_in, row_out)
            points.conclude(mem, b, c, i, row_in, row_out)

    @ti.func
    def conclude_bodies(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """New poses and velocities of bodies first to stop - 1."""
        dt = mem.constants[DT]
        for k in range(first, stop):
            w = frames.work_of(mem, b, k)
            o, n = nodes.body_state(mem, row_in, k), nodes.body_state(mem, row_out, k)
            d, theta = load3(mem.scratch, w + places.INCREMENT), load3(mem.scratch, w + places.INCREMENT + 3)
            store3(mem.frames, n, load3(mem.scratch, w + places.PREDICTED) + d)
            q = rotation.integrate(load4(mem.scratch, w + places.PREDICTED + 3), theta, fp(1.0))
            for e in ti.static(range(4)):
                mem.frames[n + places.BODY_ORIENTATION + e] = q[e]
            v, omega = load3(mem.frames, o + places.BODY_VELOCITY), load3(mem.frames, o + places.BODY_SPIN)
            store3(mem.frames, n + places.BODY_VELOCITY, v + d / dt)
            store3(mem.frames, n + places.BODY_SPIN, omega + theta / dt)

    @ti.func
    def inspect_cells(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Reports a cell of which a tetrahedron is turned inside out."""
        for k in range(first, stop):
            least = elements.least_dilatation(mem, k, row_out)
            if not least > mem.constants[at.least_dilatation]:
                cause = TOO_DEEP
                if not ti.abs(least) < fp(1e30):
                    cause = NOT_FINITE
                report(mem, b, c, substep, k, cause, -1)

    passes = [Pass(conclude_points, at.points, waits=False), Pass(conclude_nodes, at.count, waits=False)]
    if setup.has_bodies:
        passes.append(Pass(conclude_bodies, at.bodies, waits=False))
    if setup.has_others:
        passes.append(apart_pass(setup, implicit_motion))
    return [*passes, Pass(inspect_cells, at.cells)]


@cache
def gel_stages(setup: Setup) -> Stages:
    """One implicit step, and its adjoint."""
    at = setup.at
    newton, outputs, pairs, frames = (
        newton_functions(setup),
        output_functions(setup),
        pair_functions(setup),
        frame_functions(setup),
    )
    system = solver(setup, FORWARD, newton.on_indefinite)
    iteration = Loop(
        [
            *assembly_passes(setup, newton.exact),
            Pass(newton.judge),
            *system.solve(newton.right, newton.take),
            Pass(newton.decide),
            Pass(newton.move, at.count, waits=False),
        ],
        newton.is_done,
        at.iterations,
        at.part,
    )
    forward: list[Pass | Loop] = [*prediction_passes(setup, True), iteration, *conclusion_passes(setup)]
    adjoint: list[Pass | Loop] = [*prediction_passes(setup, False), *adjoint_passes(setup, newton.exact)]
    return Stages(
        substep=[Stage(forward, adjoint)],
        begin=[
            Pass(frames.clear, at.frame_count, alone=True, waits=False),
            Pass(pairs.clear, at.contact_sum_count, alone=True, waits=False),
            Pass(outputs.clear, at.gels, alone=True),
        ],
        finish=[Pass(outputs.read, at.gels)],
        finish_adjoint=[Pass(pairs.settle)],
    )
