"""Preconditioned conjugate gradients for A x = b, with A symmetric and positive definite, by all threads of a world.

A part hands in the rows of A and the preconditioner as Taichi functions and gets passes and a `Loop` for its stages.
The adjoint of a solve is a solve: A is symmetric, so that

    A x = b:   lambda = A^-1 x_bar,   b_bar += lambda,   A_bar = -lambda x^T,

with the same loop; what A depends on gets its share from lambda and x in a pass of the part's own.

Sums are taken over blocks of unknowns, and the blocks' sums are added in order: they do not depend on how many threads
share the world. On a device a few threads take every so-many-th unknown each instead, and one adds up.
"""

from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.failures import NOT_DEFINITE, NOT_FINITE
from pliant.sims.fields import Entries, Needs
from pliant.sims.inputs import real, whole
from pliant.sims.linear.sums import (
    BEFORE,
    BLOCK,
    CURVATURE,
    DIRECTION,
    GUESSED,
    IMAGE,
    LANES,
    PRODUCT,
    REMAINDER,
    RESIDUAL,
    RIGHT,
    SLOTS,
    SOLUTION,
    TARGET,
    sum_functions,
)
from pliant.sims.part import Loop, Pass
from pliant.sims.reports import report_function
from pliant.sims.runtime import ti


