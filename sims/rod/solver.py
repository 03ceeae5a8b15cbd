"""Discrete elastic rods as a part of a World: layout of state, parameters and memory, and their limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pliant.sims.failures import CAUSES, NOT_CONVERGED, Cause
from pliant.sims.fields import Needs, Quantity, Record, numbers
from pliant.sims.part import Part, Stages
from pliant.sims.robot.effector_part import EffectorPart
from pliant.sims.rod import places
from pliant.sims.rod.places import CROWDED, CUT_SHORT, FOLDED, TORN, Setup
from pliant.sims.rod.rod import Wiring
from pliant.sims.rod.topology import FLAT_FOLD, check_folds, check_natural_folds, edges

FRICTION_SPEED = 5e-3
"""Sliding speed [m/s] at which friction reaches 70 % of its Coulomb value (it is smooth about rest)."""

ONSET = {True: 1.0, False: 0.1}
"""Half the width of the layer in which contact sets in, in radii of the rod, for soft and hard contact."""

PAIRS = 3
"""Room for pairs of edges in contact, for each vertex: about as many as a tight coil has."""

LONGEST_STRETCH = 2.0
"""An edge may be this many rest lengths long; beyond it the rod is torn."""


class RodPart(Part):
    """The rod of a scene as a part of its World. One thread steps it: the work is linear in its vertices.

    Args:
        scene: the rod, and what is around it.
        effectors: the part of the effectors, if there are any.
        soft_contact: contact sets in over a wide layer.

    Attributes:
        push: tells where another part, which stands before this one, leaves forces on the vertices; see ``Setup``.
    """

    element_name = "vertex"
    causes = CAUSES | {
        NOT_CONVERGED: Cause("the implicit step did not converge; the substep is too large or a clamp tears the rod"),
        TORN: Cause("a clamp or a force tears the rod: an edge is more than twice its rest length", "position"),
        CROWDED: Cause("the rod is crumpled: more pairs of its edges are in contact than there is room for"),
        FOLDED: Cause(
            "the rod is folded: two edges lie on each other, more than 178 degrees apart in direction", "position"
        ),
        CUT_SHORT: Cause("a software device has ended the loops of the step early; use device='cpu' for such a rod"),
    }

    def __init__(self, scene: Wiring, effectors: EffectorPart | None, soft_contact: bool) -> None:
        self.scene, self.rod, self.effectors, self.soft_contact = scene, scene.rod, effectors, soft_contact
        shape_kinds = effectors.shape_kinds if effectors else None
        self.key: tuple[Any, ...] = ("rod", shape_kinds, scene.self_contact is not None)
        self.push: Callable[[], tuple[int, int]] | None = None
        self.count = len(self.rod)
        self.capacity = PAIRS * self.count
        self._check_stretch(self.rod.position[None], self.rod.column("rest_length")[None])

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Vertices and edges, the tree and its grips, where grips hold their vertices, the linear system."""
        scene, n = self.scene, self.count
        touch = scene.self_contact
        local = np.zeros((n, places.LOCAL_RECORD))
        directors = self.rod.directors()
        for v, k in enumerate(scene.grip_of):
            if k >= 0:
                pose = scene.effectors[k].pose
                R = rotation_matrix(pose[3:])
                local[v] = np.concatenate([R.T @ (self.rod.position[v] - pose[:3]), R.T @ directors[v]])
        length = float(edges(self.rod.position, self.rod.tree)[1][1:].mean())
        onset = ONSET[self.soft_contact] * self.rod.radius
        values = [self.rod.radius, onset, FRICTION_SPEED, length, LONGEST_STRETCH, ONSET[self.soft_contact]]
        controls = {
            "driven": [Record("driven", [Quantity("driven_position", (3,), "m")], scene.driven_count)],
            "scale": [numbers("scale", places.SCALES, title="parameter_scale")],
            "vertex_force": [Record("vertex_force", [Quantity("vertex_force", (3,), "N")], n)],
        }
        offered = {"driven": scene.driven_count > 0, "scale": scene.scaled, "vertex_force": scene.forced}
        work = places.self_contact_work(n, self.capacity)
        return Needs(
            state=[
                Record("state", _state_quantities(), n),
                Record("history", [Quantity("has_history", is_shown=False)]),
            ],
            parameters=[
                Record("properties", _node_quantities(), n),
                Record("world", _world_quantities(bool(scene.effectors), touch is not None)),
            ],
            controls=[record for name, records in controls.items() if offered[name] for record in records],
            counts={
                "count": n,
                "max_iterations": scene.iterations,
                "second_order": int(scene.integrator == "bdf2"),
                "scaled": int(scene.scaled),
                "forced": int(scene.forced),
                "self_capacity": self.capacity,
            }
            | {name: 0 for name, is_there in offered.items() if not is_there},
            constants={
                "local": local.ravel(),
                "numbers": np.array(values),
                "self_radii": np.zeros(0) if touch is None else touch.radii(self.rod),
            },
            integers={
                "parents": self.rod.tree,
                "grips": scene.grip_of,
                "pairs": 0 if touch is None else batch * (places.PAIR_HEADER + 2 * self.capacity),
            },
            scratch={
                "system": batch * n * places.WORK_RECORD,
                "self_work": 0 if touch is None else batch * work,
            },
        )

    def initial(self) -> Mapping[str, Any]:
        """At rest, with twist-free frames; the parameters of the rod."""
        rod, touch = self.rod, self.scene.self_contact
        natural = rod.natural_strains()
        names = ["rest_length", "mass", "stretch_stiffness", "bend_stiffness", "twist_stiffness"]
        names += ["bend_damping", "twist_damping", "drag", "quadratic_drag"]
        return {
            "position": rod.position,
            "director": rod.directors(),
            **{name: rod.column(name) for name in names},
            "natural_curvature": natural[:, :2],
            "natural_twist": natural[:, 2],
            "gravity": self.scene.gravity,
            "contact_stiffness": self.scene.contact_stiffness,
            "self_contact_stiffness": 0.0 if touch is None else touch.stiffness,
            "self_friction": 0.0 if touch is None else touch.friction,
        }

    def setup(self, fp: Any) -> Setup:
        """What the compiled functions depend on."""
        effectors = self.effectors
        return Setup(
            at=self.at,
            fp=fp,
            eff=effectors.at if effectors else None,
            shape_kinds=effectors.shape_kinds if effectors else (),
            has_self_contact=self.scene.self_contact is not None,
            push=self.push() if self.push else None,
        )

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """One implicit step, and its adjoint."""
        from pliant.sims.rod.stages import rod_stages

        return rod_stages(self.setup(fp))

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


