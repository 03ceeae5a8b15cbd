"""Taichi start-up, devices and precisions. The only module that imports taichi.

Everything else says ``from pliant.sims.runtime import ti``. ``choose`` is called by whoever allocates first, and
settles the device of the process; ``start`` initialises taichi once per process, on the CPU with the first launch:
taichi's threads do not outlive a fork, so a process that has run nothing may still be forked. Both precisions live side
by side on one device: kernels are built per precision and carry their own floating-point type (a literal that is not
exactly representable in float32 is written ``fp(0.1)`` inside them).
"""

import ctypes
import functools
import gc
import inspect
import linecache
import os
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pliant.sims import vulkan
from pliant.sims.inputs import word
from pliant.sims.settings import offline_cache_setting, thread_setting, visible_device_setting

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


_lock = threading.RLock()  # held by whoever builds or runs kernels: taichi is made for one thread at a time


@contextmanager
def quick_build(*, simplify: bool = True, fast_math: bool = True) -> Iterator[None]:
    """In here taichi takes half as long to define functions and to translate kernels; the rest of it is LLVM's.

    For each expression of each function that it inlines, taichi lays out the line with the place marked, for messages
    that are hardly ever shown, and at each call it reads the function's source anew. In here messages name file and
    line only, and sources are read and laid out once. A taichi with another inside is left as it is. Other threads that
    build or run kernels wait meanwhile.

    Args:
        simplify: whether taichi simplifies kernels before LLVM does.
        fast_math: whether LLVM may reorder sums and take numbers for finite.
    """
    with _lock:
        if is_known():
            with _quick_inside(simplify, fast_math):
                yield
        else:
            yield


@contextmanager
def _quick_inside(simplify: bool, fast_math: bool) -> Iterator[None]:
    """``quick_build`` in a taichi with a known inside."""
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
            _replaced(sources, _get_tree_and_ctx=_within_callable(sources._get_tree_and_ctx)),
            _replaced(inspect, getframeinfo=_frame_info),
            nullcontext() if simplify else _replaced(ti.lang.impl.current_cfg(), advanced_optimization=False),
            nullcontext() if fast_math else _replaced(ti.lang.impl.current_cfg(), fast_math=False),
        ):
            yield
    finally:
        if collects:
            gc.enable()


def _within_callable(get_tree: Any) -> Any:
    """Taichi's way to read a function, mended: one that is inlined into a real function becomes a part of that one.

    Its loops and branches came into the kernel, which has not got their variables.
    """

    def get_tree_and_context(*arguments: Any, ast_builder: Any = None, **keywords: Any) -> Any:
        if ast_builder is not None:
            ast_builder = ti.lang.impl.get_runtime().compiling_callable.ast_builder()
        return get_tree(*arguments, ast_builder=ast_builder, **keywords)

    return get_tree_and_context


def _place(self: Any, node: Any) -> str:
    return f'File "{self.file}", line {node.lineno + self.lineno_offset}, in {self.func.func.__name__}:\n'


def is_known() -> bool:
    """Whether taichi is one whose inside ``quick_build`` and ``Launch`` rely on."""
    return bool(ti.__version__[:2] == (1, 7))


DEVICES = ("auto", "cpu", "cuda", "vulkan", "metal")
PRECISIONS = ("f32", "f64")
STALE = 60.0
"""Age of a lock of taichi's cache at which whoever made it must have been killed: writing takes a second [s]."""
SINGLE_ONLY = ("vulkan", "metal")
"""Devices without "f64": shaders have logarithms, sines and powers of single precision only."""

_chosen: str | None = None  # the device of this process
_threads = 1  # CPU threads that taichi gets or has got
_is_software = False  # whether it is a Vulkan device that only imitates one
_started_in: int | None = None  # the process that has initialised taichi


def check_process() -> None:
    """Raise ``RuntimeError`` in a child that was forked after taichi had started: its threads are not there."""
    if _started_in is not None and _started_in != os.getpid():
        raise RuntimeError(
            "this process was forked after taichi had started in its parent, and taichi's threads do not survive a "
            'fork; start processes with context="spawn" (multiprocessing.get_context("spawn"), gym.make_vec(..., '
            'vector_kwargs={"context": "spawn"})), or fork before the first environment is stepped'
        )


@contextmanager
def exclusive() -> Iterator[None]:
    """In here kernels may be defined, built and run while other threads do the same; they wait.

    Raises:
        RuntimeError: taichi has started in the process that this one was forked from.
    """
    check_process()
    with _lock:
        yield


def _after_fork() -> None:
    """Let go, in a forked child, of what belongs to the parent's threads."""
    global _lock
    _lock = threading.RLock()  # a thread of the parent may have held it
    if _started_in is not None:  # taichi's end would wait for threads that are not there: it is never to come
        program = ti.lang.impl.get_runtime().prog
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(program))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def choose(device: str = "auto", *, threads: int | None = None, precision: str = "f32") -> str:
    """Settle the device of this process and return it ("cpu", "cuda", ...).

    ``device="auto"`` takes whatever has been chosen already, else CUDA where a driver and a card answer, else a Vulkan
    device of hardware where ``precision`` allows it, else the CPU. ``"vulkan"`` takes software, too, where there is
    nothing better. ``threads`` (or the variable ``PLIANT_THREADS``) bounds the CPU threads and counts only on the first
    call.

    Raises:
        ValueError: the device is unknown, absent, or another one than that of the process; it has not the
            ``precision``; ``threads`` or an environment variable is out of range.
        RuntimeError: the device is not the CPU, and taichi has started in the process that this one was forked from.
    """
    global _chosen, _threads
    word("device", device, DEVICES)
    float_type(precision)
    with _lock:
        _check_precision(device, precision)
        if _chosen is None:
            wanted = _pick_device(precision) if device == "auto" else device
            if wanted == "cuda" and not _has_cuda():
                raise ValueError(
                    "device='cuda' is not available: no CUDA driver or card answers; use device='cpu' or 'auto'"
                )
            count = thread_setting(threads)
            offline_cache_setting()
            _check_arch(wanted)
            _threads = count
            if wanted != "cpu":
                _initialise(wanted)
            _chosen = wanted
        if device not in ("auto", _chosen):
            raise ValueError(
                f"device={device!r} contradicts {_chosen!r}, the device of this process; use one device per process"
            )
        _check_precision(_chosen, precision)
    if _chosen != "cpu":
        check_process()
    return _chosen


