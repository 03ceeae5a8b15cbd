"""`pliant bench tune`: the same number of trials for each method, published ranges, seeds of their own."""

import csv
import json
from dataclasses import fields

import point_mass
import pytest
from bench_runs import RUN

from pliant.policies.methods import METHODS
from pliant.policies.trajectory.settings import check_settings
from pliant.scripts.bench import pool
from pliant.scripts.bench.contestants import contestants
from pliant.scripts.bench.options import Methods
from pliant.scripts.bench.ranges import RANGES, Log, draw
from pliant.scripts.bench.suites import plan_of
from pliant.scripts.bench.tuning import FIRST_SEED, best_of, trials_of
from pliant.scripts.main import main
from pliant.scripts.optimize import SETTINGS
from pliant.scripts.training.settings import parse_settings


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command in this process; its runs know the particle."""
    point_mass.register()
    monkeypatch.setattr(pool, "PROGRAM", (pool.PROGRAM[0], "-c", RUN))

    def command(*words):
        status = main(["bench", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return command


def test_the_best_trial_is_found_and_used(run, tmp_path):
    words = ("--tasks", point_mass.ID, "--methods", "gradient", "--budget-steps", 800)
    tune = ("tune", *words, "--trials", 2, "--seeds", 1, "--workers", 2, "--out", tmp_path / "tune")
    status, output, _ = run(*tune)
    assert status == 0 and "2 of 2 trials have ended" in output
    with open(tmp_path / "tune" / "trials.csv", encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    assert [row["trial"] for row in trials] == ["trial0", "trial1"]
    assert {row["seed"] for row in trials} == {str(FIRST_SEED)} and trials[0]["settings"] == "{}"
    best = max(trials, key=lambda row: float(row["score"]))
    tuned = tmp_path / "tune" / "tuned.json"
    assert json.loads(tuned.read_text()) == {"PointMass": {"gradient": json.loads(best["settings"])}}
    logs = {path: path.stat().st_mtime_ns for path in (tmp_path / "tune").rglob("log.txt")}
    assert run(*tune)[0] == 0 and {path: path.stat().st_mtime_ns for path in logs} == logs  # nothing is run twice


def test_settings_that_were_tuned_are_used_and_kept(run, tmp_path):
    (tmp_path / "tuned.json").write_text(json.dumps({"PointMass": {"gradient": {"learning_rate": 0.123}}}))
    words = ("methods", "--tasks", point_mass.ID, "--methods", "gradient", "--seeds", 1, "--budget-steps", 800)
    out = ("--out", tmp_path / "bench")
    status, output, _ = run(*words, "--tuned", tmp_path / "tuned.json", *out, "--list")
    assert status == 0 and "--learning-rate 0.123" in " ".join(output.replace("│", " ").split())
    (tmp_path / "bench").mkdir()
    kept = {"asked": {}, "budget": {"steps": {"PointMass": 800}}, "tuned": {"PointMass": {}}}
    (tmp_path / "bench" / "benchmark.json").write_text(json.dumps(kept))
    status, _, error = run(*words, *out)
    assert status == 1 and "holds a benchmark with other settings" in error


def test_every_method_has_as_many_trials_and_other_seeds_than_the_comparison(tmp_path):
    plan = plan_of(Methods(suite="quick"))
    runs = trials_of(plan, 4, tmp_path)
    counts = {method.name: sum(run.method.name == method.name for run in runs) for method in plan.methods}
    assert set(counts.values()) == {4 * len(plan.tasks) * plan.seeds}
    assert min(run.seed for run in runs) == FIRST_SEED > 10_000
    assert len({run.folder for run in runs}) == len(runs)


@pytest.mark.parametrize("method", RANGES)
def test_ranges_are_of_settings_that_there_are_and_hold_what_is_allowed(method):
    pytest.importorskip("sb3_contrib")
    assert method in contestants()
    kind = SETTINGS[method] if method in SETTINGS else METHODS[method].load().Settings
    assert set(RANGES[method]) <= {field.name for field in fields(kind)}
    assert draw(method, 0) == {} and draw(method, 1) == draw(method, 1) != draw(method, 2)
    for trial in range(1, 30):
        drawn = draw(method, trial)
        if method in SETTINGS:
            check_settings(kind(**drawn))
        else:
            text = ",".join(f"{name}={value}" for name, value in drawn.items())
            METHODS[method].load().check_settings(kind(**parse_settings(text, kind)))
        for name, value in drawn.items():
            allowed = RANGES[method][name]
            assert allowed.low <= value <= allowed.high if isinstance(allowed, Log) else value in allowed.values


def test_a_trial_counts_when_all_its_runs_have_ended():
    common = {"task": "A", "method": "m"}
    rows = [
        common | {"trial": "trial0", "status": "done", "score": 0.4, "settings": {}},
        common | {"trial": "trial0", "status": "done", "score": 0.6, "settings": {}},
        common | {"trial": "trial1", "status": "done", "score": 1.0, "settings": {"x": 1}},
        common | {"trial": "trial1", "status": "failed", "score": None, "settings": {"x": 1}},
        common | {"trial": "trial2", "status": "done", "score": 0.9, "settings": {"x": 2}},
        common | {"trial": "trial2", "status": "pending", "score": None, "settings": {"x": 2}},
    ]
    assert best_of(rows) == {"A": {"m": {}}}
    rows[3] |= {"status": "done", "score": 0.1}
    assert best_of(rows) == {"A": {"m": {"x": 1}}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune", "--suite", "smoke", "--trials", "0"), "trials=0 must be at least 1"),
        (("methods", "--suite", "smoke", "--tuned", "absent.json"), "tuned='absent.json' cannot be read"),
    ],
)
def test_wrong_flags_are_named(run, words, message, tmp_path):
    status, _, error = run(*words, "--out", tmp_path / "new")
    assert status == 1 and message in error and not (tmp_path / "new").exists()
