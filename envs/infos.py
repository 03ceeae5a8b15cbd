"""What an environment reports beside observation and reward: of the same structure after a reset and after a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pliant.envs.outcomes import Outcome


def info_of(
    outcome: Outcome,
    world: int,
    *,
    success: Sequence[bool] | np.ndarray,
    shows_divergence: bool,
    is_start: bool = False,
) -> dict[str, Any]:
    """The info of a world.

    Args:
        outcome: of the step or the reset.
        world: its number.
        success: whether the task counts as done, shape (B,).
        shows_divergence: whether there is an entry "diverged".
        is_start: it is that of a reset, which has no reward: its terms are zero.
    """
    info: dict[str, Any] = {"score": np.float64(outcome.score[world]), "is_success": bool(success[world])}
    tables = {"reward_terms": outcome.terms, "measures": outcome.measures}
    for table, values in tables.items():
        if values:
            info[table] = {name: np.float64(value[world]) for name, value in values.items()}
    if is_start:
        info["reward_terms"] = dict.fromkeys(outcome.terms, np.float64(0.0))
    if shows_divergence:
        info["diverged"] = bool(outcome.diverged[world])
    return info
