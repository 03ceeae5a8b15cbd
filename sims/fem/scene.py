"""What a World of gels is made of: gels on their mounts, tools and obstacles, rigid bodies, and their contact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pliant.sims.fem.bodies import RigidBody
from pliant.sims.fem.hulls import check_apart
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.places import MOST_POISSON
from pliant.sims.inputs import real, real_array, sequence_of, shown, whole, word
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.part import Part
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.effector_part import EffectorPart

INTEGRATORS = ("implicit", "explicit")


@dataclass
class Gel:
    """An elastomer that is glued to an effector, its mount.

    mesh: in the mount's frame.  mount: name of the effector.  youngs_modulus: [Pa].  poisson_ratio: below 0.5.
    density: [kg/m^3].  viscosity: [Pa s], of the rate of Green's strain.
    """

    mesh: GelMesh
    mount: str
    youngs_modulus: float = 1e5
    poisson_ratio: float = 0.45
    density: float = 1100.0
    viscosity: float = 20.0

    def __post_init__(self) -> None:
        if not isinstance(self.mesh, GelMesh):
            raise ValueError(f"gel: mesh={shown(self.mesh)} must be a GelMesh, see gel_mesh()")
        real("gel: youngs_modulus", self.youngs_modulus, above=0.0, unit="Pa")
        check_poisson("gel: poisson_ratio", self.poisson_ratio)
        real("gel: density", self.density, above=0.0, unit="kg/m^3")
        real("gel: viscosity", self.viscosity, 0.0, unit="Pa s")


def check_poisson(name: str, value: float) -> None:
    """Raise ``ValueError`` unless -1 < value <= ``MOST_POISSON``."""
    real(name, value, high=MOST_POISSON, above=-1.0)


@dataclass
class GelScene:
    """A World of gels.

    gels: on effectors.  effectors: mounts, tools and obstacles.  bodies: rigid, dynamic.  gravity: [m/s^2].
    contact_stiffness: pressure per depth, [Pa/m].  tangential_stiffness: shear stress per displacement, [Pa/m]; None:
    0.8 of the other.  contact_damping: how much the pressure grows with the speed of approach, [s/m].  onset: half the
    width [m] of the layer in which contact sets in.  touched: names of the effectors that gels and bodies touch; None:
    all that carry no gel.  iterations: the most that Newton's method takes in a step.  integrator: "implicit", for
    substeps of milliseconds, or "explicit", for those of some ten microseconds that gels share with particles or a rod.
    """

    gels: list[Gel]
    effectors: list[Effector]
    bodies: list[RigidBody] = field(default_factory=list)
    gravity: Sequence[float] = (0.0, 0.0, -9.81)
    contact_stiffness: float = 6e8
    tangential_stiffness: float | None = None
    contact_damping: float = 0.0
    onset: float = 1e-5
    touched: Sequence[str] | None = None
    iterations: int = 100
    integrator: str = "implicit"
    dim: int = field(default=3, init=False)

    def __post_init__(self) -> None:
        if not sequence_of("gels", self.gels, Gel, "Gel"):
            raise ValueError("gels=[] must hold at least one Gel")
        names = [e.name for e in sequence_of("effectors", self.effectors, Effector, "Effector")]
        bodies = [k.name for k in sequence_of("bodies", self.bodies, RigidBody, "RigidBody")]
        if len(set(names + bodies)) != len(names) + len(bodies):
            raise ValueError(f"effectors and bodies have the names {names + bodies}; each name may stand once")
        mounts = [word("gel: mount", gel.mount, names) for gel in self.gels]
        if len(set(mounts)) != len(mounts):
            raise ValueError(f"gels are mounted on {mounts}; each effector carries at most one")
        poses = {e.name: e.pose for e in self.effectors}
        check_apart([gel.mesh for gel in self.gels], mounts, [poses[name] for name in mounts])
        touched = [name for name in names if name not in mounts] if self.touched is None else list(self.touched)
        for name in touched:
            word("touched", name, names)
        self.touched = touched
        real_array("gravity", self.gravity, shape=(3,))
        real("contact_stiffness", self.contact_stiffness, above=0.0, unit="Pa/m")
        if self.tangential_stiffness is None:
            self.tangential_stiffness = 0.8 * self.contact_stiffness
        real("tangential_stiffness", self.tangential_stiffness, above=0.0, unit="Pa/m")
        real("contact_damping", self.contact_damping, 0.0, unit="s/m")
        real("onset", self.onset, above=0.0, unit="m")
        whole("iterations", self.iterations, 1)
        if word("integrator", self.integrator, INTEGRATORS) == "explicit" and self.bodies:
            raise ValueError(
                f"integrator='explicit' takes no bodies, given {bodies}; allowed: integrator='implicit', or bodies of "
                "particles in a GripScene"
            )

    @property
    def position(self) -> np.ndarray:
        """Free nodes of all gels at the start, in the world, (n, 3) [m]."""
        places, poses = [], {e.name: e.pose for e in self.effectors}
        for gel in self.gels:
            pose = poses[gel.mount]
            rest = gel.mesh.positions[: gel.mesh.free_count]
            places.append(pose[:3] + rest @ matrix_of_quaternion(pose[None, 3:])[0].T)
        return np.concatenate(places)

    def parts(self, *, dt: float, soft_contact: bool) -> list[Part]:
        """The scene as the World takes it: effectors, and the gels with the bodies."""
        from pliant.sims.fem.explicit_solver import ExplicitGelPart
        from pliant.sims.fem.solver import GelPart

        effectors = EffectorPart(self.effectors, soft_contact=soft_contact)
        if self.integrator == "explicit":
            return [effectors, ExplicitGelPart(self, effectors, dt)]
        return [effectors, GelPart(self, effectors)]
