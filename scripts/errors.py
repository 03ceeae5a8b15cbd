"""The error that the command line shows as one sentence."""

from __future__ import annotations


class CommandError(Exception):
    """A condition that the user can mend; its text is the whole message."""
