"""Settings of training methods: those of a kind of task, and those of the command line."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from pliant.policies.methods import BUDGETS
from pliant.scripts.errors import CommandError


def hyperparameters(env_id: str, algorithm: str) -> dict[str, Any]:
    """Number of worlds and settings for the kind of task that an environment is (policies/hyperparameters).

    A file holds them by method; where a task does better with others, "tasks" has them by task and method. For a method
    that the files do not name there are none: it takes its own defaults.
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
    return dict(own.get(algorithm, content.get(algorithm, {})))


def parse_settings(text: str, kind: type) -> dict[str, Any]:
    """``{"window": 8}`` of "window=8", each value of the type of the dataclass's field.

    Raises:
        CommandError: a name is unknown or a value is of another type.
    """
    hints = get_type_hints(kind)
    own = [field.name for field in fields(kind) if field.name not in (*BUDGETS, "seed")]
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
