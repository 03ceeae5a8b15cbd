"""Gels, and the rigid bodies that they touch, as a part of a World."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pliant.sims.failures import CAUSES, NOT_CONVERGED, Cause
from pliant.sims.fem import places
from pliant.sims.fem.hulls import hull_of
from pliant.sims.fem.numbering import join_meshes
from pliant.sims.fem.places import ADJOINT, COLLAPSED, FORWARD, MOST_POISSON, TOO_CLOSE, TOO_DEEP, Setup
from pliant.sims.fem.skin import skin_within_triangles
from pliant.sims.fields import Needs, Quantity, Record, numbers
from pliant.sims.linear.conjugate_gradient import conjugate_gradient_needs
from pliant.sims.part import Part, Stages
from pliant.sims.robot.effector_part import EffectorPart
from pliant.sims.shapes.shape_kernels import SOLIDS
from pliant.sims.shapes.shapes import pack_shapes

LEAST_DILATATION = 0.02
"""A tetrahedron of less than this share of its volume counts as turned inside out."""

CELL_WORK = 4
"""As how many particles a cell counts where threads share a world: an implicit step of it takes longer than theirs.

Two threads step a gel of 1,440 cells 1.6 times as fast as one, of 3,360 cells 1.9 times. Smaller ones would gain as
well, but members of a team wait by spinning, and are slow where another process has their core.
"""

NEAR = 0.5
"""Gap, in mean edges, up to which a point may come to touch a shape within a step."""

LONGEST_STEP = 1.0
"""The longest move of a step of Newton's iteration, in mean edges."""


