"""`pliant train`: what it writes, that a killed run goes on as if it had not been, and what it refuses."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import point_mass
import pytest

pytest.importorskip("stable_baselines3")

from pliant.policies.files.checkpoints import load_arrays
from pliant.policies.methods import METHODS
from pliant.scripts.hyperparameters import hyperparameters
from pliant.scripts.main import main

PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(point_mass.__file__).parent)!r})\n"
    "import point_mass; point_mass.register()\n"
    "from pliant.scripts.main import main; sys.exit(main())"
)
QUIET = ("--no-video", "--no-tensorboard", "--evaluation-episodes", "2")
SMALL = {
    "shac": ("--num-envs", "2", "--settings", "hidden=8,window=7,critic_epochs=1"),
    "bptt": ("--num-envs", "2", "--settings", "hidden=8,window=6"),
    "ppo": ("--num-envs", "2", "--settings", "hidden=8,epochs=2,batch_size=20"),
}


@pytest.fixture
def command(capsys):
    """Runs a command in this process; gives exit status, stdout and stderr."""
    point_mass.register()

    def run(*words):
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return run


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(*words):
    process = start(*words)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def curve(folder):
    """All figures of all iterations that do not tell the time."""
    with open(folder / "metrics.csv", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "algorithm", ["shac", pytest.param("bptt", marks=pytest.mark.slow), pytest.param("ppo", marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(algorithm, tmp_path):
    words = ("train", point_mass.ID, "--algo", algorithm, "--steps", 400, *SMALL[algorithm], *QUIET)
    words = (*words, "--checkpoint-seconds", 0)
    finish(*words, "--out", tmp_path / "whole")
    checkpoint = tmp_path / "killed" / "checkpoint.npz"
    process = start(*words, "--out", tmp_path / "killed")
    written = set()
    while len(written) < 4 and process.poll() is None:  # some way into the run
        if checkpoint.exists():
            written.add(checkpoint.stat().st_mtime_ns)
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "killed" / "metrics.json").exists()
    finish(*words, "--out", tmp_path / "killed", "--resume")
    whole = curve(tmp_path / "whole")
    assert curve(tmp_path / "killed") == whole and len(whole) > 10
    policies = [load_arrays(tmp_path / name / "policy.npz") for name in ("whole", "killed")]
    for name, value in policies[0].items():
        np.testing.assert_array_equal(policies[1][name], value)
    summaries = [json.loads((tmp_path / n / "metrics.json").read_text())["summary"] for n in ("whole", "killed")]
    assert summaries[0]["score"] == summaries[1]["score"]
    scores = [[entry["score"] for entry in summary["evaluations"]] for summary in summaries]
    assert scores[0] == scores[1] and len(scores[0]) >= 10


@pytest.mark.parametrize("algorithm", ["shac", "td3"])
def test_a_run_is_whole_and_its_policy_is_replayed(command, algorithm, tmp_path):
    small = ("--settings", "hidden=8,learning_starts=40,updates=1") if algorithm == "td3" else SMALL["shac"][2:]
    words = ("train", point_mass.ID, "--algo", algorithm, "--steps", 160, "--num-envs", 2, *small)
    status, _, error = command(*words, "--evaluation-episodes", 2, "--out", tmp_path)
    assert status == 0 and "score" in error and str(tmp_path) in error.replace(" ", "")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("config.json", "metrics.csv", "metrics.json", "policy.json", "policy.npz", "checkpoint.npz"),
        *("plot.png", "video.mp4", "tensorboard"),
    }
    assert any((tmp_path / "tensorboard").iterdir())
    status, output, _ = command("replay", tmp_path)
    assert status == 0 and "differ" not in output and (tmp_path / "replay.mp4").stat().st_size > 1000
    summary = json.loads((tmp_path / "metrics.json").read_text())["summary"]
    assert f"score {summary['video_score']:.3f}" in output
    status, other, _ = command("replay", tmp_path, "--seed", 5)
    assert status == 0 and other != output

    status, _, error = command(*words, "--out", tmp_path, "--evaluation-episodes", 2)
    assert status == 1 and "holds a run already" in error
    status, _, error = command(*words, "--out", tmp_path, "--evaluation-episodes", 2, "--resume", "--seed", 3)
    assert status == 1 and "seed=0, not 3" in error
    words = ("train", "FingerReach", *words[2:])
    status, _, error = command(*words, "--out", tmp_path, "--evaluation-episodes", 2, "--resume")
    assert status == 1 and "environment='test/PointMass-v0', not 'pliant/FingerReach-v0'" in error

    config = json.loads((tmp_path / "config.json").read_text())
    config["environment"] = "pliant/FingerReach-v0"
    (tmp_path / "config.json").write_text(json.dumps(config))
    status, _, error = command("replay", tmp_path)
    assert status == 1 and "of another task" in error


def test_a_run_is_extended(command, tmp_path):
    words = ("train", point_mass.ID, "--algo", "shac", *SMALL["shac"], *QUIET, "--out", tmp_path)
    assert command(*words, "--steps", 56)[0] == 0
    once = curve(tmp_path)
    (tmp_path / "metrics.csv").unlink()  # as if it had been killed at the very end
    assert command(*words, "--steps", 56, "--resume")[0] == 0
    assert curve(tmp_path) == once and len(once) == 4
    assert command(*words, "--steps", 112, "--resume")[0] == 0
    assert len(curve(tmp_path)) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give the training a budget"),
        (("--steps", "-1"), "steps=-1 must be at least 0"),
        (("--steps", "10", "--settings", "windw=3"), "NAME one of"),
        (("--steps", "10", "--settings", "window=3.5"), "window='3.5' must be a whole number"),
        (("--steps", "10", "--settings", "window=0"), "window=0 is out of range"),
        (("--steps", "10", "--num-envs", "30000000"), "GiB are free, enough for about"),
        (("--steps", "10", "--resume", "--overwrite"), "pass one of them"),
        (("--steps", "10", "--evaluation-episodes", "0"), "evaluation_episodes=0"),
    ],
)
def test_bad_input_is_named(command, words, message, tmp_path):
    status, _, error = command("train", point_mass.ID, "--out", tmp_path / "run", *words)
    assert status == 1 and message in error


@pytest.mark.parametrize("task", ["FingerReach", "Crawler3D", "Move", "CableShape", "LatteArt"])
def test_settings_of_every_kind_of_task_are_settings_of_the_methods(task):
    for algorithm, entry in METHODS.items():
        found = hyperparameters(f"pliant/{task}-v0", algorithm)
        assert found.pop("num_envs") >= 1
        method = entry.load()
        method.check_settings(method.Settings(**found))


def test_a_task_may_have_settings_of_its_own():
    assert hyperparameters("pliant/Crawler3D-v0", "bptt")["controller"] == "sin_sin"
    assert "controller" not in hyperparameters("pliant/Walker2D-v0", "bptt")
    assert hyperparameters("pliant/Crawler3D-v0", "ppo") == hyperparameters("pliant/Walker2D-v0", "ppo")


def test_an_unknown_algorithm_is_refused(command, tmp_path):
    status, output, error = command("train", point_mass.ID, "--algo", "a2c", "--steps", 10, "--out", tmp_path)
    assert status == 2 and "shac" in output + error


def test_a_batch_that_does_not_fit_is_refused_before_it_is_made(command, monkeypatch, tmp_path):
    from pliant.scripts.training import session as training

    monkeypatch.setattr(training, "available_memory", lambda: 10_000_000)
    status, _, error = command("train", point_mass.ID, "--steps", 10, "--num-envs", 4000, "--out", tmp_path)
    assert status == 1 and "num_envs=4000 worlds" in error and "enough for about" in error


def test_a_broken_checkpoint_is_named(command, tmp_path):
    words = ("train", point_mass.ID, "--algo", "shac", *SMALL["shac"], *QUIET, "--out", tmp_path)
    assert command(*words, "--steps", 28)[0] == 0
    (tmp_path / "checkpoint.npz").write_bytes(b"nothing")
    status, _, error = command(*words, "--steps", 56, "--resume")
    assert status == 1 and "checkpoint.npz is not a readable .npz file" in error


def test_the_log_of_a_run_that_goes_on_has_each_step_once(command, tmp_path):
    """What was logged after the checkpoint that a run goes on from is void."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = ("train", point_mass.ID, "--algo", "shac", *SMALL["shac"], "--no-video", "--evaluation-episodes", 1)
    words = (*words, "--evaluate-every", 28, "--out", tmp_path)
    assert command(*words, "--steps", 56)[0] == 0
    checkpoint = (tmp_path / "checkpoint.npz").read_bytes()
    assert command(*words, "--steps", 112, "--resume")[0] == 0
    (tmp_path / "checkpoint.npz").write_bytes(checkpoint)  # as if it had been killed then
    assert command(*words, "--steps", 84, "--resume")[0] == 0
    log = accumulators.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in log.Scalars("train/reward")] == [14, 28, 42, 56, 70, 84]
    assert [event.step for event in log.Scalars("evaluation/score")] == [28, 56, 84]
    assert command(*words, "--steps", 28, "--overwrite")[0] == 0
    log = accumulators.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in log.Scalars("train/reward")] == [14, 28]
