"""Parametrisations: bounds, shapes, and adjoints against differences."""

import numpy as np
import pytest

from pliant.policies.parametrisation import knots, make_parametrisation, sequence, sinusoids
from pliant.policies.trajectory.settings import TrajectorySettings

CASES = {
    "sequence": sequence(17, 3),
    "linear knots": knots(17, 3, 5),
    "cubic knots": knots(17, 3, 6, degree=3),
    "sinusoids": sinusoids(17, 3, np.array([1.0, 2.5]), time_step=0.02),
}


@pytest.mark.parametrize("name", CASES)
def test_adjoint_is_the_derivative(name):
    shape, random = CASES[name], np.random.default_rng(1)
    parameters = 0.5 * random.uniform(-1, 1, shape.size)
    cotangent, direction = random.standard_normal((17, 3)), random.standard_normal(shape.size)
    h = 1e-6
    ahead, behind = shape.actions(parameters + h * direction), shape.actions(parameters - h * direction)
    numeric = (cotangent * (ahead - behind)).sum() / (2 * h)
    assert shape.adjoint(parameters, cotangent) @ direction == pytest.approx(numeric, rel=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_actions_stay_in_bounds_after_projection(name):
    shape = CASES[name]
    actions = shape.actions(shape.project(5 * np.random.default_rng(0).standard_normal(shape.size)))
    assert actions.shape == (17, 3)
    assert np.abs(actions).max() <= 1


@pytest.mark.parametrize("degree", [1, 3])
def test_splines_reproduce_constants_and_reach_the_bounds(degree):
    shape = knots(20, 1, 6, degree=degree)
    np.testing.assert_allclose(shape.actions(np.full(6, 0.7)), 0.7)
    np.testing.assert_allclose(shape.actions(np.ones(6)), 1.0)


def test_linear_knots_interpolate():
    shape = knots(11, 1, 3)
    np.testing.assert_allclose(shape.actions(np.array([0.0, 1.0, 0.0]))[:, 0], 1 - np.abs(np.linspace(-1, 1, 11)))


def test_sinusoids_have_the_stated_frequency():
    shape = sinusoids(100, 1, np.array([2.0]), time_step=0.01)
    actions = shape.actions(np.array([0.0, 0.3, 0.0]))[:, 0]
    np.testing.assert_allclose(np.arctanh(actions), 0.3 * np.sin(2 * np.pi * 2.0 * np.arange(100) * 0.01), atol=1e-12)


def test_settings_choose_the_family():
    def size(**changes):
        return make_parametrisation(TrajectorySettings(**changes), horizon=30, action_size=2, time_step=0.02).size

    assert size() == 60
    assert size(parametrisation="knots", knots=7) == 14
    assert size(parametrisation="sinusoids", sinusoids=3) == 2 * (1 + 2 * 3)


def test_too_many_or_too_few_knots_are_refused():
    with pytest.raises(ValueError, match="knots=40 exceeds the 30 steps"):
        knots(30, 2, 40)
    with pytest.raises(ValueError, match="knots=3 is too few"):
        knots(30, 2, 3, degree=3)


@pytest.mark.parametrize(
    "shape",
    [
        sequence(20, 2),
        knots(20, 2, 6),
        knots(20, 2, 8, degree=3),
        sinusoids(20, 2, np.array([1.0, 2.0]), time_step=0.05),
    ],
    ids=["sequence", "knots", "spline", "sinusoids"],
)
def test_fitted_parameters_give_the_actions_again_and_touch_what_they_say(shape):
    random = np.random.default_rng(0)
    parameters = random.uniform(-0.4, 0.4, shape.size)
    np.testing.assert_allclose(shape.nearest(shape.actions(parameters)), parameters, atol=1e-9)
    for steps in (0, 1, 7, 20):
        touched = shape.touches(steps)
        changed = shape.actions(parameters + np.where(touched, 0.0, random.uniform(0.1, 0.2, shape.size)))
        np.testing.assert_array_equal(changed[:steps], shape.actions(parameters)[:steps])
        assert touched.all() if steps == 20 else steps or not touched.any()
