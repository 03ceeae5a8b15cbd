"""Rigid kinematic manipulators: signed distances that move with a prescribed twist and push on what they touch.

An effector's pose (position and quaternion) is state, its twist a control, unless it is fixed. Contact acts on grid
velocities: inside the shape (hard), or blended by s = min(exp(-softness * signed distance), 1) around it (soft; Huang
et al. 2021, PlasticineLab, eq. 4), the velocity relative to the surface answers to the contact law of ``contact.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.sims.contact import CONTACT_KINDS
from pliant.sims.inputs import flag, label, real, real_array, shown, word
from pliant.sims.shapes.shapes import Mesh, Shape
from pliant.sims.shapes.thickness import CELLS, FELT, least_thickness

MESH_LARGEST, LARGEST = 4.0, 100.0  # times the domain's longest side that meshes and other solids may be long


@dataclass
class Effector:
    """One manipulator.

    shape: one of ``pliant.sims.shapes.shapes`` (metres).  position: (3,) [m], in 2-D scenes (x, y) or (x, y, 0).
    orientation: quaternion (w, x, y, z).  friction: Coulomb coefficient.  contact: "sticky", "slip" or "separate".
    softness: decay rate of soft contact [1/m].  color: (r, g, b) in 0..1, for rendering only.
    fixed: it stays where it is and has no controls; in a scene fixed effectors stand after all others.
    """

    name: str
    shape: Any
    position: Sequence[float]
    orientation: Sequence[float] = (1.0, 0.0, 0.0, 0.0)
    friction: float = 0.5
    contact: str = "separate"
    softness: float = 666.0
    color: tuple[float, float, float] = (0.55, 0.58, 0.62)
    fixed: bool = False
    pose: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        position = np.zeros(3)
        where = f"effector {label('effector: name', self.name)!r}"
        if not isinstance(self.shape, Shape):
            raise ValueError(f"{where}: shape={shown(self.shape)} must be one of pliant.sims.shapes.shapes")
        given = real_array(f"{where}: position", self.position).ravel()
        if given.size not in (2, 3):
            raise ValueError(f"{where}: position={shown(self.position)} must be 2 or 3 finite numbers [m]")
        position[: given.size] = given
        orientation = real_array(f"{where}: orientation", self.orientation).ravel()
        norm = float(np.linalg.norm(orientation)) if orientation.size == 4 else 0.0
        if not np.isfinite(norm) or norm < 1e-9:
            raise ValueError(f"{where}: orientation={shown(self.orientation)} must be a quaternion (w, x, y, z)")
        word(f"{where}: contact", self.contact, CONTACT_KINDS)
        for name in ("friction", "softness"):
            real(f"{where}: {name}", getattr(self, name), 0.0)
        flag(f"{where}: fixed", self.fixed)
        color = real_array(f"{where}: color", self.color, shape=(3,))
        if color.min() < 0 or color.max() > 1:
            raise ValueError(f"{where}: color={shown(self.color)} must be (r, g, b) in 0..1")
        self.pose = np.concatenate([position, orientation / norm])

    def check_cell(self, cell: float) -> None:
        """Raise ``ValueError`` if a grid with cells of this edge [m] is too coarse for the shape (thin walls leak)."""
        try:
            self.shape.check_cell(cell)
        except ValueError as error:
            raise ValueError(f"effector {self.name!r}: {error}") from None

    def check_thickness(self, cell: float, *, soft_contact: bool) -> None:
        """Raise ``ValueError`` if the shape is so thin for a grid with cells of this edge [m] that it leaks."""
        least = least_thickness(cell, self.softness if soft_contact else None, self.shape.width)
        if least <= 0.0:
            return
        reason = self.shape.thin_part(least)
        if reason:
            kind = f"soft contact with softness={self.softness:.4g} 1/m" if soft_contact else "sharp contact"
            raise ValueError(
                f"effector {self.name!r}: {type(self.shape).__name__} must be at least {least:.4g} m thick in {kind} "
                f"on cells of {cell:.4g} m, or particles pass through it; it {reason}. Thicken it, take smaller cells "
                f"or soft contact with a softness of at most {2 * FELT / (CELLS * cell):.4g} 1/m"
            )

    def check_size(self, domain: Sequence[float] | np.ndarray, cell: float) -> None:
        """Raise ``ValueError`` if the shape cannot be of the units of a domain with these edges and cells [m]."""
        extent, longest = self.shape.extent, float(np.max(domain))
        factor = MESH_LARGEST if isinstance(self.shape, Mesh) else LARGEST
        if np.isfinite(extent) and extent > factor * longest:
            raise ValueError(
                f"effector {self.name!r}: {type(self.shape).__name__} is {extent:.4g} m long in a domain of "
                f"{longest:.4g} m; allowed: at most {factor:g} times the domain{_unit_hint(self.shape, longest)}"
            )
        if isinstance(self.shape, Mesh) and extent < cell:
            raise ValueError(
                f"effector {self.name!r}: Mesh is {extent:.4g} m long, smaller than a cell of {cell:.4g} m"
                f"{_unit_hint(self.shape, longest)}"
            )


def _unit_hint(shape: Shape, longest: float) -> str:
    """What else the scale of a mesh may be, so that it fits a domain of this length [m]."""
    if not isinstance(shape, Mesh):
        return "; sizes are in metres"
    units = {"millimetres": 1e-3, "centimetres": 1e-2, "inches": 0.0254, "metres": 1.0}
    fits = [
        f"scale={factor:g} if the file is in {unit}"
        for unit, factor in units.items()
        if 0.02 * longest <= shape.extent / shape.scale * factor <= longest
    ]
    return f"; its scale is {shape.scale:g}: " + (", ".join(fits) if fits else "sizes are in metres")
