"""``pliant bench methods``: every method on every task; ``pliant bench report``: its tables and pictures again."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pliant.policies.files.checkpoints import load_json, save_json
from pliant.scripts.bench.cells import DONE, FAILED, Cell, cells_of
from pliant.scripts.bench.options import Methods, Report
from pliant.scripts.bench.runs import check_rl, has_ended, held, run
from pliant.scripts.bench.suites import Plan, plan_of
from pliant.scripts.bench.tuning import load_tuned
from pliant.scripts.errors import CommandError
from pliant.scripts.folders import make_folder

PLAN_FILE = "benchmark.json"
ASKED = ("suite", "tasks", "methods", "seeds", "budget_steps", "budget_seconds", "tuned")
"""Flags that say what is run."""


def compare(arguments: Methods) -> int:
    """Run the cells that have not ended, and write tables and report; 1 if any failed or was killed.

    Raises:
        CommandError: flags are wrong, or the folder holds a benchmark with another budget.
    """
    plan = plan_of(arguments)
    root = Path(arguments.out or f"runs/bench-{plan.suite or 'own'}")
    tuned = load_tuned(arguments.tuned) if arguments.tuned else {}
    cells = list(cells_of(plan, root, tuned, films=arguments.videos))
    if arguments.list:
        _print_cells(cells)
        return 0
    check_rl(plan)
    make_folder(root)
    with held(root):
        _keep_plan(root, arguments, plan, tuned)
        todo = [cell for cell in cells if not has_ended(cell, retry=arguments.retry)]
        killed = run(todo, len(cells), arguments)
        return _finish(root, plan, cells) or int(killed > 0)


def report(arguments: Report) -> int:
    """Write tables and report of what the cells of a folder have found so far.

    Raises:
        CommandError: it is not the folder of a benchmark.
    """
    root = Path(arguments.folder)
    if not (root / PLAN_FILE).exists():
        raise CommandError(f"{root} is not the folder of a benchmark: it has no {PLAN_FILE}")
    try:
        content = load_json(root / PLAN_FILE)
        asked, tuned = content["asked"], content.get("tuned", {})
        plan = plan_of(Methods(**{name: asked[name] for name in ASKED if name in asked}))
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{root / PLAN_FILE} describes no benchmark: {error!r}") from error
    return _finish(root, plan, list(cells_of(plan, root, tuned)))


def _keep_plan(root: Path, arguments: Methods, plan: Plan, tuned: Mapping[str, Any]) -> None:
    """Write what is run; a benchmark that is there may grow by tasks, methods and seeds, its budgets stay."""
    path = root / PLAN_FILE
    budget = plan.budget()
    if path.exists():
        content = load_json(path)
        before = content.get("budget", {})
        if set(before) != set(budget) or _differs(before, budget):
            raise CommandError(f"{root} holds a benchmark with the budget {before}, not {budget}; pass another --out")
        if content.get("tuned", {}) != tuned:
            raise CommandError(f"{root} holds a benchmark with other settings; pass its --tuned or another --out")
        if "steps" in before:
            budget = {"steps": before["steps"] | budget["steps"]}
    asked = {name: getattr(arguments, name) for name in ASKED}
    save_json(path, {"asked": asked, "budget": budget, "tuned": tuned})


def _differs(before: dict[str, Any], now: dict[str, Any]) -> bool:
    if "seconds" in now:
        return bool(before["seconds"] != now["seconds"])
    return any(before["steps"].get(task, steps) != steps for task, steps in now["steps"].items())


def _finish(root: Path, plan: Plan, cells: Sequence[Cell]) -> int:
    """Write tables and report, and say how it stands."""
    from pliant.scripts.bench.page import write_page
    from pliant.scripts.bench.plots import draw_curves, draw_profiles
    from pliant.scripts.bench.results import collect, write

    results = collect(plan, cells, _command(root))
    write(root, results)
    for track in results["leaderboards"]:
        for over in ("simulated_steps", "seconds"):
            draw_curves(root / f"curves_{track}_{over}.png", results, track, over)
    draw_profiles(root / "profiles.png", results)
    films = {cell.name: cell.folder / "video.mp4" for cell in cells}
    write_page(root / "report.html", results, videos={name: path for name, path in films.items() if path.exists()})
    _print_boards(results)
    statuses = [row["status"] for row in results["cells"]]
    left = len(cells) - statuses.count(DONE) - statuses.count(FAILED)
    print(f"{statuses.count(DONE)} of {len(cells)} runs done, {statuses.count(FAILED)} failed; {root / 'report.html'}")
    for cell, row in zip(cells, results["cells"], strict=True):
        if row["status"] == FAILED:
            print(f"failed: {cell.name}: {row['message']}", file=sys.stderr)
    if left:
        print(f"{left} runs are left: the same command goes on with them", file=sys.stderr)
    return 1 if FAILED in statuses else 0


def _command(root: Path) -> str:
    """The command that makes these results."""
    asked = load_json(root / PLAN_FILE)["asked"]
    defaults = {field.name: field.default for field in dataclasses.fields(Methods)}
    flags = [f"--{name.replace('_', '-')} {value}" for name, value in asked.items() if value != defaults[name]]
    return " ".join(["pliant bench methods", *flags])


def _print_cells(cells: Sequence[Cell]) -> None:
    from pliant.scripts.tables import print_table

    rows = [[cell.name, cell.method.track, cell.status(), shlex.join(cell.words())] for cell in cells]
    print_table(["run", "track", "status", "command"], rows, left=4)
    steps = sum(cell.task.steps for cell in cells)
    print(f"{len(cells)} runs, {steps:,} simulated steps")


def _print_boards(results: dict[str, Any]) -> None:
    from pliant.scripts.tables import print_table

    titles = {"plan": "plans of one episode", "policy": "policies on unseen episodes"}
    for track, board in results["leaderboards"].items():
        print(titles[track])
        headings = ["method", "IQM of scores", "95 %", "median", "mean", "solved", "runs", "failed"]
        print_table(
            headings,
            [
                [
                    row["method"],
                    f"{row['iqm']:.3f}",
                    f"{row['low']:.3f} .. {row['high']:.3f}",
                    f"{row['median']:.3f}",
                    f"{row['mean']:.3f}",
                    str(row["tasks_solved"]),
                    str(row["cells"]),
                    str(row["failed"]),
                ]
                for row in board
            ],
            left=1,
        )
