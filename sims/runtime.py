"""Taichi start-up, devices, precisions and arrays. The only module that imports taichi.

Everything else says ``from pliant.sims.runtime import ti``. ``start`` is called by whoever allocates first; it
initialises taichi once per process. Both precisions live side by side on one device: kernels are built per precision
and carry their own floating-point type (a literal that is not exactly representable in float32 is written ``fp(0.1)``
inside them).
"""

import ctypes
import functools
import gc
import inspect
import linecache
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from types import SimpleNamespace
from typing import Any

import numpy as np

os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "False")
# Where sys.stdout is a wrapper as taichi is imported (rich's progress bars in a terminal, a notebook) taichi takes the
# process for a "graphical python shell", says so, and fetches what kernels print at every launch. The kernels here
# print nothing; those of a user print to the process's own output, which notebooks show as well.
os.environ.setdefault("TI_ENABLE_PYBUF", "0")


@contextmanager
def _replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Other attributes for a module or class in here."""
    kept = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(owner, name, value)


def _frame_info(frame: Any, context: int = 1) -> inspect.Traceback:
    """``inspect.getframeinfo`` as taichi's decorators use it, without a search through all modules each time."""
    code = frame.f_code
    line = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals)
    return inspect.Traceback(code.co_filename, frame.f_lineno, code.co_name, [line], 0)


with _replaced(inspect, getframeinfo=_frame_info):  # it takes half of the time of the import
    import taichi as ti


@contextmanager
def quick_build(*, simplify: bool = True) -> Iterator[None]:
    """In here taichi takes half as long to define functions and to translate kernels; the rest of it is LLVM's.

    For each expression of each function that it inlines, taichi lays out the line with the place marked, for messages
    that are hardly ever shown, and at each call it reads the function's source anew. In here messages name file and
    line only, and sources are read and laid out once. A taichi with another inside is left as it is.

    Args:
        simplify: whether taichi simplifies kernels before LLVM does.
    """
    if not _is_known():
        yield
        return
    sources = ti.lang.kernel_impl
    context = ti.lang.ast.ast_transformer_utils.ASTTransformerContext
    lines, files = functools.cache(sources.getsourcelines), functools.cache(sources.getsourcefile)
    text = SimpleNamespace(fill=functools.cache(textwrap.fill), dedent=functools.cache(textwrap.dedent))
    collects = gc.isenabled()
    gc.disable()  # the syntax trees are many objects, and none of them garbage yet
    try:
        with (
            _replaced(context, get_pos_info=_place),
            _replaced(sources, getsourcelines=lines, getsourcefile=files, textwrap=text),
            _replaced(inspect, getframeinfo=_frame_info),
            nullcontext() if simplify else _replaced(ti.lang.impl.current_cfg(), advanced_optimization=False),
        ):
            yield
    finally:
        if collects:
            gc.enable()


def _place(self: Any, node: Any) -> str:
    return f'File "{self.file}", line {node.lineno + self.lineno_offset}, in {self.func.func.__name__}:\n'


def _is_known() -> bool:
    """Whether taichi is one whose inside ``quick_build`` and ``Launch`` rely on."""
    return bool(ti.__version__[:2] == (1, 7))


DEVICES = ("auto", "cpu", "cuda", "vulkan", "metal")
PRECISIONS = ("f32", "f64")

_started_device: str | None = None


def start(device: str = "auto", *, threads: int | None = None) -> str:
    """Initialise taichi once and return the device in use ("cpu", "cuda", ...).

    ``device="auto"`` takes whatever is running already, else CUDA where a driver and a card answer, else the CPU.
    ``threads`` (or the variable ``PLIANT_THREADS``) bounds the CPU threads and counts only on the first call.

    Raises:
        ValueError: the device is unknown, absent, or another one than the process has started with.
    """
    global _started_device
    if device not in DEVICES:
        raise ValueError(f"device={device!r} is unknown; allowed: {', '.join(DEVICES)}")
    if _started_device is not None:
        if device not in ("auto", _started_device):
            raise ValueError(
                f"device={device!r} contradicts {_started_device!r}, with which this process has started taichi; "
                "use one device per process"
            )
        return _started_device
    wanted = _pick_device() if device == "auto" else device
    if wanted == "cuda" and not _has_cuda():
        raise ValueError("device='cuda' is not available: no CUDA driver or card answers; use device='cpu' or 'auto'")
    if threads is None and os.environ.get("PLIANT_THREADS"):
        threads = int(os.environ["PLIANT_THREADS"])
    # Measured: the control-flow pass doubles to quadruples compile times and leaves the speed as it is; level 1 (common
    # subexpressions) takes another 1.7 to 3 times for kernels that are 5 to 10 % faster.
    options: dict[str, Any] = {"log_level": ti.ERROR, "cfg_optimization": False, "opt_level": 0}
    if os.environ.get("PLIANT_OFFLINE_CACHE") == "0":
        options["offline_cache"] = False
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads={threads} must be at least 1")
        options["cpu_max_num_threads"] = threads
    arch = {"cpu": ti.cpu, "cuda": ti.cuda, "vulkan": ti.vulkan, "metal": ti.metal}[wanted]
    with redirect_stdout(StringIO()):  # taichi prints its banner whatever the log level
        ti.init(arch=arch, **options)
    _started_device = wanted
    return wanted


