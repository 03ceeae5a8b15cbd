"""What the folder of a run says of itself, checked before anything is made of it.

A folder may come from anybody. It chooses among what is registered in this process and what the flags of a command
could say; it never names a module, a class or a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from pliant.scripts.environments import own_options, resolve
from pliant.scripts.errors import CommandError
from pliant.scripts.options import EnvironmentOptions, reserved
from pliant.scripts.runs import RunFolder
from pliant.sims.inputs import shown

MOST_NUMBERS = 10**6  # in a physical parameter


@dataclass(frozen=True)
class RunDescription:
    """A run, as its ``config.json`` describes it.

    Attributes:
        environment: a registered id.
        options: keyword arguments of the environment.
        seed: of the episode of `pliant optimize`.
        is_training: whether `pliant train` wrote it.
    """

    environment: str
    options: dict[str, Any]
    seed: int
    is_training: bool


def read_description(folder: RunFolder) -> RunDescription:
    """The description of the run in a folder.

    Raises:
        CommandError: the file is missing or broken, or says what no command could have written; the message names it.
    """
    config, path = folder.read_json("config.json"), folder.path / "config.json"
    name, options, settings = (config.get(key) for key in ("environment", "environment_options", "settings"))
    if not isinstance(name, str) or not isinstance(options, dict) or not isinstance(settings, dict):
        raise CommandError(f"{path} lacks environment, environment_options or settings")
    try:
        env_id = resolve(name)
        check_options(env_id, options)
        seed = whole("settings.seed", settings.get("seed", 0))
    except (CommandError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from error
    return RunDescription(env_id, options, seed, "algorithm" in config)


def read_summary(folder: RunFolder) -> dict[str, Any]:
    """The summary in the folder's ``metrics.json``.

    "environment" is a text, "seed" and "video_seed" are whole numbers, "score" and "video_score" finite numbers or
    None; any of them may be absent.

    Raises:
        CommandError: the file is missing or broken; the message names it.
    """
    found, path = folder.read_json("metrics.json").get("summary"), folder.path / "metrics.json"
    if not isinstance(found, dict):
        raise CommandError(f"{path}: summary={shown(found)} must be a JSON object")
    try:
        for name in {"seed", "video_seed"} & found.keys():
            whole(f"summary.{name}", found[name])
        for name in {"score", "video_score"} & found.keys():
            if found[name] is not None and not is_number(found[name]):
                raise ValueError(f"summary.{name}={shown(found[name])} must be a finite number or null")
        if not isinstance(found.get("environment", ""), str):
            raise ValueError(f"summary.environment={shown(found['environment'])} must be text")
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from error
    return found


def check_options(env_id: str, options: dict[str, Any]) -> None:
    """Refuse keyword arguments of an environment that no flag could have given.

    Raises:
        ValueError: a name is neither that of a flag nor one of the task's own, or a value is of another kind.
    """
    flags = flag_values()
    own = own_options(env_id)
    for name, value in options.items():
        if name in flags:
            if not any(value == word and type(value) is type(word) for word in flags[name] or (value,)):
                words = ", ".join(map(repr, flags[name]))
                raise ValueError(f"environment_options.{name}={shown(value)} is unknown; allowed: {words}")
            if not flags[name] and not isinstance(value, str):
                raise ValueError(f"environment_options.{name}={shown(value)} must be text")
        elif name == "parameters":
            _check_parameters(value)
        elif name in reserved() or name not in own:
            allowed = ", ".join([*flags, "parameters", *(known for known in own if known not in reserved())])
            raise ValueError(f"environment_options.{shown(name)} is not taken from a file; allowed: {allowed}")
        elif not (is_number(value) or isinstance(value, (bool, str))):
            raise ValueError(f"environment_options.{name}={shown(value)} must be a finite number, a word or a bool")


def flag_values() -> dict[str, tuple[Any, ...]]:
    """What the shared flags may put into an environment's keyword arguments; no values: any text."""
    hints = get_type_hints(EnvironmentOptions)
    names = {field.name for field in fields(EnvironmentOptions)}
    kept = {name: get_args(hints[name]) if name in names else (True, False) for name in EnvironmentOptions().keywords()}
    return kept


def whole(name: str, value: Any) -> int:
    """``value``, if it is a whole number that a seed may be.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{name}={shown(value)} must be a whole number from 0 to 2^63 - 1")
    return value


def is_number(value: Any) -> bool:
    """Whether it is a finite number, no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _check_parameters(value: Any) -> None:
    """Refuse physical parameters that are not numbers, or flat lists of them, by name."""
    if not isinstance(value, dict):
        raise ValueError(f"environment_options.parameters={shown(value)} must be values by name")
    for name, numbers in value.items():
        listed = numbers if isinstance(numbers, list) else [numbers]
        if not 0 < len(listed) <= MOST_NUMBERS or not all(map(is_number, listed)):
            raise ValueError(f"environment_options.parameters.{name}={shown(numbers)} must be finite numbers")
