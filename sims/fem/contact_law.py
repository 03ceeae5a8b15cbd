"""What a surface answers to a point of area A that touches it: a normal spring and damper, and friction with a spring.

Within a step the surface is the plane that touches it where the point would be (gap phi, unit normal n); w is how much
further the point moves than was foreseen, relative to the surface, so that g = phi + n.w is the gap at its end. With
h(g) a ramp that begins smoothly, L = mu N_0 / (k_t A), and psi(r) = min(r, 1), rounded about r = 1,

    normal    N = k A h(g) max(0, 1 + c (g_0 - g) / dt)                                       g_0: gap at the start
    stick     t = (I - n n^T) (s_0 + w)                                                       s_0: stretch so far
    slip      s = t psi(|t| / L) / (|t| / L),   F = N n - k_t A s

The bound of friction follows N_0, what the steps before leave of the normal force: N (3 N_0 + N) / (N_0 + 3 N), whose
slopes at N = N_0 are a half each. Friction that followed the last step alone would set a gel ringing that slides:
friction lifts it, less pressure is less friction, and so on from step to step. Both parts of the force have a potential
in w, so that the derivative K = -dF/dw is symmetric, and it is not negative. Below (1 - ROUNDING) L nothing slips at
all: what is held does not creep. (A tangential spring with a Coulomb slider: Cundall and Strack 1979; damper in
proportion to the spring: Hunt and Crossley 1975.)

Where it is not smooth: at the edge of the damper's clamp (a surface that is left faster than 1 / c), and where a point
is first touched (N_0 = 0 means no friction in that step).
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import ti

ROUNDING = 0.1
"""Half the width of the range, in units of the slip limit, in which sticking passes over into sliding."""


LEAST_FORCE = 1e-15
"""Normal force and limit of friction that count as none [N]: of less, float32 has no square."""


@cache
def law_functions(fp: Any) -> SimpleNamespace:
    """``respond``: force, stretch, normal force and stiffness; ``respond_adjoint``. All vectors in one frame."""
    mat = ti.types.matrix(3, 3, fp)
    w_r = ROUNDING

    @ti.func
    def ramp(g, width):
        """h(g): -g for deep gaps, 0 for open ones, a parabola for |g| < width; and its derivative."""
        value, slope = fp(0.0), fp(0.0)
        if g < -width:
            value, slope = -g, fp(-1.0)
        elif g < width:
            value = (width - g) * (width - g) / (4 * width)
            slope = -(width - g) / (2 * width)
        return value, slope

    @ti.func
    def shortening(r):
        """psi(r) / r and its derivative."""
        value, slope = fp(1.0), fp(0.0)
        if r > 1 + w_r:
            value = 1 / r
            slope = -1 / (r * r)
        elif r > 1 - w_r:
            e = r - 1 + w_r
            psi = r - e * e / (4 * w_r)
            value = psi / r
            slope = ((1 - e / (2 * w_r)) * r - psi) / (r * r)
        return value, slope

    @ti.func
    def blend(before, normal):
        """N (3 N_0 + N) / (N_0 + 3 N), and its derivatives by N_0 and N."""
        value, by_before, by_normal = fp(0.0), fp(0.5), fp(1.0 / 3.0)
        below = before + 3 * normal
        if below > fp(LEAST_FORCE):
            value = normal * (3 * before + normal) / below
            by_before = 8 * normal * normal / (below * below)
            by_normal = (3 * before * before + 2 * before * normal + 3 * normal * normal) / (below * below)
        return value, by_before, by_normal

    @ti.func
    def damped(g, gap_before, damping, dt):
        """max(0, 1 + c (g_0 - g) / dt), and whether it is not clamped."""
        value = 1 + damping * (gap_before - g) / dt
        is_free = fp(1.0)
        if value <= 0:
            value, is_free = fp(0.0), fp(0.0)
        return value, is_free

    @ti.func
    def stick(n, v, k_t_area, limit_force):
        """Tangential part t of v, its length, psi / r, the derivative of that by |t|."""
        t = v - n * n.dot(v)
        length = ti.sqrt(t.dot(t))
        factor, slope = fp(0.0), fp(0.0)
        if limit_force > fp(LEAST_FORCE):
            limit = limit_force / k_t_area
            factor, slope = shortening(length / limit)
            slope /= limit
        return t, length, factor, slope

    @ti.func
    def respond(phi, n, gap_before, stretch, before, w, k_area, k_t_area, mu, damping, width, dt):
        """Force on the point, its new stretch, what it keeps of the normal force, and K; ``before``: what was kept."""
        g = phi + n.dot(w)
        h, slope = ramp(g, width)
        d, is_free = damped(g, gap_before, damping, dt)
        normal = k_area * h * d
        K = (k_area * (-slope * d + is_free * h * damping / dt)) * n.outer_product(n)
        t, length, factor, slope_t = stick(n, stretch + w, k_t_area, mu * before)
        new_stretch = factor * t
        K += (k_t_area * factor) * (mat([[1, 0, 0], [0, 1, 0], [0, 0, 1]]) - n.outer_product(n))
        if length > 0:
            K += (k_t_area * slope_t / length) * t.outer_product(t)
        kept, _by_before, _by_normal = blend(before, normal)
        return normal * n - k_t_area * new_stretch, new_stretch, kept, K

    @ti.func
    def respond_adjoint(
        phi,
        n,
        gap_before,
        stretch,
        before,
        w,
        k_area,
        k_t_area,
        mu,
        damping,
        width,
        dt,
        force_bar,
        stretch_bar,
        kept_bar,
    ):
        """Cotangents of phi, n, g_0, s_0, N_0, w, and a vector of those of k A, k_t A, mu and c."""
        g = phi + n.dot(w)
        h, slope = ramp(g, width)
        d, is_free = damped(g, gap_before, damping, dt)
        normal = k_area * h * d
        v = stretch + w
        limit_force = mu * before
        t, length, factor, slope_t = stick(n, v, k_t_area, limit_force)
        # s = factor t, F = N n - k_t A s
        q = stretch_bar - k_t_area * force_bar
        k_t_bar = -factor * t.dot(force_bar)
        t_bar = factor * q
        limit_bar = fp(0.0)
        if length > 0 and limit_force > fp(LEAST_FORCE):
            along = q.dot(t)
            t_bar += (along * slope_t / length) * t
            # factor depends on r = |t| / limit: d factor / d limit = -slope_t |t| / limit
            limit = limit_force / k_t_area
            limit_bar = -along * slope_t * length / limit
            k_t_bar -= limit_bar * limit / k_t_area
            limit_bar /= k_t_area
        mu_bar = limit_bar * before
        before_bar = limit_bar * mu
        v_bar = t_bar - n * n.dot(t_bar)
        n_bar = normal * force_bar - n.dot(v) * t_bar - n.dot(t_bar) * v
        _kept, by_before, by_normal = blend(before, normal)
        before_bar += by_before * kept_bar
        N_bar = by_normal * kept_bar + force_bar.dot(n)
        k_bar = N_bar * h * d
        d_bar = N_bar * k_area * h * is_free
        g_bar = N_bar * k_area * slope * d - d_bar * damping / dt
        gap_before_bar = d_bar * damping / dt
        damping_bar = d_bar * (gap_before - g) / dt
        n_bar += g_bar * w
        w_bar = v_bar + g_bar * n
        parameters = ti.Vector([k_bar, k_t_bar, mu_bar, damping_bar])
        return g_bar, n_bar, gap_before_bar, v_bar, before_bar, w_bar, parameters

    return SimpleNamespace(respond=respond, respond_adjoint=respond_adjoint, blend=blend)
