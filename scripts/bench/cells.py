"""A cell of a benchmark: one task, one method, one seed; a run folder of its own that tells how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pliant.policies.files.checkpoints import load_json, save_json
from pliant.scripts.bench.contestants import Contestant
from pliant.scripts.bench.suites import Plan, Task
from pliant.scripts.errors import CommandError

DONE, FAILED, PENDING = "done", "failed", "pending"
STATUS_FILE, LOG_FILE = "cell.json", "log.txt"


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        task, method: what is run.
        seed: of the episode of a plan; of networks, noise and episodes of a training.
        seconds: budget of time [s]; 0 where it is the task's steps.
        root: folder of the benchmark.
        settings: of the method, in place of its own.
        trial: of a search for settings; "" where there is none.
        film: whether a video is written.
    """

    task: Task
    method: Contestant
    seed: int
    seconds: float
    root: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    trial: str = ""
    film: bool = False

    @property
    def name(self) -> str:
        """TASK/METHOD/seedN, with the trial before the seed where there is one."""
        parts = (self.task.name, self.method.name, self.trial, f"seed{self.seed}")
        return "/".join(filter(None, parts))

    @property
    def folder(self) -> Path:
        """Where its run is written."""
        return self.root / "cells" / self.name

    def words(self) -> list[str]:
        """The command that runs it, or goes on with it."""
        task = self.task
        words = self.method.words(
            task.env_id,
            self.seed,
            episode=task.episode,
            steps=task.steps,
            seconds=self.seconds,
            settings=self.settings,
            film=self.film,
        )
        return [*words, "--out", str(self.folder)]

    def status(self) -> str:
        """Whether it is done, has failed or is yet to be run."""
        return str(self._record().get("status", PENDING))

    def message(self) -> str:
        """Why it failed."""
        return str(self._record().get("message", ""))

    def end(self, status: str, message: str = "") -> None:
        """Write that it is done, or why it failed."""
        save_json(self.folder / STATUS_FILE, {"status": status, "message": message})

    def run_of(self) -> dict[str, Any]:
        """The summary and the history of its run.

        Raises:
            CommandError: it is done, and its files are broken or missing.
        """
        try:
            return load_json(self.folder / "metrics.json")
        except (OSError, ValueError) as error:
            raise CommandError(f"{self.name} is done, and its figures cannot be read: {error}") from error

    def config(self) -> dict[str, Any]:
        """What its run was told, and where it ran."""
        return load_json(self.folder / "config.json")

    def log_line(self) -> str:
        """The last line that its command printed."""
        try:
            lines = (self.folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _record(self) -> dict[str, Any]:
        path = self.folder / STATUS_FILE
        try:
            return load_json(path) if path.exists() else {}
        except ValueError:
            return {}  # a broken one: run it again, its own checkpoint is whole


def cells_of(
    plan: Plan, root: Path, tuned: Mapping[str, Mapping[str, Mapping[str, Any]]], *, films: bool = False
) -> Iterator[Cell]:
    """All cells; every task and method has its first seed before any has its second.

    Args:
        plan: what is run.
        root: folder of the benchmark.
        tuned: settings by task and method, where they are not the method's own.
        films: whether the runs of the first seed write videos.
    """
    for seed in range(plan.seeds):
        for task in plan.tasks:
            for method in plan.methods:
                settings = tuned.get(task.name, {}).get(method.name, {})
                yield Cell(task, method, seed, plan.seconds, root, settings, film=films and seed == 0)
