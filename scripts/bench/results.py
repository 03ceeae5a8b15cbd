"""What the cells of a benchmark have found, as tables: one JSON file, and CSV files.

cells.csv        task, method, seed: score, return, steps
curves.csv       best score so far, score and return against simulated steps
leaderboard.csv  methods ranked
times.csv        seconds of each cell, in simulation, gradient and method
results.json     all of it, with versions and machine

Where the budget is in steps the first three depend on nothing but the seeds: not on interruptions, and not on how many
cells run at a time.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pliant.policies.files.checkpoints import replacing, save_json
from pliant.scripts.bench import statistics
from pliant.scripts.bench.cells import DONE, FAILED, PENDING, Cell
from pliant.scripts.bench.suites import Plan
from pliant.scripts.errors import CommandError

FORMAT = 1
POINTS = 60
"""Of a curve, at most."""
SOLVED = 0.8
"""Score from which a task counts as solved, by the mean of its runs."""
THRESHOLDS = np.linspace(0.0, 1.0, 41)
CURVE = ("simulated_steps", "reverse_steps", "seconds", "score", "return", "best_score")
COUNTS = ("simulated_steps", "reverse_steps")
TIMES = ("seconds", "simulation_seconds", "gradient_seconds")
FIGURES = ("score", "return", "simulated_steps", "reverse_steps", *TIMES)


def collect(plan: Plan, cells: Iterable[Cell], command: str) -> dict[str, Any]:
    """All results so far.

    Raises:
        CommandError: figures of a cell that is done cannot be read.
    """
    from pliant.scripts.runs import machine, versions

    cells = list(cells)
    rows = [_row_of(cell) for cell in cells]
    machines = {(c["machine"]["processor"], c["machine"]["cores"]) for c in map(_config, cells) if "machine" in c}
    found: dict[str, Any] = {
        "format": FORMAT,
        "suite": plan.suite,
        "budget": plan.budget(),
        "command": command,
        "machine": machine(),
        "machines": sorted(f"{processor}, {cores} cores" for processor, cores in machines),
        "versions": versions(
            ("pliant", "taichi", "gymnasium", "numpy", "scipy", "cma", "torch", "stable-baselines3", "sb3-contrib")
        ),
        "tasks": {
            task.name: {"family": task.family, "horizon": task.episode, "summary": task.summary} for task in plan.tasks
        },
        "methods": {
            m.name: {"track": m.track, "about": m.about, "differentiable": m.differentiable} for m in plan.methods
        },
        "seeds": list(range(plan.seeds)),
        "solved_score": SOLVED,
        "cells": rows,
    }
    tracks = [track for track in ("plan", "policy") if any(m.track == track for m in plan.methods)]
    scores = {m.name: _scores(rows, m.name) for m in plan.methods}
    for name in ("leaderboards", "improvement", "profiles"):
        found[name] = {}
    for track in tracks:
        names = [m.name for m in plan.methods if m.track == track and scores[m.name]]
        found["leaderboards"][track] = _leaderboard(rows, names, scores)
        found["improvement"][track] = _improvement(names, scores)
        profiles = {name: _rounded(statistics.profile(list(scores[name].values()), THRESHOLDS)) for name in names}
        found["profiles"][track] = {"thresholds": _rounded(THRESHOLDS), **profiles}
    return found


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """The files of `collect`'s results, each whole or absent."""
    save_json(folder / "results.json", dict(results))
    keys = ("task", "method", "seed")
    track = {name: method["track"] for name, method in results["methods"].items()}
    cells = [row | {"track": track[row["method"]]} for row in results["cells"]]
    fields = (*keys, "track", "status", "score", "return", "simulated_steps", "reverse_steps", "message")
    _write_csv(folder / "cells.csv", fields, cells)
    _write_csv(
        folder / "curves.csv",
        (*keys, *(name for name in CURVE if name != "seconds")),
        (
            {**{key: row[key] for key in keys}, **dict(zip(CURVE, point, strict=True))}
            for row in cells
            for point in zip(*(row["curve"][name] for name in CURVE), strict=True)
        ),
    )
    boards = [row | {"track": name} for name, board in results["leaderboards"].items() for row in board]
    names = ("iqm", "low", "high", "mean", "median", "tasks_solved", "cells", "failed")
    _write_csv(folder / "leaderboard.csv", ("track", "method", *names), boards)
    _write_csv(folder / "times.csv", (*keys, *TIMES, "method_seconds"), (row | _rest(row) for row in cells))


