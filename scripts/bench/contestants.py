"""Methods that a benchmark compares: those of ``pliant optimize`` and those of ``pliant train``, by name.

A method that is registered with one of these commands is a contestant; nothing is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pliant.policies.methods import METHODS
from pliant.policies.trajectory.settings import SamplingSettings
from pliant.scripts.errors import CommandError
from pliant.scripts.optimize import SETTINGS

Track = Literal["plan", "policy"]
"""A plan is one sequence of actions for the episode of its seed, a policy acts on episodes that it has not seen."""
EVALUATIONS = 5
"""Of a policy while it is trained; each plays ``EPISODES``."""
EPISODES = 8
UNBOUNDED = 10**9
"""Iterations of a method whose budget is the only bound."""


@dataclass(frozen=True)
class Contestant:
    """One method.

    Attributes:
        name: as its command takes it.
        track: what it finds.
        about: what it is, in a few words.
        differentiable: whether it uses gradients of the physics.
        bounded: whether its schedule wants to know how many iterations there will be.
    """

    name: str
    track: Track
    about: str
    differentiable: bool
    bounded: bool = False

    def words(
        self,
        env_id: str,
        seed: int,
        *,
        episode: int,
        steps: int,
        seconds: float,
        settings: Mapping[str, Any],
        film: bool,
    ) -> list[str]:
        """The command of one run, without the folder.

        Args:
            env_id: the environment.
            seed: of the run.
            episode: steps of an episode.
            steps: budget of simulated steps; 0 is none.
            seconds: budget of time [s]; 0 is none.
            settings: of the method, in place of its own.
            film: whether a video is written.
        """
        if self.track == "policy":
            words: list[Any] = ["train", env_id, "--algo", self.name, "--seed", seed, "--no-tensorboard"]
            words += ["--steps", steps] if steps else ["--minutes", seconds / 60]
            words += ["--evaluate-every", -(-steps // EVALUATIONS)] if steps else []
            words += ["--evaluation-episodes", EPISODES]
            words += ["--settings", ",".join(f"{name}={value}" for name, value in settings.items())] if settings else []
        else:
            words = ["optimize", env_id, "--method", self.name, "--seed", seed, "--best-by", "score"]
            words += ["--max-simulated-steps", steps] if steps else ["--max-seconds", seconds]
            if not self.bounded:
                words += ["--iterations", UNBOUNDED, "--parametrisation", "knots"]
            elif steps:
                words += ["--iterations", max(1, steps // episode)]
            words += [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
        words += [] if film else ["--no-video"]
        return [str(word) for word in (*words, "--resume")]


def contestants() -> dict[str, Contestant]:
    """All methods by name, plans first.

    Black boxes search knots of a spline, the fewer parameters that suit them; gradients the action of every step. The
    step size of a gradient falls over the iterations that its budget allows.
    """
    found = {}
    for name, settings in SETTINGS.items():
        samples = issubclass(settings, SamplingSettings)
        about = (settings.__doc__ or "").split("\n")[0].split(";")[0].rstrip(".")
        found[name] = Contestant(name, "plan", about, differentiable=not samples, bounded=not samples)
    for name, method in METHODS.items():
        found[name] = Contestant(name, "policy", method.about, method.differentiable)
    return found


def find_contestant(name: str) -> Contestant:
    """The contestant of a name.

    Raises:
        CommandError: there is none; the message names those that there are.
    """
    known = contestants()
    if name not in known:
        raise CommandError(f"methods={name!r} is unknown; allowed: {', '.join(known)}")
    return known[name]
