"""What `pliant train` is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from pliant.policies.methods import METHODS
from pliant.scripts.flags import OneOf
from pliant.scripts.options import EnvironmentOptions


@dataclass
class RunOptions:
    """What is trained, how long, and where the run is written."""

    environment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")] = tyro.MISSING
    """Environment, for example FingerReach or pliant/FingerReach-v0 (see `pliant list`)."""
    algo: Annotated[str, OneOf(METHODS)] = "shac"
    """Method of training."""
    steps: int = 0
    """Budget of simulated environment steps, all worlds together; 0 is none."""
    minutes: float = 0.0
    """Budget of training time; 0 is none. With --steps, whichever ends first."""
    num_envs: int = 0
    """Worlds that are simulated at a time; 0 takes the number for this kind of task."""
    seed: int = 0
    """Seed of networks, noise and training episodes."""
    settings: str = ""
    """Settings of the method, NAME=VALUE,NAME=VALUE,...; a wrong name lists them all. They replace those for this kind
    of task (policies/hyperparameters)."""
    out: str = ""
    """Folder of the run; empty makes runs/ENVIRONMENT-ALGO-seedSEED."""
    resume: bool = False
    """Go on with the run in the folder, after an interruption or up to a larger budget."""
    overwrite: bool = False
    """Replace the run that the folder holds."""
    evaluate_every: int = 0
    """Simulated steps between evaluations without noise; 0 makes ten in the whole."""
    evaluation_episodes: int = 16
    """Episodes of an evaluation, always the same ones; training never plays them."""
    checkpoint_seconds: float = 30.0
    """Seconds between checkpoints, which --resume goes on from."""
    video: bool = True
    """Write a video of an episode with the best policy."""
    tensorboard: bool = True
    """Write logs for TensorBoard."""


@dataclass
class Arguments(EnvironmentOptions, RunOptions):
    """Train a closed-loop policy, through the physics or by reinforcement learning.

    Examples:
      pliant train FingerReach --algo shac --minutes 10 --out runs/finger
      pliant train FingerReach --algo ppo --steps 200000 --num-envs 16
      pliant train CableShape --algo shac --steps 100000 --settings window=20,discount=0.98
      pliant train FingerReach --algo shac --minutes 20 --out runs/finger --resume
      pliant replay runs/finger
    """
