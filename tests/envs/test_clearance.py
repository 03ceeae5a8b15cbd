"""A round mount is kept clear of planes, and what keeps it has derivatives."""

import numpy as np
import pytest

from pliant.envs.base import TaskEnv
from pliant.envs.clearance import Clearance
from pliant.envs.tactile.object_repose import ObjectRepose
from pliant.sims.math.rotation_host import matrix_of_quaternion

PLANES = [((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ((0.01, 0.0, 0.0), (0.8, 0.0, 0.6))]
CLEAR = Clearance(PLANES, radius=0.015, gap=1e-3, depth=0.003)
T = 0.02


def mounts(count, seed=0):
    """Positions, orientations and twists of mounts near the planes."""
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(count, 4))
    position = rng.uniform(0.0, 0.03, (count, 3))
    return position, q / np.linalg.norm(q, axis=1, keepdims=True), rng.normal(size=(count, 6)) * ([0.3] * 3 + [1.0] * 3)


def test_the_rim_stays_in_front_of_a_plane():
    position, q, twist = mounts(200)
    twist[:, 3:] = 0.0
    one = Clearance(PLANES[:1], radius=0.015, gap=1e-3, depth=0.003)
    velocity, (active,) = one.cut(position, q, twist, T)
    assert 20 < active.sum() < 200
    R = matrix_of_quaternion(q)
    angle = np.linspace(0, 2 * np.pi, 60)
    rim = 0.015 * np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    lowest = ((position + T * velocity)[:, :, None] + R @ rim)[:, 2].min(axis=1)
    away = R[:, 2, 2] >= 0
    assert lowest[away].min() > 0.9e-3
    assert np.array_equal(velocity[~active[:, 0]], twist[~active[:, 0], :3])
    facing = ~away & active[:, 0]
    height = (position + T * velocity)[facing, 2]
    assert (height > 0.015 - 0.003).all() and height.min() < 0.0145  # its dome may be pressed


def test_derivatives_are_those_of_differences():
    position, q, twist = mounts(60, seed=1)
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(60, 3))

    def loss(position, q, twist):
        return (weights * CLEAR.cut(position, q, twist, T)[0]).sum()

    _velocity, active = CLEAR.cut(position, q, twist, T)
    assert all(a.any() and not a.all() for a in active)
    twist_bar, position_bar, q_bar = CLEAR.pull_back(q, twist, T, active, weights)
    h = 1e-7
    for which, bar in ((0, position_bar), (1, q_bar), (2, twist_bar)):
        given = [position, q, twist]
        direction = rng.normal(size=given[which].shape)
        if which == 1:  # along the sphere of unit quaternions
            direction -= q * (q * direction).sum(axis=1, keepdims=True)
        ends = []
        for sign in (h, -h):
            moved = list(given)
            moved[which] = given[which] + sign * direction
            if which == 1:
                moved[which] /= np.linalg.norm(moved[which], axis=1, keepdims=True)
            ends.append(loss(*moved))
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx((bar * direction).sum(), rel=1e-6), which


def test_gradients_of_an_episode_that_is_kept_clear():
    env = TaskEnv(ObjectRepose, differentiable=True, precision="f64")
    actions = np.full((12, 6), -0.8) + 0.1 * np.random.default_rng(0).normal(size=(12, 6))
    value, gradient = env.value_and_grad(actions, seed=0)
    cuts = env._rollout.actuator._cuts
    assert sum(bool(np.any(active)) for cut in cuts for active in cut[0][2:]) > 3
    direction = np.random.default_rng(1).normal(size=actions.shape)
    h = 1e-6
    ends = [env.evaluate(actions + sign * direction, seed=0) for sign in (h, -h)]
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx((gradient.actions * direction).sum(), rel=1e-4)
    assert np.isfinite(value)
    env.close()
