"""Reinforcement learning goes on where a world of the batch diverges."""

import nudge
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.env_checker import check_env

from pliant.policies.evaluation import evaluate
from pliant.policies.reinforcement import ppo
from pliant.policies.reinforcement.vec_env import BatchedVecEnv


class Fragile(nudge.Nudge):
    """Every third episode starts so fast that its first step fails."""

    def make_initial_state(self, rng):
        speed = 300.0 if rng.integers(3) == 0 else 0.0
        return {"velocity": np.tile([speed, 0.0], (len(self.scene.position), 1))}


@pytest.fixture
def batch():
    env = BatchedVecEnv(nudge.make(4, Fragile, autoreset_mode="SameStep", on_divergence="truncate"))
    yield env
    env.close()


def test_a_diverged_episode_is_one_that_was_cut_short(batch):
    batch.seed(0)
    batch.reset()
    diverged = 0
    for _ in range(2 * nudge.HORIZON):
        observation, reward, done, infos = batch.step(np.zeros((4, 2)))
        assert np.isfinite(observation).all() and np.isfinite(reward).all()
        for ended, info in zip(done, infos, strict=True):
            diverged += info["diverged"]
            assert ended or not info["diverged"]
            assert info["TimeLimit.truncated"] == ended == ("terminal_observation" in info)
            assert type(info["is_success"]) is bool and type(info["score"]) is np.float64
    assert diverged > 3


def test_ppo_trains_on(batch):
    result = ppo.train(batch.env, ppo.Settings(steps=200, rollout=10))
    assert result.simulated_steps >= 200
    assert all(np.isfinite(row["return"]) for row in result.history[1:])


def test_policies_are_judged_to_the_end_of_each_episode():
    envs = nudge.make(4, Fragile, on_divergence="truncate")
    returns, scores = evaluate(envs, lambda observation: np.zeros((len(observation), 2)), range(9))
    single = nudge.make(task=Fragile, on_divergence="truncate")
    for seed in range(9):
        single.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            _, reward, _, over, info = single.step(np.zeros(2))
            total += reward
        assert returns[seed] == pytest.approx(total, rel=1e-5) and scores[seed] == pytest.approx(
            info["score"], abs=1e-5
        )
    envs.close()
    single.close()


def test_options_of_worlds_are_joined(batch):
    batch.set_options({"parameters": {"density": 900.0}})
    batch.reset()
    np.testing.assert_allclose(batch.env.parameter("density"), 900.0)
    batch.reset()
    np.testing.assert_allclose(batch.env.parameter("density"), 1000.0)
    batch.set_options({"wind": 1})
    with pytest.raises(ValueError, match="options name wind; allowed: state, parameters"):
        batch.reset()


def test_the_checker_has_nothing_to_say():
    env = nudge.make(on_divergence="truncate", terminate_on_success=True)
    check_env(env, skip_render_check=True)
    env.close()
