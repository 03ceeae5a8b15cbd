"""BoxOpen: a soft fingertip lifts the lid of a hinged box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.tactile.object_repose import varied_body
from pliant.envs.tactile.tactile_task import RADIUS, TactileConfig, TactileTask, make_mount, still, twists
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.fem.bodies import Attachment, RigidBody
from pliant.sims.fem.scene import GelScene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box

BASE = np.array([0.022, 0.025, 0.02])  # half extents of the box [m]
LID = np.array([0.04, 0.025, 0.003])  # of its lid, which stands out in front [m]
ROUNDING = 0.001  # of the lid's edges [m]
CLEARANCE = 0.0004  # between box and lid [m]
HINGE = np.array([-0.022, 0.0, 2 * BASE[2] + CLEARANCE + LID[2]])  # middle of the hinge's axis, along y [m]
HINGE_STIFFNESS = 4e3  # of each end of the hinge [N/m]
REACH = 0.033  # where the fingertip meets the lid, in front of its middle and clear of the box [m]
DEPTH = 0.0003  # of the fingertip in the lid at the start, before it gives way [m]
SPEED, SPIN = 0.08, 1.5  # of the fingertip [m/s], [rad/s]
ANGLE = np.array([0.6, 1.0])  # to which the lid is to be opened [rad]


@dataclass(frozen=True)
class Config(TactileConfig):
    mass: float = positive(0.04)  # of the lid [kg]
    friction: float = 0.6  # of the lid's surface
    hinge: float = 15.0  # stiffness of the spring that pulls the lid shut [N/m]
    force: float = positive(0.5)  # usual force on the fingertip [N]


class BoxOpen(TactileTask):
    """
    ## Description
    A box (4.4 x 5 x 4 cm) stands fast; its lid (8 x 5 x 0.6 cm, 40 g) turns about a hinge at the back, which is not
    quite rigid, and a spring pulls it shut. In front the lid stands out by 3.4 cm, and a fingertip, a tactile sensor
    with a soft dome, touches it there from below. The goal is to open the lid to an angle drawn from the seed and to
    hold it there. After box opening of DIFFTACTILE (Si et al. 2024), in SI units.

    ## Action Space
    `Box(-1, 1, (6,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the sensor | -1 | 1 | 0.08 m/s |
    | 3-5 | its angular velocity | -1 | 1 | 1.5 rad/s |

    ## Observation Space
    `Box(-10, 10, (27,), float32)`; usual values lie within [-1, 1]. That is `observe="state"`.

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | position of the sensor relative to its start | 5 cm |
    | 3-6 | its orientation (quaternion) | - |
    | 7-9 | velocity of the lid | 0.1 m/s |
    | 10-12 | its angular velocity | 1 rad/s |
    | 13 | its angle | 1 rad |
    | 14 | angle that is missing to the goal | 1 rad |
    | 15-20 | force and torque of contact in the sensor's frame | 1 N, 10 mN m |
    | 21-26 | previous action | - |

    `observe` may also be "markers" (displacements of 136 points of the gel in the sensor's camera, 5 pixels), "force"
    (force and torque of contact, 1 N and 10 mN m), "image" (uint8, 48 x 64 x 3) or several joined by "+", a dictionary.

    ## Rewards
    - *angle*: minus the squared angle that is missing to the goal, in units of 0.5 rad (`reward` "state" and "both").
    - *touch*: minus 0.1 (|F| / F* - 1)^2 of the force F of contact, F* = 0.5 N (`reward` "tactile" and "both").
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 - |a - a*| / |a_0 - a*|,
    clipped to [0, 1], of the lid's angle a, its goal a* and its start a_0.

    ## Starting State
    The lid is shut. The fingertip touches it from below, 0.3 mm deep, up to 3 mm aside. The goal is 0.6 to 1 rad. Mass,
    friction and the closing spring are drawn within 15 % of theirs. All from the seed.

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at the score of success with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `observe`, `reward` ("state", "tactile" or "both"),
    `gel_youngs_modulus` [Pa], `gel_poisson_ratio`, `gel_viscosity` [Pa s], `contact_stiffness` [Pa/m], `mass` [kg],
    `friction`, `hinge` [N/m], `force` [N], `state_weight`, `tactile_weight`, `effort_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "open the hinged lid of a box with a soft fingertip"
    success_score = 0.8
    horizon = 50
    step_time = 0.02
    substeps = {"small": 4, "full": 8}
    Config = Config

    def make_scene(self) -> GelScene:
        config = self.config
        shift = LID[0] - 0.002  # from the lid's middle back to the hinge
        middle = HINGE + [shift, 0.0, 0.0]
        tip = np.array([HINGE[0] + shift + REACH, 0.0, middle[2] - LID[2]])
        self.start = np.asarray(make_mount("sensor", tip - [0.0, 0.0, RADIUS - DEPTH], (0.0, 0.0, 1.0), 0.3).pose)
        sensor = make_mount("sensor", self.start[:3], (0.0, 0.0, 1.0), turn=0.3)
        base = Effector("base", Box(BASE.tolist()), (0.0, 0.0, BASE[2]), friction=0.4, color=(0.55, 0.42, 0.30))
        ends = [Attachment((-shift, y, 0.0), (HINGE + [0.0, y, 0.0]).tolist(), HINGE_STIFFNESS) for y in (-0.02, 0.02)]
        front = (LID[0] - 0.005, 0.0, -LID[2])
        closing = Attachment(front, (middle + front - np.array([0.0, 0.0, 0.004])).tolist(), config.hinge)
        lid = RigidBody(
            "lid",
            Box(LID.tolist(), ROUNDING),
            config.mass,
            position=middle.tolist(),
            friction=config.friction,
            attachments=[*ends, closing],
            color=(0.75, 0.58, 0.40),
        )
        # clear of the box, and below a lid that is wide open
        self.workspace = {0: ((BASE[0] + RADIUS + 0.001, -0.03, 0.0), (0.08, 0.03, 0.08))}
        self.state_bounds = {"body_position": (middle - 0.05, middle + 0.05)}  # at its hinge
        gel = self.make_gel("sensor", self.make_mesh())
        return GelScene([gel], [sensor, base], [lid], contact_stiffness=config.contact_stiffness, contact_damping=2.0)

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": still(twists(SPEED, SPIN), 2)}

    def make_state_observation(self) -> list[Observed]:
        return [
            Observed(f.Rows("sensor", "effector_position", [0], 3), scale=0.05, offset=self.start[:3]),
            Observed(f.Rows("orientation", "effector_orientation", [0], 4)),
            Observed(f.Rows("lid_velocity", "body_velocity", [0], 3), scale=0.1),
            Observed(f.Rows("lid_spin", "body_angular_velocity", [0], 3)),
            Observed(self._angle()),
            Observed(self._missing()),
            Observed(self.force(0, torque=True), scale=np.repeat([self.force_unit, self.torque_unit], 3)),
            Observed(f.Action(self.action_size)),
        ]

    @staticmethod
    def _angle() -> f.Feature:
        return f.Heading(0, (1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))

    def _missing(self) -> f.Feature:
        return f.Offset("missing", self._angle(), "angle")

    def make_state_reward(self) -> list[Term]:
        return [Term(f.SquaredNorm("angle", self._missing()), -4.0)]

    def make_tactile_reward(self) -> list[Term]:
        return [Term(f.Excess("touch", self.force(0), self.config.force), -0.1)]

    def make_score(self) -> Score:
        return Score(f.Distance("error", self._missing()), goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"angle": np.array([rng.uniform(*ANGLE)])}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        position = np.array([e.pose[:3] for e in self.scene.effectors])
        position[0, :2] += rng.uniform(-0.003, 0.003, 2)
        return {"effector_position": position}

    def make_parameters(self, rng: np.random.Generator) -> dict[str, Any]:
        springs = np.array([a.stiffness for a in self.scene.bodies[0].attachments])
        springs[-1] *= 1.0 + 0.15 * rng.uniform(-1.0, 1.0)
        return varied_body(self.scene, rng) | {"attachment_stiffness": springs}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([-0.05, -0.05, 0.0]), np.array([0.08, 0.05, 0.10])
