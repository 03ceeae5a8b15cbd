"""Parameters of an episode: given to its reset or drawn for it, a world at a time, with gradients like all others."""

from __future__ import annotations

from typing import Any

import nudge
import numpy as np
import pytest

PUSH = np.array([0.8, 0.1])


def test_parameters_of_a_reset_hold_for_the_episode() -> None:
    env = nudge.make()
    usual = env.parameter("youngs_modulus")
    expected = env.evaluate(np.tile(PUSH, (4, 1)), seed=0)
    soft = env.evaluate(np.tile(PUSH, (4, 1)), seed=0, options={"parameters": {"youngs_modulus": 0.5 * usual}})
    assert (env.parameter("youngs_modulus") == 0.5 * usual).all() and soft != expected
    env.reset(seed=0)
    np.testing.assert_array_equal(env.parameter("youngs_modulus"), usual)
    assert env.evaluate(np.tile(PUSH, (4, 1)), seed=0) == expected
    env.reset(seed=0, options={"parameters": {"halves": [5e3, 8e3]}})
    np.testing.assert_allclose(env.parameter("halves"), [5e3, 8e3])
    env.set_parameter("youngs_modulus", 0.5 * usual)  # for good
    env.reset(seed=0)
    assert env.evaluate(np.tile(PUSH, (4, 1)), seed=0) == soft
    env.close()


def test_parameters_are_those_of_the_worlds_of_a_mask() -> None:
    envs = nudge.make(3)
    envs.reset(seed=0, options={"parameters": {"density": np.array([[900.0], [1000.0], [1100.0]])}})
    assert envs.parameter("density")[:, 0].tolist() == [900.0, 1000.0, 1100.0]
    before = nudge.everything(envs)
    envs.reset(options={"reset_mask": np.array([False, True, False]), "parameters": {"density": 1200.0}})
    assert envs.parameter("density")[:, 0].tolist() == [900.0, 1200.0, 1100.0]
    nudge.assert_equal(before, nudge.everything(envs), [0, 2])
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    assert envs.parameter("density")[:, 0].tolist() == [1000.0, 1200.0, 1100.0]
    for parameters in ({"charm": 1.0}, {"density": -1.0}, {"density": np.ones(7)}, {"youngs_modulus": 1e9}):
        before = nudge.everything(envs)
        with pytest.raises(ValueError, match=next(iter(parameters))):
            envs.reset(options={"parameters": parameters})
        nudge.assert_equal(before, nudge.everything(envs))
    envs.close()


def test_parameters_that_only_fit_together_are_taken_together() -> None:
    env = nudge.make()
    heavy = {"youngs_modulus": 2e5, "density": 2e4}  # the wave is as fast as before, but not with the density alone
    env.reset(seed=0, options={"parameters": heavy})
    assert env.parameter("density")[0] == 2e4 and np.isfinite(env.step(PUSH)[1])
    env.reset(seed=0)
    assert env.parameter("density")[0] == 1e3
    env.close()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_parameters_are_drawn_where_worlds_reset_themselves(mode: str) -> None:
    envs = nudge.make(2, nudge.NudgeAtRandom, autoreset_mode=mode)
    envs.reset(seed=0)
    seen = [envs.parameter("halves")]
    for _ in range(2 * nudge.HORIZON + 2):
        envs.step(np.tile(PUSH, (2, 1)))
        if not np.array_equal(envs.parameter("halves"), seen[-1]):
            seen.append(envs.parameter("halves"))
    assert len(seen) == 3 and len({float(value) for values in seen for value in values.ravel()}) == 12
    assert ((np.array(seen) >= 5e3 - 1) & (np.array(seen) <= 1.5e4 + 1)).all()
    envs.reset(seed=0)
    np.testing.assert_array_equal(envs.parameter("halves"), seen[0])  # the seed decides them
    envs.reset(seed=0, options={"parameters": {"halves": 7e3}})  # what is given goes before what is drawn
    np.testing.assert_allclose(envs.parameter("halves"), 7e3)
    assert (envs.parameter("gravity")[:, 1] < -7.9).all()
    envs.close()


def test_a_snapshot_has_the_parameters_of_its_episode() -> None:
    envs, twin = nudge.make(2, nudge.NudgeAtRandom), nudge.make(2, nudge.NudgeAtRandom)
    envs.reset(seed=0)
    envs.step(np.tile(PUSH, (2, 1)))
    snapshot = envs.snapshot()
    expected = envs.step(np.tile(PUSH, (2, 1)))[:2]
    for env in (twin, envs):
        env.reset(seed=5)
        env.restore(snapshot)
        for one, other in zip(env.step(np.tile(PUSH, (2, 1)))[:2], expected, strict=True):
            np.testing.assert_array_equal(one, other)
    envs.close()
    twin.close()


def test_drawn_parameters_have_gradients() -> None:
    env: Any = nudge.make(task=nudge.NudgeAtRandom, differentiable=True, precision="f64")
    actions = np.tile(PUSH, (5, 1))
    value, gradient = env.value_and_grad(actions, seed=2)
    drawn = {name: env.parameter(name) for name in ("halves", "gravity")}
    assert value == env.evaluate(actions, seed=2)
    for name, start in drawn.items():
        step = 1e-5 * np.abs(start).max()
        direction = np.random.default_rng(0).uniform(0.5, 1.0, start.shape)

        def value_at(offset: np.ndarray, name: str = name, start: np.ndarray = start) -> float:
            return env.evaluate(actions, seed=2, options={"parameters": {name: start + offset}})

        numeric = (value_at(step * direction) - value_at(-step * direction)) / (2 * step)
        assert np.sum(gradient.parameters[name] * direction) == pytest.approx(numeric, rel=1e-5), name
    env.close()
