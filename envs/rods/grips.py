"""What a gripper holds if only one marker of it is recorded."""

from __future__ import annotations

import numpy as np

GRIPS = ("direction", "pin")
"""A gripper with a single clamped vertex holds the wire's direction there too ("direction"), or its place ("pin")."""


def check_grip(grip: str) -> str:
    """``grip``, or a ``ValueError`` if it is none of ``GRIPS``."""
    if grip not in GRIPS:
        raise ValueError(f"grip={grip!r} is unknown; allowed: {', '.join(GRIPS)}")
    return grip


def held_neighbours(parents: np.ndarray, clamped: np.ndarray, grip: str) -> list[tuple[int, int]]:
    """Pairs (clamped vertex, neighbour that moves along with it), of tree ``parents`` (n,), -1 for the first.

    Two clamped vertices side by side hold the edge between them and give no pair. A single one is taken for a gripper
    that holds edges and does not turn them:

    - at an end of the wire, the only edge there;
    - elsewhere, the edges that do not lead to another gripper. In the recordings of wires held in the middle these keep
      their direction to about a degree; those that lead to another gripper swing by fifteen.

    Between two grippers it holds no edge: it is a pin. With ``grip="pin"`` all single ones are. Nothing depends on the
    order of the vertices.

    Raises:
        ValueError: ``grip`` is unknown.
    """
    if check_grip(grip) == "pin":
        return []
    near: list[list[int]] = [[] for _ in parents]
    for i, p in enumerate(parents.tolist()):
        if p >= 0:
            near[i].append(p)
            near[p].append(i)
    held = set(clamped.tolist())
    pairs = []
    for v in sorted(held):
        if held.intersection(near[v]):
            continue
        chosen = near[v] if len(near[v]) == 1 else [w for w in near[v] if not held & _beyond(near, v, w)]
        pairs += [(v, w) for w in chosen if held.intersection(near[w]) == {v}]
    return pairs


def _beyond(near: list[list[int]], v: int, w: int) -> set[int]:
    """The vertices that are reached from v through its neighbour w."""
    found, todo = {w}, [w]
    while todo:
        for u in near[todo.pop()]:
            if u != v and u not in found:
                found.add(u)
                todo.append(u)
    return found