class GelPart(Part):
    """The gels and bodies of a scene as a part of its World.

    Args:
        scene: what there is, a ``GelScene``.
        effectors: the part of the effectors, on which gels are mounted.
    """

    element_name = "cell"
    cell_work = CELL_WORK
    least_dilatation = LEAST_DILATATION
    known_shapes: tuple[int, ...] = SOLIDS  # measured: they cost no time, and most scenes share their kernels
    fast_math = False  # measured: compiles in three quarters of the time, and runs no slower
    causes = CAUSES | {
        NOT_CONVERGED: Cause(
            "the implicit step of a gel did not converge; it is pressed too fast or deep, or the substep is too long",
            "gel_displacement",
        ),
        TOO_DEEP: Cause(
            "a gel is pressed too deep for its mesh: a tetrahedron has turned inside out", "gel_displacement"
        ),
        COLLAPSED: Cause(
            "a gel is pressed too deep for its mesh: a cell has lost most of its volume", "gel_displacement"
        ),
        TOO_CLOSE: Cause(
            "two gels have gone into each other, and gels do not touch each other: a gripper has closed through itself",
            "effector_position",
        ),
    }

    def __init__(self, scene: Any, effectors: EffectorPart) -> None:
        self.scene, self.effectors = scene, effectors
        meshes = [gel.mesh for gel in scene.gels]
        self.topology, self.skin = join_meshes(meshes), skin_within_triangles(meshes)
        names = [e.name for e in scene.effectors]
        self.mounts = np.array([names.index(gel.mount) for gel in scene.gels])
        touched = [names.index(name) for name in scene.touched or ()]
        self.shape_frames = np.array(touched + [len(names) + k for k in range(len(scene.bodies))], int)
        kinds = {int(shape.record()[0]) for shape in self._shapes()}
        self.kinds = tuple(sorted(kinds | set(self.known_shapes if kinds else ())))
        self.elements = self.cell_work * len(self.topology.cell_gels)
        self.key: tuple[Any, ...] = ("gel", self.kinds, bool(scene.bodies), len(scene.gels) > 1)

    def _shapes(self) -> list[Any]:
        scene = self.scene
        by_name = {e.name: e.shape for e in scene.effectors}
        return [by_name[name] for name in scene.touched or ()] + [body.shape for body in scene.bodies]

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Nodes, bodies and pairs; the mesh and its matrix; two linear systems."""
        scene, t = self.scene, self.topology
        nodes, bodies, shapes = len(t.rest), len(scene.bodies), len(self.shape_frames)
        skin, body_points = self.skin, [body.points for body in scene.bodies]
        gel_points, point_bodies = len(skin.gels), np.repeat(np.arange(bodies), [len(p) for p in body_points])
        points, skin_nodes = gel_points + len(point_bodies), np.unique(skin.nodes[skin.nodes >= 0])
        node_skins = np.full(nodes, -1)
        node_skins[skin_nodes] = np.arange(len(skin_nodes))
        areas = np.concatenate([skin.areas, *(np.full(len(body.points), body.point_area) for body in scene.bodies)])
        node_points_start, node_points = skin.incidence(nodes)
        slot_rows = np.repeat(np.arange(nodes), np.diff(t.rows))
        touched_slots, slot_points = skin.block_terms(slot_rows * nodes + t.slot_nodes, nodes)
        unknowns = 3 * nodes + places.UNKNOWNS_OF_BODY * bodies
        attachments = [(k, a) for k, body in enumerate(scene.bodies) for a in body.attachments]
        solves = [
            conjugate_gradient_needs(name, unknowns, batch=batch, tolerance=0.01, most=20 * unknowns)
            for name in (FORWARD, ADJOINT)
        ]
        frames = len(scene.effectors) + bodies
        hulls = [hull_of(gel.mesh) for gel in scene.gels] if len(scene.gels) > 1 else [np.zeros((0, 4))]
        contact_sums = places.SUM_FRICTION + shapes
        per_world = {
            "node_work": nodes * places.NODE_WORK,
            "cell_work": len(t.cell_gels) * places.CELL_WORK,
            "blocks": len(t.slot_nodes) * 9,
            "pair_work": points * shapes * places.PAIR_WORK,
            "point_work": points * places.POINT_WORK,
            "body_work": bodies * places.BODY_WORK,
            "couplings": len(skin_nodes) * bodies * places.COUPLING_WORK,
            "direction": unknowns,
            "newton": places.NEWTON_WORK,
        }
        return Needs(
            state=[
                Record(
                    "nodes", [Quantity("gel_displacement", (3,), "m"), Quantity("gel_velocity", (3,), "m/s")], nodes
                ),
                *([Record("body_state", _body_quantities(), bodies)] if bodies else []),
                Record("pair_state", [Quantity("stick_stretch", (shapes, 4), is_shown=False)], points),
            ],
            parameters=[
                Record("gel_parameters", _gel_quantities(), len(scene.gels)),
                *([Record("body_parameters", _body_parameter_quantities(), bodies)] if bodies else []),
                Record("world", _world_quantities()),
                *([numbers("attachment_stiffness", len(attachments), "N/m")] if attachments else []),
            ],
            outputs=[
                Record(
                    "gel_wrench",
                    [Quantity("gel_force", (3,), "N"), Quantity("gel_torque", (3,), "N m")],
                    len(scene.gels),
                )
            ],
            counts={
                "count": nodes,
                "cells": len(t.cell_gels),
                "slots": len(t.slot_nodes),
                "gels": len(scene.gels),
                "bodies": bodies,
                "shapes": shapes,
                "points": points,
                "gel_points": gel_points,
                "skins": len(skin_nodes),
                "attachment_count": len(attachments),
                "unknowns": unknowns,
                "iterations": scene.iterations,
                "frame_count": frames,
                "contact_sum_count": contact_sums,
                **({} if bodies else {"body_state": 0, "body_parameters": 0}),
                **({} if attachments else {"attachment_stiffness": 0}),
                **{key: value for solve in solves for key, value in solve.counts.items()},
            },
            numbers={
                "reach": max(3 * scene.onset, NEAR * t.edge),
                "onset": scene.onset,
                "longest_step": LONGEST_STEP * t.edge,
                "edge": t.edge,
                "least_dilatation": self.least_dilatation,
                **{key: value for solve in solves for key, value in solve.numbers.items()},
            },
            constants={
                "tets": t.tets,
                "rest": t.rest.ravel(),
                "node_volumes": t.node_volumes,
                "areas": areas,
                "point_weights": skin.weights.ravel(),
                "point_places": np.concatenate([skin.places.ravel(), *(p.ravel() for p in body_points)]),
                "body_lengths": np.array([body.gyration for body in scene.bodies]),
                "body_shapes": pack_shapes([body.shape for body in scene.bodies]) if bodies else np.zeros(0),
                "hulls": np.concatenate(hulls).ravel(),
                "attachments": np.array([[*a.point, *a.anchor] for _, a in attachments], float).ravel(),
            },
            integers={
                "cell_nodes": t.cell_nodes,
                "cell_tets": t.cell_tets,
                "cell_gel": t.cell_gels,
                "node_gels": t.node_gels,
                "gel_cells": np.searchsorted(t.cell_gels, np.arange(len(scene.gels) + 1)),
                "gel_nodes": np.searchsorted(t.node_gels, np.arange(len(scene.gels) + 1)),
                "gel_mounts": self.mounts,
                "hull_starts": np.cumsum([0, *(len(planes) for planes in hulls)]),
                "point_nodes": skin.nodes.ravel(),
                "point_gels": skin.gels,
                "point_bodies": point_bodies,
                "point_skins": node_skins[skin.owners],
                "node_points_start": node_points_start,
                "node_points": node_points,
                "node_skins": node_skins,
                "skin_nodes": skin_nodes,
                "touched_slots": touched_slots,
                "slot_points": slot_points,
                "shape_frames": self.shape_frames,
                "allowed": self._allowed(len(point_bodies)).ravel(),
                "node_cells_start": t.node_cells_start,
                "node_cells": t.node_cells,
                "rows": t.rows,
                "slot_nodes": t.slot_nodes,
                "slot_twins": t.slot_twins,
                "diagonal_slots": t.diagonal_slots,
                "slot_starts": t.slot_starts,
                "slot_terms": t.slot_terms,
                "attached": np.array([k for k, _ in attachments], int),
            },
            scratch={key: batch * value for key, value in per_world.items()}
            | {key: value for solve in solves for key, value in solve.scratch.items()},
            partial={
                "frame_sums": frames * places.FRAME_SUMS,
                "contact_sums": contact_sums,
                "gel_sums": len(scene.gels) * places.GEL_SUMS,
            },
        )

    def _allowed(self, body_points: int) -> np.ndarray:
        """Which point may touch which shape, (points, shapes): gels all but their mounts, bodies effectors only."""
        effectors = len(self.scene.effectors)
        of_gels = (self.mounts[self.skin.gels][:, None] != self.shape_frames[None]).astype(int)
        of_bodies = np.tile(self.shape_frames < effectors, (body_points, 1)).astype(int)
        return np.concatenate([of_gels, of_bodies])

    def initial(self) -> Mapping[str, Any]:
        """Gels at rest, bodies where the scene puts them; the parameters."""
        scene = self.scene
        found: dict[str, Any] = {
            name: np.array([getattr(gel, name) for gel in scene.gels])
            for name in ("youngs_modulus", "poisson_ratio", "density", "viscosity")
        }
        found = {f"gel_{name}": value for name, value in found.items()}
        found |= {
            name: getattr(scene, name) for name in ("contact_stiffness", "tangential_stiffness", "contact_damping")
        }
        found["gravity"] = scene.gravity
        if scene.bodies:
            found |= {
                f"body_{name}": np.array([getattr(body, name) for body in scene.bodies])
                for name in ("position", "orientation", "velocity", "angular_velocity", "mass", "inertia", "friction")
            }
            stiffness = [a.stiffness for body in scene.bodies for a in body.attachments]
            found |= {"attachment_stiffness": np.array(stiffness)} if stiffness else {}
        return found

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """One implicit step, and its adjoint."""
        from pliant.sims.fem.stages import gel_stages

        setup = Setup(
            self.at, fp, self.effectors.at, self.kinds, bool(self.scene.bodies), len(self.scene.gels) > 1, device
        )
        return gel_stages(setup)

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Orientations are unit quaternions, to a tenth."""
        if name == "body_orientation":
            lengths = np.linalg.norm(values, axis=-1)
            if (abs(lengths - 1) > 0.1).any():
                worst = float(lengths.ravel()[np.argmax(abs(lengths - 1))])
                raise ValueError(f"body_orientation must be unit quaternions (w, x, y, z); one has length {worst:.3g}")

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Moduli, densities, masses and stiffnesses are positive; Poisson's ratio is at most ``MOST_POISSON``."""
        low, high = float(np.min(values[name], initial=np.inf)), float(np.max(values[name], initial=-np.inf))
        positive = ("gel_youngs_modulus", "gel_density", "body_mass", "body_inertia")
        if name in (*positive, "contact_stiffness", "tangential_stiffness") and low <= 0:
            raise ValueError(f"parameter {name!r}={low} must be positive")
        if name in ("gel_viscosity", "contact_damping", "body_friction", "attachment_stiffness") and low < 0:
            raise ValueError(f"parameter {name!r}={low} must not be negative")
        most = float(values[name].dtype.type(MOST_POISSON))  # as float32 has it
        if name == "gel_poisson_ratio" and not (-1 < low and high <= most):
            wrong = low if low <= -1 else high
            raise ValueError(f"parameter {name!r}={wrong:.6g} must be above -1 and at most {MOST_POISSON}")


