"""Trajectory optimisers on a problem with a known optimum."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from pliant.policies.files.checkpoints import load_arrays, save_arrays
from pliant.policies.trajectory import cem, cmaes, gradient, lbfgs, mppi, random_search
from pliant.policies.trajectory.episode import HISTORY_COLUMNS
from pliant.policies.trajectory.settings import (
    CemSettings,
    CmaesSettings,
    GradientSettings,
    LbfgsSettings,
    MppiSettings,
    RandomSearchSettings,
    check_settings,
)


@pytest.fixture
def env(fake_env):
    return fake_env.FakePointMass(differentiable=True, precision="f64")


@pytest.mark.parametrize("family", ["sequence", "knots"])
def test_gradient_reaches_the_closed_form_optimum(env, family):
    settings = GradientSettings(
        iterations=150, learning_rate=0.1, parametrisation=family, knots=5, seed=3, best_by="return"
    )
    result = gradient.optimize(env, settings)
    env.reset(seed=3)
    np.testing.assert_allclose(result.actions, np.tile(env.best_action(), (20, 1)), atol=3e-3)
    assert result.simulated_steps == result.reverse_steps == 150 * 20
    assert [set(row) for row in result.history] == [set(HISTORY_COLUMNS)] * 150
    assert result.score > 0.9


def test_sinusoids_reach_the_closed_form_optimum(env):
    settings = GradientSettings(
        iterations=200, learning_rate=0.1, parametrisation="sinusoids", sinusoids=2, best_by="return"
    )
    result = gradient.optimize(env, settings)
    env.reset(seed=0)
    np.testing.assert_allclose(result.actions, np.tile(env.best_action(), (20, 1)), atol=1e-2)


def test_bounds_are_reached_exactly(fake_env):
    env = fake_env.FakePointMass(
        differentiable=True, precision="f64", horizon=2, action_cost=0.0, parameters={"gain": [0.1, 0.1]}
    )
    result = gradient.optimize(env, GradientSettings(iterations=60, learning_rate=0.2, best_by="return"))
    np.testing.assert_array_equal(result.actions, 1.0)


@pytest.mark.parametrize("schedule", ["constant", "step"])
def test_schedules_and_clipping_reach_the_optimum(env, schedule):
    settings = GradientSettings(
        iterations=150, schedule=schedule, decay_every=50, clip_norm=0.5, beta2=0.9, best_by="return"
    )
    result = gradient.optimize(env, settings)
    env.reset(seed=0)
    np.testing.assert_allclose(result.actions, np.tile(env.best_action(), (20, 1)), atol=3e-2)


def test_growing_horizon_ends_at_the_whole_episode(env):
    settings = GradientSettings(iterations=200, start_horizon=5, horizon_growth=2.0, plateau_patience=3)
    result = gradient.optimize(env, settings)
    horizons = [row["horizon"] for row in result.history]
    assert horizons[0] == 5 and horizons[-1] == 20 and sorted(horizons) == horizons
    assert result.simulated_steps == sum(horizons)
    assert result.score > 0.9


def test_a_horizon_that_never_grew_is_still_judged_on_the_whole_episode(env):
    result = gradient.optimize(env, GradientSettings(iterations=2, start_horizon=5))
    assert result.simulated_steps == 2 * 5 + 20
    assert 0 <= result.score <= 1 and np.isfinite(result.value)


@pytest.mark.parametrize("growing", [False, True])
def test_resumed_gradient_run_equals_an_uninterrupted_one(env, tmp_path, growing):
    settings = GradientSettings(iterations=40, start_horizon=5 if growing else 0, plateau_patience=2)
    whole = gradient.optimize(env, settings)

    class Killed(Exception):
        pass

    def on_iteration(state, row):
        save_arrays(tmp_path / "state.npz", state.to_arrays())
        if row["iteration"] == 17:
            raise Killed

    with pytest.raises(Killed):
        gradient.optimize(env, settings, on_iteration=on_iteration)
    state = gradient.GradientState.from_arrays(load_arrays(tmp_path / "state.npz"))
    rest = gradient.optimize(env, settings, state=state)
    np.testing.assert_array_equal(rest.actions, whole.actions)
    assert [{**row, "seconds": 0} for row in rest.history] == [{**row, "seconds": 0} for row in whole.history]


def test_initial_parameters_are_kept_as_given(env):
    start = np.full(40, 0.25)
    result = gradient.optimize(env, GradientSettings(iterations=1), initial_parameters=start)
    np.testing.assert_array_equal(result.initial_actions, 0.25)
    with pytest.raises(ValueError, match="initial_parameters"):
        gradient.optimize(env, GradientSettings(iterations=1), initial_parameters=start[1:])


@pytest.mark.parametrize("method", ["gradient", "cmaes"])
def test_a_budget_of_simulated_steps_is_kept(env, method):
    if method == "gradient":
        result = gradient.optimize(env, GradientSettings(max_simulated_steps=110))
        assert result.simulated_steps == 100
    else:
        result = cmaes.optimize(env, CmaesSettings(max_simulated_steps=330, population=5))
        assert result.simulated_steps == 300


@pytest.mark.parametrize(
    ("method", "settings"),
    [(gradient, GradientSettings()), (lbfgs, LbfgsSettings()), (cmaes, CmaesSettings()), (mppi, MppiSettings())],
)
def test_a_budget_of_time_ends_a_run_after_the_iteration_that_exceeds_it(env, method, settings):
    result = method.optimize(env, replace(settings, iterations=1000, max_seconds=1e-9))
    assert len(result.history) == 1
    resumed = method.optimize(env, replace(settings, iterations=3, max_seconds=1e9), state=result.state)
    assert len(resumed.history) == 3


@pytest.mark.parametrize(
    ("method", "settings", "least"),
    [
        (gradient, GradientSettings(max_simulated_steps=19), 20),
        (lbfgs, LbfgsSettings(max_simulated_steps=19), 20),
        (cmaes, CmaesSettings(max_simulated_steps=99, population=5), 100),
        (cem, CemSettings(max_simulated_steps=99, population=5), 100),
        (mppi, MppiSettings(max_simulated_steps=99, population=5), 100),
        (random_search, RandomSearchSettings(max_simulated_steps=99, population=5), 100),
    ],
)
def test_a_budget_below_one_iteration_is_refused(env, method, settings, least):
    with pytest.raises(ValueError, match=rf"max_simulated_steps={settings.max_simulated_steps} .* from {least}$"):
        method.optimize(env, settings)


def test_a_target_score_ends_the_run(env):
    result = gradient.optimize(env, GradientSettings(iterations=150, learning_rate=0.1, target_score=0.5))
    assert 0.5 <= result.score < 0.8 and len(result.history) < 150


@pytest.mark.parametrize("diagonal", ["on", "off"])
def test_cmaes_reaches_the_closed_form_optimum(env, diagonal):
    settings = CmaesSettings(
        iterations=150, parametrisation="knots", knots=3, diagonal=diagonal, seed=2, best_by="return"
    )
    result = cmaes.optimize(env, settings)
    env.reset(seed=2)
    np.testing.assert_allclose(result.actions, np.tile(env.best_action(), (20, 1)), atol=1e-2)
    assert result.reverse_steps == 0


def test_cmaes_candidates_in_a_batch_give_the_same_search(env, fake_env):
    settings = CmaesSettings(iterations=10, parametrisation="knots", knots=3, population=6)
    alone = cmaes.optimize(env, settings)
    exact = gymnasium.make_vec(
        fake_env.ID, num_envs=6, vectorization_mode="vector_entry_point", differentiable=True, precision="f64"
    )
    np.testing.assert_array_equal(cmaes.optimize(exact, settings).actions, alone.actions)
    padded = fake_env.FakePointMasses(4, differentiable=True, precision="f64")
    result = cmaes.optimize(padded, settings)
    np.testing.assert_array_equal(result.actions, alone.actions)
    assert result.simulated_steps == 10 * 8 * 20  # six candidates in two groups of four


def test_resumed_cmaes_run_equals_an_uninterrupted_one(env, tmp_path):
    settings = CmaesSettings(iterations=30, parametrisation="knots", knots=3)
    whole = cmaes.optimize(env, settings)
    half = cmaes.optimize(env, replace(settings, iterations=13))
    save_arrays(tmp_path / "state.npz", half.state.to_arrays())
    np.random.seed(1)
    untouched = np.random.get_state()[1].copy()
    state = cmaes.CmaesState.from_arrays(load_arrays(tmp_path / "state.npz"))
    rest = cmaes.optimize(env, settings, state=state)
    np.testing.assert_array_equal(rest.actions, whole.actions)
    assert rest.simulated_steps == whole.simulated_steps
    np.testing.assert_array_equal(np.random.get_state()[1], untouched)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations=0 is out of range"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"schedule": "linear"}, "schedule='linear' is unknown; allowed: constant, cosine, step"),
        ({"knot_degree": 2}, "knot_degree=2"),
        ({"discount": 1.5}, "discount=1.5 is out of range; it must be between 1e-12 and 1.0, a number"),
        ({"iterations": 2.5}, "iterations=2.5 is out of range; it must be at least 1, a whole number"),
        ({"seed": True}, "seed=True is out of range"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        check_settings(GradientSettings(**changes))


def test_settings_may_be_numbers_of_numpy():
    check_settings(GradientSettings(iterations=np.int64(3), learning_rate=np.float32(0.1)))


def test_a_horizon_beyond_the_episode_is_refused(env):
    with pytest.raises(ValueError, match="horizon=21 exceeds the episode"):
        gradient.optimize(env, GradientSettings(horizon=21))


def test_a_state_of_another_size_is_refused(env):
    state = gradient.optimize(env, GradientSettings(iterations=1)).state
    with pytest.raises(ValueError, match="state has 40 parameters; this run has 20"):
        gradient.optimize(env, GradientSettings(iterations=2, horizon=10), state=state)
