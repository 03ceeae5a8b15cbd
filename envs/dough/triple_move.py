"""TripleMove: push three boxes of dough to other places with six round manipulators."""

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
from pliant.sims.shapes.shapes import Sphere

EDGE = 0.018  # of a box [m]
PLACES = ((0.057, 0.039), (0.057, 0.072), (0.057, 0.105))  # of the boxes on the table [m]
TOOL = 0.009  # radius of a manipulator [m]
GAP = 0.003  # between manipulators and box at the start [m]
SPEED = 0.1  # of a manipulator [m/s]
SHIFT = (0.015, 0.027)  # of a target along x [m]
SIDE = 0.003  # largest shift of a target along y [m]
NAMES = ("near", "middle", "far")


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 400.0  # [Pa]


class TripleMove(DoughTask):
    """
    ## Description
    Three boxes of elastoplastic dough (edges of 1.8 cm; von Mises) lie on a table, each between two round manipulators.
    The goal is to bring each, undamaged, to its own place further along x. After the TripleMove task of PlasticineLab
    (Huang et al. 2021), in SI units and at the size of a hand.

    ## Action Space
    `Box(-1, 1, (18,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-5 | velocities of the left and right manipulator of the near box | -1 | 1 | 0.1 m/s |
    | 6-11 | of the middle box | -1 | 1 | 0.1 m/s |
    | 12-17 | of the far box | -1 | 1 | 0.1 m/s |

    ## Observation Space
    `Box(-10, 10, (101,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-8 | centres of the boxes, relative to the point on the table below the start of the middle box | 5 cm |
    | 9-17 | mean velocities of the boxes | 0.1 m/s |
    | 18-53 | twelve particles, relative to the same point | 5 cm |
    | 54-71 | positions of the manipulators, relative to the same point | 5 cm |
    | 72-80 | from the centre of each box to that of its target | 5 cm |
    | 81-98 | previous action (the manipulators' velocities) | - |
    | 99-100 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus the mismatch of densities, between 0 (target reached) and 1 (disjoint).
    - *outside_near*, *outside_middle*, *outside_far*: minus a third of the mean distance of a box from its target, in
      edges of a box (1.8 cm).
    - *contact_near_left*, *contact_near_right* and so on: minus 0.1 times the distance of a manipulator from its box,
      in edges of a box.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The boxes stand in a row along y, a manipulator 3 mm off each on either side along x. Each target is 1.5 to 2.7 cm
    further along x and up to 3 mm to either side, drawn from the seed. Dough hardly moves (1 mm/s, at random, drawn
    from the seed).

    ## Episode End
    Truncation after 40 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "push three boxes of dough to other places with six round manipulators"
    success_score = 0.75
    horizon = 40
    Config = Config
    domain = (0.15, 0.144, 0.078)
    unit = EDGE

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*PLACES[1])
        self.starts = np.array([self.on_table(*place) + [0.0, 0.0, EDGE / 2] for place in PLACES])
        boxes = [
            self.dough(fill_box(start - EDGE / 2, start + EDGE / 2, self.spacing), name)
            for name, start in zip(NAMES, self.starts, strict=True)
        ]
        away = np.array([EDGE / 2 + GAP + TOOL, 0.0, 0.0])
        tools = [
            self.tool(f"{name}_{side}", Sphere(TOOL), start + sign * away)
            for name, start in zip(NAMES, self.starts, strict=True)
            for side, sign in (("left", -1), ("right", 1))
        ]
        return self.table_scene(boxes, tools)

    def make_action(self) -> dict[str, np.ndarray]:
        # effector, component of its twist, action
        return {"effector_twist": SPEED * np.einsum("ek,ca->ecka", np.eye(6), np.eye(6, 3)).reshape(36, 18)}

    def make_observation(self) -> list[Observed]:
        goal = [
            Observed(f.Offset(f"offset_{name}", f.centre(rows, 3), f"target_{name}"), scale=self.scale)
            for name, rows in self._boxes()
        ]
        return self.observe(goal, origin=self.origin, speed=SPEED, tools=range(6))

    def make_reward(self) -> list[Term]:
        outside = [
            f.OutsideBox(
                rows,
                centre=f"target_{name}",
                half_extent="half_extent",
                smoothing=0.1 * EDGE,
                name=f"outside_{name}",
            )
            for name, rows in self._boxes()
        ]
        boxes = [rows for _, rows in self._boxes() for _ in range(2)]
        return [
            self.density_term(),
            *(Term(feature, -self.config.outside_weight / (3 * self.unit)) for feature in outside),
            *self.contact_terms(dict(enumerate(boxes))),
        ]

    def _boxes(self) -> list[tuple[str, np.ndarray]]:
        """Name and particles of each box."""
        return [(name, self.rows[self.scene.group(name)]) for name in NAMES]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        goal = {"half_extent": np.full(3, EDGE / 2)}
        for name, start in zip(NAMES, self.starts, strict=True):
            goal[f"target_{name}"] = start + [rng.uniform(*SHIFT), rng.uniform(-SIDE, SIDE), 0.0]
        return goal | {"target_density": self.target_density(self._moved(goal))[0]}

    def _moved(self, goal: Mapping[str, np.ndarray]) -> np.ndarray:
        """The particles where the target wants them, shape (N, 3)."""
        points = self.scene.position
        for name, start in zip(NAMES, self.starts, strict=True):
            points[self.scene.group(name)] += goal[f"target_{name}"] - start
        return points

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.033, 0.045, 0.0], self.origin + [0.065, 0.045, 0.03]

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": self._moved(goal)}
