"""GraspPlastic: two soft fingertips lift a block of plasticine without squeezing it out of shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.tactile import grasp
from pliant.envs.tactile.grasp import LIFT, GraspTask
from pliant.envs.task import Score, Term, positive

CHANGE = 0.002  # change of shape that counts as much as not lifting at all [m]


@dataclass(frozen=True)
class Config(grasp.Config):
    youngs_modulus: float = 3e4  # of the block [Pa]
    yield_stress: float = 600.0  # of the block [Pa]
    force: float = positive(0.1)  # usual force on each gel [N]


class GraspPlastic(GraspTask):
    """
    ## Description
    A block of plasticine (20 x 18 x 22 mm, 3.2 g, 3e4 Pa, which yields at 600 Pa) stands on a table between the two
    fingers of a gripper, tactile sensors with soft pads (18 x 18 x 4 mm) that just touch it. The goal is to lift it by
    2.5 cm without squeezing it out of shape. After grasping of a plastic object in DIFFTACTILE (Si et al. 2024), in SI
    units.

    ## Action Space
    `Box(-1, 1, (7,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the gripper | -1 | 1 | 0.08 m/s |
    | 3-5 | its angular velocity | -1 | 1 | 1 rad/s |
    | 6 | closing of its fingers | -1 | 1 | 0.04 m/s |

    ## Observation Space
    `Box(-10, 10, (60,), float32)`; usual values lie within [-1, 1]. That is `observe="state"`.

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-5 | positions of the fingers relative to their start | 2.5 cm |
    | 6-13 | their orientations (quaternions) | - |
    | 14-16 | centre of the block relative to its start | 2.5 cm |
    | 17-19 | its velocity | 0.1 m/s |
    | 20-43 | its eight corners, relative to its start | 3 cm |
    | 44-46 | from its centre to the goal | 2.5 cm |
    | 47-52 | forces of contact in the fingers' frames | 0.5 N |
    | 53-59 | previous action | - |

    `observe` may also be "markers" (displacements of 136 points of each gel in its camera, 5 pixels), "force" (force
    and torque of contact on each gel, 0.5 N and 5 mN m), "image" (uint8, 48 x 64 x 3 each, "image_0" and "image_1") or
    several joined by "+", a dictionary.

    ## Rewards
    - *lift*: minus the squared distance of the block's centre from the goal, in units of 2.5 cm (`reward` "state" and
      "both").
    - *shape*: minus the change of the block's shape (root mean square over its particles), in units of 2 mm (`reward`
      "state" and "both").
    - *grip_0*, *grip_1*: minus 0.1 (|F| / F* - 1)^2 of the force F on each gel, F* = 0.1 N (`reward` "tactile" and
      "both").
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 less the sum of the
    distance from the goal, in units of that at the start, and of the change of shape, in units of 2 mm; clipped to [0,
    1].

    ## Starting State
    The block stands on the table, up to 2 mm aside along y, the pads 0.2 mm in it. Its modulus and the friction of the
    gels are drawn within 15 % of theirs. All from the seed.

    ## Episode End
    Truncation after 40 steps of 20 ms. No termination, but at the score of success with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `observe`, `reward` ("state", "tactile" or "both"),
    `youngs_modulus`, `yield_stress` [Pa], `density` [kg/m^3], `friction`, `grip_stiffness` [Pa/m], `force` [N],
    `gel_youngs_modulus` [Pa], `gel_poisson_ratio`, `gel_viscosity` [Pa s], `contact_stiffness` [Pa/m], `state_weight`,
    `tactile_weight`, `effort_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "lift a block of plasticine with two soft fingertips and keep its shape"
    success_score = 0.7
    horizon = 40
    Config = Config
    material = "von_mises"

    @property
    def laws(self) -> dict[str, Any]:
        return {"yield_stress": self.config.yield_stress}

    @property
    def color(self) -> tuple[float, float, float]:
        return (0.45, 0.60, 0.78)

    def _change(self) -> f.Feature:
        position = self.scene.position
        return f.ShapeChange("shape", np.arange(len(position)), position)

    def make_state_reward(self) -> list[Term]:
        return [*super().make_state_reward(), Term(self._change(), -0.5 / CHANGE)]

    def make_score(self) -> Score:
        away = f.Distance("away", f.Linear("share", self.to_goal(), np.eye(3) / LIFT))
        change = f.Linear("squeezed", self._change(), np.array([[1.0 / CHANGE]]))
        return Score(f.Total("error", [away, change]), goal=0.0)
