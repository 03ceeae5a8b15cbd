"""What the subcommands of `pliant rods` are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass
class Fit:
    """Identify the parameters of a wire from its training recordings, by the gradient of the prediction error.

    Examples:
      pliant rods fit dlo1 --data ~/DEFORM --out runs/dlo1
      pliant rods fit dlo1 --data ~/DEFORM --out runs/dlo1 --iterations 60 --resume
      pliant rods fit recordings/harness --out runs/harness
    """

    wire: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH_OR_NAME")]
    """Wire: a folder with recordings in train and eval, a file, or one of the known wires: dlo1 to dlo5, bdlo1 to
    bdlo5, bdlo1_mid, bdlo3_mid."""
    data: str = ""
    """Folder of the recordings; empty takes the variable PLIANT_DATA."""
    out: str = ""
    """Folder to write parameters.json and the course of the fit to; empty makes runs/rods-WIRE."""
    iterations: int = 30
    """Steps of the optimiser."""
    start: str = ""
    """Parameters to begin with: a JSON file, or a known wire whose shipped ones are taken; empty guesses them."""
    files: int = 0
    """Training recordings that are used, spread evenly over the split; 0 takes all."""
    grip: Literal["direction", "pin"] = "direction"
    """What a gripper with one marker holds: the wire's place and direction there, or its place."""
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
      pliant rods evaluate recordings/harness --parameters runs/harness/parameters.json
    """

    wire: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH_OR_NAME")]
    """Wire: a folder with recordings in train and eval, a file, or one of the known wires: dlo1 to dlo5, bdlo1 to
    bdlo5, bdlo1_mid, bdlo3_mid."""
    data: str = ""
    """Folder of the recordings; empty takes the variable PLIANT_DATA."""
    parameters: str = ""
    """Parameters: a JSON file, or a known wire whose shipped ones are taken; empty takes the wire's own."""
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

    wire: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH_OR_NAME")]
    """Recording: a file, or its place in the data folder, for example dlo1/eval/61.npz; or a wire, see `evaluate`."""
    recording: str = ""
    """Of a wire, the name of the recording, without suffix; empty takes the first one for evaluation."""
    data: str = ""
    """Folder of the recordings; empty takes the variable PLIANT_DATA."""
    object: str = ""
    """Wire that a pickle shows, where its folder does not tell."""
    parameters: str = ""
    """Parameters: a JSON file, or a known wire whose shipped ones are taken; empty takes the wire's own."""
    precision: Literal["f32", "f64"] = "f32"
    """Floating-point type of the simulation."""
    out: str = "rods.mp4"
    """Video to write (.mp4); an earlier one is replaced."""


@dataclass
class Check:
    """Read the recordings of a wire and say what they hold: frames, lengths of edges, lost markers, what is refused.

    Examples:
      pliant rods check recordings/harness
      pliant rods check recordings/harness/train/one.npz
    """

    wire: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH_OR_NAME")]
    """Wire: a folder with recordings in train and eval, a file, or one of the known wires."""
    data: str = ""
    """Folder of the recordings; empty takes the variable PLIANT_DATA."""
