"""Surface tension of the liquids of a scene: what is computed, what a scene must meet, and its memory.

The surface energy gamma |grad f|, integrated over the domain, is gamma times the area of the surface where f falls from
1 in the liquid to 0 outside (Brackbill, Kothe & Zemach 1992, "A continuum method for modeling surface tension", eqs.
11-20, whose force gamma kappa grad f is its gradient). Here it is a sum over grid nodes,

    E = gamma cell^(dim - 1) / share  sum_i (sqrt(|D f(c_s)|_i^2 + eps^2) - eps)
    c_s = S c,   f(x) = 3 x^2 - 2 x^3 (1 from 1 on)

with the colour c scattered from the liquid particles, c_i = sum_p V_p w_ip / cell^dim (volumes at rest, quadratic
B-splines), the binomial mean S (1, 4, 6, 4, 1) / 16 along each axis, which makes E nearly the same wherever the liquid
lies in its cells, and central differences D, in cells. f levels out where c_s is 0 or 1: stray particles and unevenness
inside make no surface. With D^T = -D the derivative of E by the colour, per volume, is the potential

    mu = -gamma / (share cell)  S (f'(c_s) D . q),     q = D f(c_s) / sqrt(|D f(c_s)|^2 + eps^2),

and a liquid that carries its colour along feels the force -c grad mu (the potential form of a capillary force, e.g.
Jacqmin 1999, "Calculation of two-phase Navier-Stokes flows using phase-field modeling"):

    (mv)_i += -dt cell^dim c_i (D mu)_i / cell

It is in proportion to the colour of a node, hence bounded per mass down to the last particle of a spray, and the
gradient of a potential: pressure balances it and a drop comes to rest, without the currents of other forms. ``share``
makes up for eps: E of a flat surface with a sharp edge is gamma times its area (within 1.4 % in any direction).

What to expect. The pressure of the equation of state is gamma / R (2 gamma / R in 3-D) deep inside a drop, and dips by
about 0.1 gamma / cell within three cells of the surface, where mu takes its part. Surfaces are a few cells thick: drops
of R = 8 cells oscillate 8 % too slowly, of 16 cells 5 %, in 3-D of 6 cells 15 %. The forces on a drop add up to zero
but for how E depends on the place of the liquid in its cells: some hundredths of gamma (times cell in 3-D). Strays that
have come off hover within three cells of the surface, where the potential has a shallow trough. Only liquids count in
c: where a liquid meets a wall, a manipulator or a body of another material its surface has the same tension as against
air, so it wets nothing (contact angle 180 degrees), and between two liquids there is no tension.

A liquid must be stiff against its surface tension, K >= 20 gamma / cell, or its surface tears. The substep that
resolves its sound waves is then shorter than Brackbill's for capillary waves, sqrt(rho cell^3 / (4 pi gamma)) (eq. 61),
of itself.
"""

from __future__ import annotations

import numpy as np

from pliant.sims.mpm.bodies import Matter
from pliant.sims.mpm.laws.yielding import LIQUID

EPSILON = 0.05
"""Change of f a cell below which there is no surface."""

SHARE = 0.813
"""E of a flat surface without the division by it, over gamma times its area, for ``EPSILON``: mean over directions."""

REACH = 3
"""How many cells D f(c_s) reaches beyond the particles' stencils."""

STIFFNESS = 20.0
"""Least bulk modulus of a liquid in units of gamma / cell. Of a drop at 10 particles are flung off."""


def field_count(dim: int) -> int:
    """Floats a node that the stages work on, beside the colour."""
    return 6 + dim


def check_tension(scene: Matter) -> None:
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
            f"{where}: bulk_modulus={float(np.min(bulk_modulus)):.6g} Pa is too small for surface_tension="
            f"{tension:.6g} N/m on cells of {cell:.3g} m; allowed: at least {STIFFNESS:g} surface_tension / cell = "
            f"{least:.6g} Pa"
        )


def check_tension_parameters(cell: float, material: np.ndarray, values: dict[str, np.ndarray]) -> None:
    """The same of parameters by name: surface_tension (B,), bulk_modulus (B, N)."""
    tension = values["surface_tension"].astype(float)
    if tension.min() < 0:
        raise ValueError(f"parameter 'surface_tension'={tension.min():.6g} must not be negative")
    for gamma, bulk in zip(tension, values["bulk_modulus"][:, material == LIQUID], strict=True):
        check_stiffness("parameters", cell, float(gamma), bulk)
