"""Solutions of contact mechanics that elastic gels are compared with: small strains, no friction, rigid spheres."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq

from pliant.sims.inputs import real, real_array

MOST_POISSON = 0.5
LARGEST_CHI = 1.0
"""Contact radius over thickness up to which the series of the layer is given."""

COLLOCATION = 48
WIDEST = 5.0
"""Contact radius over thickness up to which so many places resolve the layer."""

LONGEST_WAVE = 40.0
"""Wave number times thickness beyond which a layer is a half-space to rounding."""


def hertz_force(radius: float, depth: Any, youngs_modulus: float, poisson_ratio: float) -> np.ndarray:
    """Force [N] on a rigid sphere without friction, pressed into an elastic half-space: 4/3 E / (1 - ν²) √R δ^(3/2).

    H. Hertz, Über die Berührung fester elastischer Körper, 1882; K. L. Johnson, Contact Mechanics, 1985, eq. 4.23. It
    holds for depths much smaller than the radius.

    Args:
        radius: R of the sphere [m].
        depth: δ by which it is pressed in, any shape [m]; 0 where there is no contact.
        youngs_modulus: E [Pa].
        poisson_ratio: ν, in 0...0.5.

    Returns:
        Forces of the shape of ``depth`` [N].

    Raises:
        ValueError: an argument is out of range.
    """
    radius, depths, youngs_modulus, poisson_ratio = _checked(radius, depth, youngs_modulus, poisson_ratio)
    return 4 / 3 * youngs_modulus / (1 - poisson_ratio**2) * np.sqrt(radius) * depths**1.5


def bonded_layer_force(
    radius: float, depth: Any, thickness: float, youngs_modulus: float, poisson_ratio: float
) -> np.ndarray:
    """Force [N] on a rigid sphere without friction, pressed into an elastic layer that is bonded to a rigid base.

    With χ = √(R δ) / h,

        F = F_Hertz [1 - 2 α χ / π + 4 α² χ² / π² - 8 / π³ (α³ + 4 π² β / 15) χ³ + 16 α / π⁴ (α³ + 3 π² β / 5) χ⁴],
        α = -(1.2876 - 1.4678 ν + 1.3442 ν²) / (1 - ν),    β = (0.6387 - 1.0277 ν + 1.5164 ν²) / (1 - ν):

    E. K. Dimitriadis, F. Horkay, J. Maresca, B. Kachar, R. S. Chadwick, Determination of elastic moduli of thin layers
    of soft material using the atomic force microscope, Biophysical Journal 82, 2002, pp. 2798-2810.

    What the series leaves out and what a sphere lacks to the paraboloid that it takes nearly cancel each other: it is
    within 2 % of `bonded_layer_solution` for χ <= 0.4 and R = 0.8 h.

    Args:
        radius: R of the sphere [m].
        depth: δ by which it is pressed in, any shape [m].
        thickness: h of the layer [m]; the series is one in χ, and none is given here beyond χ = 1.
        youngs_modulus: E [Pa].
        poisson_ratio: ν, in 0...0.5.

    Returns:
        Forces of the shape of ``depth`` [N].

    Raises:
        ValueError: an argument is out of range.
    """
    thickness = _checked_thickness(thickness, depth)
    hertz = hertz_force(radius, depth, youngs_modulus, poisson_ratio)
    chi = np.sqrt(radius * np.asarray(depth, np.float64)) / thickness
    if chi.max(initial=0.0) > LARGEST_CHI:
        raise ValueError(
            f"depth={float(np.max(depth)):g} m is too deep: sqrt(radius depth) / thickness is {chi.max():.3g}, "
            f"allowed: at most {LARGEST_CHI:g}"
        )
    nu, pi = poisson_ratio, np.pi
    alpha = -(1.2876 - 1.4678 * nu + 1.3442 * nu**2) / (1 - nu)
    beta = (0.6387 - 1.0277 * nu + 1.5164 * nu**2) / (1 - nu)
    series = 1 - 2 * alpha / pi * chi + 4 * alpha**2 / pi**2 * chi**2
    series -= 8 / pi**3 * (alpha**3 + 4 * pi**2 / 15 * beta) * chi**3
    series += 16 * alpha / pi**4 * (alpha**3 + 3 * pi**2 / 5 * beta) * chi**4
    return hertz * series


def bonded_layer_solution(
    radius: float, depth: Any, thickness: float, youngs_modulus: float, poisson_ratio: float
) -> np.ndarray:
    """Force [N] as of `bonded_layer_force`, from the integral equation of the layer in place of a series.

    With the layer's compliance over the half-space's at the wave number s / h, for κ = 3 - 4 ν,

        L(s) = (2 κ sinh 2s - 4 s) / (2 κ cosh 2s + 1 + κ² + 4 s²),

    a contact of radius a has the force F = 2 E / (1 - ν²) ∫₀ᵃ φ(x) dx, where

        φ(x) + 2 / (π h) ∫₀ᵃ φ(t) ∫₀^∞ (L(s) - 1) cos(s x / h) cos(s t / h) ds dt = δ - x / 2 ln((R + x) / (R - x))

    and φ(a) = 0 (N. N. Lebedev and Y. S. Ufliand, Axisymmetric contact problem for an elastic layer, Journal of Applied
    Mathematics and Mechanics 22, 1958, pp. 442-450; the right side is that of a sphere, I. N. Sneddon, International
    Journal of Engineering Science 3, 1965, pp. 47-57). With a thick layer it is Sneddon's solution of the half-space.

    Arguments and what is returned as of `bonded_layer_force`. It takes some milliseconds a depth.

    Raises:
        ValueError: an argument is out of range, or the contact is wider than five times the thickness.
    """
    thickness = _checked_thickness(thickness, depth)
    radius, depths, youngs_modulus, poisson_ratio = _checked(radius, depth, youngs_modulus, poisson_ratio)
    forces = np.zeros(depths.shape)
    for place, value in np.ndenumerate(depths):
        if value > 0:
            given = value, radius, thickness, poisson_ratio
            widest = min(WIDEST * thickness, 0.999999 * radius)
            if _excess(widest, *given) < 0:
                raise ValueError(
                    f"depth={value:g} m makes a contact of a radius of more than {widest:.3g} m; allowed: at most "
                    f"that, {WIDEST:g} times the thickness {thickness:g} m or the radius {radius:g} m"
                )
            a = brentq(_excess, 1e-9 * radius, widest, given, xtol=1e-14 * radius)
            forces[place] = _layer_contact(a, radius, thickness, poisson_ratio)[1]
    return forces * youngs_modulus / (1 - poisson_ratio**2)


def _excess(a: float, depth: float, radius: float, thickness: float, poisson_ratio: float) -> float:
    return _layer_contact(a, radius, thickness, poisson_ratio)[0] - depth


def _layer_contact(a: float, radius: float, thickness: float, poisson_ratio: float) -> tuple[float, float]:
    """Depth [m] at which the contact's radius is ``a`` [m], and force over E / (1 - ν²) [m²]."""
    kappa = 3 - 4 * poisson_ratio
    s, s_weight = (LONGEST_WAVE * values for values in _gauss(8 * COLLOCATION))
    decay = np.exp(-2 * s)
    lacking = (kappa * (1 - decay**2) - 4 * s * decay) / (
        kappa * (1 + decay**2) + (1 + kappa**2 + 4 * s**2) * decay
    ) - 1
    x, weight = (a * values for values in _gauss(COLLOCATION))
    places = np.append(x, a)
    waves = np.cos(np.outer(places, s) / thickness)
    matrix = np.eye(len(places))
    matrix[:, :-1] += 2 / (np.pi * thickness) * (waves * (lacking * s_weight)) @ waves[:-1].T * weight
    sphere = places / 2 * np.log((radius + places) / (radius - places))
    flat, curved = np.linalg.solve(matrix, np.column_stack([np.ones(len(places)), sphere])).T
    depth = curved[-1] / flat[-1]
    return float(depth), float(2 * weight @ (depth * flat[:-1] - curved[:-1]))


@cache
def _gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    place, weight = np.polynomial.legendre.leggauss(count)
    return (place + 1) / 2, weight / 2


def _checked_thickness(thickness: float, depth: Any) -> float:
    thickness = real("thickness", thickness, above=0.0, unit="m")
    deepest = real_array("depth", depth).max(initial=0.0)
    if deepest >= thickness:
        raise ValueError(f"depth={deepest:g} must be less than the thickness, {thickness:g} [m]")
    return thickness


def _checked(
    radius: float, depth: Any, youngs_modulus: float, poisson_ratio: float
) -> tuple[float, np.ndarray, float, float]:
    radius = real("radius", radius, above=0.0, unit="m")
    depths = real_array("depth", depth)
    if depths.min(initial=0.0) < 0 or depths.max(initial=0.0) > radius:
        wrong = depths.min() if depths.min() < 0 else depths.max()
        raise ValueError(f"depth={wrong:g} must be >= 0 and at most the radius, {radius:g} [m]")
    youngs_modulus = real("youngs_modulus", youngs_modulus, above=0.0, unit="Pa")
    return radius, depths, youngs_modulus, real("poisson_ratio", poisson_ratio, 0.0, MOST_POISSON)
