"""Meshes of gels in files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from pliant.sims.fem.mesh import GelMesh
from pliant.sims.inputs import shown

ARRAYS = ("positions", "cells", "cell_tetrahedra", "mounted", "surface")
LARGEST_FILE = 2**31
"""Bytes that a file may unpack to."""


def save_gel_mesh(mesh: GelMesh, path: str | os.PathLike[str]) -> None:
    """Write a mesh to a NumPy archive (.npz); a file that is there is replaced as a whole.

    Raises:
        ValueError: ``path`` does not end in .npz.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"path={shown(os.fspath(path))} must end in .npz")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            np.savez(file, **{name: getattr(mesh, name) for name in ARRAYS})
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def load_gel_mesh(path: str | os.PathLike[str]) -> GelMesh:
    """The mesh in a file of `save_gel_mesh`, validated; its nodes keep their order.

    Raises:
        ValueError: the file is missing, is no such archive, lacks an array, or holds no valid mesh; names it.
    """
    where = f"mesh file {shown(os.fspath(path), 400)}"
    if not os.path.isfile(path):
        raise ValueError(f"{where} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_FILE:
            raise ValueError(f"it unpacks to {size:,} bytes; the most that is read is {LARGEST_FILE:,}")
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive.files]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            arrays = {name: archive[name] for name in ARRAYS}
    except Exception as error:  # a broken archive fails in many ways
        raise ValueError(f"{where} is truncated or no archive of plain arrays: {error}") from error
    try:
        return GelMesh(**arrays)
    except ValueError as error:
        raise ValueError(f"{where} holds no valid mesh: {error}") from error
