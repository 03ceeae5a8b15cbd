"""What callers hand in, turned into numbers and arrays; errors name the argument, the value and what is allowed.

NumPy alone is too obliging for an API: it makes numbers of strings and of booleans, drops imaginary parts, rounds
integers, and what is finite in float64 becomes infinite in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

LONGEST = 80
"""Characters of a value that an error message shows."""

MOST = 2**28
"""Numbers in an array: more are a mistake, and looking through them would take all memory."""

NO_NUMBERS = (bool, np.timedelta64)
"""What Python and NumPy count among the integers."""


def shown(value: Any, longest: int = LONGEST) -> str:
    """A value as an error message shows it: at most ``longest`` characters, whatever it is."""
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**LONGEST:
        return "an integer of very many digits"
    try:
        text = repr(value)
    except Exception:  # whatever a caller's own class raises
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def numbers(name: str, value: Any) -> np.ndarray:
    """``value`` as an array of real numbers of any size and type; a ``ValueError`` for anything else."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; all must be real numbers")
    try:
        given = np.asarray(value)
    except Exception:  # ragged lists, and whatever a caller's own class raises
        raise ValueError(f"{name}={shown(value)} must be an array of real numbers, all rows of one length") from None
    if given.dtype.kind not in "iuf" and given.size:
        raise ValueError(f"{name}={shown(value)} must be real numbers, not {given.dtype.name}")
    if given.size > MOST:
        raise ValueError(f"{name} has shape {given.shape}: {given.size} numbers; allowed: at most {MOST}")
    return given


def real_array(name: str, value: Any, *, shape: Sequence[int] | None = None, dtype: Any = np.float64) -> np.ndarray:
    """``value`` as an array of finite real numbers of the type ``dtype``; no copy where none is needed.

    Args:
        name: of the argument, for the message.
        value: numbers: a number, nested sequences, an array.
        shape: the shape it must have; None: any.
        dtype: a floating type that every number must fit.

    Raises:
        ValueError: it holds something else than real numbers, has another shape, or a number is not finite.
    """
    given = numbers(name, value)
    if shape is not None and given.shape != tuple(shape):
        raise ValueError(f"{name} has shape {given.shape}, must be {tuple(shape)}")
    with np.errstate(over="ignore"):
        array = given.astype(dtype, copy=False)
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        also = "" if np.dtype(dtype) == np.float64 else f", also as {np.dtype(dtype).name}"
        at = f"{name} at {where} is {given[where]}," if where else f"{name}={given[where]}"
        raise ValueError(f"{at} must be finite{also}")
    return array


def real(
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    above: float | None = None,
    unit: str = "",
    dtype: Any = np.float64,
) -> float:
    """``value`` as a finite number, low <= value <= high; with ``above``, above < value.

    Raises:
        ValueError: it is not one number, or out of range.
    """
    unit = f" [{unit}]" if unit else ""
    least = f"> {above:g}" if above is not None else f">= {low:g}" if low > -np.inf else ""
    most = f"<= {high:g}" if high < np.inf else ""
    allowed = " ".join(["a finite number", " and ".join(filter(None, [least, most]))]).strip() + unit
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, NO_NUMBERS)
    try:
        result = float(real_array(name, value, shape=(), dtype=dtype)) if number else np.nan
    except ValueError:
        result = np.nan
    if not (low <= result <= high) or (above is not None and result <= above):
        raise ValueError(f"{name}={shown(value)} must be {allowed}")
    return result


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """``value`` as an integer, low <= value <= high.

    Raises:
        ValueError: it is not an integer (2.0 is none), or out of range.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, NO_NUMBERS):
        if value >= low and (high is None or value <= high):
            return int(value)
    allowed = f">= {low}" if high is None else f"in {low}..{high}"
    raise ValueError(f"{name}={shown(value)} must be an integer {allowed}")


def flag(name: str, value: Any) -> bool:
    """``value`` as a boolean; ``ValueError`` for anything but True and False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={shown(value)} must be True or False")
    return bool(value)


def word(name: str, value: Any, allowed: Collection[Any]) -> Any:
    """``value`` if it is one of the words ``allowed``, or truth values; a ``ValueError`` lists them."""
    if not isinstance(value, (str, bool, np.bool_)) or value not in allowed:
        raise ValueError(f"{name}={shown(value)} is unknown; allowed: {', '.join(map(repr, allowed)) or 'none'}")
    return value


def label(name: str, value: Any) -> str:
    """``value`` if it is a string that is not empty, to call something by."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}={shown(value)} must be a string that is not empty")
    return value


def sequence_of(name: str, value: Any, kind: type | tuple[type, ...], what: str) -> list[Any]:
    """``value`` as a list of instances of ``kind``, called ``what`` in the message."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, kind) for item in value):
        raise ValueError(f"{name}={shown(value)} must be a list of {what}")
    return list(value)
