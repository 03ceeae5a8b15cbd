"""Strains of a joint between two edges of a discrete elastic rod, with exact first and second derivatives.

Bergou et al., "Discrete elastic rods" (2008) and "Discrete viscous threads" (2010). Edges e = eps t and f = eps' u with
material frames (t, m1, m2), (u, n1, n2); curvature binormal kb = 2 t x u / chi with chi = 1 + t.u;

    kappa_1 = kb.m2,   kappa_2 = -kb.m1,   tau = angle about u from m1, carried from t to u, to n1.

Curvatures are taken in the frame of the first edge alone: in the mean of both frames they would shrink by cos(tau/2),
and a strongly twisted joint would bend for nothing.

Derivatives are with respect to e, f and the angles by which each frame is turned about its edge, the frames being
carried along by parallel transport in time while an edge moves. Curvatures are integrated over the joint, without unit.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.math.elementary import atan2, sin_cos
from pliant.sims.runtime import ti

# A joint that is folded by more than this (chi -> 0) has no finite curvature.
SMALLEST_CHI = 1e-4


@cache
def joint_functions(fp: Any) -> SimpleNamespace:
    """Taichi functions of one floating-point type.

    ``transport(t, u, m)``: m carried from the unit vector t to u by the smallest rotation.
    ``turn(t, m, angle)``: m, normal to the unit vector t, turned about it.
    ``strains(t, u, m1, n1)``: (kappa_1, kappa_2, tau).
    ``slopes(t, u, m1, eps, eps_f, w)``: first derivatives of a weighted sum of the strains, by e, f and both angles.
    ``bends(t, u, m1, eps, eps_f, w)``: its second derivatives.
    """
    vec3 = ti.types.vector(3, fp)
    mat3 = ti.types.matrix(3, 3, fp)

    @ti.func
    def transport(t, u, m):
        """Parallel transport of m from t to u: c m + a x m + a (a.m)/(1 + c) with a = t x u, c = t.u."""
        across = t.cross(u)
        c = t.dot(u)
        return c * m + across.cross(m) + across * (across.dot(m) / ti.max(1 + c, fp(SMALLEST_CHI)))

    @ti.func
    def turn(t, m, angle):
        """m cos(angle) + t x m sin(angle), for m normal to t."""
        sine, cosine = sin_cos(angle)
        return cosine * m + sine * t.cross(m)

    @ti.func
    def curvature_binormal(t, u):
        """kb = 2 t x u / chi, and chi = 1 + t.u (not below SMALLEST_CHI)."""
        chi = ti.max(1 + t.dot(u), fp(SMALLEST_CHI))
        return 2 * t.cross(u) / chi, chi

    @ti.func
    def strains(t, u, m1, n1):
        """(kappa_1, kappa_2, tau) = (kb.m2, -kb.m1, angle about u from the transported m1 to n1)."""
        kb, _chi = curvature_binormal(t, u)
        carried = transport(t, u, m1)
        tau = atan2(carried.cross(n1).dot(u), carried.dot(n1))
        return vec3(kb.dot(t.cross(m1)), -kb.dot(m1), tau)

    @ti.func
    def slopes(t, u, m1, eps, eps_f, w):
        """With d = w1 m2 - w2 m1, s = (t + u)/chi and kw = kb.d, first derivatives of w.(kappa_1, kappa_2, tau):

        d/de = (-kw s + 2 u x d/chi + w3 kb/2)/eps,  d/df = (-kw s - 2 t x d/chi + w3 kb/2)/eps',
        d/dtheta_e = kb.(t x d) - w3,  d/dtheta_f = w3.
        """
        kb, chi = curvature_binormal(t, u)
        d = w[0] * t.cross(m1) - w[1] * m1
        common = w[2] / 2 * kb - (kb.dot(d) / chi) * (t + u)
        by_e = (common + u.cross(d) * (2 / chi)) / eps
        by_f = (common - t.cross(d) * (2 / chi)) / eps_f
        return by_e, by_f, kb.dot(t.cross(d)) - w[2], w[2]

    @ti.func
    def cross_matrix(v):
        """[v]x"""
        return mat3([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])

    @ti.func
    def bends(t, u, m1, eps, eps_f, w):
        """Second derivatives of w.(kappa_1, kappa_2, tau): blocks ee, ff, ef, vectors (e, theta_e) and (f, theta_e),
        scalar theta_e theta_e; the others vanish. With P = 2 u x d/chi, Q = 2 t x d/chi and the symbols of ``slopes``:

        ee = [2 kw s s' - P s' - s P' - kw/chi (1 - t t') + (kb d' + d kb')/2 - w3/4 (kb (t+s)' + (t+s) kb')]/eps^2
        ff = [2 kw s s' + Q s' + s Q' - kw/chi (1 - u u') - w3/4 (kb (u+s)' + (u+s) kb')]/eps'^2
        ef = [2 kw s s' - P s' + s Q' - kw/chi (1 + t u') - 2/chi [d]x + w3/2 (2/chi [t]x - kb s')]/(eps eps')
        """
        kb, chi = curvature_binormal(t, u)
        d = w[0] * t.cross(m1) - w[1] * m1
        s = (t + u) / chi
        kw = kb.dot(d)
        P = u.cross(d) * (2 / chi)
        Q = t.cross(d) * (2 / chi)
        by_kb_e = d / 2 - (w[2] / 4) * (t + s)
        by_kb_f = -(w[2] / 4) * (u + s)
        ee = mat3(0)
        ff = mat3(0)
        ef = cross_matrix((w[2] * t - 2 * d) / chi)
        for i in ti.static(range(3)):
            for j in ti.static(range(3)):
                ss = 2 * kw * s[i] * s[j]
                ee[i, j] = (
                    ss - P[i] * s[j] - s[i] * P[j] + kw / chi * t[i] * t[j] + kb[i] * by_kb_e[j] + by_kb_e[i] * kb[j]
                )
                ff[i, j] = (
                    ss + Q[i] * s[j] + s[i] * Q[j] + kw / chi * u[i] * u[j] + kb[i] * by_kb_f[j] + by_kb_f[i] * kb[j]
                )
                ef[i, j] += ss - P[i] * s[j] + s[i] * Q[j] - kw / chi * t[i] * u[j] - w[2] / 2 * kb[i] * s[j]
            ee[i, i] -= kw / chi
            ff[i, i] -= kw / chi
            ef[i, i] -= kw / chi
        g = t.cross(d)
        half = kb.dot(g)
        by_e = (u.cross(g) * (2 / chi) - half * s) / eps
        by_f = -(t.cross(g) * (2 / chi) + half * s) / eps_f
        return ee / (eps * eps), ff / (eps_f * eps_f), ef / (eps * eps_f), by_e, by_f, -kw

    return SimpleNamespace(
        transport=transport,
        turn=turn,
        curvature_binormal=curvature_binormal,
        strains=strains,
        slopes=slopes,
        bends=bends,
    )
