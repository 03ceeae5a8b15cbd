"""TQC, truncated quantile critics (Kuznetsov et al. 2020, arXiv 2005.04269), by sb3-contrib on a batch of worlds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import sb3_contrib

from pliant.policies.methods import OnIteration, Result
from pliant.policies.reinforcement.off_policy import OffPolicySettings, check_off_policy, learn_off_policy

QUANTILES = 25  # of each critic


@dataclass
class Settings(OffPolicySettings):
    """Settings of a training run."""

    target_rate: float = 0.005
    """Share of the way to the critics that their targets go with each update."""
    initial_alpha: float = 0.1
    """Weight of the entropy at the start; it is tuned from then on."""
    dropped_quantiles: int = 2
    """Of each critic's quantiles, the largest ones, which targets leave out."""


def train(
    env: Any, settings: Settings, *, on_iteration: OnIteration | None = None, state: dict[str, Any] | None = None
) -> Result:
    """Train a policy by TQC; see `learn_off_policy`.

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
    """
    check_settings(settings)
    return learn_off_policy(
        sb3_contrib.TQC,
        "tqc",
        env,
        settings,
        on_iteration=on_iteration,
        state=state,
        shown=("train/ent_coef",),
        tau=settings.target_rate,
        ent_coef=f"auto_{settings.initial_alpha}",
        top_quantiles_to_drop_per_net=settings.dropped_quantiles,
    )


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_off_policy(
        settings,
        target_rate=(1e-12, 1),
        initial_alpha=(1e-12, math.inf),
        dropped_quantiles=(0, QUANTILES - 1),
    )
