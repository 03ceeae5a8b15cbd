"""How long an environment has simulated, forward and in reverse: what is left of a run's time is the method's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """Wall time since an environment was made [s], kernels' compilation included.

    Attributes:
        forward: of resets and steps.
        reverse: of reverse sweeps, with the steps that they simulate again.
    """

    forward: float
    reverse: float

    def __add__(self, other: tuple[float, ...]) -> Timing:  # type: ignore[override]
        """Both together, as of two sessions of a run."""
        return Timing(self.forward + other[0], self.reverse + other[1])


NO_TIME = Timing(0.0, 0.0)


def timing_of(env: Any) -> Timing:
    """What an environment says; one of somebody else's class may say nothing."""
    return getattr(env, "timing", NO_TIME)


def timed(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose wall time is added to ``self.seconds``; such methods do not call one another."""

    @wraps(method)
    def call(self: Any, *args: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(self, *args, **keywords)
        finally:
            self.seconds += time.perf_counter() - began

    return call
