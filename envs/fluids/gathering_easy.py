"""GatheringEasy: bring two floats to a line across a tank by moving water only."""

from __future__ import annotations

import numpy as np

from pliant.envs.fluids.fluid_task import RIM
from pliant.envs.fluids.gathering import CLEARANCE, DEPTH, GatheringTask
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Box

STROKE = (0.0177, 0.1083)  # where the paddle's middle can be along x, from the tank's face [m]
LANE = (0.0135, 0.0165)  # and along y [m]
FLOATS_AT = ((0.040, 0.040), (0.064, 0.040))  # middles of the floats at the start, from the tank's corner [m]
BACK = 0.002  # of the paddle at the start before the end of its lane [m]
AHEAD = (0.026, 0.046)  # of the line from the point between the floats at the start [m]


class GatheringEasy(GatheringTask):
    """
    ## Description
    Two rigid floats, half as dense as water and 1.8 cm wide, lie on water 1.5 cm deep in a tank of 12.6 x 5.4 cm. The
    goal is to bring both to a line across the tank with a paddle in the other half of the tank, which is not to touch
    them: it has to move the water. After the GatheringEasy task of FluidLab (Xian et al. 2023), in SI units and at the
    size of a hand; floats are round, and two floats are at the line when they lie on both sides of it.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the paddle | -1 | 1 | 0.2 m/s |

    The paddle stops 1.27 cm before both ends of the tank and 2.2 mm above its floor, when it is out of the water, and
    1.5 mm off the middle of its lane, 1.5 cm from the tank's face at low y.

    ## Observation Space
    `Box(-10, 10, (27,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the first float, relative to the middle of the water's surface | 5 cm |
    | 3-5 | mean velocity of the first float | 0.2 m/s |
    | 6-11 | the same of the second float | 5 cm, 0.2 m/s |
    | 12-17 | the same of the water | 5 cm, 0.2 m/s |
    | 18-20 | position of the paddle, relative to the same point | 5 cm |
    | 21 | x of the line, relative to the same point | 5 cm |
    | 22-24 | previous action (the paddle's velocity) | - |
    | 25-26 | sin and cos of pi t / T | - |

    ## Rewards
    - *distance*: minus the mean distance of the floats' middles from the line along x, in units of 2 cm.
    - *touched*: minus twice the share of the floats within 4 mm of the paddle.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the way from the
    distance at the start to 1.2 cm, two floats behind each other, that is gone, clipped to [0, 1].

    ## Starting State
    The floats lie behind each other in one half of the tank, the paddle stands in the water near the far end of its
    lane in the other. Floats and water hardly move (5 mm/s, at random, drawn from the seed). The line is 2.6 to 4.6 cm
    ahead of the point between the floats, drawn from the seed.

    ## Episode End
    Truncation after 60 steps of 20 ms. No termination, but at a score of 0.9 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s], `tank_friction`, `tool_friction`, `viscosity`
    [Pa s], `float_density` [kg/m^3], `float_modulus` [Pa], `distance_weight`, `touch_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "bring two floats to a line across a tank by moving water only"
    success_score = 0.9
    domain = (0.162, 0.09, 0.072)
    paddle = Box((0.005, 0.008, 0.012))
    unit = 0.02
    axes = (0,)
    picture_top = RIM + 2 * DEPTH
    reached = 0.012

    def make_scene(self) -> Scene:
        self.origin = self.middle + [0.0, 0.0, DEPTH]
        height = self.paddle_height
        low = np.array([RIM + STROKE[0], RIM + LANE[0], height - CLEARANCE / 3])
        high = np.array([RIM + STROKE[1], RIM + LANE[1], height + DEPTH])
        self.workspace = {0: (low.tolist(), high.tolist())}
        place = np.array([high[0] - BACK, (low[1] + high[1]) / 2, height])
        floats = RIM + np.array(FLOATS_AT)
        bodies = self.afloat(self.fill_tank(DEPTH), place, floats)
        return self.tank_scene(bodies, [self.tool("paddle", self.paddle, place, contact="sticky")])

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"place": np.array([RIM + np.mean(FLOATS_AT, axis=0)[0] + rng.uniform(*AHEAD)])}
