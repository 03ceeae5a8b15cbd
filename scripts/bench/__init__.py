"""``pliant bench``: how fast the simulators are, and how the methods compare."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import tyro

from pliant.scripts.bench.options import Gradients, Methods, Report, Speed, Tune


def _described(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")  # tyro's own reading of it drops the examples


@dataclass
class Arguments:
    """Measure: the speed of the simulators, and what methods reach on the tasks.

    Examples:
      pliant bench speed
      pliant bench methods --suite smoke --out runs/smoke
      pliant bench gradients --tasks FingerReach,Move
      pliant bench tune --suite smoke --trials 8 --out runs/tune
      pliant bench report runs/smoke
    """

    what: Annotated[
        Annotated[Speed, tyro.conf.subcommand("speed", description=_described(Speed))]
        | Annotated[Methods, tyro.conf.subcommand("methods", description=_described(Methods))]
        | Annotated[Tune, tyro.conf.subcommand("tune", description=_described(Tune))]
        | Annotated[Gradients, tyro.conf.subcommand("gradients", description=_described(Gradients))]
        | Annotated[Report, tyro.conf.subcommand("report", description=_described(Report))],
        tyro.conf.arg(name=""),
    ]


def run(arguments: Arguments) -> int:
    """Run the chosen subcommand."""
    what = arguments.what
    if isinstance(what, Speed):
        from pliant.scripts.bench.speed import measure

        return measure(what)
    if isinstance(what, Methods):
        from pliant.scripts.bench.methods import compare

        return compare(what)
    if isinstance(what, Gradients):
        from pliant.scripts.bench.gradients import gradients

        return gradients(what)
    if isinstance(what, Tune):
        from pliant.scripts.bench.tuning import tune

        return tune(what)
    from pliant.scripts.bench.methods import report

    return report(what)