def _check_precision(device: str, precision: str) -> None:
    if precision == "f64" and device in SINGLE_ONLY:
        raise ValueError(
            f"precision={precision!r} is not available on device={device!r}, which computes logarithms, sines and "
            "powers in single precision only; use precision='f32', or device='cpu' or 'cuda' (one per process)"
        )


def start(device: str = "auto", *, threads: int | None = None) -> str:
    """``choose``, and initialise taichi, once per process: nothing can be launched before.

    Raises:
        ValueError: as ``choose``.
        RuntimeError: taichi has started in the process that this one was forked from.
    """
    chosen = choose(device, threads=threads)
    if _started_in is None:
        with _lock:
            if _started_in is None:
                _initialise(chosen)
    check_process()
    return chosen


def _initialise(device: str) -> None:
    """Start taichi on a device, or say that it cannot be."""
    global _started_in, _is_software
    arch = _arch(device)
    # Measured: the control-flow pass doubles to quadruples compile times and leaves the speed as it is; level 1 (common
    # subexpressions) takes another 1.7 to 3 times for kernels that are 5 to 10 % faster.
    options: dict[str, Any] = {"log_level": ti.ERROR, "cfg_optimization": False, "opt_level": 0}
    options |= {"offline_cache": offline_cache_setting(), "cpu_max_num_threads": _threads}
    _remove_stale_lock()
    with redirect_stdout(StringIO()):  # taichi prints its banner whatever the log level
        if device == "vulkan":
            best = _vulkan_device()
            if best is None:
                raise ValueError(
                    "device='vulkan' is not available: no Vulkan driver answers (Debian's mesa-vulkan-drivers and "
                    "libvulkan1 bring one for any CPU); use device='cpu' or 'auto'"
                )
            ti._lib.core.set_vulkan_visible_device(str(best.number))  # taichi's own choice may be another
            _is_software = not best.is_hardware
        if device != "cpu" and not ti.lang.misc.is_arch_supported(arch):
            raise ValueError(f"device={device!r} is not available on this machine; use device='cpu' or 'auto'")
        _started_in = os.getpid()  # before it does: what comes of a fork in between is of no use either
        try:
            ti.init(arch=arch, **options)
            ti.lang.impl.get_runtime().materialize()  # only the thread that starts taichi may
        except BaseException:
            _started_in = None
            raise


def _remove_stale_lock() -> None:
    """Remove the lock of taichi's cache on disk that a process left when it was killed while it wrote there.

    No process would write there ever again, and each would compile everything.
    """
    folder = os.environ.get("TI_OFFLINE_CACHE_FILE_PATH") or ti.lang.impl.default_cfg().offline_cache_file_path
    lock = Path(folder, "ticache.lock")
    with suppress(OSError):  # there is none, or it is not ours
        if time.time() - lock.stat().st_mtime > STALE:
            lock.unlink()


def check_divergent_loops(what: str) -> None:
    """Raise ``ValueError`` where ``what`` comes out wrong, as its kernels have atomic updates in loops of more rounds
    in some threads than in others: Mesa's software device for Vulkan loses some of them."""
    if _is_software:
        raise ValueError(
            f"{what} cannot be made on device='vulkan' of this machine, a software device, which loses some atomic "
            "updates; use device='cpu', or a Vulkan device of hardware"
        )


def _arch(device: str) -> Any:
    return {"cpu": ti.cpu, "cuda": ti.cuda, "vulkan": ti.vulkan, "metal": ti.metal}[device]


def _check_arch(device: str) -> None:
    """Refuse a variable that would have taichi start on another device than the one asked for."""
    given = os.environ.get("TI_ARCH")
    if given is not None and given not in (device, ti._lib.core.arch_name(_arch(device))):
        raise ValueError(f"the environment variable TI_ARCH={given!r} contradicts device={device!r}; unset it")


def _has_cuda() -> bool:
    """Whether a CUDA driver answers and has a card; asked without taichi, which warns on every machine without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except OSError:
        return False


def _vulkan_device() -> vulkan.Device | None:
    """The Vulkan device to use: the best, or the one that the variable ``TI_VISIBLE_DEVICE`` names."""
    found = vulkan.devices()
    if not found:
        return None
    number = visible_device_setting(len(found))
    return next((device for device in found if device.number == number), found[0])


def _pick_device(precision: str) -> str:
    if _has_cuda():
        return "cuda"
    device = _vulkan_device() if precision == "f32" else None
    return "vulkan" if device is not None and device.is_hardware else "cpu"


def thread_count() -> int:
    """CPU threads that taichi may use in this process."""
    choose()
    return _threads


def float_type(precision: str) -> Any:
    """The taichi type of a precision ("f32" or "f64").

    Raises:
        ValueError: the precision is unknown.
    """
    word("precision", precision, PRECISIONS)
    return ti.f32 if precision == "f32" else ti.f64


def numpy_type(precision: str) -> type[np.floating[Any]]:
    """The NumPy type of a precision ("f32" or "f64"); ``ValueError`` for any other."""
    float_type(precision)
    return np.float32 if precision == "f32" else np.float64
