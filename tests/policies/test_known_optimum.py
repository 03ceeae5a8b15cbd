"""Every trajectory optimiser on the particle whose best actions are known in closed form (``tests/point_mass.py``)."""

from dataclasses import replace

import numpy as np
import point_mass
import pytest

from pliant.policies.trajectory import cem, cmaes, gradient, lbfgs, mpc, mppi, random_search
from pliant.policies.trajectory.episode import HISTORY_COLUMNS
from pliant.policies.trajectory.settings import (
    CemSettings,
    CmaesSettings,
    GradientSettings,
    LbfgsSettings,
    MpcSettings,
    MppiSettings,
    RandomSearchSettings,
)

SEED = 1
LINES = dict(parametrisation="knots", knots=5, best_by="return", seed=SEED)
SPLINE = {**LINES, "knot_degree": 3}
STEPS = dict(best_by="return", seed=SEED)


@pytest.fixture(scope="module")
def single():
    env = point_mass.make(differentiable=True)
    yield env
    env.close()


@pytest.fixture(scope="module")
def batch():
    envs = point_mass.make(32)
    yield envs
    envs.close()


@pytest.fixture(scope="module")
def controlled():
    env = point_mass.make()
    yield env
    env.close()


def best_of(env, shape):
    """The best return within a linear parametrisation, from its normal equations, and that of doing nothing."""
    start = point_mass.start_of(env, SEED)
    best, idle = point_mass.best_return(start), env.evaluate(np.zeros((point_mass.HORIZON, 2)), seed=SEED)
    if shape.basis is None:
        return best, idle
    # return = best - (a - a*)' H (a - a*), H from the closed form: second differences of a quadratic are exact
    transition, effect = point_mass.dynamics()
    states = np.zeros((point_mass.HORIZON, 2, point_mass.HORIZON))  # of every step, per unit of every action
    state = np.zeros((2, point_mass.HORIZON))
    for t in range(point_mass.HORIZON):
        state = transition @ state + np.outer(effect, np.eye(point_mass.HORIZON)[t])
        states[t] = state
    weights = np.diag([point_mass.POSITION, point_mass.VELOCITY])
    curvature = point_mass.ACTION * np.eye(point_mass.HORIZON) + np.einsum("tik,ij,tjl->kl", states, weights, states)
    wanted = point_mass.best_actions(start)
    inside = np.linalg.solve(shape.basis.T @ curvature @ shape.basis, shape.basis.T @ curvature @ wanted)
    miss = shape.basis @ inside - wanted
    return best - float(np.mean(np.einsum("ta,ts,sa->a", miss, curvature, miss))), idle


def shortfall(env, result):
    """How much of what can be gained over doing nothing is missing."""
    best, idle = best_of(env, result.parametrisation)
    assert result.value <= best + 1e-9
    return (best - result.value) / (best - idle)


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        (GradientSettings(iterations=150, learning_rate=0.1, **STEPS), 1e-4),
        (GradientSettings(iterations=100, learning_rate=0.1, **SPLINE), 1e-2),
        (LbfgsSettings(iterations=30, **STEPS), 1e-7),
        (LbfgsSettings(iterations=50, **SPLINE), 1e-7),
    ],
    ids=["adam", "adam-spline", "lbfgs", "lbfgs-spline"],
)
def test_methods_by_gradient_reach_the_optimum(single, settings, tolerance):
    method = gradient if isinstance(settings, GradientSettings) else lbfgs
    result = method.optimize(single, settings)
    assert shortfall(single, result) < tolerance
    assert result.simulated_steps == result.reverse_steps == len(result.history) * point_mass.HORIZON
    assert set(result.history[-1]) == set(HISTORY_COLUMNS)


def test_lbfgs_needs_a_fraction_of_the_gradients_of_adam(single):
    """Twenty gradients of L-BFGS are worth more than a hundred of Adam: it knows that the problem is quadratic."""
    few = lbfgs.optimize(single, LbfgsSettings(iterations=20, **STEPS))
    many = gradient.optimize(single, GradientSettings(iterations=100, learning_rate=0.1, **STEPS))
    assert few.value > many.value


@pytest.mark.parametrize(
    ("method", "settings", "tolerance"),
    [
        (cmaes, CmaesSettings(iterations=80, **LINES), 1e-3),
        (cem, CemSettings(iterations=80, sigma_floor=0.01, **LINES), 5e-3),
        (mppi, MppiSettings(iterations=80, sigma_decay=0.93, **LINES), 2e-3),
        (random_search, RandomSearchSettings(iterations=80, sampling="around-best", sigma=0.05, **LINES), 2e-2),
        (random_search, RandomSearchSettings(iterations=60, **{**LINES, "knots": 2}), 0.2),
    ],
    ids=["cmaes", "cem", "mppi", "random-search-around-best", "random-search-uniform"],
)
def test_methods_by_populations_reach_the_optimum(single, batch, method, settings, tolerance):
    result = method.optimize(batch, settings)
    assert shortfall(single, result) < tolerance
    assert result.reverse_steps == 0
    again = single.evaluate(result.actions, seed=SEED)
    assert again == pytest.approx(result.value, rel=1e-9)


@pytest.mark.parametrize("method", [cem, mppi, random_search], ids=["cem", "mppi", "random-search"])
def test_a_batch_gives_the_same_search_as_single_episodes(single, batch, method):
    kinds = {cem: CemSettings, mppi: MppiSettings, random_search: RandomSearchSettings}
    settings = kinds[method](iterations=3, population=32, **LINES)
    alone, together = method.optimize(single, settings), method.optimize(batch, settings)
    np.testing.assert_allclose(together.actions, alone.actions, atol=1e-9)
    assert together.simulated_steps == alone.simulated_steps == 3 * 32 * point_mass.HORIZON


