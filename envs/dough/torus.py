"""Torus: press a ring into a block of dough with a ring-shaped mould."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import DoughConfig, PressingTask
from pliant.envs.task import Observed
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Torus as Ring

BLOCK = np.array([0.048, 0.048, 0.015])  # edges of the dough [m]
MIDDLE = (0.06, 0.06)  # of the block, on the table [m]
MAJOR, MINOR = 0.014, 0.006  # radii of the mould's circle and of its tube [m]
GAP = 0.004  # between mould and dough at the start [m]
SPEED = 0.1  # of the mould [m/s]
SHIFT = 0.008  # largest distance of the ring from the middle along x and y [m]
DEPTH = (0.007, 0.009)  # of the ring [m]


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 100.0  # [Pa]
    tool_friction: float = 0.5
    table_friction: float = 0.5


class Torus(PressingTask):
    """
    ## Description
    A block of elastoplastic dough (4.8 x 4.8 x 1.5 cm; von Mises) lies on a table under a ring-shaped mould. The goal
    is to press a ring into it, at a given place and of a given depth. After the Torus task of PlasticineLab (Huang et
    al. 2021), in SI units and at the size of a hand.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the mould | -1 | 1 | 0.1 m/s |

    ## Observation Space
    `Box(-10, 10, (53,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the dough, relative to the point on the table below its start | 5 cm |
    | 3-5 | mean velocity of the dough | 0.1 m/s |
    | 6-41 | twelve particles, relative to the same point | 5 cm |
    | 42-44 | position of the mould, relative to the same point | 5 cm |
    | 45-47 | lowest point of the ring on its axis, relative to the middle of the block's upper face | 5 cm |
    | 48-50 | previous action (the mould's velocity) | - |
    | 51-52 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside*: minus the mean distance of the dough from the target, in widths of the ring (1.2 cm).
    - *contact*: minus 0.1 times the distance of the mould from the dough, in widths of the ring.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The block lies on the table, the mould 4 mm above its middle. The seed draws one of 16 targets: what remains when
    the mould has gone down at a place up to 8 mm off the middle along x and y, 7 to 9 mm deep. Dough hardly moves (1
    mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 30 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "press a ring into a block of dough with a ring-shaped mould"
    success_score = 0.75
    horizon = 30
    Config = Config
    domain = (0.12, 0.12, 0.096)
    unit = 2 * MINOR
    speed = SPEED

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        dough = self.dough(self.block(BLOCK))
        above = self.origin + [0.0, 0.0, BLOCK[2] + GAP + MINOR]
        return self.table_scene([dough], [self.tool("mould", Ring(MAJOR, MINOR), above)])

    def make_observation(self) -> list[Observed]:
        goal = Observed(f.GoalValue("ring", 3), scale=self.scale)
        return self.observe([goal], origin=self.origin, speed=SPEED)

    def make_demonstration(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        ring = np.array([*rng.uniform(-SHIFT, SHIFT, size=2), -rng.uniform(*DEPTH)])
        points = self.demonstrate([(ring * [1, 1, 0], SPEED), ([0, 0, ring[2] - GAP], 0.04), ([0, 0, 0.02], SPEED)])
        return {"ring": ring, "points": points, **self.target_shape(points)}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.032, 0.032, 0.0], self.origin + [0.032, 0.032, 0.04]
