"""Surface tension of the liquids of a scene: what is computed, how large a substep may be, and its memory.

The surface energy gamma |grad c|, integrated over the domain, is gamma times the area of the surface where the colour c,
the volume fraction of liquid, falls from 1 to 0 (Brackbill, Kothe & Zemach 1992, "A continuum method for modeling surface
tension", eqs. 11-20, whose force gamma kappa grad c is its gradient). Here it is a sum over grid nodes,

    E = gamma cell^dim / share  sum_i (sqrt(|D c_s|_i^2 + eps^2) - eps),      c_s = S c

with the colour scattered from the liquid particles, c_i = sum_p V_p w_ip / cell^dim (volumes at rest, quadratic B-splines),
the binomial mean S (1, 4, 6, 4, 1) / 16 along each axis, which makes E nearly the same wherever the liquid lies in its cells, and
central differences D. With D^T = -D its variation by the colour is the potential mu,

    mu = dE / dc cell^-dim = -gamma / share  S (D . q),     q = D c_s / sqrt(|D c_s|^2 + eps^2),

gamma times the curvature near the surface, and a liquid that carries its colour along feels the force -c grad mu
(the potential form, e.g. Jacqmin 1999, "Calculation of two-phase Navier-Stokes flows using phase-field modeling"):

    (mv)_i += -dt cell^dim c_i (D mu)_i

It is in proportion to the colour of a node, hence bounded per mass down to the last particle of the spray, and at rest
pressure balances it, being a gradient: no spurious currents drive a drop. ``share`` makes up for eps: E of a flat surface
with a sharp edge is gamma times its area (within 0.6 % in any direction).

Consequences.  The pressure of the equation of state is that of the liquid less c mu: it is gamma / R (2 gamma / R in 3-D)
deep inside a drop, and dips within some three cells of the surface. Curvature is resolved to second order in cell / R: 8 %
of a frequency are lost at R = 8 cells.  The sum of the forces of a drop is zero but for how E depends on the place of the
liquid in its cells: some 1 % of gamma (gamma cell in 3-D).  Only liquids count in c: where a liquid meets a wall, a
manipulator or a body of another material its surface has the same tension as against air, so it wets nothing (contact
angle 180 degrees), and between two liquids there is no tension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pliant.sims.mpm.yielding import LIQUID

if TYPE_CHECKING:
    from pliant.sims.mpm.scene import Scene

EPSILON = 0.05
"""Change of the colour a cell below which there is no surface: particles that lie unevenly make as much."""

SHARE = 0.763
"""E of a flat surface without the division by it, over gamma times its area, for ``EPSILON``: mean over directions."""

REACH = 3
"""Cells beyond the particles' stencils where D c_s is not zero yet."""

STAGES = 5
"""Phases from the colours of the particles to the potential, between scattering and the update of the nodes."""

STIFFNESS = 10.0
"""Least bulk modulus in units of gamma / cell: the equation of state holds K / 7 of tension, the dip of pressure under a
surface takes some half of gamma / cell."""


def field_count(dim: int) -> int:
    """Floats a node that the stages work on, beside the colour."""
    return 4 + dim


def capillary_substep(cell: float, density_over_tension: float) -> float:
    """The longest substep [s] that resolves capillary waves on cells of the given edge [m].

    Brackbill et al. 1992, eq. 61: sqrt((rho_1 + rho_2) cell^3 / (4 pi gamma)), with nothing outside.
    """
    return float(np.sqrt(density_over_tension * cell**3 / (4 * np.pi)))


def check_tension(scene: Scene) -> None:
    """Raise ``ValueError`` unless the surface tension of a scene is a number that its liquids can bear."""
    gamma = scene.surface_tension
    if np.shape(gamma) != () or not (np.isfinite(gamma) and gamma >= 0):
        raise ValueError(f"surface_tension={gamma!r} must be a finite number >= 0 [N/m]")
    if gamma > 0 and not any(body.material == "liquid" for body in scene.bodies):
        raise ValueError(f"surface_tension={gamma!r} needs a body of material 'liquid'; there is none")
    for body in scene.bodies:
        if body.material == "liquid":
            check_stiffness(f"body {body.name!r}", scene.cell, gamma, body.column("bulk_modulus"))


def check_stiffness(where: str, cell: float, tension: float, bulk_modulus: np.ndarray) -> None:
    """Raise ``ValueError`` if a liquid's surface would tear."""
    least = STIFFNESS * tension / cell
    if np.min(bulk_modulus) < least:
        raise ValueError(
            f"{where}: bulk_modulus={float(np.min(bulk_modulus)):.6g} Pa is too small for surface_tension={tension:.6g} "
            f"N/m on cells of {cell:.3g} m; allowed: at least {STIFFNESS:g} surface_tension / cell = {least:.6g} Pa"
        )


def check_tension_parameters(cell: float, material: np.ndarray, values: dict[str, np.ndarray]) -> None:
    """The same of parameters by name: surface_tension (B,), bulk_modulus (B, N)."""
    tension = values["surface_tension"].astype(float)
    if tension.min() < 0:
        raise ValueError(f"parameter 'surface_tension'={tension.min()} must not be negative")
    for gamma, bulk in zip(tension, values["bulk_modulus"][:, material == LIQUID], strict=True):
        check_stiffness("parameters", cell, float(gamma), bulk)