def _has_cuda() -> bool:
    """Whether a CUDA driver answers and has a card; asked without taichi, which warns on every machine without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except OSError:
        return False


def _pick_device() -> str:
    return "cuda" if _has_cuda() else "cpu"


def thread_count() -> int:
    """CPU threads that taichi may use in this process."""
    start()
    return int(ti.lang.impl.current_cfg().cpu_max_num_threads)


def float_type(precision: str) -> Any:
    """The taichi type of a precision ("f32" or "f64").

    Raises:
        ValueError: the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; allowed: {', '.join(PRECISIONS)}")
    return ti.f32 if precision == "f32" else ti.f64


def numpy_type(precision: str) -> type[np.floating[Any]]:
    """The NumPy type of a precision ("f32" or "f64"); ``ValueError`` for any other."""
    float_type(precision)
    return np.float32 if precision == "f32" else np.float64


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
        for i in range(count):
            target[target_at + i] = source[source_at + i]

    return copy


class Array:
    """A flat taichi ndarray with a window onto it from the host.

    On the CPU ``view()`` and ``read()`` are the memory itself; on another device they are copies, and ``write`` and
    ``overwrite`` send one back. Only the stretch that is read or overwritten crosses to or from the device.

    Attributes:
        device_array: the taichi ndarray, shape (size,), to be passed to kernels; its elements are vectors if
        ``lanes`` > 1.
        address: of the memory, on the CPU; None elsewhere and once freed.
    """

    def __init__(self, size: int, dtype: Any, *, lanes: int = 1) -> None:
        device = start()
        elements = max(int(size), 1)
        self.size = elements * lanes
        self.dtype = np.dtype(dtype)
        scalar = _TYPES[self.dtype.type]
        self.device_array = ti.ndarray(ti.types.vector(lanes, scalar) if lanes > 1 else scalar, (elements,))
        self.address: int | None = None
        self._host: np.ndarray | None = None
        if device == "cpu":
            self.address = ti.lang.impl.get_runtime().prog.get_ndarray_data_ptr_as_int(self.device_array.arr)
            buffer = (ctypes.c_char * (self.size * self.dtype.itemsize)).from_address(self.address)
            self._host = np.frombuffer(buffer, self.dtype)
        self.fill(0)

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
        stage = _stage(self.dtype.type, count)
        _copier(self.dtype.type)(self.device_array, stage, start, 0, count)
        return stage.to_numpy()

    def overwrite(self, start: int, values: np.ndarray) -> None:
        """Replace the entries from ``start`` on by ``values``, of any shape."""
        if self._host is not None:
            self._host[start : start + values.size] = values.ravel()
        elif values.size:
            stage = _stage(self.dtype.type, values.size)
            stage.from_numpy(np.ascontiguousarray(values.ravel(), self.dtype))
            _copier(self.dtype.type)(stage, self.device_array, 0, start, values.size)

    def free(self) -> None:
        """Release the device memory; the array and its views must not be used afterwards."""
        self._host = self.address = None
        self.device_array = None


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
    """

    def __init__(self, kernel: Callable[..., None], arrays: Sequence[Array], *, simplify: bool = True) -> None:
        self._kernel = kernel
        self._arrays = tuple(array.device_array for array in arrays)
        self._held = tuple(arrays)
        self._call: Callable[[], None] | None = None
        self._context: Any = None
        self._numbers: tuple[int, ...] = ()
        self._ordinary = start() != "cpu" or not _is_known() or not hasattr(kernel, "_primal")
        self._built, self._simplify = False, simplify or start() != "cpu"

    def __call__(self, front: Array, *numbers: int) -> None:
        """Run the kernel; ``front``: its first argument, of the same type at every call."""
        if self._call is None:
            with nullcontext() if self._built else quick_build(simplify=self._simplify):
                self._kernel(front.device_array, *self._arrays, *numbers)
            self._built = True
            if not self._ordinary:
                self._prepare(front, numbers)
            return
        _pass_array(self._context, 0, front)
        if numbers != self._numbers:
            for i, number in enumerate(numbers, 1 + len(self._arrays)):
                self._context.set_arg_int((i,), number)
            self._numbers = numbers
        self._call()

    def _prepare(self, front: Array, numbers: tuple[int, ...]) -> None:
        kernel, program = self._kernel._primal, ti.lang.impl.get_runtime().prog  # type: ignore[attr-defined]
        found = kernel.compiled_kernels[kernel.ensure_compiled(front.device_array, *self._arrays, *numbers)]
        compiled = program.compile_kernel(program.config(), program.get_device_caps(), found)
        self._context = found.make_launch_context()
        for i, array in enumerate(self._held, 1):
            _pass_array(self._context, i, array)
        self._call = functools.partial(program.launch_kernel, compiled, self._context)


def _pass_array(context: Any, index: int, array: Array) -> None:
    """Put an array into an argument buffer as bare memory.

    A taichi ndarray would have to be put there before every launch: the launch replaces it by its address.
    """
    if array.address is None:
        raise RuntimeError("an array that has been freed is passed to a kernel")
    context.set_arg_external_array_with_shape(
        (index,), array.address, array.size * array.dtype.itemsize, array.device_array.shape, 0
    )
