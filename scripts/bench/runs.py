"""Running the cells of a folder: which are left, where they run, and the bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pliant.scripts.bench.cells import DONE, FAILED, Cell
from pliant.scripts.bench.options import Methods
from pliant.scripts.bench.suites import Plan
from pliant.scripts.errors import CommandError
from pliant.scripts.locks import FolderLock


def check_rl(plan: Plan) -> None:
    """Raise `CommandError` if a method needs a library that is not installed."""
    if any(method.track == "policy" for method in plan.methods):
        try:
            import torch  # noqa: F401  the extra ``rl``
        except ImportError as error:
            raise CommandError("methods that train policies need torch: pip install 'pliant[rl]'") from error


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Keep other processes from the folder in this block.

    Raises:
        CommandError: another process has it.
    """
    try:
        lock = FolderLock(root)
    except BlockingIOError:
        raise CommandError(f"another process is running the benchmark in {root}") from None
    except OSError:
        yield  # a file system without locks
        return
    with lock:
        yield


def has_ended(cell: Cell, *, retry: bool) -> bool:
    """Whether a cell is not to be run: it is done, or it failed and is not to be tried again."""
    return cell.status() == DONE or (cell.status() == FAILED and not retry)


def run(todo: Sequence[Cell], total: int, arguments: Methods) -> int:
    """Run cells here or on a cluster, with a bar over the ``total`` of the benchmark; how many were killed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pliant.scripts.bench import pool
    from pliant.scripts.interrupts import interrupts
    from pliant.sims.runtime import thread_count

    columns = (BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    earlier = total - len(todo)
    with interrupts(), Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=total, completed=earlier)

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

            return run_on_ray(todo, **common)
        return pool.run_cells(todo, workers=arguments.workers or thread_count(), **common)
