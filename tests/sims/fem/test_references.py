"""Solutions of contact mechanics against published numbers and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from pliant.sims.fem.references import bonded_layer_force, bonded_layer_solution, hertz_force

RADIUS, THICKNESS, MODULUS = 0.004, 0.005, 1e5
DEPTHS = np.array([2e-4, 5e-4, 1e-3])


def test_hertz_force_of_known_numbers():
    """16/9 E √R δ^1.5 at ν = 1/2: with R = 1 cm, δ = 1 mm, E = 100 kPa that is 0.5622 N."""
    assert hertz_force(0.01, 1e-3, 1e5, 0.5) == pytest.approx(0.562183, rel=1e-5)
    assert hertz_force(RADIUS, 1e-3, 1e5, 0.0) == pytest.approx(4 / 3 * 1e5 * np.sqrt(RADIUS) * 1e-3**1.5)
    assert np.array_equal(hertz_force(0.01, np.zeros((2, 3)), 1e5, 0.5), np.zeros((2, 3)))


def test_the_force_on_a_layer_has_the_coefficients_of_the_paper():
    """Dimitriadis et al. print them for ν = 1/2: 1 + 1.133 χ + 1.283 χ² + 0.769 χ³ + 0.0975 χ⁴.

    Their general formula gives the last one with the other sign; a half percent at χ = 0.4, which is left to it.
    """
    chi = np.array([0.01, 0.1, 0.2, 0.4])
    depth = (chi * THICKNESS) ** 2 / RADIUS
    ratio = bonded_layer_force(RADIUS, depth, THICKNESS, MODULUS, 0.5) / hertz_force(RADIUS, depth, MODULUS, 0.5)
    assert ratio == pytest.approx(1 + 1.133 * chi + 1.283 * chi**2 + 0.769 * chi**3 - 0.0975 * chi**4, rel=2e-4)


@pytest.mark.parametrize("poisson_ratio", [0.3, 0.45, 0.5])
def test_the_constants_of_the_paper_are_those_of_the_layer(poisson_ratio):
    """α is the integral of the layer's compliance less the half-space's, to the accuracy of the paper's fit in ν."""
    kappa = 3 - 4 * poisson_ratio

    def lacking(s):
        layer = (2 * kappa * np.sinh(2 * s) - 4 * s) / (2 * kappa * np.cosh(2 * s) + 1 + kappa**2 + 4 * s**2)
        return layer - 1

    alpha = quad(lacking, 0, 30)[0]
    paper = -(1.2876 - 1.4678 * poisson_ratio + 1.3442 * poisson_ratio**2) / (1 - poisson_ratio)
    assert alpha == pytest.approx(paper, rel=0.01)
    chi = 1e-3
    depth = (chi * THICKNESS) ** 2 / RADIUS
    ratio = bonded_layer_force(RADIUS, depth, THICKNESS, MODULUS, poisson_ratio)
    ratio /= hertz_force(RADIUS, depth, MODULUS, poisson_ratio)
    assert (ratio - 1) / chi == pytest.approx(-2 * paper / np.pi, rel=0.01)


@pytest.mark.parametrize("poisson_ratio", [0.0, 0.3, 0.45, 0.49])
def test_the_integral_equation_with_a_thick_layer_is_the_sphere_on_a_half_space(poisson_ratio):
    """Sneddon: δ = a/2 ln((R + a) / (R - a)), F = E / (1 - ν²) [(a² + R²) / 2 ln((R + a) / (R - a)) - a R]."""
    a = np.array([0.0002, 0.001, 0.002, 0.003])
    logarithm = np.log((RADIUS + a) / (RADIUS - a))
    exact = MODULUS / (1 - poisson_ratio**2) * ((a**2 + RADIUS**2) / 2 * logarithm - a * RADIUS)
    thick = bonded_layer_solution(RADIUS, a / 2 * logarithm, 1e4, MODULUS, poisson_ratio)
    assert thick == pytest.approx(exact, rel=1e-6)


def test_the_integral_equation_begins_like_hertz():
    assert bonded_layer_solution(RADIUS, 1e-10, THICKNESS, MODULUS, 0.45) == pytest.approx(
        hertz_force(RADIUS, 1e-10, MODULUS, 0.45), rel=1e-3
    )


@pytest.mark.parametrize("poisson_ratio", [0.3, 0.45, 0.5])
def test_series_and_integral_equation_agree_on_a_gel(poisson_ratio):
    """The series takes a paraboloid and leaves terms out; on a 5 mm gel under an 8 mm ball both nearly cancel."""
    series = bonded_layer_force(RADIUS, DEPTHS, THICKNESS, MODULUS, poisson_ratio)
    solution = bonded_layer_solution(RADIUS, DEPTHS, THICKNESS, MODULUS, poisson_ratio)
    assert series == pytest.approx(solution, rel=0.021)


def test_a_small_sphere_has_the_series_of_garcia_and_garcia():
    """For ν = 1/2 and a paraboloid: 1 + 1.133 χ + 1.497 χ² + 1.469 χ³ + 0.755 χ⁴ (Biophysical Journal 114, 2018).

    A sphere that is large beside the contact is a paraboloid.
    """
    radius, thickness = 1.0, 0.01
    chi = np.array([0.1, 0.2, 0.4])
    depth = (chi * thickness) ** 2 / radius
    ratio = bonded_layer_solution(radius, depth, thickness, MODULUS, 0.5) / hertz_force(radius, depth, MODULUS, 0.5)
    assert ratio == pytest.approx(1 + 1.133 * chi + 1.497 * chi**2 + 1.469 * chi**3 + 0.755 * chi**4, rel=4e-3)


def test_a_thinner_layer_is_stiffer():
    forces = [bonded_layer_solution(RADIUS, 5e-4, h, MODULUS, 0.45) for h in (0.001, 0.002, 0.005, 0.02)]
    assert (np.diff(forces) < 0).all()


@pytest.mark.parametrize("force", [bonded_layer_force, bonded_layer_solution])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"radius": 0}, "radius=0 must be a finite number > 0"),
        ({"depth": -1e-4}, "depth=-0.0001 must be >= 0"),
        ({"depth": 0.0045}, "depth=0.0045 must be >= 0 and at most the radius, 0.004"),
        ({"depth": np.nan}, "depth=nan must be finite"),
        ({"thickness": 0}, "thickness=0 must be"),
        ({"thickness": 5e-4}, "depth=0.0005 must be less than the thickness, 0.0005"),
        ({"youngs_modulus": -1}, "youngs_modulus=-1 must be"),
        ({"poisson_ratio": 0.51}, "poisson_ratio=0.51 must be a finite number >= 0 and <= 0.5"),
    ],
)
def test_what_cannot_be_is_refused(force, changes, problem):
    arguments = {"radius": 0.004, "depth": 5e-4, "thickness": 0.005, "youngs_modulus": 1e5, "poisson_ratio": 0.45}
    with pytest.raises(ValueError, match=problem):
        force(**arguments | changes)


def test_contacts_that_the_solutions_do_not_cover_are_refused():
    with pytest.raises(ValueError, match=r"depth=0.001 m is too deep: sqrt\(radius depth\) / thickness is 1.33"):
        bonded_layer_force(RADIUS, [1e-4, 1e-3], 0.0015, MODULUS, 0.45)
    with pytest.raises(ValueError, match=r"makes a contact of a radius of more than 0.0005 m"):
        bonded_layer_solution(RADIUS, 9e-5, 0.0001, MODULUS, 0.45)
