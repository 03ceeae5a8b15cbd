"""``pliant bench gradients``: how right gradients are, what they cost, how far back they reach."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pliant.policies.files.checkpoints import load_json, save_json
from pliant.scripts.bench.options import Gradients
from pliant.scripts.bench.suites import environments
from pliant.scripts.errors import CommandError
from pliant.scripts.options import check_range

PROBE = (sys.executable, "-m", "pliant.scripts.bench.gradient_probe")
ASKED = ("steps", "directions", "repeats", "longest", "seed")


def gradients(arguments: Gradients) -> int:
    """Measure the tasks that the table does not have yet, write it after each, and print it; 1 if any failed.

    Raises:
        CommandError: flags are wrong, or the file holds a table that was measured with other flags.
    """
    for name, most in (("steps", 100_000), ("repeats", 1000), ("longest", 1000)):
        check_range(name, getattr(arguments, name), 1, most)
    check_range("directions", arguments.directions, 2, 1000)
    check_range("seed", arguments.seed, 0, 2**63 - 1)
    from rich.console import Console

    from pliant.scripts.runs import machine, versions

    ids = environments(arguments.tasks)
    asked = {name: getattr(arguments, name) for name in ASKED}
    path = Path(arguments.out) if arguments.out else None
    table = _load(path, asked)
    table |= {"machine": machine(), "versions": versions(("pliant", "taichi", "numpy"))}
    console = Console(stderr=True)
    for env_id in ids:
        if env_id in table["tasks"]:
            continue
        with console.status(env_id):
            table["tasks"][env_id] = measure(env_id, asked)
        if path is not None:
            save_json(path, table)
    rows = [table["tasks"][env_id] for env_id in ids]
    if arguments.json:
        print(json.dumps(table, indent=2))
    else:
        _print(rows)
        here = table["machine"]
        print(f"{here['processor']}, {here['cores']} cores, {here['date']}, seed {arguments.seed}")
    return 1 if any("error" in row for row in rows) else 0


def measure(env_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own has measured; "error" where it failed."""
    process = subprocess.run([*PROBE, env_id, json.dumps(asked)], capture_output=True, text=True, check=False)
    try:
        return dict(json.loads(process.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        last = process.stderr.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
        return {"environment": env_id, "error": last[0]}


def _load(path: Path | None, asked: dict[str, Any]) -> dict[str, Any]:
    if path is None or not path.exists():
        return {"asked": asked, "tasks": {}}
    try:
        table = load_json(path)
        before, tasks = table["asked"], table["tasks"]
    except (KeyError, ValueError) as error:
        raise CommandError(f"out={str(path)!r} holds no table of gradients: {error}") from error
    if before != asked:
        raise CommandError(f"out={str(path)!r} was measured with {before}, not {asked}; pass another --out")
    return {"asked": asked, "tasks": {name: row for name, row in tasks.items() if "error" not in row}}


def _print(rows: Sequence[dict[str, Any]]) -> None:
    from pliant.scripts.environments import short_name
    from pliant.scripts.tables import print_table

    texts, failed = [], []
    for index, row in enumerate(rows):
        name = short_name(row["environment"])
        if "error" in row:
            failed.append(index)
            texts.append([name, row["error"], *[""] * 7])
            continue
        worst = max(row["quantities"], key=lambda quantity: quantity["error"])
        finite = [step for step in row["horizons"] if step["first_action_norm"] is not None]
        growth = finite[-1]["first_action_norm"] / finite[0]["first_action_norm"] if finite else float("nan")
        bytes_ = row["gradient_peak_bytes"]
        texts.append(
            [
                name,
                worst["quantity"],
                f"{worst['error']:.1e}",
                f"{1.0 - min(quantity['cosine'] for quantity in row['quantities']):.1e}",
                f"{row['forward_seconds']:.3g}",
                f"{row['gradient_seconds']:.3g}",
                "" if bytes_ is None else f"{bytes_ / 2**20:.0f}",
                f"{finite[-1]['steps'] if finite else 0} of {row['horizons'][-1]['steps']}",
                f"{growth:.2g}",
            ]
        )
    headings = ["task", "worst quantity", "error", "1 - cosine", "forward [s]", "with gradient [s]", "peak [MiB]"]
    print_table([*headings, "finite steps", "growth"], texts, left=2, failed=failed)
