"""Constitutive laws of the material point method: Kirchhoff stress and return map, each with its adjoint.

A material maps the trial deformation gradient F to the stored one and to the Kirchhoff stress tau. Isotropic laws are
two short functions of the principal stretches sigma (F = U diag(sigma) V^T): the principal stresses t with stored
stretches g, and their derivatives. The adjoints follow from them by ``kirchhoff_adjoint`` and ``map_adjoint`` of
``sims/math/isotropic.py``.

    neo_hookean      tau = mu (F F^T - 1) + lambda ln J                        (Bonet & Wood 2008, eq. 6.28)
    fixed_corotated  t_i = 2 mu (s_i - 1) s_i + lambda (J - 1) J                (Stomakhin et al. 2012)
    hencky           t_i = 2 mu ln s_i + lambda sum_k ln s_k
    von_mises        hencky with |dev tau| <= sqrt(2/3) yield stress; the excess deviatoric log strain is removed
    viscoplastic     the same, the excess decays as a Herschel-Bulkley fluid lets it
    sand             the same, the bound proportional to the pressure (Drucker-Prager); no tension
    liquid           pressure from the volume and Newtonian viscosity, ``liquid.py``
    rigid            shape matching holds it together, ``rigid/matching.py``; its skin is neo-Hookean

The bounds are in ``yielding.py``.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.elementary import exp, log
from pliant.sims.math.isotropic import isotropic_functions
from pliant.sims.math.products import product_functions
from pliant.sims.math.svd import svd_functions
from pliant.sims.mpm.laws.liquid import liquid_functions
from pliant.sims.mpm.laws.yielding import LAMBDA, LIQUID, MU, SAND, VISCOPLASTIC, VON_MISES, law_size, yield_functions
from pliant.sims.runtime import ti

NEO_HOOKEAN, FIXED_COROTATED, HENCKY = range(3)
RIGID = 7
ELASTIC = ("neo_hookean", "fixed_corotated", "hencky")
"""Materials that remember their shape at rest for ever."""
MATERIALS = {
    "neo_hookean": NEO_HOOKEAN,
    "fixed_corotated": FIXED_COROTATED,
    "hencky": HENCKY,
    "von_mises": VON_MISES,
    "viscoplastic": VISCOPLASTIC,
    "sand": SAND,
    "liquid": LIQUID,
    "rigid": RIGID,
}


def in_stretches(kinds: tuple[int, ...]) -> bool:
    """Whether any of these materials is a law in principal stretches."""
    return any(FIXED_COROTATED <= kind <= SAND for kind in kinds)


def yielding(kinds: tuple[int, ...]) -> tuple[int, ...]:
    """Those of these materials that yield."""
    return tuple(kind for kind in kinds if kind in (VON_MISES, VISCOPLASTIC, SAND))


@cache
def principal_functions(dim: int, fp: Any, kinds: tuple[int, ...]) -> SimpleNamespace:
    """The laws in principal stretches s (dim,): ``principal(kind, s, law, dt) -> (t, g)``, principal Kirchhoff stresses
    and the stretches that are stored, and ``principal_derivative``."""
    vec = ti.types.vector(dim, fp)
    mat = ti.types.matrix(dim, dim, fp)
    law_vec = ti.types.vector(law_size(kinds), fp)
    yields = yielding(kinds)
    in_log_strain = HENCKY in kinds or len(yields) > 0
    limit: Any = yield_functions(dim, fp, kinds) if yields else None

    @ti.func
    def is_in_stretches(kind):
        """Whether a law in principal stretches."""
        return kind >= FIXED_COROTATED and kind <= SAND

    @ti.func
    def product_of_others(s, j):
        """Product of all s_k but s_j."""
        p = fp(1.0)
        for k in ti.static(range(dim)):
            if k != j:
                p *= s[k]
        return p

    @ti.func
    def logarithms(s):
        """(ln s_i)"""
        e = s
        for i in ti.static(range(dim)):
            e[i] = log(s[i])
        return e

    @ti.func
    def deviator(e):
        """Norm and direction of the deviatoric log strain (zero where it has none)."""
        e_dev = e - e.sum() / dim
        norm = ti.sqrt(e_dev.dot(e_dev))
        return norm, e_dev / ti.max(norm, fp(1e-30))

    @ti.func
    def bears(kind, trace):
        """Whether there is stress at this volume: sand bears no tension."""
        bearing = True
        if ti.static(SAND in kinds):
            if kind == SAND and trace >= 0.0:
                bearing = False
        return bearing

    @ti.func
    def principal(kind, s, law: ti.template(), dt):
        """Principal stresses t and stored stretches g."""
        t = vec(0.0)
        g = s
        if ti.static(FIXED_COROTATED in kinds):
            if kind == FIXED_COROTATED:
                J = product_of_others(s, dim)
                for i in ti.static(range(dim)):
                    t[i] = fp(2.0) * law[MU] * (s[i] - fp(1.0)) * s[i] + law[LAMBDA] * (J - fp(1.0)) * J
        if ti.static(in_log_strain):
            if kind != FIXED_COROTATED:
                e = logarithms(s)
                trace = e.sum()
                if ti.static(len(yields) > 0):
                    if kind != HENCKY:
                        norm, n = deviator(e)
                        has_yielded, r = limit.reach(kind, norm, trace, law, dt)
                        if has_yielded:
                            e = n * r + trace / dim
                            for i in ti.static(range(dim)):
                                g[i] = exp(e[i])
                if bears(kind, trace):
                    t = fp(2.0) * law[MU] * e + law[LAMBDA] * trace
        return t, g

    @ti.func
    def principal_derivative(kind, s, law: ti.template(), dt, t_bar, g_bar):
        """dt_i/ds_j, dg_i/ds_j, and the cotangents of the law's constants for cotangents t_bar and g_bar."""
        slope_t = mat(0.0)
        slope_g = mat(0.0)
        law_bar = law_vec(0.0)
        for i in ti.static(range(dim)):
            slope_g[i, i] = fp(1.0)
        if ti.static(FIXED_COROTATED in kinds):
            if kind == FIXED_COROTATED:
                J = product_of_others(s, dim)
                for i in ti.static(range(dim)):
                    for j in ti.static(range(dim)):
                        slope_t[i, j] = law[LAMBDA] * (fp(2.0) * J - fp(1.0)) * product_of_others(s, j)
                    slope_t[i, i] += fp(2.0) * law[MU] * (fp(2.0) * s[i] - fp(1.0))
                    law_bar[MU] += t_bar[i] * fp(2.0) * (s[i] - fp(1.0)) * s[i]
                law_bar[LAMBDA] += t_bar.sum() * (J - fp(1.0)) * J
        if ti.static(in_log_strain):
            if kind != FIXED_COROTATED:
                e = logarithms(s)
                trace = e.sum()
                bearing = ti.select(bears(kind, trace), fp(1.0), fp(0.0))
                slope = mat(0.0)  # d e_new_i / d e_j
                for i in ti.static(range(dim)):
                    slope[i, i] = fp(1.0)
                if ti.static(len(yields) > 0):
                    if kind != HENCKY:
                        norm, n = deviator(e)
                        has_yielded, r = limit.reach(kind, norm, trace, law, dt)
                        if has_yielded:
                            # e_new = n r + trace/d;  d n_i / d e_j = (delta_ij - 1/d - n_i n_j) / norm
                            by_norm, by_trace, by_law = limit.reach_derivative(kind, norm, trace, law, dt)
                            e = n * r + trace / dim
                            along = fp(0.0)
                            for i in ti.static(range(dim)):
                                for j in ti.static(range(dim)):
                                    slope[i, j] = (
                                        fp(1.0) / dim
                                        + (r / ti.max(norm, fp(1e-30)))
                                        * (ti.static(1.0 if i == j else 0.0) - fp(1.0) / dim - n[i] * n[j])
                                        + n[i] * (by_norm * n[j] + by_trace)
                                    )
                                g_i = exp(e[i])
                                for j in ti.static(range(dim)):
                                    slope_g[i, j] = g_i * slope[i, j] / s[j]
                                along += n[i] * (bearing * fp(2.0) * law[MU] * t_bar[i] + g_bar[i] * g_i)
                            law_bar += along * by_law
                for i in ti.static(range(dim)):
                    for j in ti.static(range(dim)):
                        slope_t[i, j] = bearing * (fp(2.0) * law[MU] * slope[i, j] + law[LAMBDA]) / s[j]
                    law_bar[MU] += bearing * t_bar[i] * fp(2.0) * e[i]
                law_bar[LAMBDA] += bearing * t_bar.sum() * trace
        return slope_t, slope_g, law_bar

    return SimpleNamespace(
        is_in_stretches=is_in_stretches, principal=principal, principal_derivative=principal_derivative
    )


