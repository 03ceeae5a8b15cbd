"""TQC, truncated quantile critics (Kuznetsov et al. 2020, arXiv 2005.04269), by sb3-contrib on a batch of worlds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import sb3_contrib

from pliant.policies.reinforcement import sac
from pliant.policies.reinforcement.off_policy import check_off_policy, learn_off_policy

QUANTILES = 25  # of each critic


@dataclass
class Settings(sac.Settings):
    """Settings of a training run."""

    dropped_quantiles: int = 2
    """Of each critic's quantiles, the largest ones, which targets leave out."""


def own_options(env: Any, settings: Settings) -> dict[str, Any]:
    """What the algorithm takes besides what all take."""
    return sac.own_options(env, settings) | {"top_quantiles_to_drop_per_net": settings.dropped_quantiles}


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_off_policy(
        settings,
        target_rate=(1e-12, 1),
        initial_alpha=(1e-12, math.inf),
        dropped_quantiles=(0, QUANTILES - 1),
    )


train = partial(learn_off_policy, sb3_contrib.TQC, "tqc", check_settings, own_options, shown=("train/ent_coef",))
"""``train(env, settings, *, on_iteration=None, state=None)``, see `learn_off_policy`."""
