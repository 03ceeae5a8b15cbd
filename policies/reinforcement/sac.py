"""SAC (Haarnoja et al. 2018, arXiv 1812.05905) by stable-baselines3, on all worlds of a batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import stable_baselines3

from pliant.policies.reinforcement.off_policy import OffPolicySettings, check_off_policy, learn_off_policy


@dataclass
class Settings(OffPolicySettings):
    """Settings of a training run."""

    target_rate: float = 0.005
    """Share of the way to the critics that their targets go with each update."""
    initial_alpha: float = 0.1
    """Weight of the entropy at the start; it is tuned from then on."""


def own_options(env: Any, settings: Settings) -> dict[str, Any]:
    """What the algorithm takes besides what all take."""
    return {
        "tau": settings.target_rate,
        "ent_coef": f"auto_{settings.initial_alpha}",
    }


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_off_policy(
        settings,
        target_rate=(1e-12, 1),
        initial_alpha=(1e-12, math.inf),
    )


train = partial(learn_off_policy, stable_baselines3.SAC, "sac", check_settings, own_options, shown=("train/ent_coef",))
"""``train(env, settings, *, on_iteration=None, state=None)``, see `learn_off_policy`."""
