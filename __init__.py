"""Differentiable simulators of soft things, wrapped as Gymnasium environments.

The parts are `pliant.sims`, `pliant.envs`, `pliant.policies` and `pliant.scripts`; this package imports none of them.
"""

from __future__ import annotations

from typing import Any

__version__: str


def __getattr__(name: str) -> Any:
    """``__version__`` of the installed package, whose one source is ``pyproject.toml``."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("pliant")
