"""BranchedCableShape: bring a wire harness that two grippers hold to a target shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.envs import features as f
from pliant.envs.rods import cable_shape
from pliant.envs.rods.cable_shape import CableShape
from pliant.envs.rods.cables import hanging_shape, make_rod
from pliant.envs.rods.motions import TARGETS, takes_recorded
from pliant.envs.rods.wires.layouts import LAYOUTS
from pliant.envs.rods.wires.recordings import recordings
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.topology import edges

HARNESS = "bdlo1"  # whose topology and whose recordings these are
PARENT = 13  # vertices of the cable between the grippers
LENGTH, SPAN, HEIGHT = 0.96, 0.65, 0.6  # of that cable, between its ends and of these at the start [m]
EDGE = 0.07  # of the branches [m]
RADIUS = 0.005  # [m]
LEANS = (-1.0, 1.0)  # of the branches from the normal of the cable, in the shape without forces: outwards [rad]
REST_SHAPE = np.array(
    [
        *((0.0, 0.0, 0.0), (0.0434, 0.0, 0.0), (0.1155, -0.0256, -0.0315), (0.2068, -0.0738, -0.0304)),
        *((0.2851, -0.1248, -0.0186), (0.2989, -0.1875, 0.0467), (0.2624, -0.2432, 0.107), (0.2031, -0.2697, 0.1606)),
        *((0.0996, -0.2885, 0.1903), (0.0379, -0.3084, 0.233), (-0.0165, -0.3246, 0.25), (-0.0734, -0.3472, 0.2863)),
        *(
            (-0.0965, -0.3619, 0.311),
            (0.2843, -0.0823, -0.0587),
            (0.3057, -0.0606, -0.1285),
            (0.3472, -0.0677, -0.1966),
        ),
        *((0.3643, -0.0679, -0.2278), (0.0542, -0.3217, 0.2281), (0.0546, -0.4003, 0.2616), (0.0535, -0.431, 0.2789)),
    ]
)
"""Of the real harness without forces [m], from the recorded shapes as `rest_shapes.fit_rest_shape` finds it."""


@dataclass(frozen=True)
class Config(cable_shape.Config):
    targets: str = field(default="auto", metadata={"allowed": TARGETS})


class BranchedCableShape(CableShape):
    """
    ## Description
    Two grippers hold the ends of a wire harness: a cable (0.96 m; 13 vertices) with branches of four and of three edges
    of 7 cm, which hang free. The goal is to bring it to a target shape and to keep it there. There is nothing to touch;
    the floor in pictures is 0.6 m below the grippers' start. After the shape matching of DEFT (Chen et al. 2025).

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
    one of the 20 shapes of a real harness at rest (BDLO1 of DEFT, split "test"; `wires.recordings` says
    where they are looked for), turned about the vertical and moved to the grippers' start; seeds 0 to 19 have one each.
    The edges then have the real harness's lengths, and the shape without forces is the one that was fitted to these 20
    shapes: held as in them the harness comes to rest 4 mm from its target (median; mean distance of free vertices, 2
    to 11 mm), most of it at the tip of the longer branch.
    `targets="auto"`, the default, takes recorded ones where the variable `PLIANT_DATA` is set.

    ## Episode End
    Truncation after 60 steps of 50 ms. No termination, but at a score of 0.9 with `terminate_on_success=True`. The
    grippers are too slow to tear the cable; two arms that flee from each other for most of an episode stretch an edge
    to twice its length, and `SimulationDiverged` is raised.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `bend_stiffness`, `twist_stiffness` [N m^2], `linear_density`
    [kg/m], `relaxation_time` [s], `drag` [1/s], `self_contact` (False: the harness passes through itself),
    `shape_weight`, `effort_weight`, `targets`. The numbers of the harness change the targets made by code, too.

    `wire` names a harness that was fitted to recordings, as in `CableShape`; its first rod is held at both ends, its
    branches hang free, and its targets are made by code.

    ## Version History
    - v0: first version.
    """

    takes_branches = True
    summary = "bring a wire harness held by two grippers to a target shape"
    success_score = 0.9
    Config = Config

    def make_scene(self) -> RodScene:
        self.recorded = None
        if self.config.wire:
            if self.config.targets == "recorded":
                raise ValueError(
                    f"targets='recorded' are shapes of {HARNESS}; with wire={self.config.wire!r} code makes the targets"
                )
            return self.hang_wire()
        tree = np.array(LAYOUTS[HARNESS].parents)
        self.recorded = recorded_shapes() if takes_recorded(self.config.targets) else None
        lengths = np.full(len(tree), EDGE)
        lengths[:PARENT] = LENGTH / (PARENT - 1)
        if self.recorded is not None:
            lengths = mean_lengths(self.recorded, tree)
        start = hanging_shape(PARENT, lengths[1:PARENT], SPAN, HEIGHT)
        straight = np.cumsum(lengths[:PARENT])[:, None] * [1.0, 0.0, 0.0]
        by_code = _with_branches(straight, tree, lengths, LEANS)
        rod = make_rod(
            _with_branches(start, tree, lengths, (0.0, 0.0)),
            self.config,
            RADIUS,
            parents=tree,
            rest_length=lengths,
            rest_position=by_code if self.recorded is None else REST_SHAPE,
        )
        return self.hold(rod, PARENT)

    def make_measures(self) -> list[f.Feature]:
        return [f.GoalValue("recorded", 1)]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        recorded = np.array([float(self.recorded is not None)])
        if self.recorded is None:
            return super().make_goal(rng) | {"recorded": recorded}
        return {"target": self.recorded[choose(rng, len(self.recorded))], "recorded": recorded}


def mean_lengths(shapes: np.ndarray, tree: np.ndarray) -> np.ndarray:
    """Mean lengths of the edges of shapes (m, n, 3), (n,) [m]; the first, which is no edge, as the second."""
    lengths = edges(shapes, tree)[1].mean(axis=0)
    lengths[0] = lengths[1]
    return lengths


def choose(rng: np.random.Generator, count: int) -> int:
    """A number below ``count``.

    The first draw of a seeded generator is entry ``seed % count`` of a fixed shuffled order, so that seeds 0 to
    count - 1 have one each. Later draws are random.
    """
    bits = rng.bit_generator
    seed = getattr(bits.seed_seq, "entropy", None)
    is_fresh = isinstance(seed, int) and bits.state == type(bits)(seed).state
    place = int(rng.integers(count))  # drawn in any case: then the generator is not fresh any more
    if isinstance(seed, int) and is_fresh:
        place = seed % count
    return int(np.random.default_rng(0).permutation(count)[place])


def _with_branches(parent: np.ndarray, tree: np.ndarray, lengths: np.ndarray, leans: Sequence[float]) -> np.ndarray:
    """All vertices (n, 3) [m] of a harness whose branches hang down from ``parent`` (p, 3), leaning by angles [rad]."""
    position = np.zeros((len(tree), 3))
    position[: len(parent)] = parent
    for i, rod in enumerate(LAYOUTS[HARNESS].branch):
        if rod > 0:
            lean = leans[rod - 1]
            position[i] = position[tree[i]] + lengths[i] * np.array([np.sin(lean), 0.0, -np.cos(lean)])
    return position


def recorded_shapes() -> np.ndarray:
    """The harness in each recording at the moment when it moves least, shape (m, n, 3) [m].

    It is turned about the vertical until its ends lie along x, and moved until their middle is that of the grippers at
    the start.
    """
    shapes = []
    for recording in recordings(HARNESS, "test"):
        steps = np.linalg.norm(np.diff(recording.positions, axis=0), axis=-1).max(axis=1)
        whole = np.all(recording.known[:-1] & recording.known[1:], axis=1)
        if not np.any(whole):
            raise ValueError(f"recording {recording.name}: no two frames in a row show all vertices")
        steps = np.where(whole, steps, np.inf)
        shape = recording.positions[int(steps.argmin())]
        first, last = shape[0], shape[PARENT - 1]
        x, y = (last - first)[:2] / np.linalg.norm((last - first)[:2])
        turn = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])
        shapes.append((shape - (first + last) / 2) @ turn.T + [0.0, 0.0, HEIGHT])
    return np.array(shapes)
