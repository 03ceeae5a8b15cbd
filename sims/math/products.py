"""Products of small matrices that compile fast.

Taichi's ``A @ B`` costs about 0.1 s of compile time for each 3x3 product of a kernel. The same sums written out run at
the same speed and compile in half the time, and faster still where no variable stands between terms and matrix.
"""

import functools
from types import SimpleNamespace

from pliant.sims.runtime import ti


@functools.cache
def product_functions(dim: int, fp) -> SimpleNamespace:
    """Taichi functions of matrices (dim, dim) of one floating-point type; call them inside a loop of the kernel.

    ``multiply(A, B) -> A B``, ``multiply_transposed(A, B) -> A B^T``, ``transposed_multiply(A, B) -> A^T B``.
    """

    @ti.func
    def multiply(A, B):
        """A B"""
        return ti.Matrix(
            [
                [
                    A[i, 0] * B[0, j] + A[i, 1] * B[1, j] + (A[i, 2] * B[2, j] if ti.static(dim == 3) else fp(0.0))
                    for j in ti.static(range(dim))
                ]
                for i in ti.static(range(dim))
            ]
        )

    @ti.func
    def multiply_transposed(A, B):
        """A B^T"""
        return ti.Matrix(
            [
                [
                    A[i, 0] * B[j, 0] + A[i, 1] * B[j, 1] + (A[i, 2] * B[j, 2] if ti.static(dim == 3) else fp(0.0))
                    for j in ti.static(range(dim))
                ]
                for i in ti.static(range(dim))
            ]
        )

    @ti.func
    def transposed_multiply(A, B):
        """A^T B"""
        return ti.Matrix(
            [
                [
                    A[0, i] * B[0, j] + A[1, i] * B[1, j] + (A[2, i] * B[2, j] if ti.static(dim == 3) else fp(0.0))
                    for j in ti.static(range(dim))
                ]
                for i in ti.static(range(dim))
            ]
        )

    return SimpleNamespace(
        multiply=multiply, multiply_transposed=multiply_transposed, transposed_multiply=transposed_multiply
    )