@cache
def material_functions(dim: int, fp: Any, kinds: tuple[int, ...]) -> SimpleNamespace:
    """``update`` and ``update_adjoint`` for the materials ``kinds`` (sorted) that a scene contains.

    update(kind, F, L, law, dt) -> (stored F, tau); update_adjoint(kind, F, L, law, dt, stored_bar, tau_bar) -> (F_bar,
    L_bar, law_bar), with L the velocity gradient and ``law`` the vector of the particle's constants (``MU``,
    ``LAMBDA``, ... in ``yielding.py``). Who needs both decomposes F once: axes(kind, F) -> (U, sigma, V), then
    respond(kind, F, U, sigma, V, L, law, dt) and respond_adjoint likewise.
    """
    vec = ti.types.vector(dim, fp)
    mat = ti.types.matrix(dim, dim, fp)
    law_vec = ti.types.vector(law_size(kinds), fp)
    has_direct, has_liquid = NEO_HOOKEAN in kinds, LIQUID in kinds
    yields, decomposes = yielding(kinds), in_stretches(kinds)
    liquid: Any = liquid_functions(dim, fp, law_size(kinds)) if has_liquid else None
    laws = principal_functions(dim, fp, kinds)
    is_in_stretches, principal, principal_derivative = laws.is_in_stretches, laws.principal, laws.principal_derivative
    iso = isotropic_functions(dim, fp)
    products = product_functions(dim, fp)
    svd = svd_functions(dim, fp).svd

    @ti.func
    def axes(kind, F):
        """F = U diag(s) V^T for laws in principal stretches; else s[0] is ln det F (neo-Hookean) or det F (liquid)."""
        U, s, V = F, vec(0.0), F
        if ti.static(has_direct):
            if kind == NEO_HOOKEAN:
                s[0] = log(F.determinant())
        if ti.static(has_liquid):
            if kind == LIQUID:
                s[0] = F.determinant()
        if ti.static(decomposes):
            if is_in_stretches(kind):
                U, s, V = svd(F)
        return U, s, V

    @ti.func
    def respond(kind, F, U, s, V, L, law: ti.template(), dt):
        """(stored F, tau) of the trial gradient F = U diag(s) V^T (see ``axes``) and the velocity gradient L."""
        stored = F
        tau = mat(0.0)
        if ti.static(has_direct):
            if kind == NEO_HOOKEAN:
                tau = law[MU] * products.multiply_transposed(F, F)
                pressure = law[LAMBDA] * s[0] - law[MU]
                for i in ti.static(range(dim)):
                    tau[i, i] += pressure
        if ti.static(has_liquid):
            if kind == LIQUID:
                stored, tau = liquid.respond(F, s[0], L, law)
        if ti.static(decomposes):
            if is_in_stretches(kind):
                t, g = principal(kind, s, law, dt)
                scaled = U
                for i in ti.static(range(dim)):
                    for j in ti.static(range(dim)):
                        scaled[i, j] = U[i, j] * t[j]
                tau = products.multiply_transposed(scaled, U)
                if ti.static(len(yields) > 0):
                    if kind >= VON_MISES:
                        for i in ti.static(range(dim)):
                            for j in ti.static(range(dim)):
                                scaled[i, j] = U[i, j] * g[j]
                        stored = products.multiply_transposed(scaled, V)
        return stored, tau

    @ti.func
    def respond_adjoint(kind, F, U, s, V, L, law: ti.template(), dt, stored_bar, tau_bar):
        """(F_bar, L_bar, law_bar) of ``respond``."""
        F_bar = stored_bar
        L_bar = mat(0.0)
        law_bar = law_vec(0.0)
        if ti.static(has_direct):
            if kind == NEO_HOOKEAN:
                # <tau_bar, d tau> = mu <tau_bar, dF F^T + F dF^T> + lam tr(tau_bar) <F^-T, dF>, and <tau_bar, F F^T> =
                # <(tau_bar + tau_bar^T) F, F> / 2
                trace = tau_bar.trace()
                doubled = products.multiply(tau_bar + tau_bar.transpose(), F)
                F_bar += law[MU] * doubled + law[LAMBDA] * trace * F.inverse().transpose()
                law_bar[MU] = -trace
                for i in ti.static(range(dim)):
                    for j in ti.static(range(dim)):
                        law_bar[MU] += fp(0.5) * doubled[i, j] * F[i, j]
                law_bar[LAMBDA] = trace * s[0]
        if ti.static(has_liquid):
            if kind == LIQUID:
                F_bar, L_bar, law_bar = liquid.respond_adjoint(F, s[0], L, law, stored_bar, tau_bar)
        if ti.static(decomposes):
            if is_in_stretches(kind):
                t, g = principal(kind, s, law, dt)
                Y = products.multiply(products.transposed_multiply(U, tau_bar), U)
                Z = products.multiply(products.transposed_multiply(U, stored_bar), V)
                t_bar = vec(0.0)
                g_bar = vec(0.0)
                for i in ti.static(range(dim)):
                    t_bar[i] = Y[i, i]
                    g_bar[i] = Z[i, i]
                slope_t, slope_g, law_bar_in = principal_derivative(kind, s, law, dt, t_bar, g_bar)
                law_bar = law_bar_in
                F_bar = iso.kirchhoff_adjoint(U, s, V, t, slope_t, tau_bar)
                if kind >= VON_MISES:
                    F_bar += iso.map_adjoint(U, s, V, g, slope_g, stored_bar)
                else:
                    F_bar += stored_bar
        return F_bar, L_bar, law_bar

    @ti.func
    def update(kind, F, L, law: ti.template(), dt):
        """``respond`` of F, with its axes."""
        U, s, V = axes(kind, F)
        return respond(kind, F, U, s, V, L, law, dt)

    @ti.func
    def update_adjoint(kind, F, L, law: ti.template(), dt, stored_bar, tau_bar):
        """``respond_adjoint`` of F, with its axes."""
        U, s, V = axes(kind, F)
        return respond_adjoint(kind, F, U, s, V, L, law, dt, stored_bar, tau_bar)

    return SimpleNamespace(
        axes=axes, respond=respond, respond_adjoint=respond_adjoint, update=update, update_adjoint=update_adjoint
    )
