"""Pictures of a benchmark: learning curves of every task, and performance profiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pliant.policies.files.checkpoints import replacing

COLUMNS = 4
GRID = 80
"""Places at which curves of several seeds are read."""
STYLES = ("-", "--", "-.", ":")
TRACKS = {"plan": "plans of one episode", "policy": "policies on unseen episodes"}


def draw_curves(path: Path, results: Mapping[str, Any], track: str, over: str) -> None:
    """Best score so far of each task, the median of the seeds and their range.

    Args:
        path: of the picture.
        results: see `pliant.scripts.bench.results.collect`.
        track: "plan" or "policy".
        over: "simulated_steps" or "seconds".
    """
    from matplotlib.figure import Figure

    tasks = list(results["tasks"])
    rows = -(-len(tasks) // COLUMNS)
    figure = Figure(figsize=(3.2 * COLUMNS, 2.4 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).ravel()
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    lines: dict[str, Any] = {}
    for task, axis in zip(tasks, axes, strict=False):
        for index, name in enumerate(_methods(results, track)):
            curves = [
                cell["curve"]
                for cell in results["cells"]
                if (cell["task"], cell["method"]) == (task, name) and cell["curve"][over]
            ]
            if curves:
                lines[name] = _draw(axis, curves, over, index)
        axis.set_title(task, fontsize="medium")
        axis.set_ylim(-0.02, 1.02)
        axis.grid(alpha=0.3)
    label = "simulated environment steps" if over == "simulated_steps" else "seconds"
    figure.supxlabel(label, fontsize="medium")
    figure.supylabel("best score so far", fontsize="medium")
    figure.legend(lines.values(), lines, loc="outside upper center", ncols=6, fontsize="small", title=TRACKS[track])
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def draw_profiles(path: Path, results: Mapping[str, Any]) -> None:
    """Share of runs with a score above a threshold, by track."""
    from matplotlib.figure import Figure

    profiles = results["profiles"]
    figure = Figure(figsize=(5 * len(profiles), 3.6), layout="constrained")
    for axis, (track, lines) in zip(figure.subplots(1, len(profiles), squeeze=False)[0], profiles.items(), strict=True):
        for index, name in enumerate(_methods(results, track)):
            if name in lines:
                axis.plot(lines["thresholds"], lines[name], STYLES[index % 4], color=f"C{index % 10}", label=name)
        axis.set_xlabel("score")
        axis.set_ylabel("share of runs above it")
        axis.set_title(TRACKS[track], fontsize="medium")
        axis.grid(alpha=0.3)
        if axis.lines:  # a run has ended
            axis.legend(fontsize="x-small")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _methods(results: Mapping[str, Any], track: str) -> list[str]:
    return [name for name, method in results["methods"].items() if method["track"] == track]


def _draw(axis: Any, curves: list[Mapping[str, Any]], over: str, index: int) -> Any:
    """Median and range of curves, each of which holds its last value until the next."""
    last = min(curve[over][-1] for curve in curves)
    places = np.linspace(0.0, last, GRID)
    values = np.array(
        [
            np.array([np.nan, *(np.nan if v is None else v for v in curve["best_score"])])[
                np.searchsorted(curve[over], places, side="right")
            ]
            for curve in curves
        ]
    )
    middle, low, high = (np.quantile(values, q, axis=0) for q in (0.5, 0.0, 1.0))
    (line,) = axis.plot(places, middle, STYLES[index % 4], color=f"C{index % 10}")
    axis.fill_between(places, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    return line
