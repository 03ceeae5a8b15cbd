"""Arms in pictures: the meshes of their links, thinned out, and the stick that joins an arm's tool and its effector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from pliant.envs.arms import Arms
from pliant.sims.camera.meshes import TriangleMesh
from pliant.sims.math.rotation_host import quaternion_of_matrix
from pliant.sims.robot.kinematics import Visual
from pliant.sims.robot.kinematics_urdf import load_arm
from pliant.sims.robot.shapes import Capsule

BUDGET = 8000  # triangles of a link
STICK = 0.004  # radius of the stick [m]
STICK_COLOR = (0.35, 0.36, 0.38)
WHITEST = 0.92  # paint of the arms: pure white would lose its shading


class ArmPictures:
    """What pictures show of a task's arms; keeps their meshes."""

    def __init__(self, arms: Arms) -> None:
        self._arms = arms
        self._looks = [[(visual, _link_mesh(visual.path, *visual.scale)) for visual in c.visuals] for c in arms.chains]

    def meshes(self, joint_angle: np.ndarray) -> list[tuple[TriangleMesh, Any, Any, Sequence[float]]]:
        """The links at joint angles (J,) [rad], as `pliant.sims.camera.renderer.Renderer` takes them."""
        parts: list[tuple[TriangleMesh, Any, Any, Sequence[float]]] = []
        for chain, q, looks in zip(self._arms.chains, self._arms.split(joint_angle[None]), self._looks, strict=True):
            (position,), (rotation,) = chain.frames(q)
            for visual, mesh in looks:
                at = position[visual.link] + rotation[visual.link] @ visual.position
                turned = quaternion_of_matrix(rotation[visual.link] @ visual.rotation)
                parts.append((mesh, at, turned, _paint(visual)))
        return parts

    def sticks(self, joint_angle: np.ndarray) -> list[tuple[Any, Any, Any, Sequence[float]]]:
        """Between each tool and the centre of its effector, as surfaces of the renderer."""
        result: list[tuple[Any, Any, Any, Sequence[float]]] = []
        for chain, q in zip(self._arms.chains, self._arms.split(joint_angle[None]), strict=True):
            (position,), (rotation,) = chain.frames(q)
            tool, effector = (position[-1] + rotation[-1] @ c.tool_position for c in (load_arm(chain.name), chain))
            along = effector - tool
            length = float(np.linalg.norm(along))
            if length > STICK:
                stick = Capsule(STICK, length / 2)
                result.append((stick, (tool + effector) / 2, _turn_z_to(along / length), STICK_COLOR))
        return result


def _paint(visual: Visual) -> tuple[float, ...]:
    return tuple(min(part, WHITEST) for part in visual.color)


def _turn_z_to(direction: np.ndarray) -> np.ndarray:
    """The quaternion that turns z to a unit vector."""
    x, y, z = direction
    q = np.array([1.0 + z, -y, x, 0.0])
    return q / np.linalg.norm(q) if z > -1.0 + 1e-9 else np.array([0.0, 1.0, 0.0, 0.0])


@cache
def _link_mesh(path: str, *scale: float) -> TriangleMesh:
    """A mesh file as a mesh of at most `BUDGET` triangles."""
    import trimesh

    mesh: Any = trimesh.load(path, force="mesh", process=False, skip_materials=True)
    vertices, faces = np.asarray(mesh.vertices) * np.array(scale), np.asarray(mesh.faces)
    edges = vertices[faces[:, 1:]] - vertices[faces[:, :1]]
    area = 0.5 * float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum())
    side = np.sqrt(2.0 * area / BUDGET)  # of the cubes: two triangles each
    fewer = vertices, faces
    while len(fewer[1]) > BUDGET:
        fewer = merge_vertices(vertices, faces, side)
        side *= 1.1
    return TriangleMesh(*fewer)


def merge_vertices(vertices: np.ndarray, faces: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """A thinner mesh: the vertices in each cube of ``side`` [m] become their mean (Rossignac & Borrel 1993).

    Triangles that collapse go, and so do all but one of those between the same three vertices.
    """
    place = np.floor((vertices - vertices.min(axis=0)) / side).astype(int)
    _, cube = np.unique(np.ravel_multi_index(tuple(place.T), tuple(place.max(axis=0) + 1)), return_inverse=True)
    count = np.bincount(cube)
    merged = np.stack([np.bincount(cube, vertices[:, d]) / count for d in range(3)], axis=1)
    mapped = cube[faces]
    corners = np.sort(mapped, axis=1)
    whole = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])
    number = np.ravel_multi_index(tuple(corners[whole].T), (len(merged),) * 3)
    return merged, mapped[whole][np.sort(np.unique(number, return_index=True)[1])]
