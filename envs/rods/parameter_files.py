"""Fitted parameters of wires: JSON files with units and provenance; those of the known wires come with the package."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from pliant.envs.rods.layouts import OBJECTS, check_object

VERSION = 1
LARGEST_FILE = 2**20  # bytes
UNITS = {
    "bend_stiffness": "m^4/s^2",
    "twist_stiffness": "m^4/s^2",
    "stretch_stiffness": "m^2/s^2",
    "bend_damping": "s",
    "twist_damping": "s",
    "drag": "1/s",
    "quadratic_drag": "1/m",
    "rest_length": "m",
    "natural_curvature": "1/m",
    "natural_twist": "rad/m",
    "mass_factor": "1",
    "gravity": "m/s^2",
    "length_memory": "1",
    "shape_memory": "1",
}
"""Unit of each value that a parameter file may hold. Stiffnesses are per mass of a unit length: recordings of motion
tell ratios only. The mass factor is that of a vertex, relative to an even distribution along the wire."""


@dataclass(frozen=True, eq=False)
class RodParameters:
    """Parameters of one wire.

    Attributes:
        object: which wire.
        values: name to a number or an array of numbers, in the units of ``UNITS``.
        provenance: where they come from: files, date, losses, versions, command.
    """

    object: str
    values: dict[str, np.ndarray | float]
    provenance: dict[str, Any] = field(default_factory=dict)


def load_parameters(object_or_path: str | Path) -> RodParameters:
    """The shipped parameters of an object ("dlo1", ...), or those in a JSON file.

    Raises:
        ValueError: neither is there, or the file is broken or of another version.
    """
    text = str(object_or_path)
    if text.endswith(".json"):
        path = Path(text)
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
        return _parsed(_read(path), text)
    name = check_object(text)
    shipped = files("pliant.envs.rods") / "parameters" / f"{name}.json"
    if not shipped.is_file():
        there = ", ".join(shipped_objects()) or "none"
        raise ValueError(f"no parameters of {name} come with the package (there are: {there}); name a file of them")
    return _parsed(shipped.read_text(encoding="utf-8"), f"the shipped file of {name}")


def shipped_objects() -> list[str]:
    """The objects whose parameters come with the package."""
    folder = files("pliant.envs.rods") / "parameters"
    return [name for name in OBJECTS if (folder / f"{name}.json").is_file()]


def save_parameters(path: str | Path, parameters: RodParameters, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a JSON file, whole or not at all; ``provenance`` takes the place of the one in ``parameters``.

    Raises:
        ValueError: a value has no unit in ``UNITS`` or is not finite.
    """
    content = {
        "version": VERSION,
        "object": parameters.object,
        "values": {name: _entry(name, value) for name, value in parameters.values.items()},
        "provenance": dict(parameters.provenance if provenance is None else provenance),
    }
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _entry(name: str, value: Any) -> dict[str, Any]:
    if name not in UNITS:
        raise ValueError(f"parameter {name!r} has no unit; UNITS knows {', '.join(UNITS)}")
    array = np.asarray(value, float)
    if not np.isfinite(array).all():
        raise ValueError(f"parameter {name!r} must be finite")
    return {"value": array.tolist(), "unit": UNITS[name]}


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path} is larger than {LARGEST_FILE:,} bytes: no file of parameters")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _parsed(text: str, where: str) -> RodParameters:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where} is truncated or no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else None
        raise ValueError(f"{where} is no file of rod parameters of version {VERSION} (version={found!r})")
    kinds = {"object": str, "values": dict, "provenance": dict}
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise ValueError(f"{where}: {key!r} must be a {kind.__name__}")
    values = {name: _value(name, entry, where) for name, entry in content["values"].items()}
    return RodParameters(content["object"], values, content["provenance"])


def _value(name: str, entry: Any, where: str) -> np.ndarray | float:
    if name not in UNITS:
        raise ValueError(f"{where}: there is no parameter {name!r}; there are {', '.join(UNITS)}")
    if not isinstance(entry, dict) or entry.get("unit") != UNITS[name]:
        raise ValueError(f"{where}: {name!r} must be a value with the unit {UNITS[name]!r}")
    value = entry.get("value")
    try:
        array = np.array(value)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"{where}: {name!r} must be a finite number or an array of them")
    return array.astype(float) if array.ndim else float(array)
