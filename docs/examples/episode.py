"""An environment used like any other of Gymnasium."""

import gymnasium as gym

import pliant.envs  # registers the ids

env = gym.make("pliant/FingerReach-v0")
observation, info = env.reset(seed=0)
for _ in range(5):
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
print(info["score"], info["reward_terms"])  # 0: untouched scene, 1: goal reached; the reward's parts by name
env.close()
