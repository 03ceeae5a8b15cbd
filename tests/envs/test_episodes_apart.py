"""Worlds of a batch are episodes of their own: what one of them goes through leaves the others as they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import nudge
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

MODES = ("NextStep", "SameStep", "Disabled")
PUSH = np.array([0.8, 0.1])


def only(*worlds: int) -> np.ndarray:
    mask = np.zeros(3, bool)
    mask[list(worlds)] = True
    return mask


@pytest.mark.parametrize("options", [{}, {"precision": "f64"}], ids=["f32", "f64"])
def test_a_reset_of_one_world_leaves_all_of_the_others(options: dict[str, Any]) -> None:
    envs = nudge.make(3, nudge.NudgeAtRandom, **options)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(np.tile(PUSH, (3, 1)))
    before = nudge.everything(envs)
    assert (np.abs(before["force"][:, 0]).max(axis=1) > 0).all()
    observation, info = envs.reset(options={"reset_mask": only(1), "parameters": {"density": 900.0}})
    after = nudge.everything(envs)
    before["snapshot.parameter.density"] = before["parameter.density"]  # the episode of world 1 has one of its own
    nudge.assert_equal(before, after, [0, 2])
    assert (observation[[0, 2], 2:5] != 0).any() and (observation[1, 2:5] == 0).all()
    assert after["force"][1].max() == 0 and info["_score"].tolist() == [False, True, False]
    assert not np.array_equal(before["position"][1], after["position"][1])
    envs.close()


def test_a_batch_out_of_phase_is_as_many_single_environments() -> None:
    envs, singles = nudge.make(3), [nudge.make() for _ in range(3)]
    rng = np.random.default_rng(0)
    envs.reset(seed=4)
    for b, single in enumerate(singles):
        single.reset(seed=4 + b)
    envs.step(np.tile(PUSH, (3, 1)))
    for b in (0, 2):
        singles[b].step(PUSH)
    envs.reset(seed=[0, 5, 0], options={"reset_mask": only(1)})  # from here on world 1 is a step behind
    singles[1].reset(seed=5)
    for _ in range(3 * nudge.HORIZON):
        actions = rng.uniform(-1, 1, (3, 2))
        again = envs._done.copy()
        observation, reward, _, truncated, _ = envs.step(actions)
        for b, single in enumerate(singles):
            if again[b]:
                expected, _ = single.reset()
                assert reward[b] == 0.0 and not truncated[b]
            else:
                expected, own, _, ended, _ = single.step(actions[b])
                assert reward[b] == pytest.approx(own, abs=1e-6) and truncated[b] == ended
            np.testing.assert_allclose(observation[b], expected, atol=1e-5)
    for env in (envs, *singles):
        env.close()


def to_the_end(env: Any, how: str) -> None:
    """Bring all episodes to their end, by steps or by a call that takes them all."""
    batch = getattr(env, "num_envs", None)
    actions = np.tile(PUSH, (nudge.HORIZON, 1)) if batch is None else np.tile(PUSH, (batch, nudge.HORIZON, 1))
    if how == "steps":
        env.reset(seed=3)
        for t in range(nudge.HORIZON):
            env.step(actions[..., t, :])
    elif how == "value_and_grad":
        env.value_and_grad(actions, seed=3)
    else:
        env.evaluate(actions, seed=3)
    if how == "restore":
        snapshot = env.snapshot()
        env.reset(seed=3)
        env.restore(snapshot)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["evaluate", "value_and_grad", "restore"])
def test_an_episode_is_over_however_it_came_to_its_end(mode: str, how: str) -> None:
    options = {"autoreset_mode": mode, "differentiable": how == "value_and_grad"}
    by_hand, other = (nudge.make(2, **options) for _ in range(2))
    to_the_end(by_hand, "steps")
    to_the_end(other, how)
    action = np.tile([-0.3, 0.2], (2, 1))
    if mode == "Disabled":
        for env in (by_hand, other):
            with pytest.raises(ResetNeeded, match=r"\[0, 1\]"):
                env.step(action)
            env.reset(options={"reset_mask": np.ones(2, bool)})
    for _ in range(nudge.HORIZON):
        expected, found = by_hand.step(action), other.step(action)
        for one, two in zip(expected[:4], found[:4], strict=True):
            np.testing.assert_array_equal(one, two)
        assert other._rollout.elapsed.max() <= nudge.HORIZON
    by_hand.close()
    other.close()


@pytest.mark.parametrize("how", ["steps", "evaluate", "value_and_grad", "restore"])
def test_a_single_episode_is_over_however_it_came_to_its_end(how: str) -> None:
    env = nudge.make(differentiable=how == "value_and_grad")
    to_the_end(env, how)
    with pytest.raises(ResetNeeded):
        env.step(PUSH)
    env.reset()
    env.step(PUSH)
    env.close()


def test_an_episode_goes_on_after_a_part_of_it_was_evaluated() -> None:
    envs = nudge.make(2)
    to_the_end(envs, "evaluate")
    envs.evaluate(np.tile(PUSH, (2, 2, 1)), seed=3)
    ends = [bool(envs.step(np.tile(PUSH, (2, 1)))[3].all()) for _ in range(nudge.HORIZON - 2)]
    assert ends == [False] * (nudge.HORIZON - 3) + [True]
    with pytest.raises(ValueError, match="reset option 'reset_mask'"):
        envs.evaluate(np.tile(PUSH, (2, 2, 1)), options={"reset_mask": np.array([True, False])})
    envs.close()


@pytest.mark.parametrize("mode", MODES)
def test_one_world_diverges_and_the_others_do_not_notice(mode: str) -> None:
    envs = nudge.make(3, on_divergence="truncate", autoreset_mode=mode)
    twins = nudge.make(3, autoreset_mode=mode)
    rng = np.random.default_rng(1)
    envs.reset(seed=0)
    fast = np.zeros(envs.state("velocity").shape)
    fast[1] = [300.0, 0.0]  # crosses cells in a substep
    envs.reset(seed=0, options={"state": {"velocity": fast}})
    twins.reset(seed=0)
    before, compared = nudge.everything(envs), [0, 2]
    actions = rng.uniform(-1, 1, (3, 2))
    observation, reward, terminated, truncated, info = envs.step(actions)
    expected = twins.step(actions)
    assert truncated.tolist() == [False, True, False] and not terminated.any()
    last = info["final_info"] if mode == "SameStep" else info
    assert last["diverged"].tolist() == [False, True, False]
    assert np.isfinite(observation).all() and np.isfinite(reward).all()
    if mode != "SameStep":
        np.testing.assert_array_equal(envs.state("position")[1], before["position"][1])
    if mode == "Disabled":
        with pytest.raises(ResetNeeded, match=r"\[1\]"):
            envs.step(actions)
        for env in (envs, twins):
            env.reset(seed=[0, 5, 0], options={"reset_mask": only(1)})
        compared = [0, 1, 2]  # nothing is left of the failed step
    for t in range(nudge.HORIZON - 2):
        for one, two in zip((observation, reward, truncated), (expected[0], expected[1], expected[3]), strict=True):
            np.testing.assert_array_equal(one[compared if t else [0, 2]], two[compared if t else [0, 2]])
        actions = rng.uniform(-1, 1, (3, 2))
        observation, reward, _, truncated, info = envs.step(actions)
        expected = twins.step(actions)
        assert not truncated.any() and not info["diverged"].any()
    envs.close()
    twins.close()


def test_one_rod_diverges_and_the_others_do_not_notice() -> None:
    make = partial(gym.make_vec, "pliant/CableShape-v0", num_envs=3, vectorization_mode="vector_entry_point")
    envs, twins = make(on_divergence="truncate"), make()
    rng = np.random.default_rng(0)
    envs.reset(seed=0)
    fast = np.zeros(envs.unwrapped.state("velocity").shape)
    fast[1, ::2] = 1e5
    envs.reset(seed=0, options={"state": {"velocity": fast}})
    twins.reset(seed=0, options={"state": {"velocity": np.zeros_like(fast)}})
    for t in range(4):
        actions = rng.uniform(-1, 1, (3, 12))
        observation, reward, _, truncated, info = envs.step(actions)
        expected = twins.step(actions)
        np.testing.assert_array_equal(observation[[0, 2]], expected[0][[0, 2]])
        np.testing.assert_array_equal(reward[[0, 2]], expected[1][[0, 2]])
        assert truncated.tolist() == info["diverged"].tolist() == [False, t == 0, False]
    envs.close()
    twins.close()


def test_a_single_episode_that_diverges_is_truncated_or_raises() -> None:
    fast = {"state": {"velocity": [300.0, 0.0]}}
    env = nudge.make(on_divergence="truncate")
    assert env.reset(seed=0, options=fast)[1]["diverged"] is False
    _, reward, terminated, truncated, info = env.step(PUSH)
    assert (terminated, truncated, info["diverged"]) == (False, True, True) and np.isfinite(reward)
    with pytest.raises(ResetNeeded):
        env.step(PUSH)
    assert env.reset(seed=0)[1]["diverged"] is False and env.step(PUSH)[3] is False
    env.close()
    env = nudge.make()
    env.reset(seed=0, options=fast)
    with pytest.raises(RuntimeError, match="world 0"):
        env.step(PUSH)
    assert "diverged" not in env.reset(seed=0)[1]
    env.close()
    with pytest.raises(ValueError, match="on_divergence='truncate' does not go"):
        nudge.make(differentiable=True, on_divergence="truncate")
    with pytest.raises(ValueError, match="on_divergence='ignore' is unknown; allowed: 'raise', 'truncate'"):
        nudge.make(on_divergence="ignore")


def test_success_is_reported_and_ends_an_episode_where_it_is_asked_to() -> None:
    goal = np.tile([1.0, 0.0], (2, 1))
    plain, ending = nudge.make(2), nudge.make(2, terminate_on_success=True)
    plain.reset(seed=1)
    ending.reset(seed=1)
    assert not plain.step(goal)[4]["is_success"].any()
    ended = np.zeros(2, bool)
    ending.step(goal)
    for _ in range(nudge.HORIZON - 1):
        _, _, terminated, _, info = plain.step(goal)
        assert not terminated.any()
        np.testing.assert_array_equal(info["is_success"], info["score"] >= nudge.Nudge.success_score)
        _, _, terminated, _, own = ending.step(goal)
        np.testing.assert_array_equal(terminated[~ended], info["is_success"][~ended])
        if ended.any():
            assert not terminated[ended].any() and not own["is_success"][ended].any()  # it began anew
            break
        ended |= terminated
    assert ended.any()
    single = nudge.make(terminate_on_success=True)
    single.reset(seed=1)
    while not (step := single.step(goal[0]))[2]:
        assert step[4]["is_success"] is False
    assert step[4]["is_success"] is True
    with pytest.raises(ResetNeeded):
        single.step(goal[0])
    for env in (plain, ending, single):
        env.close()
    with pytest.raises(ValueError, match="terminate_on_success=True does not go with differentiable=True"):
        nudge.make(2, terminate_on_success=True, differentiable=True)
    with pytest.raises(ValueError, match="terminate_on_success=True does not fit NudgeOverTime"):
        nudge.make(task=nudge.NudgeOverTime, terminate_on_success=True)
    with pytest.raises(ValueError, match="terminate_on_success='yes' must be True or False"):
        nudge.make(terminate_on_success="yes")


def structure(info: dict[str, Any]) -> Any:
    return {name: structure(value) if isinstance(value, dict) else type(value) for name, value in info.items()}


@pytest.mark.parametrize("options", [{}, {"on_divergence": "truncate"}], ids=["raise", "truncate"])
def test_infos_have_one_structure(options: dict[str, Any]) -> None:
    env = nudge.make(max_episode_steps=2, **options)
    infos = [env.reset(seed=0)[1], env.step(PUSH)[4], env.step(PUSH)[4], env.reset()[1]]
    infos.append(env.restore(env.snapshot())[1])
    assert all(structure(info) == structure(infos[0]) for info in infos)
    assert set(infos[0]) == {"score", "is_success", "reward_terms", "measures", *(["diverged"] if options else [])}
    assert type(infos[0]["score"]) is np.float64 and type(infos[0]["is_success"]) is bool
    assert infos[0]["reward_terms"] == {"distance": 0.0, "smoothness_cost": 0.0}
    assert infos[1]["reward_terms"]["distance"] < 0.0
    env.close()
    for mode in MODES:
        envs = nudge.make(2, max_episode_steps=2, autoreset_mode=mode, **options)
        found = [envs.reset(seed=0)[1]]
        for _ in range(4):
            if mode == "Disabled" and envs._done.any():
                found.append(envs.reset(options={"reset_mask": envs._done.copy()})[1])
            found.append(envs.step(np.tile(PUSH, (2, 1)))[4])
        for info in found:
            final, _ = info.pop("final_info", None), info.pop("_final_info", None)
            info.pop("final_obs", None), info.pop("_final_obs", None)
            for one in (info, *([final] if final else [])):
                assert structure(one) == structure(found[0])
                assert one["score"].dtype == np.float64 and one["is_success"].dtype == np.bool_
        envs.close()


def test_worlds_that_record_end_together() -> None:
    envs, other = nudge.make(2, differentiable=True), nudge.make(2)
    other.reset(seed=0)
    for _ in range(nudge.HORIZON - 1):
        other.step(np.tile(PUSH, (2, 1)))
    other.reset(options={"reset_mask": np.array([True, False])})
    envs.restore(other.snapshot())
    envs.step(np.tile(PUSH, (2, 1)))
    with pytest.raises(ResetNeeded, match=r"only the episodes of worlds \[1\] are over"):
        envs.step(np.tile(PUSH, (2, 1)))
    envs.close()
    other.close()
