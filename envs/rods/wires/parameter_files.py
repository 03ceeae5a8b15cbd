"""Fitted parameters of wires: JSON files with units and provenance; those of the known wires come with the package."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.envs.rods.grips import check_grip
from pliant.envs.rods.wires.layouts import LAYOUTS, OBJECTS, check_object
from pliant.sims.rod.topology import check_parents

if TYPE_CHECKING:
    from pliant.envs.rods.wires.recordings import Recording

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


POSITIVE = ("bend_stiffness", "twist_stiffness", "stretch_stiffness", "rest_length", "mass_factor")
PER_VERTEX = ("bend_stiffness", "twist_stiffness", "rest_length", "natural_twist", "mass_factor", "shape_memory")
NOT_NEGATIVE = ("bend_damping", "twist_damping", "drag", "quadratic_drag")


REFERENCE = (1.0, 0.0, 0.0)
"""Directors begin with the direction nearest to this one on the first edge: natural curvatures refer to it."""


def across(tangent: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """The unit vector (3,) across an edge of direction ``tangent`` (3,) that is nearest to the horizontal normal of
    ``heading`` (3,), to its left."""
    side = np.cross([0.0, 0.0, 1.0], heading)
    side = side - tangent * (side @ tangent)
    length = float(np.linalg.norm(side))
    if length < 1e-6 * max(float(np.linalg.norm(heading)), 1e-12):  # a vertical wire has no heading
        side = np.eye(3)[np.argmin(abs(tangent))]
        side = side - tangent * (side @ tangent)
        length = float(np.linalg.norm(side))
    return side / length


@dataclass(frozen=True, eq=False)
class Setup:
    """How a wire was recorded: its topology, which vertices were held, and how it lay when recordings began.

    Attributes:
        parents: predecessor of each vertex, -1 for the first, shape (n,).
        branch: number of each vertex's rod, 0 for the parent, shape (n,).
        clamped: vertices whose positions were given in the recordings, shape (c,).
        grip: what a gripper with a single clamped vertex holds, one of ``grips.GRIPS``.
        roll: angle about the first edge, from the horizontal direction across it to the first director [rad], in the
            recordings; their mean. Natural curvatures refer to that director.
        curvature: of the joints in frame 1 [1/m], shape (n, 2); the mean over the recordings.
        length: of the edges in frames 0 and 1 [m], shape (n,); the mean over the recordings.
    """

    parents: np.ndarray
    branch: np.ndarray
    clamped: np.ndarray
    grip: str = "direction"
    roll: float = 0.0
    curvature: np.ndarray | None = None
    length: np.ndarray | None = None

    def check_same_wire(self, recording: Recording) -> None:
        """Raise ``ValueError`` if a recording is of a wire of another topology."""
        if not np.array_equal(self.parents, recording.parents):
            raise ValueError(
                f"the parameters are of a wire whose vertices hang on {self.parents.tolist()}, those of recording "
                f"{recording.name} on {recording.parents.tolist()}"
            )


@dataclass(frozen=True, eq=False)
class RodParameters:
    """Parameters of one wire.

    Attributes:
        object: which wire.
        values: name to a number or an array of numbers, in the units of ``UNITS``.
        provenance: where they come from: files, date, losses, versions, command.
        setup: its topology and how it was recorded; None: not known.
    """

    object: str
    values: dict[str, np.ndarray | float]
    provenance: dict[str, Any] = field(default_factory=dict)
    setup: Setup | None = None

    @property
    def grip(self) -> str:
        """What a gripper with a single clamped vertex holds."""
        return "direction" if self.setup is None else self.setup.grip

    def check_complete(self) -> None:
        """Raise ``ValueError`` if a value is missing or has another shape or sign than a wire's."""
        missing = [name for name in UNITS if name not in self.values]
        if missing:
            raise ValueError(f"the parameters of {self.object!r} lack {', '.join(missing)}")
        n = np.size(self.values["rest_length"])
        for name, value in self.values.items():
            shape = (n,) if name in PER_VERTEX else {"natural_curvature": (n, 2), "gravity": (3,)}.get(name, ())
            if np.shape(value) != shape:
                raise ValueError(f"parameter {name!r} of {self.object!r} has shape {np.shape(value)}, must be {shape}")
            low = float(np.min(value))
            if (name in POSITIVE and low <= 0) or (name in NOT_NEGATIVE and low < 0):
                what = "positive" if name in POSITIVE else "not negative"
                raise ValueError(f"parameter {name!r} of {self.object!r} holds {low:g}, must be {what}")
        if self.setup is not None and len(self.setup.parents) != n:
            raise ValueError(
                f"the parameters of {self.object!r} are of {n} vertices, its topology of {len(self.setup.parents)}"
            )


