"""``pliant bench methods``: every method on every task."""

from __future__ import annotations

from pliant.scripts.bench.options import Methods, Report


def compare(arguments: Methods) -> int:
    """Run the cells."""
    raise NotImplementedError


def report(arguments: Report) -> int:
    """Write the report."""
    raise NotImplementedError
