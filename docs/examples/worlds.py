"""Four worlds stepped as one, with the gradient of all of them."""

import gymnasium as gym
import numpy as np

import pliant.envs  # registers the ids

envs = gym.make_vec("pliant/FingerReach-v0", num_envs=4, vectorization_mode="vector_entry_point", differentiable=True)
envs.reset(seed=0)
for _ in range(3):
    envs.step(np.zeros((4, 2), np.float32))
print(envs.unwrapped.backward().actions.shape)  # (4, 3, 2): worlds, steps, muscles
envs.close()
