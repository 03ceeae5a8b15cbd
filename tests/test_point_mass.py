"""The task with a known optimum is what it says: linear, quadratic, and best where the closed form is."""

import numpy as np
import point_mass
import pytest


@pytest.fixture(scope="module")
def env():
    env = point_mass.make(differentiable=True)
    yield env
    env.close()


def test_steps_are_the_linear_dynamics(env):
    state = point_mass.start_of(env, seed=4)
    transition, effect = point_mass.dynamics()
    for action in np.random.default_rng(0).uniform(-1, 1, (point_mass.HORIZON, 2)):
        observation, reward, *_ = env.step(action)
        state = transition @ state + np.outer(effect, action)
        np.testing.assert_allclose(observation[:4], state.ravel(), atol=1e-6)
        cost = point_mass.POSITION * state[0] ** 2 + point_mass.VELOCITY * state[1] ** 2 + point_mass.ACTION * action**2
        assert reward == pytest.approx(-cost.mean(), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_closed_form_is_the_optimum(env, seed):
    start = point_mass.start_of(env, seed)
    actions = point_mass.best_actions(start)
    assert np.abs(actions).max() < 1
    value, gradient = env.value_and_grad(actions, seed=seed)
    assert value == pytest.approx(point_mass.best_return(start), abs=1e-12)
    np.testing.assert_allclose(gradient.actions, 0, atol=1e-12)


def test_the_gradient_agrees_with_differences(env):
    rng = np.random.default_rng(1)
    actions, direction = rng.uniform(-0.8, 0.8, (2, point_mass.HORIZON, 2))
    _, gradient = env.value_and_grad(actions, seed=2)
    high, low = (env.evaluate(actions + h * direction, seed=2) for h in (1e-4, -1e-4))
    assert np.sum(gradient.actions * direction) == pytest.approx((high - low) / 2e-4, rel=1e-8)


def test_worlds_of_a_batch_are_single_worlds():
    envs = point_mass.make(3)
    alone = point_mass.make()
    actions = np.random.default_rng(3).uniform(-1, 1, (3, point_mass.HORIZON, 2))
    values = envs.evaluate(actions, seed=7)
    assert values.tolist() == [alone.evaluate(row, seed=7 + b) for b, row in enumerate(actions)]
    envs.close()
    alone.close()


def test_no_actions_drive_the_particle_out_of_the_domain(env):
    for seed, action in enumerate([(1, 1), (-1, 1), (-1, -1)]):
        assert np.isfinite(env.evaluate(np.tile(action, (point_mass.HORIZON, 1)), seed=seed))
