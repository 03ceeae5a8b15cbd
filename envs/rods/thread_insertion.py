"""ThreadInsertion: pass the free end of a cable through a ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pliant.envs import features as f
from pliant.envs.rods.cables import CableConfig, gripper, hanging_shape, make_rod, touching, turned
from pliant.envs.rods.settling import Settler
from pliant.envs.task import Observed, Score, Task, Term
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Grip
from pliant.sims.rod.scene import RodScene
from pliant.sims.shapes.shapes import Torus

if TYPE_CHECKING:
    from pliant.envs.arms.mounts import Mount
    from pliant.sims.robot.kinematics import Chain

EDGES = np.array([0.04] + [0.12] * 6 + [0.04] + [0.015] * 12)  # of the cable, from the left gripper to the tip [m]
LEFT, RIGHT = [0, 1], [7, 8]  # vertices that the grippers hold
TIP = len(EDGES)
SPAN, HEIGHT = 0.32, 0.5  # between the grippers' vertices 1 and 7 at the start, and of them [m]
RADIUS = 0.004  # of the cable [m]
RING, TUBE = 0.032, 0.01  # radii of the ring's centre line and of its tube [m]
DEPTH = 0.06  # that the tip is to be beyond the ring's plane [m]
CONTACT = 3000.0  # stiffness of contact [N/m]
NEAR, FAR = np.array([0.08, -0.06, -0.06]), np.array([0.15, 0.06, 0.06])  # of the ring from the tip at the start [m]
TILT = 0.5  # largest of the ring's axis from x, about y and about z [rad]
SPEEDS, SPIN = (0.05, 0.12), 1.0  # of the grippers [m/s], [rad/s]; no episode is long enough to tear the cable
UNIT = 0.1  # of distances in the reward [m]
ALONG_X = np.array([np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0])  # turns z to x


@dataclass(frozen=True)
class Config(CableConfig):
    bend_stiffness: float = 6e-3  # [N m^2]
    twist_stiffness: float = 4e-3  # [N m^2]
    friction: float = 0.3  # coefficient of friction of the ring
    way_weight: float = 1.0  # weight of *way*
    aside_weight: float = 0.5  # weight of *aside*
    collision_weight: float = 0.1  # weight of *collision*
    effort_weight: float = 0.02  # weight of *action_cost*


class ThreadInsertion(Task):
    """
    ## Description
    Two grippers hold a cable (98 cm long, 8 mm thick), one its end, the other a place 18 cm from the tip, which is
    free. The goal is to pass the tip through a ring (4.4 cm wide inside) to 6 cm beyond. The ring is solid: the cable
    touches it and is bent by it. Passing is tested on the cable itself, which must cross the ring's plane inside the
    ring; going around the ring does not count. The floor in pictures is 0.5 m below the grippers' start. After the
    thread insertion of DEFT (Chen et al. 2025).

    ## Action Space
    `Box(-1, 1, (12,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the left gripper | -1 | 1 | 0.05 m/s |
    | 3-5 | its angular velocity | -1 | 1 | 1 rad/s |
    | 6-8 | velocity of the right gripper, the one near the tip | -1 | 1 | 0.12 m/s |
    | 9-11 | its angular velocity | -1 | 1 | 1 rad/s |

    ## Observation Space
    `Box(-10, 10, (111,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-62 | vertices, relative to the right gripper at the start | 0.3 m |
    | 63-74 | velocities of four vertices, the tip last | 0.5 m/s |
    | 75-83 | positions of the grippers and the ring, relative to the same point | 0.3 m |
    | 84-95 | their orientations (quaternions) | - |
    | 96-98 | mean force on the ring | 1 N |
    | 99-110 | previous action | - |

    ## Rewards
    - *way*: minus the way left to the tip, in units of 10 cm: to the opening, and between there and 6 cm beyond.
    - *aside*: minus 0.5 times the distance of the tip from the ring's axis, in units of 10 cm; once it has passed, that
      of the cable from the middle of the ring.
    - *collision*: minus 0.1 times the mean square of the force components on the ring, in N^2.
    - *action_cost*: minus 0.02 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 - w / w_0, clipped to
    [0, 1]: w is the way left, w_0 that at the start. `info["measures"]` has `passed`, 1 while the cable passes through
    the ring, else 0, and `force`, the mean square of the force components on the ring [N^2].

    ## Starting State
    The cable hangs at rest between the grippers, its free end stands off along x. The ring is 8 to 15 cm further along
    x than the tip, up to 6 cm to either side and up or down, its axis up to 0.5 rad off x about y and about z; all are
    drawn from the seed.

    ## Episode End
    Truncation after 60 steps of 50 ms. No termination, but at a score of 0.9 with `terminate_on_success=True`. The
    grippers are too slow to tear the cable; two arms that flee from each other for most of an episode stretch an edge
    to twice its length, and `SimulationDiverged` is raised.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `bend_stiffness`, `twist_stiffness` [N m^2], `linear_density`
    [kg/m], `relaxation_time` [s], `drag` [1/s], `self_contact` (False: the cable passes through itself), `friction`
    (of the ring), `way_weight`, `aside_weight`, `collision_weight`,
    `effort_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "pass the free end of a cable through a ring"
    success_score = 0.9
    horizon = 60
    step_time = 0.05
    substeps = {"small": 5, "full": 10}
    joint_speed = 0.08
    Config = Config

    def make_scene(self) -> RodScene:
        position = _start()
        rod = make_rod(position, self.config, RADIUS, rest_length=np.concatenate([EDGES[:1], EDGES]))
        effectors = [
            gripper("left", *position[LEFT], margin=0.012),
            gripper("right", *position[RIGHT], margin=0.012),
            Effector(
                "ring",
                Torus(RING, TUBE),
                position=position[TIP] + (NEAR + FAR) / 2,
                orientation=ALONG_X.tolist(),
                friction=self.config.friction,
                color=(0.25, 0.45, 0.65),
            ),
        ]
        grips = [Grip(LEFT, "left"), Grip(RIGHT, "right")]
        touch = touching(self.config)
        scene = RodScene(rod, grips=grips, effectors=effectors, contact_stiffness=CONTACT, self_contact=touch)
        self.start = np.array([effector.pose for effector in effectors])
        self.settler = Settler(scene)
        return scene

    def make_action(self) -> dict[str, np.ndarray]:
        twists = np.diag([scale for speed in SPEEDS for scale in (*[speed] * 3, *[SPIN] * 3)])
        return {"effector_twist": np.concatenate([twists, np.zeros((6, 12))])}

    def make_mounts(self, chain: Chain) -> list[Mount]:
        """Both arms behind the cable: the hand near the tip leans away from the ring's way."""
        from pliant.envs.arms.mounts import CLEARANCE, TILT, mount_from_above

        standoff = self.scene.effectors[0].shape.bounding_radius + CLEARANCE
        return [
            mount_from_above(chain, pose[:3], pose[3:], towards=towards, standoff=standoff, tilt=TILT)
            for pose, towards in zip(self.start, [(-1.0, 0.0), (-0.2, 1.0)], strict=False)
        ]

    def make_observation(self) -> list[Observed]:
        origin = self.start[1, :3]
        return [
            Observed(f.Rows("vertices", "position", np.arange(TIP + 1), 3), 0.3, np.tile(origin, TIP + 1)),
            Observed(f.Rows("velocities", "velocity", [4, 12, 16, TIP], 3), scale=0.5),
            Observed(f.Rows("places", "effector_position", [0, 1, 2], 3), 0.3, np.tile(origin, 3)),
            Observed(f.Rows("orientations", "effector_orientation", [0, 1, 2], 4)),
            Observed(f.Rows("force", "effector_force", [2], 3)),
            Observed(f.Action(self.action_size)),
        ]

    def make_reward(self) -> list[Term]:
        config = self.config
        self.passage = f.Passage(np.arange(TIP + 1), 2, opening=RING - TUBE, depth=DEPTH)
        return [
            Term(f.WayLeft(self.passage), -config.way_weight / UNIT),
            Term(f.Aside(self.passage), -config.aside_weight / UNIT),
            Term(f.SquaredNorm("collision", self._force()), -config.collision_weight),
            Term(f.action_cost(self.action_size), -config.effort_weight),
        ]

    def make_score(self) -> Score:
        return Score(f.WayLeft(self.passage), goal=0.0)

    def make_measures(self) -> list[f.Feature]:
        return [f.Passed(self.passage), f.SquaredNorm("force", self._force())]

    def _force(self) -> f.Feature:
        return f.Rows("force", "effector_force", [2], 3)

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        rest = self.settler.settle(self.start[:, :3], self.start[:, 3:])
        position, orientation = self.start[:, :3].copy(), self.start[:, 3:].copy()
        position[2] = rest["position"][TIP] + rng.uniform(NEAR, FAR)
        tilt = rng.uniform(-TILT, TILT, 2)
        orientation[2] = turned(turned(orientation[2], np.array([0.0, tilt[0], 0.0])), np.array([0.0, 0.0, tilt[1]]))
        return dict(rest) | {"effector_position": position, "effector_orientation": orientation}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        tip = self.scene.position[TIP]
        return np.array([self.start[0, 0] - 0.05, -0.12, HEIGHT - 0.2]), tip + [FAR[0] + 0.06, 0.12, 0.12]


def _start() -> np.ndarray:
    """Vertices (n, 3) [m]: a bow between the grippers, straight beyond them; nearly the shape at rest."""
    held = RIGHT[1] + 1
    span = SPAN + EDGES[0] + EDGES[held - 2]
    bow = hanging_shape(held, EDGES[: held - 1], span, HEIGHT)
    beyond = np.cumsum(EDGES[held - 1 :])[:, None] * [1.0, 0.0, 0.0]
    return np.concatenate([bow, bow[-1] + beyond])