def _body_quantities() -> list[Quantity]:
    """Quantities of a body's state, in the order of ``places.py``."""
    return [
        Quantity("body_position", (3,), "m"),
        Quantity("body_orientation", (4,)),
        Quantity("body_velocity", (3,), "m/s"),
        Quantity("body_angular_velocity", (3,), "rad/s"),
    ]


def _gel_quantities() -> list[Quantity]:
    """Parameters of a gel, in the order of ``places.py``."""
    return [
        Quantity("gel_youngs_modulus", (), "Pa"),
        Quantity("gel_poisson_ratio"),
        Quantity("gel_density", (), "kg/m^3"),
        Quantity("gel_viscosity", (), "Pa s"),
    ]


def _body_parameter_quantities() -> list[Quantity]:
    """Parameters of a body, in the order of ``places.py``."""
    return [
        Quantity("body_mass", (), "kg"),
        Quantity("body_inertia", (3,), "kg m^2"),
        Quantity("body_friction"),
    ]


def _world_quantities() -> list[Quantity]:
    """Parameters of the whole world, in the order of ``places.py``."""
    return [
        Quantity("gravity", (3,), "m/s^2"),
        Quantity("contact_stiffness", (), "Pa/m"),
        Quantity("tangential_stiffness", (), "Pa/m"),
        Quantity("contact_damping", (), "s/m"),
    ]
