"""Passes of the material point method for a device of very many threads (see ``sims/elements.py``), and back.

The same functions of a particle and of a node as in ``kernels.py``, in their atomic variants. Each world has one grid
and one bounding box; node passes visit the nodes in the box. Particles of a cell stand together in the order, the cells
in the order in which threads came to claim their stretches.

Loops with atomic updates inside have as many rounds in each thread: Mesa's software device for Vulkan loses updates of
threads whose loops last longer than others'.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.layout import CACHE_LINE
from pliant.sims.mpm import state as at
from pliant.sims.mpm.activity import activity_functions, supplied_transfers
from pliant.sims.mpm.grid import grid_functions
from pliant.sims.mpm.kernels import mpm_phases
from pliant.sims.mpm.materials import RIGID
from pliant.sims.mpm.rigid_kernels import rigid_functions
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.tearing_kernels import tearing_functions
from pliant.sims.mpm.tension_kernels import tension_functions
from pliant.sims.mpm.tension_phases import tense_passes
from pliant.sims.mpm.transfers import transfer_functions
from pliant.sims.mpm.yielding import LIQUID
from pliant.sims.runtime import ti
from pliant.sims.solver import (
    BARRIER,
    INVERSE_CELL,
    LANES,
    PARTIAL,
    PARTIAL_OFFSET,
    STATE,
    TWIN,
    Pass,
    Passes,
)

NODE_THREADS = 1 << 15
"""Threads a world that share the nodes of its box (fewer where the grid has fewer nodes)."""


@cache
def mpm_passes(
    dim: int,
    fp: Any,
    kinds: tuple[int, ...],
    has_muscles: bool,
    shape_kinds: tuple[int, ...],
    has_supply: bool = False,
    has_tension: bool = False,
) -> Passes:
    """The passes for the materials ``kinds`` of a scene with effectors of ``shape_kinds``."""
    vec = ti.types.vector(dim, fp)
    ivec = ti.types.vector(dim, ti.i32)
    v4 = ti.types.vector(LANES, fp)
    record, sums = at.record_size(dim), at.world_sums(dim)
    transfers = transfer_functions(dim, fp, kinds, has_muscles, True)
    if has_supply:
        transfers = supplied_transfers(dim, fp, transfers)
    activity: Any = activity_functions(dim, fp) if has_supply else None
    stencil = stencil_functions(dim, fp, True)
    index = stencil.index
    grid = grid_functions(dim, fp, shape_kinds, True)
    finish_world = mpm_phases(dim, fp, kinds, has_muscles, shape_kinds, has_supply, has_tension).finish_reverse
    is_solid = any(kind < LIQUID for kind in kinds)
    tearing: Any = tearing_functions(dim, fp, has_supply) if is_solid else None
    tension: Any = tension_functions(dim, fp, kinds, has_supply, True) if has_tension else None

    @ti.func
    def worlds(mem: ti.template()):
        return 1

    @ti.func
    def particles(mem: ti.template()):
        return mem.integers[at.COUNT]

    @ti.func
    def node_threads(mem: ti.template()):
        return ti.min(mem.integers[at.NODES], NODE_THREADS)

    @ti.func
    def ordered(mem: ti.template(), b, i):
        return mem.integers[mem.integers[at.ORDER_AT] + b * mem.integers[at.COUNT] + i]

    @ti.func
    def base_of_particle(mem: ti.template(), r, p):
        h = ti.static(mem.integers)
        x = stencil.load_vec(mem.frames, r * h[STATE] + h[at.STATE_AT] + p * record)
        return stencil.base_of(mem, x * mem.constants[INVERSE_CELL])

    @ti.func
    def box(mem: ti.template(), b):
        """Lowest node of world b's box, its nodes along each axis, and their number."""
        h = ti.static(mem.integers)
        o = h[at.BOX_AT] + b * 2 * dim
        low = ivec(0)
        extent = ivec(0)
        volume = 1
        for d in ti.static(range(dim)):
            low[d] = h[o + d]
            extent[d] = ti.max(h[o + dim + d] - low[d] + 1, 0)
            volume *= extent[d]
        return low, extent, volume

    @ti.func
    def node_of(low, extent, k):
        """The k-th node of a box, the last axis fastest."""
        node = low
        rest = k
        for e in ti.static(range(dim)):
            d = ti.static(dim - 1 - e)
            node[d] += rest % extent[d]
            rest = rest // extent[d]
        return node

    @ti.func
    def reset_box(mem: ti.template(), b, i, r_in, r_out, substep):
        o = mem.integers[at.BOX_AT] + b * 2 * dim
        for d in ti.static(range(dim)):
            mem.integers[o + d] = 1 << 20
            mem.integers[o + dim + d] = 0

    @ti.func
    def grow_box(mem: ti.template(), b, i, r_in, r_out, substep):
        """Takes particle i's stencil into the box; most particles find it wide enough and leave it alone."""
        o = mem.integers[at.BOX_AT] + b * 2 * dim
        base = base_of_particle(mem, r_in, i)
        for d in ti.static(range(dim)):
            if base[d] < mem.integers[o + d]:
                ti.atomic_min(mem.integers[o + d], base[d])
            if base[d] + 2 > mem.integers[o + dim + d]:
                ti.atomic_max(mem.integers[o + dim + d], base[d] + 2)

    @ti.func
    def grow_active_box(mem: ti.template(), b, i, r_in, r_out, substep):
        if activity.is_active(mem, r_in, i):
            grow_box(mem, b, i, r_in, r_out, substep)

    # ------------------------------------------------------------------ order of the particles

    @ti.func
    def claimed(mem: ti.template(), b):
        """Where world b counts the places of the order that are taken: its barrier's counter, unused otherwise."""
        return mem.integers[BARRIER] + b * CACHE_LINE

    @ti.func
    def begin_world(mem: ti.template(), b, i, r_in, r_out, substep):
        h = ti.static(mem.integers)
        reset_box(mem, b, i, r_in, r_out, substep)
        h[claimed(mem, b)] = 0
        o = h[PARTIAL_OFFSET] + b * h[PARTIAL] + h[at.PARTIAL_AT]
        for n in range(o, o + sums + h[at.GROUPS]):
            mem.scratch[n] = fp(0.0)

    @ti.func
    def empty_cells(mem: ti.template(), b, i, r_in, r_out, substep):
        cells = mem.integers[at.CELLS_AT] + b * mem.integers[at.NODES]
        low, extent, volume = box(mem, b)
        stride = node_threads(mem)
        for m in range((volume - i + stride - 1) // stride):
            mem.integers[cells + index(mem, node_of(low, extent, i + m * stride))] = 0

    @ti.func
    def count_particle(mem: ti.template(), b, i, r_in, r_out, substep):
        cells = mem.integers[at.CELLS_AT] + b * mem.integers[at.NODES]
        ti.atomic_add(mem.integers[cells + index(mem, base_of_particle(mem, r_in, i))], 1)

    @ti.func
    def claim_places(mem: ti.template(), b, i, r_in, r_out, substep):
        """Each cell takes as many places of the order as it has particles: its count becomes its first place."""
        cells = mem.integers[at.CELLS_AT] + b * mem.integers[at.NODES]
        low, extent, volume = box(mem, b)
        stride = node_threads(mem)
        for m in range((volume + stride - 1) // stride):
            if i + m * stride < volume:
                n = cells + index(mem, node_of(low, extent, i + m * stride))
                if mem.integers[n] > 0:
                    mem.integers[n] = ti.atomic_add(mem.integers[claimed(mem, b)], mem.integers[n])

    @ti.func
    def place_particle(mem: ti.template(), b, i, r_in, r_out, substep):
        h = ti.static(mem.integers)
        cells = h[at.CELLS_AT] + b * h[at.NODES]
        place = ti.atomic_add(h[cells + index(mem, base_of_particle(mem, r_in, i))], 1)
        h[h[at.ORDER_AT] + b * h[at.COUNT] + place] = i

    # ------------------------------------------------------------------ forward

    @ti.func
    def clear(mem: ti.template(), b, i, r_in, r_out, substep):
        n0 = b * mem.integers[at.NODES]
        low, extent, volume = box(mem, b)
        stride = node_threads(mem)
        for m in range((volume - i + stride - 1) // stride):
            mem.grid[n0 + index(mem, node_of(low, extent, i + m * stride))] = v4(0.0)

    @ti.func
    def scatter(mem: ti.template(), b, i, r_in, r_out, substep):
        transfers.scatter(mem, b, b * mem.integers[at.NODES], r_in, r_out, ordered(mem, b, i))

    @ti.func
    def update(mem: ti.template(), b, i, r_in, r_out, substep):
        n0 = b * mem.integers[at.NODES]
        low, extent, volume = box(mem, b)
        stride = node_threads(mem)
        for m in range((volume + stride - 1) // stride):
            if i + m * stride < volume:
                node = node_of(low, extent, i + m * stride)
                n = n0 + index(mem, node)
                total = mem.grid[n]
                mass = total[LANES - 1]
                if ti.static(has_tension):
                    total += stencil.widen(tension.impulse(mem, b, low, low + extent - 1, node), fp(0.0))
                u = vec(0.0)
                if mass > 0.0:
                    u = grid.velocity(mem, b, 0, r_in, node, stencil.narrow(total), mass)
                mem.grid[n] = stencil.widen(u, mass)

    @ti.func
    def gather(mem: ti.template(), b, i, r_in, r_out, substep):
        p = ordered(mem, b, i)
        transfers.gather(mem, b, p, b * mem.integers[at.NODES], r_in, r_out, p, substep)  # a status record each
        if ti.static(is_solid):
            if tearing.is_due(mem, substep):
                tearing.inspect(mem, b, p, r_in, p, substep)

    has_rigid = RIGID in kinds
    rigid: Any = rigid_functions(dim, fp, kinds) if has_rigid else None

    @ti.func
    def match_shape(mem: ti.template(), b, i, r_in, r_out, substep):
        rigid.project(mem, b, i, r_out)

    # ------------------------------------------------------------------ reverse

    @ti.func
    def match_shape_adjoint(mem: ti.template(), b, i, r_in, r_out, substep):
        rigid.project_adjoint(mem, b, i, r_in, r_out)

    @ti.func
    def clear_both(mem: ti.template(), b, i, r_in, r_out, substep):
        n0 = b * mem.integers[at.NODES]
        low, extent, volume = box(mem, b)
        stride = node_threads(mem)
        for m in range((volume - i + stride - 1) // stride):
            n = n0 + index(mem, node_of(low, extent, i + m * stride))
            mem.grid[n] = v4(0.0)
            mem.grid[n + mem.integers[TWIN]] = v4(0.0)

    @ti.func
    def scatter_adjoint(mem: ti.template(), b, i, r_in, r_out, substep):
        transfers.scatter_adjoint(mem, b, b * mem.integers[at.NODES], r_in, ordered(mem, b, i))

    @ti.func
    def update_adjoint(mem: ti.template(), b, i, r_in, r_out, substep):
        n0 = b * mem.integers[at.NODES]
        low, extent, volume = box(mem, b)
        stride = node_threads(mem)
        for m in range((volume + stride - 1) // stride):
            if i + m * stride < volume:
                node = node_of(low, extent, i + m * stride)
                n = n0 + index(mem, node)
                total = mem.grid[n]
                mass = total[LANES - 1]
                if ti.static(has_tension):
                    total += stencil.widen(tension.impulse(mem, b, low, low + extent - 1, node), fp(0.0))
                u = vec(0.0)
                momentum_bar = vec(0.0)
                mass_bar = fp(0.0)
                if mass > 0.0:
                    u, momentum_bar, mass_bar = grid.velocity_adjoint(
                        mem,
                        b,
                        0,
                        r_in,
                        node,
                        stencil.narrow(total),
                        mass,
                        stencil.narrow(mem.grid[n + mem.integers[TWIN]]),
                    )
                mem.grid[n] = stencil.widen(u, mass)
                mem.grid[n + mem.integers[TWIN]] = stencil.widen(momentum_bar, mass_bar)

    @ti.func
    def gather_adjoint(mem: ti.template(), b, i, r_in, r_out, substep):
        transfers.gather_adjoint(mem, b, 0, b * mem.integers[at.NODES], r_in, r_out, ordered(mem, b, i))

    @ti.func
    def finish_reverse(mem: ti.template(), b, i, r_in, r_out, substep):
        finish_world(mem, b, 0)

    find_box = [Pass(worlds, reset_box), Pass(particles, grow_active_box if has_supply else grow_box)]
    passes = Passes(
        begin=[
            Pass(worlds, begin_world),
            Pass(particles, grow_box),
            Pass(node_threads, empty_cells),
            Pass(particles, count_particle),
            Pass(node_threads, claim_places),
            Pass(particles, place_particle),
        ],
        forward=[
            [*find_box, Pass(node_threads, clear), Pass(particles, scatter)],
            [Pass(node_threads, update)],
            [Pass(particles, gather)],
            *([[Pass(rigid.count, match_shape)]] if has_rigid else []),
        ],
        reverse=[
            *([[Pass(rigid.count, match_shape_adjoint)]] if has_rigid else []),
            [*find_box, Pass(node_threads, clear_both), Pass(particles, scatter), Pass(particles, scatter_adjoint)],
            [Pass(node_threads, update_adjoint)],
            [Pass(particles, gather_adjoint)],
        ],
        finish=[],
        finish_reverse=[Pass(worlds, finish_reverse)],
    )
    if tension is not None:
        tools = SimpleNamespace(
            worlds=worlds, particles=particles, node_threads=node_threads, ordered=ordered, box=box, node_of=node_of
        )
        passes = tense_passes(dim, fp, tension, tools, passes)
    return passes
