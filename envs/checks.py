"""Checks of arrays that callers hand to an environment."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_actions(actions: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Actions as float64 of the given shape; ``ValueError`` if the shape is wrong or a value is not finite."""
    actions = np.asarray(actions, np.float64)
    if actions.shape != shape:
        raise ValueError(f"action has shape {actions.shape}, must be {shape}")
    if not np.isfinite(actions).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(actions))[0])
        raise ValueError(f"action at {where} is {actions[where]}, must be finite")
    return actions


def broadcast(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A float64 array of the given shape; ``ValueError`` if that cannot be or a value is not finite."""
    value = np.asarray(value, np.float64)
    try:
        result = np.broadcast_to(value, shape)
    except ValueError:
        raise ValueError(f"{name} has shape {value.shape}, must broadcast to {shape}") from None
    if not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite")
    return result
