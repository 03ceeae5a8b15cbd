"""The environment API on one small task: bad input, autoreset, the forms of the reverse sweep."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import gymnasium as gym
import nudge
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import pliant.envs
from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.outcomes import OBSERVATION_LIMIT

ID = "pliant/FingerReach-v0"


@pytest.fixture(scope="module")
def env() -> Any:
    made = gym.make(ID, differentiable=True, precision="f64").unwrapped
    yield made
    made.close()


@pytest.fixture(scope="module")
def envs() -> Any:
    made = gym.make_vec(ID, num_envs=2, differentiable=True, precision="f64")
    yield made
    made.close()


@pytest.mark.parametrize(
    "options",
    [
        {"colour": 1},
        {"resolution": "huge"},
        {"precision": "f16"},
        {"device": "abacus"},
        {"memory": "a lot"},
        {"render_mode": "human"},
        {"differentiable": "yes"},
        {"soft_contact": 1.5},
        {"max_episode_steps": 0},
        {"max_episode_steps": 10**6},
        {"parameters": {"charm": 1.0}},
        {"parameters": {"youngs_modulus": -1.0}},
        {"parameters": {"youngs_modulus": [1.0, 2.0]}},
        {"parameters": 3},
        {"youngs_modulus": -1.0},
        {"youngs_modulus": "stiff"},
        {"youngs_modulus": 1e9},
        {"task": "pliant.envs.base:TaskEnv"},
    ],
    ids=str,
)
def test_wrong_keywords_are_named(options: dict[str, Any]) -> None:
    name = next(iter(options))
    options = {"task": "pliant.envs.locomotion.finger_reach:FingerReach", **options}
    with pytest.raises(ValueError, match="dt" if options.get("youngs_modulus") == 1e9 else name.rstrip("s")):
        TaskEnv(**options)


@pytest.mark.parametrize("options", [{"num_envs": 0}, {"autoreset_mode": "sometimes"}], ids=str)
def test_wrong_vector_keywords_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TaskVectorEnv("pliant.envs.locomotion.finger_reach:FingerReach", **options)


def test_wrong_actions_are_named(env: Any) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        env.step(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="T in 1"):
        env.evaluate(np.zeros((1000, 2)))
    with pytest.raises(ValueError, match="T in 1"):
        env.evaluate(np.zeros(2))


def test_wrong_reset_options_are_named(env: Any, envs: Any) -> None:
    with pytest.raises(ValueError, match="reset option 'wind'"):
        env.reset(options={"wind": 1})
    with pytest.raises(ValueError, match="state 'colour'"):
        env.reset(options={"state": {"colour": 1}})
    with pytest.raises(ValueError, match="velocity"):
        env.reset(options={"state": {"velocity": np.zeros(7)}})
    with pytest.raises(ValueError, match="reset_mask"):
        envs.reset(options={"reset_mask": [True, False]})
    with pytest.raises(ValueError, match="seed"):
        envs.reset(seed=[1, 2, 3])


def test_order_of_calls_is_checked() -> None:
    env = gym.make(ID, max_episode_steps=5).unwrapped
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2))
    env.reset()
    with pytest.raises(RuntimeError, match="differentiable=True"):
        env.backward_step()
    with pytest.raises(RuntimeError, match="differentiable=True"):
        env.value_and_grad(np.zeros((2, 2)))
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.reset()


def test_actions_beyond_the_box_are_clipped_and_have_no_gradient(env: Any) -> None:
    wide, inside = np.array([[2.0, 0.3], [0.5, -3.0]]), np.array([[1.0, 0.3], [0.5, -1.0]])
    value, gradient = env.value_and_grad(wide)
    assert value == env.evaluate(inside)
    assert (gradient.actions == 0.0).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("num_envs", [None, 2])
def test_a_closed_environment_is_no_garbage_that_has_to_be_searched_for(num_envs: int | None) -> None:
    """Without circles of references, memory does not wait for the collector."""
    env = nudge.make(num_envs, differentiable=True)
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape))
    env.backward()
    env.close()
    gone = weakref.ref(env._rollout.world)
    gc.collect()
    gc.disable()
    try:
        del env
        assert gone() is None
    finally:
        gc.enable()


def test_episode_is_truncated_and_then_wants_a_reset() -> None:
    env = TaskEnv("pliant.envs.locomotion.finger_reach:FingerReach", max_episode_steps=2)
    env.reset(seed=0)
    assert [env.step(np.zeros(2))[3] for _ in range(2)] == [False, True]
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2))
    env.close()


def test_state_override_shows_in_the_observation(env: Any) -> None:
    plain = env.reset(seed=0)[0]
    moving = env.reset(seed=0, options={"state": {"velocity": [0.5, 0.0]}})[0]
    assert np.allclose(moving[2:4], [0.5, 0.0]) and np.array_equal(np.delete(plain, 2), np.delete(moving, 2))


def test_parameters_can_be_set_at_construction_and_later(env: Any) -> None:
    soft = gym.make(ID, parameters={"youngs_modulus": 5e4}).unwrapped
    assert (soft.parameter("youngs_modulus") == 5e4).all()
    soft.close()
    actions = np.full((3, 2), [0.5, -0.5])
    start, before = env.parameter("youngs_modulus"), env.evaluate(actions)
    env.set_parameter("youngs_modulus", 0.5 * start)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2))
    assert env.evaluate(actions) != before
    env.set_parameter("youngs_modulus", start)
    assert env.evaluate(actions) == before


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_autoreset_agrees_with_gymnasium(mode: AutoresetMode) -> None:
    """The same episodes as Gymnasium's own vector environment over single ones, infos and masks included."""
    ours = gym.make_vec(ID, num_envs=2, autoreset_mode=mode.value, max_episode_steps=3)
    theirs = SyncVectorEnv([lambda: gym.make(ID, max_episode_steps=3)] * 2, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] == mode
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    found, expected = [ours.reset(seed=9)], [theirs.reset(seed=9)]
    rng = np.random.default_rng(0)
    for step in range(8):
        if mode == AutoresetMode.DISABLED and step in (2, 3, 6):
            mask = np.array([True, step != 2])
            if step == 3:
                mask = np.array([False, True])
            found.append(ours.reset(options={"reset_mask": mask.copy()}))
            expected.append(theirs.reset(options={"reset_mask": mask.copy()}))
            if step != 3:
                continue
        actions = rng.uniform(-1, 1, (2, 2)).astype(np.float32)
        if mode == AutoresetMode.DISABLED and ours._done.any():
            found.append(ours.reset(options={"reset_mask": ours._done.copy()}))
            expected.append(theirs.reset(options={"reset_mask": theirs._autoreset_envs.copy()}))
        found.append(ours.step(actions))
        expected.append(theirs.step(actions))
    for a, b in zip(found, expected, strict=True):
        assert data_equivalence(a[0], b[0]) and data_equivalence(a[-1], b[-1]), (a, b)
        for x, y in zip(a[1:-1], b[1:-1], strict=True):
            assert x.dtype == y.dtype and np.allclose(x, y, atol=1e-6)
    ours.close()
    theirs.close()


