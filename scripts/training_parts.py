"""Parts of ``pliant train`` that stand alone: settings by kind of task, checks, the filmed episode."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from pliant.scripts.errors import CommandError

EVALUATION_SEED, TEST_SEED = 1_000_000, 2_000_000  # far from those of training
BUDGET = ("steps", "minutes", "iterations")  # may grow when a run is resumed


def hyperparameters(env_id: str, algorithm: str) -> dict[str, Any]:
    """Number of worlds and settings for the kind of task that an environment is (policies/hyperparameters).

    A file holds them by method; where a task does better with others, "tasks" has them by task and method.
    """
    import gymnasium

    from pliant import policies

    task = str(gymnasium.registry[env_id].kwargs.get("task", ""))
    parts = task.split(":")[0].split(".")
    root = Path(next(iter(policies.__path__))) / "hyperparameters"
    path = root / f"{parts[2] if len(parts) > 3 else 'default'}.json"
    if not path.exists():
        path = root / "default.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    own = content.get("tasks", {}).get(task.split(":")[-1], {})
    return dict(own.get(algorithm, content[algorithm]))


def parse_settings(text: str, kind: type) -> dict[str, Any]:
    """``{"window": 8}`` of "window=8", each value of the type of the dataclass's field.

    Raises:
        CommandError: a name is unknown or a value is of another type.
    """
    hints = get_type_hints(kind)
    own = [field.name for field in fields(kind) if field.name not in (*BUDGET, "seed")]
    found: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or name not in own:
            raise CommandError(f"settings: {part!r} is not NAME=VALUE with NAME one of {', '.join(own)}")
        try:
            if hints[name] is bool:
                found[name] = {"true": True, "false": False}[value.lower()]
            else:
                found[name] = hints[name](value) if hints[name] in (int, float) else value
        except (KeyError, ValueError):
            word = {bool: "true or false", int: "a whole number", float: "a number"}[hints[name]]
            raise CommandError(f"settings: {name}={value!r} must be {word}") from None
    return found


def available_memory() -> int | None:
    """Bytes that may still be used; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None


def record_policy(env_id: str, env_options: dict[str, Any], policy: Any, seed: int) -> tuple[np.ndarray, float, float]:
    """An episode in closed loop: frames, return and score as of `pliant.scripts.video.record`.

    Raises:
        CommandError: the policy is of another task.
    """
    from pliant.scripts import video
    from pliant.scripts.registry import make

    env = make(env_id, render_mode="rgb_array", **{"on_divergence": "truncate", **env_options})
    try:
        observation, _ = env.reset(seed=seed)
        actions = []
        for _ in range(env.horizon):
            try:
                action = np.clip(policy.act(observation[None])[0], -1.0, 1.0)
            except (IndexError, RuntimeError, TypeError, ValueError) as error:
                raise CommandError(
                    f"the policy does not take the {len(observation)} observations of {env_id}: it is of another task"
                ) from error
            if not np.isfinite(action).all():
                raise CommandError("the policy gives actions that are not finite: its weights are broken")
            if action.shape != env.action_space.shape:
                raise CommandError(
                    f"the policy gives {action.size} actions, {env_id} takes {env.action_space.shape[0]}: it is of "
                    "another task"
                )
            actions.append(action)
            observation, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        return video.record(env, np.array(actions), seed=seed)
    finally:
        env.close()
