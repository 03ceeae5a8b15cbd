"""What cannot be is refused by name, before anything changes: snapshots, starts, parameters, cotangents, discounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import nudge
import numpy as np
import pytest

from pliant.envs.checks import UnknownKeyword
from pliant.sims.failures import SimulationDiverged

PUSH = np.array([0.8, 0.1])
HUGE = 1e39  # finite in float64, beyond float32


@pytest.fixture(scope="module")
def env() -> Any:
    made = nudge.make(task=nudge.NudgeAtRandom)
    yield made
    made.close()


@pytest.fixture(scope="module")
def recorded() -> Any:
    made = nudge.make(2, differentiable=True)
    yield made
    made.close()


def changed(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda snapshot: {**snapshot, name: change(snapshot[name])}


def filled(value: Any) -> Callable[[np.ndarray], Any]:
    return lambda array: np.full_like(array, value)


def cast(dtype: Any) -> Callable[[np.ndarray], Any]:
    return lambda array: array.astype(dtype)


ENTRIES = (
    *("actions", "elapsed", "world.state", "world.outputs", "goal.target"),
    *("score.start", "score.sums", "score.counted", "parameter.youngs_modulus", "parameter.gravity"),
)
WRONG: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    *[(name, changed(name, lambda a: a[..., None])) for name in ENTRIES],
    *[(name, changed(name, lambda a: a[0])) for name in ENTRIES],
    *[(name, changed(name, lambda a: np.concatenate([a, a, a]))) for name in ENTRIES],
    *[(name, changed(name, lambda a: a[:0])) for name in ENTRIES],
    *[(name, changed(name, cast(complex))) for name in ENTRIES],
    *[(name, changed(name, cast(object))) for name in ENTRIES],
    *[(name, changed(name, cast(str))) for name in ENTRIES],
    *[(name, changed(name, cast(bool))) for name in ENTRIES],
    *[(name, changed(name, lambda a: None)) for name in ENTRIES],
    *[(name, changed(name, lambda a: [[1.0], [1.0, 2.0]])) for name in ENTRIES],
    *[(name, changed(name, filled(np.nan))) for name in ENTRIES if name not in ("elapsed", "score.counted")],
    *[(name, changed(name, filled(np.inf))) for name in ENTRIES if name not in ("elapsed", "score.counted")],
    *[(name, changed(name, cast(np.float16))) for name in ENTRIES],
    *[(name, changed(name, cast(np.int8))) for name in ("goal.target", "world.state", "score.sums", "actions")],
    *[(name, changed(name, cast(np.float32))) for name in ("goal.target", "score.start", "score.sums", "actions")],
    *[(name, changed(name, cast(float))) for name in ("elapsed", "score.counted")],
    ("world.state", changed("world.state", lambda a: np.full(a.shape, HUGE))),
    ("parameter.youngs_modulus", changed("parameter.youngs_modulus", filled(-1.0))),
    ("actions", changed("actions", filled(1.5))),
    ("elapsed", changed("elapsed", filled(-5))),
    ("elapsed", changed("elapsed", filled(nudge.HORIZON + 1))),
    ("score.counted", changed("score.counted", filled(-1))),
    ("score.counted", changed("score.counted", filled(nudge.HORIZON))),
    ("goal.wind", lambda snapshot: {**snapshot, "goal.wind": np.zeros((1, 2))}),
    ("parameter.charm", lambda snapshot: {**snapshot, "parameter.charm": np.zeros((1, 2))}),
    ("7", lambda snapshot: {**snapshot, 7: np.zeros(1)}),
    ("goal.target", lambda snapshot: {name: value for name, value in snapshot.items() if name != "goal.target"}),
    ("snapshot is a list", lambda snapshot: list(snapshot.items())),
    ("snapshot is a NoneType", lambda _: None),
    ("snapshot is a str", lambda _: "snapshot.npz"),
]


def test_a_snapshot_that_cannot_be_is_refused_and_nothing_has_changed(env: Any) -> None:
    env.reset(seed=0)
    for _ in range(2):
        env.step(PUSH)
    good, before = env.snapshot(), nudge.everything(env)
    for name, change in WRONG:
        with pytest.raises(ValueError) as refusal:
            env.restore(change(dict(good)))
        assert name.removeprefix("parameter.") in str(refusal.value), (name, str(refusal.value))
    nudge.assert_equal(before, nudge.everything(env))
    first = [env.step(PUSH)[:4], env.reset()[0], env.step(PUSH)[:4]]
    env.reset(seed=0)
    for _ in range(2):
        env.step(PUSH)
    again = [env.step(PUSH)[:4], env.reset()[0], env.step(PUSH)[:4]]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_equal(one, other)


def test_a_snapshot_as_it_is_or_as_lists_is_taken(env: Any) -> None:
    env.reset(seed=0)
    env.step(PUSH)
    good = env.snapshot()
    expected = env.step(PUSH)[:4]
    listed = {name: value.tolist() for name, value in good.items()}
    swapped = {name: value.astype(value.dtype.newbyteorder(">")) for name, value in good.items()}
    for snapshot in (good, listed, swapped):
        env.reset(seed=9)
        env.restore(snapshot)
        np.testing.assert_equal(env.step(PUSH)[:4], expected)
    fresh = nudge.make(task=nudge.NudgeAtRandom)
    with pytest.raises(ValueError, match=r"goal\.target"):
        fresh.restore({**good, "goal.target": np.zeros((1, 3))})
    fresh.restore(good)
    np.testing.assert_equal(fresh.step(PUSH)[:4], expected)
    fresh.close()


def test_a_snapshot_of_another_precision_is_rounded(env: Any) -> None:
    double = nudge.make(task=nudge.NudgeAtRandom, precision="f64")
    double.reset(seed=0)
    double.step(PUSH)
    snapshot = double.snapshot()
    observation, _ = env.restore(snapshot)
    np.testing.assert_array_equal(env.state("position"), double.state("position").astype(np.float32))
    np.testing.assert_allclose(env.step(PUSH)[0], double.step(PUSH)[0], atol=1e-4)
    double.restore(env.snapshot())
    assert np.isfinite(observation).all()
    double.close()


def test_a_sweep_goes_on_after_a_refusal(recorded: Any) -> None:
    recorded.reset(seed=0)
    snapshot = recorded.snapshot()
    for _ in range(3):
        recorded.step(np.tile(PUSH, (2, 1)))
    expected = recorded.backward().actions
    recorded.backward_step()
    for refused in (
        lambda: recorded.restore({**snapshot, "elapsed": np.array([-1, 0])}),
        lambda: recorded.reset(options={"state": {"velocity": HUGE}}),
        lambda: recorded.reset(options={"parameters": {"youngs_modulus": -1.0}}),
        lambda: recorded.set_parameter("youngs_modulus", -1.0),
        lambda: recorded.set_parameter("gravity", HUGE),
        lambda: recorded.backward_step(HUGE),
        lambda: recorded.backward_step(1.0, np.full(recorded.observation_space.shape, HUGE)),
    ):
        with pytest.raises(ValueError):
            refused()
    recorded.backward_step()
    recorded.backward_step()
    with pytest.raises(ValueError, match="observation_cotangent"):
        recorded.backward_end(HUGE)
    np.testing.assert_array_equal(recorded.backward_end().actions, expected)
    recorded.step(np.tile(PUSH, (2, 1)))


@pytest.mark.parametrize(
    "value",
    [HUGE, np.nan, np.inf, "1", None, 1j, {}, [[1.0], [1.0, 2.0]], 10**400, object()],
    ids=["huge", "nan", "inf", "text", "none", "complex", "dict", "ragged", "integer", "object"],
)
def test_values_that_are_no_numbers_of_the_precision_are_refused(env: Any, recorded: Any, value: Any) -> None:
    env.reset(seed=0)
    env.step(PUSH)
    recorded.reset(seed=0)
    recorded.step(np.tile(PUSH, (2, 1)))
    before = nudge.everything(env), nudge.everything(recorded)
    refused: list[tuple[str, Callable[[], Any]]] = [
        ("velocity", lambda: env.reset(options={"state": {"velocity": value}})),
        ("gravity", lambda: env.reset(options={"parameters": {"gravity": value}})),
        ("halves", lambda: env.reset(options={"parameters": {"halves": value}})),
        ("gravity", lambda: env.set_parameter("gravity", value)),
        ("gravity", lambda: recorded.set_parameter("gravity", value)),
        ("velocity", lambda: recorded.reset(options={"state": {"velocity": value}})),
        ("discount", lambda: recorded.value_and_grad(np.zeros((2, 3, 2)), discount=value)),
        ("reward_weight", lambda: recorded.backward_step(value)),
    ]
    if value is not None:  # which stands for the default
        shape = recorded.observation_space.shape
        refused += [
            ("reward_weights", lambda: recorded.backward(reward_weights=value)),
            ("observation_cotangent", lambda: recorded.backward_step(1.0, value)),
            ("observation_cotangents", lambda: recorded.backward(None, value)),
        ]
        if isinstance(value, float):
            refused.append(
                ("observation_cotangents", lambda: recorded.backward(None, np.full((2, 2, shape[1]), value)))
            )
    for name, call in refused:
        with pytest.raises(ValueError, match=name):
            call()
    for made, was in zip((env, recorded), before, strict=True):
        nudge.assert_equal(was, nudge.everything(made))
    env.step(PUSH)
    recorded.backward()


def test_double_precision_takes_what_single_precision_cannot() -> None:
    env = nudge.make(differentiable=True, precision="f64")
    env.reset(seed=0)
    env.step(PUSH)
    plain = env.backward([1.0]).actions
    np.testing.assert_allclose(env.backward([HUGE]).actions, HUGE * plain, rtol=1e-9)
    env.close()


def test_an_overflow_within_a_gradient_is_a_divergence(recorded: Any) -> None:
    recorded.reset(seed=0)
    for _ in range(nudge.HORIZON):
        recorded.step(np.tile(PUSH, (2, 1)))
    cotangents = np.full((2, nudge.HORIZON + 1, recorded.single_observation_space.shape[0]), 3e38)
    with pytest.raises(SimulationDiverged, match="gradient of"):
        recorded.backward(observation_cotangents=cotangents)
    assert np.isfinite(recorded.backward().actions).all()


@pytest.mark.parametrize("discount", [np.nan, np.inf, -0.1, 1.5, HUGE, "1", None, True, [0.9]], ids=str)
def test_a_discount_is_a_share(env: Any, discount: Any) -> None:
    with pytest.raises(ValueError, match="discount="):
        env.evaluate(np.zeros((2, 2)), discount=discount)


@pytest.mark.parametrize("options", [3, [], "state", {"state": 3}, {"parameters": [1.0]}, {"wind": 1}], ids=str)
def test_options_are_a_dict(env: Any, options: Any) -> None:
    with pytest.raises(ValueError, match="option"):
        env.reset(options=options)


@pytest.mark.parametrize("seed", [0.5, [0], [0, 1, 2], [0, -1], [0, "1"], "ab", {0: 1}], ids=str)
def test_seeds_of_a_batch_are_checked(recorded: Any, seed: Any) -> None:
    with pytest.raises(ValueError, match="seed"):
        recorded.reset(seed=seed)


def test_an_unknown_keyword_is_a_type_error_that_helps() -> None:
    for error in (TypeError, ValueError, UnknownKeyword):
        with pytest.raises(error, match=r"got an unexpected keyword argument 'frameskip'.*allowed: .*youngs_modulus"):
            gym.make("pliant/FingerReach-v0", frameskip=4)
    with pytest.raises(ValueError, match="must be a finite number >= 0"):
        gym.make("pliant/FingerReach-v0", youngs_modulus=-1.0)
