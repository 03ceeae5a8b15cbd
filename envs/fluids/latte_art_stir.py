"""LatteArtStir: stir a patch of milk that floats on coffee into a given pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.fluids.fluid_task import COFFEE, MILK, RIM, FluidConfig, FluidTask
from pliant.envs.fluids.patterns import vortex_pair
from pliant.envs.task import Observed, Score, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Box

DEPTH, LAYER = 0.012, 0.006  # of the coffee with the milk, of the milk [m]
PATCH = 0.015  # radius of the milk [m]
SPATULA = (0.0036, 0.011, 0.024)  # half extents of the stirrer [m]
CLEARANCE = 0.0033  # of the stirrer above the floor at the start [m]
GAP = 0.0127  # of the stirrer to the tank's sides, at least [m]
SPEED = 0.15  # of the stirrer [m/s]
TURN = 0.5  # largest angle between the pattern's axis and x [rad]
STROKE = (0.018, 0.026)  # way of the vortex pair that draws the pattern, from the edge of the patch [m]
WIDTH = 0.024  # of the vortex pair that draws the pattern [m]


@dataclass(frozen=True)
class Config(FluidConfig):
    milk_viscosity: float = 0.5  # of the milk [Pa s]
    coffee_viscosity: float = 0.05  # of the coffee [Pa s]
    matched_weight: float = 1.0  # weight of *matched*
    density_weight: float = 0.5  # weight of *density*


class LatteArtStir(FluidTask):
    """
    ## Description
    A round patch of milk (a viscous liquid as dense as coffee) floats on coffee in a tank of 8.4 x 8.4 cm. The goal is
    to stir it into a pattern with a rigid spatula, 2.2 cm wide. After the LatteArtStir task of FluidLab (Xian et al.
    2023), in SI units and at the size of a cup; patterns are made by a formula, not recorded.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the stirrer | -1 | 1 | 0.15 m/s |

    The stirrer stops 1.27 cm before the tank's sides, 2.3 mm above its floor, and when it is out of the coffee.

    ## Observation Space
    `Box(-10, 10, (86,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the milk, relative to the middle of the patch at the start | 5 cm |
    | 3-5 | mean velocity of the milk | 0.15 m/s |
    | 6-41 | map of the milk from above, 6 x 6 nodes 2.8 cm apart: its share of the patch's depth | - |
    | 42-44 | position of the stirrer, relative to the same point | 5 cm |
    | 45-80 | the same map of the pattern | - |
    | 81-83 | previous action (the stirrer's velocity) | - |
    | 84-85 | sin and cos of pi t / T | - |

    ## Rewards
    - *matched*: minus the mean horizontal distance of the milk's particles from their places in the pattern, in units
      of 1.5 cm, the radius of the patch.
    - *density*: minus half the mismatch of milk and pattern seen from above, between 0 (reached) and 0.5 (disjoint).

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the distance of
    *matched* at the start that is gone, clipped to [0, 1].

    ## Starting State
    The stirrer stands in the coffee at the edge of the patch. The pattern is what a pair of vortices that starts there
    would make of the patch (`pliant.envs.fluids.patterns.vortex_pair`); its way and axis are drawn from the seed.
    Liquids hardly move (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 45 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s], `tank_friction`, `tool_friction`,
    `milk_viscosity`, `coffee_viscosity` [Pa s], `matched_weight`, `density_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "stir a patch of milk on coffee into a given pattern"
    success_score = 0.75
    Config = Config
    horizon = 45
    domain = (0.12, 0.12, 0.072)
    tool_speed = SPEED
    picture_top = RIM + 2 * DEPTH

    def make_scene(self) -> Scene:
        self.origin = self.middle + [-0.006, 0.0, DEPTH]  # middle of the milk's surface
        behind = self.origin - [PATCH + SPATULA[0], 0.0, DEPTH]
        place = behind + [0.0, 0.0, CLEARANCE + SPATULA[2]]
        shape = Box(SPATULA, rounding=0.002)
        liquid = self.fill_tank(DEPTH)
        liquid = liquid[shape.signed_distance(liquid - place) > self.spacing / 2]
        away = liquid - self.origin
        milk = (np.hypot(away[:, 0], away[:, 1]) < PATCH) & (away[:, 2] > -LAYER)
        config = self.config
        bodies = [
            self.liquid("milk", liquid[milk], viscosity=config.milk_viscosity, color=MILK),
            self.liquid("coffee", liquid[~milk], viscosity=config.coffee_viscosity, color=COFFEE),
        ]
        self.levels = dict.fromkeys(("milk", "coffee"), self.origin[2])
        self.keep_inside(0, np.array(SPATULA[:2]) + GAP, place[2] - 0.001, place[2] + DEPTH)
        return self.tank_scene(bodies, [self.tool("stirrer", shape, place, contact="sticky")])

    def make_observation(self) -> list[Observed]:
        milk = self.rows("milk")
        self.grid = self.surface(milk, LAYER)
        self.map = self.surface_map(milk, LAYER)
        matter = [*self.body_motion("milk", self.origin), Observed(f.DensityMap("map", self.map))]
        goal = [Observed(f.GoalValue("target_map", self.map.node_count))]
        return self.observe(matter, goal, origin=self.origin)

    def make_reward(self) -> list[Term]:
        group = f.Group(self.rows("milk"), axes=(0, 1))
        self.matched = f.MatchedDistance("matched", group, "target", smoothing=0.002)
        return [
            Term(self.matched, -self.config.matched_weight / PATCH),
            Term(f.DensityMatch(self.grid, "target_density"), -self.config.density_weight),
        ]

    def make_score(self) -> Score:
        return Score(self.matched, goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        angle = rng.uniform(-TURN, TURN)
        milk = self.scene.position[self.rows("milk"), :2]
        target = vortex_pair(
            milk, middle=self.origin[:2] - [PATCH, 0.0], angle=angle, stroke=rng.uniform(*STROKE), width=WIDTH
        )
        low, high = RIM, np.array(self.domain[:2]) - RIM
        target = np.clip(target, low, high)
        return {
            "target": target,
            "target_density": self.grid.density(target[None])[0],
            "target_map": self.map.density(target[None])[0],
        }

    def ghost(self, goal: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.column_stack([goal["target"], np.full(len(goal["target"]), self.origin[2] + 0.006)])
