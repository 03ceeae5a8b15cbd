"""Closed-loop policies of every kind in files: PATH.npz, the weights, and PATH.json, what they are the weights of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pliant.policies.through_physics.gaussian import GaussianPolicy, load_gaussian, save_gaussian

LEARNED = ("ppo", "sac", "td3")


def save_policy(path: str | Path, policy: Any) -> None:
    """Write a policy that any of the training methods gave."""
    if isinstance(policy, GaussianPolicy):
        save_gaussian(path, policy)
    elif getattr(policy, "kind", None) in LEARNED:
        from pliant.policies.reinforcement.networks import save_learned

        save_learned(path, policy)
    else:
        from pliant.policies.controllers import save_controller

        save_controller(path, policy)


def load_policy(path: str | Path) -> Any:
    """A policy with ``act``, from observations (B, O) to actions (B, A); nothing is unpickled.

    Raises:
        ValueError: a file is missing, broken, of another version, or the two do not fit together.
    """
    path = Path(path).with_suffix("")
    try:
        content = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}.json is not a readable JSON file: {error}") from error
    if not isinstance(content, dict) or "kind" not in content:
        raise ValueError(f"{path}.json does not describe a policy")
    kind, version = content.get("kind"), content.get("version")
    if kind not in ("gaussian", *LEARNED):
        from pliant.policies.controllers import load_controller

        return load_controller(path)
    if version != 1:
        raise ValueError(f"{path}.json has version {version!r}; this is read by version 1")
    rest = {name: value for name, value in content.items() if name not in ("kind", "version")}
    if kind == "gaussian":
        return load_gaussian(path, rest)
    from pliant.policies.reinforcement.networks import load_learned

    return load_learned(path, kind, rest)
