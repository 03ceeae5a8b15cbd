"""Settings of methods that suit a kind of task, or one task, better than the method's own defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def hyperparameters(env_id: str, method: str) -> dict[str, Any]:
    """Settings, and of a method of training the number of worlds, for the kind of task that an environment is.

    They stand in files of ``policies/hyperparameters``, one for each kind.

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
    return dict(own.get(method, content.get(method, {})))
