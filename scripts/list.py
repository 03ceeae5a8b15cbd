"""``pliant list``: the environments, or all that is to be known of one."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from pliant.envs.task import Task

UNIT = re.compile(r"\s*\[([^\[\]]*)\]")


@dataclass
class Arguments:
    """List the environments with their goals, the sizes of actions and observations, and the steps of an episode; or
    print the documentation of one.

    Examples:
      pliant list
      pliant list FingerReach
      pliant list --json
    """

    environment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[ENV]")] = ""
    """Environment whose documentation is printed: actions, observations, rewards, score, arguments. None: a table."""
    json: bool = False
    """Print JSON instead of text."""


def run(arguments: Arguments) -> int:
    """Print one line per environment, or the documentation of one."""
    if arguments.environment:
        from pliant.scripts.environments import resolve

        found = describe(resolve(arguments.environment))
        print(json.dumps(found, indent=2) if arguments.json else as_text(found))
        return 0
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
    print("pliant list ENV prints all that there is to know of one.")
    return 0


def describe(env_id: str) -> dict[str, Any]:
    """What `pliant list ENV --json` prints: sizes, the task's documentation, its own arguments, and the settings
    with which ``pliant optimize`` begins on it, by method, where they are not the method's own defaults."""
    import gymnasium

    from pliant.envs import ENTRIES
    from pliant.envs.differentiable import load_task
    from pliant.scripts.errors import CommandError
    from pliant.scripts.hyperparameters import hyperparameters
    from pliant.scripts.optimize import SETTINGS

    spec = gymnasium.registry[env_id]
    if "task" not in spec.kwargs:
        raise CommandError(f"{env_id} is no task of Pliant: the documentation is that of its class, {spec.entry_point}")
    task = load_task(spec.kwargs["task"])
    entry = next((entry for entry in ENTRIES if entry.id == env_id), None)
    return {
        "id": env_id,
        "goal": task.summary,
        "actions": getattr(entry, "action_size", None),
        "observations": getattr(entry, "observation_size", None),
        "steps": task.horizon,
        "step_time": task.step_time,
        "substeps": dict(task.substeps),
        "reward_threshold": spec.reward_threshold,
        "success_score": getattr(entry, "success_score", None),
        "arguments": own_arguments(task),
        "optimize": {method: own for method in SETTINGS if (own := hyperparameters(env_id, method))},
        "documentation": inspect.cleandoc(task.__doc__ or task.summary),
    }


def own_arguments(task: type[Task]) -> list[dict[str, Any]]:
    """The fields of a task's ``Config``: name, default, unit, what its source says of it, and the words it may be."""
    from pliant.scripts.flags import all_notes

    notes, found = all_notes(task.Config), []
    for field in fields(task.Config):
        note = notes.get(field.name, "")
        unit = UNIT.findall(note)
        found.append(
            {
                "name": field.name,
                "default": None if field.default is MISSING else field.default,
                "unit": unit[-1] if unit else "",
                "meaning": UNIT.sub("", note).strip(" ;,"),
                "allowed": list(field.metadata.get("allowed", ())),
            }
        )
    return found


def as_text(found: dict[str, Any]) -> str:
    """The same as text for a terminal, without the marks of Markdown headings."""
    from pliant.scripts.optimize import flags_of

    heading = f"{found['id']}: {found['goal']}"
    sizes = "" if found["actions"] is None else f"{found['actions']} actions, {found['observations']} observations, "
    substeps = " or ".join(f"{count} ({size})" for size, count in found["substeps"].items())
    lines = [
        heading,
        "=" * len(heading),
        "",
        f"{sizes}{found['steps']} steps of {found['step_time']:g} s, each of {substeps} simulation steps",
    ]
    for name in ("reward_threshold", "success_score"):
        if found[name] is not None:
            lines.append(f"{name.replace('_', ' ')}: {found[name]:g}")
    for line in ["", *found["documentation"].splitlines()]:
        title = re.match(r"#+\s+(.*)", line)
        lines += [title[1], "-" * len(title[1])] if title else [line]
    if found["arguments"]:
        lines += ["", "Own arguments and their defaults", "--------------------------------"]
        lines += [_argument(entry) for entry in found["arguments"]]
        first = found["arguments"][0]
        lines += [
            "",
            f"On the command line: --set {first['name']}={first['default']}; in Python: keywords of gym.make.",
        ]
    if found["optimize"]:
        lines += ["", "Settings with which pliant optimize begins", "------------------------------------------"]
        lines += [f"  --method {method} {flags_of(own)}" for method, own in found["optimize"].items()]
    return "\n".join(lines)


def _argument(entry: dict[str, Any]) -> str:
    unit = f" {entry['unit']}" if entry["unit"] else ""
    words = ", ".join(map(str, entry["allowed"]))
    notes = [part for part in (entry["meaning"], f"one of {words}" if words else "") if part]
    return f"  {entry['name']} = {entry['default']}{unit}" + (f": {'; '.join(notes)}" if notes else "")
