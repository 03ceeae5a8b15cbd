"""The particles of a block: up to ``BLOCK`` of one cell, worked on at once by one thread, in three dimensions.

The innermost loops run over the particles of a block. LLVM makes vector instructions of them, if

- the arithmetic is the same for each particle and touches neighbouring numbers only: each component of the block is a
  vector of ``BLOCK`` entries, one for each particle;
- the length of the loop is known at run time only; else the loop is unrolled first;
- nothing in the loop writes to arrays of the kernel.

Loops that load or store particles have a ``break``, so that LLVM does not vectorise them. Where a block has fewer
particles, the other entries hold harmless numbers, whose results are not used.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from pliant.sims.fields import DT
from pliant.sims.mpm import places
from pliant.sims.mpm.laws.laws import in_stretches
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.transfers.point import point_functions
from pliant.sims.runtime import ti

BLOCK = 8


class Own(NamedTuple):
    """What belongs to the particles of a block, lists of Taichi vectors of ``BLOCK`` entries: constants and state,
    trial deformation gradient F with its principal axes and stretches, the F stored, and what goes to the grid: A and
    start = m v - A f."""

    volume: Any
    mass: Any
    young: Any
    poisson: Any
    law: Any
    signal: Any
    strength: Any
    fibre: Any
    f: Any
    v: Any
    C: Any
    before: Any
    F: Any
    sigma: Any
    U: Any
    V: Any
    stored: Any
    A: Any
    start: Any


@cache
def block_functions(setup: Setup) -> SimpleNamespace:
    """``respond``, which works out what a block brings to the grid, and access to the numbers of one particle.

    numbers: what all vectors of an ``Own`` start with; own_of(vectors, kind) makes it of them.
    """
    at, fp, kinds, has_muscles = setup.at, setup.fp, setup.kinds, setup.has_muscles
    dim = 3
    members = ti.types.vector(BLOCK, ti.i32)
    vec, mat = ti.types.vector(dim, fp), ti.types.matrix(dim, dim, fp)
    point = point_functions(setup)
    stencil = stencil_functions(setup)
    apply, locate = stencil.apply, stencil.locate
    decomposes = in_stretches(kinds)  # then the arithmetic of a particle branches, and is no work for vectors
    law_size = len(point.own_constants)
    V_AT, C_AT, F_AT = dim, 2 * dim, 2 * dim + dim * dim
    axes, muscle, is_pushed = (dim * dim if decomposes else 0), int(has_muscles), setup.push is not None
    unit = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    starts = Own(
        volume=[0.0], mass=[0.0], young=[0.0], poisson=[0.0], law=[0.0] * law_size, signal=[0.0] * muscle,
        strength=[0.0] * muscle, fibre=[0.0] * (dim * muscle), f=[0.0] * dim, v=[0.0] * dim, C=[0.0] * dim**2,
        before=unit, F=unit, sigma=[1.0] * dim, U=[0.0] * axes, V=[0.0] * axes, stored=[0.0] * dim**2,
        A=[0.0] * dim**2, start=[0.0] * dim,
    )  # fmt: skip
    numbers = [number for part in starts for number in part]

    def own_of(vectors: list[Any]) -> Own:
        ends = [sum(len(part) for part in starts[: i + 1]) for i in range(len(starts))]
        return Own(*(vectors[end - len(part) : end] for end, part in zip(ends, starts, strict=True)))

    @ti.func
    def room(mem: ti.template()):
        """``BLOCK``, but LLVM knows that it is a multiple of it only: so it neither unrolls a loop of this length nor
        makes a second one for what vectors leave over."""
        return (mem.integers[at.width] - 2) * BLOCK

    @ti.func
    def put_vec(a: ti.template(), l, v):
        """Writes a vector to place l."""
        for d in ti.static(range(dim)):
            a[d][l] = v[d]

    @ti.func
    def put_mat(a: ti.template(), l, m):
        """Writes a matrix to place l, row by row."""
        for d in ti.static(range(dim)):
            for k in ti.static(range(dim)):
                a[dim * d + k][l] = m[d, k]

    @ti.func
    def take_vec(a: ti.template(), l):
        """Vector at place l."""
        return ti.Vector([a[d][l] for d in ti.static(range(dim))])

    @ti.func
    def take_mat(a: ti.template(), l):
        """Matrix at place l."""
        return ti.Matrix([[a[dim * d + k][l] for k in ti.static(range(dim))] for d in ti.static(range(dim))])

    @ti.func
    def take_column(a: ti.template(), l, k: ti.template()):
        """Column k of the matrix at place l."""
        return ti.Vector([a[dim * d + k][l] for d in ti.static(range(dim))])

    @ti.func
    def law_at(own: ti.template(), l):
        """Constants of the law of the particle at place l, 1/(1 + nu) and 1/(1 - 2 nu)."""
        law, once, twice = point.law_of(own.young[0][l], own.poisson[0][l])
        for k in ti.static(range(law_size)):
            law[point.own_constants[k][0]] = own.law[k][l]
        return law, once, twice

    @ti.func
    def muscle_at(own: ti.template(), l):
        """Signal, strength and fibre of the muscle of the particle at place l."""
        signal, strength, fibre = fp(0.0), fp(0.0), vec(0.0)
        if ti.static(has_muscles):
            signal, strength, fibre = own.signal[0][l], own.strength[0][l], take_vec(own.fibre, l)
        return signal, strength, fibre

    @ti.func
    def respond(
        mem: ti.template(), b, r_in, who: ti.template(), kind: ti.template(), own: ti.template(), count, all_places
    ):
        """Reads the particles of a block and works out their momenta less A f, A, and the F they store."""
        h = ti.static(mem.integers)
        for l in range(count):
            if who[l] < 0:
                break
            p = who[l]
            o = point.state_of(mem, r_in, p)
            q = point.parameters_of(mem, b, p)
            _first, f = locate(mem, o)
            put_vec(own.f, l, f)
            put_vec(own.v, l, stencil.load_vec(mem.frames, o + V_AT))
            C, before = stencil.load_mat(mem.frames, o + C_AT), stencil.load_mat(mem.frames, o + F_AT)
            F = point.trial(C, before, mem.constants[DT])
            kind[l] = h[h[at.info] + 2 * p]
            U, sigma, V = point.axes(kind[l], F)  # here, since there is no logarithm of a vector
            put_mat(own.C, l, C)
            put_mat(own.before, l, before)
            put_mat(own.F, l, F)
            put_vec(own.sigma, l, sigma)
            if ti.static(decomposes):
                put_mat(own.U, l, U)
                put_mat(own.V, l, V)
            own.volume[0][l] = mem.constants[h[at.volumes] + p]
            own.mass[0][l] = own.volume[0][l] * mem.parameters[q + places.DENSITY]
            own.young[0][l] = mem.parameters[q + places.YOUNG]
            own.poisson[0][l] = mem.parameters[q + places.POISSON]
            for k in ti.static(range(law_size)):
                own.law[k][l] = mem.parameters[q + point.own_constants[k][1]]
            if ti.static(has_muscles):
                signal, strength, fibre = point.muscle_of(mem, b, p)
                own.signal[0][l] = signal
                own.strength[0][l] = strength
                put_vec(own.fibre, l, fibre)
            if ti.static(is_pushed):
                put_vec(own.start, l, point.impulse_of(mem, b, p))
        busy = all_places
        if ti.static(decomposes):
            busy = count
        for l in range(busy):
            U, V = mat(0.0), mat(0.0)
            if ti.static(decomposes):
                U, V = take_mat(own.U, l), take_mat(own.V, l)
            C = take_mat(own.C, l)
            law, _once, _twice = law_at(own, l)
            stored, tau = point.respond(
                kind[l], take_mat(own.F, l), U, take_vec(own.sigma, l), V, C, law, mem.constants[DT]
            )
            signal, strength, fibre = muscle_at(own, l)
            A = point.affine(mem, C, stored, tau, own.mass[0][l], own.volume[0][l], signal * strength, fibre)
            put_mat(own.stored, l, stored)
            put_mat(own.A, l, A)
            start = own.mass[0][l] * take_vec(own.v, l) - apply(A, take_vec(own.f, l))
            if ti.static(is_pushed):
                start += take_vec(own.start, l)
            put_vec(own.start, l, start)
        return busy

    return SimpleNamespace(
        decomposes=decomposes,
        law_size=law_size,
        numbers=numbers,
        own_of=own_of,
        **{name: value for name, value in locals().items() if hasattr(value, "_is_taichi_function")},
    )
