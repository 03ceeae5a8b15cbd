"""Wires by name or by path: the known ones in a data folder, and a user's own, whose files hold their topology."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pliant.envs.rods.wires.layouts import LAYOUTS, check_object
from pliant.envs.rods.wires.recordings import (
    SPLITS,
    SUFFIXES,
    VARIABLE,
    Recording,
    check_alike,
    data_folder,
    load,
    recordings,
)


@dataclass(frozen=True)
class Wire:
    """Where the recordings of a wire are.

    Attributes:
        name: of the wire: a known one, or that of its folder or file.
        place: folder or file; None: a known wire, looked for in the data folder.
        data: data folder; None: the one that ``PLIANT_DATA`` names.
    """

    name: str
    place: Path | None = None
    data: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether parameters of it may come with the package."""
        return self.name in LAYOUTS

    def files(self, split: str) -> list[Path]:
        """Of an own wire: its files of a split ("train", "eval", "test"), else those of its folder itself, in order.

        Raises:
            ValueError: there are none.
        """
        assert self.place is not None
        if self.place.is_file():
            return [self.place]
        has_splits = any((self.place / name).is_dir() for name in SPLITS)
        folder = self.place / split if has_splits else self.place
        found = sorted(path for suffix in SUFFIXES for path in folder.glob(f"*{suffix}"))
        if not found:
            inner = "" if has_splits else f", nor a folder {split}"
            raise ValueError(f"{self.place} has no recordings for {split}: {folder} has no files *.npz{inner}")
        return found

    def has_splits(self) -> bool:
        """Whether recordings to fit to and recordings to score by are kept apart."""
        return self.place is None or any((self.place / name).is_dir() for name in SPLITS)

    def recordings(self, split: str) -> list[Recording]:
        """All recordings of a split, by the names of their files.

        Raises:
            ValueError: there are none, a file is broken, or two are of different wires.
        """
        if self.place is None:
            return recordings(self.name, split, self.data)
        found = [load(path, name=self.name) for path in self.files(split)]
        check_alike(found)
        return found


def find_wire(path_or_name: str | Path, data: str | Path | None = None) -> Wire:
    """The wire that is meant: a file, a folder of recordings or of splits of them, a known name, or a folder's name in
    the data folder ``data``.

    Raises:
        ValueError: there is no such thing; the message says what was looked for.
    """
    text = str(path_or_name)
    path = Path(text).expanduser()
    is_path = (
        path.suffix in SUFFIXES or text.startswith((".", "~")) or any(s and s in text for s in (os.sep, os.altsep))
    )
    unknown = ""
    if not is_path:
        try:
            return Wire(check_object(text), data=str(data) if data else None)
        except ValueError as error:
            unknown = f"{error}; nor is there a file or folder {text}"
    places = [path]
    if (data or os.environ.get(VARIABLE)) and not path.is_absolute():
        root = data_folder(data)
        places += [root / "rods" / path, root / path]
    for place in places:
        if text and place.exists():
            return Wire(_name_of(place.resolve()), place)
    raise ValueError(unknown or f"{text} does not exist")


def _name_of(place: Path) -> str:
    if place.is_file():
        return load(place).object or (place.parent.parent if place.parent.name in SPLITS else place).stem.lower()
    folder = place.parent if place.name in SPLITS else place
    try:
        return check_object(folder.name)
    except ValueError:
        return folder.name


def save_recording(
    path: str | Path,
    positions: np.ndarray,
    *,
    dt: float,
    clamped: Sequence[int] | np.ndarray,
    parents: Sequence[int] | np.ndarray | None = None,
    branch: Sequence[int] | np.ndarray | None = None,
    clamp_mode: str = "ends",
) -> Recording:
    """Write motion capture of a wire as an .npz file that ``pliant rods`` reads, whole or not at all.

    Args:
        path: of the file, which ends in .npz; an earlier one is replaced, its folder is made if need be.
        positions: of the vertices [m], z up, shape (T, n, 3): first those of one rod from end to end, then those of
            each branch, from where it hangs on; NaN where a marker was not seen.
        dt: time between frames [s].
        clamped: ids of the vertices that grippers hold: two side by side, or one, for each gripper.
        parents: vertex that each vertex hangs on, -1 for the first, shape (n,); None: the one before it.
        branch, clamp_mode: see `Recording`.

    Returns:
        The recording as it is read back.

    Raises:
        ValueError: what is given makes no recording (see `Recording`), or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"path={str(path)!r} must end in .npz")
    points = np.asarray(positions)
    count = points.shape[1] if points.ndim == 3 else 0
    given = np.arange(-1, count - 1) if parents is None else parents
    arrays: dict[str, Any] = {"clamped": np.asarray(clamped), "parents": np.asarray(given)}
    if branch is not None:
        arrays["branch"] = np.asarray(branch)
    recording = Recording(path.stem, "", points, dt, clamp_mode=clamp_mode, **arrays)
    arrays |= {"positions": points.astype(np.float64), "dt": np.float64(dt), "clamp_mode": np.array(clamp_mode)}
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(temporary, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return recording
