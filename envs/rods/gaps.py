"""Markers that motion capture has lost for a while: which positions are known, and what stands in for the others.

A position that is not known is NaN in a file. Gaps of up to ``BRIDGED`` are bridged by a cubic spline in time, of any
vertex; longer ones of free vertices by straight lines, only so that there is something to draw. Nothing that stands in
for a measurement is compared with a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BRIDGED = 0.1
"""Longest gap [s] that is bridged. Gaps as long as this, cut into recordings of five swinging wires, are filled with an
error of 0.5 to 1 mm where it is largest (median), one in twenty with 2 to 4.5 mm; twice as long, with 4 to 26 mm."""


@dataclass(frozen=True, eq=False)
class Filled:
    """Positions of all vertices in all frames that are kept.

    Attributes:
        positions: (T, n, 3) [m], finite.
        known: where they were measured, (T, n) booleans.
        is_bridged: whether all others lie in gaps of at most ``BRIDGED``.
        dropped: frames left out at the start and at the end.
    """

    positions: np.ndarray
    known: np.ndarray
    is_bridged: bool
    dropped: tuple[int, int]


def fill(positions: np.ndarray, clamped: np.ndarray, dt: float) -> Filled:
    """Fill the gaps of positions (T, n, 3) [m] with NaN in them.

    Frames are left out at the start until two in a row show all vertices, or gaps there are bridged, and at the end
    while a clamped vertex is missing.

    Raises:
        ValueError: nothing is left, or a clamped vertex is missing for longer than ``BRIDGED``.
    """
    known = np.isfinite(positions).all(axis=-1)
    if known.all():
        return Filled(positions, known, True, (0, 0))
    never = np.flatnonzero(~known.any(axis=0))
    if len(never):
        raise ValueError(f"vertex {never[0]} is not seen in any frame; leave it out of positions, parents and clamped")
    near = known | _short_gaps(known, round(BRIDGED / dt))
    first, end = _kept(known, near, clamped)
    for v in clamped:
        lost = np.flatnonzero(~near[first:end, v])
        if len(lost):
            at = first + int(lost[0])
            length = int(np.argmax(known[at:, v]))
            raise ValueError(
                f"clamped vertex {v} is missing from frame {at} on for {length} frames ({length * dt:.3g} s); its way "
                f"is needed, and gaps of up to {BRIDGED:g} s are bridged: cut the recording there"
            )
    filled = np.stack([_bridge(positions[:, v], known[:, v], near[:, v]) for v in range(positions.shape[1])], axis=1)
    kept = slice(first, end)
    return Filled(filled[kept], known[kept], bool(near[kept].all()), (first, len(known) - end))


def _short_gaps(known: np.ndarray, longest: int) -> np.ndarray:
    """Places (T, n) in gaps of at most so many frames between two that are known."""
    frames = np.arange(len(known))[:, None]
    before = np.maximum.accumulate(np.where(known, frames, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, frames, len(known))[::-1], axis=0)[::-1]
    return ~known & (before >= 0) & (after < len(known)) & (after - before - 1 <= longest)


def _kept(known: np.ndarray, near: np.ndarray, clamped: np.ndarray) -> tuple[int, int]:
    """The first frame that is kept and the one after the last."""
    whole = np.all(near, axis=1, keepdims=True)[:, 0]
    starts = np.flatnonzero(whole[:-1] & whole[1:])
    if not len(starts):
        seen = known.sum(axis=0)
        worst = int(np.argmin(seen))
        raise ValueError(
            f"no two frames in a row show all vertices, which tell where the wire starts; vertex {worst} is seen "
            f"least often, in {seen[worst]} of {len(known)} frames"
        )
    held = np.flatnonzero(np.all(known[:, clamped], axis=1))
    end = int(held[-1]) + 1 if len(held) else 0
    if end - starts[0] < 3:
        raise ValueError(f"fewer than 3 frames are left between {starts[0]}, the first whole one, and {end}")
    return int(starts[0]), end


def _bridge(positions: np.ndarray, known: np.ndarray, near: np.ndarray) -> np.ndarray:
    """One vertex (T, 3) without gaps: straight lines, and a spline in short gaps."""
    from scipy.interpolate import CubicSpline

    if known.all():
        return positions
    frames, seen = np.arange(len(known)), np.flatnonzero(known)
    filled = np.stack([np.interp(frames, seen, positions[seen, d]) for d in range(3)], axis=1)
    short = near & ~known
    if short.any() and len(seen) >= 4:
        filled[short] = CubicSpline(seen, positions[seen])(frames[short])
    return filled
