"""PyBullet's view of a URDF file: frames of its links, joints, and distances between its collision shapes.

PyBullet (extra ``arms``, up to Python 3.11) is imported when it is asked for, never before. It only sees files that
`pliant.sims.robot.urdf_file` has checked: it crashes on some of the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pliant.sims.math.rotation_host import matrix_of_quaternion, rotation_vector
from pliant.sims.robot.description import Pose
from pliant.sims.robot.urdf_file import joints_alone

REVOLUTE, PRISMATIC, FIXED = 0, 1, 4  # PyBullet's numbers
BASE = -1  # PyBullet's number of the base link


@cache
def import_pybullet() -> Any:
    """The module ``pybullet``.

    Raises:
        ImportError: it is not installed.
    """
    try:
        with _quiet(2):  # it greets on standard error
            import pybullet
    except ImportError as error:
        raise ImportError(
            "this needs PyBullet, which is not installed: pip install 'pliant[arms]' (wheels exist up to Python 3.11)"
        ) from error
    return pybullet


@contextmanager
def _quiet(*streams: int) -> Iterator[None]:
    """What C code writes to these streams (1: output, 2: errors) goes nowhere meanwhile."""
    kept, nowhere = [os.dup(stream) for stream in streams], os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in streams:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, copy in zip(streams, kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


class Robot:
    """A URDF file in a PyBullet client of its own.

    Args:
        file: path of a file that `pliant.sims.robot.urdf_file.read_urdf` accepts.
        shapes: read what its links look like and weigh, too; their meshes must exist then. Otherwise PyBullet gets the
            joints alone.

    Raises:
        ValueError: PyBullet cannot read it.
        ImportError: PyBullet is not installed.
    """

    def __init__(self, file: str, *, shapes: bool) -> None:
        self.bullet = bullet = import_pybullet()
        self.client = bullet.connect(bullet.DIRECT)
        try:
            with TemporaryDirectory() as folder, _quiet(1, 2):  # it warns of masses and materials, no matter here
                path = Path(file).absolute()
                if not shapes:
                    path = Path(folder) / "joints.urdf"
                    path.write_bytes(joints_alone(file))
                self.body = bullet.loadURDF(str(path), useFixedBase=True, physicsClientId=self.client)
        except bullet.error as error:
            self.close()
            raise ValueError(f"urdf={file!r} cannot be read by PyBullet: {error}") from error
        count = bullet.getNumJoints(self.body, physicsClientId=self.client)
        self.infos = [bullet.getJointInfo(self.body, j, physicsClientId=self.client) for j in range(count)]
        self.links = [info[12].decode() for info in self.infos]
        self.parents = [info[16] for info in self.infos]
        self.names = [info[1].decode() for info in self.infos]

    def close(self) -> None:
        """Free PyBullet's memory."""
        self.bullet.disconnect(physicsClientId=self.client)

    def chain_to(self, link: str) -> list[int]:
        """Numbers of the movable joints from the base to a link."""
        at, joints = self.links.index(link), []
        while at != BASE:
            if self.infos[at][2] != FIXED:
                joints.append(at)
            at = self.parents[at]
        return joints[::-1]

    def set_joints(self, joints: Sequence[int], values: Sequence[float] | np.ndarray) -> None:
        """Put joints of these numbers to values [rad or m]."""
        for joint, value in zip(joints, values, strict=True):
            self.bullet.resetJointState(self.body, joint, float(value), physicsClientId=self.client)

    def set_named(self, values: Mapping[str, float]) -> None:
        """Put joints of these names to values [rad or m]."""
        self.set_joints([self.names.index(name) for name in values], list(values.values()))

    def frames(self) -> dict[int, Pose]:
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

    def steps(self, link: str) -> tuple[list[Pose], list[np.ndarray], Pose]:
        """The way to a link: a step to each movable joint, the joints' axes, the step from the last joint to the link.

        All joints on the way stand at zero afterwards.
        """
        joints = self.chain_to(link)
        self.set_joints(joints, np.zeros(len(joints)))
        frames = self.frames()
        steps = [_relative(frames[a], frames[b]) for a, b in zip([BASE, *joints], joints, strict=False)]
        axes = []
        for joint in joints:  # told by a motion: the listed axis is the inertial frame's
            self.set_joints([joint], [1.0])
            position, rotation = _relative(frames[joint], self.frames()[joint])
            axis = position if self.infos[joint][2] == PRISMATIC else rotation_vector(rotation)
            axes.append(axis / np.linalg.norm(axis))
            self.set_joints([joint], [0.0])
        return steps, axes, _relative(frames[joints[-1]], frames[self.links.index(link)])


@contextmanager
def opened(file: str, *, shapes: bool = False) -> Iterator[Robot]:
    """A `Robot` that is closed at the end."""
    robot = Robot(file, shapes=shapes)
    try:
        yield robot
    finally:
        robot.close()


def _matrix(quaternion_xyzw: Sequence[float]) -> np.ndarray:
    return matrix_of_quaternion(np.roll(np.asarray(quaternion_xyzw, np.float64), 1))


def _relative(outer: Pose, inner: Pose) -> Pose:
    """The pose ``inner`` in the frame ``outer``."""
    return outer[1].T @ (inner[0] - outer[0]), outer[1].T @ inner[1]
