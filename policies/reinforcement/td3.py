"""TD3 (Fujimoto et al. 2018, arXiv 1802.09477) by stable-baselines3, on all worlds of a batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import stable_baselines3
from stable_baselines3.common.noise import NormalActionNoise

from pliant.policies.reinforcement.off_policy import OffPolicySettings, check_off_policy, learn_off_policy


@dataclass
class Settings(OffPolicySettings):
    """Settings of a training run."""

    target_rate: float = 0.005
    """Share of the way to the critics that their targets go with each update."""
    noise: float = 0.1
    """Standard deviation of the noise on actions while exploring."""
    target_noise: float = 0.2
    """The same on the actions of the critics' targets."""
    policy_delay: int = 2
    """Updates of the critics for one of the policy."""


def own_options(env: Any, settings: Settings) -> dict[str, Any]:
    """What the algorithm takes besides what all take."""
    actions = env.unwrapped.single_action_space.shape[0]
    return {
        "tau": settings.target_rate,
        "action_noise": NormalActionNoise(np.zeros(actions), np.full(actions, settings.noise)),
        "target_policy_noise": settings.target_noise,
        "policy_delay": settings.policy_delay,
    }


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_off_policy(
        settings,
        target_rate=(1e-12, 1),
        noise=(0, math.inf),
        target_noise=(0, math.inf),
        policy_delay=(1, math.inf),
    )


train = partial(learn_off_policy, stable_baselines3.TD3, "td3", check_settings, own_options)
"""``train(env, settings, *, on_iteration=None, state=None)``, see `learn_off_policy`."""
