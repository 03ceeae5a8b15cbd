"""A method of training is one file and one line: everything that `pliant train` does follows from these."""

import csv
import json
import subprocess
import sys

import numpy as np
import point_mass
import pytest

pytest.importorskip("torch")

from pliant.policies.files.checkpoints import load_arrays
from pliant.policies.methods import METHODS, Method, find_method
from pliant.scripts.main import main

NAME = "hill-climbing"
QUIET = ("--no-video", "--evaluation-episodes", "2", "--num-envs", "2", "--settings", "sigma=0.05")


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs a command in this process, which knows the method; gives exit status, stdout and stderr."""
    point_mass.register()
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setitem(METHODS, NAME, Method("hill_climbing", "noise on the best weights", worlds={}, num_envs=3))

    def run(*words):
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return run


def curve(folder):
    with open(folder / "metrics.csv", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_it_trains_writes_its_files_and_goes_on(command, tmp_path):
    words = ("train", point_mass.ID, "--algo", NAME, *QUIET)
    assert command(*words, "--steps", 1200, "--out", tmp_path / "whole")[0] == 0
    whole = curve(tmp_path / "whole")
    assert len(whole) == 30 and float(whole[-1]["best_return"]) > float(whole[0]["return"]) + 0.1
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["settings"] == {"steps": 1200, "minutes": 0.0, "seed": 0, "sigma": 0.05, "hidden": 8}
    assert config["algorithm"] == NAME and any((tmp_path / "whole" / "tensorboard").iterdir())
    assert {p.name for p in (tmp_path / "whole").glob("p*")} == {"plot.png", "policy.npz", "policy.json"}

    assert command(*words, "--steps", 400, "--out", tmp_path / "parts")[0] == 0
    assert command(*words, "--steps", 1200, "--out", tmp_path / "parts", "--resume")[0] == 0
    assert curve(tmp_path / "parts") == whole
    summaries = [json.loads((tmp_path / n / "metrics.json").read_text())["summary"] for n in ("whole", "parts")]
    assert summaries[0]["simulated_steps"] == summaries[1]["simulated_steps"] == 1200
    weights = load_arrays(tmp_path / "parts" / "policy.npz")
    assert weights and all(np.isfinite(value).all() for value in weights.values())
    status, output, _ = command("replay", tmp_path / "whole")
    assert status == 0 and "score" in output and (tmp_path / "whole" / "replay.mp4").exists()


def test_its_settings_and_number_of_worlds_are_its_own(command, tmp_path):
    words = ("train", point_mass.ID, "--algo", NAME, "--steps", 10, "--no-video", "--no-tensorboard")
    assert command(*words, "--evaluation-episodes", 1, "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["num_envs"] == 3
    status, _, error = command(*words, "--out", tmp_path / "a", "--settings", "window=3")
    assert status == 1 and "NAME one of sigma, hidden" in error
    status, _, error = command(*words, "--out", tmp_path / "b", "--settings", "sigma=0")
    assert status == 1 and "sigma=0.0 is out of range" in error


def test_help_names_every_method_and_what_it_is(command):
    status, output, _ = command("train", "--help")
    text = " ".join(output.replace("│", " ").split())
    assert status == 0
    for name, method in METHODS.items():
        assert f"{name}: {method.about}" in text
    assert "{" + ",".join(METHODS) + "}" in text.replace(" ", "").replace("|", ",")
    status, output, error = command("train", point_mass.ID, "--algo", "hill", "--steps", 10)
    assert status == 2 and NAME in output + error


def test_a_method_that_there_is_not_is_named():
    names = "bptt, shac, sapo, ahac, mixed, ivw, ppo, sac, td3, tqc, crossq"
    with pytest.raises(ValueError, match=f"algo='a2c' is unknown; allowed: {names}$"):
        find_method("a2c")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_form(name):
    pytest.importorskip("stable_baselines3")
    method = METHODS[name]
    settings = method.make_settings({"seed": 4}, steps=1000, minutes=2.0, episode=20, num_envs=4)
    assert (settings.seed, settings.minutes) == (4, 2.0)
    assert getattr(settings, method.budget) == (1000 if method.budget == "steps" else 13)
    with pytest.raises(ValueError, match="minutes=-1 is out of range"):
        method.make_settings({}, steps=1, minutes=-1, episode=20, num_envs=4)


def test_an_iteration_of_a_shortened_episode_is_as_long_as_that():
    pytest.importorskip("torch")
    found = [
        METHODS["bptt"].make_settings(given, steps=120, minutes=0, episode=20, num_envs=2).iterations
        for given in ({}, {"horizon": 0}, {"horizon": 5}, {"horizon": 50})
    ]
    assert found == [3, 3, 12, 3]
    with pytest.raises(ValueError, match="horizon=-3"):
        METHODS["bptt"].make_settings({"horizon": -3}, steps=120, minutes=0, episode=20, num_envs=2)


def test_the_table_of_methods_is_read_without_torch():
    program = (
        "import sys; import pliant.policies.methods, pliant.scripts.training.options, pliant.policies.networks; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'stable_baselines3', 'taichi')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
