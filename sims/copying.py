"""Copies and pickles of objects that own memory of the device: made anew, then given what the original holds."""

from __future__ import annotations

import copy
from typing import Any


class MadeAnew:
    """A class whose copies are made by its constructor, from the arguments that the original was made from.

    ``copy.copy``, ``copy.deepcopy`` and ``pickle`` all do: nothing is shared. A class says in ``__getstate__`` what a
    copy is given besides, as plain arrays and objects, and takes it in ``__setstate__``.
    """

    _made_from: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A new object, which remembers its arguments."""
        made = super().__new__(cls)
        made._made_from = args, kwargs
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), *self._arguments()), self.__getstate__()

    def __copy__(self) -> Any:
        return copy.deepcopy(self)

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the constructor takes to make another one like this."""
        return self._made_from


def _make(kind: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kind(*args, **kwargs)
