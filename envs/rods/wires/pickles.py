"""Numbers from pickles of lists and NumPy arrays; a pickle that names anything else is refused before it acts.

Nothing that a pickle names is ever called. The few names that pickles of arrays need stand for the small constructors
below, which take the types and shapes that recordings have; all other names are refused.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_FILE = 256 * 2**20  # bytes; the authors' files have some 250 kB
MOST_NUMBERS = 2**25
MOST_LEVELS = 4  # lists of frames of axes of numbers
NUMERIC = re.compile(r"[fiu][1248]")


def read_numbers(path: Path) -> np.ndarray:
    """The numbers in a pickle of (nested) lists, tuples and NumPy arrays, float64, of the shape that they form.

    Raises:
        ValueError: the file is too large, truncated, or holds anything else; the message names the file.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"{path} has {size:,} bytes; the largest file that is read has {LARGEST_FILE:,}")
    content = path.read_bytes()
    try:
        _check_memo(content)
        value = _Unpickler(io.BytesIO(content), encoding="latin1").load()  # latin1: arrays pickled by Python 2
        return _Flattener().array(value)
    except RefusedError as error:
        raise ValueError(f"{path} is refused: {error}") from None
    except Exception as error:  # a broken pickle fails in any way whatever
        raise ValueError(f"{path} is truncated or no pickle of lists and arrays: {error}") from error


class RefusedError(Exception):
    """A pickle that is not made of lists and arrays of numbers alone."""


def _check_memo(content: bytes) -> None:
    """Refuse entries far beyond the pickle's length: the unpickler would make a table that long."""
    for code, argument, _ in pickletools.genops(content):
        if code.name.endswith("PUT") and not 0 <= int(argument or 0) <= len(content):
            raise RefusedError(f"its memo has an entry {argument}, more than the {len(content)} bytes could need")


class _Constructor:
    """Stands for a name in a pickle. Having no state to set, it cannot be changed by one."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise RefusedError("it sets the state of a function")


class _Type:
    """A ``numpy.dtype`` of real numbers."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any = None, *_: Any) -> None:
        if not isinstance(code, str) or not NUMERIC.fullmatch(code):
            raise RefusedError(f"it holds an array of type {code!r}; allowed: real numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A ``numpy.ndarray``, empty until its state is set."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        self.values = _values(data, kind, shape, "F" if is_fortran else "C")


def _values(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Bytes as an array, after a check that there are as many as the shape says."""
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)) or not isinstance(kind, _Type) or order not in ("C", "F"):
        raise RefusedError("it holds an array of other things than real numbers")
    lengths = tuple(int(length) for length in shape)
    if min(lengths, default=0) < 0 or math.prod(lengths) * kind.dtype.itemsize != len(data):
        raise RefusedError(f"it holds an array of shape {lengths} in {len(data)} bytes")
    return np.frombuffer(data, kind.dtype).reshape(lengths, order=order)


def _scalar(kind: Any, data: Any) -> float:
    return float(_values(data, kind, (), "C"))


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


def _not_called(*_: Any) -> None:
    raise RefusedError("it calls numpy.ndarray itself")


_ADMITTED = {
    ("numpy", "ndarray"): _Constructor(_not_called),
    ("numpy", "dtype"): _Constructor(_Type),
    ("numpy.core.multiarray", "_reconstruct"): _Constructor(lambda *_: _Array()),
    ("numpy.core.multiarray", "scalar"): _Constructor(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Constructor(lambda data, *rest: _Array(_values(data, *rest))),
    ("_codecs", "encode"): _Constructor(_encode),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        # NumPy 2 calls its package ``numpy._core``
        known = _ADMITTED.get((module_name.replace("numpy._core.", "numpy.core."), global_name))
        if known is None:
            raise RefusedError(f"it names {module_name}.{global_name}; only lists and NumPy arrays are read")
        return known


class _Flattener:
    """Makes one array of nested lists, counting: a list may hold the same list many times, and so on."""

    def __init__(self) -> None:
        self._count = 0
        self._done: dict[tuple[int, int], np.ndarray] = {}  # lists by identity and level

    def array(self, value: Any, level: int = 0) -> np.ndarray:
        """``value`` as float64.

        Raises:
            RefusedError: it holds other things than numbers, too many of them, or on too many levels.
        """
        if isinstance(value, _Array) and value.values is not None:
            self._add(value.values.size)
            return value.values.astype(float)
        if isinstance(value, (int, float)):
            self._add(1)
            return np.array(float(value))
        if not isinstance(value, (list, tuple)):
            name = "an array without contents" if isinstance(value, _Array) else f"a {type(value).__name__}"
            raise RefusedError(f"it holds {name}; only lists and NumPy arrays of numbers are read")
        if level == MOST_LEVELS:
            raise RefusedError(f"its lists are nested on more than {MOST_LEVELS} levels")
        known = self._done.get((id(value), level))
        if known is not None:
            self._add(known.size)
            return known
        self._add(1)
        parts = [self.array(part, level + 1) for part in value]
        shapes = {part.shape for part in parts}
        if len(shapes) > 1:
            raise RefusedError(f"it holds a list of arrays of different shapes, {' and '.join(map(str, shapes))}")
        made = self._done[id(value), level] = np.stack(parts) if parts else np.zeros(0)
        return made

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > MOST_NUMBERS:
            raise RefusedError(f"it holds more than {MOST_NUMBERS:,} numbers")
