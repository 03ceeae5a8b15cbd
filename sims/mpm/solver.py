"""The material point method as a part of a World: layout of its state, parameters and memory, and its limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pliant.sims.fields import CELL, INVERSE_CELL, LANES, Field, Needs, Places
from pliant.sims.mpm import places as at
from pliant.sims.mpm.bodies import EDGE, FLOW_INDEX_RANGE, Matter
from pliant.sims.mpm.laws.laws import MATERIALS, RIGID
from pliant.sims.mpm.laws.liquid import FASTEST
from pliant.sims.mpm.laws.yielding import BULK, LIQUID, SAND, VISCOPLASTIC, VON_MISES, law_size
from pliant.sims.mpm.rigid.bodies import ROW, law_of, rigid_motion, rigid_table
from pliant.sims.mpm.tearing.inspection import neighbours
from pliant.sims.mpm.tension.energy import check_tension_parameters, field_count
from pliant.sims.part import Part, Passes, Phases

COURANT_LIMIT = 0.8
"""Share of a cell that a wave may cross in a substep (explicit MLS-MPM with quadratic splines); sound in a liquid that
is squeezed, however much."""


FLOW_USERS = {
    "bulk_modulus": {LIQUID},
    "viscosity": {LIQUID, VISCOPLASTIC},
    "flow_index": {VISCOPLASTIC},
    "friction_angle": {SAND},
}
"""Which materials a constant of flow matters to: it is a parameter of scenes with one of them."""


def wave_speed(youngs_modulus: np.ndarray, poissons_ratio: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Speed of longitudinal waves sqrt((lambda + 2 mu) / rho) [m/s]."""
    nu = np.asarray(poissons_ratio)
    modulus = np.asarray(youngs_modulus) * (1 - nu) / ((1 + nu) * (1 - 2 * nu))
    return np.sqrt(modulus / density)


def largest_substep(cell: float, youngs_modulus: np.ndarray, poissons_ratio: np.ndarray, density: np.ndarray) -> float:
    """The longest stable substep [s] of an elastic body at rest on a grid of the given cell [m]."""
    return COURANT_LIMIT * cell / float(np.max(wave_speed(youngs_modulus, poissons_ratio, density)))


VISCOUS_LIMIT = 0.22
"""Share of a cell's diffusion time, cell^2 density / viscosity, that a substep may last (explicit viscosity)."""


