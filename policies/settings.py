"""Checks of settings: numbers within their ranges, words among those allowed."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, get_args, get_type_hints


def check_ranges(settings: Any, **ranges: tuple[float, float]) -> None:
    """Raise ``ValueError`` naming the first field of a dataclass that is out of range, its value and what is allowed.

    Args:
        settings: fields that are a ``Literal`` must hold one of its words.
        ranges: lowest and highest value of fields by name; whole numbers where the field is an ``int``.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value, hint, name = getattr(settings, field.name), hints[field.name], field.name
        if get_args(hint) and all(isinstance(word, str) for word in get_args(hint)):
            if value not in get_args(hint):
                raise ValueError(f"{name}={value!r} is unknown; allowed: {', '.join(get_args(hint))}")
        elif hint is bool:
            if not isinstance(value, bool):
                raise ValueError(f"{name}={value!r} must be True or False")
        elif name in ranges:
            low, high = ranges[name]
            number = isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
            if not number or not (low <= value <= high and value < math.inf):
                allowed = f"at least {low}" if high == math.inf else f"between {low} and {high}"
                kind = "a whole number" if hint is int else "a number"
                raise ValueError(f"{name}={value!r} is out of range; it must be {allowed}, {kind}")


def half_cosine(progress: float) -> float:
    """A factor that falls from 1 at ``progress`` 0 to 0.01 at 1, along half a cosine."""
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))