def _state_quantities() -> list[Quantity]:
    """Quantities of a node's state, in the order of ``places.py``."""
    hidden = ["old_position", "old_velocity", "strain", "old_strain"]
    return [
        Quantity("position", (3,), "m"),
        Quantity("velocity", (3,), "m/s"),
        Quantity("director", (3,)),
        *(Quantity(name, (3,), is_shown=False) for name in hidden),
    ]


def _node_quantities() -> list[Quantity]:
    """Parameters of a node, in the order of ``places.py``."""
    return [
        Quantity("rest_length", (), "m"),
        Quantity("mass", (), "kg"),
        Quantity("stretch_stiffness", (), "N"),
        Quantity("bend_stiffness", (2,), "N m^2"),
        Quantity("twist_stiffness", (), "N m^2"),
        Quantity("natural_curvature", (2,), "1/m"),
        Quantity("natural_twist", (), "rad/m"),
        Quantity("bend_damping", (), "s"),
        Quantity("twist_damping", (), "s"),
        Quantity("drag", (), "N s/m"),
        Quantity("quadratic_drag", (), "N s^2/m^2"),
    ]


def _world_quantities(touches_effectors: bool, touches_itself: bool) -> list[Quantity]:
    """Parameters of the whole world, in the order of ``places.py``."""
    return [
        Quantity("gravity", (3,), "m/s^2"),
        Quantity("contact_stiffness", (), "N/m", touches_effectors),
        Quantity("self_contact_stiffness", (), "N/m", touches_itself),
        Quantity("self_friction", (), "", touches_itself),
    ]


def rotation_matrix(q: np.ndarray) -> np.ndarray:
    """Rotation of a unit quaternion (w, x, y, z)."""
    w, v = q[0], np.asarray(q[1:])
    X = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * X
