"""An explicit substep of gels: symplectic Euler, and its adjoint.

With a mount's pose p, R at the start and p', R' at the end of the substep, a node at rest at x and its displacement u
(both in the mount's frame), its velocity V (in the world):

    X = p + R (x + u),   q = X + dt V - p',   D = R'^T q - (x + u)       D: where its velocity takes it, from the mount
    e = -f(u, D / dt) / m                                                f: elastic and viscous forces of the cells
    V' = V + dt (g + R' e + F / m),   u' = u + D + dt^2 (R'^T (g + F / m) + e)

F are the forces of contact, with the geometry of ``pairs.py`` and the move W = R' D in place of that of the unknowns:
the gap is that to which the velocities lead, which damps contact by as much as an implicit step of it would. Nothing is
solved. In reverse l = (dt^2 u'_bar + dt R'^T V'_bar) / m takes the place of the multiplier: the cotangent of a force is
R' l, that of f is -l.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.failures import NOT_FINITE
from pliant.sims.fem import explicit_places as own
from pliant.sims.fem import places
from pliant.sims.fem.explicit_elements import explicit_element_functions
from pliant.sims.fem.explicit_places import ExplicitSetup
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.moduli import parameter_pass
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.outputs import output_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import TOO_DEEP
from pliant.sims.fields import DT
from pliant.sims.math.access import access_functions
from pliant.sims.part import Pass, Stage, Stages
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti


@cache
def explicit_node_functions(setup: ExplicitSetup) -> SimpleNamespace:
    """Taichi functions of one node.

    ``work_of``: where its scratch begins.  ``predict(mem, b, i, row_in, row_out)``: its places and its rate, to its
    scratch.  ``gathered(mem, b, i, o)``: sum over its cells of the vectors that begin at o of each one's scratch.
    ``push_at``: where the force begins that another part leaves on it.  ``advance(mem, b, c, i, row_in, row_out)``: its
    new state; whether that is finite.
    """
    at, fp = setup.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    elements, frames = explicit_element_functions(setup), frame_functions(setup)
    nodes, pairs, outputs = node_functions(setup), pair_functions(setup), output_functions(setup)

    @ti.func
    def work_of(mem: ti.template(), b, i):
        """Where the scratch of node i begins."""
        h = ti.static(mem.integers)
        return h[at.node_work] + (b * h[at.count] + i) * own.NODE_WORK

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
    def answer(mem: ti.template(), b, point, k, row_in, row_out, start, carried, move):
        """Force of a shape on a point."""
        force = vec(0)
        pairs.locate(mem, b, point, k, row_in, row_out, start, carried)
        if pairs.evaluate(mem, b, point, k, row_in, move):
            force = load3(mem.scratch, pairs.work_of(mem, b, point, k) + places.PAIR_FORCE)
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
        start, carried = load3(mem.scratch, w + own.START), load3(mem.scratch, w + own.CARRIED)
        e = -gathered(mem, b, i, own.CELL_FORCE) / mass
        total = vec(0)
        gel, point = h[h[at.node_gels] + i], h[h[at.node_points] + i]
        if point >= 0:
            move = dt * (R @ rate)
            for k in range(h[at.shapes]):
                force = answer(mem, b, point, k, row_in, row_out, start, carried, move)
                pairs.conclude(mem, b, point, k, row_out)
                outputs.add_force(mem, b, c, gel, carried - p, force)
                total += force
            if ti.static(setup.is_pushed):
                force = load3(mem.scratch, push_at(mem, b, i))
                outputs.add_force(mem, b, c, gel, carried - p, force)
                total += force
        free = nodes.gravity_of(mem, b) + total / mass
        u = load3(mem.frames, o + places.DISPLACEMENT) + dt * (rate + dt * (R.transpose() @ free + e))
        V = load3(mem.frames, o + places.VELOCITY) + dt * (free + R @ e)
        store3(mem.frames, n + places.DISPLACEMENT, u)
        store3(mem.frames, n + places.VELOCITY, V)
        return u.dot(u) < fp(1e30) and V.dot(V) < fp(1e30)

    return SimpleNamespace(
        work_of=work_of, predict=predict, gathered=gathered, push_at=push_at, answer=answer, advance=advance
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
    def touch_back(mem: ti.template(), b, c, i, point, row_in, row_out, arm, R, l):
        """Force of contact on a node, and the cotangents that it leaves: of the start, of the place carried along and
        of the move, and what the arm of the torque leaves."""
        h = ti.static(mem.integers)
        w, gel = work_of(mem, b, i), h[h[at.node_gels] + i]
        start, carried = load3(mem.scratch, w + own.START), load3(mem.scratch, w + own.CARRIED)
        move = mem.constants[DT] * (R @ load3(mem.scratch, w + own.RATE))
        total, start_bar, carried_bar, move_bar, arm_bars = vec(0), vec(0), vec(0), vec(0), vec(0)
        for k in range(h[at.shapes]):
            force = explicit.answer(mem, b, point, k, row_in, row_out, start, carried, move)
            force_bar, arm_bar = outputs.force_bar(mem, b, gel, arm, force)
            from_start, from_carried, from_move = pairs.pull_back(
                mem, b, c, point, k, row_in, row_out, start, carried, move, force_bar + R @ l
            )
            total += force
            start_bar += from_start
            carried_bar += from_carried
            move_bar += from_move
            arm_bars += arm_bar
        if ti.static(setup.is_pushed):
            o = explicit.push_at(mem, b, i)
            force = load3(mem.scratch, o)
            force_bar, arm_bar = outputs.force_bar(mem, b, gel, arm, force)
            total += force
            arm_bars += arm_bar
            store3(mem.scratch, h[at.push_bar] + o - h[at.push], force_bar + R @ l)
        return total, start_bar, carried_bar, move_bar, arm_bars

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
        arm = load3(mem.scratch, w + own.CARRIED) - p
        U, Z = load3(mem.adjoint, a + places.DISPLACEMENT), load3(mem.adjoint, a + places.VELOCITY)
        force, start_bar, carried_bar, W_bar, arm_bar = vec(0), vec(0), vec(0), vec(0), vec(0)
        point = h[h[at.node_points] + i]
        if point >= 0:
            force, start_bar, carried_bar, W_bar, arm_bar = touch_back(mem, b, c, i, point, row_in, row_out, arm, R, l)
        gravity = nodes.gravity_of(mem, b)
        V = load3(mem.frames, o + places.VELOCITY)
        V_new = load3(mem.frames, nodes.state_of(mem, row_out, i) + places.VELOCITY)
        acceleration = (V_new - V) / dt
        free = gravity + force / mass
        e = R.transpose() @ (acceleration - free)
        # u' = u + D + dt^2 (R'^T (g + F/m) + e),   V' = V + dt (g + R' e + F/m),   D = R'^T q - y
        q = R @ (dt * rate + y)
        D_bar = R.transpose() @ W_bar + gathered(mem, b, i, own.CELL_RATE) / dt
        q_bar = R @ (U + D_bar)
        R_bar = (q + dt * dt * free).outer_product(U) + q.outer_product(D_bar) + (dt * Z).outer_product(e)
        R_bar += (dt * W_bar).outer_product(rate)
        u_bar = gathered(mem, b, i, own.CELL_FORCE) - D_bar
        carried_bar += arm_bar
        R_bar += carried_bar.outer_product(y)
        u_bar += R.transpose() @ carried_bar
        start_bar += q_bar
        u_bar += R_start.transpose() @ start_bar
        frames.add_end(mem, b, c, m, carried_bar - arm_bar - q_bar, R_bar)
        frames.add_start(mem, b, c, m, start_bar, start_bar.outer_product(y))
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
    report = report_function(at.part)

    @ti.func
    def predict(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Places and rates of nodes first to stop - 1."""
        for i in range(first, stop):
            nodes.predict(mem, b, i, row_in, row_out)

    @ti.func
    def cells(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces of cells first to stop - 1; reports one of which a tetrahedron is turned inside out."""
        for k in range(first, stop):
            least = elements.forces(mem, b, k, row_in)
            if not least > mem.constants[at.least_dilatation]:
                report(mem, b, c, substep, k, TOO_DEEP, -1)

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

    forward = [Pass(predict, at.count), Pass(cells, at.cells), Pass(advance, at.count)]
    adjoint = [
        Pass(predict_back, at.count),
        Pass(cells_back, at.cells),
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
