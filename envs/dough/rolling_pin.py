"""RollingPin: flatten a block of dough with a rolling pin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import ALONG_Y, DoughConfig, DoughTask
from pliant.envs.particles import fill_box
from pliant.envs.task import Observed, Score, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Capsule

BLOCK = np.array([0.042, 0.036, 0.024])  # edges of the dough [m]
MIDDLE = (0.09, 0.06)  # of the block, on the table [m]
PIN, HALF_LENGTH = 0.02, 0.02  # radius and half length of the pin [m]
GAP = 0.004  # between pin and dough at the start [m]
SPEED, DESCENT, SPIN = 0.1, 0.05, 5.0  # of the pin along x and z [m/s], about its axis [rad/s]
THICKNESS = (0.013, 0.015)  # of the target [m]


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 100.0  # [Pa]
    tool_friction: float = 0.5
    table_friction: float = 0.3


class RollingPin(DoughTask):
    """
    ## Description
    A block of elastoplastic dough (4.2 x 3.6 x 2.4 cm; von Mises) lies on a table under a rolling pin. The goal is to
    flatten it to a rectangle of equal volume. After the RollingPin task of PlasticineLab (Huang et al. 2021), in SI
    units and at the size of a hand.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | velocity of the pin along x | -1 | 1 | 0.1 m/s |
    | 1 | velocity of the pin along z | -1 | 1 | 0.05 m/s |
    | 2 | spin of the pin about its axis, y | -1 | 1 | 5 rad/s |

    ## Observation Space
    `Box(-10, 10, (54,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the dough, relative to the middle of the table's work space | 5 cm |
    | 3-5 | mean velocity of the dough | 0.1 m/s |
    | 6-41 | twelve particles, relative to the same point | 5 cm |
    | 42-44 | position of the pin, relative to the same point | 5 cm |
    | 45-48 | half extents of the target and its height | 5 cm |
    | 49-51 | previous action (velocities of the pin) | - |
    | 52-53 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside*: minus the mean distance of the dough from the target, in target thicknesses (1.4 cm).
    - *contact*: minus 0.1 times the distance of the pin from the dough, in target thicknesses (1.4 cm).

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (IoU_max - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The block lies on the table, the pin 4 mm above its middle. The target has the block's volume, its middle and its
    width along y; its thickness of 1.3 to 1.5 cm is drawn from the seed. Dough hardly moves (1 mm/s, at random, drawn
    from the seed).

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at a score of 0.65 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "flatten a block of dough to a rectangle with a rolling pin"
    success_score = 0.65
    Config = Config
    substeps = {"small": 25, "full": 50}
    domain = (0.18, 0.12, 0.108)
    unit = sum(THICKNESS) / 2

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        dough = self.dough(self.block(BLOCK))
        above = self.origin + [0.0, 0.0, BLOCK[2] + GAP + PIN]
        return self.table_scene([dough], [self.tool("pin", Capsule(PIN, HALF_LENGTH), above, orientation=ALONG_Y)])

    def make_action(self) -> dict[str, np.ndarray]:
        matrix = np.zeros((6, 3))
        matrix[0, 0] = SPEED
        matrix[2, 1] = DESCENT
        matrix[4, 2] = SPIN
        return {"effector_twist": matrix}

    def make_observation(self) -> list[Observed]:
        goal = [
            Observed(f.GoalValue(name, size), scale=self.scale) for name, size in (("half_extent", 3), ("thickness", 1))
        ]
        return self.observe(goal, origin=self.origin, speed=SPEED)

    def make_reward(self) -> list[Term]:
        config, unit = self.config, self.unit
        self.grid = self.density_grid()
        outside = f.OutsideBox(self.rows, centre="target", half_extent="half_extent", smoothing=0.1 * unit)
        contact = f.ContactDistance(0, self.rows, reach=PIN, sharpness=2.0 / self.scene.cell, smoothing=0.1 * unit)
        return [
            Term(f.DensityMatch(self.grid, "target_density"), -config.density_weight),
            Term(outside, -config.outside_weight / unit),
            Term(contact, -config.contact_weight / unit),
        ]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        thickness = rng.uniform(*THICKNESS)
        half = np.array([BLOCK[0] * BLOCK[2] / thickness, BLOCK[1], thickness]) / 2
        centre = self.origin + [0.0, 0.0, half[2]]
        density = self.target_density(fill_box(centre - half, centre + half, self.spacing))
        return {
            "target": centre,
            "half_extent": half,
            "thickness": np.array([thickness]),
            "target_density": density[0],
            "best_iou": f.soft_iou(density, density)[0],
        }

    def make_score(self) -> Score:
        return Score(f.SoftIoU(self.grid, "target_density"), goal="best_iou")

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.055, 0.035, 0.0], self.origin + [0.055, 0.035, 0.05]

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        centre, half = goal["target"], goal["half_extent"]
        return {"ghost": fill_box(centre - half, centre + half, self.spacing)}
