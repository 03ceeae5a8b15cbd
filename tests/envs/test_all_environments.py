"""Every registered environment: a new task is tested by being registered."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import pliant.envs
from pliant.envs.registry import ENTRIES, Entry

SECTIONS = (
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Arguments",
    "Version History",
)
STATE_STEPS = {  # of difference quotients: small, as contact makes kinks
    "position": 1e-8,
    "velocity": 1e-6,
    "deformation_gradient": 1e-8,
    "effector_position": 1e-9,
    "effector_orientation": 1e-7,
}
every_environment = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])

QUICK = ("FingerReach", "Crawler3D", "Rope", "IceCreamStatic", "CableShape")
one_of_each_solver = pytest.mark.parametrize(  # the others are slow: `tests/sims` tells the worlds of a batch apart
    "entry",
    [
        pytest.param(entry, id=entry.id, marks=() if any(f"/{q}-" in entry.id for q in QUICK) else pytest.mark.slow)
        for entry in ENTRIES
    ],
)


@functools.cache
def make(env_id: str, precision: str = "f32", differentiable: bool = False) -> Any:
    """One environment for many tests; each test begins with a reset."""
    return gym.make(env_id, precision=precision, differentiable=differentiable).unwrapped


def actions_of(entry: Entry, steps: int, seed: int = 0) -> np.ndarray:
    """Smooth random actions within (-0.9, 0.9), shape (steps, A)."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(scale=0.5, size=entry.action_size) + rng.normal(scale=0.1, size=(steps, 1)), -0.9, 0.9)


@pytest.fixture(scope="module", autouse=True)
def close_all() -> Any:
    yield
    make.cache_clear()


@every_environment
def test_table_agrees_with_the_task(entry: Entry) -> None:
    env = make(entry.id)
    assert env.horizon == entry.horizon == gym.spec(entry.id).max_episode_steps
    assert env.action_space.shape == (entry.action_size,)
    assert env.observation_space.shape == (entry.observation_size,)
    assert env.task.summary == entry.summary
    assert env.task.success_score == entry.success_score and 0.0 < entry.success_score < 1.0
    positions = [env.task.__doc__.index(f"## {section}") for section in SECTIONS]
    assert positions == sorted(positions)
    assert f"`Box(-10, 10, ({entry.observation_size},), float32)`" in env.task.__doc__
    assert f"`Box(-1, 1, ({entry.action_size},), float32)`" in env.task.__doc__
    assert f"after {entry.horizon} steps" in env.task.__doc__


@every_environment
def test_observations_rewards_and_scores_are_sound_and_deterministic(entry: Entry) -> None:
    env = make(entry.id)
    episodes = []
    for _ in range(2):
        observation, info = env.reset(seed=3)
        assert info["score"] == 0.0
        trace = [observation]
        for action in actions_of(entry, 4).astype(np.float32):
            observation, reward, terminated, truncated, info = env.step(action)
            assert observation.dtype == np.float32 and env.observation_space.contains(observation)
            assert np.abs(observation).max() < 5.0, "observations are normalised"
            assert type(reward) is float and np.isfinite(reward)
            assert (terminated, truncated) == (False, False)
            assert 0.0 <= info["score"] <= 1.0
            assert np.isclose(sum(info["reward_terms"].values()), reward, rtol=1e-12)
            trace.append(np.append(observation, reward))
        episodes.append(np.concatenate(trace))
    assert np.array_equal(episodes[0], episodes[1])


@every_environment
def test_another_seed_is_another_episode(entry: Entry) -> None:
    env = make(entry.id)
    first, second = env.reset(seed=3)[0], env.reset(seed=4)[0]
    assert not np.array_equal(first, second)


