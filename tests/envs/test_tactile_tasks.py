"""What tactile tasks observe and reward by keyword, and that their modes have derivatives."""

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401 (registers the environments)
from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.tactile.surface_follow import SurfaceFollow

ACTION = np.array([0.5, 0.1, -0.3, 0.1, 0.2, -0.1])


@pytest.fixture(scope="module")
def everything():
    env = TaskEnv(SurfaceFollow, observe="image+state+markers+force", differentiable=True, precision="f64")
    yield env
    env.close()


def test_several_modes_are_a_dictionary(everything):
    space = everything.observation_space
    assert isinstance(space, gym.spaces.Dict)
    assert list(space) == sorted(["state", "markers", "image", "force"])
    observation, _ = everything.reset(seed=0)
    assert space.contains(observation)
    assert observation["image"].dtype == np.uint8 and observation["image"].shape == (48, 64, 3)
    assert observation["markers"].shape == (272,) and observation["force"].shape == (6,)
    before = observation["markers"].copy()
    for _ in range(4):
        observation, *_ = everything.step(ACTION)
        assert space.contains(observation)
    assert np.abs(observation["markers"] - before).max() > 1e-3, "the gel has been pressed and dragged"
    assert np.abs(observation["force"]).max() > 1e-3


def test_readings_have_derivatives(everything):
    """Any weighted sum of markers and picture, against differences of the action."""
    rng = np.random.default_rng(0)
    parts = everything.task.observation_parts
    size = parts["force"].columns.stop
    weights = np.zeros((5, size))
    for name in ("markers", "image", "force"):
        columns = parts[name].columns
        weights[-1, columns] = rng.normal(size=columns.stop - columns.start)
    direction = rng.normal(size=(4, 6))

    def value(h):
        everything.reset(seed=1)
        for k in range(4):
            everything.step(np.clip(0.6 * ACTION + h * direction[k], -1, 1))
        return float((everything._last.observation[0] * weights[-1]).sum())

    numeric = [(value(h) - value(-h)) / (2 * h) for h in (1e-4, 1e-5)]
    value(0.0)
    gradient = everything.backward(reward_weights=np.zeros(4), observation_cotangents=weights)
    exact = float((gradient.actions * direction).sum())
    assert min(abs(n - exact) for n in numeric) < 1e-5 * abs(exact), (numeric, exact)


@pytest.mark.parametrize("mode, size", [("state", 19), ("markers", 272), ("force", 6)])
def test_one_mode_is_a_vector(mode, size):
    task = SurfaceFollow(observe=mode)
    assert {name: part.columns for name, part in task.observation_parts.items()} == {mode: slice(0, size)}


def test_rewards_by_keyword():
    names = {
        kind: [term.feature.name for term in SurfaceFollow(reward=kind).reward] for kind in ("state", "tactile", "both")
    }
    assert names["state"] == ["path", "action_cost"]
    assert names["tactile"] == ["pressure", "action_cost"]
    assert names["both"] == ["path", "pressure", "action_cost"]


@pytest.mark.parametrize("bad", ["", "touch", "state+", "state+state", "markers,force"])
def test_unknown_modes_are_refused(bad):
    with pytest.raises(ValueError, match="observe="):
        SurfaceFollow(observe=bad)


def test_unknown_rewards_are_refused():
    with pytest.raises(ValueError, match="reward='touch'"):
        SurfaceFollow(reward="touch")


def test_worlds_of_a_vector_environment_have_dictionaries_of_rows():
    envs = TaskVectorEnv(SurfaceFollow, 2, observe="force+state")
    try:
        observation, _ = envs.reset(seed=0)
        assert envs.observation_space.contains(observation)
        assert observation["state"].shape == (2, 19) and observation["force"].shape == (2, 6)
        assert not np.array_equal(observation["state"][0], observation["state"][1])
    finally:
        envs.close()


@pytest.mark.parametrize("task", ["ObjectRepose", "BoxOpen"])
@pytest.mark.parametrize("place", [(10.0, 0.0, 0.0), (0.0, 0.0, -1.0)])
def test_objects_outside_the_workspace_are_refused(task, place):
    env = gym.make(f"pliant/{task}-v0").unwrapped
    env.reset(seed=0)
    before = env.state("body_position")
    with pytest.raises(ValueError, match=r"state 'body_position' has a row .* outside the workspace; allowed: \["):
        env.reset(seed=0, options={"state": {"body_position": place}})
    assert np.array_equal(env.state("body_position"), before)
    env.reset(seed=0, options={"state": {"body_position": before + 1e-4}})
    env.close()


def test_an_arm_carries_the_sensor():
    """Joint velocities in place of twists; the sensor stays where the hand is."""
    env = gym.make("pliant/SurfaceFollow-v0", arm="panda").unwrapped
    env.reset(seed=0)
    assert env.action_space.shape == (7,)
    before = env.state("effector_position")[0]
    for _ in range(4):
        _, reward, *_ = env.step(np.full(7, 0.3, np.float32))
        assert np.isfinite(reward)
    assert np.abs(env.state("effector_position")[0] - before).max() > 1e-4
    env.close()
