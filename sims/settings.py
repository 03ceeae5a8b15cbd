"""What environment variables set: the number of CPU threads, taichi's cache of compiled kernels, the Vulkan device."""

from __future__ import annotations

import os
import re

import numpy as np

MOST_THREADS = 64  # that any machine may be asked for; a larger one for four on each of its processors


def thread_setting(threads: int | None) -> int:
    """CPU threads: ``threads``, else what the variable ``PLIANT_THREADS`` says, else as many as processors.

    Raises:
        ValueError: it is no whole number from 1 to what the machine can bear.
    """
    processors = _processors()
    most = max(MOST_THREADS, 4 * processors)
    given = os.environ.get("PLIANT_THREADS")
    if threads is not None:
        whole = isinstance(threads, (int, np.integer)) and not isinstance(threads, bool)
        if not whole or not 1 <= threads <= most:
            raise ValueError(f"threads={threads!r} must be an integer from 1 to {most} ({processors} processors)")
        return int(threads)
    if given is None:
        return processors
    if not re.fullmatch(r"[0-9]{1,9}", given) or not 1 <= int(given) <= most:
        raise ValueError(
            f"the environment variable PLIANT_THREADS={given!r} must be an integer from 1 to {most} "
            f"({processors} processors), or unset"
        )
    return int(given)


def offline_cache_setting() -> bool:
    """Whether compiled kernels are kept on disk: not where the variable ``PLIANT_OFFLINE_CACHE`` is 0.

    Raises:
        ValueError: the variable is neither 0 nor 1.
    """
    given = os.environ.get("PLIANT_OFFLINE_CACHE", "1")
    if given not in ("0", "1"):
        raise ValueError(f"the environment variable PLIANT_OFFLINE_CACHE={given!r} must be 0 or 1, or unset")
    return given == "1"


def visible_device_setting(count: int) -> int | None:
    """Which of ``count`` Vulkan devices the variable ``TI_VISIBLE_DEVICE`` names; None where it is unset.

    Raises:
        ValueError: it is no number of a device.
    """
    given = os.environ.get("TI_VISIBLE_DEVICE")
    if given is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", given) or int(given) >= count:
        raise ValueError(
            f"the environment variable TI_VISIBLE_DEVICE={given!r} must be an integer from 0 to {count - 1}, "
            "the number of a Vulkan device, or unset"
        )
    return int(given)


def _processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
