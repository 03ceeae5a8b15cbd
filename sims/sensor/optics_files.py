"""Calibrated optics in files: .npz of plain arrays with where they come from.

An entry ``provenance`` (JSON) says which frames they were fitted to, under which licence, by which command and when.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pliant.sims.inputs import label, real, shown, whole
from pliant.sims.sensor.optics_ensemble import PixelEnsemble
from pliant.sims.sensor.optics_lighting import LightingTable
from pliant.sims.sensor.optics_network import PixelNetwork

SHIPPED = ("digit", "gelsight")
"""Calibrations that come with the package."""

VERSION = 1
LARGEST = 2**26  # bytes
WEIGHT = "network"  # before the number of a network and the name of its array
MOST_MEMBERS = 64
LARGEST_SIDE = 16384  # pixels along a side of a picture


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was learned about the optics of a sensor.

    Attributes:
        lighting: the change of colour by tilt and place.
        size: (width, height) of the frames it was fitted to [pixels].
        pixel_pitch: length of the gel that a pixel of these sees [m].
        background: RGB frame without contact, uint8, shape (height, width, 3); None where there was none.
        provenance: source, licence, frames, command, date.
    """

    lighting: PixelEnsemble | LightingTable
    size: tuple[int, int]
    pixel_pitch: float
    background: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, length in zip(("width", "height"), self.size, strict=True):
            whole(name, length, 1, LARGEST_SIDE)
        real("pixel_pitch", self.pixel_pitch, above=0.0, unit="m")
        shape = (self.size[1], self.size[0], 3)
        if self.background is not None and (self.background.shape != shape or self.background.dtype != np.uint8):
            raise ValueError(
                f"background has shape {self.background.shape} and type {self.background.dtype}, must be {shape}, uint8"
            )


def save_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write a calibration to ``path``, which ends in .npz, in one piece or not at all.

    The background is stored as a PNG, without loss.

    Raises:
        ValueError: another ending.
    """
    target = _checked(path)
    lighting = calibration.lighting
    arrays: dict[str, Any] = {
        "version": np.array(VERSION),
        "size": np.array(calibration.size),
        "pixel_pitch": np.array(calibration.pixel_pitch),
        "provenance": np.array(json.dumps(calibration.provenance, indent=1)),
    }
    if isinstance(lighting, LightingTable):
        arrays["coefficients"] = lighting.coefficients.astype(np.float32)
    else:
        arrays["members"] = np.array(len(lighting.members))
        for number, network in enumerate(lighting.members):
            start = f"{WEIGHT}{number}."
            arrays |= {start + name: value.astype(np.float32) for name, value in network.parameters.items()}
            for name in ("terms", "steepest", "sees_background", "is_relative"):
                arrays[start + name] = np.array(getattr(network, name))
    if calibration.background is not None:
        arrays["background"] = _packed(calibration.background)
    partial = target.with_name(f".{target.name}.part")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load_calibration(named: str | os.PathLike[str]) -> Calibration:
    """The calibration of a known sensor ("gelsight", "digit") or in an .npz file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown name, or the file is no calibration; nothing in it is unpickled.
    """
    if isinstance(named, str) and named in SHIPPED:
        source = Path(__file__).parent / "calibration" / f"optics_{named}.npz"
    else:
        source = _checked(named)
    if source.stat().st_size > LARGEST:
        raise ValueError(f"{source} is larger than {LARGEST:,} bytes")
    try:
        with np.load(source, allow_pickle=False) as archive:
            unpacked = sum(member.file_size for member in archive.zip.infolist())
            if unpacked > LARGEST:
                raise ValueError(f"it unpacks to {unpacked:,} bytes")
            found = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source} cannot be read as npz: {error}") from None
    try:
        return _calibration(found)
    except (ValueError, TypeError, KeyError) as error:
        text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{source} is no calibration of optics: {text}") from None


def _checked(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"{shown(str(path))} must be one of {', '.join(SHIPPED)}, or a file that ends in .npz")
    return target


def _calibration(found: dict[str, np.ndarray]) -> Calibration:
    """A calibration from its arrays."""
    if whole("version", found["version"].item(), 1) != VERSION:
        raise ValueError(f"version={found['version']} is unknown; allowed: {VERSION}")
    lighting: PixelEnsemble | LightingTable
    if "coefficients" in found:
        lighting = LightingTable(_floats("coefficients", found["coefficients"]))
    else:
        count = whole("members", found["members"].item(), 1, MOST_MEMBERS)
        lighting = PixelEnsemble(tuple(_network(found, f"{WEIGHT}{number}.") for number in range(count)))
    size = tuple(whole("size", length.item(), 1, LARGEST_SIDE) for length in found["size"])
    background = _unpacked(found["background"]) if "background" in found else None
    provenance = json.loads(label("provenance", str(found["provenance"])))
    if not isinstance(provenance, dict):
        raise ValueError("provenance must be an object")
    return Calibration(lighting, size, found["pixel_pitch"].item(), background, provenance)  # type: ignore[arg-type]


def _network(found: dict[str, np.ndarray], start: str) -> PixelNetwork:
    """The network whose arrays begin with ``start``."""
    mine = {name.removeprefix(start): value for name, value in found.items() if name.startswith(start)}
    return PixelNetwork(
        {name: _floats(start + name, value) for name, value in mine.items() if "." in name},
        whole(f"{start}terms", mine["terms"].item(), 1, 64),
        real(f"{start}steepest", mine["steepest"].item(), above=0.0),
        bool(mine["sees_background"]),
        bool(mine["is_relative"]),
    )


def _floats(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind != "f":
        raise ValueError(f"{name} holds {value.dtype}, must be floating-point numbers")
    return value.astype(np.float64)


def _packed(image: np.ndarray) -> np.ndarray:
    """A picture as the bytes of a PNG."""
    import cv2

    return cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].ravel()


def _unpacked(data: np.ndarray) -> np.ndarray:
    """The picture in the bytes of a PNG."""
    import cv2

    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.dtype == np.uint8 and data.ndim == 1 and data.size else None
    if image is None:
        raise ValueError("background is no picture that can be read")
    return np.ascontiguousarray(image[..., ::-1])
