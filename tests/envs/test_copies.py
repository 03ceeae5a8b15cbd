"""Copies and pickles of environments are other environments in the same state."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest

import pliant.envs

assert pliant.envs
FINGER = "pliant/FingerReach-v0"


def through_pickle(env: Any) -> Any:
    return pickle.loads(pickle.dumps(env))


def through_cloudpickle(env: Any) -> Any:
    return cloudpickle.loads(cloudpickle.dumps(env))


WAYS = [copy.deepcopy, through_pickle, through_cloudpickle]


def make(num_envs: int | None, env_id: str = FINGER, **options: Any) -> Any:
    if num_envs is None:
        return gym.make(env_id, **options)
    return gym.make_vec(env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **options)


def play(env: Any, steps: int, seed: int = 0) -> list[np.ndarray]:
    """Observations and rewards of steps with random actions."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(steps):
        observation, reward, *_ = env.step(rng.uniform(-1, 1, env.action_space.shape))
        found += [observation, np.asarray(reward)]
    return found


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("num_envs", [None, 2])
@pytest.mark.parametrize("env_id", [FINGER, "pliant/CableShape-v0"])
def test_a_copy_goes_on_as_the_original_does(way: Callable[[Any], Any], num_envs: int | None, env_id: str) -> None:
    env = make(num_envs, env_id)
    env.reset(seed=3)
    env.unwrapped.set_parameter("gravity", [0.0] * (1 if env_id == FINGER else 2) + [-5.0])
    env.reset()
    play(env, 3)
    other = way(env)
    assert other.unwrapped._rollout.world is not env.unwrapped._rollout.world
    assert other.spec == env.spec and other.observation_space == env.observation_space
    np.testing.assert_array_equal(other.unwrapped.parameter("gravity"), env.unwrapped.parameter("gravity"))
    expected = play(env, 3, seed=1)
    env.close()
    assert_same(play(other, 3, seed=1), expected)  # the original has moved on and is closed
    other.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("num_envs", [None, 2])
def test_a_copy_draws_what_the_original_draws(way: Callable[[Any], Any], num_envs: int | None) -> None:
    env = make(num_envs)
    env.reset(seed=3)
    env.action_space.seed(1)
    other = way(env)
    for _ in range(2):
        np.testing.assert_array_equal(other.reset()[0], env.reset()[0])
        np.testing.assert_array_equal(other.action_space.sample(), env.action_space.sample())
    assert other.unwrapped.np_random_seed == env.unwrapped.np_random_seed
    env.close()
    other.close()


@pytest.mark.parametrize("num_envs", [None, 2])
def test_a_copy_ends_its_episode_when_the_original_does(num_envs: int | None) -> None:
    env = make(num_envs, max_episode_steps=5)
    env.reset(seed=3)
    play(env, 3)
    other = copy.deepcopy(env)
    for one in (env, other):
        actions = np.zeros(one.action_space.shape)
        assert not np.any(one.step(actions)[3]) and np.all(one.step(actions)[3])
        assert one.unwrapped.horizon == env.unwrapped.horizon
        one.close()


def test_a_copy_of_an_environment_without_an_episode() -> None:
    env = make(None).unwrapped
    other = copy.deepcopy(env)
    np.testing.assert_array_equal(other.reset(seed=2)[0], env.reset(seed=2)[0])
    env.set_parameter("gravity", 0.0)  # ends the episode
    third = copy.deepcopy(env)
    with pytest.raises(RuntimeError, match="reset"):
        third.snapshot()
    assert not third.parameter("gravity").any()
    for one in (env, other, third):
        one.close()


def test_gradients_of_a_copy_are_of_its_own_steps() -> None:
    env = make(None, differentiable=True).unwrapped
    env.reset(seed=3)
    play(env, 3)
    other, restored = copy.deepcopy(env), make(None, differentiable=True).unwrapped
    restored.restore(env.snapshot())
    with pytest.raises(RuntimeError, match="steps"):
        other.backward()
    for one in (other, restored):
        play(one, 2, seed=1)
    gradient, expected = other.backward(), restored.backward()
    np.testing.assert_array_equal(gradient.actions, expected.actions)
    np.testing.assert_array_equal(gradient.initial_state["position"], expected.initial_state["position"])
    assert env.backward().actions.shape == (3, 2)
    env.backward_step()
    with pytest.raises(RuntimeError, match="backward sweep is under way"):
        copy.deepcopy(env)
    for one in (env, other, restored):
        one.close()


def test_a_shallow_copy_shares_nothing_either() -> None:
    env = make(None).unwrapped
    env.reset(seed=3)
    other = copy.copy(env)
    before = env.state("position")
    play(other, 2)
    np.testing.assert_array_equal(env.state("position"), before)
    other.close()
    play(env, 1)
    env.close()


def test_a_closed_environment_is_not_copied() -> None:
    env = make(None)
    env.close()
    for way in (*WAYS, copy.copy):
        with pytest.raises(RuntimeError, match="closed"):
            way(env.unwrapped)


def test_what_was_set_on_an_environment_is_copied() -> None:
    env = make(None, render_mode="rgb_array")
    env.reset(seed=3)
    env.unwrapped.notes = {"tried": [1, 2]}
    other = copy.deepcopy(env)
    other.unwrapped.notes["tried"].append(3)
    assert env.unwrapped.notes == {"tried": [1, 2]}
    np.testing.assert_array_equal(other.render(), env.render())
    env.close()
    other.close()


def test_makers_travel_to_other_processes() -> None:
    make_env = cloudpickle.loads(cloudpickle.dumps(lambda: gym.make(FINGER)))
    env = make_env()
    env.reset(seed=0)
    env.close()


def test_an_arm_is_copied() -> None:
    pytest.importorskip("pybullet")
    env = make(None, "pliant/RollingPin-v0", arm="panda")
    env.reset(seed=3)
    play(env, 2)
    other = copy.deepcopy(env)
    assert_same(play(other, 2, seed=1), play(env, 2, seed=1))
    env.close()
    other.close()


@pytest.mark.parametrize("num_envs", [None, 2])
def test_a_copy_returns_to_the_usual_parameters_after_an_episode_with_its_own(num_envs: int | None) -> None:
    env = make(num_envs).unwrapped
    env.set_parameter("gravity", -5.0)
    env.reset(seed=0, options={"parameters": {"gravity": -3.0}})
    other = copy.deepcopy(env)
    assert (other.parameter("gravity") == -3.0).all()
    other.reset(seed=0)
    assert (other.parameter("gravity") == -5.0).all()
    other.close()
    env.close()
