"""Cameras in files: JSON or npz, with the names that OpenCV's own calibration programs write."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pliant.sims.inputs import shown
from pliant.sims.sensor.camera import CalibratedCamera, checked_matrix

NAMES = {
    "camera_matrix": ("camera_matrix", "cameraMatrix", "mtx", "K"),
    "distortion": ("distortion", "distortion_coefficients", "dist_coeffs", "distCoeffs", "dist", "D"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
    "lens": ("lens",),
    "rotation": ("rotation",),
    "position": ("position",),
}
"""What a file may call each entry; the first one is what ``save_camera`` writes."""

_NEEDED = ("camera_matrix", "width", "height")


def save_camera(camera: CalibratedCamera, path: str | os.PathLike[str]) -> None:
    """Write a camera to ``path``, which ends in .json or .npz.

    Raises:
        ValueError: another ending.
    """
    target = _checked_path(path)
    values = {
        "camera_matrix": camera.matrix,
        "distortion": camera.distortion,
        "width": camera.width,
        "height": camera.height,
        "lens": camera.lens,
        "rotation": camera.rotation,
        "position": camera.position,
    }
    partial = target.with_name(f".{target.name}.part")
    try:
        if target.suffix == ".json":
            plain = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in values.items()}
            partial.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
        else:
            with partial.open("wb") as file:
                np.savez(file, **values)  # type: ignore[arg-type]
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load_camera(path: str | os.PathLike[str]) -> CalibratedCamera:
    """The camera in a .json or .npz file: one of ``save_camera``, or of an OpenCV calibration with width and height.

    Numbers may be lists or, as ``cv2.FileStorage`` writes matrices in JSON, objects with rows, cols and data.
    Distortion, lens ("pinhole"), rotation and position may be missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, lacks an entry, or an entry is no part of a camera.
    """
    source = _checked_path(path)
    found = _read(source)
    values: dict[str, Any] = {}
    for name, aliases in NAMES.items():
        present = [alias for alias in aliases if alias in found]
        if len(present) > 1:
            raise ValueError(f"{source}: {' and '.join(present)} are two names of one thing; keep one of them")
        if present:
            values[name] = _plain(source, present[0], found[present[0]])
        elif name in _NEEDED:
            raise ValueError(f"{source} has no {name}; it has {', '.join(sorted(found)) or 'nothing'}")
    try:
        matrix = checked_matrix(values.pop("camera_matrix"))
        values["distortion"] = np.ravel(values.get("distortion", ()))
        return CalibratedCamera(focal=(matrix[0, 0], matrix[1, 1]), centre=(matrix[0, 2], matrix[1, 2]), **values)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _checked_path(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix not in (".json", ".npz"):
        raise ValueError(f"path={shown(str(path))} must end in .json or .npz")
    return target


def _read(source: Path) -> dict[str, Any]:
    try:
        if source.suffix == ".json":
            found = json.loads(source.read_text(encoding="utf-8"))
        else:
            with np.load(source, allow_pickle=False) as archive:
                found = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, RecursionError) as error:
        raise ValueError(f"{source} cannot be read as {source.suffix[1:]}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{source} must hold an object with the entries of a camera, not a {type(found).__name__}")
    return found


def _plain(source: Path, name: str, value: Any) -> Any:
    """An entry as a Python number or string, or an array."""
    if isinstance(value, dict):
        try:
            return np.reshape(value["data"], (value["rows"], value["cols"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{source}: {name} must be a matrix with rows, cols and data") from None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    return value
