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
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pliant.policies.checkpoints import load_arrays, load_json, replacing, save_arrays, save_json
from pliant.scripts.errors import CommandError

VERSIONED = ("pliant", "taichi", "gymnasium", "numpy", "scipy", "cma")


class RunFolder:
    """Reads and writes the files of one run.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def prepare(self) -> None:
        """Create the folder and try to write in it.

        Raises:
            CommandError: it cannot be created or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise CommandError(f"cannot write to the folder {self.path}: {error.strerror or error}") from error

    def holds_run(self) -> bool:
        return (self.path / "config.json").exists()

    def write_json(self, name: str, content: Any) -> None:
        save_json(self.path / name, _plain(content))

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
        if actions.ndim != 2 or actions.shape != initial.shape or actions.dtype.kind != "f":
            raise CommandError(f"{self.path / 'actions.npz'} holds actions of shape {actions.shape}, not (T, A)")
        return actions, initial

    def write_checkpoint(self, arrays: dict[str, Any]) -> None:
        save_arrays(self.path / "checkpoint.npz", arrays)

    def read_checkpoint(self) -> dict[str, Any]:
        try:
            return load_arrays(self.path / "checkpoint.npz", required=("history", "best_parameters"))
        except ValueError as error:
            raise CommandError(f"cannot resume: {error}") from error

    def write_plot(self, histories: dict[str, list[dict[str, float]]], title: str) -> None:
        """``plot.png``: return and score over simulated steps and over seconds, one line per named history."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(2, 2, figsize=(10, 6), sharey="row", layout="constrained")
        for row, quantity in enumerate(("return", "score")):
            for column, (over, label) in enumerate(
                (("simulated_steps", "simulated environment steps"), ("seconds", "seconds"))
            ):
                axis = axes[row][column]
                for name, history in histories.items():
                    x = [entry[over] for entry in history]
                    (line,) = axis.plot(x, [entry[quantity] for entry in history], alpha=0.45, linewidth=1)
                    best = [entry[f"best_{quantity}"] for entry in history]
                    axis.plot(x, best, color=line.get_color(), linewidth=2, label=f"{name}, best so far")
                axis.set_xlabel(label if row == 1 else "")
                axis.set_ylabel(quantity if column == 0 else "")
                axis.grid(alpha=0.3)
        axes[1][0].set_ylim(-0.02, 1.02)
        axes[0][0].legend(fontsize="small")
        figure.suptitle(title)
        with replacing(self.path / "plot.png") as temporary:
            figure.savefig(temporary, dpi=120)
        pyplot.close(figure)


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


def _absent(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _plain(value: Any) -> Any:
    """JSON has neither nan nor infinity: both become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    return None if _absent(value) else value
