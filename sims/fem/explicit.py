"""An explicit substep of gels: symplectic Euler, and its adjoint.

With a mount's pose p, R at the start and p', R' at the end of the substep, a node at rest at x and its displacement u
(both in the mount's frame), its velocity V (in the world):

    X = p + R (x + u),   q = X + dt V - p',   D = R'^T q - (x + u)       D: where its velocity takes it, from the mount
    e = -f(u, D / dt) / m                                                f: elastic and viscous forces of the cells
    V' = V + dt (g + R' e + F / m),   u' = u + D + dt^2 (R'^T (g + F / m) + e)

F are the forces of contact, gathered from the points of the surface, with the geometry of ``pairs.py`` and the move W =
R' D in place of that of the unknowns: the gap is that to which the velocities lead, which damps contact by as much as
an implicit step of it would. Nothing is solved. In reverse l = (dt^2 u'_bar + dt R'^T V'_bar) / m takes the place of
the multiplier: the cotangent of a force is R' l, that of f is -l.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.failures import NOT_FINITE
from pliant.sims.fem import explicit_places as own
from pliant.sims.fem import places
from pliant.sims.fem.apart import apart_pass
from pliant.sims.fem.explicit_elements import explicit_element_functions
from pliant.sims.fem.explicit_places import ExplicitSetup
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.moduli import parameter_pass
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.outputs import output_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import COLLAPSED
from pliant.sims.fem.points import mean_functions, point_functions
from pliant.sims.fields import DT
from pliant.sims.math.access import access_functions
from pliant.sims.part import Pass, Stage, Stages
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti

LOOK = 16
"""Substeps between looks at whether gels are in each other: half a millisecond, in which they move little."""


@cache
def explicit_work_function(setup: ExplicitSetup) -> Any:
    """Taichi function (mem, b, i): where the scratch of node i begins."""
    at = setup.at

    @ti.func
    def work_of(mem: ti.template(), b, i):
        """Where the scratch of node i begins."""
        h = ti.static(mem.integers)
        return h[at.node_work] + (b * h[at.count] + i) * own.NODE_WORK

    return work_of


@cache
def explicit_motion(setup: ExplicitSetup) -> SimpleNamespace:
    """How points of gels move in an explicit substep: W = dt R' (D / dt); see ``implicit_motion``."""
    means, work_of = mean_functions(setup), explicit_work_function(setup)

    @ti.func
    def mean_of(mem: ti.template(), b, i, o):
        """Mean of the vector that begins at o of the scratch of the nodes of point i."""
        return means.mean(mem, i, mem.scratch, work_of(mem, b, 0) + o, own.NODE_WORK)

    @ti.func
    def move(mem: ti.template(), b, i, row_in, row_out, R):
        """dt R' (D / dt)"""
        return mem.constants[DT] * (R @ mean_of(mem, b, i, own.RATE))

    @ti.func
    def multiplier(mem: ti.template(), b, i, R):
        """R' l"""
        return R @ mean_of(mem, b, i, own.MULTIPLIER)

    @ti.func
    def turned(mem: ti.template(), b, i, row_in, row_out, R, bar):
        """Of W alone: the nodes' new states have the share of the forces."""
        return (mem.constants[DT] * bar).outer_product(mean_of(mem, b, i, own.RATE))

    return SimpleNamespace(move=move, multiplier=multiplier, turned=turned)


