"""Rope: wrap a rope of dough around a pillar with two round manipulators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import DoughConfig, DoughTask
from pliant.envs.particles import fill_box
from pliant.envs.task import Observed, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Cylinder, Sphere

LENGTH, WIDTH = 0.078, 0.015  # of the rope along x; of its square section [m]
MIDDLE = (0.075, 0.051)  # of the rope, on the table [m]
PILLAR, HALF_LENGTH = 0.012, 0.021  # radius and half length of the pillar [m]
GAP, FREE = 0.002, 0.01  # between rope and manipulators, rope and pillar at the start [m]
TOOL, APART = 0.009, 0.024  # radius of a manipulator, distance from the middle along x [m]
SPEED = 0.1  # of a manipulator [m/s]
ANGLE = (0.9, 1.4)  # of the pillar that one half of the rope touches [rad]


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 100.0  # [Pa]
    tool_friction: float = 0.3


class Rope(DoughTask):
    """
    ## Description
    A rope of elastoplastic dough (7.8 x 1.5 x 1.5 cm; von Mises) lies on a table in front of a pillar, two round
    manipulators in front of the rope. The goal is to wrap the rope around the pillar. After the Rope task of
    PlasticineLab (Huang et al. 2021), in SI units and at the size of a hand.

    ## Action Space
    `Box(-1, 1, (6,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the left manipulator | -1 | 1 | 0.1 m/s |
    | 3-5 | velocity of the right manipulator | -1 | 1 | 0.1 m/s |

    ## Observation Space
    `Box(-10, 10, (58,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the rope, relative to the point on the table below its start | 5 cm |
    | 3-5 | mean velocity of the rope | 0.1 m/s |
    | 6-41 | twelve particles, relative to the same point | 5 cm |
    | 42-47 | positions of the manipulators, relative to the same point | 5 cm |
    | 48-49 | angles of the pillar that the left and right half of the rope shall touch | rad |
    | 50-55 | previous action (the manipulators' velocities) | - |
    | 56-57 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside*: minus the mean distance of the rope from the target, in widths of the rope (1.5 cm).
    - *contact_left*, *contact_right*: minus 0.1 times the distance of a manipulator from its half of the rope, in
      widths of the rope.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The rope lies along x, 1 cm off the pillar and 2 mm off the manipulators. In the target its middle touches the
    pillar; each half follows it through an angle of 0.9 to 1.4 rad, drawn from the seed, and goes on straight. Dough
    hardly moves (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "wrap a rope of dough around a pillar with two round manipulators"
    success_score = 0.75
    Config = Config
    domain = (0.15, 0.15, 0.09)
    unit = WIDTH

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        half = np.array([LENGTH, WIDTH, WIDTH]) / 2
        middle = self.origin + [0.0, 0.0, half[2]]
        rope = self.dough(fill_box(middle - half, middle + half, self.spacing))
        away = WIDTH / 2 + GAP + TOOL
        tools = [
            self.tool(name, Sphere(TOOL), middle + [x, -away, 0.0]) for name, x in (("left", -APART), ("right", APART))
        ]
        self.pillar = self.origin + [0.0, WIDTH / 2 + FREE + PILLAR, HALF_LENGTH]
        pillar = Effector("pillar", Cylinder(PILLAR, HALF_LENGTH), position=self.pillar.tolist(), friction=0.3)
        return self.table_scene([rope], [*tools, pillar])

    def make_action(self) -> dict[str, np.ndarray]:
        matrix = np.zeros((3, 6, 6))  # effector (the last is the pillar), component of its twist, action
        matrix[0, :3, :3] = matrix[1, :3, 3:] = SPEED * np.eye(3)
        return {"effector_twist": matrix.reshape(18, 6)}

    def make_observation(self) -> list[Observed]:
        return self.observe([Observed(f.GoalValue("angles", 2))], origin=self.origin, speed=SPEED, tools=[0, 1])

    def make_reward(self) -> list[Term]:
        left = self.scene.position[:, 0] < self.origin[0]
        return [*self.target_terms(), *self.contact_terms({0: self.rows[left], 1: self.rows[~left]})]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        angles = rng.uniform(*ANGLE, size=2)
        return {"angles": angles, **self.target_shape(self._wrapped(angles))}

    def _wrapped(self, angles: np.ndarray) -> np.ndarray:
        """The particles where the target wants them, shape (N, 3): lengths along the middle of the rope stay."""
        along, across, up = (self.scene.position - self.origin).T
        radius = PILLAR + WIDTH / 2
        phi = np.clip(along / radius, -angles[0], angles[1])
        outwards, tangent = np.stack([np.sin(phi), -np.cos(phi)]), np.stack([np.cos(phi), np.sin(phi)])
        x, y = (radius - across) * outwards + (along - radius * phi) * tangent
        return np.stack([x + self.pillar[0], y + self.pillar[1], up + self.origin[2]], axis=1)

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.045, 0.03, 0.0], self.origin + [0.045, 0.055, 0.045]

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": self._wrapped(goal["angles"])}
