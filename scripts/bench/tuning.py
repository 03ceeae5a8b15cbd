"""``pliant bench tune``: as many trials of random search for each method, on seeds that the comparison never uses.

tuned.json    by task and method: the settings of the best trial, for ``pliant bench methods --tuned``
trials.csv    every trial: its settings and its scores
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pliant.policies.files.checkpoints import load_json, replacing, save_json
from pliant.scripts.bench.cells import DONE, FAILED, PENDING, Cell
from pliant.scripts.bench.options import Methods, Tune
from pliant.scripts.bench.ranges import RANGES, draw
from pliant.scripts.bench.runs import check_rl, has_ended, held, run
from pliant.scripts.bench.suites import Plan, plan_of
from pliant.scripts.errors import CommandError
from pliant.scripts.folders import make_folder

FIRST_SEED = 100_000
"""Seeds from here on are for tuning alone."""
TUNED_FILE = "tuned.json"


def tune(arguments: Tune) -> int:
    """Run the trials that have not ended, and write the best settings; 1 if any failed or was killed.

    Raises:
        CommandError: flags are wrong, or the folder holds trials with another budget.
    """
    if not 1 <= arguments.trials <= 10_000:
        raise CommandError(f"trials={arguments.trials} must be at least 1, at most 10000")
    asked = Methods(
        suite=arguments.suite,
        tasks=arguments.tasks,
        methods=arguments.methods,
        seeds=arguments.seeds,
        budget_steps=arguments.budget_steps,
        workers=arguments.workers,
        cluster=arguments.cluster,
        limit_minutes=arguments.limit_minutes,
        retry=arguments.retry,
    )
    plan = plan_of(asked)
    root = Path(arguments.out or f"runs/tune-{plan.suite or 'own'}")
    cells = list(trials_of(plan, arguments.trials, root))
    check_rl(plan)
    make_folder(root)
    with held(root):
        _check_budget(root, plan)
        killed = run([cell for cell in cells if not has_ended(cell, retry=arguments.retry)], len(cells), asked)
        rows = [_row(cell) for cell in cells]
        _write_trials(root / "trials.csv", rows)
        save_json(root / TUNED_FILE, best_of(rows))
    left = sum(row["status"] == PENDING for row in rows)
    unsearched = [method.name for method in plan.methods if method.name not in RANGES]
    print(f"{len(rows) - left} of {len(rows)} trials have ended; {root / TUNED_FILE}")
    if unsearched:
        print(f"no range is known for {', '.join(unsearched)}: these keep their defaults")
    return 1 if killed or any(row["status"] == FAILED for row in rows) else 0


def trials_of(plan: Plan, trials: int, root: Path) -> Sequence[Cell]:
    """All runs: every trial of every method on every task before the next trial of any."""
    return [
        Cell(task, method, FIRST_SEED + seed, plan.seconds, root, draw(method.name, trial), f"trial{trial}")
        for trial in range(trials)
        for task in plan.tasks
        for method in plan.methods
        if trial == 0 or method.name in RANGES
        for seed in range(plan.seeds)
    ]


def best_of(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """By task and method: the settings of the trial with the best mean score, of those that have all ended.

    A run that failed has found nothing: its score is 0. Of equals the first counts.
    """
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["method"]), {}).setdefault(row["trial"], []).append(row)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (task, method), trials in groups.items():
        whole = [runs for runs in trials.values() if all(run["status"] != PENDING for run in runs)]
        if whole:
            best = max(whole, key=lambda runs: sum(run["score"] or 0.0 for run in runs))
            found.setdefault(task, {})[method] = best[0]["settings"]
    return found


def load_tuned(path: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Settings by task and method from a file of `tune`.

    Raises:
        CommandError: it is missing, or something else.
    """
    try:
        content = load_json(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"tuned={path!r} cannot be read: {error}") from error
    for methods in content.values():
        if not isinstance(methods, dict) or not all(isinstance(settings, dict) for settings in methods.values()):
            raise CommandError(f"tuned={path!r} does not hold settings by task and method")
    return content


def _check_budget(root: Path, plan: Plan) -> None:
    path, budget = root / "tuning.json", plan.budget()
    before = load_json(path) if path.exists() else budget
    if before != budget:
        raise CommandError(f"{root} holds trials with the budget {before}, not {budget}; pass another --out")
    save_json(path, budget)


def _row(cell: Cell) -> dict[str, Any]:
    status = cell.status()
    return {
        "task": cell.task.name,
        "method": cell.method.name,
        "trial": cell.trial,
        "seed": cell.seed,
        "status": status,
        "score": cell.run_of()["summary"]["score"] if status == DONE else None,
        "settings": dict(cell.settings),
    }


def _write_trials(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            row | {"settings": json.dumps(row["settings"]), "score": "" if row["score"] is None else row["score"]}
            for row in rows
        )
