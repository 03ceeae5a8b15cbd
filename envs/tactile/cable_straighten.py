"""CableStraighten: a gripper with soft fingertips straightens a cable that lies on a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.gripper import Gripper
from pliant.envs.rods.cables import CableConfig, make_rod, polyline
from pliant.envs.tactile.tactile_task import TactileConfig, TactileTask, looking
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.fem.grip import GripScene
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.math.rotation_host import quaternion_of_matrix
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Grip
from pliant.sims.rod.scene import RodScene
from pliant.sims.shapes.shapes import Box, Capsule, HalfSpace

COUNT, LENGTH, RADIUS = 12, 0.165, 0.004  # vertices of the cable, its length and radius [m]
PAD = {"small": (6, 4, 2), "full": (10, 6, 3)}  # cells of a pad along its sides and in depth
WIDTH, HEIGHT, THICK = 0.018, 0.010, 0.004  # of a pad [m]
CLEAR = 0.001  # between the pads' lower edge and the table [m]
OVERLAP = 3e-4  # of each pad and the cable at the start [m]
HELD = 9  # the pads' middle is at the edge from this vertex on
BEND = np.array([0.9, 1.5])  # by which the cable turns from its clamped end to its free one [rad]
SPEED, SPIN, CLOSING = 0.15, (0.0, 0.0, 2.0), 0.02  # [m/s], [rad/s], [m/s]; else the pads would meet the table
UNIT = 0.02  # of distances in the reward [m]


@dataclass(frozen=True)
class Config(TactileConfig, CableConfig):
    bend_stiffness: float = 1e-4  # of the cable, about both axes [N m^2]
    twist_stiffness: float = 1e-4  # of the cable [N m^2]
    linear_density: float = positive(0.08)  # mass per length [kg/m]
    gel_youngs_modulus: float = positive(3e4)  # of the gels [Pa]
    gel_viscosity: float = 2.0  # of the gels [Pa s]
    contact_stiffness: float = positive(1e7)  # pressure per depth between gels and the table [Pa/m]
    friction: float = 0.8  # of the gels against the cable
    table_friction: float = 0.3  # of the table
    grip_stiffness: float = positive(1e7)  # pressure per depth between gels and cable [Pa/m]
    force: float = positive(0.15)  # usual force on each gel [N]


class CableStraighten(TactileTask):
    """
    ## Description
    A bent cable (16.5 cm long, 8 mm thick, 13 g) lies on a table. One end is clamped; near the other the two fingers of
    a gripper hold it, tactile sensors with soft pads (18 x 10 x 4 mm). The goal is to straighten it along x, and to
    keep the grip gentle. After cable straightening of DIFFTACTILE (Si et al. 2024), in SI units.

    ## Action Space
    `Box(-1, 1, (7,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the gripper | -1 | 1 | 0.15 m/s |
    | 3-4 | not used: about x and y the gripper does not turn | -1 | 1 | - |
    | 5 | its angular velocity about z | -1 | 1 | 2 rad/s |
    | 6 | closing of its fingers | -1 | 1 | 0.02 m/s |

    ## Observation Space
    `Box(-10, 10, (93,), float32)`; usual values lie within [-1, 1]. That is `observe="state"`.

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-5 | positions of the fingers | 10 cm |
    | 6-13 | their orientations (quaternions) | - |
    | 14-49 | vertices of the cable | 10 cm |
    | 50-79 | from its ten free vertices to where they are to be | 5 cm |
    | 80-85 | forces of contact in the fingers' frames | 0.5 N |
    | 86-92 | previous action | - |

    `observe` may also be "markers" (displacements of 136 points of each gel in its camera, 5 pixels), "force" (force
    and torque of contact on each gel, 0.5 N and 5 mN m), "image" (uint8, 48 x 64 x 3 each, "image_0" and "image_1") or
    several joined by "+", a dictionary.

    ## Rewards
    - *shape*: minus the mean distance of the free vertices from where they are to be, in units of 2 cm (`reward`
      "state" and "both").
    - *grip_0*, *grip_1*: minus 0.1 (|F| / F* - 1)^2 of the force F on each gel, F* = 0.15 N (`reward` "tactile" and
      "both").
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 - d / d_0, clipped to [0,
    1]: d is the mean distance of the free vertices from the straight line, d_0 that at the start.

    ## Starting State
    The cable is an arc that turns by 0.9 to 1.5 rad from its clamped end to its free one, to either side, drawn from
    the seed; the pads hold it, each 0.3 mm deep. Its stiffnesses and the friction of the gels are drawn within 15 % of
    theirs.

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at the score of success with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `observe`, `reward` ("state", "tactile" or "both"),
    `bend_stiffness`, `twist_stiffness` [N m^2], `linear_density` [kg/m], `relaxation_time` [s], `drag` [1/s],
    `self_contact`, `friction`, `table_friction`, `grip_stiffness` [Pa/m], `force` [N], `gel_youngs_modulus` [Pa],
    `gel_poisson_ratio`, `gel_viscosity` [Pa s], `contact_stiffness` [Pa/m], `state_weight`, `tactile_weight`,
    `effort_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "straighten a cable that lies on a table with two soft fingertips"
    success_score = 0.8
    horizon = 50
    step_time = 0.02
    substeps = {"small": 360, "full": 600}
    Config = Config
    force_unit = 0.5
    torque_unit = 0.005

    def make_mesh(self) -> GelMesh:
        return pad_mesh((WIDTH, HEIGHT), THICK, PAD[self.resolution], grading=(1.0, 1.0))

    @staticmethod
    def _arc(bend: float) -> np.ndarray:
        """Vertices of a cable on the table that begins along x and turns by ``bend`` [rad], (n, 3) [m]."""
        edge = LENGTH / (COUNT - 1)
        angle = np.concatenate([[0.0], bend * (np.arange(COUNT - 2) + 1.0) / (COUNT - 2)])
        steps = edge * np.stack([np.cos(angle), np.sin(angle), np.zeros(COUNT - 1)], axis=1)
        return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)]) + [0.0, 0.0, RADIUS + 2e-4]

    @staticmethod
    def _fingers(position: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Positions and quaternions of the two pads at the edge that they hold."""
        along = position[HELD + 1] - position[HELD]
        along /= np.linalg.norm(along)
        side = np.array([-along[1], along[0], 0.0])
        middle = (position[HELD] + position[HELD + 1]) / 2
        middle[2] = HEIGHT / 2 + CLEAR
        out = RADIUS + THICK - OVERLAP
        up = np.array([0.0, 0.0, 1.0])
        poses = []
        for sign in (1.0, -1.0):
            # z looks at the cable; the pad's long side lies along it
            z = -sign * side
            turn = np.stack([np.cross(up, z), up, z], axis=1)
            poses.append((middle + sign * out * side, quaternion_of_matrix(turn)))
        return poses

    def make_scene(self) -> GripScene:
        config = self.config
        position = self._arc(float(BEND.mean()))
        rod = make_rod(position, config, RADIUS)
        poses = self._fingers(position)
        fingers = [
            Effector(
                name,
                Box((WIDTH / 2, HEIGHT / 2, 0.002)),
                place.tolist(),
                orientation=turn.tolist(),
                color=(0.25, 0.27, 0.30),
            )
            for name, (place, turn) in zip(("left", "right"), poses, strict=True)
        ]
        first = (position[0] + position[1]) / 2
        clamp = Effector("clamp", Capsule(0.006, 0.005), first.tolist(), orientation=looking((1.0, 0.0, 0.0)).tolist())
        table = Effector(
            "table", HalfSpace(), (0.0, 0.0, 0.0), friction=config.table_friction, color=(0.62, 0.60, 0.56)
        )
        matter = RodScene(rod, grips=[Grip([0, 1], "clamp")], effectors=[*fingers, table, clamp])
        straight = position[0] + np.arange(COUNT)[:, None] * np.array([LENGTH / (COUNT - 1), 0.0, 0.0])
        self.straight, self.free = straight, np.arange(2, COUNT)
        self.gripper = Gripper(
            (0, 1),
            SPEED,
            SPIN,
            CLOSING,
            (2 * (THICK + RADIUS) - 0.0014, 2 * (THICK + RADIUS) + 0.02),
            ((-0.05, -0.2, HEIGHT / 2 + 5e-4), (0.3, 0.2, 0.1)),
        )
        mesh = self.make_mesh()
        gels = [self.make_gel("left", mesh), self.make_gel("right", mesh)]
        return GripScene(
            matter,
            gels,
            stiffness=config.grip_stiffness,
            friction=config.friction,
            contact_stiffness=config.contact_stiffness,
            touched=["table"],
        )

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": np.zeros((24, Gripper.action_size))}

    def make_state_observation(self) -> list[Observed]:
        return [
            Observed(f.Rows("fingers", "effector_position", [0, 1], 3), scale=0.1),
            Observed(f.Rows("orientations", "effector_orientation", [0, 1], 4)),
            Observed(f.Rows("vertices", "position", np.arange(COUNT), 3), scale=0.1),
            Observed(f.ToTarget(self.free, "straight"), scale=0.05),
            Observed(self.force(0), scale=self.force_unit),
            Observed(self.force(1), scale=self.force_unit),
            Observed(f.Action(self.action_size)),
        ]

    def make_state_reward(self) -> list[Term]:
        return [Term(f.MeanDistance(self.free, "straight", smoothing=0.002), -1.0 / UNIT)]

    def make_tactile_reward(self) -> list[Term]:
        return [Term(f.Excess(f"grip_{g}", self.force(g), self.config.force), -0.1) for g in (0, 1)]

    def make_score(self) -> Score:
        return Score(f.MeanDistance(self.free, "straight"), goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"straight": self.straight}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        position = self._arc(rng.uniform(*BEND) * rng.choice([-1.0, 1.0]))
        poses = np.array([effector.pose for effector in self.scene.effectors])
        poses[:2] = [np.concatenate(pose) for pose in self._fingers(position)]
        return {"position": position, "effector_position": poses[:, :3], "effector_orientation": poses[:, 3:]}

    def make_parameters(self, rng: np.random.Generator) -> dict[str, Any]:
        factor = 1.0 + 0.15 * rng.uniform(-1.0, 1.0, 2)
        rod = self.scene.matter.rod
        return {
            "bend_stiffness": rod.column("bend_stiffness") * factor[0],
            "twist_stiffness": rod.column("twist_stiffness") * factor[0],
            "grip_friction": np.full(2, self.config.friction * factor[1]),
        }

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([-0.02, -0.11, 0.0]), np.array([0.18, 0.11, 0.05])

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": polyline(goal["straight"], self.scene.matter.rod.tree, RADIUS), "ghost_opacity": 0.4}
