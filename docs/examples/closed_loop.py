"""A policy in closed loop, improved through the physics: the sweep goes back one step at a time, the last first."""

import gymnasium as gym
import numpy as np

import pliant.envs  # registers the ids

env = gym.make("pliant/FingerReach-v0", differentiable=True).unwrapped
weights = np.zeros((26, 2))  # the policy: actions are these times observations
for iteration in range(8):
    observations, value = [env.reset(seed=0)[0]], 0.0
    for _ in range(40):
        observation, reward, _, _, info = env.step(np.clip(observations[-1] @ weights, -1, 1))
        observations.append(observation)
        value += reward
    print(f"iteration {iteration}: sum of rewards {value:.3f}, score {info['score']:.2f}")

    gradient, cotangent = np.zeros_like(weights), np.zeros(26)
    for observation in reversed(observations[:-1]):
        action_gradient = env.backward_step(1.0, cotangent)  # of the sum of rewards, with respect to this step's action
        action_gradient = np.where(np.abs(observation @ weights) < 1, action_gradient, 0)  # clipped actions do not move
        gradient += np.outer(observation, action_gradient)
        cotangent = weights @ action_gradient  # through the policy to the observation that the action came from
    env.backward_end(cotangent)
    weights += 0.1 * gradient / np.linalg.norm(gradient)
env.close()
