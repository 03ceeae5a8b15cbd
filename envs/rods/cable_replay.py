"""CableReplay: follow a recording of a cable whose ends are given; the parameters are the controls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.rods.cables import CableConfig, hanging_shape, make_rod, polyline
from pliant.envs.rods.fitted import fitted_rod, hanging_wire, load_wire, trunk_length
from pliant.envs.rods.gaps import BRIDGED
from pliant.envs.rods.grips import held_neighbours
from pliant.envs.rods.motions import TARGETS, Player, draw_motion, kept_recordings, takes_recorded
from pliant.envs.rods.wires.layouts import LAYOUTS
from pliant.envs.rods.wires.recordings import VARIABLE, Recording
from pliant.envs.rods.wires.wire import find_wire
from pliant.envs.task import Observed, Score, Task, Term, positive
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.topology import edges

BENDING = {"dlo1": 0.027, "dlo2": 0.085, "dlo3": 0.092, "dlo4": 0.0035, "dlo5": 0.0038}
"""Bending stiffness per mass of a unit length [m^4/s^2], fitted to the recordings of each wire."""
RELAXATION = {"dlo1": 0.09, "dlo2": 0.046, "dlo3": 0.098, "dlo4": 0.06, "dlo5": 0.089}
"""Relaxation time of bending [s], fitted likewise."""
TWISTING = 0.75  # twist stiffness in bend stiffnesses, that of a solid round rod
STRETCHING = 1e4  # stretch stiffness per mass of a unit length [m^2/s^2]; fits to recordings found 0.5e3 to 5e3
DENSITY = 0.06  # of the cable [kg/m]; recordings tell ratios to it only
END, EDGE = 0.028, 0.095  # of the edges at the ends, and of the others, without data [m]
SPAN, HEIGHT = 0.7, 0.6  # between the ends and of them, without data [m]
RADIUS = 0.005  # [m]
RANGE = 0.5  # largest relative change of a parameter
FORCE = 0.5  # largest residual force on a vertex along each axis, in weights of the vertex
GRAVITY = 9.81  # [m/s^2]
HIDDEN = 0.45  # the same of the rod that makes recordings
AHEAD = 5  # steps by which the observation looks ahead
UNIT = 0.05  # of distances in the reward [m]
SMOOTHING = 0.002  # of distances in the reward [m]


@dataclass(frozen=True)
class Config:
    drag: float = 0.2  # per mass [1/s]
    shape_weight: float = 1.0  # weight of *shape*
    effort_weight: float = 0.01  # weight of *action_cost*
    object: str = field(default="dlo2", metadata={"allowed": tuple(BENDING)})
    split: str = field(default="train", metadata={"allowed": ("train", "eval")})
    targets: str = field(default="auto", metadata={"allowed": TARGETS})
    residual: bool = field(default=False, metadata={"allowed": (False, True)})
    linear_density: float = positive(DENSITY)  # mass per length [kg/m]
    wire: str = ""  # fitted parameters: a JSON file, or a known wire
    recordings: str = ""  # of that wire: a folder, a file or a known wire


class CableReplay(Task):
    """
    ## Description
    Two arms have moved the ends of a cable, and how it swung has been recorded. The simulated cable starts as the real
    one did, and its two vertices at either end follow the recording; the goal is that the others do, too. The cable's
    parameters are the controls, in each step anew. After the predictions of DEFORM (Chen et al. 2024).

    ## Action Space
    `Box(-1, 1, (4,), float32)`; an action a changes a parameter of the whole cable by the factor 1 + 0.5 a.

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | bend stiffness | -1 | 1 | 50 % |
    | 1 | twist stiffness | -1 | 1 | 50 % |
    | 2 | mass | -1 | 1 | 50 % |
    | 3 | damping of bending and twisting | -1 | 1 | 50 % |

    With `residual=True` three numbers follow for each free vertex: a force on it along x, y and z, in units of half its
    weight. A controller that gives them is a learned residual of the physics.

    ## Observation Space
    `Box(-10, 10, (102,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-35 | vertices, relative to the middle of all recordings | 0.5 m |
    | 36-59 | velocities of the eight free vertices | 1 m/s |
    | 60-83 | from each free vertex to where the recording has it | 0.2 m |
    | 84-95 | from the four held vertices to where the recording has them 0.1 s later | 0.1 m |
    | 96-99 | previous action | - |
    | 100-101 | sin and cos of pi t / T | - |

    With `object="dlo1"`, which has a vertex more, there are 111.

    With `residual=True` the observation shows only what a prediction may know, so that a residual does not follow the
    recording but the physics: vertices, velocities of all vertices, from the held vertices to where the recording has
    them one step later (0.02 m), previous action, sin and cos.

    ## Rewards
    - *shape*: minus the mean distance of the free vertices from the recorded ones, in units of 5 cm.
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is 1 - E / E_0, clipped to
    [0, 1]: E is the mean distance of the free vertices from the recorded ones in the steps so far, E_0 the same of a
    cable that stays where it was at the start. `info["measures"]["recorded"]` is 1 where the recording is a real one,
    else 0.

    ## Starting State
    With `targets="recorded"` the seed chooses one of the recordings of a wire (DLO1-5 of DEFORM;
    `pliant.envs.rods.wires.recordings` says where they are looked for), and the cable has its first shape and velocity,
    edges as long as recorded on average, and the stiffness and damping that were fitted to the wire. With
    `targets="code"` the recording is made by code: a cable of these numbers hangs at rest, and then its ends move and
    turn by sines drawn from the seed; its stiffness, mass and damping are up to 45 % larger or smaller, by factors that
    the seed draws, too. `targets="auto"`, the default, takes real recordings where the variable `PLIANT_DATA` is set.

    ## Episode End
    Truncation after 200 steps of 20 ms. No termination. Episodes may be longer, those of real recordings as
    long as the shortest of them.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) except arms, and `object` ("dlo1" to "dlo5"), `split` ("train" or
    "eval"), `targets`, `residual` (False or True), `drag` [1/s], `linear_density` [kg/m], `shape_weight`,
    `effort_weight`.

    `wire` names a wire or harness that was fitted to recordings: a file that `pliant rods fit` has written, or a known
    wire; it takes the place of `object`. `recordings` names the recordings of it: a folder with train and eval, a file
    or a known wire; without them its motion is made by code. Recordings in which a marker is lost for more than 0.1 s
    are left out.

    ## Version History
    - v0: first version.
    """

    summary = "follow a recording of a cable by its stiffness, mass and damping"
    success_score = 0.93
    horizon = 200
    step_time = 0.02
    substeps = {"small": 2, "full": 4}
    exogenous = {"driven_position": "driven"}
    Config = Config

    def make_scene(self) -> RodScene:
        self.recordings = self._found()
        if self.config.wire:
            parameters, setup = load_wire(self.config.wire, self.config)
            count = trunk_length(setup, self.config.wire)
            size = float(np.sum(np.asarray(parameters.values["rest_length"])[1:count]))
            shape = hanging_wire(parameters, setup, count, SPAN * size, HEIGHT * max(size, 1.0))
            rod = fitted_rod(parameters, setup, shape, self.config.linear_density, as_recorded=True)
            held, grip = setup.clamped, setup.grip
        else:
            rod = self._cable()
            held = np.array([0, 1, len(rod) - 2, len(rod) - 1])
            size, grip = 1.0, "direction"
        if self.recordings is not None:
            held = self.recordings[0].clamped
            self._check_wire(rod)
            self._check_length()
            frames = np.concatenate([recording.positions for recording in self.recordings])
            self.box = frames.min(axis=(0, 1)), frames.max(axis=(0, 1))
        else:
            high = HEIGHT * max(size, 1.0)
            self.box = np.array([-SPAN * size / 2, -0.15, 0.1]), np.array([SPAN * size / 2, 0.15, high])
        self.followers = held_neighbours(rod.tree, held, grip)
        groups = _groups(rod.tree, [*held.tolist(), *(w for _, w in self.followers)])
        self.ends = np.cumsum([len(group) for group in groups])[:-1]
        scene = RodScene(rod, grips=[Grip(group) for group in groups], scaled=True)
        self.free = np.setdiff1d(np.arange(len(rod)), scene.driven_vertices)
        self.player = Player(scene, substeps=self.substeps[self.resolution], dt=self.dt)
        self.size = size
        return replace(scene, forced=self.config.residual)

    def _found(self) -> list[Recording] | None:
        """The recordings to replay; None: they are made by code.

        Raises:
            ValueError: there are none, or in all of them a marker is lost for too long.
        """
        config = self.config
        if config.recordings and not config.wire:
            raise ValueError(f"recordings={config.recordings!r}: pass the parameters that were fitted as wire=, too")
        source = config.recordings or config.wire or config.object
        is_own = config.wire and not config.recordings and source not in LAYOUTS
        if config.targets == "code" or (not config.recordings and not takes_recorded(config.targets)):
            return None
        if is_own:
            if config.targets == "recorded":
                raise ValueError(f"targets='recorded': pass the folder of the recordings of {source!r} as recordings=")
            return None
        if source in LAYOUTS:
            found = kept_recordings(source, config.split, os.environ.get(VARIABLE))
        else:
            found = find_wire(source).recordings(config.split)
        whole = [recording for recording in found if recording.is_bridged]
        if not whole:
            raise ValueError(f"recordings={source!r}: in each of them a marker is lost for more than {BRIDGED:g} s")
        return whole

    def _check_wire(self, rod: Rod) -> None:
        """Raise ``ValueError`` if the recordings are of another wire than the rod."""
        assert self.recordings is not None
        if not np.array_equal(self.recordings[0].parents, rod.tree):
            raise ValueError(
                f"recordings={self.config.recordings!r} are of {len(self.recordings[0].parents)} vertices, the wire "
                f"has {len(rod)}, or they hang together in another way"
            )

    def _cable(self) -> Rod:
        """A cable with the stiffness and damping of one of the wires ``object``."""
        name = self.config.object
        count = len(LAYOUTS[name].parents)
        if self.recordings is not None:
            shape = self.recordings[0].positions[0]
            tree = np.array(LAYOUTS[name].parents)
            measured = [edges(recording.positions, tree)[1].mean(axis=0) for recording in self.recordings]
            lengths = np.mean(measured, axis=0)
        else:
            lengths = np.array([0.0, END, *[EDGE] * (count - 3), END])
            shape = hanging_shape(count, lengths[1:], SPAN, HEIGHT)
        density = self.config.linear_density
        config = CableConfig(
            bend_stiffness=BENDING[name] * density,
            twist_stiffness=TWISTING * BENDING[name] * density,
            linear_density=density,
            relaxation_time=RELAXATION[name],
            drag=self.config.drag,
        )
        rest = np.concatenate([lengths[1:2], lengths[1:]])
        return make_rod(shape, config, RADIUS, stretch=STRETCHING, rest_length=rest)

    def _check_length(self) -> None:
        """Refuse episodes that are longer than usual and than the recordings."""
        assert self.recordings is not None
        last = min((len(recording.positions) - 2) * recording.dt for recording in self.recordings)
        steps = int(last / self.step_time + 1e-6)
        if self.horizon > max(steps, type(self).horizon):
            raise ValueError(
                f"max_episode_steps={self.horizon} is longer than the recordings of {self.config.object!r}, which last "
                f"{steps} steps of {self.step_time} s; allowed: 1..{max(steps, type(self).horizon)}, or targets='code'"
            )

    def make_action(self) -> dict[str, np.ndarray]:
        scale = RANGE * np.eye(4)
        if not self.config.residual:
            return {"parameter_scale": scale}
        weight = GRAVITY * self.scene.rod.column("mass")
        force = np.diag(FORCE * np.repeat(weight, 3))[:, (3 * self.free[:, None] + np.arange(3)).ravel()]
        return {
            "parameter_scale": np.pad(scale, ((0, 0), (0, force.shape[1]))),
            "vertex_force": np.pad(force, ((0, 0), (len(scale), 0))),
        }

    def make_observation(self) -> list[Observed]:
        count, driven = len(self.scene.rod), self.scene.driven_vertices
        middle = np.tile(np.add(*self.box) / 2, count)
        vertices = Observed(f.Rows("vertices", "position", np.arange(count), 3), scale=0.5, offset=middle)
        known = [Observed(f.Action(self.action_size)), Observed(f.Phase())]
        if self.config.residual:
            velocities = Observed(f.Rows("velocities", "velocity", np.arange(count), 3))
            way = f.ToTarget(driven, "recording", ahead=1, name="way_ahead")
            return [vertices, velocities, Observed(way, scale=0.02), *known]
        return [
            vertices,
            Observed(f.Rows("velocities", "velocity", self.free, 3)),
            Observed(f.ToTarget(self.free, "recording"), scale=0.2),
            Observed(f.ToTarget(driven, "recording", ahead=AHEAD, name="way_ahead"), scale=0.1),
            *known,
        ]

    def make_reward(self) -> list[Term]:
        shape = f.MeanDistance(self.free, "recording", smoothing=SMOOTHING)
        effort = f.action_cost(self.action_size)
        return [Term(shape, -self.config.shape_weight / UNIT), Term(effort, -self.config.effort_weight)]

    def make_score(self) -> Score:
        error = f.MeanDistance(self.free, "recording")
        return Score(error, goal=0.0, relative_to=f.HoldStill(self.free, "recording"))

    def make_measures(self) -> list[f.Feature]:
        return [f.GoalValue("recorded", 1)]

    def make_episode(self, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        rod, driven = self.scene.rod, self.scene.driven_vertices
        if self.recordings is None:
            start = self.player.start()
            ends = np.split(start["position"][driven], self.ends)
            times = self.step_time * np.arange(1, self.horizon + 1)
            ways = draw_motion(rng, ends, times, reach=min(self.size, 1.0))
            frames = self.player.play(ways, rng.uniform(-HIDDEN, HIDDEN, 4))
        else:
            recording = self.recordings[rng.integers(len(self.recordings))]
            positions, times = recording.positions, recording.dt * np.arange(-1, len(recording.positions) - 1)
            wanted = self.step_time * np.arange(self.horizon + 1)
            frames = _interpolate(positions, times, wanted)
            for v, w in self.followers:  # a marker there is seen, but the gripper is taken to hold it
                frames[:, w] = frames[:, v] + positions[1, w] - positions[1, v]
            velocity = (positions[1] - positions[0]) / recording.dt
            start = {"position": positions[1], "velocity": velocity, "director": rod.directors(positions[1])}
        goal = {
            "recording": frames,
            "driven": frames[1:, driven].reshape(self.horizon, -1),
            "recorded": np.array([float(self.recordings is not None)]),
        }
        return goal, start

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.box[0] - 0.02, self.box[1] + 0.02

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        frame = goal["recording"][min(int(goal["step"]), self.horizon)]
        return {"ghost": polyline(frame, self.scene.rod.tree, RADIUS), "ghost_opacity": 0.6}


def _groups(tree: np.ndarray, held: list[int]) -> list[list[int]]:
    """Held vertices, those that hang together in one list, in the order of the vertices."""
    groups: list[list[int]] = []
    for v in sorted(held):
        near = next((group for group in groups if int(tree[v]) in group), None)
        if near is None:
            groups.append([v])
        else:
            near.append(v)
    return groups


def _interpolate(positions: np.ndarray, times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Positions (T, n, 3) of frames at ``times`` (T,), at the times ``wanted`` (S,): linear, the last frame beyond."""
    place = np.interp(wanted, times, np.arange(len(times)))
    before = np.minimum(place.astype(int), len(times) - 2)
    share = (place - before)[:, None, None]
    return (1 - share) * positions[before] + share * positions[before + 1]
