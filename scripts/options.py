"""Flags that several commands share."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pliant.scripts.errors import CommandError


def reserved() -> frozenset[str]:
    """Keyword arguments of environments and of Gymnasium that are no numbers or words of a task.

    The commands give them, some of them from flags; neither ``--set`` nor a file does.
    """
    from pliant.envs.options import OPTION_NAMES  # with Gymnasium: help does without

    own = ("id", "task", "config", "num_envs", "autoreset_mode")
    of_gymnasium = ("vectorization_mode", "vector_kwargs", "wrappers", "disable_env_checker")
    return frozenset({*OPTION_NAMES, *own, *of_gymnasium})


@dataclass
class EnvironmentOptions:
    """How an environment is made."""

    # choices and defaults are those of pliant.envs.options.Options (a test compares); help is there without loading it

    resolution: Literal["small", "full"] = "small"
    """Size of the simulation: "small" for a CPU, "full" as in the paper that the task comes from."""
    precision: Literal["f32", "f64"] = "f32"
    """Floating-point type of the simulation."""
    device: Literal["auto", "cpu", "cuda", "vulkan", "metal"] = "auto"
    """Where the simulation runs; "auto": CUDA, else a Vulkan device of hardware, else the CPU."""
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


def output_file(out: str, suffix: str, flag: str = "out") -> Path:
    """The path of the flag ``--out``, or of another one, of a command that writes one file.

    Raises:
        CommandError: it has another suffix, is a folder, or its folder does not exist or cannot be written.
    """
    path = Path(out)
    if path.suffix != suffix:
        raise CommandError(f"{flag}={out!r} must end in {suffix}")
    if path.is_dir():
        raise CommandError(f"{flag}={out!r} is a folder, where a file is to be written")
    if not path.parent.is_dir():
        raise CommandError(f"{flag}={out!r} lies in a folder that does not exist")
    check_writable(path.parent)
    return path


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse the value of a flag that is out of range, or no number.

    Raises:
        CommandError: it is; the message names the flag, the value and what is allowed.
    """
    if not low <= value <= high:
        text = str(value) if isinstance(value, float) or value.bit_length() <= 64 else "a very large number"
        raise CommandError(f"{name}={text} is out of range; it must be from {low:g} to {high:g}")


def check_writable(folder: Path) -> None:
    """Try to write in a folder.

    Raises:
        CommandError: that fails.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b" ")
    except OSError as error:
        raise CommandError(f"cannot write to the folder {folder}: {error.strerror or error}") from error


def task_options(text: str) -> dict[str, Any]:
    """Keyword arguments of a task from the flag ``--set``: "NAME=VALUE,NAME=VALUE".

    Raises:
        CommandError: a part is not NAME=VALUE, a name stands twice or is none of the task's own.
    """
    found: dict[str, Any] = {}
    for name, value in (_task_option(part.strip()) for part in text.split(",") if part.strip()):
        if name in found:
            raise CommandError(f"set: {name} is given twice, as {found[name]!r} and {value!r}")
        found[name] = value
    return found


def _task_option(text: str) -> tuple[str, Any]:
    """("target_speed", 0.1) of "target_speed=0.1"; true and false are booleans, other words stay words."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier():
        raise CommandError(f"set={text!r} is not NAME=VALUE, such as target_speed=0.1")
    if name in reserved():
        raise CommandError(
            f"set={text!r}: {name} is no number or word of a task's own; `pliant list ENV` shows those, and "
            "--resolution, --precision, --device, --hard-contact, --memory and --arm are flags"
        )
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    try:
        return name, float(value)
    except ValueError:
        return name, value
