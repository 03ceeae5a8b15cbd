"""``pliant tactile evaluate``: how well models of the optics predict frames, most of all those they have not seen."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pliant.scripts.errors import CommandError
from pliant.scripts.options import output_file
from pliant.scripts.tactile.inputs import check_folds, mendable, read_frames, settings_of

if TYPE_CHECKING:
    from pliant.policies.identification.press_frames import Presses
    from pliant.scripts.tactile.options import Evaluate


BACKGROUND, TABLE, TAXIM = "background alone", "lighting table", "taxim, has seen all"


def evaluate(arguments: Evaluate) -> int:
    """Fit and predict fold by fold, or predict with a given calibration, and print a table."""
    presses = read_frames(arguments)
    if arguments.picture:
        output_file(arguments.picture, ".png", "picture")
        if arguments.calibration:
            raise CommandError("--picture shows predictions of frames left out; leave out --calibration")
    if arguments.calibration:
        _show(arguments, presses, [_given(arguments.calibration, presses)])
        return 0
    check_folds(arguments.folds, presses, least=2)
    rows, draw = _fitted(arguments, presses)
    _show(arguments, presses, rows)  # before the picture: the fits take minutes, and drawing may fail
    if arguments.picture:
        draw(arguments.picture)
    return 0


def _show(arguments: Evaluate, presses: Presses, rows: list[dict[str, Any]]) -> None:
    """Print the errors, as a table or as JSON."""
    if arguments.json:
        print(json.dumps({"frames": len(presses), "split": arguments.split, "models": rows}, indent=2), flush=True)
        return
    from pliant.scripts.tables import print_table

    texts = [
        [
            row["model"],
            *(f"{error:.2f}" for error in row["channels"]),
            f"{row['error']:.2f}",
            " ".join(f"{error:.2f}" for error in row.get("folds", [])),
            "" if row.get("drawn") is None else f"{row['drawn']:.2f}",
            "" if row.get("seconds") is None else f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]
    print_table(["model", "red", "green", "blue", "mean", "by fold", "as drawn", "fit [s]"], texts, left=1)
    print(f"mean absolute error inside the contact discs of {len(presses)} frames [grey levels]", flush=True)


def _given(named: str, presses: Presses) -> dict[str, Any]:
    """Errors of a calibration on all frames, by itself and as `Optics` draws it."""
    from pliant.policies.identification.optics import drawn_change, prediction_error
    from pliant.sims.sensor.optics_files import load_calibration

    calibration = mendable(load_calibration, named)
    if calibration.size != presses.size:
        raise CommandError(f"{named} was fitted to frames of {calibration.size}, these have {presses.size} pixels")
    pixels = presses.pixels()
    error = mendable(prediction_error, calibration.lighting, pixels)
    drawn = pixels.error(drawn_change(calibration.lighting, pixels))
    return {
        "model": named,
        "error": float(error.mean()),
        "channels": error.mean(axis=0).tolist(),
        "drawn": float(drawn.mean()),
    }


def _fitted(arguments: Evaluate, presses: Presses) -> tuple[list[dict[str, Any]], Callable[[str], None]]:
    """Cross-validated errors of each model, and what draws a picture of some predictions to a path."""
    from rich.console import Console

    from pliant.policies.identification.optics import (
        NoChange,
        TableSettings,
        cross_validate,
        fit_ensemble,
        fit_table,
        interleaved_folds,
        quadrant_folds,
    )
    from pliant.policies.identification.press_frames import TAXIM_SOURCE
    from pliant.scripts.tactile.taxim_peer import TaximTable, package_folder

    split = quadrant_folds(presses) if arguments.split == "quadrants" else None
    folds = split or interleaved_folds(len(presses), arguments.folds)
    models: dict[str, Any] = {
        BACKGROUND: lambda frames: NoChange(),
        TABLE: lambda frames: fit_table(presses, TableSettings(), frames=frames),
    }
    places = ("network", "affine", "quadratic") if presses.background is not None else ("affine", "quadratic")
    for place in places:
        settings = settings_of(arguments, presses, place)
        models["two networks" if place == "network" else f"network, {place} in place"] = (
            lambda frames, settings=settings: fit_ensemble(presses, settings, frames=frames)
        )
    folder = package_folder()
    if folder is not None and presses.source == TAXIM_SOURCE:
        models[TAXIM] = lambda frames: TaximTable(folder, presses.size)
    rows = []
    first: dict[str, Any] = {}
    console = Console(stderr=True)
    for name, fit in models.items():
        found: list[Any] = []
        began = time.perf_counter()
        with console.status(name):
            result = mendable(cross_validate, presses, functools.partial(_remembered, fit, found), folds)
        seconds = (time.perf_counter() - began) / len(folds)
        first[name] = found[0]
        rows.append({"model": name, "seconds": None if name in (BACKGROUND, TAXIM) else seconds, **result})
    best = min((row for row in rows if row["model"] != TAXIM), key=lambda row: row["error"])["model"]
    shown = {name: first[name] for name in (best, TABLE, TAXIM) if name in first}
    return rows, functools.partial(_draw, presses, shown, list(folds[0]))


def _remembered(fit: Any, found: list[Any], frames: list[int]) -> Any:
    """The lighting of a fit, noted down."""
    found.append(fit(frames))
    return found[-1]


def _draw(presses: Presses, lightings: dict[str, Any], frames: list[int], path: str) -> None:
    """Write the picture of some frames of the first fold."""
    import imageio.v3 as imageio

    from pliant.policies.files.checkpoints import replacing
    from pliant.scripts.tactile.picture import side_by_side

    count = min(4, len(frames))
    chosen = [frames[(2 * i + 1) * len(frames) // (2 * count)] for i in range(count)]
    with replacing(path) as temporary:
        imageio.imwrite(temporary, side_by_side(presses, lightings, chosen))
