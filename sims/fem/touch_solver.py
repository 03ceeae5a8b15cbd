"""Contact of gels with particles or a rod, as a part of a World."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pliant.sims.fem import touch_places as own
from pliant.sims.fem.bins import LIVE, MOST_CELLS
from pliant.sims.fem.explicit_solver import ExplicitGelPart
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.touch_places import ROD_WORK, TouchSetup
from pliant.sims.fields import Needs, Quantity, Record, numbers
from pliant.sims.mpm.solver import MPMPart
from pliant.sims.part import Part, Stages
from pliant.sims.rod.solver import RodPart


class TouchPart(Part):
    """What particles or a rod do to gels, and the reverse; it stands before both in the World.

    Args:
        gels: their part.
        values: "grip_stiffness", "grip_tangential_stiffness" [Pa/m], "grip_damping" [s/m], "grip_friction" (G,).
        onset: half the width of the layer in which contact sets in [m].
    """

    element_name = "point"

    def __init__(self, gels: ExplicitGelPart, values: Mapping[str, Any], onset: float) -> None:
        self.gels, self.values, self.onset = gels, dict(values), onset
        self.points = len(gels.pressed.gels)
        self.fans = vertex_fans([gel.mesh for gel in gels.scene.gels])

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Points, the triangles around them, and their contact."""
        fans, gels = self.fans, len(self.gels.scene.gels)
        stiffness = Record(
            "world",
            [
                Quantity("grip_stiffness", (), "Pa/m"),
                Quantity("grip_tangential_stiffness", (), "Pa/m"),
                Quantity("grip_damping", (), "s/m"),
            ],
        )
        return Needs(
            state=[Record("stick", [Quantity("grip_stick", (own.POINT_STATE,), is_shown=False)], self.points)],
            parameters=[stiffness, numbers("friction", gels, title="grip_friction")],
            counts={"points": self.points, "sum_count": own.WORLD_PARAMETERS + gels},
            numbers={"onset": self.onset},
            constants={"vertex_rest": fans["vertex_rest"]},
            integers={name: fans[name] for name in ("vertex_nodes", "vertex_points", "fan_starts", "fans")},
            scratch={"point_work": batch * self.points * own.POINT_WORK},
            partial={"sums": own.WORLD_PARAMETERS + gels},
        )

    def initial(self) -> Mapping[str, Any]:
        """Nothing sticks; the parameters."""
        return self.values

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Stiffnesses are positive, damping and friction not negative; the substep of the gels is not too large."""
        low = float(values[name].min())
        if name in ("grip_stiffness", "grip_tangential_stiffness") and low <= 0:
            raise ValueError(f"parameter {name!r}={low} must be positive")
        if low < 0:
            raise ValueError(f"parameter {name!r}={low} must not be negative")
        if name in ("grip_stiffness", "grip_tangential_stiffness"):
            self.gels.check_push(name, max(float(values[key].max()) for key in values if key.endswith("stiffness")))


class ParticleTouchPart(TouchPart):
    """Contact of gels with the bodies of a scene of the material point method.

    Args:
        matter: the part of the bodies.
        gels, values, onset: see ``TouchPart``.
        width: of the kernel through which a point sees particles [m].
    """

    def __init__(
        self, matter: MPMPart, gels: ExplicitGelPart, values: Mapping[str, Any], onset: float, width: float
    ) -> None:
        super().__init__(gels, values, onset)
        self.matter, self.width = matter, width
        matter.push = lambda: self.at.kicks
        self.key: tuple[Any, ...] = ("gels and particles", gels.key, matter.key)

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Points, particles in reach, the cells by which they find each other."""
        needs = super().needs(batch=batch, team=team, differentiable=differentiable)
        particles = self.matter.count
        needs.counts = {**needs.counts, "particles": particles}
        needs.numbers = {**needs.numbers, "width": self.width}
        needs.integers = {
            **needs.integers,
            "box": batch * LIVE,
            "point_starts": batch * (MOST_CELLS + 1),
            "point_order": batch * self.points,
            "active_starts": batch * (MOST_CELLS + 1),
            "active_order": batch * self.points,
            "particle_starts": batch * (MOST_CELLS + 1),
            "particle_order": batch * particles,
            "codes": batch * particles,
            "reached": batch * MOST_CELLS,
        }
        needs.scratch = {
            **needs.scratch,
            "corner": batch * 4,
            "kicks": batch * 3 * particles,
            "seen": batch * self.points * own.SEEN,
            "listed": batch * particles * own.LISTED,
        }
        return needs

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """Forces at the start of a substep, and what they depend on."""
        from pliant.sims.fem.particle_touch import particle_touch_stages

        return particle_touch_stages(
            TouchSetup(self.at, self.gels.setup(fp, device), self.matter.setup(dim, fp, device))
        )


