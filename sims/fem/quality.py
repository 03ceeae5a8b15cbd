"""How good tetrahedra are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
OPPOSITE = ((2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1))
"""The two nodes of a tetrahedron that are not on an edge."""


@dataclass(frozen=True)
class MeshQuality:
    """Measures of a mesh; a regular tetrahedron has radius ratio 1, aspect 1 and dihedral angles of 70.5°.

    Attributes:
        nodes, tetrahedra: how many there are.
        smallest_radius_ratio, mean_radius_ratio: three times the radius of the inscribed sphere over that of the
            circumscribed one.
        largest_aspect: the longest edge over the radius of the inscribed sphere, divided by 2√6.
        smallest_dihedral: the smallest angle between two faces of a tetrahedron [rad].
        smallest_volume: of a tetrahedron [m³].
    """

    nodes: int
    tetrahedra: int
    smallest_radius_ratio: float
    mean_radius_ratio: float
    largest_aspect: float
    smallest_dihedral: float
    smallest_volume: float

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes, {self.tetrahedra} tetrahedra; radius ratio at least "
            f"{self.smallest_radius_ratio:.3f}, mean {self.mean_radius_ratio:.3f}; aspect at most "
            f"{self.largest_aspect:.2f}; smallest dihedral angle {np.degrees(self.smallest_dihedral):.1f} deg; "
            f"smallest volume {self.smallest_volume:.3g} m^3"
        )


def mesh_quality(positions: np.ndarray, tetrahedra: np.ndarray) -> MeshQuality:
    """Quality of tetrahedra (T, 4) with nodes at positions (N, 3) [m]."""
    corners = positions[tetrahedra]
    ratio, inradius = radius_ratios(corners)
    longest = np.max([np.linalg.norm(corners[:, a] - corners[:, b], axis=1) for a, b in EDGES], axis=0)
    volume = _determinant(corners) / 6
    return MeshQuality(
        nodes=len(positions),
        tetrahedra=len(tetrahedra),
        smallest_radius_ratio=float(ratio.min()),
        mean_radius_ratio=float(ratio.mean()),
        largest_aspect=float((longest / inradius).max() / (2 * np.sqrt(6))),
        smallest_dihedral=float(dihedral_angles(corners).min()),
        smallest_volume=float(volume.min()),
    )


def radius_ratios(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radius ratios (T,) and radii of the inscribed spheres (T,) [m] of tetrahedra with corners (T, 4, 3) [m]."""
    area = sum(
        np.linalg.norm(np.cross(corners[:, b] - corners[:, a], corners[:, c] - corners[:, a]), axis=1) / 2
        for a, b, c in ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))
    )
    volume = np.abs(_determinant(corners)) / 6
    inradius = 3 * volume / area
    # Crelle: 6 V R is the area of the triangle whose sides are the products of opposite edges.
    p, q, r = (
        np.linalg.norm(corners[:, a] - corners[:, b], axis=1) * np.linalg.norm(corners[:, c] - corners[:, d], axis=1)
        for (a, b), (c, d) in (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
    )
    product = np.sqrt(np.maximum((p + q + r) * (p + q - r) * (p - q + r) * (-p + q + r), 0.0)) / 4
    return 18 * volume * inradius / product, inradius


def dihedral_angles(corners: np.ndarray) -> np.ndarray:
    """Angles (T, 6) [rad] between the faces at each edge of tetrahedra with corners (T, 4, 3) [m]."""
    angles = []
    for (a, b), (c, d) in zip(EDGES, OPPOSITE, strict=True):
        along = corners[:, b] - corners[:, a]
        along = along / np.linalg.norm(along, axis=1, keepdims=True)
        one, other = (
            (corners[:, e] - corners[:, a])
            - along * np.einsum("ti,ti->t", corners[:, e] - corners[:, a], along)[:, None]
            for e in (c, d)
        )
        sine = np.linalg.norm(np.cross(one, other), axis=1)
        angles.append(np.arctan2(sine, np.einsum("ti,ti->t", one, other)))
    return np.stack(angles, axis=1)


def _determinant(corners: np.ndarray) -> np.ndarray:
    one, two, three = (corners[:, i] - corners[:, 0] for i in (1, 2, 3))
    return np.einsum("ti,ti->t", one, np.cross(two, three))
