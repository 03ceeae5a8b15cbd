"""Frames of a tactile sensor into which a ball was pressed: what its optics are calibrated with.

Where the ball touches, the gel has its shape, so that each pixel there is a sample of the light that a known normal
sends to the camera. Three kinds of files are read, all without unpickling:

- a folder with ``presses.json`` and the pictures that it names (``read_folder``);
- an .npz of ``save_presses``;
- an .npz of the package taxim (``dataPack.npz``: imgs and f0 in B G R, touch_center, touch_radius), or of differences
  to the background (difference, centre, contact_radius, ball_radius, pixel_pitch).
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pliant.policies.files.checkpoints import LARGEST_JSON, load_arrays, regular_size, save_arrays
from pliant.sims.inputs import numbers, real, real_array, shown
from pliant.sims.sensor.optics_background import smoothed_background
from pliant.sims.sensor.optics_features import positions

TAXIM_PITCH, TAXIM_BALL = 0.0295e-3, 67.8 * 0.0295e-3
"""Of the frames in the package taxim: metres in a pixel, which it states, and radius of the ball [m], inferred from the
frames (67.8 pixels)."""
TAXIM_SOURCE = "package taxim (PyPI), dataPack.npz"


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pixels inside contact discs, P of them.

    Attributes:
        m: tilts of the gel's surface there (`optics_features`), shape (P, 2).
        place: (u, v), shape (P, 2).
        background: colours without contact [grey levels], shape (P, 3), or None.
        change: difference to the background, shape (P, 3).
        frame: index of the frame, shape (P,).
    """

    m: np.ndarray
    place: np.ndarray
    background: np.ndarray | None
    change: np.ndarray
    frame: np.ndarray

    def error(self, change: np.ndarray) -> np.ndarray:
        """|prediction - frame| of a predicted change [grey levels], shape (P, 3); colours are clipped to 0..255."""
        if self.background is None:
            return np.abs(change - self.change)
        return np.abs(np.clip(self.background + change, 0.0, 255.0) - (self.background + self.change))


