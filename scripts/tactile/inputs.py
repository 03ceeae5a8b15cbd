"""What the subcommands read, with errors that the user can mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pliant.scripts.errors import CommandError

if TYPE_CHECKING:
    from pliant.policies.identification.optics import NetworkSettings
    from pliant.policies.identification.press_frames import Presses
    from pliant.scripts.tactile.options import Calibrate, Evaluate

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def mendable(function: Callable[Inputs, Output], *arguments: Inputs.args, **keywords: Inputs.kwargs) -> Output:
    """What ``function`` returns; a ``ValueError`` or a missing file becomes a ``CommandError``."""
    try:
        return function(*arguments, **keywords)
    except FileNotFoundError as error:
        raise CommandError(f"{error.filename} does not exist") from error
    except ValueError as error:
        raise CommandError(str(error)) from error


def read_frames(arguments: Calibrate | Evaluate) -> Presses:
    """The frames that the argument FRAMES and the flags mean."""
    from pliant.policies.identification.press_frames import read_presses

    return mendable(
        read_presses, arguments.frames, ball_radius=arguments.ball_radius, pixel_pitch=arguments.pixel_pitch
    )


def settings_of(arguments: Calibrate | Evaluate, presses: Presses, place: str = "auto") -> NetworkSettings:
    """Settings of a network's fit: the usual ones for the frames, with what the flags change."""
    from pliant.policies.identification.optics import usual_settings

    changes = {"seed": arguments.seed} | ({"steps": arguments.steps} if arguments.steps else {})
    return mendable(usual_settings, presses, place=None if place == "auto" else place, **changes)


def check_folds(count: int, presses: Presses, *, least: int) -> None:
    """Refuse a number of folds that the frames cannot be divided into; ``least`` is allowed, too."""
    if count != least and not 2 <= count <= len(presses):
        raise CommandError(
            f"folds={count} must be from 2 to {len(presses)}, the number of frames" + " or 0" * (not least)
        )
