"""The optimisers on a real task: short runs that must move in the right direction."""

import gymnasium
import numpy as np
import pytest

import pliant.envs  # noqa: F401
from pliant.policies.trajectory import cmaes, gradient
from pliant.policies.trajectory.settings import CmaesSettings, GradientSettings

ID = "pliant/FingerReach-v0"


@pytest.mark.parametrize(("family", "iterations", "rate"), [("sequence", 4, 0.1), ("sinusoids", 20, 0.2)])
def test_a_few_gradient_steps_raise_return_and_score(family, iterations, rate):
    env = gymnasium.make(ID, differentiable=True)
    try:
        settings = GradientSettings(
            iterations=iterations, learning_rate=rate, schedule="constant", parametrisation=family
        )
        result = gradient.optimize(env, settings)
    finally:
        env.close()
    returns = [row["return"] for row in result.history]
    assert returns[-1] == max(returns) and returns[-1] > returns[0] + 1
    assert result.score > result.history[0]["score"] + 0.1


def test_cmaes_in_a_batch_scores_what_a_single_episode_scores():
    envs = gymnasium.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point")
    try:
        settings = CmaesSettings(iterations=2, population=6, parametrisation="knots", knots=3, horizon=30)
        result = cmaes.optimize(envs, settings)
    finally:
        envs.close()
    env = gymnasium.make(ID).unwrapped
    try:
        value = env.evaluate(result.actions, seed=0)
        assert value == pytest.approx(result.value, rel=1e-6)
        assert env.score == pytest.approx(result.score, abs=1e-6)
    finally:
        env.close()
    assert result.simulated_steps == 2 * 6 * 30 and np.abs(result.actions).max() <= 1
