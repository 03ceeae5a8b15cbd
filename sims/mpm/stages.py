"""Stages of the material point method, each with its adjoint.

A CPU needs no atomics: each member of a team scatters its share of the particles to a grid of its own. The copies are
added, in the order of the members, when nodes are updated. Results are therefore the same, bit by bit, for the same
team. On a device all threads add to one grid, atomically. Only nodes inside the bounding box of the particles are
visited. Particles are taken in the order of their cells; on the CPU, in three dimensions, several of a cell at once.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import (
    CONTROL,
    KEPT,
    KEPT_AT,
    LANES,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    TEAM,
    TWIN,
)
from pliant.sims.mpm import places
from pliant.sims.mpm.boxes import box_functions
from pliant.sims.mpm.grid import grid_functions
from pliant.sims.mpm.laws.laws import RIGID
from pliant.sims.mpm.laws.yielding import LIQUID
from pliant.sims.mpm.order import order_passes
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.rigid.matching import rigid_stage
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions, rest_functions, supplied_transfers
from pliant.sims.mpm.tearing.kernels import tearing_functions
from pliant.sims.mpm.tension.kernels import tension_functions
from pliant.sims.mpm.tension.stages import tension_stages
from pliant.sims.mpm.transfers.blocks import block_transfer_functions
from pliant.sims.mpm.transfers.one import transfer_functions
from pliant.sims.part import Pass, Stage, Stages
from pliant.sims.runtime import ti


@cache
def mpm_stages(setup: Setup) -> Stages:
    """Particles to grid, velocities of the nodes, grid to particles, shapes of rigid bodies. Surface tension has stages
    before the first and before the second."""
    boxes: Any = box_functions(setup)
    grid, particles = _grid_passes(setup), _particle_passes(setup)
    scatter = Stage([*particles.clear, particles.scatter], [particles.scatter_adjoint])
    update, update_again = grid.update, [grid.update_adjoint]
    gather = Stage([particles.gather], [*boxes.find, *particles.clear_both, particles.gather_adjoint])
    before, between = [], []
    if setup.has_tension:
        tension = tension_stages(setup)
        before, between = [tension.colour], [tension.potential]
        update_again = [*tension.colour.forward, *tension.potential.forward, grid.update_adjoint]
    return Stages(
        substep=[
            Stage(boxes.find, []),
            *before,
            scatter,
            *between,
            Stage([update], update_again),
            gather,
            *([rigid_stage(setup)] if RIGID in setup.kinds else []),
        ],
        begin=order_passes(setup),
        finish_adjoint=[Pass(_sum_up(setup))],
    )


@cache
def _kept_functions(setup: Setup) -> SimpleNamespace:
    """Where a recorded substep keeps momenta and masses of its nodes, and whether it has kept them."""
    at = setup.at

    @ti.func
    def place(mem: ti.template(), r):
        """Where the substep from row r keeps its nodes: a mark (0: they did not fit), then from LANES on momentum and
        mass of each node of the box, row by row."""
        h = ti.static(mem.integers)
        return h[KEPT_AT] + r * h[KEPT] + h[at.kept]

    @ti.func
    def is_full(mem: ti.template(), r):
        """Whether the substep from row r has kept its nodes, in a recording."""
        full = False
        if mem.integers[KEPT] > 0:
            full = mem.frames[place(mem, r)] > 0.0
        return full

    return SimpleNamespace(place=place, is_full=is_full)


def _grid_passes(setup: Setup) -> SimpleNamespace:
    """``update``: velocities of the nodes from their momenta; and ``update_adjoint``."""
    at, dim, fp = setup.at, setup.dim, setup.fp
    vec, v4 = ti.types.vector(dim, fp), ti.types.vector(LANES, fp)
    boxes: Any = box_functions(setup)
    stencil, grid, kept = stencil_functions(setup), grid_functions(setup), _kept_functions(setup)
    tension: Any = tension_functions(setup) if setup.has_tension else None
    index, has_tension = stencil.index, setup.has_tension

    @ti.func
    def collect(mem: ti.template(), n0, b, node):
        """Sum of the members' copies of a node; n0: 0, or TWIN for its cotangent."""
        total = v4(0.0)
        n = n0 + index(mem, node)
        for m in range(mem.integers[TEAM]):
            low, high = boxes.own(mem, b, m)
            if stencil.holds(low, high, node):
                total += mem.grid[boxes.grid_at(mem, b, m) + n]
        return total

    @ti.func
    def update_node(mem: ti.template(), b, c, row_in, low, high, node, n, prepared):
        """Momentum to velocity; both momentum and mass are kept for the reverse sweep, if there is room."""
        total = collect(mem, 0, b, node)
        if prepared > 0:
            o = prepared + n * LANES
            for lane in ti.static(range(LANES)):
                mem.frames[o + lane] = total[lane]
        mass = total[LANES - 1]
        if ti.static(has_tension):
            total += stencil.widen(tension.impulse(mem, b, low, high, node), fp(0.0))
        u = vec(0.0)
        if mass > 0.0:
            u = grid.velocity(mem, b, c, row_in, node, stencil.narrow(total), mass)
        mem.grid[boxes.grid_at(mem, b, 0) + index(mem, node)] = stencil.widen(u, mass)

    @ti.func
    def update_node_adjoint(mem: ti.template(), b, c, row_in, low, high, node, n, prepared):
        """Velocity again, and the cotangents of momentum and mass in place of the velocity's."""
        total = v4(0.0)
        if prepared > 0:
            o = prepared + n * LANES
            for lane in ti.static(range(LANES)):
                total[lane] = mem.frames[o + lane]
        else:
            total = collect(mem, 0, b, node)
        twin = mem.integers[TWIN]
        total_bar = collect(mem, twin, b, node)
        mass = total[LANES - 1]
        if ti.static(has_tension):
            total += stencil.widen(tension.impulse(mem, b, low, high, node), fp(0.0))
        u = vec(0.0)
        momentum_bar = vec(0.0)
        mass_bar = fp(0.0)
        if mass > 0.0:
            u, momentum_bar, mass_bar = grid.velocity_adjoint(
                mem, b, c, row_in, node, stencil.narrow(total), mass, stencil.narrow(total_bar)
            )
        k = boxes.grid_at(mem, b, 0) + index(mem, node)
        mem.grid[k] = stencil.widen(u, mass)
        mem.grid[k + twin] = stencil.widen(momentum_bar, mass_bar)

    @ti.func
    def to_keep(mem: ti.template(), b, row_in):
        """Where the nodes are kept; 0 if there is no room. Marks it: all members write the same."""
        place = 0
        if mem.integers[KEPT] > 0:
            has_room = boxes.count_whole(mem, b, 0) <= mem.integers[at.kept_nodes]
            place = kept.place(mem, row_in)
            mem.frames[place] = ti.cast(has_room, fp)
            place = place + LANES if has_room else 0
        return place

    @ti.func
    def have_been_kept(mem: ti.template(), b, row_in):
        """Where the nodes have been kept; 0 if they have not."""
        place = 0
        if kept.is_full(mem, row_in):
            place = kept.place(mem, row_in) + LANES
        return place

    nodes = {"count": boxes.count_whole, "threads": boxes.threads}
    return SimpleNamespace(
        update=Pass(boxes.over(boxes.whole, update_node, to_keep), **nodes),
        update_adjoint=Pass(boxes.over(boxes.whole, update_node_adjoint, have_been_kept), **nodes),
    )


