"""What the tasks of held cables share: the cable, the grippers that hold its ends, and shapes at rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.envs.task import positive
from pliant.sims.math.rotation_host import quaternion_of_matrix
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Rod, SelfContact
from pliant.sims.rod.topology import vertex_shares
from pliant.sims.shapes.shapes import Capsule

STRETCH = 4e4
"""Stretch stiffness per mass of a unit length [m^2/s^2]. Cables keep their length to 0.1 %, also one that is held level
and let go."""

AIR = 0.7  # half the density of air times the drag coefficient of a cylinder [kg/m^3]
GRIPPER_RADIUS = 0.014  # of a gripper [m]
GRIPPER_COLOR = (0.30, 0.33, 0.38)


@dataclass(frozen=True)
class CableConfig:
    """Numbers of a cable, near those fitted to measured ones; a field of each task's ``Config``."""

    bend_stiffness: float = 2e-3  # of the cable, about both axes [N m^2]
    twist_stiffness: float = 1.5e-3  # of the cable [N m^2]
    linear_density: float = positive(0.06)  # mass per length [kg/m]
    relaxation_time: float = 0.08  # of bending and twisting [s]
    drag: float = 0.2  # per mass [1/s]
    self_contact: bool = field(default=False, metadata={"allowed": (False, True)})  # or the cable passes through itself


@dataclass(frozen=True)
class WireConfig(CableConfig):
    """A cable whose numbers may be those of a real wire."""

    wire: str = ""  # fitted parameters: a JSON file, or a known wire; "": the cable of these numbers


def touching(config: CableConfig) -> SelfContact | None:
    """How the cable of a task touches itself."""
    return SelfContact() if config.self_contact else None


def make_rod(position: np.ndarray, config: Any, radius: float, *, stretch: float = STRETCH, **options: Any) -> Rod:
    """A rod of vertices (n, 3) [m] with the numbers of a `CableConfig`. ``stretch``: stiffness per mass of a unit
    length [m^2/s^2]; ``options`` as for `Rod`."""
    blank = Rod(position, parents=options.get("parents"), rest_length=options.get("rest_length"))
    share = vertex_shares(np.asarray(blank.rest_length), blank.tree)
    mass = config.linear_density * share
    return Rod(
        position,
        mass=mass,
        bend_stiffness=config.bend_stiffness,
        twist_stiffness=config.twist_stiffness,
        stretch_stiffness=stretch * config.linear_density,
        bend_damping=config.relaxation_time,
        twist_damping=config.relaxation_time,
        drag=config.drag * mass,
        quadratic_drag=AIR * 2 * radius * share,
        radius=radius,
        **options,
    )


def hanging_shape(count: int, length: float | np.ndarray, span: float, height: float) -> np.ndarray:
    """Vertices of a cable that hangs in a bow along x, its first and last edge level, shape (count, 3) [m].

    ``length``: of the cable, or of its edges (count - 1,) [m]. The ends are ``span`` apart at z = ``height``. With the
    tangent's angle -a sin(2 pi s) it is nearly its shape at rest.
    """
    length = np.broadcast_to(np.asarray(length) / (1 if np.ndim(length) else count - 1), (count - 1,))
    along = np.cumsum(length)
    wave = np.sin(2 * np.pi * (along - length / 2) / along[-1])
    wave[[0, -1]] = 0.0
    low, high = 0.0, 2.0
    for _ in range(60):  # the bow that is as wide as wanted
        a = (low + high) / 2
        low, high = (a, high) if np.cos(a * wave) @ length > span else (low, a)
    edges = np.stack([np.cos(a * wave), np.zeros(count - 1), -np.sin(a * wave)], axis=1) * length[:, None]
    position = np.concatenate([np.zeros((1, 3)), np.cumsum(edges, axis=0)])
    return position - [position[-1, 0] / 2, 0.0, -height]


def gripper(
    name: str, first: np.ndarray, second: np.ndarray, *, margin: float = 0.0, radius: float = GRIPPER_RADIUS
) -> Effector:
    """A gripper about the edge between two vertices [m], shape (3,) each; its z axis is the edge's direction.

    ``margin``: by which it is shorter at both ends [m], where vertices follow so closely that it would push them.
    ``radius``: [m].
    """
    edge = second - first
    z = edge / np.linalg.norm(edge)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    orientation = quaternion_of_matrix(np.stack([x, np.cross(z, x), z], axis=1))
    shape = Capsule(radius, float(np.linalg.norm(edge)) / 2 - margin)
    return Effector(name, shape, (first + second) / 2, orientation=orientation.tolist(), color=GRIPPER_COLOR)


def turned(orientation: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The quaternion (4,) of ``orientation`` (4,) turned by the vector ``rotation`` (3,) [rad], in the world's axes."""
    angle = float(np.linalg.norm(rotation))
    w, u = np.cos(angle / 2), np.sinc(angle / 2 / np.pi) / 2 * np.asarray(rotation, float)
    s, v = orientation[0], np.asarray(orientation[1:], float)
    return np.concatenate([[w * s - u @ v], w * v + s * u + np.cross(u, v)])


def polyline(position: np.ndarray, parents: np.ndarray, spacing: float) -> np.ndarray:
    """Points along the edges of a tree of vertices (n, 3), about ``spacing`` apart, shape (k, 3) [m]."""
    points = [position[:1]]
    for start, end in zip(position[parents[1:]], position[1:], strict=True):
        count = max(int(np.linalg.norm(end - start) / spacing), 1)
        points.append(start + np.linspace(0.0, 1.0, count + 1)[1:, None] * (end - start))
    return np.concatenate(points)
