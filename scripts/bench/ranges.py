"""Ranges that settings of methods are searched in, each the one that its authors or a standard library publish.

SHAC: the values of the authors' own tasks (NVlabs/DiffRL, examples/cfg/shac). Methods of stable-baselines3 and
sb3-contrib: RL Baselines3 Zoo (rl_zoo3/hyperparams_opt.py), learning rates up to 0.01, beyond which no network here
learns. SAPO, AHAC, BPTT and mixed gradients publish single values: ranges around them as wide as SHAC's. Optimisers of
plans publish none: ranges around their defaults. A method without an entry is searched nowhere, and runs with its
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Log:
    """Between two numbers, evenly on a logarithmic scale."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        """A number with three digits."""
        return float(f"{np.exp(random.uniform(np.log(self.low), np.log(self.high))):.3g}")


@dataclass(frozen=True)
class OneOf:
    """One of some values."""

    values: Sequence[Any]

    def draw(self, random: np.random.Generator) -> Any:
        """One of them."""
        return self.values[int(random.integers(len(self.values)))]


Range = Log | OneOf
DISCOUNTS = OneOf((0.9, 0.95, 0.98, 0.99, 0.995, 0.999))
REPLAY: Mapping[str, Range] = {
    "learning_rate": Log(1e-5, 1e-2),
    "discount": DISCOUNTS,
    "batch_size": OneOf((16, 32, 64, 128, 256, 512)),
    "normalize": OneOf(("true", "false")),
}
TARGETS: Mapping[str, Range] = {"target_rate": OneOf((0.001, 0.005, 0.01, 0.02, 0.05, 0.08))}
ACTOR_CRITIC: Mapping[str, Range] = {
    "policy_learning_rate": Log(2e-3, 1e-2),
    "critic_learning_rate": Log(2e-4, 2e-3),
    "window": OneOf((8, 16, 32)),
    "normalize": OneOf(("true", "false")),
}
ADAM: Mapping[str, Range] = {"learning_rate": Log(1e-3, 2e-2), "clip_norm": OneOf((0.3, 1.0, 3.0))}
NOISY: Mapping[str, Range] = {**ADAM, "sigma": OneOf((0.05, 0.1, 0.2))}
SEARCH: Mapping[str, Range] = {"sigma": Log(0.1, 1.0), "knots": OneOf((6, 12, 24))}

RANGES: dict[str, Mapping[str, Range]] = {
    "gradient": {"learning_rate": Log(0.02, 0.5), "beta2": OneOf((0.95, 0.99, 0.999)), "clip_norm": OneOf((0.0, 1.0))},
    "lbfgs": {"first_step": Log(0.02, 0.5), "memory_pairs": OneOf((5, 10, 20))},
    "cmaes": SEARCH,
    "cem": {**SEARCH, "elite_fraction": OneOf((0.05, 0.1, 0.2))},
    "mppi": {**SEARCH, "temperature": Log(0.03, 0.3)},
    "random-search": {"knots": OneOf((6, 12, 24)), "sampling": OneOf(("uniform", "around-best"))},
    "bptt": ADAM,
    "mixed": NOISY,
    "ivw": NOISY,
    "shac": {**ACTOR_CRITIC, "target_rate": OneOf((0.005, 0.8))},
    "sapo": ACTOR_CRITIC,
    "ahac": {**ACTOR_CRITIC, "stiffness_limit": Log(1.2, 5.0)},
    "ppo": {
        "learning_rate": Log(1e-5, 2e-3),
        "clip_range": OneOf((0.1, 0.2, 0.3, 0.4)),
        "epochs": OneOf((1, 5, 10, 20)),
        "batch_size": OneOf((32, 64, 128, 256, 512)),
        "entropy_weight": Log(1e-8, 0.1),
        "normalize": OneOf(("true", "false")),
    },
    "sac": {**REPLAY, **TARGETS},
    "td3": {**REPLAY, **TARGETS},
    "tqc": {**REPLAY, **TARGETS},
    "crossq": REPLAY,
}


def draw(method: str, trial: int) -> dict[str, Any]:
    """Settings of a trial, the same on every task; trial 0 has none, so that the defaults are among what is tried."""
    if trial == 0 or method not in RANGES:
        return {}
    random = np.random.default_rng([trial, *method.encode()])
    return {name: allowed.draw(random) for name, allowed in RANGES[method].items()}
