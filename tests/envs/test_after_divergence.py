"""After a divergence an environment is where it was before the step: snapshot, picture, gradient and score say so."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs
from pliant.sims.world import SimulationDiverged

assert pliant.envs


def make(num_envs: int | None, env_id: str = "pliant/FingerReach-v0", **options: Any) -> Any:
    if num_envs is None:
        return gym.make(env_id, **options).unwrapped
    return gym.make_vec(env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **options)


def actions_of(env: Any, steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (steps, *env.action_space.shape))


def fail(env: Any, action: np.ndarray, monkeypatch: pytest.MonkeyPatch, factor: float = 1e7) -> None:
    """Take a step whose controls are absurd in the last world."""
    actuator = env.unwrapped._rollout.actuator
    controls = actuator.controls

    def deadly(actions: np.ndarray) -> np.ndarray:
        values = controls(actions)
        values[-1] *= factor
        return values

    with monkeypatch.context() as patch, pytest.raises(SimulationDiverged):
        patch.setattr(actuator, "controls", deadly)
        env.step(action)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("num_envs", [None, 2])
@pytest.mark.parametrize("differentiable", [False, True])
def test_it_is_where_it_was_before_the_step(
    num_envs: int | None, differentiable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make(num_envs, differentiable=differentiable, render_mode="rgb_array")
    actions = actions_of(env, 6)
    env.reset(seed=4)
    for action in actions[:3]:
        env.step(action)
    snapshot, picture, score = env.snapshot(), np.array(env.render()), env.score
    gradient = env.backward() if differentiable else None
    fail(env, actions[3], monkeypatch)
    assert_same(env.snapshot(), snapshot)
    np.testing.assert_array_equal(np.array(env.render()), picture)
    np.testing.assert_array_equal(env.score, score)
    if gradient is not None:
        np.testing.assert_array_equal(env.backward().actions, gradient.actions)
    with pytest.raises(ValueError, match="reset"):
        env.step(actions[3])
    assert_same(env.snapshot(), snapshot)
    env.restore(env.snapshot())
    found = [env.step(action)[0] for action in actions[3:]]
    env.reset(seed=4)
    expected = [env.step(action)[0] for action in actions]
    np.testing.assert_array_equal(found, expected[3:])
    env.close()


@pytest.mark.parametrize("env_id", ["pliant/Move-v0", "pliant/RollingPin-v0"])
@pytest.mark.parametrize("arm", ["none", "panda"])
def test_the_actuator_is_where_it_was_too(env_id: str, arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joint angles, and what a recording keeps of each step."""
    if arm != "none":
        pytest.importorskip("pybullet")
        if env_id == "pliant/Move-v0":
            pytest.skip("one task with arms is enough")
    env = make(None, env_id, differentiable=True, arm=arm)
    actions = actions_of(env, 2)
    env.reset(seed=4)
    for action in actions:
        env.step(action)
    snapshot, gradient = env.snapshot(), env.backward()
    fail(env, actions[0], monkeypatch, 1e30)
    assert_same(env.snapshot(), snapshot)
    np.testing.assert_array_equal(env.backward().actions, gradient.actions)
    env.close()


def test_a_gradient_after_a_restore_knows_which_velocities_were_cut() -> None:
    """The record of what keeps tools within the workspace begins anew with a restore, too."""
    env, fresh = (make(None, "pliant/GatheringEasy-v0", differentiable=True) for _ in range(2))
    actions = actions_of(env, 2)
    env.reset(seed=4)
    for sign in (1.0, -1.0):
        env.step(np.full(env.action_space.shape, sign))
    snapshot = env.snapshot()
    gradients = []
    for one in (env, fresh):
        one.restore(snapshot)
        for action in actions:
            one.step(action)
        assert len(one._rollout.actuator._free) == len(actions)
        gradients.append(one.backward().actions)
        one.close()
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize("num_envs", [None, 2])
@pytest.mark.parametrize("stepwise", [False, True])
def test_after_a_gradient_that_overflows_the_forward_state_is_shown(
    num_envs: int | None, stepwise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make(num_envs, differentiable=True)
    env.reset(seed=4)
    for action in actions_of(env, 3):
        env.step(action)
    snapshot, gradient = env.snapshot(), env.backward()
    world = env.unwrapped._rollout.world
    check = world._check_adjoint

    def check_overflown(step: int) -> None:
        rows = world._memory.rows("adjoint", world._sizes.state)
        rows[:, 0] = np.inf if step == 1 else rows[:, 0]
        check(step)

    with monkeypatch.context() as patch, pytest.raises(SimulationDiverged, match="gradient"):
        patch.setattr(world, "_check_adjoint", check_overflown)
        if stepwise:
            env.backward_step()
            env.backward_step()
        else:
            env.backward()
    assert_same(env.snapshot(), snapshot)
    np.testing.assert_array_equal(env.backward().actions, gradient.actions)
    env.step(np.zeros(env.action_space.shape))
    env.close()
