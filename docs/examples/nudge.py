"""A task of one's own, whole: a disc pushes a soft block to a place on the floor."""

import gymnasium as gym
import numpy as np

from pliant.envs import features as f
from pliant.envs.particles import fill_box
from pliant.envs.registry import Entry, register
from pliant.envs.task import Observed, Score, Task, Term
from pliant.sims.mpm.scene import Body, Scene, Walls
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Sphere


class Nudge(Task):
    """A disc pushes a soft block 5 to 10 cm along the floor."""

    summary = "push a soft block to a place on the floor"
    horizon = 30
    step_time = 0.01  # [s]
    substeps = {"small": 20, "full": 40}

    def make_scene(self):
        cell = {"small": 0.02, "full": 0.01}[self.resolution]
        position = fill_box([0.30, 0.06], [0.40, 0.16], cell / 2)
        block = Body("block", position, volume=0.01 / len(position), youngs_modulus=2e4, density=1000.0)
        pusher = Effector("pusher", Sphere(0.03), position=(0.24, 0.10), friction=0.2)
        grid = [round(0.8 / cell), round(0.4 / cell)]
        walls = Walls(kind="separate", friction=0.2, thickness=round(0.06 / cell))
        return Scene(dim=2, grid=grid, cell=cell, bodies=[block], effectors=[pusher], walls=walls)

    def make_action(self):
        push = np.zeros((6, 2))
        push[0, 0] = push[1, 1] = 0.5  # velocity along x and y [m/s]
        return {"effector_twist": push}

    def make_observation(self):
        self.offset = f.Offset("offset", f.centre(np.arange(len(self.scene.position)), 2, name="centre"), "target")
        return [Observed(self.offset, scale=0.1), Observed(f.Phase())]

    def make_reward(self):
        return [Term(f.Distance("distance", self.offset), -10.0), Term(f.action_cost(2), -0.01)]

    def make_score(self):
        return Score(f.Distance("distance", self.offset), goal=0.0)

    def make_goal(self, rng):
        return {"target": np.array([0.35 + rng.uniform(0.05, 0.10), 0.11])}


if __name__ == "__main__":
    # inside the package: a file in envs/<family>/ and this entry in ENTRIES of envs/registry.py
    register(Entry("pliant/Nudge-v0", "nudge:Nudge", 30, 2, 4, Nudge.summary))
    env = gym.make("pliant/Nudge-v0", differentiable=True).unwrapped
    actions = np.zeros((30, 2))
    for _ in range(8):
        value, gradient = env.value_and_grad(actions, seed=0)
        actions = np.clip(actions + 0.5 * gradient.actions / np.abs(gradient.actions).max(), -1, 1)
    print(f"return {value:.2f}, score {env.score:.2f}")
    env.close()
