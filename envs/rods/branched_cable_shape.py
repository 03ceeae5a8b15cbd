"""BranchedCableShape: bring a wire harness that two grippers hold to a target shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.envs import features as f
from pliant.envs.features import Feature
from pliant.envs.rods import cable_shape
from pliant.envs.rods.cable import hanging_shape, make_rod
from pliant.envs.rods.cable_shape import CableShape
from pliant.envs.rods.layouts import LAYOUTS
from pliant.envs.rods.recordings import recordings
from pliant.envs.rods.replay import TARGETS, takes_recorded
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.topology import edges

HARNESS = "bdlo1"  # whose topology and whose recordings these are
PARENT = 13  # vertices of the cable between the grippers
LENGTH, SPAN, HEIGHT = 0.96, 0.65, 0.6  # of that cable, between its ends and of these at the start [m]
EDGE = 0.07  # of the branches [m]
RADIUS = 0.005  # [m]
LEANS = (-1.0, 1.0)  # of the branches from the normal of the cable, in the shape without forces: outwards [rad]


@dataclass(frozen=True)
class Config(cable_shape.Config):
    targets: str = field(default="auto", metadata={"allowed": TARGETS})


class BranchedCableShape(CableShape):
    """
    ## Description
    Two grippers hold the ends of a wire harness: a cable (0.96 m; 13 vertices) with branches of four and of three edges
    of 7 cm, which hang free. The goal is to bring it to a target shape and to keep it there. There is nothing to touch;
    the floor in pictures is 0.6 m below the grippers' start.

    ## Action Space
    `Box(-1, 1, (12,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the left gripper | -1 | 1 | 0.1 m/s |
    | 3-5 | its angular velocity | -1 | 1 | 1 rad/s |
    | 6-8 | velocity of the right gripper | -1 | 1 | 0.1 m/s |
    | 9-11 | its angular velocity | -1 | 1 | 1 rad/s |

    ## Observation Space
    `Box(-10, 10, (188,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-59 | vertices, relative to the middle between the grippers at the start | 0.5 m |
    | 60-107 | velocities of the sixteen free vertices | 0.5 m/s |
    | 108-167 | from each vertex to its target | 0.2 m |
    | 168-175 | orientations of the grippers (quaternions) | - |
    | 176-187 | previous action | - |

    ## Rewards
    - *shape*: minus the mean distance of the free vertices from their targets, in units of 10 cm.
    - *action_cost*: minus 0.02 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 - d / d_0, clipped to
    [0, 1]: d is the mean distance of the free vertices from their targets, d_0 that at the start.
    `info["measures"]["recorded"]` is 1 where the target is a recorded shape, else 0.

    ## Starting State
    The harness hangs at rest between the grippers, which are 0.65 m apart, its ends level. The target is drawn from the
    seed. With `targets="code"` it is the shape in which the harness comes to rest when the grippers are moved by up to
    10, 15 and 12 cm along x, y and z and turned by up to 1, 0.8 and 0.8 rad about them. With `targets="recorded"` it is
    one of the 20 shapes of a real harness at rest (BDLO1 of DEFT, split "test"; `pliant.envs.rods.recordings` says
    where they are looked for), turned about the vertical and moved to the grippers' start; the edges then have the
    real harness's lengths, but its natural shape and its stiffness are not known, so no shape is met exactly.
    `targets="auto"`, the default, takes recorded ones where the variable `PLIANT_DATA` is set.

    ## Episode End
    Truncation after 60 steps of 50 ms. No termination. The grippers are too slow to tear the cable; two arms that flee
    from each other for most of an episode stretch an edge to twice its length, and `SimulationDiverged` is raised.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `bend_stiffness`, `twist_stiffness` [N m^2], `linear_density`
    [kg/m], `relaxation_time` [s], `drag` [1/s], `shape_weight`, `effort_weight`, `targets`. The numbers of the harness
    change the targets made by code, too.

    ## Version History
    - v0: first version.
    """

    summary = "bring a wire harness held by two grippers to a target shape"
    Config = Config

    def make_scene(self) -> RodScene:
        tree = np.array(LAYOUTS[HARNESS].parents)
        self.recorded = _recorded_shapes() if takes_recorded(self.config.targets) else None
        lengths = np.full(len(tree), EDGE)
        lengths[:PARENT] = LENGTH / (PARENT - 1)
        if self.recorded is not None:
            lengths[1:] = edges(self.recorded, tree)[1][:, 1:].mean(axis=0)
        start = hanging_shape(PARENT, lengths[1:PARENT], SPAN, HEIGHT)
        straight = np.cumsum(lengths[:PARENT])[:, None] * [1.0, 0.0, 0.0]
        rod = make_rod(
            _with_branches(start, tree, lengths, (0.0, 0.0)),
            self.config,
            RADIUS,
            parents=tree,
            rest_length=lengths,
            rest_position=_with_branches(straight, tree, lengths, LEANS),
        )
        return self.hold(rod, PARENT)

    def make_measures(self) -> list[Feature]:
        return [f.GoalValue("recorded", 1)]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        recorded = np.array([float(self.recorded is not None)])
        if self.recorded is None:
            return super().make_goal(rng) | {"recorded": recorded}
        return {"target": self.recorded[rng.integers(len(self.recorded))], "recorded": recorded}


def _with_branches(parent: np.ndarray, tree: np.ndarray, lengths: np.ndarray, leans: Sequence[float]) -> np.ndarray:
    """All vertices (n, 3) [m] of a harness whose branches hang down from ``parent`` (p, 3), leaning by angles [rad]."""
    position = np.zeros((len(tree), 3))
    position[: len(parent)] = parent
    for i, rod in enumerate(LAYOUTS[HARNESS].branch):
        if rod > 0:
            lean = leans[rod - 1]
            position[i] = position[tree[i]] + lengths[i] * np.array([np.sin(lean), 0.0, -np.cos(lean)])
    return position


def _recorded_shapes() -> np.ndarray:
    """The harness in each recording, when it moves least, shape (m, n, 3) [m]: turned about the vertical so that its
    ends lie along x, and moved so that their middle is where that of the grippers is at the start."""
    shapes = []
    for recording in recordings(HARNESS, "test"):
        steps = np.linalg.norm(np.diff(recording.positions, axis=0), axis=-1).max(axis=1)
        shape = recording.positions[int(steps.argmin())]
        first, last = shape[0], shape[PARENT - 1]
        x, y = (last - first)[:2] / np.linalg.norm((last - first)[:2])
        turn = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])
        shapes.append((shape - (first + last) / 2) @ turn.T + [0.0, 0.0, HEIGHT])
    return np.array(shapes)
