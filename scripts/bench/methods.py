"""``pliant bench methods``: every method on every task; ``pliant bench report``: its tables and pictures again."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pliant.policies.files.checkpoints import load_json, save_json
from pliant.scripts.bench.cells import DONE, FAILED, Cell, cells_of
from pliant.scripts.bench.options import Methods, Report
from pliant.scripts.bench.suites import Plan, plan_of
from pliant.scripts.errors import CommandError
from pliant.scripts.folders import make_folder
from pliant.scripts.locks import FolderLock

PLAN_FILE = "benchmark.json"
ASKED = ("suite", "tasks", "methods", "seeds", "budget_steps", "budget_seconds")
"""Flags that say what is run."""


def compare(arguments: Methods) -> int:
    """Run the cells that have not ended, and write tables and report; 1 if any failed.

    Raises:
        CommandError: flags are wrong, or the folder holds a benchmark with another budget.
    """
    plan = plan_of(arguments)
    root = Path(arguments.out or f"runs/bench-{plan.suite or 'own'}")
    cells = list(cells_of(plan, root))
    if arguments.list:
        _print_cells(cells)
        return 0
    _check_rl(plan)
    make_folder(root)
    with _held(root):
        _keep_plan(root, arguments, plan)
        todo = [cell for cell in cells if not _has_ended(cell, retry=arguments.retry)]
        _run(todo, cells, arguments)
        return _finish(root, plan, cells)


def report(arguments: Report) -> int:
    """Write tables and report of what the cells of a folder have found so far.

    Raises:
        CommandError: it is not the folder of a benchmark.
    """
    root = Path(arguments.folder)
    if not (root / PLAN_FILE).exists():
        raise CommandError(f"{root} is not the folder of a benchmark: it has no {PLAN_FILE}")
    try:
        asked = load_json(root / PLAN_FILE)["asked"]
        plan = plan_of(Methods(**{name: asked[name] for name in ASKED}))
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{root / PLAN_FILE} describes no benchmark: {error!r}") from error
    return _finish(root, plan, list(cells_of(plan, root)))


def _check_rl(plan: Plan) -> None:
    if any(method.track == "policy" for method in plan.methods):
        try:
            import torch  # noqa: F401  the extra ``rl``
        except ImportError as error:
            raise CommandError("methods that train policies need torch: pip install 'pliant[rl]'") from error


@contextmanager
def _held(root: Path) -> Iterator[None]:
    """Keep other processes from a benchmark's folder."""
    try:
        lock = FolderLock(root)
    except BlockingIOError:
        raise CommandError(f"another process is running the benchmark in {root}") from None
    except OSError:
        yield  # a file system without locks
        return
    with lock:
        yield


def _keep_plan(root: Path, arguments: Methods, plan: Plan) -> None:
    """Write what is run; a benchmark that is there may grow by tasks, methods and seeds, its budgets stay."""
    path = root / PLAN_FILE
    budget = plan.budget()
    if path.exists():
        before = load_json(path).get("budget", {})
        if set(before) != set(budget) or _differs(before, budget):
            raise CommandError(f"{root} holds a benchmark with the budget {before}, not {budget}; pass another --out")
        if "steps" in before:
            budget = {"steps": before["steps"] | budget["steps"]}
    asked = {name: getattr(arguments, name) for name in ASKED}
    save_json(path, {"asked": asked, "budget": budget})


def _differs(before: dict[str, Any], now: dict[str, Any]) -> bool:
    if "seconds" in now:
        return bool(before["seconds"] != now["seconds"])
    return any(before["steps"].get(task, steps) != steps for task, steps in now["steps"].items())


def _has_ended(cell: Cell, *, retry: bool) -> bool:
    return cell.status() == DONE or (cell.status() == FAILED and not retry)


def _run(todo: Sequence[Cell], cells: Sequence[Cell], arguments: Methods) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pliant.scripts.bench import pool
    from pliant.scripts.interrupts import interrupts
    from pliant.sims.runtime import thread_count

    columns = (BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    earlier = len(cells) - len(todo)
    with interrupts(), Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(cells), completed=earlier)

        def show(running: Sequence[str], ended: int, failed: int) -> None:
            words = " ".join(running) + (f"  {failed} failed" if failed else "")
            progress.update(bar, completed=earlier + ended, description=words)

        common: dict[str, Any] = {
            "limit_seconds": 60 * arguments.limit_minutes,
            "program": pool.PROGRAM,
            "on_change": show,
        }
        if arguments.cluster == "ray":
            from pliant.scripts.bench.cluster import run_on_ray

            run_on_ray(todo, **common)
        else:
            pool.run_cells(todo, workers=arguments.workers or thread_count(), **common)


def _finish(root: Path, plan: Plan, cells: Sequence[Cell]) -> int:
    """Write tables and report, and say how it stands."""
    from pliant.scripts.bench.page import write_page
    from pliant.scripts.bench.results import collect, write

    results = collect(plan, cells, _command(root))
    write(root, results)
    write_page(root / "report.html", results)
    _print_boards(results)
    statuses = [cell.status() for cell in cells]
    left = len(cells) - statuses.count(DONE) - statuses.count(FAILED)
    print(f"{statuses.count(DONE)} of {len(cells)} runs done, {statuses.count(FAILED)} failed; {root / 'report.html'}")
    for cell in cells:
        if cell.status() == FAILED:
            print(f"failed: {cell.name}: {cell.message()}", file=sys.stderr)
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