@pytest.mark.parametrize(
    ("method", "settings", "tolerance"),
    [
        (gradient, GradientSettings(iterations=15, learning_rate=0.1, **STEPS), 2e-2),
        (lbfgs, LbfgsSettings(iterations=8, **STEPS), 1e-6),
        (cem, CemSettings(iterations=4, sigma_floor=0.02, **LINES), 5e-2),
        (mppi, MppiSettings(iterations=4, sigma_decay=0.7, **LINES), 5e-2),
        (cmaes, CmaesSettings(iterations=20, **LINES), 8e-2),
        (random_search, RandomSearchSettings(iterations=4, sampling="around-best", sigma=0.1, **LINES), 0.15),
    ],
    ids=["adam", "lbfgs", "cem", "mppi", "cmaes", "random-search"],
)
def test_a_receding_horizon_reaches_the_optimum(single, batch, controlled, method, settings, tolerance):
    """Plans as long as what is left of the episode: the optimum is that of the whole episode."""
    planner = single if method in (gradient, lbfgs) else batch
    control = MpcSettings(receding_horizon=point_mass.HORIZON, first_iterations=30)
    result = mpc.optimize(controlled, planner, method.optimize, settings, control)
    start = point_mass.start_of(controlled, SEED)
    idle = controlled.evaluate(np.zeros((point_mass.HORIZON, 2)), seed=SEED)
    best = point_mass.best_return(start)
    assert -1e-9 < (best - result.value) / (best - idle) < tolerance
    assert result.actions.shape == (point_mass.HORIZON, 2)
    assert controlled.evaluate(result.actions, seed=SEED) == pytest.approx(result.value, rel=1e-9)


def test_a_short_horizon_loses_little_and_corrects_what_it_did_not_foresee(single):
    """Half the horizon; the particle is twice as heavy to push as planned with, which a plan made once pays for."""

    class HalfPush:
        """The controlled environment: actions do half of what they do in the planner."""

        def __init__(self):
            self.unwrapped, self.env = self, point_mass.make()

        def __getattr__(self, name):
            return getattr(self.env, name)

        def step(self, action):
            return self.env.step(0.5 * action)

    real = HalfPush()
    settings = LbfgsSettings(iterations=12, **STEPS)
    replanned = mpc.optimize(real, single, lbfgs.optimize, settings, MpcSettings(receding_horizon=10))
    once = lbfgs.optimize(single, settings).actions
    blind = real.env.evaluate(0.5 * once, seed=SEED)
    best = point_mass.best_return(point_mass.start_of(real.env, SEED))
    assert blind < replanned.value < best
    assert best - replanned.value < 0.5 * (best - blind)
    real.env.close()


def test_a_plan_is_followed_for_as_long_as_told(single, controlled):
    settings = LbfgsSettings(iterations=10, **STEPS)
    control = MpcSettings(receding_horizon=20, replan_every=8)
    result = mpc.optimize(controlled, single, lbfgs.optimize, settings, control)
    assert len(result.history) == 3 and len(result.actions) == point_mass.HORIZON
    plan = lbfgs.optimize(single, replace(settings, seed=SEED))
    np.testing.assert_allclose(result.actions[:8], plan.actions[:8], atol=1e-6)
    limited = mpc.optimize(
        controlled, single, lbfgs.optimize, replace(settings, max_simulated_steps=300), replace(control, replan_every=1)
    )
    assert limited.simulated_steps <= 300 and 0 < len(limited.actions) < point_mass.HORIZON


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (MpcSettings(), "receding_horizon=0 plans nothing"),
        (MpcSettings(receding_horizon=4, replan_every=5), "replan_every=5 exceeds receding_horizon=4"),
        (MpcSettings(receding_horizon=-1), "receding_horizon=-1 is out of range"),
    ],
)
def test_a_receding_horizon_out_of_range_is_refused(single, controlled, control, message):
    with pytest.raises(ValueError, match=message):
        mpc.optimize(controlled, single, lbfgs.optimize, LbfgsSettings(iterations=2), control)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (cem, CemSettings(population=1), "population=1 is too small"),
        (mppi, MppiSettings(population=1), "population=1 is too small"),
        (cem, CemSettings(elite_fraction=0.0), "elite_fraction=0.0 is out of range"),
        (mppi, MppiSettings(temperature=0.0), "temperature=0.0 is out of range"),
        (random_search, RandomSearchSettings(sampling="sobol"), "sampling='sobol' is unknown"),
        (lbfgs, LbfgsSettings(memory_pairs=0), "memory_pairs=0 is out of range"),
    ],
)
def test_settings_of_the_methods_are_refused_by_name(single, method, settings, message):
    with pytest.raises(ValueError, match=message):
        method.optimize(single, settings)


def test_held_actions_stay_and_the_rest_goes_on(single):
    settings = GradientSettings(
        iterations=120, learning_rate=0.1, start_horizon=8, plateau_patience=3, hold_fraction=0.5, **STEPS
    )
    held = []

    def watch(state, row):
        held.append((state.held, state.parameters.reshape(-1, 2)[: state.held].copy()))

    result = gradient.optimize(single, settings, on_iteration=watch)
    fronts = [count for count, _ in held]
    assert fronts == sorted(fronts) and 4 in fronts and fronts[-1] >= 6
    first = fronts.index(4)
    for count, actions in held[first:]:
        np.testing.assert_array_equal(actions[:4], held[first][1])
        assert count >= 4
    free = gradient.optimize(single, replace(settings, hold_fraction=0.0))
    assert result.value < free.value
    with pytest.raises(ValueError, match="hold_fraction"):
        gradient.optimize(single, replace(settings, parametrisation="sinusoids"))
