"""Vectors in flat arrays of scalars: read, written and added to from an offset on."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import ti


@cache
def access_functions(fp: Any, atomic: bool = False) -> SimpleNamespace:
    """Taichi functions of one floating-point type (ti.f32 or ti.f64), for arrays that are template arguments.

    ``load3(a, o)``, ``load4(a, o)``: vectors of the entries from o on.  ``store3(a, o, v)``.
    ``add(a, o, value)``, ``add3(a, o, v)``: add to an entry, or three; with ``atomic`` where threads share them (on a
    GPU), else without the cost of an atomic.
    """
    vec3 = ti.types.vector(3, fp)
    vec4 = ti.types.vector(4, fp)

    @ti.func
    def load3(a: ti.template(), o):
        """Vector of a[o], a[o + 1], a[o + 2]."""
        return vec3(a[o], a[o + 1], a[o + 2])

    @ti.func
    def load4(a: ti.template(), o):
        """Vector of a[o] to a[o + 3]."""
        return vec4(a[o], a[o + 1], a[o + 2], a[o + 3])

    @ti.func
    def store3(a: ti.template(), o, v):
        """Writes a 3-vector to the entries from o on."""
        for d in ti.static(range(3)):
            a[o + d] = v[d]

    @ti.func
    def add(a: ti.template(), o, value):
        """a[o] += value; an atomic addition if ``atomic``."""
        if ti.static(atomic):
            a[o] += value
        else:
            a[o] = a[o] + value

    @ti.func
    def add3(a: ti.template(), o, v):
        """Adds a 3-vector to the entries from o on."""
        for d in ti.static(range(3)):
            add(a, o + d, v[d])

    return SimpleNamespace(load3=load3, load4=load4, store3=store3, add=add, add3=add3)