def _rest(row: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of the method itself: those of a run that were not simulated."""
    if row["seconds"] is None:
        return {"method_seconds": None}
    return {"method_seconds": max(row["seconds"] - row["simulation_seconds"] - row["gradient_seconds"], 0.0)}


def _config(cell: Cell) -> dict[str, Any]:
    return cell.config() if cell.status() == DONE else {}


def _row_of(cell: Cell) -> dict[str, Any]:
    row: dict[str, Any] = {
        "task": cell.task.name,
        "method": cell.method.name,
        "seed": cell.seed,
        "status": cell.status(),
        "message": cell.message(),
        **dict.fromkeys(FIGURES),
        "curve": {name: [] for name in CURVE},
    }
    if row["status"] != DONE:
        return row
    run = cell.run_of()
    summary, history = run["summary"], run["history"]
    try:
        row |= {name: int(summary[name]) if name in COUNTS else summary[name] for name in FIGURES}
        row["seconds"] = summary.get("training_seconds", row["seconds"])  # kernels' compilation included
        points = history if cell.method.track == "plan" else summary["evaluations"]
        row["curve"] = _curve(points)
    except (KeyError, TypeError) as error:
        raise CommandError(f"{cell.name} is done, and its metrics.json has no {error}") from error
    return row


def _curve(points: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Points of a curve, thinned; "best_score" is the best of the scores so far, so that it never falls."""
    best, whole = -math.inf, []
    for point in points:
        score = point.get("best_score", point["score"])
        best = max(best, -math.inf if score is None else score)
        whole.append({**point, "best_score": best if math.isfinite(best) else None})
    kept = sorted({round(k) for k in np.linspace(0, len(whole) - 1, min(POINTS, len(whole)))}) if whole else []
    short = {name: int if name in COUNTS else _short for name in CURVE}
    return {name: [None if whole[k].get(name) is None else short[name](whole[k][name]) for k in kept] for name in CURVE}


def _short(value: float) -> float:
    """A figure with six digits, which is more than it is worth."""
    return float(f"{value:.6g}")


def _rounded(values: np.ndarray) -> list[float]:
    return [_short(float(value)) for value in values]


def _scores(rows: list[dict[str, Any]], method: str) -> dict[str, np.ndarray]:
    """Scores of the runs of a method by task. A run that failed has found nothing: its score is 0."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] == method and row["status"] != PENDING:
            found.setdefault(row["task"], []).append(row["score"] or 0.0)
    return {task: np.array(scores) for task, scores in found.items()}


def _leaderboard(
    rows: list[dict[str, Any]], names: list[str], scores: Mapping[str, Mapping[str, np.ndarray]]
) -> list[dict[str, Any]]:
    board = []
    for name in names:
        tasks = list(scores[name].values())
        mean, low, high = statistics.interquartile_mean(tasks)
        together = np.concatenate(tasks)
        board.append(
            {
                "method": name,
                "iqm": _short(mean),
                "low": _short(low),
                "high": _short(high),
                "mean": _short(float(together.mean())),
                "median": _short(float(np.median(together))),
                "tasks_solved": int(sum(task.mean() >= SOLVED for task in tasks)),
                "cells": len(together),
                "failed": sum(row["status"] == FAILED for row in rows if row["method"] == name),
            }
        )
    return sorted(board, key=lambda row: (-row["iqm"], row["method"]))


def _improvement(names: list[str], scores: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, list[float]]]:
    """By method and by other method: how probably it does better, and the interval, over the tasks that both have."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        found[name] = {}
        for other in names:
            shared = [task for task in scores[name] if task in scores[other]]
            if other == name or not shared:
                continue
            pair = [scores[name][task] for task in shared], [scores[other][task] for task in shared]
            found[name][other] = [_short(value) for value in statistics.improvement(*pair)]
    return found


def _write_csv(path: Path, fields: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: "" if row[name] is None else row[name] for name in fields} for row in rows)
