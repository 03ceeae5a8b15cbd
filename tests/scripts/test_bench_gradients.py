"""`pliant bench gradients`: rows that are true of a particle with known gradients, a table that is gone on with."""

import json

import numpy as np
import point_mass
import pytest
from bench_runs import TESTS

from pliant.scripts.bench import gradient_probe
from pliant.scripts.bench import gradients as command
from pliant.scripts.main import main

PROGRAM = f"""
import json, sys
sys.path.insert(0, {TESTS!r})
import point_mass
from pliant.scripts.bench.gradient_probe import probe
point_mass.register()
print("a word that a library prints")
print(json.dumps(probe(sys.argv[1], **json.loads(sys.argv[2]))))
"""
SMALL = ("--steps", "4", "--directions", "3", "--repeats", "1", "--longest", "2")


@pytest.fixture
def run(capsys, monkeypatch):
    point_mass.register()
    monkeypatch.setattr(command, "PROBE", (command.PROBE[0], "-c", PROGRAM))

    def measure(*words):
        status = main(["bench", "gradients", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return measure


def test_a_task_is_measured_once_and_kept(run, tmp_path):
    words = ("--tasks", point_mass.ID, *SMALL, "--out", tmp_path / "table.json")
    status, output, _ = run(*words)
    assert status == 0 and "PointMass" in output and "cores" in output
    table = json.loads((tmp_path / "table.json").read_text())
    row = table["tasks"][point_mass.ID]
    quantities = {entry["quantity"]: entry for entry in row["quantities"]}
    assert {"actions", "initial_state.position"} <= set(quantities)
    for entry in quantities.values():
        assert entry["error"] < 1e-4 and entry["cosine"] > 1 - 1e-6
    assert 0 < row["forward_seconds"] and 0 < row["gradient_seconds"] and row["gradient_peak_bytes"] > 2**20
    episode = row["episode"]
    assert [entry["steps"] for entry in row["horizons"]] == [episode // 4, episode // 2, episode, 2 * episode]
    assert all(entry["outcome"] == "finite" and entry["first_action_norm"] > 0 for entry in row["horizons"])

    command_before = command.PROBE
    command.PROBE = ("false",)  # nothing is measured again
    try:
        status, output, _ = run(*words, "--json")
    finally:
        command.PROBE = command_before
    assert status == 0 and json.loads(output)["tasks"][point_mass.ID] == row
    status, _, error = run(*words, "--seed", 1)
    assert status == 1 and "was measured with" in error


def test_a_gradient_that_is_wrong_shows(monkeypatch):
    """With the gradient of the actions stretched and turned the error and the angle say so."""
    from dataclasses import replace

    from pliant.envs.tape import Tape

    usual = Tape.backward

    def wrong(self, *args):
        gradient = usual(self, *args)
        return replace(gradient, actions=1.5 * gradient.actions[..., ::-1])

    monkeypatch.setattr(Tape, "backward", wrong)
    point_mass.register()
    row = gradient_probe.probe(point_mass.ID, steps=4, directions=5, repeats=1, longest=1, seed=0)
    found = {entry["quantity"]: entry for entry in row["quantities"]}
    assert found["actions"]["error"] > 0.1 and found["actions"]["cosine"] < 0.999
    assert found["initial_state.position"]["error"] < 1e-4


def test_a_horizon_beyond_which_there_is_no_gradient_is_told(monkeypatch):
    from pliant.envs.tape import Tape
    from pliant.sims.failures import SimulationDiverged

    backward = Tape.backward

    def overflows(self, *args):
        if self.recorded_steps > 20:
            raise SimulationDiverged(3, None, "the action", 0, "the gradient overflows")
        return backward(self, *args)

    monkeypatch.setattr(Tape, "backward", overflows)
    point_mass.register()
    rows = gradient_probe._reach(point_mass.ID, 20, 3, 0)
    assert [row["steps"] for row in rows] == [5, 10, 20, 40]
    assert [row["outcome"] for row in rows] == ["finite"] * 3 + ["the gradient overflows"]
    assert rows[-1]["norm"] is None and np.isfinite(rows[-2]["norm"])


def test_a_task_that_cannot_be_measured_is_told_and_tried_again(run, tmp_path):
    words = ("--tasks", point_mass.ID, *SMALL, "--out", tmp_path / "table.json")
    usual = command.PROBE
    command.PROBE = ("sh", "-c", "echo a reason >&2; exit 3")
    try:
        status, output, _ = run(*words)
        assert status == 1 and "a reason" in output
        command.PROBE = ("sh", "-c", "echo 'a word'; echo '{\"environment\": \"mended\"}'")
        assert run(*words, "--json")[0] == 0
    finally:
        command.PROBE = usual
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["tasks"] == {point_mass.ID: {"environment": "mended"}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--directions", "1"), "directions=1"),
        (("--steps", "0"), "steps=0"),
        (("--tasks", "Mve"), "did you mean pliant/Move-v0"),
    ],
)
def test_wrong_flags_are_named(run, words, message):
    status, _, error = run(*words)
    assert status == 1 and message in error
