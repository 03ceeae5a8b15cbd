"""Arms from URDF files, read by PyBullet: their chains, and which of their links touch each other.

PyBullet (extra ``arms``) is imported when an arm is asked for, never before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pliant.sims.math.rotation_host import matrix_of_quaternion, rotation_vector
from pliant.sims.robot.kinematics import Chain, Visual

REVOLUTE, PRISMATIC, FIXED, MESH = 0, 1, 4, 5  # PyBullet's numbers
BASE = -1  # PyBullet's number of the base link
REACH = 2 * np.pi  # limit of joints that turn without end [rad]


@dataclass(frozen=True)
class Model:
    """Where an arm's URDF is and what it does not say.

    Attributes:
        urdf: path, relative to ``pybullet_data`` or absolute.
        tool: name of the link that holds the effector.
        offset: from that link's frame to the place where it holds, in the frame [m].
        home: a posture with room on all sides [rad], one number per joint of the chain.
        posed: positions of joints off the chain (fingers), by name [rad or m].
        speed: largest joint speeds [rad/s], where the file's are placeholders.
    """

    urdf: str
    tool: str
    home: Sequence[float]
    offset: Sequence[float] = (0.0, 0.0, 0.0)
    posed: Mapping[str, float] = field(default_factory=dict)
    speed: Sequence[float] | np.ndarray | None = None


MODELS = {
    "panda": Model(
        urdf="franka_panda/panda.urdf",
        tool="panda_grasptarget",
        home=(0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785),
        posed={"panda_finger_joint1": 0.004, "panda_finger_joint2": 0.004},  # about the stick that pictures show
    ),
    "iiwa": Model(
        urdf="kuka_iiwa/model.urdf",
        tool="lbr_iiwa_link_7",
        offset=(0.0, 0.0, 0.045),  # the flange's face
        home=(0.0, 0.6, 0.0, -1.5, 0.0, 1.04, 0.0),
        speed=np.radians(
            [98, 98, 100, 130, 140, 180, 180]
        ),  # data sheet of the LBR iiwa 7 R800; the file says 10 rad/s
    ),
}
"""Arms that ship with ``pybullet_data``: Franka Emika Panda, its hand included, and KUKA LBR iiwa 7 R800."""


@cache
def import_pybullet() -> Any:
    """The module ``pybullet``.

    Raises:
        ImportError: it is not installed.
    """
    try:
        with _quiet():  # it greets on standard error
            import pybullet
    except ImportError as error:
        raise ImportError(
            "arms need PyBullet, which is not installed: pip install 'pliant[arms]' (wheels exist up to Python 3.11)"
        ) from error
    return pybullet


@contextmanager
def _quiet() -> Iterator[None]:
    """Standard error of C code goes nowhere meanwhile."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def look_up_model(arm: str) -> Model:
    """The model called ``arm``; ``ValueError`` names what is allowed."""
    if arm not in MODELS:
        raise ValueError(f"arm={arm!r} is unknown; allowed: 'none', {', '.join(map(repr, MODELS))}")
    return MODELS[arm]


@cache
def load_arm(arm: str) -> Chain:
    """The chain of one of `MODELS`, its base at the origin; loaded once per process.

    Raises:
        ValueError: the arm is unknown.
        ImportError: PyBullet is not installed.
    """
    return load_chain(look_up_model(arm), arm)


def load_chain(model: Model, name: str) -> Chain:
    """Read a chain from a URDF file.

    Raises:
        ValueError: the file cannot be read, has no such tool link, or does not fit the model.
        ImportError: PyBullet is not installed.
    """
    with _loaded(model) as robot:
        return _extract(robot, model, name)


