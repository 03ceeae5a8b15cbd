"""From the moduli that the kernels work with to the parameters of a gel."""

from functools import cache
from typing import Any

from pliant.sims.fem import places
from pliant.sims.fem.places import Setup
from pliant.sims.fields import PARAMETER
from pliant.sims.runtime import ti


@cache
def moduli_adjoint(setup: Setup) -> Any:
    """``add(mem, b, g, mu_bar, lam_bar, eta_bar, density_bar)``: to the cotangents of gel g's parameters."""
    at = setup.at

    @ti.func
    def add_to(mem: ti.template(), o, value):
        """Adds to the cotangent of a parameter."""
        mem.parameter_adjoint[o] = mem.parameter_adjoint[o] + value

    @ti.func
    def add(mem: ti.template(), b, g, mu_bar, lam_bar, eta_bar, density_bar):
        """With mu = E / (2 (1 + nu)) and lambda' = E nu / ((1 + nu) (1 - 2 nu)) + mu."""
        h = ti.static(mem.integers)
        o = b * h[PARAMETER] + h[at.gel_parameters] + g * places.GEL_PARAMETERS
        E, nu = mem.parameters[o + places.YOUNG], mem.parameters[o + places.POISSON]
        mu = 1 / (2 * (1 + nu))
        lam = nu / ((1 + nu) * (1 - 2 * nu)) + mu
        mu_slope = -1 / (2 * (1 + nu) * (1 + nu))
        lam_slope = (1 + 2 * nu * nu) / ((1 + nu) * (1 + nu) * (1 - 2 * nu) * (1 - 2 * nu)) + mu_slope
        add_to(mem, o + places.YOUNG, mu_bar * mu + lam_bar * lam)
        add_to(mem, o + places.POISSON, E * (mu_bar * mu_slope + lam_bar * lam_slope))
        add_to(mem, o + places.DENSITY, density_bar)
        add_to(mem, o + places.VISCOSITY, eta_bar)

    return add
