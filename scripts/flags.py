"""Flags of a command from its dataclass, in groups: tyro makes the parser, this says what belongs together.

A command's ``Arguments`` are made of dataclasses: those of its own module are its main flags, each other one (settings
of a method, options of the environment) is a group with a heading. The flags keep the plain names of the fields.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_type_hints

import tyro

Kind = TypeVar("Kind")


class Described(Protocol):
    """An entry of a table that a flag chooses from."""

    @property
    def about(self) -> str:
        """What it is, in a few words; help shows it."""


@dataclass(frozen=True)
class OneOf:
    """Marks a text field, as ``Annotated[str, OneOf(table)]``, whose flag takes the names in a table.

    The table is read when words are parsed, so that what has been added to it by then is among the choices.
    """

    table: Mapping[str, Described]


def parse(
    kind: type[Kind], *, prog: str, description: str, words: Sequence[str], defaults: Mapping[str, Any] | None = None
) -> Kind:
    """An instance of the dataclass ``kind`` from the words of a command line.

    Args:
        defaults: of fields, by name, in place of those of ``kind``, where no flag is given.

    Raises:
        SystemExit: help was asked for (0), or the words are wrong (2); the message has been printed.
    """
    groups = {name: make_dataclass(name, members) for name, members in _groups(kind, defaults or {}).items()}
    for owner in _owners(kind):
        if owner.__name__ in groups:
            groups[owner.__name__].__doc__ = inspect.cleandoc(owner.__doc__ or "")
    main = groups.pop("")
    nested = [(name, _as_group(group), field(default_factory=group)) for name, group in groups.items()]
    whole = make_dataclass(kind.__name__, nested, bases=(main,), kw_only=True)
    found: Any = tyro.cli(whole, prog=prog, description=description, args=words)
    values = {member.name: getattr(found, member.name) for member in fields(main)}
    for name, group in groups.items():
        part = getattr(found, name)
        values |= {member.name: getattr(part, member.name) for member in fields(group)}
    return kind(**values)


def field_notes(kind: type) -> dict[str, str]:
    """What the source of a dataclass says of the fields that it declares itself: the string below one, else the comment
    behind it."""
    source = textwrap.dedent(inspect.getsource(kind))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    lines, notes = source.splitlines(), {}
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            notes[node.target.id] = " ".join(after.value.value.split())
        else:
            assert node.end_lineno is not None
            rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
            notes[node.target.id] = rest.partition("#")[2].strip()
    return notes


def all_notes(kind: type) -> dict[str, str]:
    """`field_notes` of a dataclass and of those that it inherits from, whose notes stand where its own say nothing, or
    nothing but the unit."""
    notes: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if is_dataclass(owner):
            for name, note in field_notes(owner).items():
                if name not in notes or re.sub(r"\[[^\[\]]*\]", "", note).strip():
                    notes[name] = note
    return notes


def _owners(kind: type) -> Iterator[type]:
    """The dataclasses that declare the fields of ``kind``, each before those that inherit from it."""
    found = [owner for owner in kind.__mro__ if is_dataclass(owner)]
    return iter(sorted(found, key=lambda owner: sum(other in owner.__mro__ for other in found)))


def _groups(kind: type, defaults: Mapping[str, Any]) -> dict[str, list[tuple[str, Any, Field[Any]]]]:
    """Fields for `make_dataclass`, with these ``defaults``, by the class that groups them; "": the main ones."""
    hints, notes = get_type_hints(kind, include_extras=True), all_notes(kind)
    by_name = {member.name: member for member in fields(kind)}
    groups: dict[str, list[tuple[str, Any, Field[Any]]]] = {"": []}
    for owner in _owners(kind):
        group = "" if owner.__module__ == kind.__module__ else owner.__name__
        for name in inspect.get_annotations(owner):
            declared = next(other for other in kind.__mro__ if name in inspect.get_annotations(other))
            if declared is not owner or name not in by_name:
                continue
            hint, note = _choices(hints[name], notes.get(name, ""))
            hint = Annotated[hint, tyro.conf.arg(help=note)] if note else hint
            member = field(default=defaults[name]) if name in defaults else _copy(by_name[name])
            groups.setdefault(group, []).append((name, hint, member))
    return groups


def _choices(hint: Any, note: str) -> tuple[Any, str]:
    """Type and help of a flag. A field that is marked by `OneOf` takes the names in its table; help explains them."""
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, OneOf):
            listed = "; ".join(f"{name}: {entry.about}" for name, entry in mark.table.items())
            return Literal[tuple(mark.table)], f"{note} {listed}."
    return hint, note


def _copy(member: Field[Any]) -> Field[Any]:
    if member.default_factory is not MISSING:
        return field(default_factory=member.default_factory)
    return field() if member.default is MISSING else field(default=member.default)


def _as_group(group: type) -> Any:
    """The type of the field that holds a group: RandomSearchSettings stand under "random-search options"."""
    short = group.__name__.removesuffix("Settings").removesuffix("Options")
    heading = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in short).strip("-")
    return Annotated[tyro.conf.OmitArgPrefixes[group], tyro.conf.arg(name=heading)]  # type: ignore
