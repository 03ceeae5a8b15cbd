"""The material point method as a part of a World: layout of its state, parameters and memory, and its limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pliant.sims.failures import CAUSES, Cause
from pliant.sims.fields import LANES, Needs, Quantity, Record, numbers
from pliant.sims.mpm import places
from pliant.sims.mpm.bodies import EDGE, FLOW_INDEX_RANGE, Matter
from pliant.sims.mpm.laws.laws import MATERIALS, RIGID
from pliant.sims.mpm.laws.liquid import FASTEST
from pliant.sims.mpm.laws.yielding import BULK, LIQUID, SAND, VISCOPLASTIC, VON_MISES, law_size
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.rigid.bodies import ROW, law_of, rigid_motion, rigid_table
from pliant.sims.mpm.supply.part import InjectorPart
from pliant.sims.mpm.tearing.inspection import COLLAPSED, PARTED, neighbours
from pliant.sims.mpm.tension.energy import check_tension_parameters, field_count
from pliant.sims.part import Part, Read, Stages
from pliant.sims.robot.effector_part import EffectorPart

COURANT_LIMIT = 0.8
"""Share of a cell that a wave may cross in a substep (explicit MLS-MPM with quadratic splines). In a liquid the wave is
sound at its fastest, however much the liquid is squeezed."""


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
    """The bodies of a scene as a part of a World.

    Args:
        scene: the bodies, and what is around them.
        dt: duration of a substep [s].
        effectors, supply: the parts of the effectors and of the injectors and drains, if there are any.

    Attributes:
        push: tells where another part, which stands before this one, leaves forces on the particles; see ``Setup``.

    Raises:
        ValueError: ``dt`` is too large for the waves in a body or its viscosity.
    """

    causes = CAUSES | {
        PARTED: Cause("an elastic body is torn: neighbouring particles are more than two cells apart", "position"),
        COLLAPSED: Cause(
            "a body has collapsed: a particle has less than a thousandth of its volume, or is inverted",
            "deformation_gradient",
        ),
    }

    def __init__(
        self, scene: Matter, dt: float, effectors: EffectorPart | None = None, supply: InjectorPart | None = None
    ) -> None:
        self.scene, self.effectors, self.supply = scene, effectors, supply
        self.dim = scene.dim
        self.dt = dt
        self.push: Callable[[], int] | None = None
        self.elements = self.count = sum(len(body) for body in scene.bodies)
        self.groups = scene.muscle_groups
        self.material = np.concatenate([np.full(len(body), law_of(body), np.int32) for body in scene.bodies])
        self.kinds = tuple(sorted({k for body in scene.bodies for k in (law_of(body), MATERIALS[body.material])}))
        self.has_tension = scene.surface_tension > 0
        shape_kinds = effectors.shape_kinds if effectors else ()
        self.key: tuple[Any, ...] = ("mpm", self.kinds, self.groups > 0, shape_kinds, supply is None, self.has_tension)
        self.nodes = math.prod(int(n) for n in scene.grid)
        self.kept_nodes = min(self.nodes, self.count)
        self.rigid_table, self.rigid_places, self.rigid_rest = rigid_table(scene.bodies)
        pairs = neighbours(scene)
        self.bond_starts = np.searchsorted(pairs[:, 0], np.arange(self.count + 1)).astype(np.int32)
        self.bonds = pairs[:, 1].astype(np.int32)
        self.flows = law_size(self.kinds) > BULK
        for body in scene.bodies:
            names = ("youngs_modulus", "poissons_ratio", "density", *places.FLOW)
            values = {name: body.column(name) for name in names}
            limits = substep_limits(scene.cell, np.full(len(body), law_of(body)), values)
            for cause, (limit, _) in limits.items():
                if dt > limit:
                    raise ValueError(
                        f"dt={dt!r} s is too large for body {body.name!r}: {cause} allow{'s' * (cause == 'viscosity')} "
                        f"at most {limit:.3g} s on cells of {scene.cell:.3g} m"
                    )

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Particles, their properties, a grid copy and a box of nodes for each member; particles sorted by cell.

        A recorded substep keeps its nodes if their box has no more nodes than there are particles. That holds for a
        body of a few cells or more; the recording grows by a sixth in 3-D.
        """
        d, n, scene = self.dim, self.count, self.scene
        particle = [
            Quantity("position", (d,), "m"),
            Quantity("velocity", (d,), "m/s"),
            Quantity("affine_velocity", (d, d), "1/s"),
            Quantity("deformation_gradient", (d, d)),
        ]
        moved = Quantity("moved", (places.rigid_record_size(d),), is_shown=False)
        return Needs(
            state=[Record("state", particle, n), Record("rigid_moved", [moved], len(self.rigid_rest))],
            parameters=[
                Record("properties", self._properties(), n),
                numbers("gravity", d, "m/s^2"),
                numbers("wall_friction", 2 * d),
                Record("damping", [Quantity("damping", (), "1/s", scene.damping > 0)]),
                *([Record("surface_tension", [Quantity("surface_tension", (), "N/m")])] if self.has_tension else []),
            ],
            controls=[numbers("activation", self.groups, title="muscle_activation")] if self.groups else [],
            counts={
                **({} if self.groups else {"activation": 0}),
                "count": n,
                "nodes": self.nodes,
                "groups": self.groups,
                "thickness": scene.walls.thickness,
                "width": 3,  # nodes of a stencil along an axis, see ``stencil_functions``
                "kept_nodes": self.kept_nodes,
                "rigid_count": len(self.rigid_table) // ROW,
                "extent": tuple(int(n) for n in scene.grid),
            },
            numbers={"cell": scene.cell, "inverse_cell": 1 / scene.cell},
            constants={
                "volumes": np.concatenate([body.column("volume") for body in scene.bodies]),
                "rigid_rest": self.rigid_rest.ravel(),
            },
            integers={
                "wall_kinds": scene.walls.faces(d)[0],
                "info": self.info(),
                "order": batch * n,
                "box": batch * (team + 1) * places.box_size(d),
                "cells": batch * self.nodes,
                "claimed": batch,
                "rigid_table": self.rigid_table,
                "rigid_places": self.rigid_places,
                "bond_starts": self.bond_starts,
                "bonds": self.bonds,
            },
            scratch={
                "colour": batch * team * self.nodes * self.has_tension,
                "fields": batch * self.nodes * field_count(d) * self.has_tension,
            },
            partial={"partial": places.world_sums(d) + self.groups + self.has_tension},
            nodes=self.nodes,
            kept=LANES * (1 + self.kept_nodes),
        )

    def _properties(self) -> list[Quantity]:
        """A particle's parameters in the order of ``places.py``; shown are those that matter to a material here."""
        kinds = set(self.kinds)
        is_solid = any(kind < LIQUID for kind in kinds)
        quantities = [
            Quantity("youngs_modulus", (), "Pa", is_solid),
            Quantity("poissons_ratio", (), "", is_solid),
            Quantity("density", (), f"kg/m^{self.dim}"),
            Quantity("yield_stress", (), "Pa", bool({VON_MISES, VISCOPLASTIC} & kinds)),
            Quantity("muscle_strength", (), "Pa", self.groups > 0),
            Quantity("fibre_direction", (self.dim,), "", self.groups > 0),
        ]
        if self.flows:
            units = {"bulk_modulus": "Pa", "viscosity": "Pa s", "flow_index": "", "friction_angle": "rad"}
            quantities += [Quantity(name, (), units[name], bool(FLOW_USERS[name] & kinds)) for name in places.FLOW]
        return quantities

    def initial(self) -> Mapping[str, Any]:
        """Particles as the bodies have them, undeformed; their parameters."""
        d, scene = self.dim, self.scene
        velocity = np.concatenate([body.rows("velocity", d) for body in scene.bodies])
        affine = np.zeros((self.count, d, d))
        for body in scene.bodies:
            if MATERIALS[body.material] == RIGID:
                own = scene.group(body.name)
                velocity[own], affine[own] = rigid_motion(body, d)
        names = ["youngs_modulus", "poissons_ratio", "density", "yield_stress", "muscle_strength"]
        names += places.FLOW if self.flows else ()
        fibres = np.concatenate([body.rows("fibre_direction", d) for body in scene.bodies])
        norms = np.linalg.norm(fibres, axis=1, keepdims=True)
        return {
            "position": scene.position,
            "velocity": velocity,
            "affine_velocity": affine,
            "deformation_gradient": np.eye(d),
            **{name: np.concatenate([body.column(name) for body in scene.bodies]) for name in names},
            "fibre_direction": fibres / np.where(norms > 0, norms, 1.0),
            "gravity": scene.gravity,
            "wall_friction": scene.walls.faces(d)[1],
            "damping": scene.damping,
            **({"surface_tension": scene.surface_tension} if self.has_tension else {}),
        }

    def info(self) -> np.ndarray:
        """Material and muscle group of each particle, shape (2 N,) integers."""
        info = np.full((self.count, 2), -1, np.int32)
        for body in self.scene.bodies:
            rows = info[self.scene.group(body.name)]
            rows[:, 0] = law_of(body)
            if body.muscle_group is not None:
                rows[:, 1] = body.muscle_group
        return info.ravel()

    def setup(self, dim: int, fp: Any, device: bool) -> Setup:
        """What the compiled functions depend on."""
        effectors, supply = self.effectors, self.supply
        return Setup(
            at=self.at,
            dim=dim,
            fp=fp,
            kinds=self.kinds,
            has_muscles=self.groups > 0,
            has_tension=self.has_tension,
            eff=effectors.at if effectors else None,
            shape_kinds=effectors.shape_kinds if effectors else (),
            inj=supply.at if supply else None,
            device=device,
            push=self.push() if self.push else None,
        )

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """Particles to grid, grid, grid to particles, shapes of rigid bodies, and back."""
        from pliant.sims.mpm.stages import mpm_stages

        return mpm_stages(self.setup(dim, fp, device))

    def derived(self) -> Mapping[str, Callable[[Read], np.ndarray]]:
        """Which particles take part in the motion ("active"), wait in an injector's pool or lie in a drain, (B, N)."""

        def nobody(read: Read) -> np.ndarray:
            return np.zeros(read("position").shape[:2], bool)

        waiting = self.supply.waiting if self.supply else nobody
        drained = self.supply.drained if self.supply else nobody
        return {
            "active": lambda read: ~(waiting(read) | drained(read)),
            "waiting": waiting,
            "drained": drained,
        }

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
