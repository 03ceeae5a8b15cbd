"""Ctrl-C and requests to end: a command leaves what it can go on from, then it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOPPED = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a command in good order; SIGINT (Ctrl-C) as `KeyboardInterrupt`, the others as `SystemExit`."""


class Interrupts:
    """Signals that have arrived, and what is done about them.

    Attributes:
        received: number of the last signal; 0 before any.
    """

    def __init__(self) -> None:
        self.received = 0
        self._held = False
        self._insisting = False

    def end(self) -> None:
        """Leave the command as the signal asks for."""
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.received)

    def check(self) -> None:
        """Leave if a signal has arrived: held back, or raised where Python drops exceptions (in a finaliser)."""
        if self.received:
            self.end()

    def explain(self, error: Exception) -> None:
        """Leave as the signal asks for if it is what has led to an error.

        Libraries make errors of their own of an interrupt: an extension module that is being loaded an `ImportError`. A
        file that could not be written while the command was ending is an error in its own right.
        """
        if self.received and not isinstance(error, OSError):
            try:
                self.end()
            except BaseException as interrupt:
                raise interrupt from error

    @contextmanager
    def held(self, *, until_the_second: bool = False) -> Iterator[None]:
        """Note signals in this block, and do nothing about them; ``until_the_second`` of them arrives."""
        before = self._held, self._insisting
        self._held, self._insisting = True, until_the_second
        try:
            yield
        finally:
            self._held, self._insisting = before

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        again, self.received = bool(self.received), number
        if not self._held or (self._insisting and again):
            self.end()
        if self._insisting:
            os.write(2, b"\nstopping when this iteration is over; once more stops at once\n")


_active: list[Interrupts] = []  # in this process; the same one again and again


@contextmanager
def interrupts(names: Sequence[str] = STOPPED) -> Iterator[Interrupts]:
    """Handle signals in this block, and leave it as they ask for, even where a library has made another error of one.

    Signals that whoever started the process has it ignore stay ignored. A block within another one has the same
    `Interrupts`.

    Args:
        names: of the signals.

    Raises:
        KeyboardInterrupt: SIGINT has arrived, also in an outer block where a library has dropped it.
        SystemExit: another one has.
    """
    handled = _active[-1] if _active else Interrupts()
    _active.append(handled)
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python lets nobody handle signals
            for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, handled.handle)
        handled.check()
        yield handled
    except Exception as error:
        handled.explain(error)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _active.pop()
