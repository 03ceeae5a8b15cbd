"""CableShape: bring a cable that two grippers hold to a target shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.rods.cables import (
    GRIPPER_RADIUS,
    WireConfig,
    gripper,
    hanging_shape,
    make_rod,
    polyline,
    touching,
    turned,
)
from pliant.envs.rods.fitted import fitted_rod, hanging_wire, load_wire, trunk_length
from pliant.envs.rods.settling import Settler
from pliant.envs.task import Observed, Score, Task, Term
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene

COUNT = 13  # vertices
LENGTH, RADIUS = 1.0, 0.005  # of the cable [m]
SPAN, HEIGHT = 0.7, 0.6  # between the cable's ends at the start, and of them [m]
SPEED, SPIN = 0.1, 1.0  # of a gripper [m/s], [rad/s]; no episode is long enough to tear the cable
SHIFT = np.array([0.1, 0.15, 0.12])  # largest of a gripper from the start to the target [m]
TURN = np.array([1.0, 0.8, 0.8])  # the same about the three axes [rad]
UNIT = 0.1  # of distances in the reward [m]
SMOOTHING = 0.005  # of distances in the reward [m]


@dataclass(frozen=True)
class Config(WireConfig):
    shape_weight: float = 1.0  # weight of *shape*
    effort_weight: float = 0.02  # weight of *action_cost*


class CableShape(Task):
    """
    ## Description
    Two grippers hold the ends of a cable (1 m long, 1 cm thick, 60 g; 13 vertices) that hangs between them. The goal is
    to bring it to a target shape and to keep it there. The grippers move and turn freely, and turning them about the
    cable twists it. There is nothing to touch; the floor in pictures is 0.6 m below the grippers' start. After the
    shape matching of DEFORM (Chen et al. 2024).

    ## Action Space
    `Box(-1, 1, (12,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the left gripper | -1 | 1 | 0.1 m/s |
    | 3-5 | its angular velocity | -1 | 1 | 1 rad/s |
    | 6-8 | velocity of the right gripper | -1 | 1 | 0.1 m/s |
    | 9-11 | its angular velocity | -1 | 1 | 1 rad/s |

    ## Observation Space
    `Box(-10, 10, (125,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-38 | vertices, relative to the middle between the grippers at the start | 0.5 m |
    | 39-65 | velocities of the nine free vertices | 0.5 m/s |
    | 66-104 | from each vertex to its target | 0.2 m |
    | 105-112 | orientations of the grippers (quaternions) | - |
    | 113-124 | previous action | - |

    ## Rewards
    - *shape*: minus the mean distance of the free vertices from their targets, in units of 10 cm.
    - *action_cost*: minus 0.02 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 - d / d_0, clipped to
    [0, 1]: d is the mean distance of the free vertices from their targets, d_0 that at the start.

    ## Starting State
    The cable hangs at rest between the grippers, which are 0.7 m apart, its ends level. The target is the shape in
    which it comes to rest when the grippers are moved by up to 10, 15 and 12 cm along x, y and z and turned by up to
    1, 0.8 and 0.8 rad about them, all drawn from the seed.

    ## Episode End
    Truncation after 60 steps of 50 ms. No termination, but at a score of 0.9 with `terminate_on_success=True`. The
    grippers are too slow to tear the cable; two arms that flee from each other for most of an episode stretch an edge
    to twice its length, and `SimulationDiverged` is raised.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `bend_stiffness`, `twist_stiffness` [N m^2], `linear_density`
    [kg/m], `relaxation_time` [s], `drag` [1/s], `self_contact` (False: the cable passes through itself),
    `shape_weight`, `effort_weight`. They change the targets, too.

    `wire` names a wire that was fitted to recordings: a file that `pliant rods fit` has written, or a known wire such
    as "dlo2". The cable is then that wire: its vertices, edges, stiffnesses and dampings, and its shape without forces,
    for a mass of `linear_density` (recordings tell the others in proportion to it only). The distance between the
    grippers at the start is seven tenths of its length; up to 1 m, motions to the target are in proportion to it.
    There are 3 n + 3 (n - 4) + 3 n + 20 observations for n vertices.

    ## Version History
    - v0: first version.
    """

    summary = "bring a cable held by two grippers to a target shape"
    success_score = 0.9
    horizon = 60
    step_time = 0.05
    substeps = {"small": 5, "full": 10}
    joint_speed = 0.08
    Config = Config

    takes_branches = False
    size = 1.0  # of the cable between the grippers [m]

    def make_scene(self) -> RodScene:
        if self.config.wire:
            return self.hang_wire()
        position = hanging_shape(COUNT, LENGTH, SPAN, HEIGHT)
        rod = make_rod(position, self.config, RADIUS)
        return self.hold(rod, COUNT)

    def hang_wire(self) -> RodScene:
        """The scene of a fitted wire.

        Raises:
            ValueError: it has branches and the task takes none, or the other way round.
        """
        parameters, setup = load_wire(self.config.wire, self.config)
        count = trunk_length(setup, self.config.wire)
        if (len(setup.parents) > count) != self.takes_branches:
            kind, task = ("one rod", "CableShape") if self.takes_branches else ("branches", "BranchedCableShape")
            raise ValueError(f"wire={self.config.wire!r} has {kind}: make pliant/{task}-v0 of it")
        self.size = float(np.sum(np.asarray(parameters.values["rest_length"])[1:count]))
        position = hanging_wire(parameters, setup, count, SPAN * self.size, self.height)
        return self.hold(fitted_rod(parameters, setup, position, self.config.linear_density), count)

    @property
    def height(self) -> float:
        """Of the cable's ends at the start [m]."""
        return HEIGHT * max(self.size, 1.0)

    def hold(self, rod: Rod, count: int) -> RodScene:
        """The scene of a rod whose first ``count`` vertices are a chain with a gripper at either end."""
        ends = {"left": [0, 1], "right": [count - 2, count - 1]}
        # vertices next to a gripper are not to touch it
        lengths = np.asarray(rod.rest_length)
        room = float(min(lengths[2], lengths[count - 2])) - 2 * rod.radius
        radius = min(GRIPPER_RADIUS, room) if self.config.wire else GRIPPER_RADIUS
        effectors = [gripper(name, *rod.position[pair], radius=radius) for name, pair in ends.items()]
        grips = [Grip(pair, name) for name, pair in ends.items()]
        scene = RodScene(rod, grips=grips, effectors=effectors, self_contact=touching(self.config))
        self.start = np.array([effector.pose for effector in effectors])
        self.free = np.setdiff1d(np.arange(len(rod)), [*ends["left"], *ends["right"]])
        self.settler = Settler(scene)
        return scene

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": np.diag([*[SPEED] * 3, *[SPIN] * 3] * 2)}

    def make_observation(self) -> list[Observed]:
        count = len(self.scene.rod)
        rows = np.arange(count)
        return [
            Observed(
                f.Rows("vertices", "position", rows, 3), scale=0.5, offset=np.tile([0.0, 0.0, self.height], count)
            ),
            Observed(f.Rows("velocities", "velocity", self.free, 3), scale=0.5),
            Observed(f.ToTarget(rows, "target"), scale=0.2),
            Observed(f.Rows("orientations", "effector_orientation", [0, 1], 4)),
            Observed(f.Action(self.action_size)),
        ]

    def make_reward(self) -> list[Term]:
        shape = f.MeanDistance(self.free, "target", smoothing=SMOOTHING)
        effort = f.action_cost(self.action_size)
        return [Term(shape, -self.config.shape_weight / UNIT), Term(effort, -self.config.effort_weight)]

    def make_score(self) -> Score:
        return Score(f.MeanDistance(self.free, "target"), goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shift = SHIFT * min(self.size, 1.0)
        position = self.start[:, :3] + rng.uniform(-shift, shift, (2, 3))
        orientation = np.stack([turned(pose[3:], rng.uniform(-TURN, TURN)) for pose in self.start])
        return {"target": self.settler.settle(position, orientation)["position"]}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return dict(self.settler.settle(self.start[:, :3], self.start[:, 3:]))

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        wide, high = SPAN * self.size / 2 + 0.1, self.height
        return np.array([-wide, -0.15, 0.1]), np.array([wide, 0.15, high + 0.1])

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": polyline(goal["target"], self.scene.rod.tree, RADIUS), "ghost_opacity": 0.6}
