"""The folder of a run: configuration, metrics, plot, video and actions, each file whole or absent.

config.json    what was run: environment and its options, settings, seed, versions, machine
metrics.csv    one row per iteration
metrics.json   the same rows, and a summary
actions.npz    actions (best, shape (T, A)) and initial_actions
plot.png       return and score against simulated steps and against seconds
video.mp4      the initial and the best episode
checkpoint.npz what `--resume` goes on from
"""

from __future__ import annotations

import csv
import math
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from pliant.policies.files.checkpoints import load_arrays, load_json, replacing, save_arrays, save_json
from pliant.scripts.errors import CommandError
from pliant.scripts.folders import make_folder
from pliant.scripts.interrupts import interrupts
from pliant.scripts.locks import FolderLock

CHECKPOINT = "checkpoint.npz"
RESULTS = (
    *(CHECKPOINT, "metrics.csv", "metrics.json", "plot.png", "video.mp4"),
    *("actions.npz", "policy.npz", "policy.json", "parameters.json"),
)
"""What runs leave besides their configuration."""
VERSIONED = ("pliant", "taichi", "gymnasium", "numpy", "scipy", "cma")


class RunFolder:
    """Reads and writes the files of one run.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._is_own = False  # whether a checkpoint in the folder is of the run that claims it, not of one to overwrite

    def prepare(self) -> None:
        """Create the folder and try to write in it.

        Raises:
            CommandError: it cannot be created or written.
        """
        try:
            make_folder(self.path)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise CommandError(f"cannot write to the folder {self.path}: {error.strerror or error}") from error

    def holds_run(self) -> bool:
        return (self.path / "config.json").exists()

    def holds_results(self) -> bool:
        """Whether something would be lost with the run in the folder; one that was stopped at once leaves nothing."""
        return any((self.path / name).exists() for name in RESULTS)

    def can_resume(self) -> bool:
        """Whether the folder holds what `--resume` goes on from."""
        return self.holds_run() and (self.path / CHECKPOINT).exists()

    @contextmanager
    def claim(self, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """`prepare` the folder for the run in this block, and keep other processes from it.

        A signal that ends the block leaves a sentence on stderr about how to go on.

        Raises:
            CommandError: it cannot be written, another process has claimed it, or it holds a run that is neither to be
                resumed nor to be overwritten.
        """
        if resume and overwrite:
            raise CommandError("--resume goes on with a run, --overwrite replaces it; pass one of them")
        self.prepare()
        with self._lock():
            if self.holds_results() and not (resume or overwrite):
                raise CommandError(f"{self.path} holds a run already; pass --resume, --overwrite or another --out")
            for name in ("config.json", *RESULTS):
                for remainder in self.path.glob(f".{Path(name).stem}.*.partial*"):  # of a killed process
                    remainder.unlink(missing_ok=True)
            self._is_own = resume
            try:
                with interrupts():
                    yield
            except (KeyboardInterrupt, SystemExit):
                self._print_hint()
                raise

    def _lock(self) -> AbstractContextManager[Any]:
        try:
            return FolderLock(self.path)
        except BlockingIOError:
            raise CommandError(
                f"another process is writing a run to {self.path}; wait until it has ended, or pass another --out"
            ) from None
        except OSError as error:
            if not self.path.is_dir():
                raise CommandError(f"the folder {self.path} has gone: {error.strerror or error}") from error
            warnings.warn(
                f"the file system of {self.path} knows no locks ({error.strerror}): see to it that no other process "
                "writes a run there",
                stacklevel=4,
            )
            return nullcontext()

    def begin(self, config: dict[str, Any], *, resumed: bool) -> None:
        """Write config.json; of a run that is not ``resumed``, first remove what an earlier one has left.

        The checkpoint goes first: no instant leaves that of one run beside the configuration of another.
        """
        for name in () if resumed else (CHECKPOINT, *RESULTS):
            (self.path / name).unlink(missing_ok=True)
        self._is_own = True
        self.write_json("config.json", config)

    def check_same_run(
        self, config: dict[str, Any], *, shared: Collection[str], may_differ: Collection[str] = ()
    ) -> None:
        """Refuse to go on with a run that is not the one that ``config`` describes.

        Args:
            config: of the run that is to go on.
            shared: entries of both configurations that must agree; of an entry that is a dict, what is in it.
            may_differ: names of settings that need not.

        Raises:
            CommandError: the folder holds no run, or another one; the message names what differs.
        """
        before = _flat(self.read_json("config.json"), shared, may_differ)
        now = _flat(plain(config), shared, may_differ)
        for name in before | now:
            if before.get(name) != now.get(name):
                raise CommandError(
                    f"cannot resume {self.path}: it was run with {name}={before.get(name)!r}, not {now.get(name)!r}"
                )

    def write_json(self, name: str, content: Any) -> None:
        save_json(self.path / name, plain(content))

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object from the folder.

        Raises:
            CommandError: the file is missing or is not a JSON object.
        """
        path = self.path / name
        if not path.exists():
            raise CommandError(f"{self.path} is not the folder of a run: it has no {name}")
        try:
            return load_json(path)
        except ValueError as error:
            raise CommandError(str(error)) from error

    def write_metrics(self, history: list[dict[str, float]], summary: dict[str, Any]) -> None:
        """``metrics.csv`` and ``metrics.json``; an absent value (nan) is an empty cell and a null."""
        columns = list(history[0]) if history else []
        with (
            replacing(self.path / "metrics.csv") as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({name: "" if _absent(value) else value for name, value in row.items()} for row in history)
        self.write_json("metrics.json", {"summary": summary, "history": history})

    def write_actions(self, actions: Any, initial_actions: Any) -> None:
        save_arrays(self.path / "actions.npz", {"actions": actions, "initial_actions": initial_actions})

    def read_actions(self) -> tuple[Any, Any]:
        """Best and initial actions, each of shape (T, A).

        Raises:
            CommandError: the file is missing or broken.
        """
        try:
            arrays = load_arrays(self.path / "actions.npz", required=("actions", "initial_actions"))
        except ValueError as error:
            raise CommandError(str(error)) from error
        actions, initial = arrays["actions"], arrays["initial_actions"]
        if actions.ndim != 2 or actions.shape != initial.shape or {actions.dtype.kind, initial.dtype.kind} != {"f"}:
            raise CommandError(f"{self.path / 'actions.npz'} holds actions of shape {actions.shape}, not (T, A)")
        if not (np.isfinite(actions).all() and np.isfinite(initial).all()):
            raise CommandError(f"{self.path / 'actions.npz'} holds actions that are not finite")
        return actions, initial

    def write_checkpoint(self, arrays: dict[str, Any]) -> None:
        save_arrays(self.path / CHECKPOINT, arrays)

    def read_checkpoint(self) -> dict[str, Any]:
        try:
            return load_arrays(self.path / CHECKPOINT, required=("history", "best_parameters"))
        except ValueError as error:
            raise CommandError(f"cannot resume: {error}") from error

    def write_plot(self, histories: dict[str, list[dict[str, float]]], title: str, *, best_by: str) -> None:
        """``plot.png``: return and score over simulated steps and over seconds, one line per named history.

        A second line shows the best so far of the quantity that ``best_by`` names; "" leaves it out.
        """

        def draw(axis: Any, quantity: str, over: str) -> None:
            for name, history in histories.items():
                x = [entry[over] for entry in history]
                now = [entry[quantity] for entry in history]
                if quantity != best_by:  # that of the best by something else may fall
                    axis.plot(x, now, linewidth=1 if best_by else 2, label=name)
                    continue
                (line,) = axis.plot(x, now, alpha=0.45, linewidth=1)
                best = [entry[f"best_{quantity}"] for entry in history]
                axis.plot(x, best, color=line.get_color(), linewidth=2, label=f"{name}, best {quantity} so far")

        self._plot(draw, title)

    def write_training_plot(
        self, history: list[dict[str, float]], evaluations: list[dict[str, float]], title: str
    ) -> None:
        """``plot.png``: the same of training, with noise, and of the evaluations."""

        def draw(axis: Any, quantity: str, over: str) -> None:
            for rows, label, style in ((history, "training", "-"), (evaluations, "evaluation", "o-")):
                axis.plot([r[over] for r in rows], [r[quantity] for r in rows], style, alpha=0.8, ms=4, label=label)

        self._plot(draw, title)

    def _plot(self, draw: Callable[[Any, str, str], None], title: str) -> None:
        """``plot.png`` by ``draw(axis, quantity, over)``, called for each quantity over each measure of effort."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(2, 2, figsize=(10, 6), sharey="row", layout="constrained")
        for row, quantity in enumerate(("return", "score")):
            for column, (over, label) in enumerate(
                (("simulated_steps", "simulated environment steps"), ("seconds", "seconds"))
            ):
                axis = axes[row][column]
                draw(axis, quantity, over)
                axis.set_xlabel(label if row == 1 else "")
                axis.set_ylabel(quantity if column == 0 else "")
                axis.grid(alpha=0.3)
        axes[1][0].set_ylim(-0.02, 1.02)
        for axis in axes[:, 0]:
            axis.legend(fontsize="small")
        figure.suptitle(title)
        with replacing(self.path / "plot.png") as temporary:
            figure.savefig(temporary, dpi=120)
        pyplot.close(figure)

    def say_that_it_starts(self, console: Any) -> None:
        """Say that there is nothing to resume."""
        console.print(f"nothing to go on from in {self.path}: the run starts anew", highlight=False, soft_wrap=True)

    def _print_hint(self) -> None:
        """Say how to go on after an interruption."""
        hint = "stopped before anything was found; the same command starts anew"
        if self._is_own and self.can_resume():
            hint = f"go on with the same command and --resume; the run so far is in {self.path}"
        print(hint, file=sys.stderr)


def machine() -> dict[str, Any]:
    """What the figures of a run depend on besides its settings."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def versions(names: Iterable[str] = VERSIONED) -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _flat(config: dict[str, Any], shared: Collection[str], but: Collection[str]) -> dict[str, Any]:
    """The entries ``shared`` of a configuration, and what is in those that are dicts, without the names in ``but``."""
    flat: dict[str, Any] = {}
    for name in shared:
        value = config.get(name)
        flat |= value if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if name not in but}


def _absent(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def plain(value: Any) -> Any:
    """What JSON can hold of a value: nan and infinity become None, tuples lists, keys strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    return None if _absent(value) else value


def available_memory() -> int | None:
    """Bytes that may still be used; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
