"""The log of a training for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pliant.scripts.errors import CommandError


class TrainingLog:
    """Figures over simulated steps, in a folder of TensorBoard's event files.

    Args:
        folder: it is made with the first figures.
        resumed: whether the run goes on; of one that does not, earlier files are removed.

    Raises:
        CommandError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, resumed: bool) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise CommandError(
                "TensorBoard is not installed: pip install 'pliant[rl]', or pass --no-tensorboard"
            ) from error
        self._make, self.folder, self.resumed = SummaryWriter, folder, resumed
        self._writer: Any = None
        if not resumed:
            for earlier in folder.glob("events.*"):
                earlier.unlink()

    def add_iteration(self, row: Mapping[str, float]) -> None:
        """The figures of an iteration; those that are not finite are left out."""
        step = int(row["simulated_steps"])
        self._open(step)
        for name, value in row.items():
            if math.isfinite(value) and name not in ("iteration", "simulated_steps"):
                self._writer.add_scalar(f"train/{name}", value, step)

    def add_evaluation(self, entry: Mapping[str, float]) -> None:
        """Return and score of an evaluation."""
        step = int(entry["simulated_steps"])
        self._open(step + 1)
        for name in ("return", "score"):
            self._writer.add_scalar(f"evaluation/{name}", entry[name], step)

    def _open(self, void_from: int) -> None:
        """Begin the file. What an interrupted run has written from a step on is void: it comes again."""
        if self._writer is None:
            self._writer = self._make(str(self.folder), purge_step=void_from if self.resumed else None)

    def close(self) -> None:
        """Write what is left to write."""
        if self._writer is not None:
            self._writer.close()
