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
    from pliant.scripts.tables import print_table

    headings = ["environment", "goal", "actions", "observations", "steps"]
    print_table(headings, [[str(value) for value in row.values()] for row in rows], left=2)
    return 0
