"""Arms in pictures: the meshes of their links, thinned out, and the stick that joins an arm's tool and its effector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from pliant.envs.arms.holding import Arms
from pliant.sims.camera.meshes import TriangleMesh
from pliant.sims.math.rotation_host import quaternion_of_matrix
from pliant.sims.robot.kinematics import Chain, Visual
from pliant.sims.shapes.shapes import Capsule

BUDGET = 8000  # triangles of a link
STICK = 0.004  # radius of the stick [m]
STICK_COLOR = (0.35, 0.36, 0.38)
WHITEST = 0.92  # paint of the arms: pure white would lose its shading
LIMB, LIMB_COLOR = 0.03, (0.75, 0.77, 0.8)  # radius [m] and color of links whose file names no meshes
LARGEST = 10.0  # times the reach of its arm that a mesh may be large


class ArmPictures:
    """What pictures show of a task's arms; keeps their meshes."""

    def __init__(self, arms: Arms) -> None:
        self._arms = arms
        reach = _reach(arms.model)
        self._looks = [[(visual, _checked_mesh(visual, reach)) for visual in c.visuals] for c in arms.chains]

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
        """Between each tool and the centre of its effector, as surfaces of the renderer.

        Arms without meshes are shown as sticks from joint to joint.
        """
        result: list[tuple[Any, Any, Any, Sequence[float]]] = []
        for chain, q in zip(self._arms.chains, self._arms.split(joint_angle[None]), strict=True):
            (position,), (rotation,) = chain.frames(q)
            tool, effector = (position[-1] + rotation[-1] @ c.tool_position for c in (self._arms.model, chain))
            result += _stick(tool, effector, STICK, STICK_COLOR)
            if not chain.visuals:
                places = [*position, tool]
                for start, end in pairwise(places):
                    result += _stick(start, end, LIMB, LIMB_COLOR)
        return result


def _stick(
    start: np.ndarray, end: np.ndarray, radius: float, color: Sequence[float]
) -> list[tuple[Any, Any, Any, Sequence[float]]]:
    """A capsule between two points as a surface of the renderer; nothing where they are nearer than its radius."""
    length = float(np.linalg.norm(end - start))
    if length <= radius:
        return []
    return [(Capsule(radius, length / 2), (start + end) / 2, _turn_z_to((end - start) / length), color)]


def _reach(chain: Chain) -> float:
    """Upper bound of the distance from the base to the tool [m]."""
    largest = np.maximum(np.abs(chain.lower), np.abs(chain.upper))
    if chain.coupling is not None and chain.offset is not None:
        largest = np.abs(chain.coupling) @ largest + np.abs(chain.offset)
    steps = np.linalg.norm(chain.origin_position, axis=1).sum() + np.linalg.norm(chain.tool_position)
    return float(steps + largest[chain.slides].sum())


def _checked_mesh(visual: Visual, reach: float) -> TriangleMesh:
    """The mesh of a link; ``ValueError`` if it cannot be that of an arm with this reach [m]."""
    mesh = _link_mesh(visual.path, *visual.scale)
    size = float(np.ptp(mesh.vertices, axis=0).max())
    if size > LARGEST * reach:
        raise ValueError(
            f"mesh {visual.path!r} of an arm is {size:.4g} m large at scale={visual.scale.tolist()}, its arm reaches "
            f'{reach:.4g} m; a mesh in millimetres needs scale="0.001 0.001 0.001" in the URDF file'
        )
    return mesh


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
