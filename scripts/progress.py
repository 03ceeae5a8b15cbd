"""Progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def iteration_progress(console: Any, iterations: int, *, label: str) -> Iterator[Callable[[dict[str, float]], None]]:
    """A bar over iterations; yields the function that takes a row of the history."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("score {task.fields[score]} best {task.fields[best]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        task = progress.add_task(label, total=iterations, score="-", best="-")

        def show(row: dict[str, float]) -> None:
            progress.update(
                task,
                completed=row["iteration"],
                score=f"{row['score']:.3f}",
                best=f"{row['best_score']:.3f}",
            )

        yield show
