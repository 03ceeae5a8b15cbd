"""The material point method as a part of a World: layout of its state, parameters and memory, and its limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pliant.sims.mpm import state as at
from pliant.sims.mpm.materials import MATERIALS
from pliant.sims.mpm.scene import Scene
from pliant.sims.solver import CELL, INVERSE_CELL, LANES, Field, Needs, Part, Passes, Phases, Places

COURANT_LIMIT = 0.8
"""Share of a cell that an elastic wave may cross in a substep (explicit MLS-MPM with quadratic splines)."""


def wave_speed(youngs_modulus: np.ndarray, poissons_ratio: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Speed of longitudinal waves sqrt((lambda + 2 mu) / rho) [m/s]."""
    nu = np.asarray(poissons_ratio)
    modulus = np.asarray(youngs_modulus) * (1 - nu) / ((1 + nu) * (1 - 2 * nu))
    return np.sqrt(modulus / density)


def largest_substep(cell: float, youngs_modulus: np.ndarray, poissons_ratio: np.ndarray, density: np.ndarray) -> float:
    """The longest stable substep [s] of an elastic body at rest on a grid of the given cell [m]."""
    return COURANT_LIMIT * cell / float(np.max(wave_speed(youngs_modulus, poissons_ratio, density)))


class MPMPart(Part):
    """The bodies of a scene as a part of a World."""

    def __init__(self, scene: Scene, dt: float, shape_kinds: tuple[int, ...] = ()) -> None:
        self.scene = scene
        self.dim = scene.dim
        self.dt = dt
        self.elements = self.count = sum(len(body) for body in scene.bodies)
        self.groups = scene.muscle_groups
        self.kinds = tuple(sorted({MATERIALS[body.material] for body in scene.bodies}))
        self.key: tuple[Any, ...] = ("mpm", self.kinds, self.groups > 0, shape_kinds)
        self.nodes = math.prod(int(n) for n in scene.grid)
        self.kept_nodes = min(self.nodes, self.count)
        self.state_size = self.count * at.record_size(self.dim)
        self.parameter_size = self.count * at.parameter_size(self.dim) + 3 * self.dim
        self.control_size = self.groups
        self.partial_size = 3 * self.dim + self.groups
        for body in scene.bodies:
            limit = largest_substep(
                scene.cell, body.column("youngs_modulus"), body.column("poissons_ratio"), body.column("density")
            )
            if dt > limit:
                raise ValueError(
                    f"dt={dt!r} s is too large for body {body.name!r}: elastic waves allow at most {limit:.3g} s "
                    f"on cells of {scene.cell:.3g} m"
                )

    def lay_out(self, state: int, parameter: int, control: int, output: int) -> None:
        """Take the stretches that start at these offsets of each row."""
        d, n = self.dim, self.count
        record, stride = at.record_size(d), at.parameter_size(d)
        self.state_fields = [
            Field("position", state, (d,), n, record),
            Field("velocity", state + d, (d,), n, record),
            Field("affine_velocity", state + 2 * d, (d, d), n, record),
            Field("deformation_gradient", state + 2 * d + d * d, (d, d), n, record),
        ]
        self.particle_at, world_at = parameter, parameter + n * stride
        self.parameter_fields = [
            Field("youngs_modulus", parameter + at.YOUNG, (), n, stride),
            Field("poissons_ratio", parameter + at.POISSON, (), n, stride),
            Field("density", parameter + at.DENSITY, (), n, stride),
        ]
        if MATERIALS["von_mises"] in self.kinds:
            self.parameter_fields.append(Field("yield_stress", parameter + at.YIELD, (), n, stride))
        if self.groups:
            self.parameter_fields.append(Field("muscle_strength", parameter + at.STRENGTH, (), n, stride))
            self.parameter_fields.append(Field("fibre_direction", parameter + at.FIBRE, (d,), n, stride))
            self.control_fields = [Field("muscle_activation", control, (self.groups,))]
        self.gravity_at, self.wall_at = world_at, world_at + d
        self.parameter_fields.append(Field("gravity", self.gravity_at, (d,)))
        self.parameter_fields.append(Field("wall_friction", self.wall_at, (2 * d,)))
        self.control_at = control

    def initial_state(self) -> np.ndarray:
        """State row, shape (state_size,)."""
        d = self.dim
        rows = np.zeros((self.count, at.record_size(d)))
        rows[:, :d] = self.scene.position
        rows[:, d : 2 * d] = np.concatenate([body.rows("velocity", d) for body in self.scene.bodies])
        rows[:, 2 * d + d * d :] = np.eye(d).ravel()
        return rows.ravel()

    def initial_parameters(self) -> np.ndarray:
        """Parameter row, shape (parameter_size,)."""
        d = self.dim
        rows = np.zeros((self.count, at.parameter_size(d)))
        columns = (
            (at.YOUNG, "youngs_modulus"),
            (at.POISSON, "poissons_ratio"),
            (at.DENSITY, "density"),
            (at.YIELD, "yield_stress"),
            (at.STRENGTH, "muscle_strength"),
        )
        for column, name in columns:
            rows[:, column] = np.concatenate([body.column(name) for body in self.scene.bodies])
        fibres = np.concatenate([body.rows("fibre_direction", d) for body in self.scene.bodies])
        norms = np.linalg.norm(fibres, axis=1, keepdims=True)
        rows[:, at.FIBRE :] = fibres / np.where(norms > 0, norms, 1.0)
        _, friction = self.scene.walls.faces(d)
        return np.concatenate([rows.ravel(), np.asarray(self.scene.gravity, float), friction])

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Rest volumes; a grid copy and a bounding box for each member; particles sorted by cell in each world.

        A recorded substep keeps its nodes where their box has no more nodes than there are particles: so it is with a
        body of a few cells or more, and the recording grows by a sixth in 3-D.
        """
        d, n, cell = self.dim, self.count, self.scene.cell
        return Needs(
            constants=np.concatenate([body.column("volume") for body in self.scene.bodies]),
            common={CELL: cell, INVERSE_CELL: 1 / cell},
            integers={
                "wall_kinds": self.scene.walls.faces(d)[0],
                "info": self.info(),
                "order": batch * n,
                "box": batch * team * 2 * d,
                "cells": batch * self.nodes,
            },
            nodes=self.nodes,
            kept=LANES * (1 + self.kept_nodes),
        )

    def info(self) -> np.ndarray:
        """Material and muscle group of each particle, shape (2 N,) integers."""
        info = np.full((self.count, 2), -1, np.int32)
        for body in self.scene.bodies:
            rows = info[self.scene.group(body.name)]
            rows[:, 0] = MATERIALS[body.material]
            if body.muscle_group is not None:
                rows[:, 1] = body.muscle_group
        return info.ravel()

    def write_header(self, header: np.ndarray, places: Places) -> None:
        """Fill this part's stretch of the integer header."""
        entries = {
            at.COUNT: self.count,
            at.STATE_AT: self.state_fields[0].offset,
            at.PARTICLE_AT: self.particle_at,
            at.NODES: self.nodes,
            at.ACTIVATION_AT: self.control_at,
            at.GROUPS: self.groups,
            at.GRAVITY_AT: self.gravity_at,
            at.WALL_AT: self.wall_at,
            at.THICKNESS: self.scene.walls.thickness,
            at.ORDER_AT: places.integers["order"],
            at.CELLS_AT: places.integers["cells"],
            at.BOX_AT: places.integers["box"],
            at.WALL_KIND_AT: places.integers["wall_kinds"],
            at.INFO_AT: places.integers["info"],
            at.VOLUME_AT: places.constants,
            at.PARTIAL_AT: places.partial,
            at.WIDTH: 3,
            at.KEPT_NODES: self.kept_nodes,
            at.KEPT_OFFSET: places.kept,
        }
        for d, n in enumerate(self.scene.grid):
            entries[at.EXTENT + d] = int(n)
        for place, value in entries.items():
            header[place] = value

    def phases(self, dim: int, fp: Any) -> Phases:
        """Particles to grid, grid, grid to particles, and back."""
        from pliant.sims.mpm.kernels import mpm_phases

        return mpm_phases(dim, fp, *self.key[1:])

    def passes(self, dim: int, fp: Any) -> Passes:
        """The same with a thread for each particle and node."""
        from pliant.sims.mpm.passes import mpm_passes

        return mpm_passes(dim, fp, *self.key[1:])

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Particles lie inside the domain."""
        if name == "position":
            self.scene.check_inside(values)

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Parameters are physical, and the substep resolves elastic waves."""
        low, high = float(values[name].min()), float(values[name].max())
        if name in ("youngs_modulus", "density") and low <= 0:
            raise ValueError(f"parameter {name!r}={low} must be positive")
        if name == "poissons_ratio" and not (-1 < low and high < 0.5):
            raise ValueError(f"parameter {name!r} must lie in (-1, 0.5); given {low}..{high}")
        if name in ("yield_stress", "muscle_strength", "wall_friction") and low < 0:
            raise ValueError(f"parameter {name!r}={low} must not be negative")
        limit = largest_substep(
            self.scene.cell, *(values[n].astype(float) for n in ("youngs_modulus", "poissons_ratio", "density"))
        )
        if self.dt > limit * (1 + 1e-6):
            raise ValueError(
                f"parameter {name!r}: elastic waves would cross more than {COURANT_LIMIT} cells in dt={self.dt} s; "
                f"with these values dt may be at most {limit:.3g} s"
            )
