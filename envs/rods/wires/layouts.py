"""The wires of the DEFORM and DEFT data: their topology, and which of their vertices the arms hold."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

CLAMP_MODES = ("ends", "middle")


@dataclass(frozen=True)
class Layout:
    """The topology of a wire. Its vertices stand in one list: those of the parent rod, then those of each child.

    Attributes:
        parents: predecessor of each vertex, -1 for the first, length n.
        branch: number of each vertex's rod, 0 for the parent, length n.
        clamped: vertices that the arms hold.
        clamp_mode: "ends", or "middle": an arm holds the wire between its ends.
    """

    parents: tuple[int, ...]
    branch: tuple[int, ...]
    clamped: tuple[int, ...]
    clamp_mode: str = "ends"

    @classmethod
    def of(cls, length: int, children: Sequence[tuple[int, int]] = (), *, middle: int | None = None) -> Layout:
        """A parent of ``length`` vertices and children as (vertex they hang on, own vertices).

        Both ends of the parent are held by two vertices each; with ``middle`` its last end and that vertex are.
        """
        parents, branch = list(range(-1, length - 1)), [0] * length
        for number, (attachment, own) in enumerate(children, start=1):
            first = len(parents)
            parents += [attachment, *range(first, first + own - 1)]
            branch += [number] * own
        held = (0, 1) if middle is None else (middle,)
        mode = "ends" if middle is None else "middle"
        return cls(tuple(parents), tuple(branch), (*held, length - 2, length - 1), mode)


LAYOUTS = {
    "dlo1": Layout.of(13),
    "dlo2": Layout.of(12),
    "dlo3": Layout.of(12),
    "dlo4": Layout.of(12),
    "dlo5": Layout.of(12),
    "bdlo1": Layout.of(13, [(4, 4), (8, 3)]),
    "bdlo2": Layout.of(12, [(4, 4), (7, 4)]),
    "bdlo3": Layout.of(12, [(4, 2), (7, 3)]),
    "bdlo4": Layout.of(12, [(4, 2), (8, 2)]),
    "bdlo5": Layout.of(12, [(5, 3), (12, 3)]),  # the second child hangs on the first
    "bdlo1_mid": Layout.of(13, [(4, 4), (8, 3)], middle=2),
    "bdlo3_mid": Layout.of(12, [(4, 2), (7, 3)], middle=3),
}
OBJECTS = tuple(LAYOUTS)


def check_object(name: str) -> str:
    """The object's name as this package writes it; ``DLO1`` and ``BDLO1_mid_clamp`` are understood too.

    Raises:
        ValueError: there is no such object; the message suggests the nearest names.
    """
    plain = re.sub(r"_mid_clamp$", "_mid", name.strip().lower())
    if plain in LAYOUTS:
        return plain
    near = difflib.get_close_matches(plain, OBJECTS, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(OBJECTS)}"
    raise ValueError(f"object={name!r} is unknown; {hint}")


def authors_name(name: str) -> str:
    """``BDLO1_mid_clamp`` of ``bdlo1_mid``: the folder of an object in the authors' repositories."""
    return name.upper().replace("_MID", "_mid_clamp")
