"""Adjoints of isotropic matrix functions, from the singular value decomposition alone.

With F = U diag(sigma) V^T two kinds of maps occur: G(F) = U diag(g(sigma)) V^T (first Piola stresses, return maps) and
tau(F) = U diag(t(sigma)) U^T (Kirchhoff stresses). A material is g or t with its Jacobian D; what is common to all is
here. No derivative of U or V is formed, so nothing blows up where singular values repeat, F = I included.
"""

import functools
from types import SimpleNamespace

from pliant.sims.math.products import product_functions
from pliant.sims.runtime import ti


@functools.cache
def isotropic_functions(dim: int, fp) -> SimpleNamespace:
    """Taichi functions of one dimension (2 or 3) and floating-point type (ti.f32 or ti.f64).

    In both, U and V (dim, dim) are rotations, sigma (dim,) the signed singular values, ``D[i, j]`` is the derivative of
    the i-th value with respect to sigma_j. Returns a namespace with

    ``map_adjoint(U, sigma, V, g, D, G_bar) -> F_bar`` for G(F) = U diag(g(sigma)) V^T;

    ``kirchhoff_adjoint(U, sigma, V, t, D, tau_bar) -> F_bar`` for tau(F) = U diag(t(sigma)) U^T.
    """
    if dim not in (2, 3):
        raise ValueError(f"dim={dim!r} must be 2 or 3")
    epsilon = 1.1920929e-07 if fp == ti.f32 else 2.220446049250313e-16
    near = epsilon ** (1 / 3)  # where the error of the mean derivative, near^2, meets the cancellation, epsilon / near
    matrix = ti.types.matrix(dim, dim, fp)
    pairs = 1 if dim == 2 else 3
    product = product_functions(dim, fp)

    @ti.func
    def reach(sigma_i):
        """Difference below which another singular value counts as equal to sigma_i."""
        return fp(near) * ti.max(fp(1.0), ti.abs(sigma_i))

    @ti.func
    def quotient(change, twice_slope, gap, sigma_i):
        """change / gap, or the mean derivative where the gap is too small to divide by."""
        is_near = ti.abs(gap) < reach(sigma_i)
        return ti.select(is_near, twice_slope, change) / ti.select(is_near, fp(2.0), gap)

    @ti.func
    def diagonal(D, Y):
        """X_ii = sum_j D_ji Y_jj."""
        X = matrix(0)
        for i in range(dim):
            for j in ti.static(range(dim)):
                X[i, i] += D[j, i] * Y[j, j]
        return X

    @ti.func
    def map_adjoint(U, sigma, V, g, D, G_bar):
        """F_bar of G = U diag(g) V^T, from G_bar; D_ij = dg_i / dsigma_j."""
        # U^T dF V = dSigma + w Sigma - Sigma v with skew w = U^T dU, v = V^T dV, and likewise for dG with g. Off the
        # diagonal its symmetric part is (w + v)_ij (s_j - s_i)/2, its skew part (w - v)_ij (s_i + s_j)/2. dG has the
        # same w and v, so each part is multiplied by a divided difference or a ratio of sums:
        #   X_ii = sum_j D_ji Y_jj                                                           Y = U^T G_bar V
        #   X_ij = (Y_ij + Y_ji)/2 (g_i - g_j)/(s_i - s_j) + (Y_ij - Y_ji)/2 (g_i + g_j)/(s_i + s_j)    F_bar = U X V^T
        Y = product.multiply(product.transposed_multiply(U, G_bar), V)
        X = diagonal(D, Y)
        for i in range(pairs):
            j = (i + 1) % dim
            apart = sigma[i] - sigma[j]
            total = sigma[i] + sigma[j]
            own = D[i, i] + D[j, j]
            other = D[i, j] + D[j, i]
            even = Y[i, j] + Y[j, i]
            odd = Y[i, j] - Y[j, i]
            # a map that is smooth at s_i = -s_j has g_i = -g_j there: the same limit with the other sign
            even *= quotient(g[i] - g[j], own - other, apart, sigma[i])
            odd *= quotient(g[i] + g[j], own + other, total, sigma[i])
            X[i, j] = (even + odd) / 2
            X[j, i] = (even - odd) / 2
        return product.multiply_transposed(product.multiply(U, X), V)

    @ti.func
    def kirchhoff_adjoint(U, sigma, V, t, D, tau_bar):
        """F_bar of tau = U diag(t) U^T, from tau_bar; D_ij = dt_i / dsigma_j."""
        # With P = U^T dF V and w = U^T dU: s_j P_ij + s_i P_ji = w_ij (s_j^2 - s_i^2), and
        # (U^T dtau U)_ij = w_ij (t_j - t_i) = Q_ij (s_j P_ij + s_i P_ji) with Q_ij = (t_j - t_i)/(s_j^2 - s_i^2):
        #   X_ii = sum_j D_ji Y_jj,   X_ij = Q_ij (Y_ij + Y_ji) s_j           Y = U^T tau_bar U,   F_bar = U X V^T
        Y = product.multiply(product.transposed_multiply(U, tau_bar), U)
        X = diagonal(D, Y)
        for i in range(pairs):
            j = (i + 1) % dim
            apart = sigma[i] - sigma[j]
            total = sigma[i] + sigma[j]
            small = reach(sigma[i])
            numerator = t[i] - t[j]
            if ti.abs(apart) < small:
                numerator = (D[i, i] - D[i, j] + D[j, j] - D[j, i]) / 2
                apart = fp(1.0)
                if ti.abs(total) < small:  # both values vanish: Q is multiplied by sigma, any finite Q will do
                    total = small
            elif ti.abs(total) < small:  # t_i = t_j at s_i = -s_j
                numerator = (D[i, i] + D[i, j] - D[j, j] - D[j, i]) / 2
                total = fp(1.0)
            both = numerator / (apart * total) * (Y[i, j] + Y[j, i])
            X[i, j] = both * sigma[j]
            X[j, i] = both * sigma[i]
        return product.multiply_transposed(product.multiply(U, X), V)

    return SimpleNamespace(map_adjoint=map_adjoint, kirchhoff_adjoint=kirchhoff_adjoint)
