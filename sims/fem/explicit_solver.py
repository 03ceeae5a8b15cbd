"""Gels that are stepped explicitly, as a part of a World."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pliant.sims.fem import explicit_places as own
from pliant.sims.fem.explicit_places import ExplicitSetup
from pliant.sims.fem.places import CELL_NODES
from pliant.sims.fem.skin import nodal_skin
from pliant.sims.fem.solver import GelPart
from pliant.sims.fem.stability import mesh_bounds
from pliant.sims.fields import Needs
from pliant.sims.part import Stages
from pliant.sims.robot.effector_part import EffectorPart

LEAST_DILATATION = 0.3
"""A cell of less than this share of its volume has collapsed.

It is the cell that resists compression. A tetrahedron at the pad's edge may turn inside out while something bites into
it, and turns back; the energy is defined there.
"""

IMPLICIT_ONLY = (
    *("rows", "slot_nodes", "slot_twins", "diagonal_slots", "slot_starts", "slot_terms"),
    *("touched_slots", "slot_points", "point_bodies", "node_skins"),
)
"""Integers of the matrix and of bodies, which an explicit substep does without."""


class ExplicitGelPart(GelPart):
    """The gels of a scene as a part of its World, stepped explicitly at the World's own substep.

    Args:
        scene: what there is, a ``GelScene``.
        effectors: the part of the effectors, on which gels are mounted.
        dt: duration of a substep [s].
        is_pushed: another part leaves a force on each node.
        push_stiffness: how stiff that part's contact is [Pa/m].
        push_rate_over_stiffness: times that, the square of the angular frequency that such contact adds on the side of
            what touches the gels [m/(Pa s^2)].
        renamed: names of quantities, where they are to be others than those of an implicit gel.

    Attributes:
        pressed: the points on which that other part leaves its forces, nodes of the surfaces.

    Raises:
        ValueError: ``dt`` is too large for the stiffness, viscosity or contact of a gel.
    """

    cell_work = 1  # a substep of it is as short as that of particles
    least_dilatation = LEAST_DILATATION
    known_shapes = ()

    def __init__(
        self,
        scene: Any,
        effectors: EffectorPart,
        dt: float,
        *,
        is_pushed: bool = False,
        push_stiffness: float = 0.0,
        push_rate_over_stiffness: float = 0.0,
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(scene, effectors)
        self.pressed = nodal_skin([gel.mesh for gel in scene.gels])
        self.dt, self.is_pushed = dt, is_pushed
        self.push_stiffness, self.push_rate_over_stiffness = push_stiffness, push_rate_over_stiffness
        self.renamed = dict(renamed or {})
        self.key = ("explicit", is_pushed, *self.key)
        self.bounds = [mesh_bounds(gel.mesh) for gel in scene.gels]
        self.given = {name: np.asarray(value, float)[None] for name, value in super().initial().items()}
        for g, (limit, cause) in enumerate(self._limits(self.given)):
            if dt > limit:
                raise ValueError(
                    f"dt={dt!r} s is too large for the explicit gel on {scene.gels[g].mount!r}: its stiffness, "
                    f"viscosity and contact allow at most {limit:.3g} s{cause}"
                )

    def _limits(self, values: Mapping[str, np.ndarray]) -> list[tuple[float, str]]:
        """The longest substep [s] that each gel allows, for parameters (B, ...), and what would lengthen it."""
        contact = float(np.max(values["contact_stiffness"])) if len(self.shape_frames) else 0.0
        stiffness = contact + self.push_stiffness
        rate = self.push_stiffness * self.push_rate_over_stiffness
        found = []
        for g, bounds in enumerate(self.bounds):
            young, viscosity, poisson = (
                float(np.max(values[f"gel_{name}"][..., g]))
                for name in ("youngs_modulus", "viscosity", "poisson_ratio")
            )
            density = float(np.min(values["gel_density"][..., g]))
            limit = bounds.longest_substep(young, poisson, density, viscosity, stiffness, rate)
            parts = {
                "viscosity": bounds.longest_substep(young, poisson, density, 0.0, stiffness, rate),
                "contact stiffness": bounds.longest_substep(young, poisson, density, viscosity, 0.0),
            }
            cause = "".join(f"; {part:.3g} s without {name}" for name, part in parts.items() if part > 1.05 * limit)
            found.append((limit, cause))
        return found

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Nodes and pairs, and the mesh; forces of cells; forces that another part leaves."""
        needs, t = super().needs(batch=batch, team=team, differentiable=differentiable), self.topology
        nodes, cells = len(t.rest), len(t.cell_gels)
        tet_cells = t.cell_tets.reshape(cells, -1)
        tet_nodes = np.take_along_axis(t.cell_nodes.reshape(cells, CELL_NODES), np.maximum(tet_cells, 0), axis=1)
        forces = 3 * nodes * self.is_pushed
        for records in (needs.state, needs.parameters, needs.outputs):
            for record in records:
                record.quantities[:] = [  # type: ignore[index]
                    replace(q, name=self.renamed.get(q.name, q.name)) for q in record.quantities
                ]
        needs.integers = {name: value for name, value in needs.integers.items() if name not in IMPLICIT_ONLY} | {
            "tet_nodes": tet_nodes.ravel(),
            "pressed_nodes": self.pressed.owners,
        }
        needs.constants = {**needs.constants, "pressed_areas": self.pressed.areas}
        needs.scratch = {
            "node_work": batch * nodes * own.NODE_WORK,
            "cell_work": batch * cells * own.CELL_WORK,
            "pair_work": needs.scratch["pair_work"],
            "point_work": needs.scratch["point_work"],
            "body_work": 0,
            "push": batch * forces,
            "push_bar": batch * forces,
        }
        return needs

    def initial(self) -> Mapping[str, Any]:
        """As of an implicit gel."""
        return {self.renamed.get(name, name): value for name, value in super().initial().items()}

    def setup(self, fp: Any, device: bool) -> ExplicitSetup:
        """What the compiled functions depend on."""
        return ExplicitSetup(
            self.at,
            fp,
            self.effectors.at,
            self.kinds,
            has_bodies=False,
            has_others=len(self.scene.gels) > 1,
            device=device,
            is_pushed=self.is_pushed,
        )

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """One explicit substep, and its adjoint."""
        from pliant.sims.fem.explicit import explicit_stages

        return explicit_stages(self.setup(fp, device))

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """As of an implicit gel; the substep is not too large."""
        given = {new: old for old, new in self.renamed.items()}
        own_values = {given.get(key, key): value for key, value in values.items()}
        super().check_parameters(given.get(name, name), own_values)
        self.given = own_values
        self._check_limits(name)

    def check_push(self, name: str, stiffness: float) -> None:
        """Raise ``ValueError`` if the substep is too large for a contact of this stiffness [Pa/m], parameter
        ``name``."""
        self.push_stiffness = stiffness
        self._check_limits(name)

    def _check_limits(self, name: str) -> None:
        for g, (limit, cause) in enumerate(self._limits(self.given)):
            if self.dt > limit * (1 + 1e-6):
                raise ValueError(
                    f"parameter {name!r}: dt={self.dt} s is too large for the explicit gel on "
                    f"{self.scene.gels[g].mount!r}; with these values dt may be at most {limit:.3g} s{cause}"
                )
