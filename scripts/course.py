"""One optimisation of ``pliant optimize``: its environments, its files, and how far it is."""

from __future__ import annotations

import math
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.envs.timing import NO_TIME, Timing, timing_of
from pliant.policies.trajectory.settings import MpcSettings, TrajectorySettings

if TYPE_CHECKING:
    from pliant.policies.trajectory.episode import Result
    from pliant.scripts.runs import RunFolder

SHOWN = (
    ("return", "return", ".4g"),
    ("score", "score", ".3f"),
    ("best", "best_return", ".4g"),
    ("its score", "best_score", ".3f"),
    ("steps/s", "steps_per_second", ",.0f"),
)
SECONDS_BETWEEN_CHECKPOINTS = 5.0


class Course:
    """One run: its environments, its files, and how far it is.

    Args:
        console: shows the bar.
        folder: where the run is written.
        config: of the run.
        env: what candidates are simulated in.
        settings: of the optimiser.
        control: of a receding horizon.
        controlled: what acts over a receding horizon; None optimises the whole episode at once.
        state: what to go on from; None begins.
        earlier: simulated in earlier sessions.
    """

    def __init__(
        self,
        console: Any,
        folder: RunFolder,
        config: dict[str, Any],
        env: Any,
        settings: TrajectorySettings,
        control: MpcSettings,
        controlled: Any,
        state: Any,
        earlier: Timing = NO_TIME,
    ) -> None:
        self.console, self.folder, self.config = console, folder, config
        self.env, self.settings, self.control, self.controlled, self.state = env, settings, control, controlled, state
        self.method: str = config["method"]
        self._earlier = earlier
        self.interrupts: Any = None
        self._began = False
        self._latest: Any = None  # the state after the last iteration of this session
        self._total = settings.iterations
        self._show: Any = None
        self._saved = -math.inf
        if controlled is not None:
            from pliant.policies.trajectory.mpc import plans_of

            self._total = plans_of(settings.horizon or controlled.horizon, control)

    def run(self) -> Result:
        """Optimise, and write all files but the video."""
        from pliant.scripts.environments import short_name
        from pliant.scripts.progress import iteration_progress

        label = f"{short_name(self.config['environment'])} {self.method}" + (" receding" if self.controlled else "")
        optimizer = optimizer_of(self.method).optimize
        hooks = {"state": self.state, "on_iteration": self._on_iteration}
        with iteration_progress(self.console, self._total, label=label, shown=SHOWN) as self._show:
            if self.controlled is None:
                result = optimizer(self.env, self.settings, **hooks)
            else:
                from pliant.policies.trajectory import mpc

                result = mpc.optimize(self.controlled, self.env, optimizer, self.settings, self.control, **hooks)
        self._begin()
        self._write(result)
        title = f"{self.config['environment']}, seed {self.settings.seed}"
        best_by = "" if self.controlled else self.settings.best_by  # a receding horizon has one episode
        self.folder.write_plot({self.method: result.history}, title, best_by=best_by)
        return result

    def keep(self) -> None:
        """Write how far the run has come in this session: the checkpoint, the best actions, the figures."""
        if self._latest is None:
            return
        if self.controlled is None:
            from pliant.policies.trajectory.episode import interim_result

            result = interim_result(self.method, self.env, self.settings, self._latest)
        else:
            from pliant.policies.trajectory import mpc

            result = mpc.interim_result(self.controlled, self.settings, self.control, self._latest)
        self._write(result)

    def _begin(self) -> None:
        if not self._began:
            self.folder.begin(self.config, resumed=self.state is not None)
            self._began = True

    def _on_iteration(self, current: Any, row: dict[str, float]) -> None:
        self._begin()
        self._latest = current.copy()
        self._show(row | _progress(row, self._total, self.settings.max_simulated_steps))
        if time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS or row["iteration"] == self._total:
            self.folder.write_checkpoint(current.to_arrays() | {"timing": np.array(self._timing())})
            self._saved = time.monotonic()
        self.interrupts.check()

    def _timing(self) -> Timing:
        """Simulated so far, in all sessions."""
        return self._earlier + timing_of(self.env) + timing_of(self.controlled)

    def _write(self, result: Result) -> None:
        timing, config = self._timing(), self.config
        self.folder.write_checkpoint(result.state.to_arrays() | {"timing": np.array(timing)})
        self.folder.write_actions(result.actions, result.initial_actions)
        self.folder.write_metrics(
            result.history,
            {
                "environment": config["environment"],
                "method": config["method"],
                "seed": config["settings"]["seed"],
                "score": result.score,
                "return": result.value,
                "iterations": len(result.history),
                "simulated_steps": result.simulated_steps,
                "reverse_steps": result.reverse_steps,
                "seconds": result.seconds,
                "simulation_seconds": timing.forward,
                "gradient_seconds": timing.reverse,
            },
        )


def optimizer_of(method: str) -> Any:
    """The module of a method: its file in ``policies/trajectory``."""
    return import_module(f"pliant.policies.trajectory.{method.replace('-', '_')}")


def _progress(row: dict[str, float], iterations: int, budget: int) -> dict[str, float]:
    """What the bar shows beside the row: simulated steps a second, and the iterations that the budget allows."""
    allowed = budget * row["iteration"] / row["simulated_steps"] if budget and row["simulated_steps"] else iterations
    return {"steps_per_second": row["simulated_steps"] / max(row["seconds"], 1e-9), "of": min(iterations, allowed)}
