"""Steps of the optimisers are judged: what made things worse is taken back, what diverges is a trial that failed."""

from dataclasses import replace

import fake_env as fake
import numpy as np
import pytest

from pliant.policies.files.checkpoints import load_arrays, save_arrays
from pliant.policies.trajectory import cem, cmaes, gradient, lbfgs, mpc, mppi, random_search
from pliant.policies.trajectory.settings import (
    CemSettings,
    CmaesSettings,
    GradientSettings,
    LbfgsSettings,
    MpcSettings,
    MppiSettings,
    RandomSearchSettings,
)
from pliant.sims.failures import SimulationDiverged

EDGE = 0.65  # beyond all goals of the fake environment


class Steep(fake.FakePointMass):
    """Beyond an edge the cost rises 3,000 times as fast as it fell before."""

    slope = 3000.0

    def _distance(self, position):
        return super()._distance(position) + self.slope * float((np.maximum(position - EDGE, 0.0) ** 2).sum())

    def backward(self, reward_weights=None, observation_cotangents=None):
        result = super().backward(reward_weights)
        steps = len(self.actions)
        weights = np.ones(steps) if reward_weights is None else np.asarray(reward_weights)
        bar = np.zeros(2)
        for t in reversed(range(steps)):
            bar = bar - weights[t] * 2 * self.slope * np.maximum(self.path[t + 1] - EDGE, 0.0)
            result.actions[t] += self.gain * bar
            bar = bar + weights[t] * 2 * self.slope * np.maximum(self.path[t] - EDGE, 0.0)
        return result


class Edged(fake.FakePointMass):
    """Diverges beyond an edge."""

    world = 0
    edge = EDGE
    fails_in_reverse = False

    def step(self, action):
        result = super().step(action)
        if not self.fails_in_reverse and self.path[-1].max() > self.edge:
            raise SimulationDiverged(len(self.actions), 0, "position", self.world, "the edge")
        return result

    def backward(self, reward_weights=None, observation_cotangents=None):
        if self.fails_in_reverse and np.max(self.path) > self.edge:
            raise SimulationDiverged(0, None, "position_bar", self.world, "the edge")
        return super().backward(reward_weights)

    def snapshot(self):
        return {"position": self.path[-1], "goal": self.goal}

    def restore(self, snapshot):
        self.goal, self.path, self.actions = snapshot["goal"], [snapshot["position"]], []
        return self._observation(), {}


class EdgedBatch(fake.FakePointMasses):
    def __init__(self, num_envs):
        super().__init__(num_envs, precision="f64")
        self.envs = [Edged(precision="f64") for _ in range(num_envs)]
        for world, env in enumerate(self.envs):
            env.world = world


def exact(kind, **options):
    return kind(differentiable=True, precision="f64", **options)


def optimum(env, seed):
    env.reset(seed=seed)
    return env.evaluate(np.tile(env.best_action(), (env.horizon, 1)), seed=seed)


LONG_STEPS = GradientSettings(iterations=60, learning_rate=0.9, schedule="constant", parametrisation="knots", knots=4)


@pytest.mark.parametrize("seed", range(4))
def test_steps_that_lead_into_a_steep_region_are_taken_back(seed):
    env = exact(Steep)
    settings = replace(LONG_STEPS, seed=seed)
    blind = gradient.optimize(env, replace(settings, patience=0))
    assert blind.history[-1]["return"] < blind.history[0]["return"] - 10  # the case is one: Adam does not come back
    judged = gradient.optimize(env, settings)
    assert judged.history[-1]["return"] > judged.history[0]["return"]
    assert judged.value > 0.95 * optimum(env, seed)


def test_steps_that_are_no_worse_are_those_of_adam():
    env = exact(fake.FakePointMass)
    settings = GradientSettings(iterations=12, learning_rate=0.01)
    plain, judged = (gradient.optimize(env, replace(settings, patience=patience)) for patience in (0, 5))
    np.testing.assert_array_equal(judged.actions, plain.actions)


@pytest.mark.parametrize("by", ["return", "score"])
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (gradient, LONG_STEPS),
        (lbfgs, LbfgsSettings(iterations=40)),
        (cem, CemSettings(iterations=8)),
        (random_search, RandomSearchSettings(iterations=8)),
    ],
)
def test_the_best_so_far_never_falls_and_is_what_is_returned(method, settings, by):
    env = exact(Steep)
    result = method.optimize(env, replace(settings, best_by=by))
    best = [row[f"best_{by}"] for row in result.history]
    assert (np.diff(best) >= 0).all() and best[0] >= result.history[0][by]
    assert (result.value, result.score) == (result.history[-1]["best_return"], result.history[-1]["best_score"])
    assert {"return": result.value, "score": result.score}[by] == best[-1]
    assert env.evaluate(result.actions, seed=0) == pytest.approx(result.value, rel=1e-12)
    assert by == "score" or result.value >= env.evaluate(result.initial_actions, seed=0) - 1e-12


