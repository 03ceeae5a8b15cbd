"""IceCreamStatic: fill a cone that stands with a swirl of ice cream, by moving the dispenser."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pliant.envs.fluids.fluid_task import RIM
from pliant.envs.fluids.ice_cream import CONE, GAP, OPENING, RIM_HEIGHT, RISE, SLACK, IceCream

PLACE = (0.0727, 0.0725)  # of the cone, off the nodes of the grid [m]
AWAY = 0.03  # of the opening from the cone's axis at the start [m]
STAND = 0.006  # of the cone's tip above the tank's floor [m]


class IceCreamStatic(IceCream):
    """
    ## Description
    A dispenser lets out ice cream (a Herschel-Bulkley paste) at a constant rate above a cone that stands, 5.4 cm wide
    and 3.9 cm deep inside. The goal is to fill the cone and to lay a spiral on it, a coil and a quarter of a strand
    1.5 cm thick. After the IceCreamStatic task of FluidLab (Xian et al. 2023), in SI units; the swirl is made by a
    formula.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the dispenser | -1 | 1 | 0.25 m/s |

    Its opening stays 9 to 45 mm above the rim and within the tank. The flow is no action: the dispenser opens after 2
    steps and closes after 52.

    ## Observation Space
    `Box(-10, 10, (80,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the ice cream that is out, relative to the opening at the start | 5 cm |
    | 3-5 | its mean velocity | 0.25 m/s |
    | 6-65 | maps of it from y and from x, 5 x 6 nodes 2.4 cm apart each: its thickness | 3 cm |
    | 66-68 | position of the dispenser, relative to the opening at the start | 5 cm |
    | 69-71 | where what is dispensed now belongs, relative to the cone | 5 cm |
    | 72-74 | cos and sin of the angle at which the spiral begins; 1 if it rises counter-clockwise, else -1 | - |
    | 75-77 | previous action (the dispenser's velocity) | - |
    | 78-79 | sin and cos of pi t / T | - |

    ## Rewards
    - *matched*: minus the mean distance of the ice cream's particles that are out from their places in the swirl,
      in units of 2.7 cm, the cone's radius. Places are given away along one spiral, in the cone and on it, in the
      order of dispensing, and among those that leave the opening together by the side on which they leave it: a paste
      stays where it is laid.
    - *density*: minus the mismatch of ice cream and swirl on nodes 9 mm apart, 0 (reached) to 1 (disjoint).

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the intersection over union
    of both on the same nodes, in [0, 1]. For scale: a cone that is just full has 0.62, a swirl that begins on the
    opposite side 0.80, the swirl itself with its particles (small size) in disorder by their spacing 0.95.

    ## Starting State
    The cone is empty, the opening is 3 cm off its axis and 10 mm above its rim. Angle and hand of the spiral are drawn
    from the seed.

    ## Episode End
    Truncation after 60 steps of 24 ms. No termination, but at a score of 0.7 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s] (of no effect here), `tank_friction`,
    `tool_friction`, `yield_stress` [Pa], `consistency` [Pa s^n], `flow_index`, `matched_weight`, `density_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "fill a cone that stands with a swirl of ice cream from a dispenser that moves"
    success_score = 0.7
    domain = (0.144, 0.144, 0.168)
    cone_number, dispenser_number = 1, 0

    def place(self) -> None:
        self.cone_start = np.array([*PLACE, RIM + STAND + RIM_HEIGHT])
        self.opening_start = self.cone_start + [-AWAY, 0.0, RIM_HEIGHT + GAP + SLACK]
        low = self.opening_start[2] + OPENING - SLACK
        self.keep_inside(0, 0.012, low, low + RISE)

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        reach = [1.6 * CONE.radius, 1.6 * CONE.radius]
        top = self.opening_start[2] + RISE
        return np.array([*(self.middle[:2] - reach), RIM]), np.array([*(self.middle[:2] + reach), top])

    def ghost(self, goal: Mapping[str, np.ndarray]) -> np.ndarray:
        return goal["target"] + self.cone_start
