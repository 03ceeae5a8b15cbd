"""The linear system of an implicit step: symmetric 4 x 4 blocks on a tree, factored leaves first without fill.

A node's four unknowns are the move of its vertex and the turn of its edge. It is coupled to its parent and its
grandparent only, so that eliminating it adds to blocks that are there already: the cost is linear in the nodes.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti


@cache
def unknown_functions(setup: Setup) -> SimpleNamespace:
    """Where the unknowns of a node are in the system, and which of them are held. ``work`` is where a world's working
    memory starts."""
    at, fp = setup.at, setup.fp

    @ti.func
    def entry(work, i, k):
        """Index of entry k of node i's record."""
        return work + i * places.WORK_RECORD + k

    @ti.func
    def is_free(mem: ti.template(), i):
        """Whether nothing holds the vertex of node i."""
        return mem.integers[mem.integers[at.grips] + i] == places.FREE

    @ti.func
    def turns_freely(mem: ti.template(), i):
        """Whether the frame of node i's edge is not held: both ends in one grip hold it (all driven nodes count as
        one), and the root has no edge."""
        h = ti.static(mem.integers)
        result = i > 0
        if i > 0:
            own = h[h[at.grips] + i]
            other = h[h[at.grips] + h[h[at.parents] + i]]
            if own != places.FREE and (own == other or (own <= places.DRIVEN and other <= places.DRIVEN)):
                result = False
        return result

    @ti.func
    def place(o, r, c):
        """Where row r of a node's record at o couples to unknown c of the node (0-3), its parent and grandparent."""
        return o + 16 * (c // 4) + 4 * r + c % 4

    @ti.func
    def is_held(mem: ti.template(), i, d):
        """Whether unknown d (0-2: move, 3: turn) of node i is none; a node that does not exist has none."""
        result = True
        if i >= 0:
            result = not turns_freely(mem, i)
            if d < 3:
                result = not is_free(mem, i)
        return result

    @ti.func
    def leave_out_held(mem: ti.template(), work, region):
        """Sets rows, columns and right-hand sides of held unknowns to zero."""
        h = ti.static(mem.integers)
        for i in range(h[at.count]):
            o = entry(work, i, region)
            node = i
            for level in range(3):
                for d in range(4):
                    if is_held(mem, node, d):
                        for r in range(4):
                            mem.scratch[place(o, r, 4 * level + d)] = fp(0.0)
                        if level == 0:
                            for c in range(12):
                                mem.scratch[place(o, d, c)] = fp(0.0)
                            mem.scratch[o + places.RIGHT + d] = fp(0.0)
                if node >= 0:
                    node = h[h[at.parents] + node]

    return SimpleNamespace(
        entry=entry, is_free=is_free, turns_freely=turns_freely, place=place, leave_out_held=leave_out_held
    )


def least_pivot(fp: Any) -> float:
    """Share of its diagonal entry below which a pivot belongs to a motion without stiffness or inertia (a straight free
    rod that spins about itself). That unknown is left alone."""
    return 1e-11 if fp is ti.f64 else 1e-6


@cache
def repeated_solver(setup: Setup) -> Any:
    """``solve_again``, see ``tree_functions``."""
    at, fp = setup.at, setup.fp
    access = access_functions(fp)
    singular = least_pivot(fp)
    unknowns = unknown_functions(setup)
    entry, place = unknowns.entry, unknowns.place

    @ti.func
    def solve_again(mem: ti.template(), work, region, sides):
        """Solves for three more right-hand sides with the factors that ``solve`` left."""
        h = ti.static(mem.integers)
        a = ti.static(mem.scratch)
        n = h[at.count]
        for k in range(n):
            i = n - 1 - k
            o = entry(work, i, region)
            p = h[h[at.parents] + i]
            g = -1
            if p >= 0:
                g = h[h[at.parents] + p]
            for r in range(4):
                pivot = a[place(o, r, r)]
                inverse = fp(0.0)
                if ti.abs(pivot) > fp(singular) * a[o + places.SIZES + r]:
                    inverse = 1 / pivot
                own = access.load3(a, sides + 12 * i + 3 * r)
                if inverse != 0 and own.dot(own) != 0:  # a unit force leaves what lies beyond its vertex at rest so far
                    for c in range(r + 1, 4):
                        access.add3(a, sides + 12 * i + 3 * c, -a[place(o, r, c)] * own)
                    if p >= 0:
                        for c in range(4):
                            access.add3(a, sides + 12 * p + 3 * c, -a[place(o, r, 4 + c)] * own)
                    if g >= 0:
                        for c in range(4):
                            access.add3(a, sides + 12 * g + 3 * c, -a[place(o, r, 8 + c)] * own)
                access.store3(a, sides + 12 * i + 3 * r, own * inverse)
        for i in range(n):
            o = entry(work, i, region)
            p = h[h[at.parents] + i]
            g = -1
            if p >= 0:
                g = h[h[at.parents] + p]
            for s in range(4):
                r = 3 - s
                total = access.load3(a, sides + 12 * i + 3 * r)
                for c in range(r + 1, 4):
                    total -= a[place(o, r, c)] * access.load3(a, sides + 12 * i + 3 * c)
                if p >= 0:
                    for c in range(4):
                        total -= a[place(o, r, 4 + c)] * access.load3(a, sides + 12 * p + 3 * c)
                if g >= 0:
                    for c in range(4):
                        total -= a[place(o, r, 8 + c)] * access.load3(a, sides + 12 * g + 3 * c)
                access.store3(a, sides + 12 * i + 3 * r, total)

    return solve_again


@cache
def tree_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one floating-point type. ``work`` is where a world's working memory starts.

    ``entry(work, i, k)``: place of entry k of node i.  ``is_free(mem, i)``, ``turns_freely(mem, i)``: whether the
    vertex of node i, and its edge about itself, are unknowns.
    ``solve(mem, work, region)``: factor the system in the given region of the records, in place, and replace its
    right-hand side by the solution; rows and columns of what is held are left out and their solution is zero. Returns
    whether all pivots were positive (1 or 0).
    ``solve_again(mem, work, region, sides)``: once the region is factored, replaces three more right-hand sides by
    their solutions: entry d of node i of the three lies at sides + 12 i + 3 d.
    """
    at, fp = setup.at, setup.fp
    singular = least_pivot(fp)
    unknowns = unknown_functions(setup)
    entry, place, leave_out_held = unknowns.entry, unknowns.place, unknowns.leave_out_held

    @ti.func
    def eliminate(mem: ti.template(), o, op, og, blocks):
        """Eliminates the node at o: its rows become (1, U | U_p | U_g), its right-hand side y, and the blocks of its
        parent at op and its grandparent at og (as many as ``blocks`` counts) what is left. Returns 0 after a negative
        pivot, else 1."""
        a = ti.static(mem.scratch)
        is_definite = 1
        for r in range(4):
            pivot = a[place(o, r, r)]
            size = a[o + places.SIZES + r]
            inverse = fp(0.0)
            if ti.abs(pivot) > fp(singular) * size:
                inverse = 1 / pivot
                if pivot < 0:
                    is_definite = 0
            right = a[o + places.RIGHT + r] * inverse
            for q in range(r + 1, 4):
                factor = a[place(o, r, q)]
                for c in range(q, 4 * blocks):
                    k = place(o, q, c)
                    a[k] = a[k] - factor * inverse * a[place(o, r, c)]
                a[o + places.RIGHT + q] = a[o + places.RIGHT + q] - factor * right
            for q in range(4, 4 * blocks):
                factor = a[place(o, r, q)] * inverse
                target = op
                first = 4
                if q >= 8:
                    target = og
                    first = 8
                for c in range(first, 4 * blocks):
                    k = place(target, q - first, c - first)
                    a[k] = a[k] - factor * a[place(o, r, c)]
                a[target + places.RIGHT + q - first] = a[target + places.RIGHT + q - first] - a[place(o, r, q)] * right
            for c in range(r + 1, 4 * blocks):
                a[place(o, r, c)] = a[place(o, r, c)] * inverse
            a[o + places.RIGHT + r] = right
        return is_definite

    @ti.func
    def solve(mem: ti.template(), work, region):
        """Block elimination from the leaves to the root, substitution back. Returns 1 if all pivots were positive, else
        0."""
        h = ti.static(mem.integers)
        a = ti.static(mem.scratch)
        n = h[at.count]
        leave_out_held(mem, work, region)
        for i in range(n):
            o = entry(work, i, region)
            for r in range(4):
                a[o + places.SIZES + r] = ti.abs(a[place(o, r, r)])
        is_definite = 1
        for k in range(n):
            i = n - 1 - k
            p = h[h[at.parents] + i]
            g = -1
            blocks = 1
            if p >= 0:
                blocks = 2
                g = h[h[at.parents] + p]
                if g >= 0:
                    blocks = 3
            o = entry(work, i, region)
            op = entry(work, ti.max(p, 0), region)
            og = entry(work, ti.max(g, 0), region)
            if eliminate(mem, o, op, og, blocks) == 0:
                is_definite = 0
        for i in range(n):
            o = entry(work, i, region)
            p = h[h[at.parents] + i]
            g = -1
            if p >= 0:
                g = h[h[at.parents] + p]
            for s in range(4):
                r = 3 - s
                total = a[o + places.RIGHT + r]
                for c in range(r + 1, 4):
                    total -= a[place(o, r, c)] * a[o + places.RIGHT + c]
                if p >= 0:
                    op = entry(work, p, region + places.RIGHT)
                    for c in range(4):
                        total -= a[place(o, r, 4 + c)] * a[op + c]
                if g >= 0:
                    og = entry(work, g, region + places.RIGHT)
                    for c in range(4):
                        total -= a[place(o, r, 8 + c)] * a[og + c]
                a[o + places.RIGHT + r] = total
        return is_definite

    return SimpleNamespace(
        entry=entry,
        is_free=unknowns.is_free,
        turns_freely=unknowns.turns_freely,
        solve=solve,
        solve_again=repeated_solver(setup),
    )


@cache
def dense_solver(fp: Any) -> Any:
    """``solve(mem, matrix, size)``: solves a dense system in the scratch memory, in place. Rows of size + 1 entries
    begin at ``matrix``, the right-hand side last, which becomes the solution; pivots are sought in the column, and an
    unknown without one is left alone."""

    @ti.func
    def solve(mem: ti.template(), matrix, size):
        """Gaussian elimination with partial pivoting."""
        a = ti.static(mem.scratch)
        row = size + 1
        for p in range(size):
            best = p
            for r in range(p + 1, size):
                if ti.abs(a[matrix + r * row + p]) > ti.abs(a[matrix + best * row + p]):
                    best = r
            if best != p:
                for c in range(p, row):
                    kept = a[matrix + p * row + c]
                    a[matrix + p * row + c] = a[matrix + best * row + c]
                    a[matrix + best * row + c] = kept
            pivot = a[matrix + p * row + p]
            inverse = fp(0.0)
            if pivot != 0:
                inverse = 1 / pivot
            for r in range(p + 1, size):
                factor = a[matrix + r * row + p] * inverse
                if factor != 0:
                    for c in range(p + 1, row):
                        a[matrix + r * row + c] = a[matrix + r * row + c] - factor * a[matrix + p * row + c]
        for k in range(size):
            p = size - 1 - k
            total = a[matrix + p * row + size]
            for c in range(p + 1, size):
                total -= a[matrix + p * row + c] * a[matrix + c * row + size]
            pivot = a[matrix + p * row + p]
            if pivot != 0:
                total /= pivot
            a[matrix + p * row + size] = total

    return solve
