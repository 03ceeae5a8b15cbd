"""Kernels bound to their arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from pliant.sims import runtime
from pliant.sims.arrays import Array
from pliant.sims.runtime import is_known, ti


class Launch:
    """A kernel bound to its arrays, to be called again and again: with one array in front of them and integers behind.

    An ordinary call looks at every argument anew, in Python, which costs several times what a small scene's physics
    does. Here the first call is an ordinary one and compiles; on the CPU the later ones reuse its compiled code and an
    argument buffer that holds the addresses of the arrays. Elsewhere (taichi frees the buffer's copy on the device
    after the launch), with another taichi than the one whose inside this relies on, and for a plain function instead of
    a kernel, every call is an ordinary one.

    The bound arrays stay allocated for as long as the Launch exists, even after ``Array.free``.

    Args:
        kernel: a taichi kernel, or a function that calls some; takes (array, *arrays, *numbers).
        arrays: what comes after the first argument.
        simplify: as for ``quick_build``; on the CPU only.
        fast_math: as for ``quick_build``.
    """

    def __init__(
        self, kernel: Callable[..., None], arrays: Sequence[Array], *, simplify: bool = True, fast_math: bool = True
    ) -> None:
        self._kernel = kernel
        self._arrays = tuple(array.device_array for array in arrays)
        self._held = tuple(arrays)
        self._call: Callable[[], None] | None = None
        self._context: Any = None
        self._numbers: tuple[int, ...] = ()
        device = runtime.choose()
        self._ordinary = device != "cpu" or not is_known() or not hasattr(kernel, "_primal")
        self._built, self._simplify, self._fast_math = False, simplify or device != "cpu", fast_math

    def __call__(self, front: Array, *numbers: int) -> None:
        """Run the kernel; ``front``: its first argument, of the same type at every call.

        Raises:
            RuntimeError: taichi has started in the process that this one was forked from.
        """
        with runtime.exclusive():
            if self._call is None:
                self._run_ordinarily(front, numbers)
                return
            _pass_array(self._context, 0, front)
            if numbers != self._numbers:
                for i, number in enumerate(numbers, 1 + len(self._arrays)):
                    self._context.set_arg_int((i,), number)
                self._numbers = numbers
            self._call()

    def _run_ordinarily(self, front: Array, numbers: tuple[int, ...]) -> None:
        runtime.start()
        with nullcontext() if self._built else runtime.quick_build(simplify=self._simplify, fast_math=self._fast_math):
            self._kernel(front.device_array, *self._arrays, *numbers)
        self._built = True
        if not self._ordinary:
            self._prepare(front, numbers)

    def _prepare(self, front: Array, numbers: tuple[int, ...]) -> None:
        kernel, program = self._kernel._primal, ti.lang.impl.get_runtime().prog  # type: ignore[attr-defined]
        found = kernel.compiled_kernels[kernel.ensure_compiled(front.device_array, *self._arrays, *numbers)]
        compiled = program.compile_kernel(program.config(), program.get_device_caps(), found)
        self._context = found.make_launch_context()
        for i, array in enumerate(self._held, 1):
            _pass_array(self._context, i, array)
        self._call = functools.partial(program.launch_kernel, compiled, self._context)


def _pass_array(context: Any, index: int, array: Array) -> None:
    """Put an array into an argument buffer as bare memory."""
    if array.address is None:
        raise RuntimeError("an array that has been freed is passed to a kernel")
    context.set_arg_external_array_with_shape(
        (index,), array.address, array.size * array.dtype.itemsize, array.shape, 0
    )
