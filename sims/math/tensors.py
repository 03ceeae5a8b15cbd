"""Matrices of three dimensions: cofactors and their derivative, inner products; written out as ``products`` are."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import ti


@cache
def tensor_functions(fp: Any) -> SimpleNamespace:
    """Taichi functions of one floating-point type.

    ``cofactor(F)``: cof F = det(F) F^-T.  ``cofactor_slope(F, L)``: its derivative along L.  ``determinant(F, C)``:
    det F, of F and its cofactors.  ``inner(A, B)``: A : B.  ``symmetric(A)``: (A + A^T) / 2.
    """
    mat = ti.types.matrix(3, 3, fp)

    @ti.func
    def rows(a, b, c):
        """The matrix of three rows."""
        return mat([[a[0], a[1], a[2]], [b[0], b[1], b[2]], [c[0], c[1], c[2]]])

    @ti.func
    def row(F, i: ti.template()):
        """A row."""
        return ti.Vector([F[i, 0], F[i, 1], F[i, 2]])

    @ti.func
    def cofactor(F):
        """cof F = det(F) F^-T: its rows are the cross products of those of F."""
        return rows(row(F, 1).cross(row(F, 2)), row(F, 2).cross(row(F, 0)), row(F, 0).cross(row(F, 1)))

    @ti.func
    def cofactor_slope(F, L):
        """The derivative of cof F along L."""
        return rows(
            row(F, 1).cross(row(L, 2)) + row(L, 1).cross(row(F, 2)),
            row(F, 2).cross(row(L, 0)) + row(L, 2).cross(row(F, 0)),
            row(F, 0).cross(row(L, 1)) + row(L, 0).cross(row(F, 1)),
        )

    @ti.func
    def determinant(F, C):
        """det F, of F and its cofactors."""
        return row(F, 0).dot(row(C, 0))

    @ti.func
    def inner(A, B):
        """A : B"""
        return row(A, 0).dot(row(B, 0)) + row(A, 1).dot(row(B, 1)) + row(A, 2).dot(row(B, 2))

    @ti.func
    def symmetric(A):
        """(A + A^T) / 2"""
        return (A + A.transpose()) / 2

    return SimpleNamespace(
        cofactor=cofactor,
        cofactor_slope=cofactor_slope,
        determinant=determinant,
        inner=inner,
        symmetric=symmetric,
    )
