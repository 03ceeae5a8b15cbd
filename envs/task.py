"""The contract of a task: what one file of ``envs/<family>/`` declares and nothing else.

A task names its scene, how actions become controls, what is observed, what is rewarded, how success is scored, and what
the seed decides (the goal, the initial state). It holds no kernel and knows neither Gymnasium nor gradients: features
carry their adjoints (`pliant.envs.features`), `pliant.envs.rollout` steps a batch of worlds, `pliant.envs.base` is the
Gymnasium face.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, get_args

import numpy as np

from pliant.envs.arms.holding import Arms
from pliant.envs.arms.mounts import Mount, default_mounts, driven_effectors
from pliant.envs.checks import UnknownKeyword
from pliant.envs.features.words import Feature
from pliant.envs.options import OPTION_NAMES, Resolution
from pliant.sims.fem.places import MOST_POISSON
from pliant.sims.inputs import real, shown, word
from pliant.sims.part import Model
from pliant.sims.robot.effector import Effector

if TYPE_CHECKING:
    from pliant.envs.clearance import Clearance
    from pliant.envs.gripper import Gripper
    from pliant.sims.robot.kinematics import Chain
    from pliant.sims.robot.kinematics_urdf import AnyArm


@dataclass(frozen=True)
class Observed:
    """A feature as part of the observation: ``(value - offset) / scale``, so that usual values lie within [-1, 1].

    Attributes:
        feature: what is observed.
        scale, offset: numbers, or one for each of the feature's.
        part: the observation that it belongs to, where a task has several: then it is a dictionary of them.
        picture: (height, width, 3) of a feature that is a picture, with values in 0..``scale``; it has a part of its
            own, and is observed as uint8.
    """

    feature: Feature
    scale: float | np.ndarray = 1.0
    offset: float | np.ndarray = 0.0
    part: str = "state"
    picture: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Term:
    """A feature of size 1 as part of the reward of each step: ``weight * value``; costs have negative weights."""

    feature: Feature
    weight: float


@dataclass(frozen=True)
class Score:
    """How much of the task is done, in [0, 1]: ``clip((m - m_0) / (m_goal - m_0), 0, 1)`` of a metric m of size 1.

    m_0 is the metric right after the reset; ``goal`` is m_goal, a number or the name of a goal array of shape ().
    With ``relative_to``, a feature of size 1, m is the sum of the metric over the steps since the reset divided by that
    feature's, and m_0 is 1.
    """

    metric: Feature
    goal: float | str
    relative_to: Feature | None = None


@dataclass(frozen=True)
class Design:
    """A design parameter: one number for each group of particles that share a value of a per-particle parameter.

    Args:
        parameter: the World's parameter, for example "youngs_modulus".
        groups: the group of each particle, shape (N,), 0 ... count - 1; -1 leaves a particle alone.
    """

    parameter: str
    groups: np.ndarray

    @property
    def count(self) -> int:
        return int(self.groups.max()) + 1


class ObservationPart(NamedTuple):
    """One of the observations of a task.

    Attributes:
        columns: where it is in the row of all numbers that are observed.
        picture: (height, width, 3), or None for a vector.
    """

    columns: slice
    picture: tuple[int, int, int] | None = None


def observation_parts(observed: Sequence[Observed]) -> dict[str, ObservationPart]:
    """The parts by name, in order.

    Raises:
        ValueError: what belongs to a part does not stand together, or a picture shares its part.
    """
    found: dict[str, ObservationPart] = {}
    first, last = 0, ""
    for one in observed:
        stop = first + one.feature.size
        if one.part not in found:
            found[one.part] = ObservationPart(slice(first, stop), one.picture)
        elif one.part != last or one.picture is not None or found[one.part].picture is not None:
            raise ValueError(f"observation: {one.feature.name!r} does not fit into the part {one.part!r}")
        else:
            found[one.part] = ObservationPart(slice(found[one.part].columns.start, stop))
        first, last = stop, one.part
    return found


class TaskScene(Model, Protocol):
    """What tasks, rollouts and pictures need of a scene, whatever it is a scene of.

    Attributes:
        effectors: manipulators and obstacles.
    """

    effectors: list[Effector]

    @property
    def position(self) -> np.ndarray:
        """Particles or vertices at the start [m], shape (N, dim)."""
        ...


@dataclass(frozen=True)
class NoConfig:
    """The configuration of a task that has none."""


LEAST, MOST = 1e-12, 1e15  # of a configuration's numbers that are not 0; powers of them stay finite


def positive(default: float) -> Any:
    """A field of a ``Config`` whose number must be above 0, with its default."""
    return field(default=default, metadata={"least": LEAST})


def ratio(default: float) -> Any:
    """A Poisson ratio as a field of a ``Config``, up to that at which bodies are all but incompressible."""
    return field(default=default, metadata={"most": MOST_POISSON})


class Task(ABC):
    """One task at one resolution. Class attributes and the ``make_`` methods below are the whole declaration.

    Args:
        resolution: "small" (an episode in seconds on a CPU) or "full".
        arm: "none", or the arm that holds each effector: "panda", "iiwa", the path of a URDF file, or a
            `pliant.sims.robot.kinematics_urdf.Model`. Actions are then joint velocities.
        horizon: environment steps of longer episodes than the class says; a task that has no more refuses.
        config: overrides of the fields of ``Config``.

    Attributes:
        summary: the goal in one line.
        horizon: environment steps in an episode, the same at every resolution. Goals with a row a step have as many,
            and clocks in observations run over it; episodes that are cut short are the beginning of one.
        success_score: score from which the task counts as done.
        step_time: duration of an environment step [s].
        substeps: simulation steps in an environment step, by resolution.
        joint_speed: with arms, the share of their velocity limits that an action of 1 stands for.
        Config: frozen dataclass of the task's own numbers (SI units); each field is a keyword of the environment.
        picture_size: width and height of rendered pictures [pixels].
        camera_box: lower and upper corner of what pictures show [m], or None for the whole domain.
        scene: what `make_scene` returns.
        exogenous: controls that follow the goal instead of actions: name of the control to that of a goal array, shape
            (horizon, numbers of the control), whose row t is added to the control in step t.
        workspace: lower and upper corner [m], shape (3,) each, of where actions can take an effector's position, by its
            number; `make_scene` sets it. Arms have their joints' limits instead.
        clearances: planes of which effectors with a workspace are kept clear, by their number; `make_scene` sets it.
        state_bounds: lower and upper corner of the rows of state arrays that a reset may be given, by their name, such
            as where the middles of rigid bodies may be put [m]; `make_scene` sets it.
        activation_time: time constant of the muscles [s]; `make_scene` sets it. None: actions are the activations. A
            number, also 0: "activation", shape (B, muscle groups), is a state (`pliant.envs.actuators.MuscleActuator`).
        gripper: two effectors as the fingers of one gripper; `make_scene` sets it. Actions are then its motion, turn
            and closing, and the matrix of `make_action`, zeros for the fingers, adds to what it makes of them.
        action_size: numbers in an action; it depends on the arm, so features of the action take it from here.
        arms: what holds the effectors, or None.
        observation_parts: where each part of the observation is in the row of all of them, and its shape.
    """

    summary: ClassVar[str]
    horizon: int
    success_score: ClassVar[float] = 0.7
    step_time: ClassVar[float]
    substeps: ClassVar[Mapping[str, int]]
    Config: ClassVar[type] = NoConfig
    joint_speed: ClassVar[float] = 0.1
    picture_size: ClassVar[tuple[int, int]] = (512, 512)
    exogenous: ClassVar[Mapping[str, str]] = {}
    workspace: Mapping[int, tuple[Any, Any]] = {}
    clearances: Mapping[int, Clearance] = {}
    state_bounds: Mapping[str, tuple[Any, Any]] = {}
    activation_time: float | None = None
    gripper: Gripper | None = None

    def __init__(
        self, *, resolution: str = "small", arm: AnyArm = "none", horizon: int | None = None, **config: Any
    ) -> None:
        word("resolution", resolution, get_args(Resolution))
        self.resolution = resolution
        if horizon is not None:
            self.horizon = horizon
        self.config = make_config(self.Config, config)
        self.scene: Any = self.make_scene()  # of the type that the task makes
        self.action = {name: np.atleast_2d(np.asarray(m, float)) for name, m in self.make_action().items()}
        self.action_size = next(iter(self.action.values())).shape[1]
        self.arms: Arms | None = None
        if not (isinstance(arm, str) and arm == "none"):
            self.arms = Arms(self.scene, self.action, self.joint_speed, self.make_mounts, type(self).__name__, arm)
            self.action_size = self.arms.action_size
        self.observation = self.make_observation()
        if self.arms:
            self.observation = [*self.observation, Observed(*self.arms.observed())]
        self.reward = self.make_reward()
        self.score = self.make_score()
        self.measures = self.make_measures()
        self.designs = self.make_designs()
        self.observation_parts = observation_parts(self.observation)
        for term in self.reward:
            if term.feature.size != 1:
                raise ValueError(f"reward term {term.feature.name!r} has size {term.feature.size}, must be 1")
        for measure in self.measures:
            if measure.size != 1:
                raise ValueError(f"measure {measure.name!r} has size {measure.size}, must be 1")
        names = [term.feature.name for term in self.reward]
        if len(set(names)) != len(names):
            raise ValueError(f"reward terms have the names {names}; each name may stand once")

    @property
    def dt(self) -> float:
        """Duration of a substep [s]."""
        return self.step_time / self.substeps[self.resolution]

    @abstractmethod
    def make_scene(self) -> TaskScene:
        """The scene at ``self.resolution``; the same for every seed."""

    @abstractmethod
    def make_action(self) -> dict[str, np.ndarray]:
        """For each control of the World ("muscle_activation", "effector_twist"), the matrix that maps actions to it.

        Shape (numbers of the control, action size): control = matrix @ action, with actions in [-1, 1]. A twist has six
        rows per effector, velocity [m/s] then angular velocity [rad/s] in the world frame.
        """

    def make_mounts(self, chain: Chain) -> list[Mount]:
        """Where the arms stand and how they hold their effectors, one mount for each effector that actions move.

        By default each arm reaches the effector from above and stands half a metre off, behind a single effector or
        outwards of several. ``chain`` is the arm.
        """
        return default_mounts(self.scene, driven_effectors(self.action), chain)

    @abstractmethod
    def make_observation(self) -> list[Observed]:
        """What is observed, in this order."""

    @abstractmethod
    def make_reward(self) -> list[Term]:
        """What is rewarded after every step; the reward is the sum of the terms."""

    @abstractmethod
    def make_score(self) -> Score:
        """How success is measured."""

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The goal's arrays of one world, drawn from ``rng``; the same names and shapes every time."""
        return {}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """State arrays of one world that differ from the scene's at this reset, drawn from ``rng``."""
        return {}

    def make_parameters(self, rng: np.random.Generator) -> dict[str, Any]:
        """Physical or design parameters of one world in this episode, drawn from ``rng`` after goal and initial state.

        Values by name that broadcast to the parameter of a world; the same names every time. Others keep their usual
        values. Drawn at every reset, also where worlds reset themselves: domain randomisation.
        """
        return {}

    def make_measures(self) -> list[Feature]:
        """Features of size 1 that ``info["measures"]`` reports by name, beside the reward terms and the score."""
        return []

    def make_episode(self, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Goal and initial state of one world, for tasks in which one thing decides both."""
        return self.make_goal(rng), self.make_initial_state(rng)

    def make_designs(self) -> dict[str, Design]:
        """Design parameters by name."""
        return {}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner of what pictures show [m], shape (dim,); by default the domain within its walls."""
        rim = self.scene.walls.thickness * self.scene.cell
        return np.full(self.scene.dim, rim), self.scene.size - rim

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What pictures show besides the bodies, "markers" and "ghost" of `pliant.sims.camera`, for one goal.

        ``goal`` has the goal's arrays and "step", environment steps since the reset.
        """
        return {}


def make_config(kind: type, overrides: Mapping[str, Any]) -> Any:
    """An instance of the dataclass ``kind``; every field is a number from 0 to `MOST`, or from what its metadata names
    under "least" to what it names under "most", one of the words that it names under "allowed", or, where its default
    is a text and no words are named, a text.

    Raises:
        UnknownKeyword: a keyword is unknown.
        ValueError: its value is out of range.
    """
    metadata = {one.name: one.metadata for one in fields(kind)}
    for name, value in overrides.items():
        if name not in metadata:
            raise UnknownKeyword.of(name, value, [*OPTION_NAMES, *metadata])
        words = metadata[name].get("allowed")
        if words is not None:
            word(name, value, words)
            continue
        if isinstance(getattr(kind, name, None), str):
            if not isinstance(value, str):
                raise ValueError(f"{name}={shown(value)} must be a text")
            continue
        real(name, value, metadata[name].get("least", 0.0), metadata[name].get("most", MOST))
    return kind(**overrides)
