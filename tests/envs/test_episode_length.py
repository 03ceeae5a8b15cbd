"""Episodes as long as they are asked to be, however the environment is made, or a refusal where a task has no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import nudge
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.differentiable import load_task
from pliant.envs.registry import ENTRIES, Entry

ID = "test/Nudge-v0"
PUSH = np.array([0.8, 0.1])


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    gym.register(
        ID,
        entry_point=TaskEnv,
        vector_entry_point=TaskVectorEnv,
        max_episode_steps=nudge.HORIZON,
        kwargs={"task": nudge.Nudge},
    )
    yield
    del gym.registry[ID]


def lengths_of(env: Any, actions: np.ndarray) -> list[int]:
    """Lengths of episodes while these actions are taken, ended by whatever ends them."""
    env.reset(seed=0)
    ends = []
    for t, action in enumerate(actions):
        if np.any(env.step(action)[3]):
            ends.append(t + 1)
            env.reset()
    return np.diff([0, *ends]).tolist()


@pytest.mark.parametrize("steps", [1, nudge.HORIZON - 2, nudge.HORIZON, nudge.HORIZON + 1, 4 * nudge.HORIZON])
def test_episodes_are_as_long_as_asked_for(steps: int) -> None:
    env: Any = gym.make(ID, max_episode_steps=steps)
    assert env.spec.max_episode_steps == env.unwrapped.horizon == steps
    again: Any = gym.make(env.spec)
    assert again.spec.max_episode_steps == again.unwrapped.horizon == steps
    for made in (env, env.unwrapped, again):
        assert lengths_of(made, np.tile(PUSH, (2 * steps, 1))) == [steps, steps]
    for mode in ("sync", "vector_entry_point"):
        envs: Any = gym.make_vec(ID, num_envs=2, vectorization_mode=mode, max_episode_steps=steps)
        singles = envs.envs if isinstance(envs, SyncVectorEnv) else [envs]
        assert all(single.unwrapped.horizon == steps for single in singles)
        assert lengths_of(envs, np.tile(PUSH, (2 * steps, 2, 1))) == [steps, steps]
        envs.close()
    env.close()
    again.close()


def test_without_a_number_the_task_or_the_table_says() -> None:
    for options in ({}, {"max_episode_steps": -1}):
        env: Any = gym.make(ID, **options)
        assert env.unwrapped.horizon == nudge.HORIZON
        assert lengths_of(env, np.tile(PUSH, (2 * nudge.HORIZON, 1))) == [nudge.HORIZON] * 2
        env.close()
    gym.register("test/ShortNudge-v0", entry_point=TaskEnv, max_episode_steps=2, kwargs={"task": nudge.Nudge})
    env = gym.make("test/ShortNudge-v0")
    assert env.unwrapped.horizon == 2
    env.close()
    del gym.registry["test/ShortNudge-v0"]


def test_an_episode_that_is_cut_short_is_the_beginning_of_a_whole_one() -> None:
    short, whole = nudge.make(max_episode_steps=3), nudge.make()
    np.testing.assert_array_equal(short.reset(seed=0)[0], whole.reset(seed=0)[0])
    for _ in range(3):
        np.testing.assert_array_equal(short.step(PUSH)[0], whole.step(PUSH)[0])
    short.close()
    whole.close()


def test_the_clock_of_a_longer_episode_runs_over_all_of_it() -> None:
    env = nudge.make(max_episode_steps=3 * nudge.HORIZON)
    env.reset(seed=0)
    clocks = np.array([env.step(np.zeros(2))[0][-2:] for _ in range(3 * nudge.HORIZON)])
    assert len(np.unique(clocks[:, 1])) == len(clocks)
    np.testing.assert_allclose(clocks[-1], [0.0, -1.0], atol=1e-6)
    env.close()


@pytest.mark.parametrize("num_envs", [None, 2])
def test_longer_episodes_have_gradients_whatever_is_kept(num_envs: int | None) -> None:
    steps = 2 * nudge.HORIZON + 1
    options = {"differentiable": True, "precision": "f64", "max_episode_steps": steps}
    env = nudge.make(num_envs, **options)
    shape = (steps, 2) if num_envs is None else (num_envs, steps, 2)
    actions, direction = np.random.default_rng(0).uniform(-0.9, 0.9, (2, *shape))
    _, gradient = env.value_and_grad(actions, seed=1)
    up, down = (env.evaluate(actions + s * direction, seed=1) for s in (1e-6, -1e-6))
    axes = tuple(range(len(shape)))[-2:]
    np.testing.assert_allclose((gradient.actions * direction).sum(axis=axes), (up - down) / 2e-6, rtol=1e-5)
    world = env._rollout.world
    little = nudge.make(num_envs, memory=f"{world.memory_for(whole=1, states=4)}B", **options)
    np.testing.assert_array_equal(little.value_and_grad(actions, seed=1)[1].actions, gradient.actions)
    with pytest.raises(ValueError, match=f"T in 1..{steps}"):
        env.evaluate(np.zeros((*shape[:-2], steps + 1, 2)))
    env.close()
    little.close()


@pytest.mark.parametrize(
    "steps", [0, -5, 2.5, True, "10", 10**6, 10**400, np.nan, [3]], ids=lambda steps: str(steps)[:9]
)
def test_numbers_that_are_none_of_steps_are_refused(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"max_episode_steps=.* must be an integer in 1\.\.100000"):
        nudge.make(max_episode_steps=steps)
    if steps is not True:
        with pytest.raises(ValueError, match=r"max_episode_steps=.* must be an integer in 1\.\.100000"):
            gym.make(ID, max_episode_steps=steps)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_every_task_goes_on_beyond_its_usual_end(entry: Entry) -> None:
    env: Any = gym.make(entry.id, max_episode_steps=entry.horizon + 2).unwrapped
    env.reset(seed=1)
    snapshot = env.snapshot()
    started = snapshot["elapsed"] + entry.horizon  # as if its usual steps had been taken
    env.restore({**snapshot, "elapsed": started, "score.counted": started})
    action = np.zeros(env.action_space.shape)
    for last in (False, True):
        observation, reward, _, truncated, _ = env.step(action)
        assert truncated is last and np.isfinite(reward) and env.observation_space.contains(observation)
    env.close()


def test_goals_with_a_row_a_step_have_as_many() -> None:
    for entry in ENTRIES:
        kind = load_task(entry.task)
        if kind.exogenous:
            options = {"targets": "code"} if entry.id == "pliant/CableReplay-v0" else {}
            task = kind(horizon=entry.horizon + 5, **options)
            goal = task.make_episode(np.random.default_rng(0))[0]
            for name in kind.exogenous.values():
                assert len(goal[name]) == entry.horizon + 5, entry.id
    moving = load_task("pliant.envs.locomotion.arm_reach:ArmReach")(horizon=70, target_speed=0.1)
    assert len(moving.make_goal(np.random.default_rng(0))["target"]) == 71


@pytest.mark.parametrize(
    ("env_id", "steps", "options"),
    [("pliant/Transporting-v0", 5000, {}), ("pliant/CableReplay-v0", 500, {"targets": "recorded"})],
)
def test_tasks_that_have_no_more_refuse(env_id: str, steps: int, options: dict[str, Any]) -> None:
    if options and not os.environ.get("PLIANT_DATA"):
        pytest.skip("the recordings are not here")
    for make in (gym.make, gym.make_vec):
        with pytest.raises(ValueError, match=f"max_episode_steps={steps} is .*allowed: 1\\.\\."):
            make(env_id, max_episode_steps=steps, **options)