def load_parameters(object_or_path: str | Path) -> RodParameters:
    """The shipped parameters of an object ("dlo1", ...), or those in a JSON file.

    Raises:
        ValueError: neither is there, or the file is broken or of another version.
    """
    text = str(object_or_path)
    if text.endswith(".json"):
        path = Path(text).expanduser()
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
        return _parsed(_read(path), text)
    if "/" in text or os.sep in text:
        raise ValueError(f"{text} is no file of parameters: its name must end in .json")
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
    if parameters.setup is not None:
        content["setup"] = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(parameters.setup).items()
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
    setup = _setup(content.get("setup"), content["object"], where)
    return RodParameters(content["object"], values, content["provenance"], setup)


def _setup(entry: Any, name: str, where: str) -> Setup | None:
    """The entry of a file; without one that of the known wire of this name."""
    if entry is None:
        layout = LAYOUTS.get(name)
        if layout is None:
            return None
        return Setup(np.array(layout.parents), np.array(layout.branch), np.array(layout.clamped))
    names = ("parents", "branch", "clamped")
    if not isinstance(entry, dict) or any(
        not isinstance(entry.get(key), list) or any(type(v) is not int for v in entry[key]) for key in names
    ):
        raise ValueError(f"{where}: 'setup' must hold lists of integers {', '.join(names)}")
    try:
        parents, branch, clamped = (np.array(entry[key], np.int64) for key in names)
        check_parents(parents)
        grip, roll = check_grip(entry.get("grip", "direction")), entry.get("roll", 0.0)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{where}: 'setup': {error}") from error
    n = len(parents)
    if len(branch) != n or not set(clamped.tolist()) < set(range(n)):
        raise ValueError(f"{where}: 'setup': branch must have {n} entries, clamped some of the vertices 0 to {n - 1}")
    if isinstance(roll, bool) or not isinstance(roll, (int, float)) or not np.isfinite(roll):
        raise ValueError(f"{where}: 'setup': roll={roll!r} must be a finite number [rad]")
    means: dict[str, np.ndarray] = {}
    for key, shape in (("curvature", (n, 2)), ("length", (n,))):
        if entry.get(key) is not None:
            means[key] = np.asarray(_numbers(entry[key], f"{where}: 'setup': {key!r}"))
            if means[key].shape != shape:
                raise ValueError(f"{where}: 'setup': {key!r} must have shape {shape}")
    return Setup(parents, branch, clamped, grip, float(roll), **means)


def _value(name: str, entry: Any, where: str) -> np.ndarray | float:
    if name not in UNITS:
        raise ValueError(f"{where}: there is no parameter {name!r}; there are {', '.join(UNITS)}")
    if not isinstance(entry, dict) or entry.get("unit") != UNITS[name]:
        raise ValueError(f"{where}: {name!r} must be a value with the unit {UNITS[name]!r}")
    return _numbers(entry.get("value"), f"{where}: {name!r}")


def _numbers(value: Any, what: str) -> np.ndarray | float:
    try:
        array = np.array(value)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"{what} must be a finite number or an array of them")
    return array.astype(float) if array.ndim else float(array)
