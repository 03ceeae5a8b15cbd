"""The adjoint of an implicit step: one linear solve, with the matrix of the last step of Newton's iteration.

Let r(z; y) = 0 be what the unknowns z of a step solve, y everything else. With the cotangent z_bar of the solution,

    H l = z_bar,   y_bar += -(dr/dy)^T l,    H = dr/dz = H^T.

First z_bar is gathered from the cotangents of the new state and of the outputs; then, with l known, each cell, node,
point and body gives what it depends on its share. A force F that enters r as -F has the cotangent l.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fem import places
from pliant.sims.fem.assembly import assembly_passes, solver, system_functions
from pliant.sims.fem.body_adjoint import body_adjoint_functions
from pliant.sims.fem.elements import element_functions
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.moduli import parameter_pass
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import ADJOINT, Setup
from pliant.sims.fem.points import implicit_motion, point_functions
from pliant.sims.fields import DT
from pliant.sims.math.access import access_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.part import Loop, Pass
from pliant.sims.runtime import ti


@cache
def node_adjoint_functions(setup: Setup) -> SimpleNamespace:
    """``seed_node``: cotangent of a node's unknowns.  ``pull_node``: the shares of what it depends on."""
    at, fp = setup.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    elements, frames, nodes = element_functions(setup), frame_functions(setup), node_functions(setup)
    pairs, turn = pair_functions(setup), turning_functions(fp)

    @ti.func
    def seed_node(mem: ti.template(), b, i, row_out):
        """Cotangent of a node's unknowns, in place of its residual."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        w, a = nodes.work_of(mem, b, i), nodes.state_of(mem, b, i)
        _p, R = frames.end(mem, b, row_out, nodes.mount_of(mem, i))
        bar = load3(mem.adjoint, a + places.DISPLACEMENT)
        bar += turn.back(R, load3(mem.adjoint, a + places.VELOCITY)) / mem.constants[DT]
        touched = h[at.node_points_start] + i
        for n in range(h[touched], h[touched + 1]):
            point, weight = nodes.touch_of(mem, n)
            bar += turn.back(R, weight * load3(s, nodes.point_work_of(mem, b, point) + places.POINT_MOVE_BAR))
        store3(s, w + places.RESIDUAL, bar)

    @ti.func
    def pull_node(mem: ti.template(), b, c, i, row_in, row_out):
        """What a node's new state and its multiplier leave to its old state, its mount, its contact and its mass."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        dt = mem.constants[DT]
        w, a, o = nodes.work_of(mem, b, i), nodes.state_of(mem, b, i), nodes.state_of(mem, row_out, i)
        m = nodes.mount_of(mem, i)
        _p, R = frames.end(mem, b, row_out, m)
        _p_start, R_start = frames.start(mem, b, row_in, m)
        x = nodes.rest_of(mem, i)
        u = load3(mem.frames, o + places.DISPLACEMENT)
        u_start = load3(mem.frames, nodes.state_of(mem, row_in, i) + places.DISPLACEMENT)
        goal = load3(s, w + places.FREE_GOAL)
        l = load3(s, nodes.solution_at(mem, b) + 3 * i)
        mass, _density = nodes.mass_of(mem, b, i)
        v_bar = load3(mem.adjoint, a + places.VELOCITY) / dt
        # m/dt^2 (u - u^), u^ = R^T (X_0 + dt V_0 + dt^2 g - p) - x
        goal_bar = mass / (dt * dt) * l
        free_bar = turn.forth(R, goal_bar)
        mass_bar = -l.dot(u - goal) / (dt * dt)
        # V = (p + R (x + u) - X_0) / dt
        p_bar = v_bar - free_bar
        R_bar = v_bar.outer_product(x + u) + turn.forth(R, goal + x).outer_product(goal_bar)
        start_bar = free_bar - v_bar
        u_bar = vec(0)
        first = h[at.node_cells_start] + i
        for n in range(h[first], h[first + 1]):
            code = h[h[at.node_cells] + n]
            cell = elements.work_of(mem, b, code // places.CELL_NODES)
            u_bar += load3(s, cell + places.CELL_FORCE + 3 * (code % places.CELL_NODES))
        frames.add_end(mem, b, c, m, p_bar, R_bar)
        frames.add_start(mem, b, c, m, start_bar, start_bar.outer_product(x + u_start))
        # points have left their share of the mount's pose; here is the share of this node's displacement
        touched = h[at.node_points_start] + i
        for n in range(h[touched], h[touched + 1]):
            point, weight = nodes.touch_of(mem, n)
            q = nodes.point_work_of(mem, b, point)
            start_bar += weight * load3(s, q + places.POINT_START_BAR)
            moved_bar = load3(s, q + places.POINT_CARRIED_BAR) - load3(s, q + places.POINT_MOVE_BAR)
            u_bar += turn.back(R, weight * moved_bar)
        u_bar += turn.back(R_start, start_bar)
        pairs.add_gravity(mem, b, c, dt * dt * free_bar)
        store3(mem.adjoint, a + places.DISPLACEMENT, u_bar)
        store3(mem.adjoint, a + places.VELOCITY, dt * free_bar)
        s[w + places.RESIDUAL] = mass_bar * mem.constants[h[at.node_volumes] + i]

    return SimpleNamespace(seed_node=seed_node, pull_node=pull_node)


@cache
def adjoint_passes(setup: Setup, exact: Any) -> list[Pass | Loop]:
    """All of the adjoint but the prediction, which the caller has repeated."""
    at, has_bodies = setup.at, setup.has_bodies
    elements, frames, nodes = element_functions(setup), frame_functions(setup), node_functions(setup)
    system, own = system_functions(setup), node_adjoint_functions(setup)
    points = point_functions(setup, implicit_motion)
    bodies = body_adjoint_functions(setup)

    @ti.func
    def find_turns(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What the unknowns of bodies first to stop - 1 were, from their new poses."""
        for k in range(first, stop):
            bodies.find_increment(mem, b, k, row_in, row_out)

    @ti.func
    def seed_nodes(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cotangents of the unknowns of nodes first to stop - 1."""
        for i in range(first, stop):
            own.seed_node(mem, b, i, row_out)

    @ti.func
    def seed_points(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cotangents of the displacements of points first to stop - 1."""
        for i in range(first, stop):
            points.seed(mem, b, i, row_out)

    @ti.func
    def seed_bodies(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cotangents of the unknowns of bodies first to stop - 1."""
        for k in range(first, stop):
            bodies.seed_body(mem, b, k)

    @ti.func
    def right(mem: ti.template(), b, i, row_in, row_out):
        """The cotangent of an unknown, scaled."""
        return mem.scratch[system.residual_at(mem, b, i)] * mem.scratch[system.scale_at(mem, b, i)]

    @ti.func
    def take(mem: ti.template(), b, i, row_in, row_out, value):
        """The multiplier of an unknown."""
        mem.scratch[nodes.solution_at(mem, b) + i] = value * mem.scratch[system.scale_at(mem, b, i)]

    @ti.func
    def pull_cells(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What cells first to stop - 1 depend on besides the unknowns."""
        for k in range(first, stop):
            elements.pull_back(mem, b, k, row_in, row_out, nodes.solution_at(mem, b))

    @ti.func
    def pull_nodes(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The same of nodes."""
        for i in range(first, stop):
            own.pull_node(mem, b, c, i, row_in, row_out)

    @ti.func
    def pull_points(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The same of points."""
        for i in range(first, stop):
            points.pull(mem, b, c, i, row_in, row_out)

    @ti.func
    def pull_bodies(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The same of bodies, for which all that touches them has left its share."""
        for k in range(first, stop):
            bodies.pull_body(mem, b, c, k, row_in, row_out)

    @ti.func
    def moduli_bar_at(mem: ti.template(), b, k):
        """Where ``pull_cells`` has left the cotangents of a cell's moduli."""
        return elements.work_of(mem, b, k) + places.CELL_BLOCKS

    @ti.func
    def density_bar_at(mem: ti.template(), b, i):
        """Where ``pull_nodes`` has left that of its gel's density."""
        return nodes.work_of(mem, b, i) + places.RESIDUAL

    passes: list[Pass | Loop] = [Pass(find_turns, at.bodies)] if has_bodies else []
    passes += [*assembly_passes(setup, exact), Pass(seed_points, at.points), Pass(seed_nodes, at.count)]
    if has_bodies:
        passes.append(Pass(seed_bodies, at.bodies))
    passes += [*solver(setup, ADJOINT).solve(right, take)]
    passes += [Pass(pull_cells, at.cells, waits=False), Pass(pull_points, at.points)]
    passes.append(Pass(pull_nodes, at.count))
    if has_bodies:
        passes.append(Pass(pull_bodies, at.bodies, waits=False))
    effectors = Pass(frames.settle_effectors, setup.eff.count, waits=False)
    return [*passes, effectors, parameter_pass(setup, moduli_bar_at, density_bar_at)]
