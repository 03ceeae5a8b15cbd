"""Parameters of one episode, and an episode that is taken up again from the same state."""

import gymnasium as gym

import pliant.envs  # registers the ids

env = gym.make("pliant/FingerReach-v0").unwrapped
env.reset(seed=0, options={"parameters": {"youngs_modulus": 5e4}})  # half as stiff as usual, until the next reset
for _ in range(20):
    env.step([0.2, -0.2])
snapshot = env.snapshot()
for action in ([0.5, -0.5], [-0.5, 0.5]):
    env.restore(snapshot)
    for _ in range(20):
        _, _, _, _, info = env.step(action)
    print(f"twenty steps of {action}: score {info['score']:.2f}")
env.close()
