"""`pliant diagnose`: what it prints and writes, and what it refuses."""

import json

import numpy as np
import pytest
import toy_maps

from pliant.scripts.main import main


@pytest.fixture
def say(capsys):
    """Runs the command in this process; gives exit status, stdout and stderr."""

    def run(*words):
        status = main(["diagnose", *(str(word) for word in words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def chaotic():
    return toy_maps.register("chaotic")


def test_stdout_is_json_alone_and_says_what_it_ran_on(say, chaotic):
    status, out, _ = say(
        chaotic, "--json", "--horizons", 16, 4, 32, "--samples", 8, "--seed", 3, "--set", "max_action=1"
    )
    found = json.loads(out)
    assert status == 0 and found["verdict"] == "chaotic" and found["chaotic"] is True
    assert [row["horizon"] for row in found["rows"]] == [4, 16, 32]
    assert found["exponents"]["per_step"][0] == pytest.approx(0.9624, rel=0.02)
    assert found["exponents"]["per_second"][0] == pytest.approx(0.9624 / 0.5, rel=0.02)
    assert [one["name"] for one in found["recommendations"]] == ["horizon", "sigma", "alpha", "precision"]
    assert all(one["reason"] for one in found["recommendations"])
    assert found["settings"]["seed"] == 3 and found["settings"]["samples"] == 8
    assert found["versions"]["pliant"] and found["machine"]["cores"] >= 1
    assert found["environment_options"]["max_action"] == 1.0


def test_tables_and_files(say, tmp_path):
    smooth, folder = toy_maps.register("smooth"), tmp_path / "new" / "folder"
    status, out, error = say(smooth, "--out", folder, "--samples", 8)
    assert status == 0 and str(folder) in error
    for words in ("verdict: trusted", "horizon 32:", "alpha ", "precision f32:", "Lyapunov exponents per step: -0.105"):
        assert words in out
    assert "seed 0, 8 samples, sigma 0.1" in out
    assert sorted(path.name for path in folder.iterdir()) == ["diagnosis.json", "diagnosis.png"]
    assert json.loads((folder / "diagnosis.json").read_text())["verdict"] == "trusted"
    assert (folder / "diagnosis.png").read_bytes().startswith(b"\x89PNG")


def test_figures_that_are_not_finite_are_null(say, monkeypatch):
    jumping = toy_maps.register("jumping")
    monkeypatch.setattr(toy_maps.ToyMaps, "_slope", lambda self, x: np.full_like(x, np.nan))
    status, out, _ = say(jumping, "--json", "--horizons", 4, "--samples", 8)
    row = json.loads(out)["rows"][0]
    assert status == 0 and row["gradient_norm"] is None and row["first_variance"] is None
    assert row["faults"][0] == "overflow" and row["alpha"] == 0.0


def test_actions_of_a_file_are_taken(say, chaotic, tmp_path):
    path = tmp_path / "actions.npz"
    np.savez(path, actions=np.full((12, 1), 0.5), initial_actions=np.zeros((12, 1)))
    status, out, _ = say(chaotic, "--json", "--actions", path, "--samples", 4)
    found = json.loads(out)
    assert status == 0 and found["actions"] == str(path)
    assert [row["horizon"] for row in found["rows"]] == [1, 2, 3, 6, 12]
    assert found["rows"][0]["value"] == pytest.approx(np.cos(2 * np.pi * (2 * 0.31 + 0.17 + 0.025)), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["FingerRaech"], "did you mean pliant/FingerReach-v0"),
        (["--horizons", "0"], "horizons=0 is out of range; it must be from 1"),
        (["--horizons", "4", "33"], "horizons=33 exceeds the episode; it must be from 1 to 32"),
        (["--sigma", "0"], "sigma=0.0 is out of range; it must be above 0"),
        (["--sigma", "nan"], "sigma=nan is out of range"),
        (["--samples", "1"], "samples=1 is out of range; it must be from 4"),
        (["--seed", "-1"], "seed=-1 is out of range"),
        (["--worlds", "0"], "worlds=0 is out of range; it must be from 1"),
        (["--set", "max_action"], "set='max_action' is not NAME=VALUE"),
        (["--actions", "nowhere.npz"], "actions='nowhere.npz'"),
        (["--actions", "wide.npz"], "actions='wide.npz' holds actions of shape (3, 2)"),
        (["--actions", "words.npz"], "actions='words.npz' holds"),
        (["--actions", "short.npz", "--horizons", "4"], "horizons=4 exceeds the episode; it must be from 1 to 3"),
        (["--out", "wide.npz"], "cannot write to the folder wide.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(say, chaotic, tmp_path, monkeypatch, words, named):
    monkeypatch.chdir(tmp_path)
    np.savez("wide.npz", actions=np.zeros((3, 2)))
    np.savez("short.npz", actions=np.zeros((3, 1)))
    np.savez("words.npz", actions=np.array(["left"]))
    status, out, error = say(*([] if words[0] == "FingerRaech" else [chaotic]), *words)
    assert status == 1 and out == "" and named in error
    assert len(error.splitlines()) == 1 and error.startswith("pliant diagnose: ")
    assert len(list(tmp_path.iterdir())) == 3
