"""Settings with which `pliant optimize` begins on some tasks: they are allowed, shown, and replaced by flags."""

import json

import point_mass
import pytest

from pliant.envs import ENTRIES
from pliant.policies.trajectory.settings import check_settings
from pliant.scripts import hyperparameters as found
from pliant.scripts.list import as_text, describe
from pliant.scripts.main import main
from pliant.scripts.optimize import SETTINGS


@pytest.mark.parametrize("method", SETTINGS)
def test_settings_of_every_task_are_settings_of_the_method(method):
    for entry in ENTRIES:
        check_settings(SETTINGS[method](**found.hyperparameters(entry.id, method)))


@pytest.mark.parametrize(
    ("words", "rate", "noise"),
    [
        ((), 0.3, 0.02),
        (("--learning-rate", "0.05"), 0.05, 0.02),  # also where the flag says what is usual elsewhere
        (("--initial-noise=0.1",), 0.3, 0.1),
        (("--receding-horizon", "3", "--horizon", "4"), 0.05, 0.01),
        (("--method", "lbfgs"), None, 0.01),
    ],
)
def test_flags_replace_the_settings_of_a_task(tmp_path, monkeypatch, capsys, words, rate, noise):
    own = {"gradient": {"learning_rate": 0.3, "initial_noise": 0.02}}
    monkeypatch.setattr(found, "hyperparameters", lambda env_id, method: own.get(method, {}))
    point_mass.register()
    words = ("optimize", point_mass.ID, "--iterations", "2", "--no-video", "--out", str(tmp_path), *words)
    assert main(words) == 0
    settings = json.loads((tmp_path / "config.json").read_text())["settings"]
    assert settings.get("learning_rate") == rate and settings["initial_noise"] == noise
    said = capsys.readouterr().err
    assert ("settings for" in said) == (rate == 0.3 or noise == 0.02)
    assert ("--learning-rate 0.3" in said) == (rate == 0.3) and ("--initial-noise 0.02" in said) == (noise == 0.02)
    assert main((*words, "--resume")) == 0  # the same command goes on with the same settings


def test_list_shows_the_settings_of_a_task():
    assert describe("pliant/FingerReach-v0")["optimize"] == {}
    entry = describe("pliant/Walker2D-v0")
    assert entry["optimize"] == {"gradient": found.hyperparameters("pliant/Walker2D-v0", "gradient")}
    assert f"--learning-rate {entry['optimize']['gradient']['learning_rate']:g}" in as_text(entry)
