"""LatteArt: pour milk onto coffee so that a given pattern appears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pliant.envs import features as f
from pliant.envs.fluids.fluid_task import COFFEE, MILK, RIM, FluidConfig, FluidTask
from pliant.envs.fluids.patterns import wave
from pliant.envs.task import Observed, Score, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Injector
from pliant.sims.shapes.shapes import Sphere

DEPTH = 0.012  # of the coffee [m]
MILK_VOLUME = 4e-6  # [m^3]
POURING = 40  # steps in which milk flows
NOZZLE, DROP = 0.004, 0.009  # radius of the nozzle, its height above the coffee at the start [m]
BOTTLE, BELOW = 0.003, 0.009  # radius of the bottle's tip, from its middle down to the nozzle [m]
SPEED = 0.15  # of the bottle [m/s]
LENGTH, HEIGHT = 0.048, (0.009, 0.016)  # of the pattern's wave along x, and its amplitude along y [m]
BLUR = 0.01  # how far from its place milk may be and still count by 0.6 [m]


@dataclass(frozen=True)
class Config(FluidConfig):
    milk_viscosity: float = 0.5  # of the milk [Pa s]
    coffee_viscosity: float = 0.05  # of the coffee [Pa s]
    matched_weight: float = 1.0  # weight of *matched*


class LatteArt(FluidTask):
    """
    ## Description
    A bottle lets milk (a viscous liquid as dense as coffee) flow onto coffee in a tank of 8.4 x 8.4 cm, at a constant
    rate. The goal is to move it so that a pattern appears. After the LatteArt task of FluidLab (Xian et al. 2023), in
    SI units and at the size of a cup; patterns are made by a formula, not recorded.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the bottle | -1 | 1 | 0.15 m/s |

    The bottle stops 1.2 cm before the tank's sides, 2 mm below and 1 cm above its height at the start.

    ## Observation Space
    `Box(-10, 10, (86,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the milk poured so far, relative to the middle of the surface; 0 before | 5 cm |
    | 3-5 | mean velocity of that milk | 0.15 m/s |
    | 6-41 | map of the milk from above, 6 x 6 nodes 2.8 cm apart: its share of the coffee's depth | 0.3 |
    | 42-44 | position of the bottle, relative to the same point | 5 cm |
    | 45-80 | the same map of the pattern | 0.3 |
    | 81-83 | previous action (the bottle's velocity) | - |
    | 84-85 | sin and cos of pi t / T | - |

    Milk that has not left the bottle is not part of any observation or reward.

    ## Rewards
    - *matched*: minus the mean horizontal distance of the milk poured so far from its places in the pattern, in units
      of 1 cm. Milk has its places along the pattern in the order in which it is poured.

    `info["reward_terms"]` holds it by name; it is the reward. `info["score"]` is the share of all milk that is in
    place, each particle counting by exp(-d^2 / (2 w^2)) at a distance d from its place, w = 1 cm.

    ## Starting State
    The bottle is above the coffee at the left end of the pattern's axis. The pattern is one period of a wave along x,
    4.8 cm long; its amplitude of 0.9 to 1.6 cm, side and phase are drawn from the seed. Coffee hardly moves (1 mm/s, at
    random, drawn from the seed).

    ## Episode End
    Truncation after 55 steps of 20 ms, milk flows during the first 40. No termination, but at a
    score of 0.8 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s], `tank_friction`, `tool_friction`,
    `milk_viscosity`, `coffee_viscosity` [Pa s], `matched_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "pour milk onto coffee so that a given pattern appears"
    success_score = 0.8
    Config = Config
    horizon = 55
    domain = (0.12, 0.12, 0.09)
    tool_speed = SPEED
    picture_top = RIM + 3 * DEPTH
    ghost_count = 200
    exogenous: ClassVar[Mapping[str, str]] = {"injector_flow": "flow"}

    def make_scene(self) -> Scene:
        self.origin = self.middle + [0.0, 0.0, DEPTH]
        config = self.config
        place = self.origin + [-LENGTH / 2, 0.0007, DROP + BELOW]
        bottle = self.tool("bottle", Sphere(BOTTLE), place)
        count = round(MILK_VOLUME / self.spacing**3)
        self.flow = count * self.spacing**3 / (POURING * self.step_time)
        injector = Injector(
            "bottle", "milk", "bottle", NOZZLE, 1.5 * self.flow, nozzle=(0.0, 0.0, -BELOW), direction=(0.0, 0.0, -1.0)
        )
        waiting = np.tile(injector.nozzle_point([bottle], 3), (count, 1))
        bodies = [
            self.liquid("milk", waiting, viscosity=config.milk_viscosity, color=MILK),
            self.liquid("coffee", self.fill_tank(DEPTH), viscosity=config.coffee_viscosity, color=COFFEE),
        ]
        self.levels = {"coffee": self.origin[2]}
        self.keep_inside(0, 0.012, place[2] - 0.002, place[2] + 0.01)
        return self.tank_scene(bodies, [bottle], injectors=[injector])

    def make_observation(self) -> list[Observed]:
        self.map = self.surface_map(self.rows("milk"), DEPTH)
        matter = [*self.body_motion("milk", self.origin), Observed(f.DensityMap("map", self.map), scale=0.3)]
        goal = [Observed(f.GoalValue("target_map", self.map.node_count), scale=0.3)]
        return self.observe(matter, goal, origin=self.origin)

    def make_reward(self) -> list[Term]:
        self.group = f.Group(self.rows("milk"), axes=(0, 1))
        matched = f.MatchedDistance("matched", self.group, "target", smoothing=0.002)
        return [Term(matched, -self.config.matched_weight / BLUR)]

    def make_score(self) -> Score:
        return Score(f.ShareInPlace("in_place", self.group, "target", width=BLUR), goal=1.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        count = self.group.count
        amplitude = rng.uniform(*HEIGHT) * rng.choice([-1.0, 1.0])
        path = wave((np.arange(count) + 0.5) / count, length=LENGTH, amplitude=amplitude, phase=rng.uniform(-0.5, 0.5))
        target = path + self.origin[:2]
        flow = np.zeros((self.horizon, 1))
        flow[:POURING] = self.flow
        return {"target": target, "flow": flow, "target_map": self.map.density(target[None])[0]}

    def ghost(self, goal: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.column_stack([goal["target"], np.full(len(goal["target"]), self.origin[2] + 0.003)])
