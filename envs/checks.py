"""Checks of what callers hand to an environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pliant.sims.inputs import real, real_array, shown, whole


class UnknownKeyword(TypeError, ValueError):
    """A keyword that an environment does not take.

    Python raises a ``TypeError`` for it, and libraries that try keywords out expect one; like every other wrong
    argument of an environment it is a ``ValueError``, too.
    """

    @classmethod
    def of(cls, name: str, value: Any, allowed: Iterable[str]) -> UnknownKeyword:
        """The error for ``name=value``, with the phrase that Python uses and what is allowed."""
        return cls(
            f"the environment got an unexpected keyword argument {name!r} (value {shown(value)}), which is unknown; "
            f"allowed: {', '.join(allowed)}"
        )


def check_actions(actions: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Actions as float64 of the given shape; ``ValueError`` if the shape is wrong or a value is not finite."""
    return real_array("action", actions, shape=shape)


def broadcast(name: str, value: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """A float64 array of the given shape; ``ValueError`` if that cannot be or a value is not finite in ``dtype``."""
    real_array(name, value, dtype=dtype)
    value = real_array(name, value)
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        raise ValueError(f"{name} has shape {value.shape}, must broadcast to {shape}") from None


def check_discount(discount: Any) -> float:
    """A factor per step, in [0, 1]."""
    return real("discount", discount, 0.0, 1.0)


def check_options(options: Any, allowed: Sequence[str], tables: Sequence[str]) -> dict[str, Any]:
    """Options of a reset, by name; those named in ``tables`` are dicts of values by name."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(f"options={shown(options)} must be a dict; allowed entries: {', '.join(allowed)}")
    for name, value in options.items():
        if name not in allowed:
            raise ValueError(f"reset option {shown(name)} is unknown; allowed: {', '.join(allowed)}")
        if name in tables and value is not None and not isinstance(value, Mapping):
            raise ValueError(f"reset option {name!r} is a {type(value).__name__}, must be a dict of arrays by name")
    return dict(options)


def check_mask(mask: Any, count: int) -> np.ndarray:
    """A boolean array of shape (count,) that holds somewhere."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (count,) or not mask.any():
        raise ValueError(f"reset_mask={shown(mask)} must be a boolean array of shape ({count},) that holds somewhere")
    return mask.copy()


def check_seeds(seed: Any, count: int) -> list[int | None]:
    """The seed of each world: s + i for a number s, or one each."""
    if not isinstance(seed, (list, tuple, range, np.ndarray)) or (isinstance(seed, np.ndarray) and seed.ndim == 0):
        first = check_seed(seed)
        return [None if first is None else first + b for b in range(count)]
    if len(seed) != count:
        raise ValueError(f"seed has {len(seed)} entries, must be one for each of {count} worlds")
    return [check_seed(one) for one in seed]


def check_seed(seed: Any) -> int | None:
    """A number >= 0, or None."""
    return None if seed is None else whole("seed", seed, 0)


def check_within(name: str, values: np.ndarray, bounds: tuple[Any, Any] | None) -> None:
    """Raise ``ValueError`` unless the rows of a state array (..., d) lie between two corners (d,); None: anywhere."""
    if bounds is None:
        return
    low, high = np.asarray(bounds[0], float), np.asarray(bounds[1], float)
    rows = np.reshape(values, (-1, len(low)))
    outside = ~((rows >= low) & (rows <= high)).all(axis=1)
    if outside.any():
        raise ValueError(
            f"state {name!r} has a row {rows[outside][0].tolist()} outside the workspace; "
            f"allowed: {low.tolist()} to {high.tolist()}"
        )
