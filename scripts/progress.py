"""Progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SCORES = (("score", "score", ".3f"), ("best", "best_score", ".3f"))


@contextmanager
def iteration_progress(
    console: Any, iterations: int, *, label: str, shown: Sequence[tuple[str, str, str]] = SCORES
) -> Iterator[Callable[[dict[str, float]], None]]:
    """A bar over iterations; yields the function that takes a row of the history, in which "of" corrects the whole.

    Args:
        console: of rich.
        iterations: the whole.
        label: before the bar.
        shown: figures beside the bar, each as (its name, the row's key, format).
    """
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
        TextColumn(" ".join(f"{name} {{task.fields[{name}]}}" for name, _, _ in shown)),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        blank: dict[str, Any] = {name: "-" for name, _, _ in shown}
        task = progress.add_task(label, total=iterations, **blank)

        def show(row: dict[str, float]) -> None:
            figures: dict[str, Any] = {name: format(row[key], style) for name, key, style in shown}
            progress.update(task, completed=row["iteration"], total=row.get("of", iterations), **figures)

        yield show
