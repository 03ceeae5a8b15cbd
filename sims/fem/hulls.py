"""Convex hulls of gels: gels do not touch each other, so that one that goes into another is a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull

from pliant.sims.math.rotation_host import matrix_of_quaternion

if TYPE_CHECKING:
    from pliant.sims.fem.mesh import GelMesh

SHARE = 0.05
"""How deep, as a share of its own height, a gel's hull may be entered by a node of another one."""


def hull_of(mesh: GelMesh) -> np.ndarray:
    """Half-spaces n.x + d <= 0 of a gel at rest in the frame of its mount, (F, 4), moved inwards by `SHARE`."""
    planes = np.unique(ConvexHull(mesh.positions).equations.round(9), axis=0)
    planes[:, 3] += SHARE * float(np.ptp(mesh.positions[:, 2]))
    return planes


def check_apart(meshes: Sequence[GelMesh], mounts: Sequence[str], poses: Sequence[np.ndarray]) -> None:
    """Raise ``ValueError`` if a gel begins within another one; poses: positions and quaternions of the mounts, (7,)."""
    if len(meshes) < 2:
        return
    turns = [matrix_of_quaternion(np.asarray(pose, float)[None, 3:])[0] for pose in poses]
    for g, mesh in enumerate(meshes):
        places = poses[g][:3] + mesh.positions @ turns[g].T
        for other, name in enumerate(mounts):
            planes = hull_of(meshes[other])
            local = (places - poses[other][:3]) @ turns[other]
            if g != other and (local @ planes[:, :3].T + planes[:, 3] < 0).all(axis=1).any():
                raise ValueError(
                    f"the gels on {mounts[g]!r} and {name!r} are in each other; gels must begin apart: place their "
                    "mounts further from each other"
                )
