"""Vectors and matrices of three dimensions, turned by a rotation matrix; written out as ``products`` are."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import ti


@cache
def turning_functions(fp: Any) -> SimpleNamespace:
    """Taichi functions of one floating-point type.

    ``forth(R, v)``: R v.  ``back(R, v)``: R^T v.  ``around(R, A)``: R^T A R.  ``load33(a, o)``, ``store33(a, o, A)``:
    matrices in flat arrays, by row.
    """
    vec = ti.types.vector(3, fp)
    mat = ti.types.matrix(3, 3, fp)

    @ti.func
    def forth(R, v):
        """R v"""
        return vec(
            R[0, 0] * v[0] + R[0, 1] * v[1] + R[0, 2] * v[2],
            R[1, 0] * v[0] + R[1, 1] * v[1] + R[1, 2] * v[2],
            R[2, 0] * v[0] + R[2, 1] * v[1] + R[2, 2] * v[2],
        )

    @ti.func
    def back(R, v):
        """R^T v"""
        return vec(
            R[0, 0] * v[0] + R[1, 0] * v[1] + R[2, 0] * v[2],
            R[0, 1] * v[0] + R[1, 1] * v[1] + R[2, 1] * v[2],
            R[0, 2] * v[0] + R[1, 2] * v[1] + R[2, 2] * v[2],
        )

    @ti.func
    def around(R, A):
        """R^T A R"""
        found = mat(0)
        for j in ti.static(range(3)):
            column = vec(R[0, j], R[1, j], R[2, j])
            turned = back(R, forth(A, column))
            for i in ti.static(range(3)):
                found[i, j] = turned[i]
        return found

    @ti.func
    def load33(a: ti.template(), o):
        """Matrix of the nine entries from o on."""
        return mat(a[o], a[o + 1], a[o + 2], a[o + 3], a[o + 4], a[o + 5], a[o + 6], a[o + 7], a[o + 8])

    @ti.func
    def store33(a: ti.template(), o, A):
        """Writes a matrix to the nine entries from o on."""
        for i in ti.static(range(3)):
            for j in ti.static(range(3)):
                a[o + 3 * i + j] = A[i, j]

    return SimpleNamespace(forth=forth, back=back, around=around, load33=load33, store33=store33)
