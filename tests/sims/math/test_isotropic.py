"""Adjoints of isotropic maps against central differences, with singular values apart, close, repeated and inverted."""

import functools

import numpy as np
import pytest

from pliant.envs.features.check import check_adjoint
from pliant.sims.math.isotropic import isotropic_functions
from pliant.sims.math.svd import svd_functions
from pliant.sims.runtime import ti

fp = ti.f64
MU, LAMBDA = 1.3, 0.8


def fixed_corotated(dim):
    """First Piola values of the fixed corotated energy; smooth wherever no two values are opposite."""

    @ti.func
    def values(s):
        J = s[0]
        for k in ti.static(range(1, dim)):
            J *= s[k]
        g = ti.Vector.zero(fp, dim)
        D = ti.Matrix.zero(fp, dim, dim)
        for i in ti.static(range(dim)):
            cofactor_i = fp(1.0)
            for k in ti.static(range(dim)):
                if ti.static(k != i):
                    cofactor_i *= s[k]
            g[i] = 2 * fp(MU) * (s[i] - 1) + fp(LAMBDA) * (J - 1) * cofactor_i
            D[i, i] = 2 * fp(MU) + fp(LAMBDA) * cofactor_i * cofactor_i
            for j in ti.static(range(dim)):
                if ti.static(i != j):
                    cofactor_j = fp(1.0)
                    rest = fp(1.0)
                    for k in ti.static(range(dim)):
                        if ti.static(k != j):
                            cofactor_j *= s[k]
                        if ti.static(k != i and k != j):
                            rest *= s[k]
                    D[i, j] = fp(LAMBDA) * (cofactor_i * cofactor_j + (J - 1) * rest)
        return g, D

    return values


def odd_cubic(dim):
    """g_i = s_i + s_i |s|^2: G(F) = F (1 + |F|^2), smooth everywhere, opposite values included."""

    @ti.func
    def values(s):
        n = s.dot(s)
        D = ti.Matrix.zero(fp, dim, dim)
        for i in ti.static(range(dim)):
            D[i, i] = 1 + n
            for j in ti.static(range(dim)):
                D[i, j] += 2 * s[i] * s[j]
        return s * (1 + n), D

    return values


def logarithmic(dim):
    """Kirchhoff values of Hencky elasticity: t = 2 mu log s + lambda tr log s."""

    @ti.func
    def values(s):
        t = ti.Vector.zero(fp, dim)
        D = ti.Matrix.zero(fp, dim, dim)
        trace = fp(0.0)
        for i in ti.static(range(dim)):
            trace += ti.log(s[i])
        for i in ti.static(range(dim)):
            t[i] = 2 * fp(MU) * ti.log(s[i]) + fp(LAMBDA) * trace
            for j in ti.static(range(dim)):
                D[i, j] = fp(LAMBDA) / s[j]
            D[i, i] += 2 * fp(MU) / s[i]
        return t, D

    return values


def even_quartic(dim):
    """t_i = s_i^2 (1 + |s|^2): tau(F) = F F^T (1 + |F|^2), smooth everywhere."""

    @ti.func
    def values(s):
        n = s.dot(s)
        t = ti.Vector.zero(fp, dim)
        D = ti.Matrix.zero(fp, dim, dim)
        for i in ti.static(range(dim)):
            t[i] = s[i] * s[i] * (1 + n)
            D[i, i] = 2 * s[i] * (1 + n)
            for j in ti.static(range(dim)):
                D[i, j] += 2 * s[i] * s[i] * s[j]
        return t, D

    return values


LAWS = {
    "fixed_corotated": ("map", fixed_corotated),
    "odd_cubic": ("map", odd_cubic),
    "logarithmic": ("kirchhoff", logarithmic),
    "even_quartic": ("kirchhoff", even_quartic),
}


