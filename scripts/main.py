"""The ``pliant`` command: finds the subcommand and loads only that.

Nothing heavier than the standard library is imported here, so that ``pliant --help`` answers at once; each command
module keeps its own heavy imports inside its functions for the same reason.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from pliant.scripts.errors import CommandError
from pliant.scripts.interrupts import Interrupts, interrupts

COMMANDS = {
    "list": "the environments, with their goals and sizes",
    "demo": "optimise a soft robot by its gradient and write a video, before and after",
    "optimize": "optimise the actions of one episode, at once or over a receding horizon",
    "train": "train a closed-loop policy, through the physics or by reinforcement learning",
    "gradcheck": "compare analytic gradients with central differences",
    "diagnose": "tell how far gradients can be trusted: growth, variance, bias, rounding",
    "replay": "play the saved actions or policy of a run again and write the video",
    "rods": "identify real wires from recordings, score predictions of them, watch both",
    "tactile": "calibrate tactile sensors from frames, say how well that predicts others",
    "gallery": "draw every environment into one image",
    "docs": "write a page about every environment, from what the tasks say",
    "bench": "measure the speed of the simulators, and what methods reach on the tasks",
}
FAILED, USAGE, INTERRUPTED = 1, 2, 130  # exit statuses
REPORTED = (CommandError, ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, ValueError)
"""Errors that are shown as a sentence; others are mistakes in Pliant, and a traceback helps to mend them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status (0 success, 1 failed, 2 wrong usage, 130 interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with interrupts(("SIGINT",)) as caught:
            status = _dispatch(words, caught)
        sys.stdout.flush()  # a full disk shows here
        return status
    except KeyboardInterrupt:  # at any moment, also while modules are being loaded
        print(f"pliant{' ' + words[0] if words else ''}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has gone, like `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except OSError as error:
        print(f"pliant: the output cannot be written: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED


def _dispatch(words: list[str], caught: Interrupts) -> int:
    """Find the subcommand and run it."""
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"pliant {version('pliant')}")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(COMMANDS)}"
        print(f"pliant: there is no command {name!r}; {hint}", file=sys.stderr)
        return USAGE
    import inspect
    from functools import partial

    from pliant.scripts import folders
    from pliant.scripts.flags import parse

    module = importlib.import_module(f"pliant.scripts.{name}")
    try:
        description = inspect.cleandoc(module.Arguments.__doc__)  # tyro's own reading of it drops the examples
        read = partial(parse, module.Arguments, prog=f"pliant {name}", description=description, words=rest)
        parsed = read()
    except SystemExit as leaving:  # tyro has printed help (0) or what is wrong with the flags (2)
        return int(leaving.code or 0)
    folders.begin()
    try:
        if hasattr(module, "defaults_for"):  # what no flag says depends on what others do
            parsed = read(defaults=module.defaults_for(parsed))
        return int(module.run(parsed) or 0)
    except (KeyboardInterrupt, SystemExit, BrokenPipeError):
        folders.remove_empty()
        raise
    except Exception as error:
        folders.remove_empty()
        caught.explain(error)
        if os.environ.get("PLIANT_TRACEBACK") == "1" or not isinstance(error, REPORTED):
            raise
        print(f"pliant {name}: {_sentence(error)}", file=sys.stderr)
        return FAILED


def _sentence(error: Exception) -> str:
    """What went wrong in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"out of memory: {text}"
    return text if isinstance(error, CommandError) else f"{text} (PLIANT_TRACEBACK=1 shows where)"


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pliant COMMAND [OPTIONS]",
            "",
            "Differentiable simulators of soft things: rewards and analytic gradients.",
            "",
            "commands:",
            *lines,
            "",
            "pliant COMMAND --help explains the options of a command. To begin:",
            "",
            "  pliant demo",
            "  pliant optimize FingerReach --method gradient --iterations 50 --out runs/finger",
            "  pliant train FingerReach --algo shac --minutes 10",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
