"""What a URDF file says: links, joints, meshes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

KINDS = ("revolute", "continuous", "prismatic", "fixed")

Pose = tuple[np.ndarray, np.ndarray]  # position (3,) [m] and rotation (3, 3)


@dataclass(frozen=True)
class Joint:
    """A joint of a URDF file.

    Attributes:
        name, kind: its name, one of `KINDS`.
        parent, child: links.
        position, rotation: of its frame in the parent's, shapes (3,) [m] and (3, 3).
        axis: unit vector in its frame, shape (3,); of no meaning for fixed joints.
        lower, upper: limits [rad or m], infinite where the file sets none.
        speed: largest speed [rad/s or m/s], or None where the file sets none.
        leader: name of the joint it follows, its own unless it mimics another.
        multiplier, offset: it stands at multiplier * (the leader's value) + offset.
    """

    name: str
    kind: str
    parent: str
    child: str
    position: np.ndarray
    rotation: np.ndarray
    axis: np.ndarray
    lower: float
    upper: float
    speed: float | None
    leader: str
    multiplier: float = 1.0
    offset: float = 0.0

    @property
    def is_fixed(self) -> bool:
        """Whether it never moves."""
        return self.kind == "fixed"

    def motion(self, value: float) -> Pose:
        """Pose of the child in the parent where the joint stands at ``value`` [rad or m]."""
        if self.is_fixed:
            return self.position, self.rotation
        if self.kind == "prismatic":
            return self.position + self.rotation @ (value * self.axis), self.rotation
        x, y, z = self.axis
        K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        turn = np.eye(3) + math.sin(value) * K + 2 * math.sin(value / 2) ** 2 * K @ K  # Rodrigues' formula
        return self.position, self.rotation @ turn


@dataclass(frozen=True)
class LinkMesh:
    """A mesh that a link looks like: file, pose in the link's frame, scale (3,) and color (r, g, b)."""

    link: str
    path: str
    position: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Description:
    """What a URDF file says: one tree of links.

    Attributes:
        file: its path.
        links: names of the links, in the order of the file.
        joints: by name; leaders never follow others.
        meshes: of the links' looks; those whose files exist.
    """

    file: str
    links: tuple[str, ...]
    joints: Mapping[str, Joint]
    meshes: tuple[LinkMesh, ...]

    @cached_property
    def joint_above(self) -> dict[str, Joint]:
        """The joint that carries a link, by the link; the root has none."""
        return {joint.child: joint for joint in self.joints.values()}

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Links that carry no other."""
        parents = {joint.parent for joint in self.joints.values()}
        return tuple(link for link in self.links if link not in parents)

    def path_to(self, link: str) -> list[Joint]:
        """All joints from the root to a link, fixed ones too.

        Raises:
            ValueError: there is no such link.
        """
        if link not in self.links:
            raise ValueError(f"tool={link!r} is no link of {self.file!r}; links: {', '.join(self.links)}")
        path = []
        while link in self.joint_above:
            path.append(self.joint_above[link])
            link = path[-1].parent
        return path[::-1]


def compose(outer: Pose, inner: Pose) -> Pose:
    """The pose ``inner``, given in the frame ``outer``, in the frame of ``outer`` itself."""
    return outer[0] + outer[1] @ inner[0], outer[1] @ inner[1]
