"""A weakly compressible Newtonian liquid: pressure from the volume, viscous stress from the velocity gradient.

    p(J) = K / 7 (J^-7 - 1)                 J > J_s      (Cole 1948; Monaghan 1994, eq. 4.1)
    p(J) = p(J_s) + K J_s^-6 (1/J - 1/J_s)  otherwise    linear in the density: the speed of sound stays c J_s^-3
    tau = J (-p 1 + 2 eta dev(sym L))                    Kirchhoff stress, L = grad v, dev without the mean of the trace

K = rho c^2 is the bulk modulus at rest, c the speed of sound, eta the dynamic viscosity [Pa s]: nothing depends on the
substep. Tait's law is for slight compression. Its speed of sound, c J^-3, grows without bound as a liquid is squeezed,
which a tool can do without limit, and no substep would be short enough: hence the linear part. A liquid remembers its
volume only: the deformation gradient stored is diag(J, 1, 1), any matrix of that determinant being as good. There is no
SVD.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.mpm.laws.yielding import BULK, VISCOSITY
from pliant.sims.runtime import ti

EXPONENT = 7
SQUEEZED = 0.95
"""J_s, the share of its volume below which a liquid answers linearly."""
FASTEST = SQUEEZED**-3
"""Speed of sound of a squeezed liquid over that at rest, J_s^-3: a sixth faster."""


@cache
def liquid_functions(dim: int, fp: Any, law_size: int) -> SimpleNamespace:
    """``respond(F, J, L, law) -> (stored F, tau)`` and ``respond_adjoint(F, J, L, law, stored_bar, tau_bar) -> (F_bar,
    L_bar, law_bar)`` with J = det F."""
    mat = ti.types.matrix(dim, dim, fp)
    vec = ti.types.vector(law_size, fp)

    @ti.func
    def pressure(J):
        """J p / K, and minus its derivative: below J_s, J p goes on along its tangent."""
        near = ti.max(J, fp(SQUEEZED))
        squared = near * near
        stiff = fp(1.0) / (squared * squared * squared * near)
        over = (stiff - fp(1.0)) / EXPONENT
        slope = stiff - over
        return near * over + slope * (near - J), slope

    @ti.func
    def shear_rate(L):
        """dev(sym L)"""
        D = mat(0.0)
        third = L.trace() / dim
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                D[i, j] = fp(0.5) * (L[i, j] + L[j, i])
            D[i, i] -= third
        return D

    @ti.func
    def cofactor(F):
        """det(F) F^-T"""
        r = mat(0.0)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                if ti.static(dim == 2):
                    r[i, j] = ti.static(1.0 if i == j else -1.0) * F[1 - i, 1 - j]
                else:
                    a, b, c, d = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
                    r[i, j] = F[a, c] * F[b, d] - F[a, d] * F[b, c]
        return r

    @ti.func
    def respond(F, J, L, law: ti.template()):
        """(diag(J, 1, 1), tau = J (-p 1 + 2 eta dev sym L))"""
        stored = mat(0.0)
        tau = (fp(2.0) * law[VISCOSITY] * J) * shear_rate(L)
        weighted, _slope = pressure(J)
        for i in ti.static(range(dim)):
            stored[i, i] = fp(1.0)
            tau[i, i] -= law[BULK] * weighted
        stored[0, 0] = J
        return stored, tau

    @ti.func
    def respond_adjoint(F, J, L, law: ti.template(), stored_bar, tau_bar):
        """(F_bar, L_bar, law_bar) of ``respond``."""
        # d(J p) = -K slope dJ;  F_bar = J_bar cof F;  <tau_bar, dev sym dL> = <dev sym tau_bar, dL>
        law_bar = vec(0.0)
        D = shear_rate(L)
        weighted, slope = pressure(J)
        trace = tau_bar.trace()
        work = fp(0.0)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                work += tau_bar[i, j] * D[i, j]
        J_bar = stored_bar[0, 0] + trace * law[BULK] * slope + fp(2.0) * law[VISCOSITY] * work
        law_bar[BULK] = -trace * weighted
        law_bar[VISCOSITY] = fp(2.0) * J * work
        L_bar = (fp(2.0) * law[VISCOSITY] * J) * shear_rate(tau_bar)
        return J_bar * cofactor(F), L_bar, law_bar

    return SimpleNamespace(respond=respond, respond_adjoint=respond_adjoint)
