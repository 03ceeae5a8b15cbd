"""Products of small matrices that compile fast.

Taichi writes out every term of ``A @ B``, which costs about 0.1 s of compile time for each 3x3 product. Written as
loops the same products compile twice as fast and run at the same speed: the machine-code compiler unrolls them.
"""

import functools
from types import SimpleNamespace

from pliant.sims.runtime import ti


@functools.cache
def product_functions(dim: int, fp) -> SimpleNamespace:
    """Taichi functions of matrices (dim, dim) of one floating-point type; call them inside a loop of the kernel.

    ``multiply(A, B) -> A B``, ``multiply_transposed(A, B) -> A B^T``, ``transposed_multiply(A, B) -> A^T B``.
    """
    matrix = ti.types.matrix(dim, dim, fp)

    @ti.func
    def multiply(A, B):
        C = matrix(0)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                s = A[i, 0] * B[0, j]
                for k in ti.static(range(1, dim)):
                    s += A[i, k] * B[k, j]
                C[i, j] = s
        return C

    @ti.func
    def multiply_transposed(A, B):
        C = matrix(0)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                s = A[i, 0] * B[j, 0]
                for k in ti.static(range(1, dim)):
                    s += A[i, k] * B[j, k]
                C[i, j] = s
        return C

    @ti.func
    def transposed_multiply(A, B):
        C = matrix(0)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                s = A[0, i] * B[0, j]
                for k in ti.static(range(1, dim)):
                    s += A[k, i] * B[k, j]
                C[i, j] = s
        return C

    return SimpleNamespace(
        multiply=multiply, multiply_transposed=multiply_transposed, transposed_multiply=transposed_multiply
    )
