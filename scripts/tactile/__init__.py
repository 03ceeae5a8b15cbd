"""``pliant tactile``: calibrate tactile sensors, say how well that predicts them, see what they see."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import tyro

from pliant.scripts.tactile.options import Calibrate, Evaluate, Material, Speed, View


def _described(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")  # tyro's own reading of it drops the examples


@dataclass
class Arguments:
    """Calibrate tactile sensors: their optics from frames, their gel from presses; see what they see.

    Examples:
      pliant tactile calibrate my_frames --out my_sensor.npz
      pliant tactile evaluate my_frames
      pliant tactile material presses.npz --gel dome --out my_gel.json
      pliant tactile view ObjectRepose
    """

    action: Annotated[
        Annotated[Calibrate, tyro.conf.subcommand("calibrate", description=_described(Calibrate))]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate", description=_described(Evaluate))]
        | Annotated[Material, tyro.conf.subcommand("material", description=_described(Material))]
        | Annotated[View, tyro.conf.subcommand("view", description=_described(View))]
        | Annotated[Speed, tyro.conf.subcommand("speed", description=_described(Speed))],
        tyro.conf.arg(name=""),
    ]


def run(arguments: Arguments) -> int:
    """Run the chosen subcommand."""
    action = arguments.action
    if isinstance(action, Calibrate):
        from pliant.scripts.tactile.calibrate import calibrate

        return calibrate(action)
    if isinstance(action, Evaluate):
        from pliant.scripts.tactile.evaluate import evaluate

        return evaluate(action)
    if isinstance(action, Material):
        from pliant.scripts.tactile.material import material

        return material(action)
    if isinstance(action, View):
        from pliant.scripts.tactile.view import view

        return view(action)
    from pliant.scripts.tactile.speed import speed

    return speed(action)
