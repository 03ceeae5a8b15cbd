"""Ten lines: optimise the muscles of a soft finger along the gradient of its return."""

import gymnasium as gym
import numpy as np

import pliant.envs  # registers the ids

env = gym.make("pliant/FingerReach-v0", differentiable=True).unwrapped
actions = np.zeros((40, 2))  # 40 steps of two muscles, each in [-1, 1]
for iteration in range(4):
    value, gradient = env.value_and_grad(actions, seed=0)  # rolls out, then sweeps back through every substep
    print(f"iteration {iteration}: sum of rewards {value:.3f}, score {env.score:.2f}")
    actions += 0.5 * gradient.actions / np.linalg.norm(gradient.actions)
