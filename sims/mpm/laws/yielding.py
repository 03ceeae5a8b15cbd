"""How far the deviatoric log strain may reach: the return maps of plastic, viscoplastic and granular matter.

With e = ln sigma the trial log strain, e' its deviator, n = e'/|e'| and tr = sum e, a return map shortens the deviator
to a length r and leaves the volume alone: e_new = r n + tr/d. A law is r(|e'|, tr; parameters) with its derivatives.

    von_mises     r = tau_y / (sqrt(2) mu), with tau_y = yield stress / sqrt(3) the yield stress in shear
                  (Simo 1992; in 2-D the deviator of the in-plane strain)
    viscoplastic  Herschel-Bulkley, tau = tau_y + k rate^n, the rate of plastic shear taken at the end of the substep:
                  sqrt(2) mu |e'| - tau_y = k w + mu dt w^(1/n),  r = (tau_y + k w) / (sqrt(2) mu)
                  (as Yue et al. 2015, "Continuum foam", with the implicit rate of their eq. 11)
    sand          Drucker-Prager (Klar et al. 2016): r = -alpha (d lambda + 2 mu) / (2 mu) tr; where tr > 0 there is no
                  stress and r = 0. The trace itself is kept, so that sand that has come apart must close up again
                  before it bears: their volume correction, without a state of its own.
                  alpha = sqrt(2/3) 2 sin phi / (3 - sin phi) in 3-D (Mohr-Coulomb in triaxial compression), and
                  sin phi / sqrt(2) in 2-D (Mohr-Coulomb exactly).
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.elementary import log, power, sin_cos
from pliant.sims.runtime import ti

VON_MISES, VISCOPLASTIC, SAND, LIQUID = 3, 4, 5, 6
# Entries of the vector of a particle's constants that a law sees; those from BULK on only where something flows.
MU, LAMBDA, YIELD, BULK, VISCOSITY, INDEX, FRICTION = range(7)
NEWTON_STEPS = 30
LEAST_RATE = 1e-30  # [1/s]; no rate is so small that it would matter


@cache
def yield_functions(dim: int, fp: Any, kinds: tuple[int, ...]) -> SimpleNamespace:
    """``reach(kind, norm, trace, law, dt) -> (has yielded, r)`` and ``reach_derivative(...) -> (dr/dnorm, dr/dtrace,
    dr/dlaw)`` where it has; ``law`` is the vector of constants, of the length of ``law_size(kinds)``."""
    vec = ti.types.vector(law_size(kinds), fp)
    flows, slides = VISCOPLASTIC in kinds, SAND in kinds
    root2, shear = 2.0**0.5, 3.0**-0.5
    resolution = 1e-7 if fp == ti.f32 else 1e-15

    @ti.func
    def excess_rate(S, mu, k, p, dt):
        """w with k w + mu dt w^p = S: from a point above the root Newton's method falls onto it, p >= 1.

        Where S = 0, as at rest without a yield stress, w is ``LEAST_RATE``: derivatives divide by it.
        """
        stiffness = mu * dt
        w = power(S / stiffness, fp(1.0) / p)
        if k * w > S:
            w = S / k
        for _ in range(NEWTON_STEPS):
            if w <= fp(LEAST_RATE):
                break
            high = stiffness * power(w, p)
            change = (k * w + high - S) / (k + p * high / w)
            w -= change
            if ti.abs(change) <= fp(resolution) * w:
                break
        return ti.max(w, fp(LEAST_RATE))

    @ti.func
    def slope(phi):
        """alpha and its derivative by the friction angle."""
        sine, cosine = sin_cos(phi)
        alpha, derivative = sine / fp(root2), cosine / fp(root2)
        if ti.static(dim == 3):
            factor = fp(2.0 * (2.0 / 3.0) ** 0.5)
            rest = fp(3.0) - sine
            alpha = factor * sine / rest
            derivative = factor * fp(3.0) * cosine / (rest * rest)
        return alpha, derivative

    @ti.func
    def reach(kind, norm, trace, law: ti.template(), dt):
        """Whether the deviator of length ``norm`` has yielded, and the length r that it keeps if so."""
        mu = law[MU]
        tau = fp(shear) * law[YIELD]
        r = tau / (fp(root2) * mu)
        if ti.static(slides):
            if kind == SAND:
                alpha, _ = slope(law[FRICTION])
                r = fp(0.0)
                if trace < 0.0:
                    r = -alpha * (dim * law[LAMBDA] + fp(2.0) * mu) / (fp(2.0) * mu) * trace
        has_yielded = norm > r or r <= 0.0  # without a deviator too: it would not stay
        if ti.static(flows):
            if kind == VISCOPLASTIC and has_yielded:
                w = excess_rate(fp(root2) * mu * norm - tau, mu, law[VISCOSITY], fp(1.0) / law[INDEX], dt)
                r += law[VISCOSITY] * w / (fp(root2) * mu)
        return has_yielded, r

    @ti.func
    def reach_derivative(kind, norm, trace, law: ti.template(), dt):
        """(dr/dnorm, dr/dtrace, dr/dlaw) where it has yielded."""
        mu = law[MU]
        tau = fp(shear) * law[YIELD]
        by_norm, by_trace = fp(0.0), fp(0.0)
        by_law = vec(0.0)
        if ti.static(VON_MISES in kinds):
            if kind == VON_MISES:
                by_law[MU] = -tau / (fp(root2) * mu * mu)
                by_law[YIELD] = fp(shear) / (fp(root2) * mu)
        if ti.static(flows):
            if kind == VISCOPLASTIC:
                # k w + mu dt w^p = S with p = 1/n, S = sqrt(2) mu norm - tau:  W dw = dS - w dk - dt w^p dmu
                # - mu dt w^p ln w dp,  W = k + p mu dt w^(p - 1);  r = (tau + k w) / (sqrt(2) mu)
                k, p = law[VISCOSITY], fp(1.0) / law[INDEX]
                w = excess_rate(fp(root2) * mu * norm - tau, mu, k, p, dt)
                high = dt * power(w, p)
                W = ti.max(k + p * mu * high / w, fp(LEAST_RATE))  # without a viscosity it underflows with w
                scale = fp(1.0) / (fp(root2) * mu)
                by_norm = k / W
                by_law[YIELD] = fp(shear) * scale * (fp(1.0) - k / W)
                by_law[VISCOSITY] = scale * w * (fp(1.0) - k / W)
                by_law[MU] = scale * (k / W * (fp(root2) * norm - high) - (tau + k * w) / mu)
                by_law[INDEX] = scale * k / W * mu * high * log(w) * p * p
        if ti.static(slides):
            if kind == SAND and trace < 0.0:
                alpha, alpha_slope = slope(law[FRICTION])
                ratio = (dim * law[LAMBDA] + fp(2.0) * mu) / (fp(2.0) * mu)
                by_trace = -alpha * ratio
                by_law[MU] = alpha * trace * dim * law[LAMBDA] / (fp(2.0) * mu * mu)
                by_law[LAMBDA] = -alpha * trace * dim / (fp(2.0) * mu)
                by_law[FRICTION] = -alpha_slope * ratio * trace
        return by_norm, by_trace, by_law

    return SimpleNamespace(reach=reach, reach_derivative=reach_derivative)


def law_size(kinds: tuple[int, ...]) -> int:
    """Constants of a particle that the laws of a scene see."""
    return FRICTION + 1 if {VISCOPLASTIC, SAND, LIQUID} & set(kinds) else YIELD + 1
