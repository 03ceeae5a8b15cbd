"""Tables in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

PIPED_WIDTH = 120  # columns where the output is no terminal, which rich would take for 80


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int, failed: Sequence[int] = ()
) -> None:
    """Print rows of texts under headings, the first ``left`` columns aligned left, the rows ``failed`` in red."""
    from rich.console import Console
    from rich.markup import escape  # brackets are units here
    from rich.table import Table

    table = Table()
    for column, heading in enumerate(headings):
        table.add_column(escape(heading), justify="left" if column < left else "right", overflow="fold")
    for index, row in enumerate(rows):
        table.add_row(*map(escape, row), style="bold red" if index in failed else None)
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