def test_return_is_what_the_best_is_by_unless_said_otherwise():
    assert GradientSettings().best_by == "return"


@pytest.mark.parametrize("in_reverse", [False, True])
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (gradient, LONG_STEPS),
        (gradient, replace(LONG_STEPS, patience=0)),
        (lbfgs, LbfgsSettings(iterations=60, first_step=1.5)),
    ],
    ids=["gradient", "gradient-impatient", "lbfgs"],
)
def test_a_gradient_that_diverges_is_a_step_taken_back(monkeypatch, tmp_path, method, settings, in_reverse):
    monkeypatch.setattr(Edged, "fails_in_reverse", in_reverse)
    env = exact(Edged)
    result = method.optimize(env, settings)
    failed = [row for row in result.history if np.isnan(row["gradient_norm"])]
    assert 1 <= len(failed) < len(result.history) / 2
    assert all(np.isnan(row["return"]) != in_reverse for row in failed)
    assert result.value > 0.95 * optimum(env, 0)

    def on_iteration(state, row):
        if row["iteration"] == failed[0]["iteration"]:
            save_arrays(tmp_path / "state.npz", state.to_arrays())

    method.optimize(env, settings, on_iteration=on_iteration)
    kind = gradient.GradientState if method is gradient else lbfgs.LbfgsState
    again = method.optimize(env, settings, state=kind.from_arrays(load_arrays(tmp_path / "state.npz")))
    np.testing.assert_array_equal(again.actions, result.actions)
    assert (again.value, len(again.history)) == (result.value, len(result.history))


@pytest.mark.parametrize("method", [gradient, lbfgs])
def test_a_start_that_diverges_is_an_error(method):
    settings = GradientSettings() if method is gradient else LbfgsSettings()
    with pytest.raises(SimulationDiverged, match="the edge"):
        method.optimize(exact(Edged), settings, initial_parameters=np.ones(40))


POPULATIONS = [
    (cem, CemSettings(iterations=30, parametrisation="knots", knots=2, sigma=1.0)),
    (mppi, MppiSettings(iterations=30, parametrisation="knots", knots=2, sigma=1.0, sigma_decay=0.9)),
    (cmaes, CmaesSettings(iterations=40, parametrisation="knots", knots=2, sigma=1.0)),
    (random_search, RandomSearchSettings(iterations=40, parametrisation="knots", knots=2)),
]


@pytest.mark.parametrize("worlds", [0, 5])
@pytest.mark.parametrize(("method", "settings"), POPULATIONS, ids=["cem", "mppi", "cmaes", "random-search"])
def test_candidates_that_diverge_are_the_worst_of_their_population(method, settings, worlds):
    alone = exact(Edged)
    result = method.optimize(EdgedBatch(worlds) if worlds else alone, settings)
    assert np.isfinite([row["return"] for row in result.history]).all()
    assert result.value > 0.9 * optimum(alone, 0)
    if worlds:
        np.testing.assert_allclose(result.actions, method.optimize(alone, settings).actions, atol=1e-9)


@pytest.mark.parametrize(("method", "settings"), POPULATIONS, ids=["cem", "mppi", "cmaes", "random-search"])
def test_a_population_that_diverges_as_a_whole_is_an_error_at_the_start(monkeypatch, method, settings):
    monkeypatch.setattr(Edged, "edge", -1.0)
    with pytest.raises(RuntimeError, match="candidates of the first population diverged"):
        method.optimize(exact(Edged), settings)


@pytest.mark.parametrize(
    ("method", "settings"),
    [(gradient, GradientSettings(iterations=5, learning_rate=0.9)), (cem, CemSettings(iterations=4, sigma=1.0))],
)
def test_plans_of_a_receding_horizon_survive_divergence(method, settings):
    env, planner = exact(Edged), exact(Edged)
    result = mpc.optimize(env, planner, method.optimize, settings, MpcSettings(receding_horizon=8, replan_every=2))
    assert len(result.actions) == 20
    assert result.score > 0.5
