"""How injectors and drains lay out what they keep."""

from __future__ import annotations

# Constants of an injector: direction (3), area, quantum; of a pool's particle: quanta and remainder of w_k, a_k (3).
DIRECTION, AREA, QUANTUM, INJECTOR_SIZE = 0, 3, 4, 5
QUANTA, REMAINDER, ARM, POOL_SIZE = 0, 1, 2, 5
# Partial sums of an injector: cotangents of pose, twist, injected volume, flow.
P_POSE, P_TWIST, P_VOLUME, P_FLOW, P_SIZE = 0, 7, 13, 14, 15
# Entry of a particle in the pools, where it has none: of no pool; of a rigid body, which no drain takes apart.
NO_POOL, RIGID = -1, -2
