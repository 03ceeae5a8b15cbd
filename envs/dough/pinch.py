"""Pinch: press a dent into a block of dough with a ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import DoughConfig, PressingTask
from pliant.envs.task import Observed
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Sphere

BLOCK = np.array([0.036, 0.036, 0.024])  # edges of the dough [m]
MIDDLE = (0.057, 0.057)  # of the block, on the table [m]
TOOL = 0.01  # radius of the manipulator [m]
GAP = 0.004  # between manipulator and dough at the start [m]
SPEED = 0.1  # of the manipulator [m/s]
SHIFT = 0.008  # largest distance of the dent from the middle along x and y [m]
DEPTH = (0.012, 0.015)  # of the dent [m]


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 100.0  # [Pa]
    tool_friction: float = 0.5
    table_friction: float = 0.5


class Pinch(PressingTask):
    """
    ## Description
    A block of elastoplastic dough (3.6 x 3.6 x 2.4 cm; von Mises) lies on a table under a round manipulator. The goal
    is to press a dent into it, of a given depth at a given place. After the Pinch task of PlasticineLab (Huang et al.
    2021), in SI units and at the size of a hand.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the manipulator | -1 | 1 | 0.1 m/s |

    ## Observation Space
    `Box(-10, 10, (53,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the dough, relative to the point on the table below its start | 5 cm |
    | 3-5 | mean velocity of the dough | 0.1 m/s |
    | 6-41 | twelve particles, relative to the same point | 5 cm |
    | 42-44 | position of the manipulator, relative to the same point | 5 cm |
    | 45-47 | lowest point of the dent, relative to the middle of the block's upper face | 5 cm |
    | 48-50 | previous action (the manipulator's velocity) | - |
    | 51-52 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside*: minus the mean distance of the dough from the target, in radii of the manipulator (1 cm).
    - *contact*: minus 0.1 times the distance of the manipulator from the dough, in its radii.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The block lies on the table, the manipulator 4 mm above its middle. The seed draws one of 16 targets: what remains
    when the manipulator has gone down at a place up to 8 mm off the middle along x and y, 1.2 to 1.5 cm deep. Dough
    hardly moves (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 30 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "press a dent into a block of dough with a ball"
    success_score = 0.75
    horizon = 30
    Config = Config
    domain = (0.114, 0.114, 0.108)
    unit = TOOL
    speed = SPEED

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        dough = self.dough(self.block(BLOCK))
        above = self.origin + [0.0, 0.0, BLOCK[2] + GAP + TOOL]
        return self.table_scene([dough], [self.tool("ball", Sphere(TOOL), above)])

    def make_observation(self) -> list[Observed]:
        goal = Observed(f.GoalValue("dent", 3), scale=self.scale)
        return self.observe([goal], origin=self.origin, speed=SPEED)

    def make_demonstration(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        dent = np.array([*rng.uniform(-SHIFT, SHIFT, size=2), -rng.uniform(*DEPTH)])
        points = self.demonstrate([(dent * [1, 1, 0], SPEED), ([0, 0, dent[2] - GAP], 0.06), ([0, 0, 0.02], SPEED)])
        return {"dent": dent, "points": points, **self.target_shape(points)}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.03, 0.03, 0.0], self.origin + [0.03, 0.03, 0.055]
