"""``pliant tactile calibrate``: the optics of a sensor from frames of it, as a file with its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.scripts.errors import CommandError
from pliant.scripts.options import output_file
from pliant.scripts.tactile.inputs import check_folds, mendable, read_frames, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pliant.policies.identification.press_frames import Presses
    from pliant.scripts.tactile.options import Calibrate


def calibrate(arguments: Calibrate) -> int:
    """Check everything cheap, cross-validate, fit to all frames, write the file."""
    from rich.console import Console

    from pliant.policies.identification.optics import cross_validate, interleaved_folds, prediction_error
    from pliant.sims.sensor.optics_files import Calibration, save_calibration

    output_file(arguments.out, ".npz")
    presses = read_frames(arguments)
    check_folds(arguments.folds, presses, least=0)
    fit, count = fit_of(arguments, presses)
    console = Console(stderr=True)
    error = None
    with _progress(console, arguments.folds + 1, count) as show:
        if arguments.folds:
            folds = interleaved_folds(len(presses), arguments.folds)
            result = cross_validate(
                presses, lambda frames: fit(frames, show), folds, on_fold=lambda number, _: show(None)
            )
            error = result["error"]
        lighting = fit(None, show)
    background = presses.background
    calibration = Calibration(
        lighting,
        presses.size,
        presses.pixel_pitch,
        None if background is None else _bytes(background),
        _provenance(arguments, presses, error),
    )
    save_calibration(arguments.out, calibration)
    seen = float(prediction_error(lighting, presses.pixels(stride=3)).mean())
    words = f"{error:.2f} grey levels on frames left out, " if error is not None else ""
    console.print(
        f"mean absolute error {words}{seen:.2f} on the {len(presses)} frames of the fit; written to {arguments.out}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def fit_of(arguments: Calibrate, presses: Presses) -> tuple[Callable[..., Any], int]:
    """What fits the chosen model to some frames while it shows how far it is, and its number of steps."""
    from pliant.policies.identification.optics import TableSettings, fit_ensemble, fit_table

    if arguments.model == "table":
        if arguments.place != "auto" or arguments.steps:
            raise CommandError("--place and --steps are of the network; leave them out with --model table")
        return lambda frames, show: fit_table(presses, TableSettings(), frames=frames), 1
    settings = settings_of(arguments, presses, arguments.place)

    def fit(frames: Any, show: Callable[..., None]) -> Any:
        return mendable(fit_ensemble, presses, settings, frames=frames, on_step=show)

    return fit, settings.steps * settings.members


def _bytes(background: Any) -> Any:
    """A background as it is stored."""
    import numpy as np

    return np.clip(np.rint(background), 0, 255).astype(np.uint8)


def _progress(console: Any, fits: int, steps: int) -> Any:
    """A bar over the steps of all fits; yields what is called at each step, and with None after each fit."""
    from contextlib import contextmanager

    from pliant.scripts.progress import iteration_progress

    @contextmanager
    def bar() -> Any:
        with iteration_progress(console, fits * steps, label="optics", shown=(("error", "error", ".2f"),)) as show:
            done, recent = 0, 0.0

            def tell(step: int | None, error: float = 0.0) -> None:
                nonlocal done, recent
                if step is None:
                    done += steps
                    return
                recent = error if step == 1 else recent + 0.02 * (error - recent)
                if step % 20 == 0 or step == steps:
                    show({"iteration": done + step, "error": recent})

            yield tell

    return bar()


def _provenance(arguments: Calibrate, presses: Presses, error: float | None) -> dict[str, Any]:
    """Where the calibration comes from, without the folders of this machine."""
    from pliant.scripts.runs import machine, versions

    name = Path(arguments.frames).name
    words = ["pliant tactile calibrate", name, "--out", Path(arguments.out).name]
    for flag, value, usual in (
        ("model", arguments.model, "network"),
        ("place", arguments.place, "auto"),
        ("steps", arguments.steps, 0),
        ("folds", arguments.folds, 4),
        ("ball-radius", arguments.ball_radius, 0.0),
        ("pixel-pitch", arguments.pixel_pitch, 0.0),
        ("seed", arguments.seed, 0),
    ):
        if value != usual:
            words += [f"--{flag}", str(value)]
    return {
        "source": arguments.source or presses.source or name,
        "licence": arguments.licence,
        "frames": len(presses),
        "ball_radius": presses.ball_radius,
        "command": " ".join(words),
        "date": machine()["date"],
        "error": "not measured" if error is None else round(error, 4),
        "error_is": "mean absolute error inside the contact discs [grey levels], of frames left out of the fit",
        "folds": arguments.folds,
        "versions": versions(("pliant", "numpy", "scipy")),
    }
