"""Phases of the material point method for a team of threads (see ``sims/solver.py``), forward and reverse.

No atomics: each member scatters its share of the particles to a grid copy of its own and the copies are added, in the
order of the members, when nodes are updated. Results are therefore the same, bit by bit, for the same team. Only nodes
inside the bounding box of the particles are visited; particles are taken in the order of their cells, in three
dimensions several of a cell at once.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import (
    CONTROL,
    INVERSE_CELL,
    KEPT,
    KEPT_AT,
    LANES,
    PARAMETER,
    PARTIAL,
    PARTIAL_OFFSET,
    STATE,
    TEAM,
    TWIN,
)
from pliant.sims.mpm import places as at
from pliant.sims.mpm.grid import grid_functions
from pliant.sims.mpm.laws.laws import RIGID
from pliant.sims.mpm.laws.yielding import LIQUID
from pliant.sims.mpm.rigid.matching import rigid_functions
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.supply.activity import activity_functions, rest_functions, supplied_transfers
from pliant.sims.mpm.tearing.kernels import tearing_functions
from pliant.sims.mpm.tension.kernels import tension_functions
from pliant.sims.mpm.tension.stages import tense_phases
from pliant.sims.mpm.transfers.blocks import block_transfer_functions
from pliant.sims.mpm.transfers.one import transfer_functions
from pliant.sims.part import Phases
from pliant.sims.runtime import ti


@cache
def mpm_phases(
    dim: int,
    fp: Any,
    kinds: tuple[int, ...],
    has_muscles: bool,
    shape_kinds: tuple[int, ...],
    has_supply: bool = False,
    has_tension: bool = False,
) -> Phases:
    """The phases for the materials ``kinds`` of a scene."""
    vec = ti.types.vector(dim, fp)
    ivec = ti.types.vector(dim, ti.i32)
    blocks: Any = None
    transfers: Any = None
    if dim == 3:
        blocks = block_transfer_functions(fp, kinds, has_muscles, has_supply)
    else:
        transfers = transfer_functions(dim, fp, kinds, has_muscles, False)
        if has_supply:
            transfers = supplied_transfers(dim, fp, transfers)
    activity: Any = activity_functions(dim, fp) if has_supply else None
    resting: Any = rest_functions(dim, fp) if has_supply else None
    record, sums = at.record_size(dim), at.world_sums(dim)
    stencil = stencil_functions(dim, fp, False)
    index, holds = stencil.index, stencil.holds
    grid = grid_functions(dim, fp, shape_kinds, False)
    v4 = ti.types.vector(LANES, fp)
    is_solid = any(kind < LIQUID for kind in kinds)
    tearing: Any = tearing_functions(dim, fp, has_supply) if is_solid else None
    tension: Any = tension_functions(dim, fp, kinds, has_supply, False) if has_tension else None

    @ti.func
    def share(mem: ti.template(), c):
        """First particle of member c's share, within the order (c = team: one past the last)."""
        return mem.integers[at.COUNT] * c // mem.integers[TEAM]

    @ti.func
    def ordered(mem: ti.template(), b, i):
        return mem.integers[mem.integers[at.ORDER_AT] + b * mem.integers[at.COUNT] + i]

    @ti.func
    def base_of_particle(mem: ti.template(), r, p):
        h = ti.static(mem.integers)
        x = stencil.load_vec(mem.frames, r * h[STATE] + h[at.STATE_AT] + p * record)
        return stencil.base_of(mem, x * mem.constants[INVERSE_CELL])

    @ti.func
    def row_count(low, high):
        """Rows (along the last axis) of the box from low to high, both included."""
        n = ti.max(high[0] - low[0] + 1, 0)
        if ti.static(dim == 3):
            n *= ti.max(high[1] - low[1] + 1, 0)
        return n

    @ti.func
    def row_node(low, high, r):
        """First node of row r of a box."""
        node = low
        if ti.static(dim == 3):
            n = high[1] - low[1] + 1
            node[0] += r // n
            node[1] += r % n
        else:
            node[0] += r
        return node

    @ti.func
    def copy_at(mem: ti.template(), b, c):
        """First node of member c's copy of the grid."""
        h = ti.static(mem.integers)
        return (b * h[TEAM] + c) * h[at.NODES]

    @ti.func
    def set_box(mem: ti.template(), b, c, r):
        """Bounding box of the stencils of member c's particles, kept for the other members."""
        h = ti.static(mem.integers)
        low = ivec(1 << 20)
        high = ivec(0)
        for i in range(share(mem, c), share(mem, c + 1)):
            p = ordered(mem, b, i)
            takes_part = True
            if ti.static(has_supply):
                takes_part = activity.is_active(mem, r, p)
            if takes_part:
                base = base_of_particle(mem, r, p)
                low = ti.min(low, base)
                high = ti.max(high, base)
        high += 2
        o = h[at.BOX_AT] + (b * h[TEAM] + c) * 2 * dim
        for d in ti.static(range(dim)):
            h[o + d] = low[d]
            h[o + dim + d] = high[d]
        return low, high

    @ti.func
    def box(mem: ti.template(), b, c):
        h = ti.static(mem.integers)
        o = h[at.BOX_AT] + (b * h[TEAM] + c) * 2 * dim
        low = ivec(0)
        high = ivec(0)
        for d in ti.static(range(dim)):
            low[d] = h[o + d]
            high[d] = h[o + dim + d]
        return low, high

    @ti.func
    def whole_box(mem: ti.template(), b):
        low = ivec(1 << 20)
        high = ivec(-1)
        for c in range(mem.integers[TEAM]):
            one_low, one_high = box(mem, b, c)
            low = ti.min(low, one_low)
            high = ti.max(high, one_high)
        return low, high

    @ti.func
    def clear(mem: ti.template(), n0, low, high):
        for r in range(row_count(low, high)):
            first = n0 + index(mem, row_node(low, high, r))
            for n in range(first, first + (high[dim - 1] - low[dim - 1] + 1)):
                mem.grid[n] = v4(0.0)

    @ti.func
    def collect(mem: ti.template(), n0, b, node):
        """Sum of the members' copies of a node; n0: 0, or TWIN for its cotangent."""
        total = v4(0.0)
        n = n0 + index(mem, node)
        for c in range(mem.integers[TEAM]):
            low, high = box(mem, b, c)
            if holds(low, high, node):
                total += mem.grid[copy_at(mem, b, c) + n]
        return total

    @ti.func
    def kept_at(mem: ti.template(), r):
        """Where the substep from row r keeps its nodes: a mark (0: they did not fit), then from LANES on momentum and
        mass of each node of the box, row by row."""
        h = ti.static(mem.integers)
        return h[KEPT_AT] + r * h[KEPT] + h[at.KEPT_OFFSET]

    @ti.func
    def are_kept(mem: ti.template(), r):
        """Whether the substep from row r has kept its nodes, in a recording."""
        kept = False
        if mem.integers[KEPT] > 0:
            kept = mem.frames[kept_at(mem, r)] > 0.0
        return kept

    @ti.func
    def sort_particles(mem: ti.template(), b, r):
        """Order of the particles by cell (a stable counting sort)."""
        h = ti.static(mem.integers)
        count = h[at.COUNT]
        cells = h[at.CELLS_AT] + b * h[at.NODES]
        order = h[at.ORDER_AT] + b * count
        lowest, highest = h[at.NODES], -1
        for turn in range(3):  # find the range of the cells, count their particles, hand out places
            if turn == 1:
                for n in range(cells + lowest, cells + highest + 1):
                    h[n] = 0
            elif turn == 2:
                total = 0
                for n in range(cells + lowest, cells + highest + 1):
                    here = h[n]
                    h[n] = total
                    total += here
            for p in range(count):
                cell = index(mem, base_of_particle(mem, r, p))
                n = cells + cell
                if turn == 0:
                    lowest = ti.min(lowest, cell)
                    highest = ti.max(highest, cell)
                else:
                    if turn == 2:
                        h[order + h[n]] = p
                    h[n] = h[n] + 1

    @ti.func
    def begin(mem: ti.template(), b, c, r):
        h = ti.static(mem.integers)
        if c == 0:
            sort_particles(mem, b, r)
        o = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.PARTIAL_AT]
        for i in range(o, o + sums + h[at.GROUPS]):
            mem.scratch[i] = fp(0.0)

    @ti.func
    def particles_to_grid(mem: ti.template(), b, c, r_in, r_out, substep):
        low, high = set_box(mem, b, c, r_in)
        n0 = copy_at(mem, b, c)
        clear(mem, n0, low, high)
        if ti.static(dim == 3):
            blocks.scatter(mem, b, n0, r_in, r_out, share(mem, c), share(mem, c + 1), 0, False)
        else:
            for i in range(share(mem, c), share(mem, c + 1)):
                transfers.scatter(mem, b, n0, r_in, r_out, ordered(mem, b, i))

    @ti.func
    def update_grid(mem: ti.template(), b, c, r_in, r_out, substep):
        h = ti.static(mem.integers)
        low, high = whole_box(mem, b)
        count = row_count(low, high)
        length = high[dim - 1] - low[dim - 1] + 1
        n0 = copy_at(mem, b, 0)
        keeps = False
        place = kept_at(mem, r_in) + LANES
        if h[KEPT] > 0:
            keeps = count * length <= h[at.KEPT_NODES]
            if c == 0:
                mem.frames[place - LANES] = ti.cast(keeps, fp)
        for row in range(count * c // h[TEAM], count * (c + 1) // h[TEAM]):
            node = row_node(low, high, row)
            for k in range(low[dim - 1], high[dim - 1] + 1):
                node[dim - 1] = k
                total = collect(mem, 0, b, node)
                if keeps:
                    o = place + (row * length + k - low[dim - 1]) * LANES
                    for lane in ti.static(range(LANES)):
                        mem.frames[o + lane] = total[lane]
                mass = total[LANES - 1]
                if ti.static(has_tension):
                    total += stencil.widen(tension.impulse(mem, b, low, high, node), fp(0.0))
                u = vec(0.0)
                if mass > 0.0:
                    u = grid.velocity(mem, b, c, r_in, node, stencil.narrow(total), mass)
                mem.grid[n0 + index(mem, node)] = stencil.widen(u, mass)

    @ti.func
    def grid_to_particles(mem: ti.template(), b, c, r_in, r_out, substep):
        n0 = copy_at(mem, b, 0)
        if ti.static(dim == 3):
            blocks.gather(mem, b, c, n0, r_in, r_out, share(mem, c), share(mem, c + 1), substep)
            if ti.static(has_supply):
                for i in range(share(mem, c), share(mem, c + 1)):
                    p = ordered(mem, b, i)
                    if not activity.is_active(mem, r_in, p):
                        resting.rest(mem, r_in, r_out, p)
        else:
            for i in range(share(mem, c), share(mem, c + 1)):
                transfers.gather(mem, b, c, n0, r_in, r_out, ordered(mem, b, i), substep)
        if ti.static(is_solid):
            if tearing.is_due(mem, substep):
                for i in range(share(mem, c), share(mem, c + 1)):
                    tearing.inspect(mem, b, c, r_in, ordered(mem, b, i), substep)

    @ti.func
    def scatters_adjoint(mem: ti.template(), b, c, r_in, r_out, substep):
        """The particles' cotangents to the nodes; and the particles again, unless momenta and masses have been kept."""
        low, high = set_box(mem, b, c, r_in)
        n0 = copy_at(mem, b, c)
        twin = mem.integers[TWIN]
        first = ti.cast(are_kept(mem, r_in), ti.i32)
        for half in range(first, 2):
            clear(mem, n0 + half * twin, low, high)
        if ti.static(dim == 3):
            blocks.scatter(mem, b, n0, r_in, r_out, share(mem, c), share(mem, c + 1), first, True)
        else:
            for i in range(share(mem, c), share(mem, c + 1)):
                p = ordered(mem, b, i)
                if first == 0:
                    transfers.scatter(mem, b, n0, r_in, r_out, p)
                transfers.scatter_adjoint(mem, b, n0, r_in, p)

    @ti.func
    def update_grid_adjoint(mem: ti.template(), b, c, r_in, r_out, substep):
        h = ti.static(mem.integers)
        low, high = whole_box(mem, b)
        count = row_count(low, high)
        length = high[dim - 1] - low[dim - 1] + 1
        n0 = copy_at(mem, b, 0)
        kept, twin = are_kept(mem, r_in), h[TWIN]
        place = kept_at(mem, r_in) + LANES
        for row in range(count * c // h[TEAM], count * (c + 1) // h[TEAM]):
            node = row_node(low, high, row)
            for k in range(low[dim - 1], high[dim - 1] + 1):
                node[dim - 1] = k
                total = v4(0.0)
                if kept:
                    o = place + (row * length + k - low[dim - 1]) * LANES
                    for lane in ti.static(range(LANES)):
                        total[lane] = mem.frames[o + lane]
                else:
                    total = collect(mem, 0, b, node)
                total_bar = collect(mem, twin, b, node)
                mass = total[LANES - 1]
                if ti.static(has_tension):
                    total += stencil.widen(tension.impulse(mem, b, low, high, node), fp(0.0))
                u = vec(0.0)
                momentum_bar = vec(0.0)
                mass_bar = fp(0.0)
                if mass > 0.0:
                    u, momentum_bar, mass_bar = grid.velocity_adjoint(
                        mem, b, c, r_in, node, stencil.narrow(total), mass, stencil.narrow(total_bar)
                    )
                n = n0 + index(mem, node)
                mem.grid[n] = stencil.widen(u, mass)
                mem.grid[n + twin] = stencil.widen(momentum_bar, mass_bar)

    @ti.func
    def gathers_adjoint(mem: ti.template(), b, c, r_in, r_out, substep):
        n0 = copy_at(mem, b, 0)
        if ti.static(dim == 3):
            blocks.gather_adjoint(mem, b, c, n0, r_in, r_out, share(mem, c), share(mem, c + 1))
            if ti.static(has_supply):
                for i in range(share(mem, c), share(mem, c + 1)):
                    p = ordered(mem, b, i)
                    if not activity.is_active(mem, r_in, p):
                        resting.rest_adjoint(mem, b, r_in, r_out, p)
        else:
            for i in range(share(mem, c), share(mem, c + 1)):
                transfers.gather_adjoint(mem, b, c, n0, r_in, r_out, ordered(mem, b, i))

    @ti.func
    def finish_reverse(mem: ti.template(), b, c):
        """Adds the members' partial sums to the cotangents of gravity, wall friction, damping and activations."""
        h = ti.static(mem.integers)
        if c == 0:
            for m in range(h[TEAM]):
                o = h[PARTIAL_OFFSET] + (b * h[TEAM] + m) * h[PARTIAL] + h[at.PARTIAL_AT]
                q = b * h[PARAMETER]
                for d in range(dim):
                    i = q + h[at.GRAVITY_AT] + d
                    mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[o + d]
                for d in range(2 * dim):
                    i = q + h[at.WALL_AT] + d
                    mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[o + dim + d]
                i = q + h[at.DAMPING_AT]
                mem.parameter_adjoint[i] = mem.parameter_adjoint[i] + mem.scratch[o + 3 * dim]
                for g in range(h[at.GROUPS]):
                    i = b * h[CONTROL] + h[at.ACTIVATION_AT] + g
                    mem.control_adjoint[i] = mem.control_adjoint[i] + mem.scratch[o + sums + g]

    @ti.func
    def finish(mem: ti.template(), b, c):
        pass

    rigid: Any = rigid_functions(dim, fp, kinds) if RIGID in kinds else None
    phases = Phases(
        begin=begin,
        forward=[particles_to_grid, update_grid, grid_to_particles, *([rigid.match] if rigid else [])],
        reverse=[
            *([rigid.match_adjoint] if rigid else []),
            scatters_adjoint,
            update_grid_adjoint,
            gathers_adjoint,
        ],
        finish=finish,
        finish_reverse=finish_reverse,
    )
    if tension is not None:
        tools = SimpleNamespace(
            share=share,
            ordered=ordered,
            box=box,
            whole_box=whole_box,
            row_count=row_count,
            row_node=row_node,
            holds=holds,
        )
        phases = tense_phases(dim, fp, tension, tools, phases)
    return phases
