"""``pliant rods``: check recordings of wires, identify these, score predictions, watch both."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import tyro

from pliant.scripts.rods.options import Check, Evaluate, Fit, View


def _described(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")  # tyro's own reading of it drops the examples


@dataclass
class Arguments:
    """Identify wires from recordings of real ones, score predictions of these, and watch both.

    The recordings are not part of the package: download them from github.com/roahmlab/DEFORM (dlo1 to dlo5) and
    github.com/roahmlab/DEFT (bdlo1 to bdlo5) and pass the folder as --data or in the variable PLIANT_DATA.
    Those of a wire of your own are .npz files; docs/wires.md says what they hold.

    Examples:
      pliant rods evaluate dlo1 --data ~/DEFORM
      pliant rods fit dlo1 --data ~/DEFORM --out runs/dlo1
      pliant rods view ~/DEFORM/data_set/DLO1/eval/61.pkl --out dlo1-61.mp4
    """

    action: Annotated[
        Annotated[Fit, tyro.conf.subcommand("fit", description=_described(Fit))]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate", description=_described(Evaluate))]
        | Annotated[View, tyro.conf.subcommand("view", description=_described(View))]
        | Annotated[Check, tyro.conf.subcommand("check", description=_described(Check))],
        tyro.conf.arg(name=""),
    ]


def run(arguments: Arguments) -> int:
    """Run the chosen subcommand."""
    action = arguments.action
    if isinstance(action, Fit):
        from pliant.scripts.rods.fit import fit

        return fit(action)
    if isinstance(action, Evaluate):
        from pliant.scripts.rods.evaluate import evaluate

        return evaluate(action)
    if isinstance(action, Check):
        from pliant.scripts.rods.check import check

        return check(action)
    from pliant.scripts.rods.view import view

    return view(action)
