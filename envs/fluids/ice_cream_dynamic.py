"""IceCreamDynamic: fill a cone with a swirl of ice cream, by moving the cone under a dispenser that stands."""

from __future__ import annotations

import numpy as np

from pliant.envs.fluids.fluid_task import RIM
from pliant.envs.fluids.ice_cream import GAP, RIM_HEIGHT, RISE, SLACK, IceCream

CLEARANCE = 0.012  # of the cone to the tank [m]
OPENING_AT = (0.0877, 0.0845)  # the opening, from above, off the nodes of the grid [m]
AWAY = 0.024  # of the cone's axis from the opening at the start [m]
OUTER = 0.042  # radius of the cone's rim outside [m]


class IceCreamDynamic(IceCream):
    """
    ## Description
    A dispenser that stands lets out ice cream (a Herschel-Bulkley paste) at a constant rate above a cone that moves,
    5.4 cm wide and 3.9 cm deep inside. The goal is to fill the cone and to lay a spiral on it, a coil and a quarter of
    a strand 1.5 cm thick. After the IceCreamDynamic task of FluidLab (Xian et al. 2023), in SI units; the swirl is made
    by a formula.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the cone | -1 | 1 | 0.25 m/s |

    The cone stays clear of the tank, and its rim 9 to 45 mm below the opening. The flow is no action: the dispenser
    opens after 2 steps and closes after 52.

    ## Observation Space
    `Box(-10, 10, (80,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the ice cream that is out, relative to the opening | 5 cm |
    | 3-5 | its mean velocity | 0.25 m/s |
    | 6-65 | maps of it from y and from x in the cone's frame, 5 x 6 nodes 2.4 cm apart each: its thickness | 3 cm |
    | 66-68 | position of the cone, relative to the opening | 5 cm |
    | 69-71 | where what is dispensed now belongs, relative to the cone | 5 cm |
    | 72-74 | cos and sin of the angle at which the spiral begins; 1 if it rises counter-clockwise, else -1 | - |
    | 75-77 | previous action (the cone's velocity) | - |
    | 78-79 | sin and cos of pi t / T | - |

    ## Rewards
    - *matched*: minus the mean distance of the ice cream's particles that are out from their places in the swirl, which
      moves with the cone, in units of 2.7 cm, the cone's radius. Places are given away along one spiral, in the cone
      and on it, in the order of dispensing, and among those that leave the opening together by the side on which they
      leave it: a paste stays where it is laid.
    - *density*: minus the mismatch of ice cream and swirl on nodes 9 mm apart, 0 (reached) to 1 (disjoint).

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the intersection over union
    of both on the same nodes, in [0, 1]. For scale: a cone that is just full has 0.62, a swirl that begins on the
    opposite side 0.80, the swirl itself with its particles (small size) in disorder by their spacing 0.95.

    ## Starting State
    The cone is empty, its axis is 2.4 cm off the opening and its rim 10 mm below it. Angle and hand of the spiral are
    drawn from the seed.

    ## Episode End
    Truncation after 60 steps of 24 ms. No termination, but at a score of 0.65 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s] (of no effect here), `tank_friction`,
    `tool_friction`, `yield_stress` [Pa], `consistency` [Pa s^n], `flow_index`, `matched_weight`, `density_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "fill a cone with a swirl of ice cream by moving it under a dispenser"
    success_score = 0.65
    domain = (0.204, 0.168, 0.174)
    cone_number, dispenser_number = 0, 1

    def place(self) -> None:
        low = RIM + CLEARANCE + RIM_HEIGHT
        self.opening_start = np.array([*OPENING_AT, low + RISE + RIM_HEIGHT + GAP])
        self.picture_top = self.opening_start[2]
        self.cone_start = self.opening_start + [AWAY, 0.0, -RIM_HEIGHT - GAP - SLACK]
        self.keep_inside(0, OUTER + CLEARANCE, low, low + RISE)
