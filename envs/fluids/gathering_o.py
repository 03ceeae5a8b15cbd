"""GatheringO: bring two floats to a place in a ring tank, around the obstacle in its middle, by moving water only."""

from __future__ import annotations

import numpy as np

from pliant.envs.fluids.fluid_task import RIM
from pliant.envs.fluids.gathering import CLEARANCE, DEPTH, GatheringTask
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.containers import RingTank
from pliant.sims.shapes.shapes import Box

TANK = RingTank(inner_radius=0.012, outer_radius=0.045, depth=0.036, wall=0.018, floor_thickness=0.012)
MIDDLE = (0.0727, 0.0725)  # of the tank, off the nodes of the grid [m]
LANE = (TANK.inner_radius + TANK.outer_radius) / 2  # radius of the middle of the channel [m]
STROKE = 0.018  # by how much the paddle can go forward and back from the tank's middle along y [m]
BACK = 0.0167  # by how much it is back at the start [m]
SIDEWAYS = 0.002  # by how much it can leave the middle of the channel [m]
START = (1.65, 0.75)  # polar angles of the floats [rad]; the paddle is at pi
GOAL = (-0.8, -0.2)  # polar angle of the place to go to [rad]


class GatheringO(GatheringTask):
    """
    ## Description
    Two rigid floats, half as dense as water and 1.8 cm wide, lie on water 1.5 cm deep in a ring tank: a channel 3.3 cm
    wide about a round obstacle of 2.4 cm. The goal is to bring both to a place a quarter of the ring away with a paddle
    beyond the obstacle, which is not to touch them: it has to move the water. After the GatheringO task of
    FluidLab (Xian et al. 2023), in SI units and at the size of a hand; floats are round, and two floats are at a place
    when they lie side by side about it.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the paddle | -1 | 1 | 0.2 m/s |

    The paddle stops 1.8 cm before and behind the middle of the tank along y, 2 mm off the middle of the channel,
    2.2 mm above the floor and when it is out of the water.

    ## Observation Space
    `Box(-10, 10, (28,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the first float, relative to the middle of the water's surface | 5 cm |
    | 3-5 | mean velocity of the first float | 0.2 m/s |
    | 6-11 | the same of the second float | 5 cm, 0.2 m/s |
    | 12-17 | the same of the water | 5 cm, 0.2 m/s |
    | 18-20 | position of the paddle, relative to the same point | 5 cm |
    | 21-22 | x and y of the place to go to, relative to the same point | 5 cm |
    | 23-25 | previous action (the paddle's velocity) | - |
    | 26-27 | sin and cos of pi t / T | - |

    ## Rewards
    - *distance*: minus the mean horizontal distance of the floats' middles from the place, in units of 3 cm.
    - *touched*: minus twice the share of the floats within 4 mm of the paddle.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the way from the
    distance at the start to 1.2 cm, two floats that touch, that is gone, clipped to [0, 1].

    ## Starting State
    The floats lie behind each other in the channel, the paddle stands in the water on the other side of the obstacle.
    Floats and water hardly move (5 mm/s, at random, drawn from the seed). The polar angle of the place lies within
    [-0.8, -0.2] rad and is drawn from the seed.

    ## Episode End
    Truncation after 60 steps of 20 ms. No termination, but at a score of 0.85 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s], `tank_friction`, `tool_friction`, `viscosity`
    [Pa s], `float_density` [kg/m^3], `float_modulus` [Pa], `distance_weight`, `touch_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "bring two floats around an obstacle in a ring tank to a place by moving water only"
    success_score = 0.85
    domain = (0.144, 0.144, 0.084)
    paddle = Box((0.007, 0.005, 0.012))
    unit = 0.03
    axes = (0, 1)
    floor = RIM + 0.0093  # off the nodes of the grid, too, and so high that water does not rest on the domain's edge
    reached = 0.012

    def make_scene(self) -> Scene:
        self.origin = np.array([*MIDDLE, self.floor + DEPTH])
        tank = np.array([*MIDDLE, self.floor - TANK.floor])
        lane = np.array([MIDDLE[0] - LANE, MIDDLE[1], self.paddle_height])
        low, high = lane - [SIDEWAYS, STROKE, CLEARANCE / 3], lane + [SIDEWAYS, STROKE, DEPTH]
        place = lane - [0.0, BACK, 0.0]
        self.workspace = {0: (low.tolist(), high.tolist())}
        edge = TANK.outer_radius
        lattice = self.fill([-edge, -edge, TANK.floor], [edge, edge, TANK.floor + DEPTH])
        water = lattice[TANK.holds(lattice, self.spacing / 2)] + tank
        bodies = self.afloat(water, place, np.array([self.polar(angle) for angle in START]))
        softness = 2.0 / self.cell[self.resolution]
        ring = Effector("tank", TANK, tank.tolist(), friction=self.config.tank_friction, softness=softness, fixed=True)
        return self.tank_scene(bodies, [self.tool("paddle", self.paddle, place, contact="sticky"), ring])

    def polar(self, angle: float) -> np.ndarray:
        """The point in the middle of the channel at a polar angle [rad], shape (2,) [m]."""
        return np.array(MIDDLE) + LANE * np.array([np.cos(angle), np.sin(angle)])

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"place": self.polar(rng.uniform(*GOAL))}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        reach = np.array([TANK.outer_radius, TANK.outer_radius, 0.0])
        return self.origin - reach - [0.0, 0.0, DEPTH], self.origin + reach + [0.0, 0.0, DEPTH]