@functools.cache
def pair(law, dim):
    """The map of a law and its adjoint as functions of arrays (n, dim, dim)."""
    kind, make = LAWS[law]
    values = make(dim)
    svd = svd_functions(dim, fp).svd
    isotropic = isotropic_functions(dim, fp)
    pull_back = isotropic.map_adjoint if kind == "map" else isotropic.kirchhoff_adjoint
    array = ti.types.ndarray(fp, 3)

    @ti.kernel
    def apply(F: array, G: array, G_bar: array, F_bar: array):
        for p in range(F.shape[0]):
            F_p = ti.Matrix.zero(fp, dim, dim)
            G_bar_p = ti.Matrix.zero(fp, dim, dim)
            for i, j in ti.static(ti.ndrange(dim, dim)):
                F_p[i, j] = F[p, i, j]
                G_bar_p[i, j] = G_bar[p, i, j]
            U, s, V = svd(F_p)
            g, D = values(s)
            F_bar_p = pull_back(U, s, V, g, D, G_bar_p)
            right = V
            if ti.static(kind == "kirchhoff"):
                right = U
            for i, j in ti.static(ti.ndrange(dim, dim)):
                F_bar[p, i, j] = F_bar_p[i, j]
                G[p, i, j] = 0
                for k in range(dim):
                    G[p, i, j] += U[i, k] * g[k] * right[j, k]

    def forward(x):
        G = np.empty_like(x["F"])
        apply(x["F"], G, np.zeros_like(G), np.empty_like(G))
        return {"G": G}

    def adjoint(x, c):
        F_bar = np.empty_like(x["F"])
        apply(x["F"], np.empty_like(F_bar), c["G"], F_bar)
        return {"F": F_bar}

    return forward, adjoint


def compose(sigma):
    """F = U diag(sigma) V^T with fixed random rotations, shape (1, dim, dim)."""
    rng = np.random.default_rng(11)
    U, V = (np.linalg.qr(rng.standard_normal((len(sigma), len(sigma))))[0] for _ in range(2))
    U[:, 0] *= np.linalg.det(U)
    V[:, 0] *= np.linalg.det(V)
    return (U * np.array(sigma) @ V.T)[None]


APART = {
    "apart": (1.7, 1.2, 0.6),
    "identity": (1.0, 1.0, 1.0),
    "two repeated": (1.4, 1.4, 0.7),
    "all repeated": (1.3, 1.3, 1.3),
    "1e-9 apart": (1.2, 1.2 - 1e-9, 1.2 - 2e-9),
    "below the threshold": (1.2, 1.2 - 5e-6, 0.8),
    "above the threshold": (1.2, 1.2 - 8e-6, 0.8),
    "repeated and large": (40.0, 40.0, 39.9999),
}
INVERTED = {
    "inverted": (1.5, 0.9, -0.4),
    "opposite": (1.5, 0.7, -0.7),
    "nearly opposite": (1.5, 0.7, -0.7 + 1e-8),
    "flat": (1.5, 0.7, 0.0),
    "rank one": (1.5, 0.0, 0.0),
    "zero": (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("case", APART)
def test_isotropic_adjoint_matches_differences(case, law, dim):
    sigma = APART[case] if dim == 3 else APART[case][:2]
    check_adjoint(*pair(law, dim), {"F": compose(sigma)})


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("law", ["odd_cubic", "even_quartic"])
@pytest.mark.parametrize("case", INVERTED)
def test_adjoint_of_a_smooth_map_holds_for_inverted_and_flat_matrices(case, law, dim):
    sigma = INVERTED[case] if dim == 3 else INVERTED[case][1:]
    check_adjoint(*pair(law, dim), {"F": compose(sigma)})


def test_adjoint_is_finite_where_the_map_has_no_derivative():
    """The polar part of fixed corotated jumps at opposite values: the adjoint stays finite there."""
    _forward, adjoint = pair("fixed_corotated", 3)
    F_bar = adjoint({"F": compose((1.5, 0.7, -0.7))}, {"G": np.ones((1, 3, 3))})["F"]
    assert np.isfinite(F_bar).all()


def test_adjoint_in_identity_itself():
    """Exactly F = I, where every simulation starts."""
    for law in LAWS:
        check_adjoint(*pair(law, 3), {"F": np.eye(3)[None]})


def test_another_dimension_is_refused():
    with pytest.raises(ValueError, match="dim=4"):
        isotropic_functions(4, ti.f32)
