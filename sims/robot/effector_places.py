"""Where the effectors keep things."""

from __future__ import annotations

from pliant.sims.fields import EFFECTOR_HEADER

POSE, TWIST, FORCE = 7, 6, 3

# Header entries of this part.
(COUNT, STATE_AT, FRICTION_AT, SOFTNESS_AT, CONTROL_AT, OUTPUT_AT, RECORD_AT, KIND_AT, SOFT, PARTIAL_AT, MOVING) = (
    range(EFFECTOR_HEADER, EFFECTOR_HEADER + 11)
)