def substep_limits(cell: float, material: np.ndarray, values: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """What bounds the substep: the longest [s] that each cause allows, and the largest speed or viscosity behind it.

    Args:
        cell: edge of a cell [m].
        material: of each particle, (N,) integers.
        values: parameters by name, (N,) or (B, N).
    """
    limits = {}
    elastic = material < LIQUID
    if elastic.any():
        moduli = [values[name][..., elastic].astype(float) for name in ("youngs_modulus", "poissons_ratio", "density")]
        limits["elastic waves"] = (largest_substep(cell, *moduli), float(np.max(wave_speed(*moduli))))
    liquid = material == LIQUID
    if liquid.any():
        bulk, viscosity, density = (
            values[name][..., liquid].astype(float) for name in ("bulk_modulus", "viscosity", "density")
        )
        speed = FASTEST * float(np.max(np.sqrt(bulk / density)))
        limits["sound waves"] = (COURANT_LIMIT * cell / speed, speed)
        if (viscosity > 0).any():
            kinematic = float(np.max(viscosity / density))
            limits["viscosity"] = (VISCOUS_LIMIT * cell * cell / kinematic, kinematic)
    return limits


class MPMPart(Part):
    """The bodies of a scene as a part of a World."""

    def __init__(
        self, scene: Matter, dt: float, shape_kinds: tuple[int, ...] = (), *, has_supply: bool = False
    ) -> None:
        self.scene = scene
        self.dim = scene.dim
        self.dt = dt
        self.elements = self.count = sum(len(body) for body in scene.bodies)
        self.groups = scene.muscle_groups
        self.material = np.concatenate([np.full(len(body), law_of(body), np.int32) for body in scene.bodies])
        self.kinds = tuple(sorted({k for body in scene.bodies for k in (law_of(body), MATERIALS[body.material])}))
        self.has_tension = scene.surface_tension > 0
        self.key: tuple[Any, ...] = ("mpm", self.kinds, self.groups > 0, shape_kinds, has_supply, self.has_tension)
        self.nodes = math.prod(int(n) for n in scene.grid)
        self.kept_nodes = min(self.nodes, self.count)
        self.rigid_table, self.rigid_places, self.rigid_rest = rigid_table(scene.bodies)
        pairs = neighbours(scene)
        self.bond_starts = np.searchsorted(pairs[:, 0], np.arange(self.count + 1)).astype(np.int32)
        self.bonds = pairs[:, 1].astype(np.int32)
        self.state_size = self.count * at.record_size(self.dim)
        self.state_size += len(self.rigid_rest) * at.rigid_record_size(self.dim)
        self.flows = law_size(self.kinds) > BULK
        self.parameter_size = self.count * at.parameter_size(self.dim, self.flows) + 3 * self.dim + 1 + self.has_tension
        self.control_size = self.groups
        self.partial_size = at.world_sums(self.dim) + self.groups + self.has_tension
        for body in scene.bodies:
            names = ("youngs_modulus", "poissons_ratio", "density", *at.FLOW)
            values = {name: body.column(name) for name in names}
            limits = substep_limits(scene.cell, np.full(len(body), law_of(body)), values)
            for cause, (limit, _) in limits.items():
                if dt > limit:
                    raise ValueError(
                        f"dt={dt!r} s is too large for body {body.name!r}: {cause} allow{'s' * (cause == 'viscosity')} "
                        f"at most {limit:.3g} s on cells of {scene.cell:.3g} m"
                    )

    def lay_out(self, state: int, parameter: int, control: int, output: int) -> None:
        """Take the stretches that start at these offsets of each row."""
        d, n = self.dim, self.count
        record, stride = at.record_size(d), at.parameter_size(d, self.flows)
        self.state_fields = [
            Field("position", state, (d,), n, record),
            Field("velocity", state + d, (d,), n, record),
            Field("affine_velocity", state + 2 * d, (d, d), n, record),
            Field("deformation_gradient", state + 2 * d + d * d, (d, d), n, record),
        ]
        self.particle_at, world_at = parameter, parameter + n * stride
        self.parameter_fields = [
            Field("density", parameter + at.DENSITY, (), n, stride),
        ]
        if any(kind < LIQUID for kind in self.kinds):
            self.parameter_fields[:0] = [
                Field("youngs_modulus", parameter + at.YOUNG, (), n, stride),
                Field("poissons_ratio", parameter + at.POISSON, (), n, stride),
            ]
        for name, users in FLOW_USERS.items():
            if users & set(self.kinds):
                place = parameter + at.FIBRE + d + at.FLOW.index(name)
                self.parameter_fields.append(Field(name, place, (), n, stride))
        if {VON_MISES, VISCOPLASTIC} & set(self.kinds):
            self.parameter_fields.append(Field("yield_stress", parameter + at.YIELD, (), n, stride))
        if self.groups:
            self.parameter_fields.append(Field("muscle_strength", parameter + at.STRENGTH, (), n, stride))
            self.parameter_fields.append(Field("fibre_direction", parameter + at.FIBRE, (d,), n, stride))
            self.control_fields = [Field("muscle_activation", control, (self.groups,))]
        self.gravity_at, self.wall_at = world_at, world_at + d
        self.parameter_fields.append(Field("gravity", self.gravity_at, (d,)))
        self.parameter_fields.append(Field("wall_friction", self.wall_at, (2 * d,)))
        self.damping_at = self.wall_at + 2 * d
        if self.scene.damping > 0:
            self.parameter_fields.append(Field("damping", self.damping_at, ()))
        self.surface_at = self.damping_at + 1
        if self.has_tension:
            self.parameter_fields.append(Field("surface_tension", self.surface_at, ()))
        self.control_at = control

    def initial_state(self) -> np.ndarray:
        """State row, shape (state_size,)."""
        d = self.dim
        rows = np.zeros((self.count, at.record_size(d)))
        rows[:, :d] = self.scene.position
        rows[:, d : 2 * d] = np.concatenate([body.rows("velocity", d) for body in self.scene.bodies])
        rows[:, 2 * d + d * d :] = np.eye(d).ravel()
        for body in self.scene.bodies:
            if MATERIALS[body.material] == RIGID:
                own = rows[self.scene.group(body.name)]
                own[:, d : 2 * d], gradient = rigid_motion(body, d)
                own[:, 2 * d : 2 * d + d * d] = gradient.ravel()
        return np.concatenate([rows.ravel(), np.zeros(self.state_size - rows.size)])

    def initial_parameters(self) -> np.ndarray:
        """Parameter row, shape (parameter_size,)."""
        d = self.dim
        rows = np.zeros((self.count, at.parameter_size(d, self.flows)))
        columns: list[tuple[int, str]] = [
            (at.YOUNG, "youngs_modulus"),
            (at.POISSON, "poissons_ratio"),
            (at.DENSITY, "density"),
            (at.YIELD, "yield_stress"),
            (at.STRENGTH, "muscle_strength"),
        ]
        if self.flows:
            columns += [(at.FIBRE + d + k, name) for k, name in enumerate(at.FLOW)]
        for column, name in columns:
            rows[:, column] = np.concatenate([body.column(name) for body in self.scene.bodies])
        fibres = np.concatenate([body.rows("fibre_direction", d) for body in self.scene.bodies])
        norms = np.linalg.norm(fibres, axis=1, keepdims=True)
        rows[:, at.FIBRE : at.FIBRE + d] = fibres / np.where(norms > 0, norms, 1.0)
        _, friction = self.scene.walls.faces(d)
        last = [self.scene.damping, *[self.scene.surface_tension] * self.has_tension]
        return np.concatenate([rows.ravel(), np.asarray(self.scene.gravity, float), friction, last])

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Rest volumes and rigid shapes; a grid copy and a bounding box for each member; particles sorted by cell.

        A recorded substep keeps its nodes where their box has no more nodes than there are particles: so it is with a
        body of a few cells or more, and the recording grows by a sixth in 3-D.
        """
        d, n, cell = self.dim, self.count, self.scene.cell
        return Needs(
            constants=np.concatenate([*(body.column("volume") for body in self.scene.bodies), self.rigid_rest.ravel()]),
            common={CELL: cell, INVERSE_CELL: 1 / cell},
            integers={
                "wall_kinds": self.scene.walls.faces(d)[0],
                "info": self.info(),
                "order": batch * n,
                "box": batch * team * 2 * d,
                "cells": batch * self.nodes,
                "rigid_table": self.rigid_table,
                "rigid_places": self.rigid_places,
                "bond_starts": self.bond_starts,
                "bonds": self.bonds,
            },
            scratch={
                "colour": batch * team * self.nodes * self.has_tension,
                "fields": batch * self.nodes * field_count(d) * self.has_tension,
            },
            nodes=self.nodes,
            kept=LANES * (1 + self.kept_nodes),
        )

    def info(self) -> np.ndarray:
        """Material and muscle group of each particle, shape (2 N,) integers."""
        info = np.full((self.count, 2), -1, np.int32)
        for body in self.scene.bodies:
            rows = info[self.scene.group(body.name)]
            rows[:, 0] = law_of(body)
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
            at.DAMPING_AT: self.damping_at,
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
            at.RIGID_COUNT: len(self.rigid_table) // ROW,
            at.RIGID_AT: places.integers["rigid_table"],
            at.RIGID_PLACE_AT: places.integers["rigid_places"],
            at.RIGID_REST_AT: places.constants + self.count,
            at.BOND_STARTS_AT: places.integers["bond_starts"],
            at.BONDS_AT: places.integers["bonds"],
            at.COLOUR_AT: places.scratch["colour"],
            at.FIELDS_AT: places.scratch["fields"],
            at.SURFACE_AT: self.surface_at,
        }
        for d, n in enumerate(self.scene.grid):
            entries[at.EXTENT + d] = int(n)
        for place, value in entries.items():
            header[place] = value

    def phases(self, dim: int, fp: Any) -> Phases:
        """Particles to grid, grid, grid to particles, shapes of rigid bodies, and back."""
        from pliant.sims.mpm.stages import mpm_phases

        return mpm_phases(dim, fp, *self.key[1:])

    def passes(self, dim: int, fp: Any) -> Passes:
        """The same with a thread for each particle and node."""
        from pliant.sims.mpm.passes import mpm_passes

        return mpm_passes(dim, fp, *self.key[1:])

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Particles lie inside the domain, also those that a tool has pressed into a wall."""
        if name == "position":
            self.scene.check_inside(values, EDGE)

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Parameters are physical, and the substep resolves elastic waves."""
        low, high = float(values[name].min()), float(values[name].max())
        if name in ("youngs_modulus", "density", "bulk_modulus") and low <= 0:
            raise ValueError(f"parameter {name!r}={low} must be positive")
        if name == "poissons_ratio" and not (-1 < low and high < 0.5):
            raise ValueError(f"parameter {name!r} must lie in (-1, 0.5); given {low}..{high}")
        if name == "flow_index" and not (FLOW_INDEX_RANGE[0] <= low and high <= FLOW_INDEX_RANGE[1]):
            raise ValueError(f"parameter {name!r} must lie in {list(FLOW_INDEX_RANGE)}; given {low}..{high}")
        if name == "friction_angle" and not (0 <= low and high < np.pi / 2):
            raise ValueError(f"parameter {name!r} must lie in [0, pi/2); given {low}..{high}")
        if name in ("yield_stress", "muscle_strength", "wall_friction", "viscosity", "damping") and low < 0:
            raise ValueError(f"parameter {name!r}={low} must not be negative")
        if self.has_tension:
            check_tension_parameters(self.scene.cell, self.material, values)
        for cause, (limit, size) in substep_limits(self.scene.cell, self.material, values).items():
            if self.dt > limit * (1 + 1e-6):
                unit = "m^2/s, over density," if cause == "viscosity" else "m/s"
                what = f"{cause} of {size:.3g} {unit}"
                raise ValueError(
                    f"parameter {name!r}: dt={self.dt} s is too large for {what}; with these values dt may be at most "
                    f"{limit:.3g} s"
                )