@one_of_each_solver
def test_vector_agrees_with_single(entry: Entry) -> None:
    single = make(entry.id, "f64", True)
    vector = gym.make_vec(entry.id, num_envs=2, precision="f64")
    assert isinstance(vector, pliant.envs.base.TaskVectorEnv)
    actions = np.stack([actions_of(entry, 3, seed) for seed in (0, 1)], axis=1)  # (T, B, A)
    observations, _ = vector.reset(seed=5)
    batch = [observations]
    for action in actions:
        observations, rewards, _, _, infos = vector.step(action)
        batch.append(np.column_stack([observations, rewards, infos["score"]]))
    for b in range(2):
        alone = single.reset(seed=5 + b)[0]
        assert np.allclose(batch[0][b], alone, atol=1e-6)
        for t in range(len(actions)):
            observation, reward, _, _, info = single.step(actions[t, b])
            assert np.allclose(batch[t + 1][b], [*observation, reward, info["score"]], atol=1e-6)
    vector.close()


@every_environment
def test_gradients_agree_with_central_differences(entry: Entry) -> None:
    env = make(entry.id, "f64", True)
    actions = actions_of(entry, 4 if env.task.substeps["small"] < 100 else 2)  # of steps of many substeps two will do
    value, gradient = env.value_and_grad(actions, seed=1, discount=0.9)
    assert np.isclose(value, env.evaluate(actions, seed=1, discount=0.9), rtol=1e-12)
    rng = np.random.default_rng(7)

    def check(name: str, analytic: float, step: float, values: list[float]) -> None:
        numeric = (values[0] - values[1]) / (2 * step)
        rounding = 1e-14 * abs(value) / step
        assert abs(analytic - numeric) <= 1e-4 * max(abs(numeric), 1e-6 * abs(value)) + rounding, name

    step = 1e-6
    direction = rng.normal(size=actions.shape)
    values = [env.evaluate(actions + s * direction, seed=1, discount=0.9) for s in (step, -step)]
    check("actions", (gradient.actions * direction).sum(), step, values)

    env.reset(seed=1)
    state = {name: env.state(name) for name in STATE_STEPS if name in env.state_names}
    for name, start in state.items():
        direction = rng.normal(size=start.shape)
        if name == "effector_orientation":  # along the sphere of unit quaternions
            direction -= start * (start * direction).sum(axis=-1, keepdims=True)
        # stretching is stiff: of a wire the differences' own error falls below 1e-4 with smaller steps only
        size = STATE_STEPS[name] / (3.0 if name == "position" and "rest_length" in env.parameter_names else 1.0)
        points = [start + s * direction for s in (size, -size)]
        if name == "effector_orientation":
            points = [point / np.linalg.norm(point, axis=-1, keepdims=True) for point in points]
        values = [env.evaluate(actions, seed=1, discount=0.9, options={"state": {name: point}}) for point in points]
        check(name, (gradient.initial_state[name] * direction).sum(), size, values)

    stiffness = [name for name in ("youngs_modulus", "bend_stiffness") if name in env.parameter_names]
    for name in [*stiffness, *env.task.designs]:
        start = env.parameter(name)
        assert gradient.parameters[name].shape == start.shape
        direction = start * rng.uniform(0.5, 1.0, size=start.shape)
        values = []
        for s in (step, -step):
            drawn = {"parameters": {name: start + s * direction}}  # of this episode: tasks may draw them at each reset
            values.append(env.evaluate(actions, seed=1, discount=0.9, options=drawn))
        check(name, (gradient.parameters[name] * direction).sum(), step, values)


@every_environment
@pytest.mark.filterwarnings("error")
def test_checkers_of_gymnasium_and_stable_baselines(entry: Entry) -> None:
    env = gym.make(entry.id, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(env, warn=True, skip_render_check=True)
    env.close()
    env.close()


@every_environment
def test_pictures_show_the_scene(entry: Entry) -> None:
    env = gym.make(entry.id, render_mode="rgb_array", disable_env_checker=True)
    env.reset(seed=0)
    picture = env.render()
    width, height = env.unwrapped.task.picture_size
    assert picture.dtype == np.uint8 and picture.shape == (height, width, 3)
    assert picture.std() > 5.0
    env.close()
