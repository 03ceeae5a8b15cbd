"""Where the contact of gels with particles or a rod keeps things, and what its compiled functions depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pliant.sims.fem.explicit_places import ExplicitSetup
from pliant.sims.fields import Entries


@dataclass(frozen=True)
class TouchSetup:
    """What the compiled functions of such a contact depend on.

    Attributes:
        at: where the contact keeps things, see ``TouchPart.needs``.
        gel: that of the gels.
        matter: that of the particles or of the rod.
    """

    at: Entries
    gel: ExplicitSetup
    matter: Any

    @property
    def fp(self) -> Any:
        """The floating-point type."""
        return self.gel.fp

    @property
    def device(self) -> bool:
        """Whether threads share sums."""
        return self.gel.device


# Scratch of a point: place, velocity and unit normal in the world; length of the sum that is the normal.
PLACE, VELOCITY, NORMAL, LENGTH = 0, 3, 6, 9
# Gap, velocity of what touches the point, force on the gel; whether it may be touched.
GAP, MEAN, FORCE, ACTIVE = 10, 11, 14, 17
# In reverse: cotangents of the sum that is the normal (in the mount's frame), of place and velocity.
NORMAL_BAR, PLACE_BAR, VELOCITY_BAR, POINT_WORK = 18, 21, 24, 27

# What particles see of a point, in the order of the cells: place, force over fill, in reverse cotangents of the sums of
# volumes and of momenta over density.
SEEN_PLACE, SEEN_FORCE, SEEN_FILL_BAR, SEEN_MOMENTUM_BAR, SEEN = 0, 3, 6, 7, 10

# What points see of a particle, in the order of the cells: place, velocity, volume, in reverse the cotangent of the
# force on it.
LISTED_PLACE, LISTED_VELOCITY, LISTED_VOLUME, LISTED_BAR, LISTED = 0, 3, 6, 7, 10

# What a point has to do with a rod: share of the edge's own vertex in what touches it; in reverse cotangents of the
# places of the parent and of the vertex, and of the velocity between them.
SHARE, FIRST_BAR, SECOND_BAR, MEAN_BAR, ROD_WORK = 0, 1, 4, 7, 10

# State of a point: stretch of the stick spring in the mount's frame, normal force.
STRETCH, NORMAL_FORCE, POINT_STATE = 0, 3, 4

# Parameters of the whole world, and partial sums of their cotangents; those of the friction of each gel follow.
STIFFNESS, TANGENT, DAMPING, WORLD_PARAMETERS = 0, 1, 2, 3