class _Robot:
    """A URDF file in a PyBullet client of its own."""

    def __init__(self, model: Model) -> None:
        self.bullet = import_pybullet()
        self.client = self.bullet.connect(self.bullet.DIRECT)
        try:
            self.body = self.bullet.loadURDF(_path(model.urdf), useFixedBase=True, physicsClientId=self.client)
        except self.bullet.error as error:
            self.close()
            raise ValueError(f"urdf={model.urdf!r} cannot be read: {error}") from error
        count = self.bullet.getNumJoints(self.body, physicsClientId=self.client)
        self.infos = [self.bullet.getJointInfo(self.body, j, physicsClientId=self.client) for j in range(count)]
        self.links = [info[12].decode() for info in self.infos]
        self.parents = [info[16] for info in self.infos]
        self.names = [info[1].decode() for info in self.infos]

    def close(self) -> None:
        self.bullet.disconnect(physicsClientId=self.client)

    def chain_to(self, link: str, urdf: str) -> list[int]:
        """Numbers of the movable joints from the base to a link."""
        if link not in self.links:
            raise ValueError(f"tool={link!r} is no link of {urdf!r}; links: {', '.join(self.links)}")
        at, joints = self.links.index(link), []
        while at != BASE:
            if self.infos[at][2] in (REVOLUTE, PRISMATIC):
                joints.append(at)
            elif self.infos[at][2] != FIXED:
                raise ValueError(
                    f"joint {self.names[at]!r} of {urdf!r} neither turns nor slides; such joints are not supported"
                )
            at = self.parents[at]
        return joints[::-1]

    def set_joints(self, joints: Sequence[int], values: Sequence[float] | np.ndarray) -> None:
        for joint, value in zip(joints, values, strict=True):
            self.bullet.resetJointState(self.body, joint, float(value), physicsClientId=self.client)

    def set_named(self, values: Mapping[str, float], urdf: str) -> None:
        for name, value in values.items():
            if name not in self.names:
                raise ValueError(f"posed joint {name!r} is unknown in {urdf!r}; joints: {', '.join(self.names)}")
            self.set_joints([self.names.index(name)], [value])

    def frames(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Position and rotation of each link's frame in the base's."""
        # Link frames come in float32, centres of mass in float64; a frame is where its centre of mass says.
        frames = {BASE: (np.zeros(3), np.eye(3))}
        for link in range(len(self.infos)):
            state = self.bullet.getLinkState(
                self.body, link, computeForwardKinematics=True, physicsClientId=self.client
            )
            rotation = _matrix(state[1]) @ _matrix(state[3]).T
            frames[link] = np.array(state[0]) - rotation @ np.array(state[2]), rotation
        return frames


@contextmanager
def _loaded(model: Model) -> Iterator[_Robot]:
    robot = _Robot(model)
    try:
        yield robot
    finally:
        robot.close()


def _path(urdf: str) -> str:
    if not Path(urdf).is_absolute():
        import pybullet_data

        return str(Path(pybullet_data.getDataPath()) / urdf)
    return urdf


def _matrix(quaternion_xyzw: Sequence[float]) -> np.ndarray:
    return matrix_of_quaternion(np.roll(np.asarray(quaternion_xyzw, np.float64), 1))


def _relative(
    outer: tuple[np.ndarray, np.ndarray], inner: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The pose ``inner`` in the frame ``outer``."""
    return outer[1].T @ (inner[0] - outer[0]), outer[1].T @ inner[1]


def _extract(robot: _Robot, model: Model, name: str) -> Chain:
    joints = robot.chain_to(model.tool, model.urdf)
    if len(model.home) != len(joints):
        raise ValueError(f"home has {len(model.home)} numbers, {model.urdf!r} has {len(joints)} joints up to the tool")
    robot.set_named(model.posed, model.urdf)
    robot.set_joints(joints, np.zeros(len(joints)))
    frames = robot.frames()
    steps = [_relative(frames[a], frames[b]) for a, b in zip([BASE, *joints], joints, strict=False)]
    slides = np.array([robot.infos[joint][2] == PRISMATIC for joint in joints])
    axes = []
    for joint, slide in zip(joints, slides, strict=True):  # told by a motion: the listed axis is the inertial frame's
        robot.set_joints([joint], [1.0])
        position, rotation = _relative(frames[joint], robot.frames()[joint])
        axis = position if slide else rotation_vector(rotation)
        axes.append(axis / np.linalg.norm(axis))
        robot.set_joints([joint], [0.0])
    limits = np.array([_limits(robot.infos[joint], model.urdf) for joint in joints])
    tool = _relative(frames[joints[-1]], frames[robot.links.index(model.tool)])
    return Chain(
        name=name,
        joint_names=tuple(robot.names[joint] for joint in joints),
        slides=slides,
        origin_position=np.array([position for position, _ in steps]),
        origin_rotation=np.array([rotation for _, rotation in steps]),
        axis=np.array(axes),
        lower=limits[:, 0],
        upper=limits[:, 1],
        speed=limits[:, 2] if model.speed is None else np.array(model.speed, float),
        home=np.array(model.home, float),
        tool_position=tool[0] + tool[1] @ np.array(model.offset, float),
        tool_rotation=tool[1],
        base_position=np.zeros(3),
        base_rotation=np.eye(3),
        visuals=tuple(_visuals(robot, joints, frames)),
    )


def _limits(info: Any, urdf: str) -> tuple[float, float, float]:
    """Lower and upper limit and largest speed of a joint."""
    lower, upper, speed = info[8], info[9], info[11]
    if lower >= upper:  # a joint without limits
        lower, upper = -REACH, REACH
    if not speed > 0:
        raise ValueError(f"joint {info[1].decode()!r} of {urdf!r} has the velocity limit {speed}, must be positive")
    return lower, upper, speed


def _visuals(
    robot: _Robot, joints: Sequence[int], frames: Mapping[int, tuple[np.ndarray, np.ndarray]]
) -> Iterator[Visual]:
    """The meshes, each in the frame of the last movable joint of the chain before it."""
    for shape in robot.bullet.getVisualShapeData(robot.body, physicsClientId=robot.client):
        link, kind, scale, path, position, orientation, rgba = shape[1:8]
        if kind != MESH:
            continue
        carrier = link
        while carrier != BASE and carrier not in joints:
            carrier = robot.parents[carrier]
        frame, rotation = _relative(frames[carrier], frames[link])
        yield Visual(
            link=0 if carrier == BASE else joints.index(carrier) + 1,
            path=path.decode(),
            position=frame + rotation @ np.array(position),
            rotation=rotation @ _matrix(orientation),
            scale=np.array(scale),
            color=tuple(rgba[:3]),
        )


class SelfCollision:
    """Which links of an arm come near each other, by the collision shapes of its URDF file.

    Links that are neighbours on the arm (at most one movable joint apart) or that overlap in the home posture (the
    convex hulls of a wrist do) are left out.

    Args:
        arm: one of `MODELS`, or a `Model`.
    """

    def __init__(self, arm: str | Model) -> None:
        model = look_up_model(arm) if isinstance(arm, str) else arm
        self._robot = _Robot(model)
        robot = self._robot
        try:
            self._joints = robot.chain_to(model.tool, model.urdf)
            robot.set_named(model.posed, model.urdf)
        except ValueError:
            self.close()
            raise
        self._base = robot.bullet.getBodyInfo(robot.body, physicsClientId=robot.client)[0].decode()
        links = range(BASE, len(robot.infos))
        pairs = [(a, b) for a in links for b in links if a < b and self._steps_between(a, b) > 1]
        self._pairs = pairs
        near = {pair[:2] for pair in self.query(model.home)}
        self._pairs = [(a, b) for a, b in pairs if (self._name(a), self._name(b)) not in near]

    def query(self, q: Sequence[float], distance: float = 0.0) -> list[tuple[str, str, float]]:
        """Pairs of links nearer than ``distance`` [m] at joint angles (n,), with their distance [m], nearest first.

        The distance is negative where they overlap.
        """
        if np.shape(q) != (len(self._joints),) or not np.isfinite(q).all():
            raise ValueError(f"q={q!r} must be {len(self._joints)} finite joint angles")
        robot, found = self._robot, []
        robot.set_joints(self._joints, q)
        for a, b in self._pairs:
            points = robot.bullet.getClosestPoints(
                robot.body, robot.body, distance, linkIndexA=a, linkIndexB=b, physicsClientId=robot.client
            )
            if points:
                found.append((self._name(a), self._name(b), min(point[8] for point in points)))
        return sorted(found, key=lambda pair: pair[2])

    def close(self) -> None:
        """Free PyBullet's memory; may be called again."""
        if self._robot is not None:
            self._robot.close()
            self._robot = None  # type: ignore[assignment]

    def _name(self, link: int) -> str:
        return self._base if link == BASE else self._robot.links[link]

    def _steps_between(self, a: int, b: int) -> int:
        """Movable joints on the way between two links."""

        def movable_above(link: int) -> set[int]:
            found = set()
            while link != BASE:
                if self._robot.infos[link][2] != FIXED:
                    found.add(link)
                link = self._robot.parents[link]
            return found

        return len(movable_above(a) ^ movable_above(b))
