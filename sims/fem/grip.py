"""Gels that hold and press bodies of particles or a rod: what such a World is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.sims.fem.explicit_solver import ExplicitGelPart
from pliant.sims.fem.scene import Gel, GelScene
from pliant.sims.fem.touch_solver import ParticleTouchPart, RodTouchPart
from pliant.sims.inputs import real, real_array, shown
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.solver import MPMPart
from pliant.sims.part import Part
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.effector_part import EffectorPart
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.solver import RodPart

RENAMED = {
    "gravity": "gel_gravity",
    "contact_stiffness": "gel_contact_stiffness",
    "tangential_stiffness": "gel_tangential_stiffness",
    "contact_damping": "gel_contact_damping",
}
"""Parameters of gels that go by other names here, as the matter has parameters of these names itself."""

MATTER_RATE = 1.5
"""Square of the angular frequency of particles on their contact, times density and width, over its stiffness."""

WIDTHS = 0.6, 1.5
"""Widths of the kernel [cells]. Narrow ones see single particles where a body is stretched."""

ONSET = 0.1
"""Half the width of the layer in which contact sets in, in widths of the kernel."""

TALLEST_LAYER = 0.5
"""The widest such layer, in widths of the kernel: outside the surface the fill tells the gap no further than that."""


@dataclass
class GripScene:
    """A World of explicit gels and what they hold.

    Gels touch the matter, and the effectors named by ``touched``; the matter touches all effectors but the gels'
    mounts. Gels do not touch each other.

    matter: a three-dimensional ``Scene`` of the material point method without injectors and drains, or a ``RodScene``.
        Its effectors are those of the World, mounts included.
    gels: on some of these effectors.
    stiffness: pressure per depth between gels and matter, [Pa/m].  tangential_stiffness: [Pa/m]; None: 0.8 of the
        other.
    damping: how much the pressure grows with the speed of approach, [s/m].
    friction: Coulomb coefficient of the gels against the matter, one or one each.
    width: of the kernel through which a point of a gel sees particles, in cells, 0.6...1.5; the narrower, the quicker.
        Gels whose nodes are further apart than about twice as much let particles through. Not for rods.
    onset: half the width [m] of the layer in which this contact sets in; None: a tenth of ``width``, or of a rod's
        radius.
    contact_stiffness, contact_tangential_stiffness, contact_damping, contact_onset: of gels against effectors, see
        ``GelScene``.
    touched: names of the effectors that gels touch; None: all that carry no gel.
    """

    matter: Scene | RodScene
    gels: list[Gel]
    stiffness: float = 5e7
    tangential_stiffness: float | None = None
    damping: float = 1.0
    friction: float | Sequence[float] = 0.8
    width: float = 0.8
    onset: float | None = None
    contact_stiffness: float = 5e7
    contact_tangential_stiffness: float | None = None
    contact_damping: float = 1.0
    contact_onset: float = 5e-5
    touched: Sequence[str] | None = None
    dim: int = field(default=3, init=False)
    effectors: list[Effector] = field(init=False, repr=False)
    gel_scene: GelScene = field(init=False, repr=False)

    def __post_init__(self) -> None:
        matter = self.matter
        if not isinstance(matter, (Scene, RodScene)) or matter.dim != 3:
            raise ValueError(f"matter={shown(matter)} must be a three-dimensional Scene or a RodScene")
        if isinstance(matter, Scene) and (matter.injectors or matter.drains):
            raise ValueError("matter: injectors and drains are not for scenes with gels; leave them out")
        assert matter.gravity is not None
        self.effectors = matter.effectors
        self.gel_scene = GelScene(
            self.gels,
            matter.effectors,
            gravity=matter.gravity,
            contact_stiffness=self.contact_stiffness,
            tangential_stiffness=self.contact_tangential_stiffness,
            contact_damping=self.contact_damping,
            onset=self.contact_onset,
            touched=self.touched,
            integrator="explicit",
        )
        real("stiffness", self.stiffness, above=0.0, unit="Pa/m")
        if self.tangential_stiffness is None:
            self.tangential_stiffness = 0.8 * self.stiffness
        real("tangential_stiffness", self.tangential_stiffness, above=0.0, unit="Pa/m")
        real("damping", self.damping, 0.0, unit="s/m")
        friction = real_array("friction", self.friction)
        if friction.shape not in ((), (len(self.gels),)) or (friction < 0).any():
            raise ValueError(f"friction={shown(self.friction)} must be one or {len(self.gels)} finite numbers >= 0")
        real("width", self.width, *WIDTHS, unit="cells")
        size = matter.rod.radius if isinstance(matter, RodScene) else self.width * matter.cell
        if self.onset is None:
            self.onset = ONSET * size
        real("onset", self.onset, high=TALLEST_LAYER * size, above=0.0, unit="m")

    @property
    def mounts(self) -> tuple[str, ...]:
        """Names of the effectors that carry gels."""
        return tuple(gel.mount for gel in self.gels)

    @property
    def position(self) -> np.ndarray:
        """Particles or vertices at the start, (n, 3) [m]."""
        return self.matter.position

    def parts(self, *, dt: float, soft_contact: bool) -> list[Part]:
        """The scene as the World takes it: effectors, the contact, what is held, gels.

        Raises:
            ValueError: ``dt`` [s] is too large for a body of particles, for a gel or for their contact.
        """
        matter = self.matter
        assert self.tangential_stiffness is not None and self.onset is not None
        effectors, held = matter.parts(dt=dt, soft_contact=soft_contact, untouched=self.mounts)
        assert isinstance(effectors, EffectorPart)
        gels = ExplicitGelPart(
            self.gel_scene,
            effectors,
            dt,
            is_pushed=True,
            push_stiffness=max(self.stiffness, self.tangential_stiffness),
            push_rate_over_stiffness=self._rate_over_stiffness(),
            renamed=RENAMED,
        )
        values = {
            "grip_stiffness": self.stiffness,
            "grip_tangential_stiffness": self.tangential_stiffness,
            "grip_damping": self.damping,
            "grip_friction": np.broadcast_to(np.asarray(self.friction, float), (len(self.gels),)),
        }
        if isinstance(held, RodPart):
            return [effectors, RodTouchPart(held, gels, values, self.onset), held, gels]
        assert isinstance(held, MPMPart) and isinstance(matter, Scene)
        return [effectors, ParticleTouchPart(held, gels, values, self.onset, self.width * matter.cell), held, gels]

    def _rate_over_stiffness(self) -> float:
        """Square of the angular frequency of the matter on its contact, over the stiffness of that [m/(Pa s^2)]."""
        matter = self.matter
        if isinstance(matter, RodScene):
            rod = matter.rod
            return 2 * rod.radius * float(np.max(rod.column("rest_length")) / np.min(rod.column("mass")))
        density = min(float(np.min(body.column("density"))) for body in matter.bodies)
        return MATTER_RATE / (density * self.width * matter.cell)
