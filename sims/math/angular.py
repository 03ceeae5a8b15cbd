"""Angular velocities and moments in two and three dimensions: a number or a 3-vector."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import ti


@cache
def angular_functions(dim: int, fp: Any) -> SimpleNamespace:
    """Taichi functions of one dimension and floating-point type. Vectors r are (dim,), matrices (dim, dim), angular
    vectors w (3,), in 2-D (1,).

    ``cross(a, b) -> a x b`` and ``turn(w, r) -> w x r``;  ``axial(C)`` and ``skew(w)``, the angular vector of a matrix
    and the matrix of an angular vector;  ``to_world(R, w)`` and ``to_body(R, w)``;  ``solve(trace, S, w)``, as with an
    inertia tensor.
    """
    turns = 1 if dim == 2 else 3
    vec = ti.types.vector(dim, fp)
    mat = ti.types.matrix(dim, dim, fp)
    spin = ti.types.vector(turns, fp)

    @ti.func
    def cross(a, b):
        """a x b"""
        w = spin(0.0)
        for i in ti.static(range(turns)):
            j, k = ti.static((i + 1) % 3 if dim == 3 else 0, (i + 2) % 3 if dim == 3 else 1)
            w[i] = a[j] * b[k] - a[k] * b[j]
        return w

    @ti.func
    def turn(w, r):
        """w x r"""
        v = vec(0.0)
        if ti.static(dim == 3):
            v = w.cross(r)
        else:
            v = vec(-w[0] * r[1], w[0] * r[0])
        return v

    @ti.func
    def axial(C):
        """sum over k of e_k x (column k of C)"""
        w = spin(0.0)
        for i in ti.static(range(turns)):
            j, k = ti.static((i + 1) % 3 if dim == 3 else 0, (i + 2) % 3 if dim == 3 else 1)
            w[i] = C[k, j] - C[j, k]
        return w

    @ti.func
    def skew(w):
        """[w]x"""
        C = mat(0.0)
        for i in ti.static(range(turns)):
            j, k = ti.static((i + 1) % 3 if dim == 3 else 0, (i + 2) % 3 if dim == 3 else 1)
            C[k, j] = w[i]
            C[j, k] = -w[i]
        return C

    @ti.func
    def to_world(R, w):
        """R w; in 2-D the number w itself."""
        turned = w
        if ti.static(dim == 3):
            turned = R @ w
        return turned

    @ti.func
    def to_body(R, w):
        """R^T w; in 2-D the number w itself."""
        turned = w
        if ti.static(dim == 3):
            turned = R.transpose() @ w
        return turned

    @ti.func
    def solve(trace, S, w):
        """(trace 1 - S)^-1 w with symmetric S; in 2-D w / trace"""
        turned = w
        if ti.static(dim == 3):
            J = -S
            for i in ti.static(range(dim)):
                J[i, i] += trace
            turned = J.inverse() @ w
        else:
            turned = w / trace
        return turned

    return SimpleNamespace(
        cross=cross, turn=turn, axial=axial, skew=skew, to_world=to_world, to_body=to_body, solve=solve
    )
