"""Meshes of domes: spherical caps, solid or as shells over a rigid core, on a cylinder or not.

The hexahedra are those of the upper half of a cube in shells ("butterfly"): a block in the middle and five blocks
around it that end at the sphere. Nowhere do edges run together in a pole, and the cells under the apex are a square
grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.sims.fem.hexahedra import graded, graded_up, grid_hexahedra, mesh_of_hexahedra
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.inputs import real, real_array, shown, whole

STRONGEST_GRADING = 3.0
MOST_CELLS = 200
TALLEST = 4.0
"""Height of the cylinder over the sphere's radius."""

FLATTENED = 0.6
"""Depth of a shell's cells over their width, on average, where cells are chosen by the number of nodes."""

CORE = 0.55
"""Size of the block in the middle, as a share of the cube's."""

BOX = 0.75
"""Size of the box that the innermost surfaces tend to, as a share of the dome's."""

ROUNDING = 1.5
"""Power of the distance from the middle with which surfaces go over from the box to the sphere."""


@dataclass(frozen=True)
class _Dome:
    """A cap of a sphere on a cylinder, as the image of the surface of the upper half of a cube.

    radius: of the sphere; height: of the cap; base: height of the cylinder [m].
    """

    radius: float
    height: float
    base: float

    @property
    def low(self) -> float:
        """Height of the cap's rim over the sphere's centre [m]."""
        return self.radius - self.height

    @property
    def crease(self) -> float:
        """Where up the cube's side, 0...1, the cylinder ends; above it is what the square leaves of the cap."""
        return self.base / (self.base + self.square / 2)

    @property
    def rim(self) -> float:
        """Radius of the cap's rim [m]."""
        return float(np.sqrt(self.height * (2 * self.radius - self.height)))

    @property
    def square(self) -> float:
        """Width of the square under the apex along the sphere, half of the cap's [m]."""
        return self.radius * float(np.arccos(self.low / self.radius))

    def surface(self, cube: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """Points (n, 3) [m] ``depth`` [m] under the dome, of points (n, 3) on the cube: x, y in -1...1, z in 0...1."""
        radius, crease = self.radius - depth, self.crease
        top = cube[:, 2] >= 1.0
        up = np.where(top, 1.0, np.clip((cube[:, 2] - crease) / (1.0 - crease), 0.0, 1.0))
        # faces of the cube by equal angles, their polar angles drawn together to the cap's
        direction = np.column_stack([np.tan(np.pi / 4 * cube[:, :2]), np.tan(np.pi / 4 * up)])
        azimuth = np.arctan2(direction[:, 1], direction[:, 0])
        polar = np.arctan2(np.hypot(direction[:, 0], direction[:, 1]), direction[:, 2])
        polar *= np.arccos(self.low / radius) / (np.pi / 2)
        out = radius * np.sin(polar)
        height = self.base + radius * np.cos(polar) - self.low
        if crease > 0:
            height = np.where(cube[:, 2] <= crease, self.base * cube[:, 2] / crease, height)
        else:
            height[cube[:, 2] == 0.0] = 0.0
        return np.column_stack([out * np.cos(azimuth), out * np.sin(azimuth), height])

    def solid(self, cube: np.ndarray) -> np.ndarray:
        """Points (n, 3) [m] of the dome from points (n, 3) of the upper half of the cube."""
        size = np.maximum(np.abs(cube[:, :2]).max(axis=1), cube[:, 2])[:, None]
        on_face = cube / np.where(size > 0, size, 1.0)
        on_face = np.where(np.abs(on_face) > 1 - 1e-12, np.sign(on_face), on_face)
        box = BOX * np.array([self.rim, self.rim, self.height + self.base]) * on_face
        share = size**ROUNDING
        return size * ((1 - share) * box + share * self.surface(on_face))


def dome_mesh(
    radius: float = 0.015,
    height: float | None = None,
    *,
    base: float = 0.0,
    thickness: float | None = None,
    cells: Sequence[int] | None = None,
    grading: Sequence[float] = (1.4, 1.3),
    nodes: int | None = None,
) -> GelMesh:
    """A dome: a cap of a sphere, its apex on the z axis; it mirrors itself at x = 0, y = 0 and x = ±y.

    A solid dome is glued to the mount at z = 0. A shell is glued to a rigid core, over which it is as thick everywhere
    but near the rim, and to the mount at its rim.

    With 500 to 2,000 ``nodes`` and the default grading, radius ratios are at least 0.2 for hemispheres, about 0.1 for
    caps of a fifth of the radius and for cylinders as high as the radius (mean: 0.45 and more). Flatter and slimmer
    shapes have worse tetrahedra; `GelMesh.quality` tells.

    Args:
        radius: of the sphere [m].
        height: of the cap, at most ``radius`` (a hemisphere, the default) [m].
        base: height of a cylinder under the cap, at most four times ``radius`` [m].
        thickness: of a shell, less than ``height`` [m]; None: the dome is solid.
        cells: hexahedra across the square under the apex (an even number), from the mount up to that square, and from
            the core (or from the block in the middle) to the surface. Default: about a thousand nodes.
        grading: powers of the grading across the square and in depth, 1...3; 1: cells of one size.
        nodes: about how many, in place of ``cells``.

    Raises:
        ValueError: an argument is out of range; both ``cells`` and ``nodes`` are given.
    """
    radius = real("radius", radius, above=0.0, unit="m")
    height = radius if height is None else real("height", height, high=radius, above=0.0, unit="m")
    real("height / radius", height / radius, 0.05)
    base = real("base", base, 0.0, TALLEST * radius, unit="m")
    if thickness is not None:
        thickness = real("thickness", thickness, high=0.9 * height, above=0.0, unit="m")
    powers = real_array("grading", grading, shape=(2,))
    for i, power in enumerate(powers.tolist()):
        real(f"grading[{i}]", power, 1.0, STRONGEST_GRADING)
    dome = _Dome(radius, height, base)
    across, up, shells = _counts(cells, nodes, dome, thickness)

    line = graded(across, powers[0])
    side = _side_levels(up, dome.crease)
    cube = np.stack(np.meshgrid(line, line, side, indexing="ij"), axis=-1)
    outer = np.ones(cube.shape[:3], bool)
    outer[1:-1, 1:-1, :-1] = False
    on_surface = np.full(cube.shape[:3], -1)
    on_surface[outer] = np.arange(outer.sum())
    depths = graded_up(shells, powers[1])
    if thickness is None:
        sizes = CORE + (1 - CORE) * depths[1:]
        places = [dome.solid(CORE * cube.reshape(-1, 3)), *(dome.solid(size * cube[outer]) for size in sizes)]
        middle = np.arange(outer.size).reshape(outer.shape)
        layers = np.stack([middle, *(outer.size + level * outer.sum() + on_surface for level in range(shells))], axis=3)
    else:
        places = [dome.surface(cube[outer], thickness * (1 - share)) for share in depths]
        layers = np.stack([level * outer.sum() + on_surface for level in range(shells + 1)], axis=3)
    positions = np.concatenate(places)
    mounted = positions[:, 2] == 0.0
    if thickness is not None:
        mounted[: outer.sum()] = True
    hexahedra, mirrored = _hexahedra(layers, thickness is None)
    return mesh_of_hexahedra(positions, hexahedra, mirrored, mounted)


def _hexahedra(layers: np.ndarray, solid: bool) -> tuple[np.ndarray, np.ndarray]:
    """Hexahedra (C, 8), and whether they are mirrored (C,), from node numbers (n + 1, n + 1, m + 1, shells + 1)."""
    across, up = layers.shape[0] - 1, layers.shape[2] - 1
    to_middle = np.arange(across) < across // 2
    straight = np.zeros(up, bool)
    blocks = [
        (layers[:, :, -1], (to_middle, to_middle), False),  # above: x, y, z
        (layers[-1], (to_middle, straight), False),  # y, z, outwards along x
        (layers[0], (to_middle, straight), True),
        (layers[:, -1], (to_middle, straight), True),  # x, z, outwards along y
        (layers[:, 0], (to_middle, straight), False),
    ]
    if solid:
        blocks.append((layers[..., 0], (to_middle, to_middle), False))
    parts = [grid_hexahedra(numbers, reverse) for numbers, reverse, _ in blocks]
    turned = [mirrored ^ left_handed for (_, mirrored), (_, _, left_handed) in zip(parts, blocks, strict=True)]
    return np.concatenate([hexahedra for hexahedra, _ in parts]), np.concatenate(turned)


def _side_levels(up: int, crease: float) -> np.ndarray:
    """Heights (up + 1,) of nodes up the cube's side, 0...1, with one at the crease."""
    if crease == 0:
        return np.linspace(0.0, 1.0, up + 1)
    if up < 2:
        raise ValueError(
            f"cells[1]={up} must be at least 2 where there is a base: one for the cylinder, one for the cap"
        )
    below = min(max(round(up * crease), 1), up - 1)
    return np.concatenate([np.linspace(0.0, crease, below + 1), np.linspace(crease, 1.0, up - below + 1)[1:]])


def _node_count(across: int, up: int, shells: int, solid: bool) -> int:
    on_surface = (across + 1) ** 2 + 4 * across * up
    return on_surface * shells + ((across + 1) ** 2 * (up + 1) if solid else on_surface)


def _counts(cells: Any, nodes: int | None, dome: _Dome, thickness: float | None) -> tuple[int, int, int]:
    if cells is not None and nodes is not None:
        raise ValueError(f"cells={shown(cells)} and nodes={shown(nodes)} are both given; allowed: one of them")
    if cells is None:
        return _cells_for(1000 if nodes is None else whole("nodes", nodes, 100, 200_000), dome, thickness)
    try:
        values = list(cells)
    except TypeError:
        values = []
    if len(values) != 3:
        raise ValueError(f"cells={shown(cells)} must be three integers: across the apex, up the side, in depth")
    across, up, shells = (whole(f"cells[{i}]", value, (2, 1, 1)[i], MOST_CELLS) for i, value in enumerate(values))
    if across % 2:
        raise ValueError(f"cells[0]={across} must be even: the middle of the dome is a plane of mirror")
    return across, up, shells


def _cells_for(nodes: int, dome: _Dome, thickness: float | None) -> tuple[int, int, int]:
    """Counts with about so many nodes and cells that are about as deep as they are wide."""
    slender = min(1.0, dome.height / dome.rim)
    if thickness is None:
        sides, depths = slender / 3 / (1 - dome.crease), slender / 3
    else:
        sides, depths = 1 / 3 / (1 - dome.crease), thickness / (FLATTENED * dome.square)
    best, least = (4, 2, 2), np.inf
    for across in range(2, MOST_CELLS + 1, 2):
        side, deep = (max(2.0, across * share) for share in (sides, depths))
        for up in range(max(2, int(side / 1.4)), min(int(1.4 * side) + 1, MOST_CELLS) + 1):
            for shells in range(max(2, int(deep / 1.4)), min(int(1.4 * deep) + 1, MOST_CELLS) + 1):
                off = abs(_node_count(across, up, shells, thickness is None) / nodes - 1)
                off += 0.2 * (abs(np.log(up / side)) + abs(np.log(shells / deep)))
                if off < least:
                    best, least = (across, up, shells), off
        if _node_count(across, 2, 2, thickness is None) > 2 * nodes:
            break
    return best
