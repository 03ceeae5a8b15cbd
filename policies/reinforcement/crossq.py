"""CrossQ (Bhatt et al. 2024, arXiv 1902.05605) by sb3-contrib, on all worlds of a batch: no target networks.

Its networks normalise what they see over the batch, so that fewer updates are worth more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import sb3_contrib

from pliant.policies.methods import OnIteration, Result
from pliant.policies.reinforcement.off_policy import OffPolicySettings, check_off_policy, learn_off_policy


@dataclass
class Settings(OffPolicySettings):
    """Settings of a training run."""

    initial_alpha: float = 0.1
    """Weight of the entropy at the start; it is tuned from then on."""
    policy_delay: int = 3
    """Updates of the critics for one of the policy."""


def train(
    env: Any, settings: Settings, *, on_iteration: OnIteration | None = None, state: dict[str, Any] | None = None
) -> Result:
    """Train a policy by CrossQ; see `learn_off_policy`.

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
    """
    check_settings(settings)
    return learn_off_policy(
        sb3_contrib.CrossQ,
        "crossq",
        env,
        settings,
        on_iteration=on_iteration,
        state=state,
        shown=("train/ent_coef",),
        ent_coef=f"auto_{settings.initial_alpha}",
        policy_delay=settings.policy_delay,
    )


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_off_policy(
        settings,
        initial_alpha=(1e-12, math.inf),
        policy_delay=(1, math.inf),
    )
