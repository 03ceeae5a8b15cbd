"""GraspElastic: two soft fingertips lift an elastic block without letting it slip."""

from __future__ import annotations

from pliant.envs.tactile.grasp import GraspTask


class GraspElastic(GraspTask):
    """
    ## Description
    An elastic block (20 x 18 x 22 mm, 3.2 g, 2e4 Pa) stands on a table between the two fingers of a gripper, tactile
    sensors with soft pads (18 x 18 x 4 mm) that just touch it. The goal is to lift it by 2.5 cm and to hold it there.
    The block is made of particles; gels and block press on each other with friction. After grasping of an elastic
    object in DIFFTACTILE (Si et al. 2024), in SI units.

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
    - *grip_0*, *grip_1*: minus 0.1 (|F| / F* - 1)^2 of the force F on each gel, F* = 0.25 N (`reward` "tactile" and
      "both").
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the block's
    distance from the goal that has been closed.

    ## Starting State
    The block stands on the table, up to 2 mm aside along y, the pads 0.2 mm in it. Its modulus and the friction of the
    gels are drawn within 15 % of theirs. All from the seed.

    ## Episode End
    Truncation after 40 steps of 20 ms. No termination, but at the score of success with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `observe`, `reward` ("state", "tactile" or "both"),
    `youngs_modulus` [Pa], `density` [kg/m^3], `friction`, `grip_stiffness` [Pa/m], `force` [N], `gel_youngs_modulus`
    [Pa], `gel_poisson_ratio`, `gel_viscosity` [Pa s], `contact_stiffness` [Pa/m], `state_weight`, `tactile_weight`,
    `effort_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "lift an elastic block with two soft fingertips"
    success_score = 0.8
    horizon = 40

    @property
    def color(self) -> tuple[float, float, float]:
        return (0.80, 0.45, 0.35)
