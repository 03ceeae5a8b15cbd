"""Pouring: pour the water out of a glass and keep the milk that lies beneath it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.fluids.fluid_task import MILK, RIM, WATER, FluidConfig, FluidTask
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.containers import Cup

GLASS = Cup(radius=0.024, depth=0.042, wall=0.018, floor_thickness=0.018)
PLACE = (0.0727, 0.0725)  # of the glass, off the nodes of the grid [m]
STAND = 0.0247  # of the glass above the tank's floor at the start [m]
MILK_DEPTH, WATER_DEPTH = 0.0105, 0.018  # [m]
SINK, LIFT = 0.001, 0.018  # by how much actions can lower and raise the glass [m]
SPEED, TURN = 0.1, 2.5  # of the glass [m/s], [rad/s]
SIDEWAYS = 0.5  # largest angle between the side to pour to and x [rad]
SOFTNESS = 0.002  # of the border between in and out of the glass [m]


@dataclass(frozen=True)
class Config(FluidConfig):
    sound_speed: float = positive(2.5)  # [m/s]
    milk_viscosity: float = 2.0  # of the milk [Pa s]
    tool_friction: float = 0.1
    milk_density: float = positive(1030.0)  # of the milk [kg/m^3]
    water_viscosity: float = 0.001  # of the water [Pa s]
    keep_weight: float = 2.0  # weight of *milk_in_glass*
    pour_weight: float = 1.0  # weight of *water_in_glass*
    attraction_weight: float = 0.3  # weight of *water_to_side* and *milk_spilt*


class Pouring(FluidTask):
    """
    ## Description
    A thick-walled glass (4.8 cm wide and 4.2 cm deep inside) holds milk, which is viscous, and water on top of it. The
    goal is to pour the water out and to keep the milk. After the Pouring task of FluidLab (Xian et al. 2023), in SI
    units; to keep milk means to keep it in the glass, wherever the glass is, and not where the milk was at the start.

    ## Action Space
    `Box(-1, 1, (6,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the glass | -1 | 1 | 0.1 m/s |
    | 3-5 | angular velocity of the glass | -1 | 1 | 2.5 rad/s |

    The glass stops where it could touch the tank, whichever way it is turned, and 1.8 cm above its place at the start.

    ## Observation Space
    `Box(-10, 10, (31,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the milk, relative to the middle of the glass at the start | 5 cm |
    | 3-5 | mean velocity of the milk | 0.3 m/s |
    | 6-8 | centre of the water, relative to the same point | 5 cm |
    | 9-11 | mean velocity of the water | 0.3 m/s |
    | 12-13 | share of the milk and of the water that is in the glass | - |
    | 14-16 | position of the glass, relative to the same point | 5 cm |
    | 17-20 | orientation of the glass (quaternion w, x, y, z) | - |
    | 21-22 | horizontal direction of the side to pour to | - |
    | 23-28 | previous action (the glass's twist) | - |
    | 29-30 | sin and cos of pi t / T | - |

    ## Rewards
    - *milk_in_glass*: plus twice the share of the milk that is in the glass (within half its wall's thickness).
    - *water_in_glass*: minus the share of the water that is.
    - *water_to_side*: plus 0.3 times the mean distance of the water from the glass's axis towards the side to pour to,
      seen from the glass, in depths of the glass: what tells how to tilt before any water leaves.
    - *milk_spilt*: minus 0.3 times the mean distance of the milk from the inside of the glass, in depths of the glass.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the milk in the
    glass minus that of the water, clipped to [0, 1].

    ## Starting State
    The liquids are in the upright glass. The side to pour to lies within 0.5 rad of x, drawn from the seed. Liquids
    hardly move (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 60 steps of 20 ms. No termination, but at a score of 0.8 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s], `tank_friction`, `tool_friction`,
    `milk_viscosity` [Pa s], `milk_density` [kg/m^3], `water_viscosity` [Pa s], `keep_weight`, `pour_weight`,
    `attraction_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "pour the water out of a glass and keep the milk that lies beneath it"
    success_score = 0.8
    Config = Config
    horizon = 60
    substeps = {"small": 28, "full": 80}
    domain = (0.192, 0.144, 0.15)
    tool_speed = 0.3

    def make_scene(self) -> Scene:
        self.start = np.array([*PLACE, RIM + STAND + GLASS.height / 2])
        bottom, edge = GLASS.floor, GLASS.radius
        edge += self.spacing  # on a grid liquid stands up to half a cell within round walls
        lattice = self.fill([-edge, -edge, bottom], [edge, edge, bottom + MILK_DEPTH + WATER_DEPTH])
        lattice = lattice[GLASS.signed_distance(lattice) > -self.spacing]
        low = lattice[:, 2] < bottom + MILK_DEPTH
        config = self.config
        bodies = [
            self.liquid(
                "milk",
                lattice[low] + self.start,
                density=config.milk_density,
                viscosity=config.milk_viscosity,
                color=MILK,
            ),
            self.liquid("water", lattice[~low] + self.start, viscosity=config.water_viscosity, color=WATER),
        ]
        surface = self.start[2] + bottom + MILK_DEPTH + WATER_DEPTH
        self.levels = dict.fromkeys(("milk", "water"), surface)
        reach = GLASS.bounding_radius
        self.keep_inside(0, reach, self.start[2] - SINK, self.start[2] + LIFT)
        return self.tank_scene(bodies, [self.tool("glass", GLASS, self.start, contact="separate")])

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": self.twist_matrix(np.diag([SPEED] * 3 + [TURN] * 3))}

    def make_observation(self) -> list[Observed]:
        cavity = GLASS.cavity
        milk, water = (f.Group(self.rows(name), effector=0) for name in ("milk", "water"))
        self.milk_in = f.ShareInside("milk_in_glass", milk, cavity, softness=SOFTNESS, margin=GLASS.wall / 2)
        self.water_in = f.ShareInside("water_in_glass", water, cavity, softness=SOFTNESS, margin=GLASS.wall / 2)
        matter = [
            *self.body_motion("milk", self.start),
            *self.body_motion("water", self.start),
            Observed(self.milk_in),
            Observed(self.water_in),
        ]
        return self.observe(matter, [Observed(f.GoalValue("side", 2))], origin=self.start, turns=True)

    def make_reward(self) -> list[Term]:
        config, scale = self.config, GLASS.depth
        milk = f.Group(self.rows("milk"), effector=0)
        across = f.GroupCentre("water_across", f.Group(self.rows("water"), axes=(0, 1), effector=0))
        spilt = f.DistanceFrom("milk_spilt", milk, GLASS.cavity, smoothing=SOFTNESS)
        return [
            Term(self.milk_in, config.keep_weight),
            Term(self.water_in, -config.pour_weight),
            Term(f.Along("water_to_side", across, "side"), config.attraction_weight / scale),
            Term(spilt, -config.attraction_weight / scale),
        ]

    def make_score(self) -> Score:
        kept = f.WeightedSum("milk_without_water", [(1.0, self.milk_in), (-1.0, self.water_in)])
        return Score(kept, goal="all_milk")

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        angle = rng.uniform(-SIDEWAYS, SIDEWAYS)
        milk = self.scene.position[self.rows("milk")] - self.start
        return {
            "side": np.array([np.cos(angle), np.sin(angle)]),
            "all_milk": self.milk_in.share(milk),
        }
