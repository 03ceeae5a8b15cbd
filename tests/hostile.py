"""Values that no sane caller hands in, and what must become of them: a clear error, or a use that is right."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

ALLOWED_ERRORS = (ValueError, RuntimeError)
"""What may be raised: a `ValueError` (unknown keywords: also a TypeError), or that the call comes at a wrong time."""


class Unhelpful:
    """An object whose every conversion fails in its own way."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise KeyError("no array")

    def __float__(self) -> float:
        raise ZeroDivisionError("no number")

    def __len__(self) -> int:
        raise AttributeError("no length")

    def __repr__(self) -> str:
        raise LookupError("no text")


def values() -> list[Any]:
    """Hostile values of every kind; none of them is a dict of keywords, a path or a name that anything has."""
    return [
        None, True, False, np.True_, "", "abc", "1.0", "nan", b"\x00\xff", "\0", "x" * 10_000,
        -1, -5, 2**31, 2**63, -(2**63) - 1, 10**400, -(10**400),
        0.5, -0.5, 1e-320, 1e39, -1e39, 1e308, float("nan"), float("inf"), float("-inf"),
        np.float16("inf"), np.float32("nan"), np.longdouble("1e4000") if np.finfo(np.longdouble).max > 1e308 else 1e39,
        1 + 2j, np.complex64(1), datetime.date(2020, 1, 1), np.datetime64("2020-01-01"), np.timedelta64(1),
        [], (), {}, set(), frozenset({1}), range(0), iter([1.0]), [[]], [[], [1.0]], [1.0, [2.0, 3.0]], {"a": 1.0},
        [None], ["1.0", "2.0"], [1 + 1j], [10**400], [True, False], [{}], [1e39], [float("nan")], [object()],
        object(), Unhelpful(), int, len, lambda: 1.0, Ellipsis, NotImplemented, slice(None),
        np.array(None), np.array([]), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((1,) * 20), np.array("abc"),
        np.array(["a", "b"]), np.array([1 + 1j, 2]), np.array([object()]), np.array([1, [2, 3]], dtype=object),
        np.zeros(3, [("x", float)]), np.full(7, np.nan), np.full((2, 3), np.inf), np.full(5, 1e39), np.zeros(999),
        np.ma.masked_array([1.0, 2.0], mask=[True, False]), np.broadcast_to(0.0, (10**6, 10**6)),
        np.array([1, 2], np.int8), np.array([True, False]), np.array([np.datetime64("2020-01-01")]),
    ]  # fmt: skip


def describe(value: Any) -> str:
    try:
        return repr(value)[:60]
    except LookupError:
        return "Unhelpful()"


def numbers(value: Any, *shapes: tuple[int, ...], low: float = -np.inf, high: float = np.inf) -> bool | None:
    """Whether ``value`` is real numbers of one of the shapes in [low, high] that float32 holds; None: either answer."""
    try:
        array = np.asarray(value)
    except Exception:
        return False
    if array.dtype.kind == "b" or isinstance(value, np.ma.MaskedArray):
        return False
    if array.dtype.kind not in "iuf" or array.shape not in shapes:
        return array.size == 0 and array.shape in shapes and None
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all() or not ((array >= low) & (array <= high)).all():
        return False
    return True if (np.abs(single) > 1e-30).all() | (array == 0).all() else None


def attempt(call: Callable[[], Any], words: str, accepts: bool | None) -> tuple[str | None, bool]:
    """What is wrong with a call, if anything, and whether it was refused.

    It must raise an allowed error that mentions one of ``words`` (separated by "|"), unless the value is acceptable
    (None: as it likes).
    """
    try:
        call()
    except ALLOWED_ERRORS as error:
        text = str(error)
        if accepts:
            return f"refused, though it is right: {text[:200]}", True
        if len(text) > 2_000:
            return f"an error of {len(text)} characters", True
        if not any(word in text for word in words.split("|")):
            return f"{type(error).__name__} does not name {words}: {text[:200]}", True
        return None, True
    except Exception as error:
        return f"bare {type(error).__name__}: {str(error)[:200]}", True
    return ("accepted without an error" if accepts is False else None), False


def failures(calls: Iterator[tuple[str, Callable[[], Any], str, bool | None]]) -> tuple[int, list[str]]:
    """How many calls (label, call, words, accepts) were made, and what was wrong with some of them."""
    count, wrong = 0, []
    for label, call, words, accepts in calls:
        count += 1
        problem, _ = attempt(call, words, accepts)
        if problem is not None:
            wrong.append(f"{label}: {problem}")
    return count, wrong