@cache
def explicit_node_functions(setup: ExplicitSetup) -> SimpleNamespace:
    """Taichi functions of one node.

    ``work_of``: where its scratch begins.  ``predict(mem, b, i, row_in, row_out)``: its places and its rate, to its
    scratch.  ``gathered(mem, b, i, o)``: sum over its cells of the vectors that begin at o of each one's scratch;
    ``of_points``: the same of its points, with its weight in each.  ``push_at``: where the force begins that another
    part leaves on it.  ``advance(mem, b, c, i, row_in, row_out)``: its new state; whether that is finite.
    """
    at, fp = setup.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    elements, frames = explicit_element_functions(setup), frame_functions(setup)
    nodes, outputs = node_functions(setup), output_functions(setup)
    work_of = explicit_work_function(setup)

    @ti.func
    def predict(mem: ti.template(), b, i, row_in, row_out):
        """Places and rate of a node."""
        dt = mem.constants[DT]
        m = nodes.mount_of(mem, i)
        p_start, R_start = frames.start(mem, b, row_in, m)
        p, R = frames.end(mem, b, row_out, m)
        o, w = nodes.state_of(mem, row_in, i), work_of(mem, b, i)
        y = nodes.rest_of(mem, i) + load3(mem.frames, o + places.DISPLACEMENT)
        arm = R_start @ y
        V = load3(mem.frames, o + places.VELOCITY)
        carried = R @ y
        store3(mem.scratch, w + own.START, p_start + arm)
        store3(mem.scratch, w + own.CARRIED, p + carried)
        # D = R'^T (X + dt V - p') - y: differences of what is nearly equal come first
        store3(mem.scratch, w + own.RATE, R.transpose() @ ((arm - carried - (p - p_start)) / dt + V))

    @ti.func
    def gathered(mem: ti.template(), b, i, o):
        """Sum over the cells of node i of its vector among those that begin at o of the cell's scratch."""
        h = ti.static(mem.integers)
        total = vec(0)
        first = h[at.node_cells_start] + i
        for n in range(h[first], h[first + 1]):
            code = h[h[at.node_cells] + n]
            cell = elements.work_of(mem, b, code // places.CELL_NODES)
            total += load3(mem.scratch, cell + o + 3 * (code % places.CELL_NODES))
        return total

    @ti.func
    def push_at(mem: ti.template(), b, i):
        """Where the force that another part leaves on node i begins."""
        h = ti.static(mem.integers)
        return h[at.push] + 3 * (b * h[at.count] + i)

    @ti.func
    def of_points(mem: ti.template(), b, i, o):
        """Sum over the points of node i of the vector that begins at o of the point's scratch."""
        h = ti.static(mem.integers)
        total = vec(0)
        first = h[at.node_points_start] + i
        for n in range(h[first], h[first + 1]):
            point, weight = nodes.touch_of(mem, n)
            total += weight * load3(mem.scratch, nodes.point_work_of(mem, b, point) + o)
        return total

    @ti.func
    def force_on(mem: ti.template(), b, i, R):
        """Of contact and of what another part leaves on node i."""
        force = R @ of_points(mem, b, i, places.POINT_FORCE)
        if ti.static(setup.is_pushed):
            force += load3(mem.scratch, push_at(mem, b, i))
        return force

    @ti.func
    def advance(mem: ti.template(), b, c, i, row_in, row_out):
        """New displacement and velocity of a node, the new state of its contact; whether they are finite."""
        h = ti.static(mem.integers)
        dt = mem.constants[DT]
        w, o, n = work_of(mem, b, i), nodes.state_of(mem, row_in, i), nodes.state_of(mem, row_out, i)
        p, R = frames.end(mem, b, row_out, nodes.mount_of(mem, i))
        mass, _density = nodes.mass_of(mem, b, i)
        rate = load3(mem.scratch, w + own.RATE)
        e = -gathered(mem, b, i, own.CELL_FORCE) / mass
        if ti.static(setup.is_pushed):
            arm = load3(mem.scratch, w + own.CARRIED) - p
            outputs.add_force(mem, b, c, h[h[at.node_gels] + i], arm, load3(mem.scratch, push_at(mem, b, i)))
        free = nodes.gravity_of(mem, b) + force_on(mem, b, i, R) / mass
        u = load3(mem.frames, o + places.DISPLACEMENT) + dt * (rate + dt * (R.transpose() @ free + e))
        V = load3(mem.frames, o + places.VELOCITY) + dt * (free + R @ e)
        store3(mem.frames, n + places.DISPLACEMENT, u)
        store3(mem.frames, n + places.VELOCITY, V)
        return u.dot(u) < fp(1e30) and V.dot(V) < fp(1e30)

    return SimpleNamespace(
        work_of=work_of,
        predict=predict,
        gathered=gathered,
        of_points=of_points,
        force_on=force_on,
        push_at=push_at,
        advance=advance,
    )


@cache
def explicit_adjoint_functions(setup: ExplicitSetup) -> SimpleNamespace:
    """``seed(mem, b, i, row_out)``: the multiplier of a node.  ``pull_back``: what its new state leaves to its old one,
    its mount, what it touches, its mass and the force that is left on it."""
    at, fp = setup.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    frames, nodes, explicit = frame_functions(setup), node_functions(setup), explicit_node_functions(setup)
    pairs, outputs = pair_functions(setup), output_functions(setup)
    work_of, gathered = explicit.work_of, explicit.gathered

    @ti.func
    def seed(mem: ti.template(), b, i, row_out):
        """l = (dt^2 u'_bar + dt R'^T V'_bar) / m"""
        dt = mem.constants[DT]
        a = nodes.state_of(mem, b, i)
        _p, R = frames.end(mem, b, row_out, nodes.mount_of(mem, i))
        mass, _density = nodes.mass_of(mem, b, i)
        bar = dt * load3(mem.adjoint, a + places.DISPLACEMENT)
        bar += R.transpose() @ load3(mem.adjoint, a + places.VELOCITY)
        store3(mem.scratch, work_of(mem, b, i) + own.MULTIPLIER, (dt / mass) * bar)

    @ti.func
    def pull_back(mem: ti.template(), b, c, i, row_in, row_out):
        """See the module; the cotangent of the mass takes the place of the node's rate."""
        h = ti.static(mem.integers)
        dt = mem.constants[DT]
        w, a, o = work_of(mem, b, i), nodes.state_of(mem, b, i), nodes.state_of(mem, row_in, i)
        m = nodes.mount_of(mem, i)
        p, R = frames.end(mem, b, row_out, m)
        _p_start, R_start = frames.start(mem, b, row_in, m)
        mass, _density = nodes.mass_of(mem, b, i)
        y = nodes.rest_of(mem, i) + load3(mem.frames, o + places.DISPLACEMENT)
        rate, l = load3(mem.scratch, w + own.RATE), load3(mem.scratch, w + own.MULTIPLIER)
        U, Z = load3(mem.adjoint, a + places.DISPLACEMENT), load3(mem.adjoint, a + places.VELOCITY)
        force = explicit.force_on(mem, b, i, R)
        arm_bar = vec(0)
        if ti.static(setup.is_pushed):
            q = explicit.push_at(mem, b, i)
            arm = load3(mem.scratch, w + own.CARRIED) - p
            push_bar, pushed_arm_bar = outputs.force_bar(mem, b, h[h[at.node_gels] + i], arm, load3(mem.scratch, q))
            arm_bar += pushed_arm_bar
            store3(mem.scratch, h[at.push_bar] + q - h[at.push], push_bar + R @ l)
        gravity = nodes.gravity_of(mem, b)
        V = load3(mem.frames, o + places.VELOCITY)
        V_new = load3(mem.frames, nodes.state_of(mem, row_out, i) + places.VELOCITY)
        acceleration = (V_new - V) / dt
        free = gravity + force / mass
        e = R.transpose() @ (acceleration - free)
        # u' = u + D + dt^2 (R'^T (g + F/m) + e),   V' = V + dt (g + R' e + F/m),   D = R'^T q - y
        q = R @ (dt * rate + y)
        D_bar = R.transpose() @ explicit.of_points(mem, b, i, places.POINT_MOVE_BAR)
        D_bar += gathered(mem, b, i, own.CELL_RATE) / dt
        q_bar = R @ (U + D_bar)
        R_bar = (q + dt * dt * free).outer_product(U) + q.outer_product(D_bar) + (dt * Z).outer_product(e)
        R_bar += arm_bar.outer_product(y)
        frames.add_end(mem, b, c, m, -q_bar, R_bar)
        frames.add_start(mem, b, c, m, q_bar, q_bar.outer_product(y))
        # points have left their share of the mount's pose; here is the share of this node's displacement
        u_bar = gathered(mem, b, i, own.CELL_FORCE) - D_bar
        u_bar += R.transpose() @ (arm_bar + explicit.of_points(mem, b, i, places.POINT_CARRIED_BAR))
        u_bar += R_start.transpose() @ (q_bar + explicit.of_points(mem, b, i, places.POINT_START_BAR))
        pairs.add_gravity(mem, b, c, mass * (R @ l))
        store3(mem.adjoint, a + places.DISPLACEMENT, u_bar)
        store3(mem.adjoint, a + places.VELOCITY, Z + dt * q_bar)
        mass_bar = -l.dot(R.transpose() @ (acceleration - gravity))
        mem.scratch[w + own.RATE] = mass_bar * mem.constants[h[at.node_volumes] + i]

    return SimpleNamespace(seed=seed, pull_back=pull_back)


@cache
def explicit_stages(setup: ExplicitSetup) -> Stages:
    """One explicit substep, and its adjoint."""
    at = setup.at
    elements, nodes, back = (
        explicit_element_functions(setup),
        explicit_node_functions(setup),
        explicit_adjoint_functions(setup),
    )
    outputs, pairs, frames = output_functions(setup), pair_functions(setup), frame_functions(setup)
    points, report = point_functions(setup, explicit_motion), report_function(at.part)

    @ti.func
    def predict(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Places and rates of nodes first to stop - 1."""
        for i in range(first, stop):
            nodes.predict(mem, b, i, row_in, row_out)

    @ti.func
    def cells(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces of cells first to stop - 1; reports one that has lost most of its volume."""
        for k in range(first, stop):
            dilatation = elements.forces(mem, b, k, row_in)
            if not dilatation > mem.constants[at.least_dilatation]:
                report(mem, b, c, substep, k, COLLAPSED, -1)

    @ti.func
    def touch(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on points first to stop - 1, and their new state."""
        for i in range(first, stop):
            points.locate(mem, b, i, row_in, row_out)
            points.evaluate(mem, b, i, row_in, row_out)
            points.conclude(mem, b, c, i, row_in, row_out)

    @ti.func
    def touch_again(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The same forces, in reverse, and what they depend on."""
        for i in range(first, stop):
            points.locate(mem, b, i, row_in, row_out)
            points.evaluate(mem, b, i, row_in, row_out)
            points.pull(mem, b, c, i, row_in, row_out)

    @ti.func
    def advance(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """New states of nodes first to stop - 1."""
        for i in range(first, stop):
            if not nodes.advance(mem, b, c, i, row_in, row_out):
                report(mem, b, c, substep, i, NOT_FINITE, -1)

    @ti.func
    def predict_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Places, rates and multipliers of nodes first to stop - 1."""
        for i in range(first, stop):
            nodes.predict(mem, b, i, row_in, row_out)
            back.seed(mem, b, i, row_out)

    @ti.func
    def cells_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What the forces of cells first to stop - 1 depend on."""
        for k in range(first, stop):
            elements.pull_back(mem, b, k, row_in)

    @ti.func
    def nodes_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What the new states of nodes first to stop - 1 depend on."""
        for i in range(first, stop):
            back.pull_back(mem, b, c, i, row_in, row_out)

    @ti.func
    def moduli_bar_at(mem: ti.template(), b, k):
        """Where ``cells_back`` has left the cotangents of a cell's moduli."""
        return elements.work_of(mem, b, k) + own.CELL_PARAMETERS

    @ti.func
    def density_bar_at(mem: ti.template(), b, i):
        """Where ``nodes_back`` has left that of its gel's density."""
        return nodes.work_of(mem, b, i) + own.RATE

    forward = [Pass(predict, at.count), Pass(cells, at.cells, waits=False), Pass(touch, at.points)]
    forward.append(Pass(advance, at.count))
    if setup.has_others:
        forward.append(apart_pass(setup, explicit_motion, LOOK))
    adjoint = [
        Pass(predict_back, at.count),
        Pass(cells_back, at.cells, waits=False),
        Pass(touch_again, at.points),
        Pass(nodes_back, at.count),
        Pass(frames.settle_effectors, setup.eff.count, waits=False),
        parameter_pass(setup, moduli_bar_at, density_bar_at),
    ]
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
