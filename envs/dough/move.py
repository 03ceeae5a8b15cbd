"""Move: push a ball of dough to another place with two round manipulators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs import shape_features as s
from pliant.envs.particles import fill_ball, spread
from pliant.envs.task import Observed, Score, Task, Term
from pliant.sims.mpm.scene import Body, Scene, Walls
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.shapes import Sphere

CELL = {"small": 0.006, "full": 0.003}  # [m]
DOMAIN = (0.204, 0.12, 0.09)  # [m]
TABLE = 0.018  # [m]
RADIUS = 0.019  # of the ball [m]
PLACE = (0.07, 0.06)  # of the ball on the table [m]
TOOL = 0.01  # radius of a manipulator [m]
GAP = 0.004  # between manipulator and ball at the start [m]
SPEED = 0.1  # of a manipulator [m/s]
SHIFT = (0.03, 0.05)  # of the target along x [m]
SIDE = 0.01  # largest shift of the target along y [m]
SAMPLES = 12


@dataclass(frozen=True)
class Config:
    youngs_modulus: float = 5e3  # [Pa]
    poissons_ratio: float = 0.2
    density: float = 300.0  # [kg/m^3]
    yield_stress: float = 200.0  # [Pa]
    tool_friction: float = 0.9
    table_friction: float = 0.2
    density_weight: float = 1.0
    outside_weight: float = 1.0
    contact_weight: float = 0.1


class Move(Task):
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
    The ball rests on the table, a manipulator 4 mm off it on either side. The target is the same ball 3 to 5 cm
    further along x and up to 1 cm to either side, drawn from the seed.

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "push a ball of dough to another place with two round manipulators"
    horizon = 50
    step_time = 0.02
    substeps = {"small": 25, "full": 50}
    Config = Config

    def make_scene(self) -> Scene:
        config, cell = self.config, CELL[self.resolution]
        self.spacing = cell / 2
        self.start = np.array([*PLACE, TABLE + RADIUS - cell / 2])  # dough rests half a cell below the surface nodes
        dough = Body(
            name="dough",
            position=fill_ball(self.start, RADIUS, self.spacing),
            volume=self.spacing**3,
            material="von_mises",
            youngs_modulus=config.youngs_modulus,
            poissons_ratio=config.poissons_ratio,
            density=config.density,
            yield_stress=config.yield_stress,
        )
        away = np.array([RADIUS + GAP + TOOL, 0.0, 0.0])
        tools = [
            Effector(name, Sphere(TOOL), position=place, friction=config.tool_friction)
            for name, place in (("left", self.start - away), ("right", self.start + away))
        ]
        walls = Walls(kind="separate", friction=config.table_friction, thickness=round(TABLE / cell))
        grid = [round(edge / cell) for edge in DOMAIN]
        return Scene(dim=3, grid=grid, cell=cell, bodies=[dough], effectors=tools, walls=walls)

    def make_action(self) -> dict[str, np.ndarray]:
        matrix = np.zeros((2, 6, 6))  # effector, component of its twist, action
        matrix[0, :3, :3] = matrix[1, :3, 3:] = SPEED * np.eye(3)
        return {"effector_twist": matrix.reshape(12, 6)}

    def make_observation(self) -> list[Observed]:
        rows = np.arange(len(self.scene.position))
        samples = spread(len(rows), SAMPLES)
        middle = f.centre(rows, 3)
        scale = SHIFT[1]
        return [
            Observed(middle, scale=scale, offset=self.start),
            Observed(f.mean_velocity(rows, 3), scale=SPEED),
            Observed(f.Rows("samples", "position", samples, 3), scale=scale, offset=np.tile(self.start, SAMPLES)),
            Observed(f.Rows("tools", "effector_position", [0, 1], 3), scale=scale, offset=np.tile(self.start, 2)),
            Observed(f.Offset("offset", middle, "target"), scale=scale),
            Observed(f.Action(self.action_size)),
            Observed(f.Phase()),
        ]

    def make_reward(self) -> list[Term]:
        config, rows, cell = self.config, np.arange(len(self.scene.position)), self.scene.cell
        self.grid = s.DensityGrid(
            lower=np.zeros(3), cell=cell, counts=self.scene.grid, rows=rows, volume=self.spacing**3
        )
        outside = s.OutsideBall(rows, centre="target", radius=RADIUS, smoothing=0.1 * RADIUS)
        terms = [
            Term(s.DensityMatch(self.grid, "target_density"), -config.density_weight),
            Term(outside, -config.outside_weight / RADIUS),
        ]
        for number, effector in enumerate(self.scene.effectors):
            contact = s.ContactDistance(
                number, rows, reach=TOOL, sharpness=2.0 / cell, smoothing=0.1 * RADIUS, name=f"contact_{effector.name}"
            )
            terms.append(Term(contact, -config.contact_weight / RADIUS))
        return terms

    def make_score(self) -> Score:
        return Score(s.SoftIoU(self.grid, "target_density"), goal="best_iou")

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        target = self.start + [rng.uniform(*SHIFT), rng.uniform(-SIDE, SIDE), 0.0]
        density = self.grid.density((self.scene.position + target - self.start)[None])
        return {"target": target, "target_density": density[0], "best_iou": s.soft_iou(density, density)[0]}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        reach = np.array([RADIUS + GAP + 2 * TOOL, RADIUS + SIDE, RADIUS])
        return self.start - reach, self.start + reach + [SHIFT[1], 0.0, 0.0]

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": self.scene.position + goal["target"] - self.start}
