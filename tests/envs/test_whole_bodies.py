"""Robots of muscles stay whole bodies whatever is done to them, and their muscles take their time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401
from pliant.envs.actuators import MuscleActuator
from pliant.envs.registry import ENTRIES
from pliant.policies.gradcheck import check_gradients
from pliant.sims.failures import SimulationDiverged
from pliant.sims.mpm.tearing.inspection import largest_stretch

ROBOTS = tuple(entry.id for entry in ENTRIES if ".locomotion." in entry.task)
WHOLE = 1.75  # times the distance at rest that neighbours part at most; beyond about three a body tears


def corner_actions(steps: int, size: int, seed: int) -> dict[str, np.ndarray]:
    """Patterns of saturated actions by name, (steps, size) each."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size)
    step = np.arange(steps)
    patterns = {
        "all +1": np.ones((steps, size)),
        "all -1": -np.ones((steps, size)),
        "signs": np.tile(signs, (steps, 1)),
    }
    for hold in (1, 2, 4, 8):
        drawn = np.random.default_rng(seed).choice([-1.0, 1.0], (-(-steps // hold), size))
        wave = np.where(step // hold % 2 == 0, 1.0, -1.0)[:, None]
        patterns[f"random, held {hold}"] = np.repeat(drawn, hold, axis=0)[:steps]
        patterns[f"switching, held {hold}"] = np.tile(wave, (1, size))
        patterns[f"switching by signs, held {hold}"] = wave * signs
    return patterns


def stretch_over_episodes(name: str, patterns: dict[str, np.ndarray], **options: Any) -> dict[str, float]:
    """The largest stretch of neighbours in an episode of each pattern."""
    actions = np.stack(list(patterns.values()))
    envs: Any = gym.make_vec(name, len(actions), vectorization_mode="vector_entry_point", **options).unwrapped
    envs.reset(seed=0)
    worst = np.ones(len(actions))
    for t in range(actions.shape[1]):
        envs.step(actions[:, t])
        worst = np.maximum(worst, np.max(list(largest_stretch(envs._rollout.world).values()), axis=0))
    envs.close()
    return dict(zip(patterns, worst, strict=True))


def check_corners(name: str, seeds: Iterable[int], kinds: tuple[str, ...] | None = None, **options: Any) -> None:
    task = gym.make(name, **options).unwrapped.task  # type: ignore[attr-defined]
    for seed in seeds:
        patterns = corner_actions(task.horizon, task.action_size, seed)
        worst = stretch_over_episodes(name, {kind: patterns[kind] for kind in kinds or patterns}, **options)
        assert max(worst.values()) < WHOLE, worst


@pytest.mark.parametrize("name", ["pliant/FingerReach-v0", "pliant/Walker2D-v0"])
def test_corner_actions_leave_robots_whole(name: str) -> None:
    check_corners(name, [0])


@pytest.mark.parametrize("name", ["pliant/ArmReach-v0", "pliant/Crawler3D-v0"])
def test_the_worst_corner_actions_leave_robots_of_three_dimensions_whole(name: str) -> None:
    check_corners(name, [0], ("random, held 1", "random, held 2", "switching, held 1", "switching, held 2"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBOTS)
def test_corner_actions_of_many_seeds_leave_robots_whole(name: str) -> None:
    check_corners(name, range(10))


def test_muscles_that_obey_at_once_without_damping_tear_a_finger_and_it_is_said() -> None:
    env: Any = gym.make("pliant/FingerReach-v0", activation_time=0.0, damping=0.0, muscle_strength=1.5e4).unwrapped
    env.reset(seed=0)
    with pytest.raises(
        SimulationDiverged, match=r"position of particles \d+ and \d+ of world 0: an elastic body is torn"
    ):
        for action in np.random.default_rng(0).choice([-1.0, 1.0], (80, 2)):
            env.step(action)
    env.close()


def test_activation_follows_excitation_with_its_time_constant() -> None:
    env: Any = gym.make("pliant/FingerReach-v0", activation_time=0.05).unwrapped
    observation, _ = env.reset(seed=0, options={"state": {"activation": [0.5, -0.25]}})
    np.testing.assert_allclose(observation[22:24], [0.5, -0.25])
    for k in range(1, 4):
        observation, *_ = env.step(np.array([1.0, -1.0]))
        left = np.exp(-k * 0.01 / 0.05)
        np.testing.assert_allclose(observation[22:24], [1 - 0.5 * left, -1 + 0.75 * left], rtol=1e-6)
    env.close()


def test_without_a_time_constant_muscles_obey_at_once() -> None:
    env: Any = gym.make("pliant/FingerReach-v0", activation_time=0.0).unwrapped
    env.reset(seed=0)
    np.testing.assert_allclose(env.step(np.array([1.0, -0.5]))[0][22:24], [1.0, -0.5])
    env.close()


def test_activation_is_part_of_a_snapshot() -> None:
    env: Any = gym.make("pliant/FingerReach-v0").unwrapped
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.ones(2))
    snapshot = env.snapshot()
    after = env.step(-np.ones(2))[0]
    env.reset(seed=1)
    env.restore(snapshot)
    np.testing.assert_array_equal(env.step(-np.ones(2))[0], after)
    assert isinstance(env._rollout.actuator, MuscleActuator)
    env.close()


def test_activation_out_of_range_is_refused() -> None:
    env: Any = gym.make("pliant/FingerReach-v0").unwrapped
    with pytest.raises(ValueError, match=r"state 'activation'\[1\]=1.5 is out of range; allowed: \[-1, 1\]"):
        env.reset(seed=0, options={"state": {"activation": [0.0, 1.5]}})
    env.close()


def test_activation_and_damping_have_gradients() -> None:
    rows = {row.quantity: row for row in check_gradients("pliant/FingerReach-v0", steps=6, directions=1)}
    for quantity in ("actions", "initial_state.activation", "parameters.damping"):
        assert rows[quantity].analytic != 0
        assert rows[quantity].error <= 1e-6, rows[quantity]
