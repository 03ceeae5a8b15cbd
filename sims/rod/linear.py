"""The linear system of an implicit step: symmetric 4 x 4 blocks on a tree, factored leaves first without fill.

A node's four unknowns are the move of its vertex and the turn of its edge. It is coupled to its parent and its
grandparent only, so that eliminating it adds to blocks that are there already: the cost is linear in the nodes.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.rod import state as at
from pliant.sims.runtime import ti


@cache
def tree_functions(fp: Any) -> SimpleNamespace:
    """Taichi functions of one floating-point type. ``work`` is where a world's working memory starts.

    ``entry(work, i, k)``: place of entry k of node i.  ``is_free(mem, i)``, ``turns_freely(mem, i)``: whether the
    vertex of node i, and its edge about itself, are unknowns.
    ``solve(mem, work, region)``: factor the system in the given region of the records, in place, and replace its
    right-hand side by the solution; rows and columns of what is held are left out and their solution is zero. Returns
    whether all pivots were positive (1 or 0).
    """
    mat4 = ti.types.matrix(4, 4, fp)
    mat48 = ti.types.matrix(4, 8, fp)
    vec4 = ti.types.vector(4, fp)
    # A pivot smaller than this share of its diagonal entry belongs to a motion without stiffness or inertia (a straight
    # free rod that spins about itself); that unknown is left alone.
    singular = 1e-11 if fp is ti.f64 else 1e-6

    @ti.func
    def entry(work, i, k):
        return work + i * at.WORK_RECORD + k

    @ti.func
    def is_free(mem: ti.template(), i):
        return mem.integers[mem.integers[at.GRIP_AT] + i] == at.FREE

    @ti.func
    def turns_freely(mem: ti.template(), i):
        """Whether the frame of node i's edge is not held: both ends in one grip hold it (all driven nodes count as
        one), and the root has no edge."""
        h = ti.static(mem.integers)
        result = i > 0
        if i > 0:
            own = h[h[at.GRIP_AT] + i]
            other = h[h[at.GRIP_AT] + h[h[at.PARENT_AT] + i]]
            if own != at.FREE and (own == other or (own <= at.DRIVEN and other <= at.DRIVEN)):
                result = False
        return result

    @ti.func
    def flags(mem: ti.template(), i):
        """1 for each unknown of node i, 0 for what is held."""
        x = ti.cast(is_free(mem, i), fp)
        return vec4(x, x, x, ti.cast(turns_freely(mem, i), fp))

    @ti.func
    def solve(mem: ti.template(), work, region):
        h = ti.static(mem.integers)
        a = ti.static(mem.scratch)
        n = h[at.COUNT]
        is_definite = 1
        for k in range(n):
            i = n - 1 - k
            o = entry(work, i, region)
            p = h[h[at.PARENT_AT] + i]
            g = -1
            own = flags(mem, i)
            parent = vec4(0)
            grand = vec4(0)
            if p >= 0:
                parent = flags(mem, p)
                g = h[h[at.PARENT_AT] + p]
                if g >= 0:
                    grand = flags(mem, g)
            D = mat4(0)
            C = mat48(0)
            for r in ti.static(range(4)):
                for c in ti.static(range(4)):
                    D[r, c] = own[r] * own[c] * a[o + at.BLOCK + 4 * r + c]
                    C[r, c] = own[r] * parent[c] * a[o + at.PARENT_BLOCK + 4 * r + c]
                for c in ti.static(range(3)):
                    C[r, 4 + c] = own[r] * grand[c] * a[o + at.GRAND_BLOCK + 4 * r + c]
                C[r, 7] = own[r] * a[o + at.RIGHT + r]
            L = C
            for r in ti.static(range(4)):
                floor = fp(singular) * ti.abs(a[o + at.BLOCK + 5 * r])
                inverse = fp(0.0)
                if ti.abs(D[r, r]) > floor:
                    inverse = 1 / D[r, r]
                    if inverse < 0:
                        is_definite = 0
                for c in ti.static(range(8)):
                    C[r, c] *= inverse
                for q in ti.static(range(r + 1, 4)):
                    factor = D[q, r]
                    for c in ti.static(range(r + 1, 4)):
                        D[q, c] -= factor * inverse * D[r, c]
                    for c in ti.static(range(8)):
                        C[q, c] -= factor * C[r, c]
                for c in ti.static(range(r + 1, 4)):
                    D[r, c] *= inverse
            for s in ti.static(range(1, 4)):
                r = ti.static(3 - s)
                for q in ti.static(range(r + 1, 4)):
                    for c in ti.static(range(8)):
                        C[r, c] -= D[r, q] * C[q, c]
            # C = D^-1 (parent block, grandparent block, right-hand side)
            for r in ti.static(range(4)):
                for c in ti.static(range(4)):
                    a[o + at.PARENT_BLOCK + 4 * r + c] = C[r, c]
                for c in ti.static(range(3)):
                    a[o + at.GRAND_BLOCK + 4 * r + c] = C[r, 4 + c]
                a[o + at.RIGHT + r] = C[r, 7]
            if p >= 0:
                op = entry(work, p, region)
                for r in ti.static(range(4)):
                    for c in ti.static(range(4)):
                        total = a[op + at.BLOCK + 4 * r + c]
                        for q in ti.static(range(4)):
                            total -= L[q, r] * C[q, c]
                        a[op + at.BLOCK + 4 * r + c] = total
                    right = a[op + at.RIGHT + r]
                    for q in ti.static(range(4)):
                        right -= L[q, r] * C[q, 7]
                    a[op + at.RIGHT + r] = right
                if g >= 0:
                    og = entry(work, g, region)
                    for r in ti.static(range(4)):
                        for c in ti.static(range(3)):
                            total = a[op + at.PARENT_BLOCK + 4 * r + c]
                            for q in ti.static(range(4)):
                                total -= L[q, r] * C[q, 4 + c]
                            a[op + at.PARENT_BLOCK + 4 * r + c] = total
                    for r in ti.static(range(3)):
                        for c in ti.static(range(3)):
                            total = a[og + at.BLOCK + 4 * r + c]
                            for q in ti.static(range(4)):
                                total -= L[q, 4 + r] * C[q, 4 + c]
                            a[og + at.BLOCK + 4 * r + c] = total
                        right = a[og + at.RIGHT + r]
                        for q in ti.static(range(4)):
                            right -= L[q, 4 + r] * C[q, 7]
                        a[og + at.RIGHT + r] = right
        for i in range(1, n):
            o = entry(work, i, region)
            p = h[h[at.PARENT_AT] + i]
            g = h[h[at.PARENT_AT] + p]
            op = entry(work, p, region + at.RIGHT)
            for r in ti.static(range(4)):
                total = a[o + at.RIGHT + r]
                for c in ti.static(range(4)):
                    total -= a[o + at.PARENT_BLOCK + 4 * r + c] * a[op + c]
                if g >= 0:
                    og = entry(work, g, region + at.RIGHT)
                    for c in ti.static(range(3)):
                        total -= a[o + at.GRAND_BLOCK + 4 * r + c] * a[og + c]
                a[o + at.RIGHT + r] = total
        return is_definite

    return SimpleNamespace(entry=entry, is_free=is_free, turns_freely=turns_freely, solve=solve)
