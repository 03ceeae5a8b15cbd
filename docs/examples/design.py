"""Body and motion optimised together: the stiffness of three segments of a soft arm, and what its muscles do."""

import gymnasium as gym
import numpy as np

import pliant.envs  # registers the ids

env = gym.make("pliant/ArmReach-v0", differentiable=True).unwrapped
actions, stiffness = np.zeros((25, 4)), np.full(3, 1.5e5)  # [Pa]
for iteration in range(6):
    options = {"parameters": {"segment_youngs_modulus": stiffness}}
    value, gradient = env.value_and_grad(actions, seed=0, options=options)
    print(f"iteration {iteration}: sum of rewards {value:.3f}, score {env.score:.2f}, stiffness {stiffness.round()} Pa")
    actions += 0.5 * gradient.actions / np.linalg.norm(gradient.actions)
    relative = stiffness * gradient.parameters["segment_youngs_modulus"]  # with respect to the logarithm
    stiffness *= np.exp(0.1 * relative / np.linalg.norm(relative))
env.close()
