"""`pliant bench methods`: cells that go on, tables that depend on seeds alone, statistics that are right."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import point_mass
import pytest
from bench_runs import BENCH, RUN, TABLES, WORDS

from pliant.policies.methods import METHODS, Method
from pliant.scripts.bench import pool, results, statistics
from pliant.scripts.bench.contestants import contestants
from pliant.scripts.bench.options import Methods
from pliant.scripts.bench.suites import SUITES, plan_of
from pliant.scripts.main import main


def bench(*words):
    return subprocess.Popen([sys.executable, "-c", BENCH, "bench", "methods", *map(str, words)], start_new_session=True)


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command in this process; its cells know the particle and a method of their own."""
    point_mass.register()
    monkeypatch.setattr(pool, "PROGRAM", (sys.executable, "-c", RUN))

    def command(*words):
        status = main(["bench", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return command


def rows_of(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_killed_and_not_killed_one_worker_and_two_give_the_same_tables(run, tmp_path):
    status, output, _ = run("methods", *WORDS, "--workers", 2, "--out", tmp_path / "whole")
    assert status == 0 and "2 of 2 runs done" in output
    killed = bench(*WORDS, "--workers", 1, "--out", tmp_path / "killed")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("cells/*/*/*/checkpoint.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)  # the run that is under way outlives it
    killed.wait()
    ended = [path for path in (tmp_path / "killed").glob("cells/*/*/*/cell.json")]
    assert len(ended) < 2
    before = {path: path.stat().st_mtime_ns for path in ended}
    status, output, _ = run("methods", *WORDS, "--workers", 1, "--out", tmp_path / "killed")
    assert status == 0 and "2 of 2 runs done" in output
    assert {path: path.stat().st_mtime_ns for path in ended} == before  # nothing is run twice
    for name in TABLES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    results = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert results["budget"] == {"steps": {"PointMass": 2400}} and "taichi" in results["versions"]
    for cell in results["cells"]:
        best = cell["curve"]["best_score"]
        assert best == sorted(best) and best[-1] == pytest.approx(cell["score"], abs=1e-5)
        assert 0 < cell["simulated_steps"] <= 2400
        assert (cell["reverse_steps"] > 0) == (cell["method"] == "gradient")
        assert 0 < cell["simulation_seconds"] + cell["gradient_seconds"]
        assert (cell["gradient_seconds"] > 0) == (cell["method"] == "gradient")
    for row in rows_of(tmp_path / "whole" / "times.csv"):
        assert float(row["method_seconds"]) >= 0

    status, output, _ = run("report", tmp_path / "whole")
    assert status == 0 and "2 of 2 runs done" in output and (tmp_path / "whole" / "report.html").exists()


@pytest.mark.slow
def test_a_signal_leaves_runs_that_go_on(tmp_path):
    process = bench(*WORDS, "--out", tmp_path, "--workers", 2)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("cells/*/*/*/config.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert not [path for path in tmp_path.glob("cells/*/*/*/cell.json") if "failed" in path.read_text()]


def test_a_method_and_a_task_appear_by_being_registered(run, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "hill-climbing", Method("hill_climbing", "noise on the best weights", worlds={}))
    assert contestants()["hill-climbing"].track == "policy" and not contestants()["hill-climbing"].differentiable
    plan = plan_of(Methods(suite="full"))
    assert {"PointMass", "FingerReach", "GraspPlastic"} <= {task.name for task in plan.tasks}
    assert set(METHODS) <= {method.name for method in plan.methods}
    words = ("--tasks", point_mass.ID, "--methods", "hill-climbing", "--seeds", 1, "--budget-steps", 400)
    status, output, _ = run("methods", *words, "--out", tmp_path)
    assert status == 0 and "1 of 1 runs done" in output
    (cell,) = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert cell["status"] == "done" and len(cell["curve"]["score"]) == 5
    assert cell["curve"]["best_score"] == sorted(cell["curve"]["best_score"])


def test_what_fails_is_told_and_run_again_when_asked(run, tmp_path):
    words = ("--tasks", point_mass.ID, "--methods", "random-search", "--seeds", 1, "--budget-steps", 10)
    status, output, error = run("methods", *words, "--out", tmp_path)
    assert status == 1 and "1 failed" in output and "PointMass/random-search/seed0: " in error
    log = tmp_path / "cells" / "PointMass" / "random-search" / "seed0" / "log.txt"
    first = log.stat().st_mtime_ns
    (row,) = rows_of(tmp_path / "cells.csv")
    assert row["status"] == "failed" and "max_simulated_steps=10" in row["message"] and row["score"] == ""
    (board,) = rows_of(tmp_path / "leaderboard.csv")
    assert (board["iqm"], board["failed"]) == ("0.0", "1")  # what failed has found nothing
    assert run("methods", *words, "--out", tmp_path)[0] == 1 and log.stat().st_mtime_ns == first  # it is not run again
    assert run("methods", *words, "--out", tmp_path, "--retry")[0] == 1 and log.stat().st_mtime_ns > first
    words = (*words[:-1], 20)
    status, _, error = run("methods", *words, "--out", tmp_path)
    assert status == 1 and "holds a benchmark with the budget {'steps': {'PointMass': 10}}" in error


def test_a_run_that_is_killed_is_no_result_and_no_success(run, monkeypatch, tmp_path):
    monkeypatch.setattr(pool, "PROGRAM", ("sh", "-c", "kill -9 $$"))
    words = ("--tasks", point_mass.ID, "--methods", "gradient", "--seeds", 1, "--budget-steps", 400)
    status, output, error = run("methods", *words, "--out", tmp_path)
    assert status == 1 and "0 of 1 runs done, 0 failed" in output and "1 runs are left" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--suite", "huge"), "suite='huge' is unknown; allowed: smoke, quick, full"),
        (("--tasks", "Move"), "give the methods a budget"),
        (("--suite", "smoke", "--methods", "gradient,a2c"), "methods='a2c' is unknown; allowed: gradient, "),
        (("--suite", "smoke", "--tasks", "Mve"), "did you mean pliant/Move-v0"),
        (("--suite", "smoke", "--tasks", "Move,Move"), "names Move twice"),
        (
            ("--suite", "smoke", "--tasks", "Move,pliant/Move-v0"),
            "tasks: pliant/Move-v0 and pliant/Move-v0 are both Move",
        ),
        (("--suite", "smoke", "--seeds", "-1"), "seeds=-1 must be at least 0"),
        (("--suite", "smoke", "--budget-steps", "5", "--budget-seconds", "5"), "steps or seconds"),
    ],
)
def test_wrong_flags_are_named_before_anything_is_made(run, words, message, tmp_path):
    status, _, error = run("methods", *words, "--out", tmp_path / "new")
    assert status == 1 and message in error and not (tmp_path / "new").exists()


def test_a_folder_without_a_benchmark_is_named(run, tmp_path):
    status, _, error = run("report", tmp_path)
    assert status == 1 and "is not the folder of a benchmark" in error


def test_suites_are_as_large_as_they_say():
    quick = plan_of(Methods(suite="quick"))
    assert len(quick.tasks) >= 14 and len(quick.methods) >= 9 and quick.seeds == 3
    assert {task.family for task in quick.tasks} == {"locomotion", "dough", "fluids", "rods", "tactile"}
    smoke = plan_of(Methods(suite="smoke"))
    assert (len(smoke.tasks), len(smoke.methods), smoke.seeds) == (3, 4, 1)
    assert {method.track for method in smoke.methods} == {"plan", "policy"}
    assert plan_of(Methods(suite="full")).seeds == 10 and set(SUITES) == {"smoke", "quick", "full"}


def test_curves_of_policies_tell_reverse_steps(tmp_path):
    pytest.importorskip("torch")
    point_mass.register()
    words = ("train", point_mass.ID, "--algo", "shac", "--steps", "160", "--num-envs", "2", "--no-video")
    words = (*words, "--no-tensorboard", "--evaluation-episodes", "1", "--settings", "hidden=8,window=10")
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    entries = json.loads((tmp_path / "run" / "metrics.json").read_text())["summary"]["evaluations"]
    assert entries and all(entry["reverse_steps"] == entry["simulated_steps"] > 0 for entry in entries)


def test_steps_are_counted_to_the_last_one():
    points = [{"simulated_steps": 12_345_678.0, "seconds": 1.0, "score": 0.123456789, "return": -1.0}]
    assert results._curve(points) == {
        "simulated_steps": [12_345_678],
        "reverse_steps": [None],
        "seconds": [1.0],
        "score": [0.123457],
        "return": [-1.0],
        "best_score": [0.123457],
    }


def test_interquartile_means_and_intervals():
    scores = [np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6, 10.0])]
    mean, low, high = statistics.interquartile_mean(scores)
    assert mean == pytest.approx((0.2 + 0.3 + 0.4 + 0.5) / 4)  # of eight runs the middle four
    assert low < mean < high
    assert statistics.interquartile_mean([np.array([0.3]), np.array([0.5])]) == pytest.approx((0.4, 0.4, 0.4))


def test_intervals_cover_what_they_estimate():
    """Of means of normal scores: in 95 % of samples, up to the few runs of each and the noise of 200 samples."""
    random = np.random.default_rng(0)
    truth, covered = 0.5, 0
    for _ in range(200):
        scores = [random.normal(truth, 0.1, 20) for _ in range(3)]
        _, low, high = statistics.interquartile_mean(scores)
        covered += low <= truth <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_probabilities_of_improvement():
    better, worse, mixed = np.array([0.8, 0.9]), np.array([0.1, 0.2]), np.array([0.1, 0.9])
    assert statistics.improvement([better], [worse]) == pytest.approx((1, 1, 1))
    assert statistics.improvement([better, worse], [worse, better])[0] == pytest.approx(0.5)
    share, low, high = statistics.improvement([better], [mixed])  # 0.8 > 0.1, 0.9 > 0.1, 0.9 = 0.9, 0.8 < 0.9
    assert share == pytest.approx(2.5 / 4) and low < share < high


def test_profiles():
    scores = [np.array([0.2, 0.6]), np.array([0.6, 1.0])]
    np.testing.assert_allclose(statistics.profile(scores, np.array([0.0, 0.2, 0.6, 1.0])), [1.0, 0.75, 0.25, 0.0])
