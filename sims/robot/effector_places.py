"""How many floats each effector takes, and what is where among its partial sums."""

from __future__ import annotations

POSE, TWIST, FORCE = 7, 6, 3

# Entries of an effector's partial sums: friction, softness, pose, twist, force.
P_FRICTION, P_SOFTNESS, P_POSE, P_TWIST, P_FORCE, P_SIZE = 0, 1, 2, 9, 15, 18
