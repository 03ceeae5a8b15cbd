"""Strains of a joint between two edges of a discrete elastic rod, with exact first and second derivatives.

Bergou et al., "Discrete elastic rods" (2008) and "Discrete viscous threads" (2010). Edges e = eps t and f = eps' u with
material frames (t, m1, m2), (u, n1, n2); curvature binormal kb = 2 t x u / chi with chi = 1 + t.u;

    kappa_1 = kb.(m2 + n2)/2,   kappa_2 = -kb.(m1 + n1)/2,   tau = angle about u from m1, carried from t to u, to n1.

Derivatives are with respect to e, f and the angles by which each frame is turned about its edge, the frames being
carried along by parallel transport in time while an edge moves. Curvatures are integrated over the joint, without unit.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import ti

# A joint that is folded by more than this (chi -> 0) has no finite curvature.
SMALLEST_CHI = 1e-4


@cache
def joint_functions(fp: Any) -> SimpleNamespace:
    """Taichi functions of one floating-point type.

    ``transport(t, u, m)``: m carried from the unit vector t to u by the smallest rotation.
    ``turn(t, m, angle)``: m, normal to the unit vector t, turned about it.
    ``strains(t, u, m1, n1)``: (kappa_1, kappa_2, tau).
    ``slopes(t, u, m1, n1, eps, eps_f, k)``: derivative of the k-th strain: (e, f, angle of e, angle of f).
    ``bends(...)``: second derivatives of a weighted sum of the strains.
    """
    vec3 = ti.types.vector(3, fp)
    mat3 = ti.types.matrix(3, 3, fp)

    @ti.func
    def transport(t, u, m):
        across = t.cross(u)
        c = t.dot(u)
        return c * m + across.cross(m) + across * (across.dot(m) / ti.max(1 + c, fp(SMALLEST_CHI)))

    @ti.func
    def turn(t, m, angle):
        return ti.cos(angle) * m + ti.sin(angle) * t.cross(m)

    @ti.func
    def curvature_binormal(t, u):
        chi = ti.max(1 + t.dot(u), fp(SMALLEST_CHI))
        return 2 * t.cross(u) / chi, chi

    @ti.func
    def strains(t, u, m1, n1):
        kb, _chi = curvature_binormal(t, u)
        m2 = t.cross(m1)
        n2 = u.cross(n1)
        carried = transport(t, u, m1)
        tau = ti.atan2(carried.cross(n1).dot(u), carried.dot(n1))
        return vec3(kb.dot(m2 + n2) / 2, -kb.dot(m1 + n1) / 2, tau)

    @ti.func
    def slopes(t, u, m1, n1, eps, eps_f, w):
        """First derivatives of w.(kappa_1, kappa_2, tau).

        With d = w1 m2 - w2 m1 on either edge, D = (d_e + d_f)/chi, s = (t + u)/chi and kw = kb.(d_e + d_f)/2:
        d/de = (-kw s + u x D + w3 kb/2)/eps,  d/df = (-kw s - t x D + w3 kb/2)/eps',
        d/dtheta_e = kb.(t x d_e)/2 - w3,  d/dtheta_f = kb.(u x d_f)/2 + w3.
        """
        kb, chi = curvature_binormal(t, u)
        d_e = w[0] * t.cross(m1) - w[1] * m1
        d_f = w[0] * u.cross(n1) - w[1] * n1
        s = (t + u) / chi
        D = (d_e + d_f) / chi
        kw = kb.dot(d_e + d_f) / 2
        common = w[2] / 2 * kb - kw * s
        by_e = (common + u.cross(D)) / eps
        by_f = (common - t.cross(D)) / eps_f
        return by_e, by_f, kb.dot(t.cross(d_e)) / 2 - w[2], kb.dot(u.cross(d_f)) / 2 + w[2]

    @ti.func
    def cross_matrix(v):
        return mat3([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])

    @ti.func
    def bends(t, u, m1, n1, eps, eps_f, w):
        """Second derivatives of w.(kappa_1, kappa_2, tau): blocks ee, ff, ef, vectors (e, theta_e), (e, theta_f),
        (f, theta_e), (f, theta_f), scalars theta_e theta_e, theta_f theta_f (the mixed one vanishes).

        With P = u x D, Q = t x D, g = t x d_e or u x d_f and the symbols of ``slopes``:
        ee = [2 kw s s' - P s' - s P' - kw/chi (1 - t t') + (kb d_e' + d_e kb')/4 - w3/4 (kb (t+s)' + (t+s) kb')]/eps^2
        ff = [2 kw s s' + Q s' + s Q' - kw/chi (1 - u u') + (kb d_f' + d_f kb')/4 - w3/4 (kb (u+s)' + (u+s) kb')]/eps'^2
        ef = [2 kw s s' - P s' + s Q' - kw/chi (1 + t u') - [D]x + w3/2 (2/chi [t]x - kb s')]/(eps eps')
        """
        kb, chi = curvature_binormal(t, u)
        d_e = w[0] * t.cross(m1) - w[1] * m1
        d_f = w[0] * u.cross(n1) - w[1] * n1
        s = (t + u) / chi
        D = (d_e + d_f) / chi
        kw = kb.dot(d_e + d_f) / 2
        P = u.cross(D)
        Q = t.cross(D)
        quarter = w[2] / 4
        ts = quarter * (t + s)
        us = quarter * (u + s)
        ee = mat3(0)
        ff = mat3(0)
        ef = (w[2] / chi) * cross_matrix(t) - cross_matrix(D)
        for i in ti.static(range(3)):
            for j in ti.static(range(3)):
                ss = 2 * kw * s[i] * s[j]
                ee[i, j] = ss - P[i] * s[j] - s[i] * P[j] + kw / chi * t[i] * t[j]
                ee[i, j] += kb[i] * (d_e[j] / 4 - ts[j]) + (d_e[i] / 4 - ts[i]) * kb[j]
                ff[i, j] = ss + Q[i] * s[j] + s[i] * Q[j] + kw / chi * u[i] * u[j]
                ff[i, j] += kb[i] * (d_f[j] / 4 - us[j]) + (d_f[i] / 4 - us[i]) * kb[j]
                ef[i, j] += ss - P[i] * s[j] + s[i] * Q[j] - kw / chi * t[i] * u[j] - w[2] / 2 * kb[i] * s[j]
            ee[i, i] -= kw / chi
            ff[i, i] -= kw / chi
            ef[i, i] -= kw / chi
        g_e = t.cross(d_e)
        g_f = u.cross(d_f)
        half_e = kb.dot(g_e) / 2
        half_f = kb.dot(g_f) / 2
        e_e = (u.cross(g_e) / chi - half_e * s) / eps
        e_f = (u.cross(g_f) / chi - half_f * s) / eps
        f_e = -(t.cross(g_e) / chi + half_e * s) / eps_f
        f_f = -(t.cross(g_f) / chi + half_f * s) / eps_f
        return (
            ee / (eps * eps),
            ff / (eps_f * eps_f),
            ef / (eps * eps_f),
            e_e,
            e_f,
            f_e,
            f_f,
            -kb.dot(d_e) / 2,
            -kb.dot(d_f) / 2,
        )

    return SimpleNamespace(
        transport=transport,
        turn=turn,
        curvature_binormal=curvature_binormal,
        strains=strains,
        slopes=slopes,
        bends=bends,
    )