def test_disabled_autoreset_wants_a_reset() -> None:
    envs = gym.make_vec(ID, num_envs=2, autoreset_mode="Disabled", max_episode_steps=1)
    envs.reset(seed=0)
    envs.step(np.zeros((2, 2)))
    with pytest.raises(ResetNeeded, match=r"\[0, 1\]"):
        envs.step(np.zeros((2, 2)))
    envs.close()


def test_a_recorded_batch_is_reset_as_a_whole(envs: Any) -> None:
    envs.reset(seed=0)
    envs.step(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="reset_mask"):
        envs.reset(options={"reset_mask": np.array([True, False])})


def test_backward_weighs_rewards_and_observations(env: Any) -> None:
    rng = np.random.default_rng(0)
    steps = 4
    actions = rng.uniform(-0.9, 0.9, (steps, 2))
    weights = rng.normal(size=steps)
    cotangents = rng.normal(size=(steps + 1, env.observation_space.shape[0]))
    env.reset(seed=0)
    start = {name: env.state(name) for name in ("position", "velocity")}

    def objective(actions: np.ndarray, state: dict[str, np.ndarray] | None = None) -> float:
        env.reset(seed=0, options={"state": state or {}})
        total = cotangents[0] @ env._last.observation[0]  # float64, before rounding to float32
        for t, action in enumerate(actions):
            reward = env.step(action)[1]
            total += weights[t] * reward + cotangents[t + 1] @ env._last.observation[0]
        return total

    objective(actions)
    gradient = env.backward(weights, cotangents)
    direction, step = rng.normal(size=actions.shape), 1e-6
    numeric = (objective(actions + step * direction) - objective(actions - step * direction)) / (2 * step)
    assert np.isclose((gradient.actions * direction).sum(), numeric, rtol=1e-5)
    for name, value in start.items():
        direction = rng.normal(scale=1e-2, size=value.shape)  # [m], [m/s]
        numeric = (
            objective(actions, {name: value + step * direction}) - objective(actions, {name: value - step * direction})
        ) / (2 * step)
        assert np.isclose((gradient.initial_state[name] * direction).sum(), numeric, rtol=1e-5), name


