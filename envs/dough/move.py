"""Move: push a ball of dough to another place with two round manipulators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import DoughTask
from pliant.envs.particles import fill_ball
from pliant.envs.task import Observed, Score, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Sphere

RADIUS = 0.019  # of the ball [m]
PLACE = (0.07, 0.06)  # of the ball on the table [m]
TOOL = 0.01  # radius of a manipulator [m]
GAP = 0.004  # between manipulator and ball at the start [m]
SPEED = 0.1  # of a manipulator [m/s]
SHIFT = (0.03, 0.05)  # of the target along x [m]
SIDE = 0.01  # largest shift of the target along y [m]


class Move(DoughTask):
    """
    ## Description
    A ball of elastoplastic dough (3.8 cm across; von Mises) lies on a table between two round manipulators. The goal
    is to bring it, undamaged, to another place on the table. After the Move task of PlasticineLab (Huang et al.
    2021), in SI units and at the size of a hand.

    ## Action Space
    `Box(-1, 1, (6,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the left manipulator | -1 | 1 | 0.1 m/s |
    | 3-5 | velocity of the right manipulator | -1 | 1 | 0.1 m/s |

    ## Observation Space
    `Box(-10, 10, (59,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the dough, relative to its start | 5 cm |
    | 3-5 | mean velocity of the dough | 0.1 m/s |
    | 6-41 | twelve particles, relative to the start of the centre | 5 cm |
    | 42-47 | positions of the manipulators, relative to the start of the centre | 5 cm |
    | 48-50 | from the centre of the dough to that of the target | 5 cm |
    | 51-56 | previous action (the manipulators' velocities) | - |
    | 57-58 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside*: minus the mean distance of the dough from the target ball, in radii.
    - *contact_left*, *contact_right*: minus 0.1 times the distance of a manipulator from the dough, in radii.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (IoU_max - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The ball rests on the table, a manipulator 4 mm off it on either side. The target is the same ball 3 to 5 cm further
    along x and up to 1 cm to either side, drawn from the seed. Dough hardly moves (1 mm/s, at random, drawn from the
    seed).

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at a score of 0.8 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "push a ball of dough to another place with two round manipulators"
    success_score = 0.8
    substeps = {"small": 25, "full": 50}
    domain = (0.204, 0.12, 0.09)
    unit = RADIUS

    def make_scene(self) -> Scene:
        self.start = self.on_table(*PLACE) + [0.0, 0.0, RADIUS]
        away = np.array([RADIUS + GAP + TOOL, 0.0, 0.0])
        tools = [
            self.tool(name, Sphere(TOOL), place)
            for name, place in (("left", self.start - away), ("right", self.start + away))
        ]
        return self.table_scene([self.dough(fill_ball(self.start, RADIUS, self.spacing))], tools)

    def make_action(self) -> dict[str, np.ndarray]:
        matrix = np.zeros((2, 6, 6))  # effector, component of its twist, action
        matrix[0, :3, :3] = matrix[1, :3, 3:] = SPEED * np.eye(3)
        return {"effector_twist": matrix.reshape(12, 6)}

    def make_observation(self) -> list[Observed]:
        goal = Observed(f.Offset("offset", f.centre(self.rows, 3), "target"), scale=self.scale)
        return self.observe([goal], origin=self.start, speed=SPEED, tools=[0, 1])

    def make_reward(self) -> list[Term]:
        config, rows, cell = self.config, self.rows, self.scene.cell
        self.grid = self.density_grid()
        outside = f.OutsideBall(rows, centre="target", radius=RADIUS, smoothing=0.1 * RADIUS)
        terms = [
            Term(f.DensityMatch(self.grid, "target_density"), -config.density_weight),
            Term(outside, -config.outside_weight / RADIUS),
        ]
        for number, effector in enumerate(self.scene.effectors):
            contact = f.ContactDistance(
                number, rows, reach=TOOL, sharpness=2.0 / cell, smoothing=0.1 * RADIUS, name=f"contact_{effector.name}"
            )
            terms.append(Term(contact, -config.contact_weight / RADIUS))
        return terms

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        target = self.start + [rng.uniform(*SHIFT), rng.uniform(-SIDE, SIDE), 0.0]
        density = self.target_density(self.scene.position + target - self.start)
        return {"target": target, "target_density": density[0], "best_iou": f.soft_iou(density, density)[0]}

    def make_score(self) -> Score:
        return Score(f.SoftIoU(self.grid, "target_density"), goal="best_iou")

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        reach = np.array([RADIUS + GAP + 2 * TOOL, RADIUS + SIDE, RADIUS])
        return self.start - reach, self.start + reach + [SHIFT[1], 0.0, 0.0]

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": self.scene.position + goal["target"] - self.start}
