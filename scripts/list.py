"""``pliant list``: the environments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass
class Arguments:
    """List the environments with their goals, the sizes of actions and observations, and the steps of an episode.

    Example:
      pliant list --json
    """

    json: bool = False
    """Print a JSON list instead of a table."""


def run(arguments: Arguments) -> int:
    """Print one line per environment."""
    from pliant.scripts.registry import registered_ids

    rows = [describe(env_id) for env_id in registered_ids()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("environment", "goal", "actions", "observations", "steps"):
        table.add_column(heading, justify="left" if heading in ("environment", "goal") else "right")
    for row in rows:
        table.add_row(row["id"], row["goal"], str(row["actions"]), str(row["observations"]), str(row["steps"]))
    Console().print(table)
    return 0


def describe(env_id: str) -> dict[str, Any]:
    """Id, goal (first line of the docstring), sizes of actions and observations, steps of an episode."""
    from pliant.scripts.registry import make

    env = make(env_id)
    try:
        return {
            "id": env_id,
            "goal": (type(env).__doc__ or "").strip().split("\n")[0].rstrip("."),
            "actions": int(env.action_space.shape[0]),
            "observations": int(env.observation_space.shape[0]),
            "steps": int(env.horizon),
        }
    finally:
        env.close()
