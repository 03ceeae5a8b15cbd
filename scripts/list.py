"""``pliant list``: the environments."""

from __future__ import annotations

import json
from dataclasses import dataclass


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
    from pliant.envs import ENTRIES

    rows = [
        {
            "id": entry.id,
            "goal": entry.summary,
            "actions": entry.action_size,
            "observations": entry.observation_size,
            "steps": entry.horizon,
        }
        for entry in ENTRIES
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("environment", "goal", "actions", "observations", "steps"):
        table.add_column(heading, justify="left" if heading in ("environment", "goal") else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    return 0