def test_stepwise_sweep_equals_the_whole_one(env: Any) -> None:
    rng = np.random.default_rng(1)
    cotangents = rng.normal(size=(4, env.observation_space.shape[0]))
    env.reset(seed=0)
    for action in rng.uniform(-0.9, 0.9, (3, 2)):
        env.step(action)
    whole = env.backward(np.array([1.0, 0.5, 0.25]), cotangents)
    stepwise = [env.backward_step(w, cotangents[t + 1]) for t, w in ((2, 0.25), (1, 0.5), (0, 1.0))]
    with pytest.raises(RuntimeError, match="backward_end"):
        env.backward_step()
    with pytest.raises(RuntimeError, match="under way"):
        env.step(np.zeros(2))
    end = env.backward_end(cotangents[0])
    assert np.array_equal(whole.actions, stepwise[::-1]) and np.array_equal(whole.actions, end.actions)
    for ours, theirs in ((end.initial_state, whole.initial_state), (end.parameters, whole.parameters)):
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    again = env.backward(np.array([1.0, 0.5, 0.25]), cotangents)
    assert np.array_equal(again.actions, whole.actions)
    env.step(np.zeros(2))  # the episode goes on after a sweep
    assert env.backward().actions.shape == (4, 2)


def test_a_stepwise_sweep_measures_how_steps_stretch_the_cotangent(env: Any, envs: Any) -> None:
    """The factor of the first step is the ratio of the norms of the state's cotangent before and after it."""
    last = np.random.default_rng(5).normal(size=env.observation_space.shape[0])
    norms, growth = [], []
    for second_alone in (True, False):
        env.reset(seed=0)
        env.step(np.full(2, 0.3))
        if second_alone:
            env.begin_window()
        env.step(np.full(2, 0.3))
        env.backward_step(0.0, last)
        if not second_alone:
            env.backward_step(0.0, growth=growth)
        bars = env.backward_end().initial_state
        norms.append(np.sqrt(sum((bar**2).sum() for bar in bars.values())))
    assert len(growth) == 1 and np.isclose(growth[0], norms[1] / norms[0], rtol=1e-4)
    envs.reset(seed=0)
    envs.step(np.zeros((2, 2)))
    envs.backward_step(0.0, growth=growth)
    envs.backward_end()
    assert growth[1].shape == (2,) and not growth[1].any()  # there is nothing to stretch


def test_closed_loop_gradient_by_steps(env: Any) -> None:
    """The derivative of the return with respect to a linear policy, accumulated last step first."""
    steps, size = 3, env.observation_space.shape[0]
    policy = np.random.default_rng(2).normal(scale=0.1, size=(2, size))

    def run(policy: np.ndarray) -> tuple[float, list[np.ndarray]]:
        observation = env.reset(seed=0)[0]
        total, seen = 0.0, []
        for _ in range(steps):
            seen.append(observation)
            observation, reward, *_ = env.step(policy @ observation)
            total += reward
        return total, seen

    _, seen = run(policy)
    policy_bar, cotangent = np.zeros_like(policy), None
    for observation in reversed(seen):
        action_bar = env.backward_step(1.0, cotangent)
        policy_bar += np.outer(action_bar, observation)
        cotangent = policy.T @ action_bar
    env.backward_end(cotangent)
    direction = np.random.default_rng(3).normal(size=policy.shape)
    numeric = (run(policy + 1e-3 * direction)[0] - run(policy - 1e-3 * direction)[0]) / 2e-3
    assert np.isclose((policy_bar * direction).sum(), numeric, rtol=1e-3)


def test_batched_gradients_equal_single_ones(env: Any, envs: Any) -> None:
    actions = np.random.default_rng(4).uniform(-0.9, 0.9, (2, 3, 2))
    values, gradient = envs.value_and_grad(actions, seed=3, discount=0.9)
    assert values.shape == (2,) and gradient.actions.shape == (2, 3, 2) and envs.score.shape == (2,)
    for b in range(2):
        value, single = env.value_and_grad(actions[b], seed=3 + b, discount=0.9)
        assert np.isclose(values[b], value, rtol=1e-9)
        assert np.allclose(gradient.actions[b], single.actions, rtol=1e-7)
        for name, array in single.parameters.items():
            assert np.allclose(gradient.parameters[name][b], array, rtol=1e-6, atol=1e-12 * np.abs(array).max()), name


def test_observation_gradient_stops_where_it_is_clipped(env: Any) -> None:
    fast = {"state": {"velocity": [100.0 * OBSERVATION_LIMIT, 0.0]}}
    env.reset(seed=0, options={"state": {"velocity": [0.1, 0.0]}})
    assert env.reset(seed=0, options=fast)[0][2] == OBSERVATION_LIMIT


def test_import_registers_without_starting_taichi() -> None:
    code = (
        "import sys, gymnasium as gym, pliant.envs; "
        "assert 'taichi' not in sys.modules; "
        "assert all(entry.id in gym.registry for entry in pliant.envs.ENTRIES)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_task_of_ones_own_can_be_registered() -> None:
    entry = pliant.envs.ENTRIES[0]._replace(id="pliant-test/Finger-v0", horizon=7)
    pliant.envs.register(entry)
    env = gym.make("pliant-test/Finger-v0", youngs_modulus=5e4)
    assert env.spec.max_episode_steps == 7 and (env.unwrapped.parameter("youngs_modulus") == 5e4).all()
    env.close()
    del gym.registry["pliant-test/Finger-v0"]
