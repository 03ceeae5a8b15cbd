"""Where the material point method keeps things: header entries and the layout of particle records."""

from __future__ import annotations

from pliant.sims.fields import MPM_HEADER

(
    COUNT,
    STATE_AT,
    PARTICLE_AT,
    NODES,
    ORDER_AT,
    CELLS_AT,
    BOX_AT,
    ACTIVATION_AT,
    GROUPS,
    GRAVITY_AT,
    WALL_AT,
    DAMPING_AT,
    WALL_KIND_AT,
    THICKNESS,
    INFO_AT,
    VOLUME_AT,
    PARTIAL_AT,
    WIDTH,
    KEPT_NODES,
    KEPT_OFFSET,
    RIGID_COUNT,
    RIGID_AT,
    RIGID_PLACE_AT,
    RIGID_REST_AT,
    COLOUR_AT,
    FIELDS_AT,
    SURFACE_AT,
    BOND_STARTS_AT,
    BONDS_AT,
    EXTENT,
) = range(MPM_HEADER, MPM_HEADER + 30)
# EXTENT is the first of three entries: nodes along each axis.
# WIDTH is the number of nodes of a stencil along an axis, 3: see ``stencil_functions``.
# RIGID_COUNT is the number of rigid bodies, RIGID_AT their table, RIGID_PLACE_AT the place of each particle among the
# rigid ones, RIGID_REST_AT where their rest positions are among the constants (see ``rigid_table``).
# COLOUR_AT and FIELDS_AT are where surface tension keeps its scalars of nodes in the scratch memory, SURFACE_AT where
# it stands among the parameters (see ``tension.py``).
# BOND_STARTS_AT is where the first neighbour of each particle stands in the list at BONDS_AT (see ``tearing.py``).
# KEPT_NODES is how many nodes a recorded substep can keep, KEPT_OFFSET where they are within what is kept of it.

# Entries of a particle's parameter record; the fibre direction (dim) follows, then in a scene where something flows the
# constants of FLOW.
YOUNG, POISSON, DENSITY, YIELD, STRENGTH, FIBRE = range(6)
FLOW = ("bulk_modulus", "viscosity", "flow_index", "friction_angle")


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
