"""Chopsticks: lift a piece of dough rope with two sticks and turn it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import ALONG_Y, DoughConfig, DoughTask
from pliant.envs.particles import fill_box
from pliant.envs.task import Observed, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Capsule

ROPE = np.array([0.015, 0.048, 0.015])  # edges of the rope [m]
MIDDLE = (0.057, 0.06)  # of the rope, on the table [m]
# radius and half length of a stick [m]; its caps begin between nodes: at a node the normal's derivative would jump
STICK, HALF_LENGTH = 0.007, 0.0193
GAP = 0.0005  # between sticks and rope at the start [m]
SPEED, CLOSING, TURN = 0.1, 0.05, 2.0  # of both sticks [m/s], of each towards the other [m/s], about x [rad/s]
LIFT = (0.015, 0.025)  # of the target [m]
ANGLE = 0.4  # largest turn of the target about x [rad]


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 400.0  # [Pa]
    tool_friction: float = 2.0


class Chopsticks(DoughTask):
    """
    ## Description
    A piece of rope of elastoplastic dough (1.5 x 4.8 x 1.5 cm; von Mises) lies on a table between two sticks. The goal
    is to grasp it, lift it and turn it. After the Chopsticks task of PlasticineLab (Huang et al. 2021), in SI units and
    at the size of a hand; the sticks lie along the rope and turn about the axis along which they close.

    ## Action Space
    `Box(-1, 1, (5,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of both sticks | -1 | 1 | 0.1 m/s |
    | 3 | rotation of both sticks about x | -1 | 1 | 2 rad/s |
    | 4 | velocity of each stick towards the other, along x | -1 | 1 | 0.05 m/s |

    ## Observation Space
    `Box(-10, 10, (65,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the rope, relative to the point on the table below its start | 5 cm |
    | 3-5 | mean velocity of the rope | 0.1 m/s |
    | 6-41 | twelve particles, relative to the same point | 5 cm |
    | 42-47 | positions of the sticks' middles, relative to the same point | 5 cm |
    | 48-51 | orientation of the left stick (quaternion) | - |
    | 52-55 | orientation of the right stick (quaternion) | - |
    | 56-57 | lift of the target [5 cm] and its turn about x [rad] | - |
    | 58-62 | previous action | - |
    | 63-64 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside*: minus the mean distance of the rope from the target, in widths of the rope (1.5 cm).
    - *contact_left*, *contact_right*: minus 0.1 times the distance of a stick from the rope, in widths of the rope.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The rope lies along y, a stick beside it on either side, half a millimetre off. The target is the same rope 1.5 to
    2.5 cm higher, turned about x by up to 0.4 rad either way, drawn from the seed. Dough hardly moves (1 mm/s, at
    random, drawn from the seed).

    ## Episode End
    Truncation after 40 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "lift a piece of dough rope with two sticks and turn it"
    success_score = 0.75
    horizon = 40
    Config = Config
    domain = (0.114, 0.12, 0.114)
    unit = ROPE[0]

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        self.start = self.origin + [0.0, 0.0, ROPE[2] / 2]
        rope = self.dough(fill_box(self.start - ROPE / 2, self.start + ROPE / 2, self.spacing))
        away = np.array([ROPE[0] / 2 + GAP + STICK, 0.0, 0.0])
        sticks = [
            self.tool(name, Capsule(STICK, HALF_LENGTH), self.start + sign * away, orientation=ALONG_Y)
            for name, sign in (("left", -1), ("right", 1))
        ]
        return self.table_scene([rope], sticks)

    def make_action(self) -> dict[str, np.ndarray]:
        matrix = np.zeros((2, 6, 5))  # stick, component of its twist, action
        matrix[:, :3, :3] = SPEED * np.eye(3)
        matrix[:, 3, 3] = TURN
        matrix[:, 0, 4] = CLOSING, -CLOSING
        return {"effector_twist": matrix.reshape(12, 5)}

    def make_observation(self) -> list[Observed]:
        goal = [
            Observed(f.Rows("turns", "effector_orientation", [0, 1], 4)),
            Observed(f.GoalValue("lift", 1), scale=self.scale),
            Observed(f.GoalValue("angle", 1)),
        ]
        return self.observe(goal, origin=self.origin, speed=SPEED, tools=[0, 1])

    def make_reward(self) -> list[Term]:
        return [*self.target_terms(), *self.contact_terms({0: self.rows, 1: self.rows})]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        goal = {"lift": rng.uniform(*LIFT, size=1), "angle": rng.uniform(-ANGLE, ANGLE, size=1)}
        return goal | self.target_shape(self._lifted(goal))

    def _lifted(self, goal: Mapping[str, np.ndarray]) -> np.ndarray:
        """The particles where the target wants them, shape (N, 3)."""
        angle, lift = float(goal["angle"][0]), float(goal["lift"][0])
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        return (self.scene.position - self.start) @ turn.T + self.start + [0.0, 0.0, lift]

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.035, 0.035, 0.0], self.origin + [0.035, 0.035, 0.05]

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": self._lifted(goal)}
