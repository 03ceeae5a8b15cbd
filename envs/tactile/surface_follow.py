"""SurfaceFollow: a soft fingertip slides along an unknown surface and presses on it evenly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.tactile.tactile_task import RADIUS, TactileConfig, TactileTask, looking, make_mount, still, twists
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.fem.scene import GelScene
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Capsule

HILL = 0.08  # radius of the hill [m]
TOP = 0.08  # height of its ridge [m]
DEPTH = 0.0005  # of the fingertip in the hill at the start, before it gives way [m]
DEEPEST = 0.0025  # of the sensor's lowest place, below that at which its tip touches the top [m]
SPEED, SPIN = 0.06, 0.5  # of the fingertip [m/s], [rad/s]
WAY = 0.03  # along the surface [m]
STEPS = 50
UNIT = 0.01  # of distances in the reward [m]
SHIFT = 0.012  # of the hill from the start to either side [m]
TILT = 0.08  # of its ridge [rad]
TURN = 0.5  # of its ridge about the vertical [rad]


@dataclass(frozen=True)
class Config(TactileConfig):
    friction: float = 0.4  # of the hill
    force: float = positive(0.6)  # wanted force along the fingertip's axis [N]


class SurfaceFollow(TactileTask):
    """
    ## Description
    A tactile sensor with a soft dome (3 cm wide, 1e5 Pa) hangs above a long round hill, whose place, direction and
    slope are not known. The goal is to slide 3 cm along x, y staying as it was, with a constant force of contact. After
    surface following of DIFFTACTILE (Si et al. 2024), in SI units, on a surface that the seed decides.

    ## Action Space
    `Box(-1, 1, (6,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the sensor | -1 | 1 | 0.06 m/s |
    | 3-5 | its angular velocity | -1 | 1 | 0.5 rad/s |

    ## Observation Space
    `Box(-10, 10, (19,), float32)`; usual values lie within [-1, 1]. That is `observe="state"`.

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | position of the sensor relative to its start | 3 cm |
    | 3-6 | its orientation (quaternion) | - |
    | 7-8 | from the sensor to where it should be now, along x and y | 1 cm |
    | 9-11 | force of contact in the sensor's frame | 1 N |
    | 12-17 | previous action | - |
    | 18 | force wanted | 1 N |

    `observe` may also be "markers" (displacements of 136 points of the gel in the sensor's camera, 5 pixels), "force"
    (force and torque of contact, 1 N and 10 mN m), "image" (uint8, 48 x 64 x 3) or several joined by "+", a dictionary.

    ## Rewards
    - *path*: minus the squared distance, along x and y, of the sensor from where it should be now, in cm (`reward`
      "state" and "both").
    - *pressure*: minus (|F| / F* - 1)^2 of the force F of contact (`reward` "tactile" and "both").
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 less the sum of the errors
    so far, distance in cm plus ||F| / F* - 1|, over what a sensor that stays at its start would have.

    ## Starting State
    The hill's ridge passes below the sensor, up to 1.2 cm aside, turned by up to 0.5 rad from x and tilted by up to
    0.08 rad, all drawn from the seed. The sensor looks down and
    touches the hill, half a millimetre deep.

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at the score of success with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `observe`, `reward` ("state", "tactile" or "both"),
    `gel_youngs_modulus` [Pa], `gel_poisson_ratio`, `gel_viscosity` [Pa s], `contact_stiffness` [Pa/m], `friction`,
    `force` [N], `state_weight`, `tactile_weight`, `effort_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "slide a soft fingertip along an unknown surface with a constant force"
    success_score = 0.8
    horizon = STEPS
    step_time = 0.02
    substeps = {"small": 2, "full": 4}
    Config = Config

    def make_scene(self) -> GelScene:
        config = self.config
        sensor = make_mount("sensor", (0.0, 0.0, TOP + RADIUS - DEPTH), (0.0, 0.0, -1.0), turn=0.3)
        self.start = np.asarray(sensor.pose)
        hill = Effector(
            "hill",
            Capsule(HILL, 0.2),
            self._hill(0.0, 0.0, 0.0)[0].tolist(),
            friction=config.friction,
            color=(0.55, 0.62, 0.5),
        )
        # the fingertip cannot be pressed deeper than a gel bears
        self.workspace = {0: ((-0.05, -0.05, TOP + RADIUS - DEEPEST), (0.05, 0.05, TOP + RADIUS + 0.03))}
        gel = self.make_gel("sensor", self.make_mesh())
        return GelScene([gel], [sensor, hill], contact_stiffness=config.contact_stiffness, contact_damping=1.0)

    @staticmethod
    def _hill(shift: float, turn: float, tilt: float) -> tuple[np.ndarray, np.ndarray]:
        """Position and quaternion of a hill whose surface is at z = TOP under the origin."""
        axis = np.array([np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.sin(tilt)])
        side = np.cross([0.0, 0.0, 1.0], axis)
        side /= np.linalg.norm(side)
        up = np.cross(axis, side)
        # the point of the surface over the origin is at HILL from the axis: its foot is `shift` aside
        height = np.sqrt(HILL**2 - shift**2)
        return np.array([0.0, 0.0, TOP]) - shift * side - height * up / up[2], looking(axis)

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": still(twists(SPEED, SPIN), 2)}

    def make_state_observation(self) -> list[Observed]:
        place = f.Rows("sensor", "effector_position", [0], 3)
        flat = f.Linear("place", place, np.eye(3)[:2])
        return [
            Observed(place, scale=WAY, offset=self.start[:3]),
            Observed(f.Rows("orientation", "effector_orientation", [0], 4)),
            Observed(f.PathOffset("to_path", flat, "path"), scale=UNIT),
            Observed(self.force(0)),
            Observed(f.Action(self.action_size)),
            Observed(f.GoalValue("force", 1)),
        ]

    def _offset(self) -> f.Feature:
        place = f.Rows("sensor", "effector_position", [0], 3)
        return f.PathOffset("path", f.Linear("place", place, np.eye(3)[:2] / UNIT), "path_in_cm")

    def make_state_reward(self) -> list[Term]:
        return [Term(f.SquaredNorm("path", self._offset()), -2.0)]

    def make_tactile_reward(self) -> list[Term]:
        return [Term(f.Excess("pressure", self.force(0), "force"), -1.0)]

    def make_score(self) -> Score:
        path = f.Distance("path_error", self._offset())
        force = f.Deviation("force_error", self.force(0), "force")
        untouched = f.Total("untouched", [f.Distance("way", f.PathValue("way_in_cm", 2)), f.Constant("no_force", 1.0)])
        return Score(f.Total("error", [path, force]), goal=0.0, relative_to=untouched)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        # ahead of the sensor's start: it has to come down first
        share = np.clip((np.arange(STEPS + 1) - 5) / (STEPS - 10), 0.0, 1.0)
        way = WAY * np.stack([share, np.zeros(STEPS + 1)], axis=1)
        return {
            "path": self.start[:2] + way,
            "path_in_cm": (self.start[:2] + way) / UNIT,
            "way_in_cm": way / UNIT,
            "force": np.array(self.config.force),
        }

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shift, turn, tilt = rng.uniform(-SHIFT, SHIFT), rng.uniform(-TURN, TURN), rng.uniform(-TILT, TILT)
        position, orientation = self._hill(shift, turn, tilt)
        # the dome is to reach DEPTH into the hill where that is nearest
        lift = RADIUS + HILL - DEPTH - np.linalg.norm(self._from_axis(position, orientation, TOP + RADIUS))
        sensor = self.start[:3] + [0.0, 0.0, lift * HILL / np.sqrt(HILL**2 - shift**2)]
        return {
            "effector_position": np.stack([sensor, position]),
            "effector_orientation": np.stack([self.start[3:], orientation]),
        }

    @staticmethod
    def _from_axis(position: np.ndarray, orientation: np.ndarray, height: float) -> np.ndarray:
        """From the hill's axis to the point (0, 0, height)."""
        axis = matrix_of_quaternion(orientation)[:, 2]
        arm = np.array([0.0, 0.0, height]) - position
        return arm - axis * (axis @ arm)

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([-0.06, -0.06, 0.04]), np.array([0.06, 0.06, 0.12])

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"markers": [(np.array([*goal["path"][-1], TOP]), 0.002, (0.2, 0.6, 0.3))]}
