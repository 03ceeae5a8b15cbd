"""Flat arrays of the device, with a window onto them from the host."""

import functools
import weakref
from typing import Any

import numpy as np

from pliant.sims.runtime import choose, exclusive, ti

_TYPES: dict[Any, Any] = {np.float32: ti.f32, np.float64: ti.f64, np.int32: ti.i32}


@functools.lru_cache(maxsize=8)
def _stage(dtype: type, count: int) -> Any:
    """A device array that stretches of others pass through on their way to and from the host."""
    return ti.ndarray(_TYPES[dtype], (count,))


@functools.cache
def _copier(dtype: type) -> Any:
    """A kernel that copies a stretch from one device array to another."""
    scalar = _TYPES[dtype]

    @ti.kernel
    def copy(
        source: ti.types.ndarray(scalar, 1),
        target: ti.types.ndarray(scalar, 1),
        source_at: ti.i32,
        target_at: ti.i32,
        count: ti.i32,
    ):
        """target[target_at + i] = source[source_at + i] for i below ``count``."""
        for i in range(count):
            target[target_at + i] = source[source_at + i]

    return copy


def _device_memory(size: int, scalar: Any, lanes: int) -> Any:
    """A taichi ndarray of ``size`` numbers, or of vectors of ``lanes`` of them."""
    if lanes == 1:
        return ti.ndarray(scalar, (size,))
    array = ti.ndarray(ti.types.vector(lanes, scalar), (size,))
    weakref.finalize(array, _delete, array.arr).atexit = False  # taichi itself releases arrays of scalars only
    return array


def _delete(memory: Any) -> None:
    program = ti.lang.impl.get_runtime().prog
    if program is not None:
        program.delete_ndarray(memory)


ALIGNMENT = 64
"""Bytes; the widest vector of any CPU, and a line of its cache."""


def _host_memory(size: int, dtype: np.dtype) -> np.ndarray:
    """Zeros at an aligned address."""
    room = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
    first = -room.ctypes.data % ALIGNMENT
    return room[first : first + size * dtype.itemsize].view(dtype)


class Array:
    """A flat array of the device with a window onto it from the host.

    On the CPU it is a NumPy array: ``view()`` and ``read()`` are the memory itself. On another device it is a taichi
    ndarray: they are copies, and ``write`` and ``overwrite`` send one back. Only the stretch that is read or
    overwritten crosses to or from the device.

    Attributes:
        device_array: what is passed to kernels; its elements are vectors if ``lanes`` > 1.
        address: of the memory, on the CPU; None elsewhere and once freed.
        shape: (elements,), ``size`` / ``lanes`` of them.
    """

    def __init__(self, size: int, dtype: Any, *, lanes: int = 1) -> None:
        device = choose()
        elements = max(int(size), 1)
        self.size = elements * lanes
        self.shape = (elements,)
        self.dtype = np.dtype(dtype)
        self.address: int | None = None
        self._host: np.ndarray | None = None
        self.device_array: Any
        if device == "cpu":
            self._host = _host_memory(self.size, self.dtype)
            self.address = self._host.ctypes.data
            self.device_array = self._host.reshape(elements, lanes) if lanes > 1 else self._host
        else:
            self.device_array = _device_memory(elements, _TYPES[self.dtype.type], lanes)

    def fill(self, value: float) -> None:
        """Set every entry."""
        if self._host is not None:
            self._host[:] = value
        else:
            self.device_array.fill(value)

    def view(self) -> np.ndarray:
        """The entries, shape (size,): the memory itself on the CPU (write through it), a copy elsewhere."""
        return self._host if self._host is not None else self.device_array.to_numpy()

    def write(self, values: np.ndarray) -> None:
        """Replace all entries by ``values``, shape (size,). A no-op for the array's own ``view()`` on the CPU."""
        if self._host is not None:
            if values is not self._host:
                self._host[:] = values
        else:
            self.device_array.from_numpy(np.ascontiguousarray(values, self.dtype))

    def read(self, start: int, count: int) -> np.ndarray:
        """The ``count`` entries from ``start`` on: the memory itself on the CPU, a copy elsewhere."""
        if self._host is not None:
            return self._host[start : start + count]
        if count == 0:
            return np.zeros(0, self.dtype)
        with exclusive():
            stage = _stage(self.dtype.type, count)
            _copier(self.dtype.type)(self.device_array, stage, start, 0, count)
            return stage.to_numpy()

    def overwrite(self, start: int, values: np.ndarray) -> None:
        """Replace the entries from ``start`` on by ``values``, of any shape."""
        if self._host is not None:
            self._host[start : start + values.size] = values.ravel()
        elif values.size:
            with exclusive():
                stage = _stage(self.dtype.type, values.size)
                stage.from_numpy(np.ascontiguousarray(values.ravel(), self.dtype))
                _copier(self.dtype.type)(stage, self.device_array, 0, start, values.size)

    def free(self) -> None:
        """Release the device memory; the array and its views must not be used afterwards."""
        self._host = self.address = None
        self.device_array = None