@dataclass(frozen=True, eq=False)
class Presses:
    """Frames with a ball pressed into the gel.

    Attributes:
        images: RGB, grey levels, shape (F, H, W, 3); differences to the background where that is None.
        background: the frame without contact, RGB, shape (H, W, 3), or None.
        centre: (column, row) of the middle of the contact, from the centre of the upper left pixel, shape (F, 2).
        radius: of the contact disc [pixels], shape (F,).
        ball_radius: [m].
        pixel_pitch: length of the gel that a pixel sees [m].
        source: where the frames come from, in words.

    Raises:
        ValueError: sizes do not fit each other, a centre lies outside the picture, a radius is not positive or larger
            than the ball's.
    """

    images: np.ndarray
    background: np.ndarray | None
    centre: np.ndarray
    radius: np.ndarray
    ball_radius: float
    pixel_pitch: float
    source: str = ""

    def __post_init__(self) -> None:
        images = numbers("images", self.images)
        if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
            raise ValueError(f"images has shape {images.shape}, must be (frames, height, width, 3), none of them 0")
        count, height, width = images.shape[:3]
        if self.background is not None:
            background = numbers("background", self.background)
            if background.shape != (height, width, 3):
                raise ValueError(f"background has shape {background.shape}, must be {(height, width, 3)} as the frames")
            low, high = min(images.min(), background.min()), max(images.max(), background.max())
            if low < 0 or high > 255:
                raise ValueError(f"images and background go from {low:g} to {high:g}; allowed: grey levels 0 to 255")
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "centre", real_array("centre", self.centre, shape=(count, 2)))
        object.__setattr__(self, "radius", real_array("radius", self.radius, shape=(count,)))
        real("ball_radius", self.ball_radius, above=0.0, unit="m")
        real("pixel_pitch", self.pixel_pitch, above=0.0, unit="m")
        for i, ((x, y), radius) in enumerate(zip(self.centre, self.radius, strict=True)):
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
                raise ValueError(f"centre[{i}]=({x:g}, {y:g}) lies outside the picture of {width} by {height} pixels")
            if radius <= 0.0:
                raise ValueError(f"radius[{i}]={radius:g} must be > 0 [pixels]")
            if radius >= self.ball_pixels:
                raise ValueError(
                    f"radius[{i}]={radius:g} pixels: the contact disc must be smaller than the ball, whose radius is "
                    f"{self.ball_pixels:.4g} pixels (ball_radius={self.ball_radius:g} m, "
                    f"pixel_pitch={self.pixel_pitch:g} m)"
                )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) [pixels]."""
        return self.images.shape[2], self.images.shape[1]

    @property
    def ball_pixels(self) -> float:
        """Radius of the ball [pixels]."""
        return self.ball_radius / self.pixel_pitch

    @functools.cached_property
    def smoothed(self) -> np.ndarray | None:
        """The smoothed background (`optics_background`), shape (H, W, 3); None without one."""
        return None if self.background is None else smoothed_background(self.background)

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, frames: Any = None, *, stride: int = 1) -> Pixels:
        """The pixels inside the contact discs of some frames (all for None), or every ``stride``-th of them."""
        width, height = self.size
        smooth = self.smoothed
        place = positions(width, height)
        parts = []
        for index in range(len(self)) if frames is None else frames:
            (x, y), radius = self.centre[index], self.radius[index]
            columns = np.arange(max(0, int(x - radius)), min(width, int(x + radius) + 2))
            rows = np.arange(max(0, int(y - radius)), min(height, int(y + radius) + 2))
            dx, dy = np.meshgrid(columns - x, rows - y)
            inside = dx * dx + dy * dy < radius * radius
            window = np.ix_(rows, columns)
            colour = self.images[index][window][inside].astype(np.float64)
            back = None if smooth is None else smooth[window][inside]
            # The surface rises away from the camera around the ball: its outward normal leans towards the centre.
            normal = -np.stack([dx[inside], dy[inside]], axis=-1) / self.ball_pixels
            m = normal / (1.0 + np.sqrt(1.0 - (normal * normal).sum(-1, keepdims=True)))
            where = np.full(len(m), index)
            change = colour if back is None else colour - back
            parts.append(
                [part[::stride] for part in (m, place[window][inside], back, change, where) if part is not None]
            )
        columns_of = [np.concatenate(part) for part in zip(*parts, strict=True)]
        if smooth is None:
            columns_of.insert(2, None)  # type: ignore[arg-type]
        return Pixels(*columns_of)


def read_presses(path: str | os.PathLike[str], *, ball_radius: float = 0.0, pixel_pitch: float = 0.0) -> Presses:
    """Frames from a folder or an .npz file; see the module.

    Args:
        path: of the folder or file.
        ball_radius, pixel_pitch: [m]; they take the place of what the files say, unless 0.

    Raises:
        ValueError: what is there cannot be read, lacks an entry, or is no set of presses; the message names the file.
    """
    path = Path(path)
    given = {name: value for name, value in (("ball_radius", ball_radius), ("pixel_pitch", pixel_pitch)) if value}
    try:
        if path.is_dir():
            return _from_folder(path, given)
        return _from_arrays(load_arrays(path), given)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(path) in text else f"{path}: {text}") from error


def save_presses(path: str | os.PathLike[str], presses: Presses) -> None:
    """Write frames as an .npz file with the names of the attributes."""
    arrays = {
        "images": presses.images,
        "centre": presses.centre,
        "radius": presses.radius,
        "ball_radius": np.array(presses.ball_radius),
        "pixel_pitch": np.array(presses.pixel_pitch),
        "source": np.array(presses.source),
    }
    if presses.background is not None:
        arrays["background"] = presses.background
    save_arrays(Path(path), arrays)


def _from_arrays(found: dict[str, np.ndarray], given: dict[str, float]) -> Presses:
    if "imgs" in found:
        return _from_taxim(found, given)
    if "difference" in found:
        found["images"], found["radius"] = found.pop("difference"), found.pop("contact_radius", np.array([]))
        return _assembled(found, given, has_background=False, source="differences to a background")
    return _assembled(found, given, has_background=True, source=str(found.get("source", "")))


def _assembled(found: dict[str, Any], given: dict[str, float], *, has_background: bool, source: str) -> Presses:
    """Presses from named arrays, with what is missing named."""
    found = found | given
    needed = ["images", *(["background"] if has_background else []), "centre", "radius", "ball_radius", "pixel_pitch"]
    for name in needed:
        if name not in found:
            what = " (the frame without contact)" if name == "background" else ""
            raise ValueError(f"{name}{what} is missing; there are {', '.join(sorted(found)) or 'no entries'}")
    lengths = [float(real_array(name, found[name], shape=())) for name in ("ball_radius", "pixel_pitch")]
    named = (found["images"], found.get("background"), found["centre"], found["radius"])
    return Presses(*named, lengths[0], lengths[1], source)


def _from_taxim(found: dict[str, np.ndarray], given: dict[str, float]) -> Presses:
    """The layout of the package taxim."""
    if "f0" not in found:
        raise ValueError("f0, the frame without contact, is missing")
    renamed = {"images": found["imgs"][..., ::-1], "background": found["f0"][..., ::-1]}
    renamed |= {
        name: found[old] for name, old in (("centre", "touch_center"), ("radius", "touch_radius")) if old in found
    }
    lengths = {"ball_radius": np.array(TAXIM_BALL), "pixel_pitch": np.array(TAXIM_PITCH)}
    return _assembled(lengths | renamed, given, has_background=True, source=TAXIM_SOURCE)


def _from_folder(folder: Path, given: dict[str, float]) -> Presses:
    """``presses.json`` and its pictures.

    {"ball_radius": 0.002, "pixel_pitch": 2.95e-05, "background": "background.png", "source": "...",
     "presses": [{"image": "01.png", "centre": [299, 220], "radius": 63}, ...]}
    """
    file = folder / "presses.json"
    if regular_size(file) > LARGEST_JSON:
        raise ValueError(f"{file} is larger than {LARGEST_JSON:,} bytes")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("presses"), list) or not found["presses"]:
        raise ValueError(f"{file} must hold an object with a list of presses")
    if "background" not in found:
        raise ValueError(f"{file} names no background, the picture without contact")
    background = _picture(folder, found["background"])
    images, centres, radii = [], [], []
    for i, press in enumerate(found["presses"]):
        if not isinstance(press, dict) or not {"image", "centre", "radius"} <= set(press):
            raise ValueError(f"{file}: presses[{i}] must have image, centre and radius")
        image = _picture(folder, press["image"])
        if image.shape != background.shape:
            raise ValueError(
                f"{folder / str(press['image'])} has {image.shape[1]} by {image.shape[0]} pixels, the background "
                f"{background.shape[1]} by {background.shape[0]}"
            )
        images.append(image)
        centres.append(real_array(f"presses[{i}].centre", press["centre"], shape=(2,)))
        radii.append(real(f"presses[{i}].radius", press["radius"], unit="pixels"))
    entries = {name: found[name] for name in ("ball_radius", "pixel_pitch") if name in found}
    entries |= {"images": np.stack(images), "background": background, "centre": np.array(centres), "radius": radii}
    return _assembled(entries, given, has_background=True, source=str(found.get("source", "")))


def _picture(folder: Path, name: Any) -> np.ndarray:
    """A picture of the folder, RGB, shape (H, W, 3)."""
    import cv2

    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ValueError(f"{folder}: the picture {shown(name)} must be the name of a file in the folder")
    regular_size(folder / name)
    image = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{folder / name} is no picture that can be read")
    return image[..., ::-1]
