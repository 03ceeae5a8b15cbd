"""ObjectRepose: a soft fingertip turns a block upright against a wall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.clearance import Clearance
from pliant.envs.tactile.tactile_task import RADIUS, TactileConfig, TactileTask, make_mount, still, twists
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.fem.bodies import RigidBody
from pliant.sims.fem.scene import GelScene
from pliant.sims.math.rotation_host import matrix_of_quaternion, quaternion_of_matrix
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box, HalfSpace

HALF = np.array([0.03, 0.012, 0.01])  # half extents of the block [m]
ROUNDING = 0.002  # of its edges [m]
LEAN = np.array([0.5, 0.7])  # its angle to the table at the start [rad]
GAP = 0.0006  # between fingertip and block at the start [m]
ALONG = 0.020  # where the fingertip meets the block, from its middle towards the free end [m]
DEEPEST = 0.003  # of the sensor's nearest place to the wall, beyond where its tip touches the block [m]
SPEED, SPIN = 0.06, 1.0  # of the fingertip [m/s], [rad/s]
UPRIGHT = np.pi / 2


@dataclass(frozen=True)
class Config(TactileConfig):
    mass: float = positive(0.05)  # of the block [kg]
    friction: float = 0.8  # of the block's surface
    floor_friction: float = 0.5  # of table and wall
    force: float = positive(0.6)  # usual force on the fingertip [N]


class ObjectRepose(TactileTask):
    """
    ## Description
    A block (60 x 24 x 20 mm, 50 g) leans with one end in the corner of a table and a wall; the other end lies on a
    fingertip, a tactile sensor with a soft dome. The goal is to turn the block upright against the wall, with one
    contact. After object reposing of DIFFTACTILE (Si et al. 2024), in SI units; here gradients go through all steps.

    ## Action Space
    `Box(-1, 1, (6,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the sensor | -1 | 1 | 0.06 m/s |
    | 3-5 | its angular velocity | -1 | 1 | 1 rad/s |

    The rim of the sensor's mount is kept clear of table and wall, however it is turned.

    ## Observation Space
    `Box(-10, 10, (33,), float32)`; usual values lie within [-1, 1]. That is `observe="state"`.

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | position of the sensor relative to the corner | 5 cm |
    | 3-6 | its orientation (quaternion) | - |
    | 7-9 | position of the block relative to the corner | 5 cm |
    | 10-13 | its orientation (quaternion) | - |
    | 14-16 | its velocity | 0.1 m/s |
    | 17-19 | its angular velocity | 1 rad/s |
    | 20 | its angle to the table | 1 rad |
    | 21-26 | force and torque of contact in the sensor's frame | 1 N, 10 mN m |
    | 27-32 | previous action | - |

    `observe` may also be "markers" (displacements of 136 points of the gel in the sensor's camera, 5 pixels), "force"
    (force and torque of contact, 1 N and 10 mN m), "image" (uint8, 48 x 64 x 3) or several joined by "+", a dictionary.

    ## Rewards
    - *angle*: minus the squared angle that is missing to upright [rad] (`reward` "state" and "both").
    - *touch*: minus (|F| / F* - 1)^2 of the force F of contact, F* = 0.6 N (`reward` "tactile" and "both").
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the angle
    between the start and upright that is gained.

    ## Starting State
    The block leans at 0.5 to 0.7 rad, turned by up to 0.05 rad about the vertical, its lower end near the corner. The
    fingertip is 0.6 mm below it, near its upper end. Mass and friction of the block are drawn within 15 % of theirs.
    All from the seed.

    ## Episode End
    Truncation after 60 steps of 20 ms. No termination, but at the score of success with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `observe`, `reward` ("state", "tactile" or "both"),
    `gel_youngs_modulus` [Pa], `gel_poisson_ratio`, `gel_viscosity` [Pa s], `contact_stiffness` [Pa/m], `mass` [kg],
    `friction`, `floor_friction`, `force` [N], `state_weight`, `tactile_weight`, `effort_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "turn a block upright against a wall with a soft fingertip"
    success_score = 0.8
    horizon = 60
    step_time = 0.02
    substeps = {"small": 4, "full": 8}
    Config = Config

    def make_scene(self) -> GelScene:
        config = self.config
        angle = float(LEAN.mean())
        position, orientation = self._lean(angle, 0.0)
        sensor, axis = self._below(position, orientation)
        floor = {"friction": config.floor_friction, "color": (0.62, 0.60, 0.56)}
        effectors = [
            make_mount("sensor", sensor, axis, turn=0.3),
            Effector("table", HalfSpace(), (0.0, 0.0, 0.0), **floor),
            Effector("wall", HalfSpace(), (0.0, 0.0, 0.0), orientation=(1.0, 0.0, 1.0, 0.0), **floor),
        ]
        block = RigidBody(
            "block",
            Box(HALF.tolist(), ROUNDING),
            config.mass,
            position=position.tolist(),
            orientation=orientation.tolist(),
            friction=config.friction,
        )
        # an upright block is not to be squeezed against the wall
        self.workspace = {0: ((2 * HALF[2] + RADIUS - DEEPEST, -0.04, 0.006), (0.12, 0.04, 0.09))}
        table_and_wall = [((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))]
        self.clearances = {0: Clearance(table_and_wall, RADIUS, gap=3e-4, depth=0.003)}
        self.state_bounds = {"body_position": ((0.0, -0.1, 0.0), (0.15, 0.1, 0.15))}
        gel = self.make_gel("sensor", self.make_mesh())
        return GelScene([gel], effectors, [block], contact_stiffness=config.contact_stiffness, contact_damping=2.0)

    @staticmethod
    def _lean(angle: float, turn: float) -> tuple[np.ndarray, np.ndarray]:
        """Position and quaternion of a block at an angle to the table, its lower end just clear of table and wall."""
        c, s = np.cos(angle), np.sin(angle)
        pitch = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
        yaw = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
        R = yaw @ pitch
        core = HALF - ROUNDING
        corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * core @ R.T
        low = corners.min(axis=0) - ROUNDING
        return np.array([-low[0] + 2e-4, 0.0, -low[2] + 1e-5]), quaternion_of_matrix(R)

    @staticmethod
    def _below(position: np.ndarray, orientation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the sensor's base is and where it looks, so that its tip is GAP below the block."""
        R = matrix_of_quaternion(np.asarray(orientation))
        axis = R[:, 2]
        return position + R @ [ALONG, 0.0, -HALF[2]] - axis * (RADIUS + GAP), axis

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": still(twists(SPEED, SPIN), 3)}

    def make_state_observation(self) -> list[Observed]:
        return [
            Observed(f.Rows("sensor", "effector_position", [0], 3), scale=0.05),
            Observed(f.Rows("orientation", "effector_orientation", [0], 4)),
            Observed(f.Rows("block", "body_position", [0], 3), scale=0.05),
            Observed(f.Rows("block_orientation", "body_orientation", [0], 4)),
            Observed(f.Rows("block_velocity", "body_velocity", [0], 3), scale=0.1),
            Observed(f.Rows("block_spin", "body_angular_velocity", [0], 3)),
            Observed(self._angle()),
            Observed(self.force(0, torque=True), scale=np.repeat([self.force_unit, self.torque_unit], 3)),
            Observed(f.Action(self.action_size)),
        ]

    @staticmethod
    def _angle() -> f.Feature:
        return f.Heading(0, (1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))

    def make_state_reward(self) -> list[Term]:
        return [Term(f.SquaredNorm("angle", f.Offset("missing", self._angle(), "upright")), -1.0)]

    def make_tactile_reward(self) -> list[Term]:
        return [Term(f.Excess("touch", self.force(0), self.config.force), -0.1)]

    def make_score(self) -> Score:
        return Score(self._angle(), goal=UPRIGHT)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"upright": np.array([UPRIGHT])}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        position, orientation = self._lean(rng.uniform(*LEAN), rng.uniform(-0.05, 0.05))
        sensor, axis = self._below(position, orientation)
        mount = make_mount("sensor", sensor, axis, turn=0.3).pose
        poses = np.array([e.pose for e in self.scene.effectors])
        poses[0] = mount
        return {
            "effector_position": poses[:, :3],
            "effector_orientation": poses[:, 3:],
            "body_position": position[None],
            "body_orientation": orientation[None],
        }

    def make_parameters(self, rng: np.random.Generator) -> dict[str, Any]:
        return varied_body(self.scene, rng)

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([-0.005, -0.05, -0.01]), np.array([0.09, 0.05, 0.08])


def varied_body(scene: GelScene, rng: np.random.Generator, spread: float = 0.15) -> dict[str, Any]:
    """Mass, with it the inertia, and friction of the bodies, within a share of the scene's."""
    factors = 1.0 + spread * rng.uniform(-1.0, 1.0, (2, len(scene.bodies)))
    return {
        "body_mass": factors[0] * [body.mass for body in scene.bodies],
        "body_inertia": factors[0][:, None] * [body.inertia for body in scene.bodies],
        "body_friction": factors[1] * [body.friction for body in scene.bodies],
    }
