"""Settings of training methods on the command line."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from pliant.policies.methods import BUDGETS
from pliant.scripts.errors import CommandError


def parse_settings(text: str, kind: type) -> dict[str, Any]:
    """``{"window": 8}`` of "window=8", each value of the type of the dataclass's field.

    Raises:
        CommandError: a name is unknown or a value is of another type.
    """
    hints = get_type_hints(kind)
    own = [field.name for field in fields(kind) if field.name not in (*BUDGETS, "seed")]
    found: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or name not in own:
            raise CommandError(f"settings: {part!r} is not NAME=VALUE with NAME one of {', '.join(own)}")
        try:
            if hints[name] is bool:
                found[name] = {"true": True, "false": False}[value.lower()]
            else:
                found[name] = hints[name](value) if hints[name] in (int, float) else value
        except (KeyError, ValueError):
            word = {bool: "true or false", int: "a whole number", float: "a number"}[hints[name]]
            raise CommandError(f"settings: {name}={value!r} must be {word}") from None
    return found
