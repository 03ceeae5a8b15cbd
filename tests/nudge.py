"""A small task for tests of what surrounds an episode: a disc pushes a soft block in the plane, in milliseconds a step.

It observes the force on the disc, which is an output of the World, and `NudgeAtRandom` draws its parameters anew for
every episode.
"""

from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.particles import fill_box
from pliant.envs.task import Design, Observed, Score, Task, Term
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Sphere

HORIZON = 6
CELL = 0.02  # [m]


class Nudge(Task):
    summary = "push a soft block to a place on the floor"
    horizon = HORIZON
    step_time = 0.01
    substeps = {"small": 10, "full": 10}
    success_score = 0.2

    def make_scene(self):
        position = fill_box([0.30, 0.06], [0.40, 0.12], CELL / 2)
        block = Body("block", position, volume=0.006 / len(position), youngs_modulus=1e4, density=1000.0)
        pusher = Effector("pusher", Sphere(0.03), position=(0.272, 0.09), friction=0.2)
        walls = Walls(kind="separate", friction=0.2, thickness=3)
        return Scene(dim=2, grid=[40, 20], cell=CELL, bodies=[block], effectors=[pusher], walls=walls)

    def make_action(self):
        push = np.zeros((6, 2))
        push[0, 0] = push[1, 1] = 0.5  # velocity along x and y [m/s]
        return {"effector_twist": push}

    def make_observation(self):
        self.offset = f.Offset("offset", f.centre(np.arange(len(self.scene.position)), 2, name="centre"), "target")
        force = f.Rows("force", "effector_force", [0], 3)
        return [
            Observed(self.offset, scale=0.1),
            Observed(force, scale=100.0),
            Observed(f.Action(2)),
            Observed(f.Phase()),
        ]

    def make_reward(self):
        return [Term(f.Distance("distance", self.offset), -10.0), Term(f.smoothness_cost(2), -0.01)]

    def make_score(self):
        return Score(f.Distance("distance", self.offset), goal=0.0)

    def make_measures(self):
        return [f.SquaredNorm("force", f.Rows("force", "effector_force", [0], 3))]

    def make_designs(self):
        return {"halves": Design("youngs_modulus", (self.scene.position[:, 0] > 0.35).astype(int))}

    def make_goal(self, rng):
        return {"target": np.array([0.35 + rng.uniform(0.05, 0.10), 0.09])}


class NudgeAtRandom(Nudge):
    """The block's stiffness, a number for each half, and gravity are drawn for every episode."""

    def make_parameters(self, rng):
        return {"halves": rng.uniform(5e3, 1.5e4, 2), "gravity": np.array([0.0, rng.uniform(-12.0, -8.0)])}


class NudgeOverTime(Nudge):
    """Its score is a mean over the episode."""

    def make_score(self):
        return Score(
            f.Distance("distance", self.offset), goal=0.0, relative_to=f.Distance("goal", f.GoalValue("target", 2))
        )


def make(num_envs: int | None = None, task: type[Task] = Nudge, **options: Any) -> Any:
    """One world, or a batch of them."""
    return TaskEnv(task, **options) if num_envs is None else TaskVectorEnv(task, num_envs, **options)


def everything(env: Any) -> dict[str, np.ndarray]:
    """All that the worlds of an environment are and show now, by name, axis 0 the world."""
    rollout = env._rollout
    found = {name: rollout.state(name) for name in rollout.state_names}
    found |= {f"parameter.{name}": rollout.parameters.value(name) for name in rollout.parameters.names}
    found |= {f"outcome.{name}": getattr(env.outcome, name) for name in ("observation", "score")}
    found |= {f"snapshot.{name}": value for name, value in env.snapshot().items()}
    found["force"] = rollout.world.output("effector_force")
    return {name: np.array(value) for name, value in found.items()}


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray], worlds: Any = slice(None)) -> None:
    """Equal to the last bit in these worlds."""
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name][worlds], other[name][worlds], err_msg=name)