def _particle_passes(setup: Setup) -> SimpleNamespace:
    """``scatter`` and ``gather`` with their adjoints, and what empties the grid before them."""
    at, dim, fp, inj, device = setup.at, setup.dim, setup.fp, setup.inj, setup.device
    has_supply = inj is not None
    v4 = ti.types.vector(LANES, fp)
    boxes: Any = box_functions(setup)
    kept = _kept_functions(setup)
    in_blocks = dim == 3 and not device
    blocks: Any = block_transfer_functions(setup) if in_blocks else None
    transfers: Any = None
    if not in_blocks:
        transfers = transfer_functions(setup)
        if inj:
            transfers = supplied_transfers(setup, transfers)
    activity: Any = activity_functions(setup) if inj else None
    resting: Any = rest_functions(setup) if inj else None
    is_solid = any(kind < LIQUID for kind in setup.kinds)
    tearing: Any = tearing_functions(setup) if is_solid else None
    ordered, grid_at = boxes.ordered, boxes.grid_at

    @ti.func
    def only_nodes(mem: ti.template(), row_in):
        """Copy 0 alone: momenta and masses."""
        return 0, 1

    @ti.func
    def nodes_and_cotangents(mem: ti.template(), row_in):
        """Momenta and masses need no emptying where the substep has kept them."""
        return ti.cast(kept.is_full(mem, row_in), ti.i32), 2

    @ti.func
    def copy_at(mem: ti.template(), b, c, k):
        """First node of member c's grid (k = 0) or of its cotangents (k = 1)."""
        return grid_at(mem, b, c) + k * mem.integers[TWIN]

    @ti.func
    def scatter(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Particles first to stop - 1 of the order to member c's grid."""
        n0 = grid_at(mem, b, c)
        if ti.static(in_blocks):
            blocks.scatter(mem, b, n0, row_in, row_out, first, stop, 0, False)
        else:
            for i in range(first, stop):
                transfers.scatter(mem, b, n0, row_in, row_out, ordered(mem, b, i))

    @ti.func
    def gather(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The grid to particles first to stop - 1 of the order, and a look at whether they are torn."""
        n0 = grid_at(mem, b, 0)
        if ti.static(in_blocks):
            blocks.gather(mem, b, c, n0, row_in, row_out, first, stop, substep)
            if ti.static(has_supply):
                for i in range(first, stop):
                    p = ordered(mem, b, i)
                    if not activity.is_active(mem, row_in, p):
                        resting.rest(mem, row_in, row_out, p)
        else:
            for i in range(first, stop):
                p = ordered(mem, b, i)
                transfers.gather(mem, b, p if ti.static(device) else c, n0, row_in, row_out, p, substep)
        if ti.static(is_solid):
            if tearing.is_due(mem, substep):
                for i in range(first, stop):
                    p = ordered(mem, b, i)
                    tearing.inspect(mem, b, p if ti.static(device) else c, row_in, p, substep)

    @ti.func
    def gather_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Particles' cotangents to the nodes. The particles too, unless momenta and masses have been kept."""
        n0 = grid_at(mem, b, c)
        begin = ti.cast(kept.is_full(mem, row_in), ti.i32)
        if ti.static(in_blocks):
            blocks.scatter(mem, b, n0, row_in, row_out, first, stop, begin, True)
        else:
            for i in range(first, stop):
                p = ordered(mem, b, i)
                if begin == 0:
                    transfers.scatter(mem, b, n0, row_in, row_out, p)
                transfers.gather_adjoint(mem, b, n0, row_in, p)

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The nodes' cotangents to the particles."""
        n0 = grid_at(mem, b, 0)
        if ti.static(in_blocks):
            blocks.scatter_adjoint(mem, b, c, n0, row_in, row_out, first, stop)
            if ti.static(has_supply):
                for i in range(first, stop):
                    p = ordered(mem, b, i)
                    if not activity.is_active(mem, row_in, p):
                        resting.rest_adjoint(mem, b, row_in, row_out, p)
        else:
            for i in range(first, stop):
                transfers.scatter_adjoint(mem, b, c, n0, row_in, row_out, ordered(mem, b, i))

    def clearing(copies: Any) -> list[Pass]:
        run = boxes.clearing("grid", copy_at, copies, v4(0.0))
        return [Pass(run, boxes.count_own, alone=True, waits=False, threads=boxes.threads)]

    return SimpleNamespace(
        clear=clearing(only_nodes),
        clear_both=clearing(nodes_and_cotangents),
        scatter=Pass(scatter, at.count),
        gather=Pass(gather, at.count),
        gather_adjoint=Pass(gather_adjoint, at.count),
        scatter_adjoint=Pass(scatter_adjoint, at.count),
    )


def _sum_up(setup: Setup) -> Any:
    """Adds the members' partial sums to the cotangents of the world's own parameters and of the activations."""
    at, dim, has_tension = setup.at, setup.dim, setup.has_tension
    sums = places.world_sums(dim)

    @ti.func
    def sum_up(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Adds the partial sums of gravity, wall friction, damping, activations and surface tension to their
        cotangents."""
        h = ti.static(mem.integers)
        q = b * h[PARAMETER]
        for m in range((stop - first) * h[TEAM]):
            o = h[PARTIAL_OFFSET] + (b * h[TEAM] + m) * h[PARTIAL] + h[at.partial]
            for d in range(dim):
                i = q + h[at.gravity] + d
                mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[o + d]
            for d in range(2 * dim):
                i = q + h[at.wall_friction] + d
                mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[o + dim + d]
            i = q + h[at.damping]
            mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[o + 3 * dim]
            for g in range(h[at.groups]):
                i = b * h[CONTROL] + h[at.activation] + g
                mem.control_adjoint[i] = mem.control_adjoint[i] + mem.scratch[o + sums + g]
            if ti.static(has_tension):
                i = q + h[at.surface_tension]
                mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[o + sums + h[at.groups]]

    return sum_up
