"""How step sizes fall."""

from __future__ import annotations

import math


def half_cosine(progress: float) -> float:
    """A factor that falls from 1 at ``progress`` 0 to 0.01 at 1, along half a cosine."""
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))
