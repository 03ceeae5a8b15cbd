"""Where the material point method keeps things: header entries and the layout of particle records."""

from __future__ import annotations

from pliant.sims.solver import MPM_HEADER

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
    WALL_KIND_AT,
    THICKNESS,
    INFO_AT,
    VOLUME_AT,
    PARTIAL_AT,
    WIDTH,
    KEPT_NODES,
    KEPT_OFFSET,
    EXTENT,
) = range(MPM_HEADER, MPM_HEADER + 20)
# EXTENT is the first of three entries: nodes along each axis.
# WIDTH is the number of nodes of a stencil along an axis, 3: see ``stencil_functions``.
# KEPT_NODES is how many nodes a recorded substep can keep, KEPT_OFFSET where they are within what is kept of it.

# Entries of a particle's parameter record; the fibre direction (dim) follows.
YOUNG, POISSON, DENSITY, YIELD, STRENGTH, FIBRE = range(6)


def record_size(dim: int) -> int:
    """Floats of a particle's state: position, velocity, affine velocity, deformation gradient."""
    return 2 * dim + 2 * dim * dim


def parameter_size(dim: int) -> int:
    """Floats of a particle's parameters."""
    return FIBRE + dim
