"""Closed-loop policies of every kind in files: PATH.npz, the weights, and PATH.json, what they are the weights of.

A new kind of policy is one file and one line in ``KINDS``. A policy has ``act``, from observations (B, O) to actions
(B, A), and three things that go into the files: ``kind``, ``settings`` (what JSON can hold) and ``state_dict()``. Its
module has ``load(path, kind, settings)``, which makes the policy again.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pliant.policies.files.checkpoints import load_description
from pliant.policies.files.weights import save_weights

KINDS = {
    "mlp": "pliant.policies.networks.controllers",
    "sin_sin": "pliant.policies.networks.controllers",
    "gaussian": "pliant.policies.networks.gaussian",
    "ppo": "pliant.policies.networks.learned",
    "sac": "pliant.policies.networks.learned",
    "td3": "pliant.policies.networks.learned",
    "tqc": "pliant.policies.networks.learned",
    "crossq": "pliant.policies.networks.learned",
}
"""The module of each kind. It is loaded with the first policy of the kind: not all need stable-baselines3."""


def save_policy(path: str | Path, policy: Any) -> None:
    """Write a policy that any of the training methods gave.

    Raises:
        ValueError: its kind is none of ``KINDS``, so that nothing could load it.
    """
    kind = getattr(policy, "kind", None)
    if kind not in KINDS:
        raise ValueError(
            f"a policy of kind {kind!r} ({type(policy).__name__}) has no file; allowed: {', '.join(KINDS)}"
        )
    save_weights(path, policy, kind, policy.settings)


def load_policy(path: str | Path) -> Any:
    """A policy with ``act``, from observations (B, O) to actions (B, A); nothing is unpickled.

    Raises:
        ValueError: a file is missing, broken, of another version, or the two do not fit together.
    """
    kind, settings = load_description(path, KINDS)
    return import_module(KINDS[kind]).load(path, kind, settings)