def conjugate_gradient_needs(name: str, unknowns: int, *, batch: int, tolerance: float, most: int) -> Needs:
    """What a part keeps for a system of that name: its ``counts``, ``numbers`` and ``scratch`` go to the part's own.

    Args:
        name: goes before the names of the entries, with an underscore.
        unknowns: of each world.
        batch: number of worlds.
        tolerance: the solution is good where |b - A x| <= tolerance |b|, above 0 and below 1. What float32 reaches lies
            near 1e-6 of |A| |x|: the residual is updated, not computed anew.
        most: rounds after which it is a failure.

    Raises:
        ValueError: a number is out of range.
    """
    whole("unknowns", unknowns, 1, 2**30)
    whole("batch", batch, 1)
    whole("most", most, 0)
    real("tolerance", tolerance, above=0.0, high=0.999)
    blocks, lanes = -(-unknowns // BLOCK), min(unknowns, LANES)
    stride = 1 + max(blocks, lanes)
    counts = {"unknowns": unknowns, "blocks": blocks, "lanes": lanes, "stride": stride, "most": most}
    scratch = dict.fromkeys(("solution", "remainder", "direction", "image"), batch * unknowns)
    scratch["sums"] = batch * SLOTS * stride
    return Needs(
        counts={f"{name}_{key}": value for key, value in counts.items()},
        numbers={f"{name}_tolerance": tolerance},
        scratch={f"{name}_{key}": value for key, value in scratch.items()},
    )


@cache
def vectors(at: Entries, name: str) -> SimpleNamespace:
    """Taichi functions (memory, b): where in scratch memory a vector of world b begins.

    ``solution``: x, once solved. ``remainder``: r, and ``preconditioned``: z, for passes of a preconditioner.
    ``places``: where x, r, p and A p begin.
    """
    own = entries(at, name)

    @ti.func
    def solution(mem: ti.template(), b):
        """Where x begins."""
        return mem.integers[own.solution] + b * mem.integers[own.unknowns]

    @ti.func
    def remainder(mem: ti.template(), b):
        """Where r begins."""
        return mem.integers[own.remainder] + b * mem.integers[own.unknowns]

    @ti.func
    def preconditioned(mem: ti.template(), b):
        """Where z begins: it shares the place of A p."""
        return mem.integers[own.image] + b * mem.integers[own.unknowns]

    @ti.func
    def places(mem: ti.template(), b):
        """Where x, r, p and A p begin."""
        h = ti.static(mem.integers)
        skip = b * h[own.unknowns]
        return ti.Vector([h[e] + skip for e in ti.static((own.solution, own.remainder, own.direction, own.image))])

    return SimpleNamespace(solution=solution, remainder=remainder, preconditioned=preconditioned, places=places)


def entries(at: Entries, name: str) -> SimpleNamespace:
    """Header entries (of ``tolerance``: of the constants) of a system, without its name."""
    keys = ("unknowns", "blocks", "lanes", "stride", "most", "solution", "remainder", "direction", "image", "sums")
    return SimpleNamespace(**{key: getattr(at, f"{name}_{key}") for key in (*keys, "tolerance")})


class ConjugateGradients:
    """Solves with one matrix, for `Stage.forward` and `Stage.adjoint`.

    Args:
        at: entries of the part; `conjugate_gradient_needs` of the same ``name`` is among its needs.
        name: of the system.
        fp: the floating-point type.
        device: as `Part.stages` is told.
        row: Taichi function (memory, b, i, v, row_in, row_out): (A v)_i of a vector whose entry j is
            ``memory.scratch[v + j]``. A must be symmetric and positive definite.
        width: rows that ``row`` gives at once, as a vector from (A v)_i on; it is called for multiples i of it. Divides
            the number of unknowns, and 240.
        precondition: Taichi function (memory, b, i, value, row_in, row_out): z_i = (M r)_i of value = r_i; or passes
            that read r and write z (`vectors`), M being linear, symmetric and positive definite; or None: z = r.
        on_indefinite: Taichi function (memory, b) that is called where A turns out not to be positive definite, and the
            solution is left as it is; None: that is a failure.
        tolerance: in place of that of the needs, where it depends on the precision.

    Attributes:
        loop: one round after the other, the same one in each solve.
    """

    loop: Loop

    def __init__(
        self,
        at: Entries,
        name: str,
        fp: Any,
        device: bool,
        *,
        row: Any,
        width: int = 1,
        precondition: Any | Sequence[Pass] = None,
        on_indefinite: Any = None,
        tolerance: float | None = None,
    ) -> None:
        own = entries(at, name)
        self._own, self._fp, self._device, self._row = own, fp, device, _row_function(row, width)
        self._places = vectors(at, name).places
        self._on_indefinite, self._tolerance = on_indefinite, tolerance
        self._is_by_passes = isinstance(precondition, Sequence)
        self._preconditioning: Sequence[Pass] = precondition if self._is_by_passes else ()
        self._sums = sum_functions(own, fp, device, self._places)
        self._prepared = _point_function(None if self._is_by_passes else precondition)
        self.loop = self._make_loop(report_function(at.part), at.part)

    def solve(self, right: Any, take: Any, guess: Any = None) -> list[Pass | Loop]:
        """Passes and the loop of one solve.

        Args:
            right: Taichi function (memory, b, i, row_in, row_out): b_i.
            take: Taichi function (memory, b, i, row_in, row_out, value): keeps x_i = value where it belongs. The
                solution also stays at `vectors.solution` until the next solve.
            guess: as ``right``: a vector to start from, used where its residual is less than that of 0.
        """
        fp, row = self._fp, self._row
        total, sweep, has_guess, prepared = self._sums.total, self._sums.sweep, guess is not None, self._prepared

        @ti.func
        def load(mem: ti.template(), b, i, row_in, row_out, o, given):
            """The right-hand side, and the vector to start from."""
            mem.scratch[o[REMAINDER] + i] = right(mem, b, i, row_in, row_out)
            start = fp(0.0)
            if ti.static(has_guess):
                start = guess(mem, b, i, row_in, row_out)
            mem.scratch[o[SOLUTION] + i] = start

        @ti.func
        def size(mem: ti.template(), i, o):
            """|b_i|"""
            return ti.Vector([ti.abs(mem.scratch[o[REMAINDER] + i])])

        @ti.func
        def apply(mem: ti.template(), b, i, row_in, row_out, o, given):
            """A x, of the vector to start from."""
            row(mem, b, i, o[SOLUTION], o[IMAGE], row_in, row_out)

        @ti.func
        def guess_size(mem: ti.template(), i, o):
            """|(b - A x)_i|, of the vector to start from."""
            return ti.Vector([ti.abs(mem.scratch[o[REMAINDER] + i] - mem.scratch[o[IMAGE] + i])])

        @ti.func
        def read_scale(mem: ti.template(), b):
            """Sum of |b|: the system is solved for b / scale, of which squares neither overflow nor vanish."""
            scale = total(mem, b, RIGHT)
            if scale == fp(0.0):
                scale = fp(1.0)
            return scale

        @ti.func
        def choose_start(mem: ti.template(), b, c, first, substep):
            """The scale, and whether the vector to start from is used (1 or 0)."""
            share = fp(0.0)  # of the guess
            if ti.static(has_guess):
                if total(mem, b, GUESSED) < total(mem, b, RIGHT):
                    share = fp(1.0)
            return ti.Vector([read_scale(mem, b), share])

        @ti.func
        def begin(mem: ti.template(), b, i, row_in, row_out, o, given):
            """Scales the system; r = b - A x, z = M r."""
            value = mem.scratch[o[REMAINDER] + i] / given[0]
            mem.scratch[o[DIRECTION] + i] = value  # for b.b, until p takes its place
            if ti.static(has_guess):
                if given[1] > fp(0.0):
                    mem.scratch[o[SOLUTION] + i] = mem.scratch[o[SOLUTION] + i] / given[0]
                    value -= mem.scratch[o[IMAGE] + i] / given[0]
                else:
                    mem.scratch[o[SOLUTION] + i] = fp(0.0)
            mem.scratch[o[REMAINDER] + i] = value
            mem.scratch[o[IMAGE] + i] = prepared(mem, b, i, value, row_in, row_out)

        @ti.func
        def begin_terms(mem: ti.template(), i, o):
            """b_i^2 and r_i^2, scaled."""
            right_side, value = mem.scratch[o[DIRECTION] + i], mem.scratch[o[REMAINDER] + i]
            return ti.Vector([right_side * right_side, value * value])

        @ti.func
        def set_direction(mem: ti.template(), b, i, row_in, row_out, o, given):
            """p = z."""
            mem.scratch[o[DIRECTION] + i] = mem.scratch[o[IMAGE] + i]

        @ti.func
        def end_scale(mem: ti.template(), b, c, first, substep):
            """The scale again."""
            return ti.Vector([read_scale(mem, b)])

        @ti.func
        def end(mem: ti.template(), b, i, row_in, row_out, o, given):
            """x, in its own size, to where it belongs."""
            value = mem.scratch[o[SOLUTION] + i] * given[0]
            mem.scratch[o[SOLUTION] + i] = value
            take(mem, b, i, row_in, row_out, value)

        return [
            *sweep(_nothing, load, size, (RIGHT,)),
            *(sweep(_nothing, apply, guess_size, (GUESSED,)) if has_guess else ()),
            *sweep(choose_start, begin, begin_terms, (TARGET, RESIDUAL)),
            *self._preconditioning,
            *sweep(_nothing, set_direction, _product, (PRODUCT,)),
            self.loop,
            self._sums.each(end_scale, end),
        ]

    def _make_loop(self, report: Any, part: int) -> Loop:
        """x += alpha p, r -= alpha A p, z = M r, p = z + beta p; alpha = r.z / p.Ap, beta = r.z / the one before."""
        fp, own, row, prepared = self._fp, self._own, self._row, self._prepared
        total, slot, by_passes = self._sums.total, self._sums.slot, self._is_by_passes
        large = 1e300 if fp is ti.f64 else 1e37
        tolerance, has_own_tolerance = self._tolerance, self._tolerance is not None
        on_indefinite, is_tolerated = self._on_indefinite, self._on_indefinite is not None

        @ti.func
        def keep_product(mem: ti.template(), b, c, first, substep):
            """Keeps r.z as that of the round before: nobody reads it in this pass, nor writes it in the others."""
            if first == 0:
                mem.scratch[slot(mem, b, BEFORE)] = total(mem, b, PRODUCT)
            return ti.Vector([fp(0.0)])

        @ti.func
        def apply(mem: ti.template(), b, i, row_in, row_out, o, given):
            """A p."""
            row(mem, b, i, o[DIRECTION], o[IMAGE], row_in, row_out)

        @ti.func
        def curvature(mem: ti.template(), i, o):
            """p_i (A p)_i"""
            return ti.Vector([mem.scratch[o[DIRECTION] + i] * mem.scratch[o[IMAGE] + i]])

        @ti.func
        def length(mem: ti.template(), b):
            """alpha, and what is wrong with it."""
            cause = 0
            product, below = mem.scratch[slot(mem, b, BEFORE)], total(mem, b, CURVATURE)
            if not (ti.abs(product) < fp(large) and ti.abs(below) < fp(large)):  # a NaN fails every comparison
                cause = NOT_FINITE
            elif not (product > fp(0.0) and below > fp(0.0)):
                cause = NOT_DEFINITE
            alpha = fp(0.0)
            if cause == 0:
                alpha = product / below
            return alpha, cause

        @ti.func
        def first_step(mem: ti.template(), b, c, first, substep):
            """alpha, and whether the round is sound (1 or 0); a failure is reported once."""
            alpha, cause = length(mem, b)
            keeps = fp(1.0)
            if cause != 0:
                keeps = fp(0.0)  # without a residual the loop ends
                if first == 0:
                    if ti.static(is_tolerated):
                        if cause == NOT_DEFINITE:
                            on_indefinite(mem, b)
                        else:
                            report(mem, b, c, substep, 0, cause, -1)
                    else:
                        report(mem, b, c, substep, 0, cause, -1)
            return ti.Vector([alpha, keeps])

        @ti.func
        def reduce(mem: ti.template(), b, i, row_in, row_out, o, given):
            """r -= alpha A p; z = M r."""
            value = fp(0.0)
            if given[1] > fp(0.0):
                value = mem.scratch[o[REMAINDER] + i] - given[0] * mem.scratch[o[IMAGE] + i]
            mem.scratch[o[REMAINDER] + i] = value
            if ti.static(not by_passes):
                mem.scratch[o[IMAGE] + i] = prepared(mem, b, i, value, row_in, row_out)

        @ti.func
        def remainder(mem: ti.template(), i, o):
            """r_i^2, and r_i z_i where z is there."""
            value = mem.scratch[o[REMAINDER] + i]
            if ti.static(by_passes):
                return ti.Vector([value * value])
            else:
                return ti.Vector([value * value, value * mem.scratch[o[IMAGE] + i]])

        @ti.func
        def second_step(mem: ti.template(), b, c, first, substep):
            """alpha and beta."""
            alpha, cause = length(mem, b)
            beta = fp(0.0)
            if cause == 0:
                beta = total(mem, b, PRODUCT) / mem.scratch[slot(mem, b, BEFORE)]
            return ti.Vector([alpha, beta])

        @ti.func
        def advance(mem: ti.template(), b, i, row_in, row_out, o, given):
            """x += alpha p; p = z + beta p."""
            p = mem.scratch[o[DIRECTION] + i]
            mem.scratch[o[SOLUTION] + i] = mem.scratch[o[SOLUTION] + i] + given[0] * p
            mem.scratch[o[DIRECTION] + i] = mem.scratch[o[IMAGE] + i] + given[1] * p

        @ti.func
        def is_done(mem: ti.template(), b):
            """Whether |r| <= tolerance |b|; also where the right-hand side is not finite."""
            t, left = mem.constants[own.tolerance], total(mem, b, RESIDUAL)
            if ti.static(has_own_tolerance):
                t = fp(tolerance)
            return left == fp(0.0) or left <= t * t * total(mem, b, TARGET)  # the right-hand side may not be finite

        sweep = self._sums.sweep
        passes = sweep(keep_product, apply, curvature, (CURVATURE,))
        if by_passes:
            passes += sweep(first_step, reduce, remainder, (RESIDUAL,))
            passes += self._preconditioning
            passes += sweep(_nothing, None, _product, (PRODUCT,))
        else:
            passes += sweep(first_step, reduce, remainder, (RESIDUAL, PRODUCT))
        # The loop has a barrier of its own between rounds.
        passes.append(self._sums.each(second_step, advance)._replace(waits=False))
        return Loop(passes, is_done, own.most, part)


@ti.func
def _nothing(mem: ti.template(), b, c, first, substep):
    """Where a pass needs to know nothing beforehand."""
    return ti.Vector([0.0])


@ti.func
def _product(mem: ti.template(), i, o):
    """r_i z_i"""
    return ti.Vector([mem.scratch[o[REMAINDER] + i] * mem.scratch[o[IMAGE] + i]])


def _row_function(row: Any, width: int) -> Any:
    """Writes entry i of a product, or with the first of ``width`` all of them: each block of a sum begins with such."""
    if BLOCK % width:
        raise ValueError(f"width={width} must divide {BLOCK}")

    @ti.func
    def one(mem: ti.template(), b, i, v, image, row_in, row_out):
        """(A v)_i"""
        mem.scratch[image + i] = row(mem, b, i, v, row_in, row_out)

    @ti.func
    def several(mem: ti.template(), b, i, v, image, row_in, row_out):
        """(A v)_i and the following."""
        if i % width == 0:
            values = row(mem, b, i, v, row_in, row_out)
            for k in ti.static(range(width)):
                mem.scratch[image + i + k] = values[k]

    return one if width == 1 else several


def _point_function(precondition: Any) -> Any:
    """The preconditioner, or identity."""

    @ti.func
    def same(mem: ti.template(), b, i, value, row_in, row_out):
        """z = r."""
        return value

    return same if precondition is None else precondition
