"""Which states a recording keeps, and which it recomputes, within a memory budget.

While everything fits, every substep of every step is kept (a *segment* a step). When it no longer does, only the
states at the start of steps are kept, then those of every second step, every fourth, ...; the reverse sweep
recomputes a step's segment from the nearest state before it and, on the way, keeps as many states in between as the
budget has room for (a form of Griewank & Walther's checkpointing, 2000). If the number of steps is known beforehand,
the last steps are kept whole, as many as fit beside the states before all others, and at least one: the reverse sweep
begins with them, and when it has passed, their memory is free for recomputed segments. Any number of steps and
substeps is allowed.
The recomputation runs the same kernels on the same data, so the gradient does not depend on the budget, to the last
bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from pliant.sims.arrays import Array
from pliant.sims.inputs import shown

_UNITS = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_memory(memory: str | int) -> int:
    """Bytes of a budget such as "2GiB", "500MB" or an integer.

    Raises:
        ValueError: it is neither, or not positive.
    """
    is_size = isinstance(memory, (str, int, np.integer)) and not isinstance(memory, bool)
    match = re.fullmatch(r"\s*([0-9.]{1,20})\s*([A-Za-z]*)\s*", memory if isinstance(memory, str) else shown(memory))
    unit = (match.group(2) or "b").lower() if match else ""
    try:
        size = int(float(match.group(1)) * _UNITS[unit]) if match and is_size else 0
    except (KeyError, ValueError):
        size = 0
    if not 0 < size < 2**63:
        raise ValueError(
            f"memory={shown(memory)} is not a size; allowed: a positive number with B, KiB, MiB, GiB, kB, MB or GB, "
            "less than 8 EiB"
        )
    return size


class Checkpoints:
    """The states of one recording: T steps of k substeps.

    Args:
        row: floats of one state of all worlds.  dtype: their NumPy type.  substeps: k.  budget: bytes.
        horizon: steps that will be recorded, if known: tells at once what fits.
        kept: floats that a segment keeps of each substep of all worlds, behind the states.

    Raises:
        ValueError: the budget does not hold one segment and two states.
    """

    def __init__(self, row: int, dtype: type, substeps: int, budget: int, horizon: int | None, kept: int = 0) -> None:
        self.row, self.dtype, self.substeps = row, dtype, substeps
        self.state_bytes = max(1, row * np.dtype(dtype).itemsize)  # parts may have no state
        self.segment_size = (substeps + 1) * row + substeps * kept
        self.segment_bytes = max(1, self.segment_size * np.dtype(dtype).itemsize)
        least = self.segment_bytes + 2 * self.state_bytes
        if budget < least:
            raise ValueError(
                f"memory={budget} bytes is too little; one step of {substeps} substeps needs at least {least} bytes"
            )
        self.segment_capacity = budget // self.segment_bytes
        self.horizon = horizon
        self.whole = 0  # last steps kept whole where not all are
        if horizon is not None and horizon > self.segment_capacity:
            self.whole = max(1, (budget - horizon * self.state_bytes) // max(1, self.segment_bytes - self.state_bytes))
        self.state_capacity = (budget - max(self.whole, 1) * self.segment_bytes) // self.state_bytes
        self._pool: list[Array] = []
        self.clear()

    def clear(self) -> None:
        """Forget everything recorded; segments are kept for the next recording."""
        self._pool += getattr(self, "segments", [])
        self.segments: list[Array] = []  # of the steps from ``_first`` on
        self.states: dict[int, np.ndarray] = {}
        self.steps = 0
        self.stride = 1
        self.complete = self.horizon is None or self.horizon <= self.segment_capacity
        self._first = 0 if self.complete else self._horizon - self.whole
        self._is_first_lost = False

    @property
    def _horizon(self) -> int:
        return self.horizon or 0

    def open_segment(self) -> Array | None:
        """A segment for the next step, or None once only states are kept."""
        if self.segments and self.steps >= (self.segment_capacity if self.complete else self._horizon):
            self._thin_segments()
        if not self.complete and not self._first <= self.steps < self._horizon:
            return None
        segment = self._take()
        self.segments.append(segment)
        self.steps += 1
        return segment

    def keep_state(self, state: Callable[[], np.ndarray]) -> None:
        """Record a step of which only the state before it, shape (row,), may be kept."""
        if self.steps % self.stride == 0:
            self.states[self.steps] = state()
            if len(self.states) > self.state_capacity:
                self.stride *= 2
                self.states = {t: s for t, s in self.states.items() if t % self.stride == 0}
        self.steps += 1

    def take_back(self) -> None:
        """Forget the last step, right after it was opened or its state kept."""
        self.steps -= 1
        if self.segments:  # then the last step has one, or there would be none
            self._pool.append(self.segments.pop())
        self.states.pop(self.steps, None)

    def segment_of(
        self, step: int, recompute: Callable[[int, int, dict[int, np.ndarray], set[int], Array], None]
    ) -> Array:
        """The segment of a step.

        ``recompute(start, step, states, wanted, segment)`` makes it again if it is not kept: from ``states[start]`` up
        to ``step``, leaving the states before the steps ``wanted`` in ``states`` on its way.
        """
        if self._first + self._is_first_lost <= step < self._first + len(self.segments):
            return self.segments[step - self._first]
        start = max(t for t in self.states if t <= step)
        self.states = {t: s for t, s in self.states.items() if t <= step}
        free = self.state_capacity - len(self.states)
        wanted: set[int] = set()
        if step - start > 1 and free > 0:
            spacing = -(-(step - start) // (free + 1))
            wanted = set(range(start + spacing, step, spacing))
        # Later steps come before earlier ones: what was kept whole has been used, and the first of it makes room.
        if self.segments:
            segment, self._is_first_lost = self.segments[0], True
        else:
            segment = self._take()
            self._pool.append(segment)
        recompute(start, step, self.states, wanted, segment)
        return segment

    def free(self) -> None:
        """Release all memory."""
        for segment in self.segments + self._pool:
            segment.free()
        self.segments, self._pool, self.states = [], [], {}

    def _take(self) -> Array:
        return self._pool.pop() if self._pool else Array(self.segment_size, self.dtype)

    def _thin_segments(self) -> None:
        """Go over from segments to states."""
        self.complete = False
        while -(-self.steps // self.stride) > self.state_capacity:
            self.stride *= 2
        for t, segment in enumerate(self.segments, self._first):
            if t > self._first or not self._is_first_lost:
                self.states[t] = segment.read(0, self.row).copy()
            segment.free()
        self.states = {t: state for t, state in self.states.items() if t % self.stride == 0}
        self.segments, self._first, self._is_first_lost = [], self.steps, False
