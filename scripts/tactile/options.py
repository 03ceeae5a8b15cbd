"""What the subcommands of `pliant tactile` are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass
class Calibrate:
    """Fit the optics of a tactile sensor to frames of it with a ball pressed into its gel.

    Examples:
      pliant tactile calibrate my_frames --out my_sensor.npz
      pliant tactile calibrate dataPack.npz --out gelsight.npz --licence MIT
      pliant tactile calibrate my_frames --out my_sensor.npz --place affine --steps 1000
    """

    frames: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FRAMES")]
    """Folder with presses.json and pictures, or an .npz file of frames; docs/tactile_optics.md says what they hold."""
    out: str = "optics.npz"
    """Calibration to write (.npz); an earlier one is replaced."""
    model: Literal["network", "table"] = "network"
    """A small network for each pixel, or a lighting table, which needs more frames."""
    place: Literal["auto", "network", "affine", "quadratic"] = "auto"
    """How the network's light changes over the picture; auto: a network for 30 frames or more with a background, else
    affine."""
    steps: int = 0
    """Steps of the network's fit; 0 takes the usual number."""
    folds: int = 4
    """Parts that the frames are divided into; each is predicted from the others, for the error that the file states.
    0 leaves that out."""
    ball_radius: float = 0.0
    """Radius of the ball [m]; 0 takes what the frames say."""
    pixel_pitch: float = 0.0
    """Length of the gel that a pixel sees [m]; 0 takes what the frames say."""
    source: str = ""
    """Where the frames come from, for the file; empty takes what the frames say, or their name."""
    licence: str = "not stated"
    """Licence of the frames, for the file."""
    seed: int = 0
    """Seed of the network's first weights and of its batches."""


@dataclass
class Evaluate:
    """Say how well models of a sensor's optics predict frames that they were not fitted to.

    Examples:
      pliant tactile evaluate dataPack.npz
      pliant tactile evaluate presses.npz --folds 5 --split quadrants
      pliant tactile evaluate dataPack.npz --calibration gelsight
    """

    frames: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FRAMES")]
    """Folder with presses.json and pictures, or an .npz file of frames."""
    calibration: str = ""
    """Predict all frames with this calibration, a file or a shipped one (gelsight, digit), instead of fitting any."""
    folds: int = 4
    """Frames are left out by their index modulo this."""
    split: Literal["interleaved", "quadrants"] = "interleaved"
    """Frames are left out by index, or by the quarter of the pressed region that they lie in: extrapolation."""
    steps: int = 0
    """Steps of the networks' fits; 0 takes the usual number."""
    ball_radius: float = 0.0
    """Radius of the ball [m]; 0 takes what the frames say."""
    pixel_pitch: float = 0.0
    """Length of the gel that a pixel sees [m]; 0 takes what the frames say."""
    seed: int = 0
    """Seed of the networks."""
    picture: str = ""
    """Picture to write (.png): some frames, left out of the fits, beside their predictions."""
    json: bool = False
    """Print a JSON object instead of a table."""


@dataclass
class Speed:
    """Measure images a second, in turns with the package taxim on torch where that is installed.

    Examples:
      pliant tactile speed
      pliant tactile speed --contact 1.0 --json
    """

    calibration: str = "gelsight"
    """Calibration: a file or a shipped one."""
    contact: float = 0.1
    """Share of the picture that is in contact."""
    repeats: int = 30
    """Images of each kind, in turns; the median counts."""
    json: bool = False
    """Print a JSON object instead of a table."""


@dataclass
class Material:
    """Find a gel's modulus, Poisson's ratio, friction and contact stiffness from presses of a ball, by the gradient.

    Examples:
      pliant tactile material presses.npz --gel dome --nodes 400 --out my_gel.json
    """

    presses: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PRESSES")]
    """An .npz file of presses; docs/tactile.md says what it holds."""
    gel: Literal["dome", "pad", "gelsight_mini", "digit"] = "dome"
    """The gel's form."""
    nodes: int = 400
    """About how many nodes it has."""
    out: str = "gel.json"
    """File to write (.json); an earlier one is replaced."""
    evaluations: int = 120
    """Gradients taken."""
    seed: int = 0
    """Of the values that the fit begins from."""


@dataclass
class View:
    """Draw the scene of a tactile task and what its sensors see, markers and image, side by side.

    Examples:
      pliant tactile view ObjectRepose --out sensors.png
      pliant tactile view ObjectRepose --actions runs/mine/actions.npz
    """

    env: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")]
    """A tactile environment, with or without "pliant/" and "-v0"."""
    out: str = "tactile.png"
    """Picture to write (.png)."""
    actions: str = ""
    """The actions.npz of a run; empty: the fingertips press on by themselves, an action of 0.3 along each axis."""
    steps: int = 10
    """Steps of the episode before the picture."""
    seed: int = 0
    """Of the episode."""
