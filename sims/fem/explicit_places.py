"""Where an explicit gel keeps things, and what its compiled functions depend on."""

from __future__ import annotations

from dataclasses import dataclass

from pliant.sims.fem.places import Setup


@dataclass(frozen=True)
class ExplicitSetup(Setup):
    """As ``Setup``; ``is_pushed``: another part leaves a force on each node in ``push``."""

    is_pushed: bool = False


# Scratch of a node: place at the start of the substep and place carried along by the mount (both in the world),
# velocity relative to the mount, in its frame; multiplier (cotangent of minus the force).
START, CARRIED, RATE, MULTIPLIER, NODE_WORK = 0, 3, 6, 9, 12

# Scratch of a cell: forces on its nodes, in reverse the cotangents of their displacements and of their rates; those of
# mu, lambda' and eta; deformation gradients of its tetrahedra.
CELL_FORCE, CELL_RATE, CELL_PARAMETERS, CELL_NOW, CELL_WORK = 0, 24, 48, 51, 105
