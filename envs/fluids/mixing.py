"""Mixing: disperse a blob of milk in coffee with a stirrer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.fluids.fluid_task import COFFEE, MILK, RIM, FluidConfig, FluidTask
from pliant.envs.task import Observed, Score, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Cylinder

DEPTH = 0.015  # of the liquid [m]
BLOB = 0.012  # radius of the milk [m]
FROM_MIDDLE = (0.014, 0.017)  # of the milk from the middle of the tank [m]
STIRRER, HALF_LENGTH = 0.007, 0.024  # radius and half length of the stirrer [m]
CLEARANCE = 0.0033  # of the stirrer above the floor at the start [m]
GAP = 0.009  # of the stirrer to the tank's sides, at least [m]
SPEED = 0.3  # of the stirrer [m/s]
GRAIN = 0.012  # scale at which the mixture is judged [m]
SEGREGATION = 5.0  # about what it is at the start


@dataclass(frozen=True)
class Config(FluidConfig):
    milk_viscosity: float = 0.05  # of the milk [Pa s]
    coffee_viscosity: float = 0.01  # of the coffee [Pa s]
    segregation_weight: float = 1.0  # weight of *segregation*, in fifths
    spread_weight: float = 1.0  # weight of *spread*


class Mixing(FluidTask):
    """
    ## Description
    A blob of milk (a viscous liquid as dense as coffee) lies in coffee in a tank of 6 x 6 cm. The goal is to
    disperse it with a rigid rod, 1.4 cm wide. After the Mixing task of FluidLab (Xian et al. 2023), in SI units and
    at the size of a cup; mixedness is judged by densities, at a cost linear in the number of particles.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the stirrer | -1 | 1 | 0.3 m/s |

    The stirrer stops 9 mm before the tank's sides, 2.3 mm above its floor, and when it is out of the coffee.

    ## Observation Space
    `Box(-10, 10, (50,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the milk, relative to the middle of the surface | 5 cm |
    | 3-5 | mean velocity of the milk | 0.3 m/s |
    | 6-41 | map of the milk from above, 6 x 6 nodes 2 cm apart: its share of the depth | 0.3 |
    | 42-44 | position of the stirrer, relative to the same point | 5 cm |
    | 45-47 | previous action (the stirrer's velocity) | - |
    | 48-49 | sin and cos of pi t / T | - |

    The goal is the same in every episode: milk everywhere alike.

    ## Rewards
    - *segregation*: minus a fifth of the square difference of milk from the even mixture, seen from above on nodes
      1.2 cm apart, relative to the square of the mixture (the intensity of segregation of Danckwerts, 1952).
    - *spread*: plus the variance of the milk's places seen from above, relative to that of all liquid.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the segregation
    at the start that is gone, clipped to [0, 1].

    ## Starting State
    The stirrer stands in the middle of the tank. The blob lies 1.4 to 1.7 cm off it; distance and direction are drawn
    from the seed. Liquids hardly move (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 60 steps of 20 ms. No termination, but at a score of 0.65 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s], `tank_friction`, `tool_friction`,
    `milk_viscosity`, `coffee_viscosity` [Pa s], `segregation_weight`, `spread_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "disperse a blob of milk in coffee with a stirrer"
    success_score = 0.65
    Config = Config
    horizon = 60
    domain = (0.096, 0.096, 0.078)
    tool_speed = SPEED
    picture_top = RIM + 2 * DEPTH

    def make_scene(self) -> Scene:
        self.origin = self.middle + [0.0, 0.0, DEPTH]
        place = self.middle + [0.0, 0.0, CLEARANCE + HALF_LENGTH]
        shape = Cylinder(STIRRER, HALF_LENGTH)
        liquid = self.fill_tank(DEPTH)
        self.sites = liquid[shape.signed_distance(liquid - place) > self.spacing / 2]
        milk = self.milk_at(np.array([sum(FROM_MIDDLE) / 2, 0.0]))
        self.milk_count = int(milk.sum())
        config = self.config
        bodies = [
            self.liquid("milk", self.sites[milk], viscosity=config.milk_viscosity, color=MILK),
            self.liquid("coffee", self.sites[~milk], viscosity=config.coffee_viscosity, color=COFFEE),
        ]
        self.levels = dict.fromkeys(("milk", "coffee"), self.origin[2])
        self.keep_inside(0, STIRRER + GAP, place[2] - 0.001, place[2] + DEPTH)
        return self.tank_scene(bodies, [self.tool("stirrer", shape, place, contact="sticky")])

    def milk_at(self, away: np.ndarray, count: int | None = None) -> np.ndarray:
        """Which sites are milk, with the blob ``away`` (2,) [m] from the middle; ``count`` of them if given."""
        distance = np.hypot(*(self.sites[:, :2] - self.middle[:2] - away).T)
        if count is None:
            return distance < BLOB
        chosen = np.zeros(len(distance), bool)
        chosen[np.argsort(distance, kind="stable")[:count]] = True
        return chosen

    def make_observation(self) -> list[Observed]:
        milk = self.rows("milk")
        self.grid = self.surface(milk, DEPTH, GRAIN)
        matter = [
            *self.body_motion("milk", self.origin),
            Observed(f.DensityMap("map", self.surface_map(milk, DEPTH)), scale=0.3),
        ]
        return self.observe(matter, [], origin=self.origin)

    def make_reward(self) -> list[Term]:
        config = self.config
        even = self.sites[:, :2].var(axis=0).sum()
        self.segregation = f.DensityError("segregation", self.grid, "mixed_density")
        spread = f.Spread("spread", f.Group(self.rows("milk"), axes=(0, 1)))
        return [
            Term(self.segregation, -config.segregation_weight / SEGREGATION),
            Term(spread, config.spread_weight / even),
        ]

    def make_score(self) -> Score:
        return Score(self.segregation, goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        share = self.milk_count / len(self.sites)
        return {"mixed_density": self.grid.density(self.sites[None, :, :2])[0] * share}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        angle = rng.uniform(-np.pi, np.pi)
        away = rng.uniform(*FROM_MIDDLE) * np.array([np.cos(angle), np.sin(angle)])
        milk = self.milk_at(away, self.milk_count)
        position = np.concatenate([self.sites[milk], self.sites[~milk]])
        return {"position": position, **self.at_start(position, rng)}
