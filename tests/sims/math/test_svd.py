"""Singular values and rotations of random, repeated, deficient, vanishing and inverted matrices."""

import functools

import numpy as np
import pytest

from pliant.sims.math.svd import svd_functions
from pliant.sims.runtime import float_type, numpy_type, ti


@functools.cache
def decompose_kernel(dim, precision):
    fp = float_type(precision)
    array = ti.types.ndarray(fp, 3)
    vectors = ti.types.ndarray(fp, 2)
    svd = svd_functions(dim, fp).svd

    @ti.kernel
    def decompose(F: array, U: array, sigma: vectors, V: array):
        for p in range(F.shape[0]):
            F_p = ti.Matrix.zero(fp, dim, dim)
            for i, j in ti.static(ti.ndrange(dim, dim)):
                F_p[i, j] = F[p, i, j]
            U_p, sigma_p, V_p = svd(F_p)
            for i in ti.static(range(dim)):
                sigma[p, i] = sigma_p[i]
                for j in ti.static(range(dim)):
                    U[p, i, j] = U_p[i, j]
                    V[p, i, j] = V_p[i, j]

    return decompose


def decompose(F, precision):
    F = np.ascontiguousarray(F, numpy_type(precision))
    U, sigma, V = np.empty_like(F), np.empty(F.shape[:2], F.dtype), np.empty_like(F)
    decompose_kernel(F.shape[-1], precision)(F, U, sigma, V)
    return F, U, sigma, V


def random_rotations(rng, n, dim):
    Q = np.linalg.qr(rng.standard_normal((n, dim, dim)))[0]
    Q[:, :, 0] *= np.sign(np.linalg.det(Q))[:, None]
    return Q


def matrices(case, dim):
    rng = np.random.default_rng(3)
    n = 500
    normal = rng.standard_normal((n, dim, dim))
    U, V = random_rotations(rng, n, dim), random_rotations(rng, n, dim)

    def compose(*sigma):
        return U * np.array(sigma[:dim]) @ V.swapaxes(1, 2)

    return {
        "random": normal,
        "identity": np.broadcast_to(np.eye(dim), (1, dim, dim)),
        "near identity": np.eye(dim) + 1e-3 * normal,
        "rounding error from identity": np.eye(dim) + 1e-7 * normal,
        "rotation": U,
        "repeated": compose(2.0, 2.0, 0.5),
        "nearly repeated": compose(1.5, 1.5 - 1e-6, 1.5 - 2e-6),
        "inverted": compose(1.5, -0.7, 0.3) @ np.diag([-1.0] + [1.0] * (dim - 1)),
        "inverted and repeated": compose(1.0, -1.0, 1.0),
        "singular": compose(2.0, 0.0, 0.0) if dim == 2 else compose(2.0, 1.0, 0.0),
        "rank one": rng.standard_normal((n, dim, 1)) * rng.standard_normal((n, 1, dim)),
        "rank one along the axes": np.eye(dim)[:, :, None] * np.eye(dim)[:, None, :] * 3.0,
        "flattened": compose(1.0, 1e-5, 1e-5),
        "zero": np.zeros((1, dim, dim)),
        "small": 1e-6 * normal,
        "large": 1e6 * normal,
    }[case]


CASES = [
    "random", "identity", "near identity", "rounding error from identity", "rotation", "repeated", "nearly repeated",
    "inverted", "inverted and repeated", "singular", "rank one", "rank one along the axes", "flattened", "zero",
    "small", "large",
]  # fmt: skip


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_svd_composes_the_matrix_from_rotations_and_sorted_values(case, dim, precision):
    F, U, sigma, V = decompose(matrices(case, dim), precision)
    epsilon = np.finfo(F.dtype).eps
    F, U, sigma, V = (a.astype(np.float64) for a in (F, U, sigma, V))
    size = np.linalg.norm(F, axis=(1, 2))[:, None, None]
    assert np.all(np.abs((U * sigma[:, None]) @ V.swapaxes(1, 2) - F) <= 12 * epsilon * size)
    for Q in (U, V):
        assert np.abs(Q @ Q.swapaxes(1, 2) - np.eye(dim)).max() < 20 * epsilon
        assert np.all(np.linalg.det(Q) > 0.99)
    assert np.all(np.diff(np.abs(sigma), axis=1) <= 0)
    assert np.all(sigma[:, :-1] >= 0)
    exact = np.linalg.svd(F, compute_uv=False)
    assert np.all(np.abs(np.abs(sigma) - exact) <= 12 * epsilon * size[..., 0])
    clear = exact[:, -1] > 100 * epsilon * exact[:, 0]
    assert np.all(np.sign(sigma[clear, -1]) == np.sign(np.linalg.det(F[clear])))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_svd_of_what_is_not_finite_ends_and_shows_it(dim, precision):
    F = np.tile(np.eye(dim), (2 * dim * dim, 1, 1))
    for k, (i, j) in enumerate(np.ndindex(dim, dim)):
        F[2 * k, i, j], F[2 * k + 1, i, j] = np.nan, np.inf
    _F, _U, sigma, _V = decompose(F, precision)
    assert not np.isfinite(sigma).all(axis=1).any()


@pytest.mark.parametrize("dim", [1, 4])
def test_svd_of_another_dimension_is_refused(dim):
    with pytest.raises(ValueError, match=f"dim={dim}"):
        svd_functions(dim, ti.f32)
