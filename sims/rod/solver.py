"""Discrete elastic rods as a part of a World: layout of state, parameters and memory, and their limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from pliant.sims.fields import Field, Needs, Places
from pliant.sims.part import Part, Phases
from pliant.sims.rod import places as at
from pliant.sims.rod.rod import Wiring
from pliant.sims.rod.topology import FLAT_FOLD, check_folds, check_natural_folds, edges

FRICTION_SPEED = 5e-3
"""Sliding speed [m/s] at which friction reaches 70 % of its Coulomb value (it is smooth about rest)."""

ONSET = {True: 1.0, False: 0.1}
"""Half the width of the layer in which contact sets in, in radii of the rod, for soft and hard contact."""

PAIRS = 3
"""Pairs of edges in contact that there is room for, by vertex: about what a tight coil has."""

LONGEST_STRETCH = 2.0
"""An edge may be this many rest lengths long; beyond it the rod is torn."""


class RodPart(Part):
    """The rod of a scene as a part of its World. One thread steps it: the work is linear in its vertices."""

    elements = 0
    element_name = "vertex"

    def __init__(self, scene: Wiring, shape_kinds: tuple[int, ...], soft_contact: bool) -> None:
        self.scene, self.rod, self.soft_contact = scene, scene.rod, soft_contact
        self.shape_kinds = shape_kinds
        self.key: tuple[Any, ...] = ("rod", shape_kinds, bool(scene.effectors), scene.self_contact is not None)
        self.count = len(self.rod)
        self.capacity = PAIRS * self.count
        self.state_size = self.count * at.STATE_RECORD + 1
        self.parameter_size = self.count * at.NODE_PARAMETERS + at.WORLD_PARAMETERS
        self.control_size = 3 * scene.driven_count + (at.SCALES if scene.scaled else 0)
        self.control_size += 3 * self.count if scene.forced else 0
        self._check_stretch(self.rod.position[None], self.rod.column("rest_length")[None])

    def lay_out(self, state: int, parameter: int, control: int, output: int) -> None:
        """Take the stretches that start at these offsets of each row."""
        n = self.count

        def state_field(name: str, offset: int) -> Field:
            return Field(name, state + offset, (3,), n, at.STATE_RECORD)

        def node_field(name: str, offset: int, shape: tuple[int, ...] = ()) -> Field:
            return Field(name, parameter + offset, shape, n, at.NODE_PARAMETERS)

        self.state_fields = [
            state_field("position", at.POSITION),
            state_field("velocity", at.VELOCITY),
            state_field("director", at.DIRECTOR),
        ]
        self.world_at = parameter + n * at.NODE_PARAMETERS
        self.parameter_fields = [
            node_field("rest_length", at.REST_LENGTH),
            node_field("mass", at.MASS),
            node_field("stretch_stiffness", at.STRETCH),
            node_field("bend_stiffness", at.BEND, (2,)),
            node_field("twist_stiffness", at.TWIST),
            node_field("natural_curvature", at.CURVATURE, (2,)),
            node_field("natural_twist", at.NATURAL_TWIST),
            node_field("bend_damping", at.BEND_DAMPING),
            node_field("twist_damping", at.TWIST_DAMPING),
            node_field("drag", at.DRAG),
            node_field("quadratic_drag", at.QUADRATIC_DRAG),
            Field("gravity", self.world_at + at.GRAVITY, (3,)),
        ]
        if self.scene.effectors:
            self.parameter_fields.append(Field("contact_stiffness", self.world_at + at.CONTACT_STIFFNESS, ()))
        if self.scene.self_contact is not None:
            self.parameter_fields += [
                Field("self_contact_stiffness", self.world_at + at.SELF_STIFFNESS, ()),
                Field("self_friction", self.world_at + at.SELF_FRICTION, ()),
            ]
        self.control_fields = []
        self.scale_at = control + 3 * self.scene.driven_count
        if self.scene.driven_count:
            self.control_fields.append(Field("driven_position", control, (3,), self.scene.driven_count, 3))
        if self.scene.scaled:
            self.control_fields.append(Field("parameter_scale", self.scale_at, (at.SCALES,)))
        self.force_at = self.scale_at + (at.SCALES if self.scene.scaled else 0)
        if self.scene.forced:
            self.control_fields.append(Field("vertex_force", self.force_at, (3,), n, 3))
        self.state_at, self.parameter_at, self.control_at = state, parameter, control

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """The tree and its grips; where grips hold their vertices; the linear system."""
        local = np.zeros((self.count, at.LOCAL_RECORD))
        directors = self.rod.directors()
        for v, k in enumerate(self.scene.grip_of):
            if k >= 0:
                pose = self.scene.effectors[k].pose
                R = rotation_matrix(pose[3:])
                local[v] = np.concatenate([R.T @ (self.rod.position[v] - pose[:3]), R.T @ directors[v]])
        length = float(edges(self.rod.position, self.rod.tree)[1][1:].mean())
        onset = ONSET[self.soft_contact] * self.rod.radius
        numbers = [self.rod.radius, onset, FRICTION_SPEED, length, LONGEST_STRETCH, ONSET[self.soft_contact]]
        needs = Needs(
            constants=np.concatenate([local.ravel(), numbers]),
            integers={"parents": self.rod.tree, "grips": self.scene.grip_of},
            scratch={"system": batch * self.count * at.WORK_RECORD},
        )
        if self.scene.self_contact is not None:
            needs.constants = np.concatenate([needs.constants, self.scene.self_contact.radii(self.rod)])
            needs.integers["pairs"] = batch * (at.PAIR_HEADER + 2 * self.capacity)
            needs.scratch["self_contact"] = batch * at.self_contact_work(self.count, self.capacity)
        return needs

    def initial_state(self) -> np.ndarray:
        """State row, shape (state_size,): at rest, with twist-free frames."""
        rows = np.zeros((self.count, at.STATE_RECORD))
        rows[:, at.POSITION : at.POSITION + 3] = self.rod.position
        rows[:, at.DIRECTOR : at.DIRECTOR + 3] = self.rod.directors()
        return np.concatenate([rows.ravel(), [0.0]])

    def initial_parameters(self) -> np.ndarray:
        """Parameter row, shape (parameter_size,)."""
        rod = self.rod
        rows = np.zeros((self.count, at.NODE_PARAMETERS))
        for place, name in (
            (at.REST_LENGTH, "rest_length"),
            (at.MASS, "mass"),
            (at.STRETCH, "stretch_stiffness"),
            (at.TWIST, "twist_stiffness"),
            (at.BEND_DAMPING, "bend_damping"),
            (at.TWIST_DAMPING, "twist_damping"),
            (at.DRAG, "drag"),
            (at.QUADRATIC_DRAG, "quadratic_drag"),
        ):
            rows[:, place] = rod.column(name)
        rows[:, at.BEND : at.BEND + 2] = rod.column("bend_stiffness")
        rows[:, at.CURVATURE : at.CURVATURE + 3] = rod.natural_strains()
        touch = self.scene.self_contact
        own = [0.0, 0.0] if touch is None else [touch.stiffness, touch.friction]
        return np.concatenate([rows.ravel(), self.scene.gravity, [self.scene.contact_stiffness], own])

    def write_header(self, header: np.ndarray, places: Places) -> None:
        """Fill this part's stretch of the integer header."""
        numbers_at = places.constants + self.count * at.LOCAL_RECORD
        if self.scene.self_contact is not None:
            header[at.SELF_RADIUS_AT] = numbers_at + at.NUMBERS
            header[at.SELF_PAIRS_AT] = places.integers["pairs"]
            header[at.SELF_WORK_AT] = places.scratch["self_contact"]
            header[at.SELF_CAPACITY] = self.capacity
        for place, value in (
            (at.COUNT, self.count),
            (at.STATE_AT, self.state_at),
            (at.HISTORY_AT, self.state_at + self.count * at.STATE_RECORD),
            (at.NODE_AT, self.parameter_at),
            (at.WORLD_AT, self.world_at),
            (at.CONTROL_AT, self.control_at),
            (at.PARENT_AT, places.integers["parents"]),
            (at.GRIP_AT, places.integers["grips"]),
            (at.LOCAL_AT, places.constants),
            (at.NUMBERS_AT, numbers_at),
            (at.SYSTEM_AT, places.scratch["system"]),
            (at.MAX_ITERATIONS, self.scene.iterations),
            (at.SECOND_ORDER, int(self.scene.integrator == "bdf2")),
            (at.SCALED, int(self.scene.scaled)),
            (at.SCALE_AT, self.scale_at),
            (at.FORCED, int(self.scene.forced)),
            (at.FORCE_AT, self.force_at),
        ):
            header[place] = value

    def phases(self, dim: int, fp: Any) -> Phases:
        """One implicit step, and its adjoint."""
        from pliant.sims.rod.kernels import rod_phases

        return rod_phases(fp, *self.key[1:])

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Edges have a length, directors too."""
        if name == "position":
            if (edges(values, self.rod.tree)[1][:, 1:] < 1e-9).any():
                raise ValueError("position has an edge of length zero")
        if name == "director":
            t_along = np.linalg.norm(values[:, 1:], axis=-1)
            if (t_along < 1e-6).any():
                raise ValueError("director must not vanish")

    def check_fit(self, name: str, values: np.ndarray, parameters: dict[str, np.ndarray]) -> None:
        """No edge is stretched so far that it tears, no joint is folded flat."""
        if name == "position":
            self._check_stretch(values, parameters["rest_length"])
            check_folds(name, values, self.rod.tree, FLAT_FOLD)

    def check_parameters(self, name: str, values: dict[str, np.ndarray]) -> None:
        """Masses, lengths and stiffnesses are positive, damping and drag not negative."""
        low = float(values[name].min())
        positive = ("rest_length", "mass", "stretch_stiffness", "bend_stiffness", "twist_stiffness")
        if name in positive and low <= 0:
            raise ValueError(f"parameter {name!r}={low} must be positive")
        not_negative = ("bend_damping", "twist_damping", "drag", "quadratic_drag", "contact_stiffness")
        if name in (*not_negative, "self_contact_stiffness", "self_friction") and low < 0:
            raise ValueError(f"parameter {name!r}={low} must not be negative")
        if name in ("natural_curvature", "rest_length"):
            curvature, rest = values["natural_curvature"], values["rest_length"]
            check_natural_folds("parameter 'natural_curvature'", curvature, rest, self.rod.tree)

    def _check_stretch(self, position: np.ndarray, rest_length: np.ndarray) -> None:
        """Raise ``ValueError`` if the ends of an edge of shapes (B, n, 3) are further apart than edges of the rest
        lengths (B, n) can stretch."""
        lengths, rest = edges(position, self.rod.tree)[1][:, 1:], rest_length[:, 1:]
        torn = lengths > LONGEST_STRETCH * rest
        if torn.any():
            b, i = (int(k) for k in np.argwhere(torn)[0])
            raise ValueError(
                f"position: vertices {int(self.rod.tree[i + 1])} and {i + 1} are {lengths[b, i]:.3g} m apart; the edge "
                f"between them has rest length {rest[b, i]:.3g} m and may stretch {LONGEST_STRETCH:g}-fold"
            )


def rotation_matrix(q: np.ndarray) -> np.ndarray:
    """Rotation of a unit quaternion (w, x, y, z)."""
    w, v = q[0], np.asarray(q[1:])
    X = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * X
