"""CrossQ (Bhatt et al. 2024, arXiv 1902.05605) by sb3-contrib, on all worlds of a batch: no target networks.

Its networks normalise what they see over the batch, so that fewer updates are worth more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import sb3_contrib

from pliant.policies.reinforcement.off_policy import OffPolicySettings, check_off_policy, learn_off_policy


@dataclass
class Settings(OffPolicySettings):
    """Settings of a training run."""

    initial_alpha: float = 0.1
    """Weight of the entropy at the start; it is tuned from then on."""
    policy_delay: int = 3
    """Updates of the critics for one of the policy."""


def own_options(env: Any, settings: Settings) -> dict[str, Any]:
    """What the algorithm takes besides what all take."""
    return {
        "ent_coef": f"auto_{settings.initial_alpha}",
        "policy_delay": settings.policy_delay,
    }


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_off_policy(
        settings,
        initial_alpha=(1e-12, math.inf),
        policy_delay=(1, math.inf),
    )


train = partial(learn_off_policy, sb3_contrib.CrossQ, "crossq", check_settings, own_options, shown=("train/ent_coef",))
"""``train(env, settings, *, on_iteration=None, state=None)``, see `learn_off_policy`."""
