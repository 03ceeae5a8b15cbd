"""What a World of rods is made of: one rod or tree of rods, its grips, and effectors that it may touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.sims.inputs import flag, real, real_array, sequence_of, shown, whole, word
from pliant.sims.part import Part
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.effector_part import EffectorPart
from pliant.sims.rod.places import DRIVEN, FREE
from pliant.sims.rod.rod import Grip, Rod, SelfContact
from pliant.sims.rod.solver import RodPart

INTEGRATORS = ("bdf2", "backward_euler")


@dataclass
class RodScene:
    """A World of one rod or tree of rods.

    grips: see ``Grip``.  effectors: manipulators and obstacles, also a plane (``HalfSpace``).  gravity: [m/s^2].
    contact_stiffness: [N/m] of a vertex against an effector.  integrator: "bdf2" or "backward_euler".
    iterations: the most that Newton's method takes in a substep.
    scaled: offer the control "parameter_scale", (4,): the factors of all bend stiffnesses, twist stiffnesses, masses
        and dampings, each minus one.
    forced: offer the control "vertex_force", (n, 3) [N].
    self_contact: None: the rod passes through itself.
    """

    rod: Rod
    grips: list[Grip] = field(default_factory=list)
    effectors: list[Effector] = field(default_factory=list)
    gravity: Sequence[float] = (0.0, 0.0, -9.81)
    contact_stiffness: float = 100.0
    integrator: str = "bdf2"
    iterations: int = 100
    scaled: bool = False
    forced: bool = False
    self_contact: SelfContact | None = None
    dim: int = field(default=3, init=False)
    grip_of: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.rod, Rod):
            raise ValueError(f"rod={shown(self.rod)} must be a Rod")
        sequence_of("grips", self.grips, Grip, "Grip")
        names = [e.name for e in sequence_of("effectors", self.effectors, Effector, "Effector")]
        if len(set(names)) != len(names):
            raise ValueError(f"effectors have the names {names}; each name may stand once")
        if any(e.fixed for e in self.effectors):
            raise ValueError(
                "effectors: fixed=True is for scenes of the material point method; leave its twist at zero"
            )
        real_array("gravity", self.gravity, shape=(3,))
        real("contact_stiffness", self.contact_stiffness, 0.0, unit="N/m")
        word("integrator", self.integrator, INTEGRATORS)
        whole("iterations", self.iterations, 1)
        flag("scaled", self.scaled)
        flag("forced", self.forced)
        if self.self_contact is not None:
            if not isinstance(self.self_contact, SelfContact):
                raise ValueError(f"self_contact={shown(self.self_contact)} must be a SelfContact or None")
            self.self_contact.check(self.rod)
        self.grip_of = np.full(len(self.rod), FREE, np.int32)
        driven = 0
        for grip in self.grips:
            if grip.effector is not None:
                word("grip: effector", grip.effector, names)
            if real_array("grip: vertices", grip.vertices).ndim != 1:
                raise ValueError(f"grip: vertices={shown(grip.vertices)} must be a list of integers")
            for v in grip.vertices:
                whole("grip: vertex", v, 0, len(self.rod) - 1)
                if self.grip_of[v] != FREE:
                    raise ValueError(f"grip: vertex {v} is held twice")
                if grip.effector is None:
                    self.grip_of[v] = DRIVEN - driven
                    driven += 1
                else:
                    self.grip_of[v] = names.index(grip.effector)
        self.driven_count = driven

    @property
    def position(self) -> np.ndarray:
        """Vertices at the start, (n, 3) [m]."""
        return self.rod.position

    @property
    def driven_vertices(self) -> np.ndarray:
        """Vertices whose positions are a control, (c,), in the order of the control."""
        return np.array([v for grip in self.grips if grip.effector is None for v in grip.vertices], int)

    def parts(self, *, dt: float, soft_contact: bool, untouched: Sequence[str] = ()) -> list[Part]:
        """The scene as the World takes it: effectors, if there are any, and the rod; it passes through effectors of the
        names ``untouched``."""
        effectors = None
        if self.effectors:
            effectors = EffectorPart(self.effectors, soft_contact=soft_contact, untouched=untouched)
        rod = RodPart(self, effectors, soft_contact)
        return [effectors, rod] if effectors else [rod]
