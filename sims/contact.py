"""What a surface does to a velocity: sticking, slipping, or separating with Coulomb friction, and the adjoint."""

import functools
from types import SimpleNamespace

from pliant.sims.runtime import ti

STICKY, SLIP, SEPARATE = 0, 1, 2
CONTACT_KINDS = {"sticky": STICKY, "slip": SLIP, "separate": SEPARATE}  # name -> number that kernels know
CONTACT_NAMES = {number: name for name, number in CONTACT_KINDS.items()}


def contact_kind(name: str) -> int:
    """The number of a contact kind ("sticky", "slip" or "separate").

    Raises:
        ValueError: the name is unknown.
    """
    if name not in CONTACT_KINDS:
        raise ValueError(f"contact={name!r} is unknown; allowed: {', '.join(CONTACT_KINDS)}")
    return CONTACT_KINDS[name]


@functools.cache
def contact_functions(dim: int, fp) -> SimpleNamespace:
    """Taichi functions of one dimension (2 or 3) and floating-point type (ti.f32 or ti.f64).

    u (dim,) is a velocity relative to the surface [m/s], n (dim,) the unit outward normal, kind one of STICKY, SLIP,
    SEPARATE, mu the Coulomb coefficient (used by SEPARATE).

    ``respond(u, n, kind, mu) -> u_out``: STICKY stops it; SLIP removes the normal part; SEPARATE does nothing to what
    leaves (u.n >= 0), else removes the normal part and shortens the tangential one by mu |u.n|, at most to zero
    (the wall condition of ChainQueen, Hu et al. 2019).

    ``respond_adjoint(u, n, kind, mu, u_out_bar) -> (u_bar, n_bar, mu_bar)``; n is taken as three independent numbers.
    """
    if dim not in (2, 3):
        raise ValueError(f"dim={dim!r} must be 2 or 3")
    vector = ti.types.vector(dim, fp)

    @ti.func
    def respond(u, n, kind, mu):
        """Velocity u_out after contact, relative to the surface like u [m/s]."""
        u_out = u
        if kind == STICKY:
            u_out = vector(0)
        else:
            un = u.dot(n)
            if kind == SLIP or un < 0:
                u_out = u - un * n
                if kind == SEPARATE:
                    speed = ti.sqrt(u_out.dot(u_out))
                    if speed <= -mu * un:
                        u_out = vector(0)
                    else:
                        u_out *= 1 + mu * un / speed
        return u_out

    @ti.func
    def respond_adjoint(u, n, kind, mu, u_out_bar):
        """(u_bar, n_bar, mu_bar) from the cotangent of ``respond``'s result."""
        # un = u.n,  t = u - un n,  e = t/|t|,  k = 1 + mu un/|t|,  u_out = k t (SLIP: k = 1; held by friction: 0)
        #   t_bar = k u_out_bar - mu un/|t| (e.u_out_bar) e,   mu_bar = un (e.u_out_bar)
        #   un_bar = mu (e.u_out_bar) - n.t_bar,   u_bar = t_bar + un_bar n,   n_bar = un_bar u - un t_bar
        u_bar = u_out_bar
        n_bar = vector(0)
        mu_bar = fp(0.0)
        if kind == STICKY:
            u_bar = vector(0)
        else:
            un = u.dot(n)
            if kind == SLIP or un < 0:
                t_bar = u_out_bar
                un_bar = fp(0.0)
                if kind == SEPARATE:
                    t = u - un * n
                    speed = ti.sqrt(t.dot(t))
                    if speed <= -mu * un:
                        t_bar = vector(0)
                    else:
                        e = t / speed
                        along = e.dot(u_out_bar)
                        loss = mu * un / speed
                        t_bar = (1 + loss) * u_out_bar - loss * along * e
                        un_bar = mu * along
                        mu_bar = un * along
                un_bar -= n.dot(t_bar)
                u_bar = t_bar + un_bar * n
                n_bar = un_bar * u - un * t_bar
        return u_bar, n_bar, mu_bar

    return SimpleNamespace(respond=respond, respond_adjoint=respond_adjoint)
