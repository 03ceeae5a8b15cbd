"""Constitutive laws of the material point method: Kirchhoff stress and return map, each with its adjoint.

A material maps the trial deformation gradient F to the stored one and to the Kirchhoff stress tau. Isotropic laws are
two short functions of the principal stretches sigma (F = U diag(sigma) V^T): the principal stresses t with stored
stretches g, and their derivatives; one pair of formulas (KIRCHHOFF and MAP adjoints in ``sims/math/isotropic.py``)
does the rest.

    neo_hookean      tau = mu (F F^T - 1) + lambda ln J                        (Bonet & Wood 2008, eq. 6.28)
    fixed_corotated  t_i = 2 mu (s_i - 1) s_i + lambda (J - 1) J                (Stomakhin et al. 2012)
    hencky           t_i = 2 mu ln s_i + lambda sum_k ln s_k
    von_mises        hencky with |dev tau| <= sqrt(2/3) yield stress; the excess deviatoric log strain is removed
                     (Simo 1992; in 2-D the deviator of the in-plane strain)
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.isotropic import isotropic_functions
from pliant.sims.math.products import product_functions
from pliant.sims.math.svd import svd_functions
from pliant.sims.runtime import ti

NEO_HOOKEAN, FIXED_COROTATED, HENCKY, VON_MISES = range(4)
MATERIALS = {
    "neo_hookean": NEO_HOOKEAN,
    "fixed_corotated": FIXED_COROTATED,
    "hencky": HENCKY,
    "von_mises": VON_MISES,
}


@cache
def material_functions(dim: int, fp: Any, kinds: tuple[int, ...]) -> SimpleNamespace:
    """``update`` and ``update_adjoint`` for the materials ``kinds`` (sorted) that a scene contains.

    update(kind, F, mu, lam, strength) -> (stored F, tau); update_adjoint(kind, F, mu, lam, strength, stored_bar,
    tau_bar) -> (F_bar, parameter_bar) with parameter_bar = (mu_bar, lambda_bar, yield_bar). Who needs both decomposes F
    once: axes(kind, F) -> (U, sigma, V), then respond(kind, F, U, sigma, V, mu, ...) and respond_adjoint likewise.
    """
    vec = ti.types.vector(dim, fp)
    mat = ti.types.matrix(dim, dim, fp)
    vec3 = ti.types.vector(3, fp)
    has_direct = NEO_HOOKEAN in kinds
    principal_kinds = tuple(kind for kind in kinds if kind != NEO_HOOKEAN)
    yield_factor = (2.0 / 3.0) ** 0.5

    @ti.func
    def product_of_others(s, j):
        p = fp(1.0)
        for k in ti.static(range(dim)):
            if k != j:
                p *= s[k]
        return p

    @ti.func
    def flow(e, mu, y):
        """Deviatoric log strain e_dev, its norm, and the radius of the elastic ball."""
        trace = e.sum()
        e_dev = e - trace / dim
        norm = ti.sqrt(e_dev.dot(e_dev))
        return e_dev, norm, fp(yield_factor) * y / (fp(2.0) * mu)

    @ti.func
    def principal(kind, s, mu, lam, y):
        """Principal stresses t and stored stretches g."""
        t = vec(0.0)
        g = s
        if ti.static(FIXED_COROTATED in kinds):
            if kind == FIXED_COROTATED:
                J = product_of_others(s, dim)
                for i in ti.static(range(dim)):
                    t[i] = fp(2.0) * mu * (s[i] - fp(1.0)) * s[i] + lam * (J - fp(1.0)) * J
        if ti.static(HENCKY in kinds or VON_MISES in kinds):
            if kind == HENCKY or kind == VON_MISES:
                e = ti.log(s)
                trace = e.sum()
                if ti.static(VON_MISES in kinds):
                    if kind == VON_MISES:
                        e_dev, norm, radius = flow(e, mu, y)
                        if norm > radius:
                            e = e_dev * (radius / norm) + trace / dim
                            g = ti.exp(e)
                t = fp(2.0) * mu * e + lam * trace
        return t, g

    @ti.func
    def principal_derivative(kind, s, mu, lam, y, t_bar, g_bar):
        """dt_i/ds_j, dg_i/ds_j, and the cotangents of (mu, lambda, yield) for cotangents t_bar and g_bar."""
        dt = mat(0.0)
        dg = mat(0.0)
        p_bar = vec3(0.0)
        for i in ti.static(range(dim)):
            dg[i, i] = fp(1.0)
        if ti.static(FIXED_COROTATED in kinds):
            if kind == FIXED_COROTATED:
                J = product_of_others(s, dim)
                for i in ti.static(range(dim)):
                    for j in ti.static(range(dim)):
                        dt[i, j] = lam * (fp(2.0) * J - fp(1.0)) * product_of_others(s, j)
                    dt[i, i] += fp(2.0) * mu * (fp(2.0) * s[i] - fp(1.0))
                    p_bar[0] += t_bar[i] * fp(2.0) * (s[i] - fp(1.0)) * s[i]
                p_bar[1] += t_bar.sum() * (J - fp(1.0)) * J
        if ti.static(HENCKY in kinds or VON_MISES in kinds):
            if kind == HENCKY or kind == VON_MISES:
                e = ti.log(s)
                trace = e.sum()
                flows = 0
                if ti.static(VON_MISES in kinds):
                    if kind == VON_MISES:
                        e_dev, norm, radius = flow(e, mu, y)
                        if norm > radius:
                            flows = 1
                            n = e_dev / norm
                            g = ti.exp(n * radius + trace / dim)
                            for i in ti.static(range(dim)):
                                for j in ti.static(range(dim)):
                                    # d e_new_i / d e_j = 1/d + (radius/norm) (delta_ij - 1/d - n_i n_j)
                                    slope = fp(1.0) / dim + (radius / norm) * (
                                        ti.static(1.0 if i == j else 0.0) - fp(1.0) / dim - n[i] * n[j]
                                    )
                                    dt[i, j] = (fp(2.0) * mu * slope + lam) / s[j]
                                    dg[i, j] = g[i] * slope / s[j]
                                # 2 mu radius does not depend on mu; radius does
                                p_bar[0] += t_bar[i] * fp(2.0) * trace / dim - g_bar[i] * g[i] * n[i] * radius / mu
                                p_bar[2] += fp(yield_factor) * n[i] * (t_bar[i] + g_bar[i] * g[i] / (fp(2.0) * mu))
                if flows == 0:
                    for i in ti.static(range(dim)):
                        for j in ti.static(range(dim)):
                            dt[i, j] = lam / s[j]
                        dt[i, i] += fp(2.0) * mu / s[i]
                        p_bar[0] += t_bar[i] * fp(2.0) * e[i]
                p_bar[1] += t_bar.sum() * trace
        return dt, dg, p_bar

    iso = isotropic_functions(dim, fp)
    products = product_functions(dim, fp)
    svd = svd_functions(dim, fp).svd

    @ti.func
    def axes(kind, F):
        """F = U diag(s) V^T for the laws in principal stretches, ln det F in s[0] for the others."""
        U, s, V = F, vec(0.0), F
        if ti.static(has_direct):
            if kind == NEO_HOOKEAN:
                s[0] = ti.log(F.determinant())
        if ti.static(len(principal_kinds) > 0):
            if kind != NEO_HOOKEAN:
                U, s, V = svd(F)
        return U, s, V

    @ti.func
    def respond(kind, F, U, s, V, mu, lam, y):
        stored = F
        tau = mat(0.0)
        if ti.static(has_direct):
            if kind == NEO_HOOKEAN:
                tau = mu * products.multiply_transposed(F, F)
                pressure = lam * s[0] - mu
                for i in ti.static(range(dim)):
                    tau[i, i] += pressure
        if ti.static(len(principal_kinds) > 0):
            if kind != NEO_HOOKEAN:
                t, g = principal(kind, s, mu, lam, y)
                scaled = U
                for i in ti.static(range(dim)):
                    for j in ti.static(range(dim)):
                        scaled[i, j] = U[i, j] * t[j]
                tau = products.multiply_transposed(scaled, U)
                if ti.static(VON_MISES in kinds):
                    if kind == VON_MISES:
                        for i in ti.static(range(dim)):
                            for j in ti.static(range(dim)):
                                scaled[i, j] = U[i, j] * g[j]
                        stored = products.multiply_transposed(scaled, V)
        return stored, tau

    @ti.func
    def respond_adjoint(kind, F, U, s, V, mu, lam, y, stored_bar, tau_bar):
        F_bar = stored_bar
        p_bar = vec3(0.0)
        if ti.static(has_direct):
            if kind == NEO_HOOKEAN:
                # <tau_bar, d tau> = mu <tau_bar, dF F^T + F dF^T> + lam tr(tau_bar) <F^-T, dF>
                trace = tau_bar.trace()
                F_bar += (
                    mu * products.multiply(tau_bar + tau_bar.transpose(), F) + lam * trace * F.inverse().transpose()
                )
                b = products.multiply_transposed(F, F)
                p_bar[0] = -trace
                for i in ti.static(range(dim)):
                    for j in ti.static(range(dim)):
                        p_bar[0] += tau_bar[i, j] * b[i, j]
                p_bar[1] = trace * s[0]
        if ti.static(len(principal_kinds) > 0):
            if kind != NEO_HOOKEAN:
                t, g = principal(kind, s, mu, lam, y)
                Y = products.multiply(products.transposed_multiply(U, tau_bar), U)
                Z = products.multiply(products.transposed_multiply(U, stored_bar), V)
                t_bar = vec(0.0)
                g_bar = vec(0.0)
                for i in ti.static(range(dim)):
                    t_bar[i] = Y[i, i]
                    g_bar[i] = Z[i, i]
                dt, dg, q_bar = principal_derivative(kind, s, mu, lam, y, t_bar, g_bar)
                p_bar = q_bar
                F_bar = iso.kirchhoff_adjoint(U, s, V, t, dt, tau_bar)
                if kind == VON_MISES:
                    F_bar += iso.map_adjoint(U, s, V, g, dg, stored_bar)
                else:
                    F_bar += stored_bar
        return F_bar, p_bar

    @ti.func
    def update(kind, F, mu, lam, y):
        U, s, V = axes(kind, F)
        return respond(kind, F, U, s, V, mu, lam, y)

    @ti.func
    def update_adjoint(kind, F, mu, lam, y, stored_bar, tau_bar):
        U, s, V = axes(kind, F)
        return respond_adjoint(kind, F, U, s, V, mu, lam, y, stored_bar, tau_bar)

    return SimpleNamespace(
        axes=axes, respond=respond, respond_adjoint=respond_adjoint, update=update, update_adjoint=update_adjoint
    )
