"""Between the parameters of a gel and the moduli that the kernels work with."""

from functools import cache
from typing import Any

from pliant.sims.fem import places
from pliant.sims.fem.places import Setup
from pliant.sims.fields import PARAMETER
from pliant.sims.part import Pass
from pliant.sims.runtime import ti


@cache
def moduli_of(setup: Setup) -> Any:
    """A Taichi function (mem, b, cell): mu, lambda' and eta of the cell's gel."""
    at = setup.at

    @ti.func
    def moduli(mem: ti.template(), b, cell):
        """With mu = E / (2 (1 + nu)) and lambda' = E nu / ((1 + nu) (1 - 2 nu)) + mu."""
        h = ti.static(mem.integers)
        o = b * h[PARAMETER] + h[at.gel_parameters] + h[h[at.cell_gel] + cell] * places.GEL_PARAMETERS
        E, nu = mem.parameters[o + places.YOUNG], mem.parameters[o + places.POISSON]
        mu = E / (2 * (1 + nu))
        return mu, E * nu / ((1 + nu) * (1 - 2 * nu)) + mu, mem.parameters[o + places.VISCOSITY]

    return moduli


@cache
def parameter_pass(setup: Setup, moduli_bar_at: Any, density_bar_at: Any) -> Pass:
    """Adds what cells and nodes have found to the cotangents of the gels' parameters.

    Args:
        setup: of the gels.
        moduli_bar_at: Taichi function (mem, b, cell): where the cotangents of mu, lambda' and eta are in the scratch.
        density_bar_at: Taichi function (mem, b, node): where that of the density is.
    """
    at, fp = setup.at, setup.fp

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

    @ti.func
    def add_parameters(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cotangents of Young's modulus, Poisson's ratio, density and viscosity of gels first to stop - 1."""
        h = ti.static(mem.integers)
        for g in range(first, stop):
            mu_bar, lam_bar, eta_bar, density_bar = fp(0.0), fp(0.0), fp(0.0), fp(0.0)
            for k in range(h[h[at.gel_cells] + g], h[h[at.gel_cells] + g + 1]):
                o = moduli_bar_at(mem, b, k)
                mu_bar += mem.scratch[o]
                lam_bar += mem.scratch[o + 1]
                eta_bar += mem.scratch[o + 2]
            for i in range(h[h[at.gel_nodes] + g], h[h[at.gel_nodes] + g + 1]):
                density_bar += mem.scratch[density_bar_at(mem, b, i)]
            add(mem, b, g, mu_bar, lam_bar, eta_bar, density_bar)

    return Pass(add_parameters, at.gels)
