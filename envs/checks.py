"""Checks of what callers hand to an environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pliant.sims.checks import cast, numbers


class UnknownKeyword(TypeError, ValueError):
    """A keyword that an environment does not take.

    Python raises a ``TypeError`` for it, and libraries that try keywords out expect one; like every other wrong
    argument of an environment it is a ``ValueError``, too.
    """

    @classmethod
    def of(cls, name: str, value: Any, allowed: Iterable[str]) -> UnknownKeyword:
        """The error for ``name=value``, with the phrase that Python uses and what is allowed."""
        return cls(
            f"the environment got an unexpected keyword argument {name!r} (value {value!r}), which is unknown; "
            f"allowed: {', '.join(allowed)}"
        )


def check_actions(actions: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Actions as float64 of the given shape; ``ValueError`` if the shape is wrong or a value is not finite."""
    actions = numbers(actions, "action")
    if actions.shape != shape:
        raise ValueError(f"action has shape {actions.shape}, must be {shape}")
    if not np.isfinite(actions).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(actions))[0])
        raise ValueError(f"action at {where} is {actions[where]}, must be finite")
    return actions


def broadcast(name: str, value: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """A float64 array of the given shape; ``ValueError`` if that cannot be or a value is not finite in ``dtype``."""
    cast(value, dtype, name)
    value = numbers(value, name)
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        raise ValueError(f"{name} has shape {value.shape}, must broadcast to {shape}") from None


def check_discount(discount: Any) -> float:
    """A factor per step, in [0, 1]."""
    is_number = isinstance(discount, (int, float, np.number)) and not isinstance(discount, bool)
    if not is_number or not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount={discount!r} is out of range; allowed: a number in [0, 1]")
    return float(discount)


def check_options(options: Any, allowed: Sequence[str], tables: Sequence[str]) -> dict[str, Any]:
    """Options of a reset, by name; those named in ``tables`` are dicts of values by name."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(f"options={options!r} must be a dict; allowed entries: {', '.join(allowed)}")
    for name, value in options.items():
        if name not in allowed:
            raise ValueError(f"reset option {name!r} is unknown; allowed: {', '.join(allowed)}")
        if name in tables and value is not None and not isinstance(value, Mapping):
            raise ValueError(f"reset option {name!r} is a {type(value).__name__}, must be a dict of arrays by name")
    return dict(options)


def check_mask(mask: Any, count: int) -> np.ndarray:
    """A boolean array of shape (count,) that holds somewhere."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (count,) or not mask.any():
        raise ValueError(f"reset_mask={mask!r} must be a boolean array of shape ({count},) that holds somewhere")
    return mask.copy()


def check_seeds(seed: Any, count: int) -> list[int | None]:
    """The seed of each world: s + i for a number s, or one each."""
    if seed is None or (isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)):
        return [None if seed is None else int(seed) + b for b in range(count)]
    if isinstance(seed, (str, bytes)) or not isinstance(seed, (Sequence, np.ndarray)):
        raise ValueError(f"seed={seed!r} must be an integer >= 0, None, or one of them for each of {count} worlds")
    seeds = list(seed)
    if len(seeds) != count:
        raise ValueError(f"seed has {len(seeds)} entries, must be one for each of {count} worlds")
    for one in seeds:
        if one is not None and (not isinstance(one, (int, np.integer)) or isinstance(one, bool) or one < 0):
            raise ValueError(f"seed has the entry {one!r}; allowed: integers >= 0 and None")
    return [None if one is None else int(one) for one in seeds]
