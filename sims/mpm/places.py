"""How the material point method lays out its records, and what its compiled functions depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pliant.sims.fields import Entries

# Entries of a particle's parameter record; the fibre direction (dim) follows, then in a scene where something flows the
# constants of FLOW.
YOUNG, POISSON, DENSITY, YIELD, STRENGTH, FIBRE = range(6)
FLOW = ("bulk_modulus", "viscosity", "flow_index", "friction_angle")


@dataclass(frozen=True)
class Setup:
    """What the compiled functions of the bodies of a scene depend on.

    Attributes:
        at: where the bodies keep things, see ``MPMPart.needs``.
        dim: 2 or 3.
        fp: the floating-point type.
        kinds: the materials, numbers of ``laws.MATERIALS``.
        has_muscles: whether a particle belongs to a muscle.
        has_tension: whether liquids have surface tension.
        eff: where the effectors keep things, or None.
        shape_kinds: kinds of the effectors' shapes.
        inj: where injectors and drains keep things, or None.
        device: threads share nodes and sums, and add to them atomically.
        push: header entry of the forces that another part leaves on particles before their step, three floats of
        scratch
            memory each; or None.
    """

    at: Entries
    dim: int
    fp: Any
    kinds: tuple[int, ...]
    has_muscles: bool = False
    has_tension: bool = False
    eff: Entries | None = None
    shape_kinds: tuple[int, ...] = ()
    inj: Entries | None = None
    device: bool = False
    push: int | None = None


def world_sums(dim: int) -> int:
    """Partial sums of a member for the cotangents of the world's own parameters, gravity, wall friction and damping, in
    this order; those of muscle activations follow, then that of surface tension."""
    return 3 * dim + 1


def record_size(dim: int) -> int:
    """Floats of a particle's state: position, velocity, affine velocity, deformation gradient."""
    return 2 * dim + 2 * dim * dim


def rigid_record_size(dim: int) -> int:
    """Floats of a rigid particle behind all particles' records: velocity and spin before shape matching."""
    return 3 if dim == 2 else 6


def parameter_size(dim: int, flows: bool) -> int:
    """Floats of a particle's parameters."""
    return FIBRE + dim + (len(FLOW) if flows else 0)


def box_size(dim: int) -> int:
    """Integers of a box of nodes: the lowest one, the highest one, their number."""
    return 2 * dim + 1