class RodTouchPart(TouchPart):
    """Contact of gels with a rod.

    Args:
        matter: the part of the rod.
        gels, values, onset: see ``TouchPart``.
    """

    def __init__(self, matter: RodPart, gels: ExplicitGelPart, values: Mapping[str, Any], onset: float) -> None:
        super().__init__(gels, values, onset)
        self.matter = matter
        matter.push = lambda: (self.at.kicks, self.at.kick_bars)
        self.key: tuple[Any, ...] = ("gels and a rod", gels.key, matter.key)

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Points, the edges nearest to them, forces on vertices."""
        needs = super().needs(batch=batch, team=team, differentiable=differentiable)
        vertices, gels = self.matter.count, len(self.gels.scene.gels)
        needs.integers = {
            **needs.integers,
            "nearest": batch * self.points,
            "near": batch * gels * (vertices + 1),
        }
        needs.scratch = {
            **needs.scratch,
            "rod_work": batch * self.points * ROD_WORK,
            "kicks": batch * 3 * vertices,
            "kick_bars": batch * 3 * vertices,
        }
        return needs

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """Forces at the start of a substep, and what they depend on."""
        from pliant.sims.fem.rod_touch import rod_touch_stages

        return rod_touch_stages(TouchSetup(self.at, self.gels.setup(fp, device), self.matter.setup(fp)))


def vertex_fans(meshes: Sequence[GelMesh]) -> dict[str, np.ndarray]:
    """The triangles around each point, as the other two vertices of each, in turn.

    Vertices are all nodes of the surfaces, mounted ones too. vertex_rest: (3 V,) [m].  vertex_nodes, vertex_points:
    free node and point of each, or -1.  fan_starts: (points + 1,).  fans: (2 F,) vertices.
    """
    rest, nodes, points, owners, others = [], [], [], [], []
    first_vertex = first_node = first_point = 0
    for mesh in meshes:
        used, free = mesh.surface_nodes, ~mesh.mounted
        number = np.full(len(mesh.positions), -1)
        number[free] = np.arange(mesh.free_count) + first_node
        point = np.full(len(mesh.positions), -1)
        touching = used[free[used]]
        point[touching] = np.arange(len(touching)) + first_point
        vertex = np.full(len(mesh.positions), -1)
        vertex[used] = np.arange(len(used)) + first_vertex
        rest.append(mesh.positions[used].ravel())
        nodes.append(number[used])
        points.append(point[used])
        for turn in range(3):
            corner = np.roll(mesh.surface, -turn, axis=1)
            kept = point[corner[:, 0]] >= 0
            owners.append(point[corner[kept, 0]])
            others.append(vertex[corner[kept, 1:]])
        first_vertex += len(used)
        first_node += mesh.free_count
        first_point += len(touching)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return {
        "vertex_rest": np.concatenate(rest),
        "vertex_nodes": np.concatenate(nodes),
        "vertex_points": np.concatenate(points),
        "fan_starts": np.searchsorted(owner[order], np.arange(first_point + 1)),
        "fans": np.concatenate(others)[order].ravel(),
    }
