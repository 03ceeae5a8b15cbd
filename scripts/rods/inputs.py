"""What the subcommands read, with errors that the user can mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pliant.scripts.errors import CommandError

if TYPE_CHECKING:
    from pliant.envs.rods.parameter_files import RodParameters

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def mendable(function: Callable[Inputs, Output], *arguments: Inputs.args, **keywords: Inputs.kwargs) -> Output:
    """What ``function`` returns; a ``ValueError`` about its input becomes a ``CommandError``."""
    try:
        return function(*arguments, **keywords)
    except ValueError as error:
        raise CommandError(str(error)) from error


def read_parameters(named: str, name: str) -> RodParameters:
    """The parameters in the file or of the object ``named``, or else those that come with the package for ``name``."""
    from pliant.envs.rods.parameter_files import load_parameters

    return mendable(load_parameters, named or name)
