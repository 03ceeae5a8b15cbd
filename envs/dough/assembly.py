"""Assembly: put one block of dough on another with two rods that close on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import ALONG_X, DoughConfig, DoughTask
from pliant.envs.particles import fill_box
from pliant.envs.task import Observed, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Capsule

CUBE = 0.018  # edge of the block that is moved [m]
BASE = np.array([0.03, 0.03, 0.009])  # edges of the block that it is put on [m]
MIDDLE = (0.042, 0.072)  # of the cube, on the table [m]
BETWEEN = 0.012  # the two blocks at the start [m]
# radius and half length of a rod [m]; its caps begin between nodes: at a node there, the normal's derivative would jump
ROD, HALF_LENGTH = 0.007, 0.0065
GAP = 0.0005  # between rods and cube at the start [m]
SPEED, CLOSING = 0.1, 0.05  # of both rods, of each towards the other [m/s]
SHIFT = 0.006  # largest distance of the target from the middle of the base along x and y [m]


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 400.0  # [Pa]
    tool_friction: float = 1.5
    table_friction: float = 0.9
    base_weight: float = 1.0  # weight of *base*


class Assembly(DoughTask):
    """
    ## Description
    Two blocks of elastoplastic dough (a cube of 1.8 cm and a base of 3 x 3 x 0.9 cm; von Mises) lie side by side on a
    table, a rod on either side of the cube. The goal is to grasp the cube and put it on the base. After the Assembly
    task of PlasticineLab (Huang et al. 2021), in SI units and at the size of a hand; the rods lie along x and move as
    a gripper does, where the reference has two free spheres.

    ## Action Space
    `Box(-1, 1, (4,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of both rods | -1 | 1 | 0.1 m/s |
    | 3 | velocity of each rod towards the other, along y | -1 | 1 | 0.05 m/s |

    ## Observation Space
    `Box(-10, 10, (63,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-5 | centres of cube and base, relative to the point on the table below the start of the cube | 5 cm |
    | 6-11 | mean velocities of cube and base | 0.1 m/s |
    | 12-47 | twelve particles, relative to the same point | 5 cm |
    | 48-53 | positions of the rods' middles, relative to the same point | 5 cm |
    | 54-56 | from the centre of the cube to that of its target | 5 cm |
    | 57-60 | previous action | - |
    | 61-62 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside*: minus the mean distance of the cube from its target, in its edges (1.8 cm).
    - *base*: minus the distance of the base from its place, in edges of the cube.
    - *contact_left*, *contact_right*: minus 0.1 times the distance of a rod from the cube, in its edges.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The blocks lie 12 mm apart along x, the rods half a millimetre off the cube along y. The target is the cube on the
    base, up to 6 mm off its middle along x and y, drawn from the seed, and the base where it is. Dough hardly moves (1
    mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at a score of 0.7 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `base_weight`,
    `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "put one block of dough on another with two rods that close on it"
    success_score = 0.7
    Config = Config
    domain = (0.132, 0.144, 0.108)
    unit = CUBE

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        self.start = self.origin + [0.0, 0.0, CUBE / 2]
        self.base = self.origin + [CUBE / 2 + BETWEEN + BASE[0] / 2, 0.0, BASE[2] / 2]
        cube = self.dough(fill_box(self.start - CUBE / 2, self.start + CUBE / 2, self.spacing), "cube")
        base = self.dough(
            fill_box(self.base - BASE / 2, self.base + BASE / 2, self.spacing), "base", color=(0.93, 0.79, 0.55)
        )
        away = np.array([0.0, CUBE / 2 + GAP + ROD, 0.0])
        tools = [
            self.tool(name, Capsule(ROD, HALF_LENGTH), self.start + sign * away, orientation=ALONG_X)
            for name, sign in (("left", -1), ("right", 1))
        ]
        return self.table_scene([cube, base], tools)

    def make_action(self) -> dict[str, np.ndarray]:
        matrix = np.zeros((2, 6, 4))  # rod, component of its twist, action
        matrix[:, :3, :3] = SPEED * np.eye(3)
        matrix[:, 1, 3] = CLOSING, -CLOSING
        return {"effector_twist": matrix.reshape(12, 4)}

    def make_observation(self) -> list[Observed]:
        cube = f.centre(self.rows[self.scene.group("cube")], 3)
        goal = Observed(f.Offset("offset", cube, "target"), scale=self.scale)
        return self.observe([goal], origin=self.origin, speed=SPEED, tools=[0, 1])

    def make_reward(self) -> list[Term]:
        cube, base = (self.rows[self.scene.group(name)] for name in ("cube", "base"))
        outside = f.OutsideBox(cube, centre="target", half_extent="half_extent", smoothing=0.1 * CUBE)
        moved = f.Distance("base", f.Offset("moved", f.centre(base, 3), "place"))
        return [
            self.density_term(),
            Term(outside, -self.config.outside_weight / self.unit),
            Term(moved, -self.config.base_weight / self.unit),
            *self.contact_terms({0: cube, 1: cube}),
        ]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        target = self.base + [*rng.uniform(-SHIFT, SHIFT, size=2), (BASE[2] + CUBE) / 2]
        density = self.target_density(self._assembled(target))
        return {"target": target, "half_extent": np.full(3, CUBE / 2), "target_density": density[0], "place": self.base}

    def _assembled(self, target: np.ndarray) -> np.ndarray:
        """The particles where the target wants them, shape (N, 3)."""
        points = self.scene.position
        points[self.scene.group("cube")] += target - self.start
        return points

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.02, 0.035, 0.0], self.origin + [0.055, 0.035, 0.05]

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": self._assembled(goal["target"])}
