"""Flags that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pliant.scripts.errors import CommandError


@dataclass
class EnvironmentOptions:
    """How an environment is made."""

    resolution: Literal["small", "full"] = "small"
    """Size of the simulation: "small" for a CPU, "full" as in the paper that the task comes from."""
    precision: Literal["f32", "f64"] = "f32"
    """Floating-point type of the simulation."""
    device: Literal["auto", "cpu", "cuda", "vulkan", "metal"] = "auto"
    """Where the simulation runs."""
    hard_contact: bool = False
    """Contact acts only on touch, instead of fading in over a short distance."""
    memory: str = "2GiB"
    """Budget for the states that the reverse sweep keeps; the rest is recomputed."""
    arm: Literal["none", "panda", "iiwa"] = "none"
    """Robot arm that holds each end effector; actions are then joint velocities."""
    set: str = ""
    """The task's own numbers and words: NAME=VALUE,NAME=VALUE,... such as target_speed=0.1 (see its documentation)."""

    def keywords(self) -> dict[str, Any]:
        """Keyword arguments for ``gymnasium.make``."""
        return {
            "resolution": self.resolution,
            "precision": self.precision,
            "device": self.device,
            "soft_contact": not self.hard_contact,
            "memory": self.memory,
            "arm": self.arm,
            **task_options(self.set),
        }


def output_file(out: str, suffix: str) -> Path:
    """The path of the flag ``--out`` of a command that writes one file.

    Raises:
        CommandError: it has another suffix, or its folder does not exist.
    """
    path = Path(out)
    if path.suffix != suffix:
        raise CommandError(f"out={out!r} must end in {suffix}")
    if not path.parent.is_dir():
        raise CommandError(f"out={out!r} lies in a folder that does not exist")
    return path


def task_options(text: str) -> dict[str, Any]:
    """Keyword arguments of a task from the flag ``--set``: "NAME=VALUE,NAME=VALUE".

    Raises:
        CommandError: a part is not NAME=VALUE.
    """
    return dict(_task_option(part.strip()) for part in text.split(",") if part.strip())


def _task_option(text: str) -> tuple[str, Any]:
    """("target_speed", 0.1) of "target_speed=0.1"; what is no number stays a word."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise CommandError(f"set={text!r} is not NAME=VALUE, such as target_speed=0.1")
    try:
        return name, float(value)
    except ValueError:
        return name, value
