"""Checks of what is put into a World, and what is raised when a simulation diverges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from pliant.sims.failures import SimulationDiverged
from pliant.sims.inputs import real_array, shown

T = TypeVar("T")


def look_up(fields: Mapping[str, T], name: str, what: str) -> T:
    """The one of the name ``name``; a ``ValueError`` lists the names there are."""
    if not isinstance(name, str) or name not in fields:
        raise ValueError(f"{what} {shown(name)} is unknown; this scene has: {', '.join(fields) or 'none'}")
    return fields[name]


def fit(values: Any, window: np.ndarray, name: str) -> np.ndarray:
    """``values`` in the shape and type of ``window``, or a ``ValueError``: wrong shape, not finite in that type."""
    array = real_array(name, values, dtype=window.dtype)
    try:
        return np.broadcast_to(array, window.shape)
    except ValueError:
        raise ValueError(f"{name} has shape {array.shape}, which does not broadcast to {window.shape}") from None


def add_cotangent(window: np.ndarray, cotangent: Any, name: str) -> None:
    """Add a cotangent with as many entries as ``window`` to it; a ``ValueError`` if it has more or fewer, or is not
    finite in the type of ``window``."""
    array = real_array(f"cotangent of {name}", cotangent, dtype=window.dtype)
    if array.size != window.size:
        raise ValueError(f"cotangent of {name} has shape {array.shape}, must be {window.shape}")
    window += array.reshape(window.shape)


def check_gradient(bar: np.ndarray, name: str, step: int) -> None:
    """Raise `SimulationDiverged` if a cotangent (B, ...) found in going back step ``step`` is not finite."""
    finite = np.isfinite(bar)
    if finite.all():
        return
    world = int(np.argmin(finite.reshape(len(bar), -1).all(axis=1)))
    raise SimulationDiverged(step, None, f"gradient of {name}", world, "the gradient overflowed in the reverse sweep")
