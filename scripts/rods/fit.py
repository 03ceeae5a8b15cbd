"""``pliant rods fit``: parameters of a wire from its training recordings.

The folder of a fit holds

config.json      what was fitted, to which recordings
start.json       the parameters that it began with
parameters.json  the best so far, with their provenance
metrics.csv, metrics.json  the loss of each iteration
checkpoint.npz   what `--resume` goes on from
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pliant.scripts.errors import CommandError
from pliant.scripts.rods.inputs import lost, mendable, read_parameters, read_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pliant.envs.rods.wires.parameter_files import RodParameters
    from pliant.envs.rods.wires.recordings import Recording
    from pliant.scripts.rods.options import Fit
    from pliant.scripts.runs import RunFolder

STATE = "state."  # prefix of the optimiser's own arrays in the checkpoint
COLUMNS = ("iteration", "loss", "seconds")


def fit(arguments: Fit) -> int:
    """Check everything cheap, fit, write the folder."""
    if arguments.iterations < 1:
        raise CommandError(f"iterations={arguments.iterations} must be at least 1")
    if arguments.files < 0:
        raise CommandError(f"files={arguments.files} must be 0 (all) or positive")
    from pliant.envs.rods.grips import check_grip
    from pliant.policies.identification.wires import check_start, initial_parameters, setup_of
    from pliant.scripts.runs import RunFolder

    mendable(check_grip, arguments.grip)
    wire = read_wire(arguments.wire, arguments.data)
    training = _spread(mendable(wire.recordings, "train"), arguments.files)
    given = read_parameters(arguments.start, wire.name) if arguments.start else None
    if arguments.resume and given is not None:
        raise CommandError("a fit that is resumed has begun already; leave out --start")
    start = given or mendable(initial_parameters, training, arguments.grip)
    if given is not None:
        start = replace(given, object=wire.name, setup=setup_of(training, arguments.grip))
    mendable(check_start, training, start)
    folder = RunFolder(arguments.out or f"runs/rods-{wire.name}")
    with folder.claim(resume=arguments.resume, overwrite=arguments.overwrite):
        course = _Course(folder, wire.name, training, arguments, start)
        if arguments.resume and folder.holds_run():
            course.read()
        else:
            course.begin()
        course.run()
    return 0


def _spread(training: list[Recording], count: int) -> list[Recording]:
    """``count`` of the recordings, evenly spread; all for 0 or more than there are."""
    if not 0 < count < len(training):
        return training
    return [training[i * len(training) // count] for i in range(count)]


class _Course:
    """One fit: what it began with, how far it is, and its files."""

    def __init__(
        self, folder: RunFolder, name: str, training: Sequence[Recording], arguments: Fit, start: RodParameters
    ) -> None:
        self.folder, self.name, self.training, self.iterations = folder, name, training, arguments.iterations
        self.start = start
        self._flags = f" --files {len(training)}" if arguments.files else ""
        self._flags += f" --grip {start.grip}" if start.grip != "direction" else ""
        self.state: dict[str, np.ndarray] = {}
        self.history: list[dict[str, float]] = []
        self._seconds, self._stopped = 0.0, ""

    def begin(self) -> None:
        """Write what is needed to begin, in an order that leaves no half of an earlier fit beside this one."""
        from pliant.envs.rods.wires.parameter_files import save_parameters
        from pliant.scripts.runs import machine, versions

        (self.folder.path / "config.json").unlink(missing_ok=True)
        save_parameters(self.folder.path / "start.json", self.start)
        self.folder.begin(self._identity() | {"versions": versions(), "machine": machine()}, resumed=False)

    def read(self) -> None:
        """Go on where the folder's fit stopped.

        Raises:
            CommandError: the folder holds none, or one of another wire, other recordings or another start.
        """
        from pliant.envs.rods.wires.parameter_files import load_parameters
        from pliant.policies.files.checkpoints import history_rows, load_arrays

        self.folder.check_same_run(self._identity(), shared=("object", "training_files", "grip"))
        self.start = mendable(load_parameters, self.folder.path / "start.json")
        if not (self.folder.path / "checkpoint.npz").exists():
            return  # interrupted before the first iteration ended
        arrays = mendable(load_arrays, self.folder.path / "checkpoint.npz", required=("history",))
        try:
            self.history = history_rows(arrays["history"], COLUMNS)
        except ValueError as error:
            file = self.folder.path / "checkpoint.npz"
            raise CommandError(f"cannot resume: the history in {file} is of another kind") from error
        self.state = {key.removeprefix(STATE): value for key, value in arrays.items() if key.startswith(STATE)}
        self._seconds = self.history[-1]["seconds"] if self.history else 0.0

    def run(self) -> None:
        """Fit, keeping the folder up to date, and print what came of it."""
        from rich.console import Console

        from pliant.envs.rods.wires.parameter_files import save_parameters
        from pliant.policies.identification.fitting import fit
        from pliant.scripts.progress import iteration_progress
        from pliant.sims.failures import SimulationDiverged

        console, began = Console(stderr=True), time.perf_counter()
        shown = (("loss", "loss", ".4g"), ("best", "best_loss", ".4g"))
        try:
            with iteration_progress(console, self.iterations, label=f"{self.name} fit", shown=shown) as show:

                def on_iteration(iteration: int, loss: float, parameters: RodParameters) -> None:
                    seconds = self._seconds + time.perf_counter() - began
                    self._keep({"iteration": iteration, "loss": loss, "seconds": seconds}, parameters)
                    show(self.history[-1] | {"best_loss": min(row["loss"] for row in self.history)})

                fitted, self._stopped, is_done = fit(
                    self.training,
                    self.start,
                    iterations=self.iterations,
                    on_iteration=on_iteration,
                    state=self.state,
                )
        except (ValueError, SimulationDiverged) as error:
            raise CommandError(f"cannot fit {self.name}: {error}") from error
        save_parameters(self.folder.path / "parameters.json", fitted, self._provenance())
        self.folder.write_metrics(self.history, self._provenance())
        first, best = self.history[0]["loss"], min(row["loss"] for row in self.history)
        if not is_done:
            console.print(
                f"stopped after {int(self.history[-1]['iteration'])} of {self.iterations} iterations: {self._stopped}; "
                "--resume goes on",
                highlight=False,
                soft_wrap=True,
            )
        if lost(self.training):
            console.print(lost(self.training), highlight=False, soft_wrap=True)
        console.print(
            f"loss {first:.4g} -> [bold]{best:.4g}[/bold] on {len(self.training)} recordings; "
            f"written to {self.folder.path / 'parameters.json'}",
            highlight=False,
            soft_wrap=True,
        )

    def _keep(self, row: dict[str, float], parameters: RodParameters) -> None:
        """Add a row to the history; write the checkpoint, and the parameters if they are the best so far."""
        from pliant.envs.rods.wires.parameter_files import save_parameters
        from pliant.policies.files.checkpoints import history_array

        self.history = [old for old in self.history if old["iteration"] < row["iteration"]] + [row]
        if row["loss"] <= min(old["loss"] for old in self.history):
            save_parameters(self.folder.path / "parameters.json", parameters, self._provenance())
        arrays = {STATE + key: value for key, value in self.state.items()}
        self.folder.write_checkpoint({"history": history_array(self.history, COLUMNS), **arrays})

    def _identity(self) -> dict[str, Any]:
        """What two runs must share for one to go on with the other."""
        files = [recording.name for recording in self.training]
        return {"object": self.name, "training_files": files, "grip": self.start.grip}

    def _provenance(self) -> dict[str, Any]:
        """Where the parameters come from, without the folders of this machine."""
        from pliant.scripts.runs import machine, versions

        iterations = int(self.history[-1]["iteration"])
        return {
            **self._identity(),
            "date": machine()["date"],
            "loss_before": self.history[0]["loss"],
            "loss_after": min(row["loss"] for row in self.history),
            "iterations": iterations,
            "missing_positions": sum(recording.missing for recording in self.training),
            "stopped": self._stopped,
            "command": f"pliant rods fit {self.name} --iterations {iterations}" + self._flags,
            "versions": versions(("pliant", "taichi", "numpy")),
        }
