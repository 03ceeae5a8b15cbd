"""ArmReach with a target that moves."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs
from pliant.policies.gradcheck import check_gradients

ID = "pliant/ArmReach-v0"
SPEED = 0.1


@pytest.fixture(scope="module")
def env() -> Any:
    assert pliant.envs
    made = gym.make(ID, target_speed=SPEED, precision="f64").unwrapped
    yield made
    made.close()


def test_the_target_circles_at_the_speed_asked_for(env: Any) -> None:
    senses = set()
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        path = env.snapshot()["goal.target"][0]
        step = np.diff(path, axis=0)
        centre = np.array([0.28, 0.28])
        radius = np.linalg.norm(path[:, :2] - centre, axis=1)
        np.testing.assert_allclose(radius, radius[0])
        assert np.ptp(path[:, 2]) == 0.0
        arcs = 2 * radius[0] * np.arcsin(np.linalg.norm(step, axis=1) / (2 * radius[0]))
        np.testing.assert_allclose(arcs, SPEED * 0.02, rtol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(observation[51:54]), SPEED, rtol=1e-6)
        assert step[0] @ observation[51:54] > 0.99 * np.linalg.norm(step[0]) * SPEED
        (x, y), (dx, dy) = path[0, :2] - centre, step[0, :2]
        senses.add(bool(x * dy > y * dx))
    assert senses == {True, False}


def test_offset_and_score_follow_the_target(env: Any) -> None:
    env.reset(seed=1)
    path = env.snapshot()["goal.target"][0]
    distances, from_rest = [], []
    for t in range(1, 6):
        observation, _, _, _, info = env.step(np.full(4, 0.3) * [1, 1, -1, -1])
        tip = np.array([0.28, 0.28, 0.36]) + 0.24 * observation[:3]
        np.testing.assert_allclose(0.24 * observation[42:45], path[t] - tip, atol=1e-6)
        distances.append(np.linalg.norm(path[t] - tip))
        from_rest.append(np.linalg.norm(env.snapshot()["goal.from_rest"][0, t]))
        assert info["measures"]["distance"] == pytest.approx(distances[-1], abs=1e-6)
        assert info["score"] == pytest.approx(max(0.0, 1 - sum(distances) / sum(from_rest)), abs=1e-5)


def test_without_the_keyword_nothing_has_changed() -> None:
    env: Any = gym.make(ID).unwrapped
    assert env.reset(seed=0)[0].shape == (51,)
    assert env.snapshot()["goal.target"].shape == (1, 3)
    assert "measures" not in env.step(np.zeros(4))[4]
    env.close()


def test_gradients_agree_with_central_differences() -> None:
    quantities = ["actions", "initial_state.velocity", "parameters.youngs_modulus"]
    rows = check_gradients(ID, steps=6, directions=1, quantities=quantities, target_speed=SPEED)
    assert [row.quantity for row in rows] == quantities
    assert all(row.passed for row in rows), [(row.quantity, row.error) for row in rows]
