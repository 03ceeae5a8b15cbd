"""Folders that a command makes for its results: those of a command that was refused do not stay behind."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_made: list[Path] = []  # by this process, in this order, since `begin`


def begin() -> None:
    """Forget what was made before."""
    _made.clear()


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they do not exist, and note which.

    Raises:
        OSError: that fails.
    """
    absent = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(absent):
        with suppress(FileExistsError):  # another process has made it meanwhile
            folder.mkdir()
            _made.append(folder)
    path.mkdir(exist_ok=True)  # a file of that name is an error


def remove_empty() -> None:
    """Remove those of the folders made since `begin` that hold nothing."""
    while _made:
        with suppress(OSError):
            _made.pop().rmdir()
