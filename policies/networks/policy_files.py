"""Closed-loop policies of every kind in files: PATH.npz, the weights, and PATH.json, what they are the weights of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pliant.policies.files.checkpoints import load_description
from pliant.policies.networks.controllers import KINDS, load_controller, save_controller
from pliant.policies.networks.gaussian import KIND, GaussianPolicy, load_gaussian, save_gaussian

LEARNED = ("ppo", "sac", "td3")
"""Kinds of policies that learn from rewards alone; they need stable-baselines3."""


def save_policy(path: str | Path, policy: Any) -> None:
    """Write a policy that any of the training methods gave."""
    if isinstance(policy, GaussianPolicy):
        save_gaussian(path, policy)
    elif getattr(policy, "kind", None) in LEARNED:
        from pliant.policies.networks.learned import save_learned

        save_learned(path, policy)
    else:
        save_controller(path, policy)


def load_policy(path: str | Path) -> Any:
    """A policy with ``act``, from observations (B, O) to actions (B, A); nothing is unpickled.

    Raises:
        ValueError: a file is missing, broken, of another version, or the two do not fit together.
    """
    kind, settings = load_description(path, (KIND, *LEARNED, *KINDS))
    if kind == KIND:
        return load_gaussian(path, settings)
    if kind in LEARNED:
        from pliant.policies.networks.learned import load_learned

        return load_learned(path, kind, settings)
    return load_controller(path)
