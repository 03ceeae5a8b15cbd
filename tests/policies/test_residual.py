"""A learned residual: forces on a replayed cable from a network that sees what a prediction may know."""

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401  registers the ids

torch = pytest.importorskip("torch")

from pliant.policies.networks.controllers import Mlp  # noqa: E402  needs torch
from pliant.policies.through_physics import bptt  # noqa: E402
from pliant.policies.torch_bridge import TorchEnv  # noqa: E402

ID = "pliant/CableReplay-v0"
VERTICES, FREE = 12, 8  # of dlo2
STATE = np.arange(6 * VERTICES + 12)  # the observation without previous action and clock
FORCES = np.arange(4, 4 + 3 * FREE)


def make(**options):
    options = {"targets": "code", "residual": True, "differentiable": True, "num_envs": 2} | options
    return gym.make_vec(ID, vectorization_mode="vector_entry_point", **options)


def make_residual(bridge):
    sizes = bridge.observation_size, bridge.action_size
    return Mlp(*sizes, hidden=[16], activation="tanh", columns=STATE, commands=FORCES)


def test_it_is_off_by_default_and_changes_nothing_while_it_is_zero():
    plain, forced = make(residual=False, num_envs=1), make(num_envs=1)
    assert plain.unwrapped.single_action_space.shape == (4,)
    assert forced.unwrapped.single_action_space.shape == (4 + 3 * FREE,)
    rewards = []
    for env in (plain, forced):
        env.reset(seed=0)
        rewards.append([float(env.step(np.zeros(env.action_space.shape))[1][0]) for _ in range(5)])
    np.testing.assert_allclose(*rewards, rtol=1e-5)
    plain.close()
    forced.close()


def test_forces_push_the_vertices_that_they_are_meant_for():
    env = make(num_envs=1)
    task, found = env.unwrapped.task, []
    for force in (0.0, 1.0):
        env.reset(seed=0)
        action = np.zeros((1, 4 + 3 * FREE))
        action[0, 4 + 3 * 5 + 1] = force  # the sixth free vertex, along y
        env.step(action)
        found.append(env.unwrapped.state("position")[0])
    moved = found[1] - found[0]
    assert np.unravel_index(np.abs(moved).argmax(), moved.shape) == (task.free[5], 1) and moved[task.free[5], 1] > 0
    env.close()


def test_the_observation_tells_nothing_of_the_free_vertices_of_the_recording():
    env = make(num_envs=1)
    face = env.unwrapped
    face.reset(seed=0)
    goal = face._rollout.goal["recording"]
    goal[:, :, face.task.free] += 0.1
    shown = face.step(np.zeros((1, 4 + 3 * FREE)))[0]
    face.reset(seed=0)
    np.testing.assert_array_equal(face.step(np.zeros((1, 4 + 3 * FREE)))[0], shown)
    env.close()


def test_gradient_of_the_residual_agrees_with_central_differences():
    env = make(precision="f64")
    bridge = TorchEnv(env, dtype=torch.float64)
    residual = make_residual(bridge).double()
    with torch.no_grad():
        residual.layers[-2].weight.mul_(30.0)  # a new one does nearly nothing

    def play():
        observation, value = bridge.reset(1), 0.0
        for _ in range(20):
            observation, reward, _ = bridge.step(residual(observation))
            value = value + reward.sum()
        return value

    play().backward()
    weights = list(residual.parameters())
    gradient = torch.nn.utils.parameters_to_vector([w.grad for w in weights])
    point = torch.nn.utils.parameters_to_vector(weights).detach()
    direction = torch.randn(len(point), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = []
    for step in (1e-5, -1e-5):
        torch.nn.utils.vector_to_parameters(point + step * direction, weights)
        with torch.no_grad():
            values.append(play().item())
    assert float(gradient @ direction) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4)
    env.close()


def test_training_a_residual_brings_the_cable_nearer_to_the_recording():
    env = make()
    settings = bptt.Settings(iterations=8, episodes=2, horizon=30, learning_rate=0.01, schedule="constant")
    result = bptt.train(env, settings, policy=make_residual(TorchEnv(env)))
    returns = [row["return"] for row in result.history]
    assert returns[-1] > 0.9 * returns[0] > returns[0]  # errors are costs, so returns are negative
    env.close()
