"""The report of a benchmark: one file, inert whatever the names in it, drawn by its script in a browser."""

import html
import json
import math
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pliant.scripts.bench.page import write_page

PLANS = ("gradient", "lbfgs", "cmaes", "cem", "mppi", "random", "spsa")
POLICIES = ("shac", "bptt", "ppo", "sac", "tqc", "crossq")
HOSTILE = "</script><img src=x onerror=document.title='broken'>\"'&<!--"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
in_browser = pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome is on PATH")


def curve_of(draw, skill, points, budget, log_start=2.0):
    """A curve that rises to ``skill``; scores waver, the best so far does not fall."""
    shares = [(k + 1) / points for k in range(points)]
    scores = [round(skill * (1 - math.exp(-4 * share)) + draw.gauss(0, 0.02), 6) for share in shares]
    best = [max(scores[: k + 1]) for k in range(points)]
    return {
        "simulated_steps": [int(budget * share) for share in shares],
        "reverse_steps": [int(budget * share) // 2 for share in shares],
        "seconds": [round(60 * share * draw.uniform(0.9, 1.1), 4) for share in shares],
        "score": scores,
        "return": [round(80 * score - 20, 6) for score in scores],
        "best_score": best,
    }


def made_up_cell(draw, task, method, seed, ease, points=30):
    """A run; one in twenty has failed."""
    empty = dict.fromkeys(("score", "return", "simulated_steps", "reverse_steps", "seconds"))
    times = {"simulation_seconds": None, "gradient_seconds": None}
    cell = {"task": task, "method": method, "seed": seed, "status": "done", "message": "", **empty, **times}
    if draw.random() < 0.05:
        return cell | {"status": "failed", "message": f"SimulationDiverged: step {seed + 3}", "curve": {}}
    skill = min(1.0, max(0.02, ease * draw.gauss(1.0, 0.12)))
    curve = curve_of(draw, skill, points, 4000)
    return cell | {
        "score": curve["best_score"][-1],
        "return": curve["return"][-1],
        "simulated_steps": 4000,
        "reverse_steps": 2000,
        "seconds": 60.0,
        "simulation_seconds": 25.0,
        "gradient_seconds": 20.0,
        "curve": curve,
    }


def made_up_results(tasks=4, plans=PLANS, policies=POLICIES, seeds=3, points=30):
    """Results of the form that the benchmark writes; the intervals are made up too."""
    draw = random.Random(1)
    families = ("locomotion", "dough", "fluids", "rods")
    names = [f"Task{k}" for k in range(tasks)]
    methods = {
        name: {"track": track, "about": f"what {name} does", "differentiable": name in ("gradient", "shac")}
        for track, chosen in (("plan", plans), ("policy", policies))
        for name in chosen
    }
    skill = {name: draw.uniform(0.4, 1.0) for name in methods}
    ease = {name: draw.uniform(0.5, 1.1) for name in names}
    cells = [
        made_up_cell(draw, task, method, seed, ease[task] * skill[method], points)
        for task in names
        for method in methods
        for seed in range(seeds)
    ]
    results = {
        "format": 1,
        "suite": "quick",
        "budget": {"steps": dict.fromkeys(names, 4000)},
        "machine": {
            "platform": "Linux-6.1",
            "processor": "AMD EPYC",
            "cores": 2,
            "python": "3.11.2",
            "date": "2026-12-01",
        },
        "versions": {"pliant": "0.1.0", "taichi": "1.7.4"},
        "command": "pliant bench methods --suite quick",
        "tasks": {
            name: {"family": families[k % 4], "horizon": 80, "summary": f"Moves body {k} to where it belongs."}
            for k, name in enumerate(names)
        },
        "methods": methods,
        "seeds": list(range(seeds)),
        "cells": cells,
        "leaderboards": {},
        "improvement": {},
        "profiles": {},
    }
    for track, chosen in (("plan", plans), ("policy", policies)):
        if chosen:
            rank(results, track, chosen)
    return results


def rank(results, track, methods):
    """Fill in the tables of a track, roughly."""
    scores = {name: [c["score"] or 0.0 for c in results["cells"] if c["method"] == name] for name in methods}
    scores = {name: sorted(found) for name, found in scores.items() if found}
    thresholds = [k / 40 for k in range(41)]
    board = []
    for name, found in scores.items():
        iqm = sum(found) / len(found)
        row = {"method": name, "iqm": iqm, "low": iqm - 0.05, "high": iqm + 0.04, "mean": iqm}
        failed = sum(c["status"] == "failed" for c in results["cells"] if c["method"] == name)
        board.append(
            row | {"median": found[len(found) // 2], "tasks_solved": 1, "cells": len(found), "failed": failed}
        )
    results["leaderboards"][track] = sorted(board, key=lambda row: -row["iqm"])
    results["improvement"][track] = {
        one: {
            other: [p := (1 + sum(a > b for a in mine for b in theirs)) / (2 + len(mine) * len(theirs)), p / 2, p]
            for other, theirs in scores.items()
            if other != one
        }
        for one, mine in scores.items()
    }
    shares = {name: [sum(s > t for s in found) / len(found) for t in thresholds] for name, found in scores.items()}
    results["profiles"][track] = {"thresholds": thresholds, **shares}


def embedded(page):
    """The results in a page, as an HTML parser finds them."""
    return json.loads(re.search(r'<script type="application/json" id="results">(.*?)</script>', page, re.DOTALL)[1])


def drawn(path):
    """The page after its script has run, and how many seconds that took, the browser's own start included."""
    start = time.monotonic()
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", path.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout, time.monotonic() - start
