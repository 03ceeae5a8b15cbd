"""What the subcommands read, with errors that the user can mend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pliant.scripts.errors import CommandError

if TYPE_CHECKING:
    from pliant.envs.rods.wires.parameter_files import RodParameters
    from pliant.envs.rods.wires.recordings import Recording
    from pliant.envs.rods.wires.wire import Wire

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def mendable(function: Callable[Inputs, Output], *arguments: Inputs.args, **keywords: Inputs.kwargs) -> Output:
    """What ``function`` returns; a ``ValueError`` about its input becomes a ``CommandError``."""
    try:
        return function(*arguments, **keywords)
    except ValueError as error:
        raise CommandError(str(error)) from error


def read_wire(path_or_name: str, data: str) -> Wire:
    """The wire that an argument PATH_OR_NAME and the flag --data mean."""
    from pliant.envs.rods.wires.wire import find_wire

    return mendable(find_wire, path_or_name, data or None)


def read_parameters(named: str, name: str) -> RodParameters:
    """The parameters in the file or of the object ``named``, or else those that come with the package for ``name``.

    Raises:
        CommandError: there are none.
    """
    from pliant.envs.rods.wires.layouts import LAYOUTS
    from pliant.envs.rods.wires.parameter_files import load_parameters

    if not named and name not in LAYOUTS:
        raise CommandError(
            f"no parameters of {name!r} come with the package; pass --parameters FILE, such as the parameters.json "
            "that pliant rods fit writes"
        )
    return mendable(load_parameters, named or name)


def lost(found: Sequence[Recording]) -> str:
    """How much of some recordings is missing, in words; empty if nothing is."""
    missing, total = sum(r.missing for r in found), sum(r.known.size for r in found)
    frames = sum(sum(r.dropped) for r in found)
    words = [f"{missing:,} of {total:,} positions were not seen and do not count"] if missing else []
    words += [f"{frames:,} frames at the start or end are left out"] if frames else []
    return "; ".join(words)
