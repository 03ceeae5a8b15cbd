"""Going back to a state: every environment goes on from a snapshot as if nothing had happened."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs
from pliant.envs.registry import ENTRIES, Entry

SAMPLE = ("pliant/Move-v0", "pliant/CableShape-v0", "pliant/Walker2D-v0")


def go_on(env: Any, actions: np.ndarray) -> np.ndarray:
    """Observations, rewards and scores of the next steps, one row a step and world."""
    rows = []
    for action in actions:
        lead = getattr(env, "num_envs", None)
        observation, reward, _, _, info = env.step(action if lead is None else np.tile(action, (lead, 1)))
        rows.append(np.column_stack([np.atleast_2d(observation), np.atleast_1d(reward), np.atleast_1d(info["score"])]))
    return np.stack(rows)


def some_actions(env: Any, steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (steps, *env.action_space.shape))


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_every_environment_goes_on_from_a_snapshot_bit_by_bit(entry: Entry) -> None:
    env: Any = gym.make(entry.id).unwrapped
    actions = some_actions(env, 5)
    env.reset(seed=2)
    go_on(env, actions[:3])
    snapshot = env.snapshot()
    expected = go_on(env, actions[3:])
    env.reset(seed=5)
    env.restore(snapshot)
    np.testing.assert_array_equal(go_on(env, actions[3:]), expected)
    env.close()


@pytest.mark.parametrize("env_id", SAMPLE)
def test_worlds_of_a_twin_go_on_from_the_snapshot_of_one(env_id: str) -> None:
    env: Any = gym.make(env_id, precision="f64").unwrapped
    actions = some_actions(env, 4)
    env.reset(seed=2)
    go_on(env, actions[:2])
    snapshot = env.snapshot()
    expected = go_on(env, actions[2:])
    envs: Any = gym.make_vec(env_id, num_envs=2, vectorization_mode="vector_entry_point", precision="f64")
    observation, info = envs.restore(snapshot)
    assert observation.shape[0] == 2 and info["score"].shape == (2,)
    found = go_on(envs, actions[2:])
    for world in range(2):
        np.testing.assert_allclose(found[:, world], expected[:, 0], atol=1e-9)
    env.close()
    envs.close()


def test_an_arm_goes_on_from_a_snapshot() -> None:
    env: Any = gym.make("pliant/RollingPin-v0", arm="panda").unwrapped
    actions = some_actions(env, 4)
    env.reset(seed=2)
    go_on(env, actions[:2])
    snapshot = env.snapshot()
    expected = go_on(env, actions[2:])
    env.restore(snapshot)
    np.testing.assert_array_equal(go_on(env, actions[2:]), expected)
    env.close()


def test_the_gradient_after_a_restore_is_that_of_the_steps_since() -> None:
    env: Any = gym.make("pliant/FingerReach-v0", differentiable=True, precision="f64").unwrapped
    rng = np.random.default_rng(1)
    actions, direction = rng.uniform(-0.8, 0.8, (2, 6, 2))
    env.reset(seed=3)
    go_on(env, actions[:2])
    snapshot = env.snapshot()

    def value(later: np.ndarray) -> float:
        env.restore(snapshot)
        return sum(env.step(action)[1] for action in later)

    value(actions[2:])
    gradient = env.backward()
    assert gradient.actions.shape == (4, 2)
    numeric = (value(actions[2:] + 1e-5 * direction[2:]) - value(actions[2:] - 1e-5 * direction[2:])) / 2e-5
    assert np.sum(gradient.actions * direction[2:]) == pytest.approx(numeric, rel=1e-6)
    env.close()


def test_a_snapshot_of_something_else_is_refused() -> None:
    finger: Any = gym.make("pliant/FingerReach-v0").unwrapped
    arm: Any = gym.make("pliant/ArmReach-v0").unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        finger.snapshot()
    finger.reset(seed=0)
    arm.reset(seed=0)
    with pytest.raises(ValueError, match="actions"):
        finger.restore(arm.snapshot())
    snapshot = finger.snapshot()
    with pytest.raises(ValueError, match=r"state of the snapshot has shape"):
        finger.restore({**snapshot, "world.state": snapshot["world.state"][:, 1:]})
    with pytest.raises(ValueError, match="lacks elapsed"):
        finger.restore({name: value for name, value in snapshot.items() if name != "elapsed"})
    with pytest.raises(ValueError, match="axis 0 must be 1 or the 1 worlds"):
        finger.restore({name: np.repeat(value, 2, axis=0) for name, value in snapshot.items()})
    finger.close()
    arm.close()


def test_a_restored_batch_ends_with_its_episode() -> None:
    assert pliant.envs
    envs: Any = gym.make_vec("pliant/FingerReach-v0", num_envs=2, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    steps = envs.horizon - 1
    for _ in range(steps):
        envs.step(np.zeros((2, 2)))
    snapshot = envs.snapshot()
    assert envs.step(np.zeros((2, 2)))[3].all()
    envs.restore(snapshot)
    assert envs.step(np.zeros((2, 2)))[3].all()
    envs.close()
