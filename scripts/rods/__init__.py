"""``pliant rods``: identify wires from recordings of them, score predictions, watch both."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass
class Fit:
    """Identify the parameters of a wire from its training recordings, by the gradient of the prediction error.

    Examples:
      pliant rods fit dlo1 --data ~/DEFORM --out runs/dlo1
      pliant rods fit dlo1 --data ~/DEFORM --out runs/dlo1 --iterations 60 --resume
    """

    object: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="WIRE")]
    """Wire: dlo1 to dlo5, bdlo1 to bdlo5, bdlo1_mid or bdlo3_mid."""
    data: str = ""
    """Folder of the recordings; empty takes the variable PLIANT_DATA."""
    out: str = ""
    """Folder to write parameters.json and the course of the fit to; empty makes runs/rods-OBJECT."""
    iterations: int = 30
    """Steps of the optimiser."""
    start: str = ""
    """Parameters to begin with: a JSON file, or an object whose shipped ones are taken; empty guesses them."""
    files: int = 0
    """Training recordings that are used, spread evenly over the split; 0 takes all."""
    resume: bool = False
    """Go on with the fit in the folder, up to a larger number of iterations or after an interruption."""
    overwrite: bool = False
    """Replace the fit that the folder holds."""


@dataclass
class Evaluate:
    """Predict every evaluation recording of a wire open-loop and compare with what was recorded.

    Examples:
      pliant rods evaluate dlo1 --data ~/DEFORM
      pliant rods evaluate bdlo1 --parameters runs/bdlo1/parameters.json --breakdown
      pliant rods evaluate dlo1 --json > dlo1.json
    """

    object: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="WIRE")]
    """Wire: dlo1 to dlo5, bdlo1 to bdlo5, bdlo1_mid or bdlo3_mid."""
    data: str = ""
    """Folder of the recordings; empty takes the variable PLIANT_DATA."""
    parameters: str = ""
    """Parameters: a JSON file, or an object whose shipped ones are taken; empty takes the object's own."""
    precision: Literal["f32", "f64"] = "f32"
    """Floating-point type of the simulation."""
    breakdown: bool = False
    """Show the error by vertex, by time and by recording too."""
    json: bool = False
    """Print a JSON object instead of tables."""


@dataclass
class View:
    """Write a video of a recording and its prediction, side by side.

    Example:
      pliant rods view ~/DEFORM/data_set/DLO1/eval/61.pkl --out dlo1-61.mp4
    """

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """Recording: a file, or its place in the data folder, for example dlo1/eval/61.npz."""
    data: str = ""
    """Folder of the recordings; empty takes the variable PLIANT_DATA."""
    object: str = ""
    """Wire, where file and folder do not tell."""
    parameters: str = ""
    """Parameters: a JSON file, or an object whose shipped ones are taken; empty takes the object's own."""
    precision: Literal["f32", "f64"] = "f32"
    """Floating-point type of the simulation."""
    out: str = "rods.mp4"
    """Video to write (.mp4); an earlier one is replaced."""


def _described(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")  # tyro's own reading of it drops the examples


@dataclass
class Arguments:
    """Identify wires from recordings of real ones, score predictions of these, and watch both.

    The recordings are not part of the package: download them from github.com/roahmlab/DEFORM (dlo1 to dlo5) and
    github.com/roahmlab/DEFT (bdlo1 to bdlo5) and pass the folder as --data or in the variable PLIANT_DATA.

    Examples:
      pliant rods evaluate dlo1 --data ~/DEFORM
      pliant rods fit dlo1 --data ~/DEFORM --out runs/dlo1
      pliant rods view ~/DEFORM/data_set/DLO1/eval/61.pkl --out dlo1-61.mp4
    """

    action: Annotated[
        Annotated[Fit, tyro.conf.subcommand("fit", description=_described(Fit))]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate", description=_described(Evaluate))]
        | Annotated[View, tyro.conf.subcommand("view", description=_described(View))],
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
    from pliant.scripts.rods.view import view

    return view(action)
