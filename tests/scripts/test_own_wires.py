"""`pliant rods` with wires of one's own: what a path or name means, and that errors come before folders are made."""

import json
import shutil

import numpy as np
import pytest

from pliant.envs.rods.wires.layouts import LAYOUTS
from pliant.envs.rods.wires.parameter_files import load_parameters, save_parameters
from pliant.envs.rods.wires.recordings import load
from pliant.envs.rods.wires.wire import find_wire, save_recording
from pliant.policies.identification.wires import initial_parameters
from pliant.scripts.main import main

PARENTS = [-1, 0, 1, 2, 3, 4, 5, 3, 7]
CLAMPED = [0, 1, 5, 6]


def swaying(seed=0, edge=0.08, frames=20):
    shape = np.zeros((9, 3))
    shape[:7, 0] = np.arange(7)
    shape[7], shape[8] = shape[3] + [0.2, 0.8, 0], shape[3] + [0.3, 1.6, -0.2]
    way = 0.02 * np.sin(5e-2 * np.arange(frames)[:, None, None] + np.random.default_rng(seed).uniform(0, 6, 3))
    return edge * shape + way


def write(folder, *, splits=("train", "eval"), count=2, **changes):
    for split in splits:
        for seed in range(count):
            given = {"dt": 0.01, "clamped": CLAMPED, "parents": PARENTS, **changes}
            save_recording(folder / split / f"{seed}.npz", swaying(seed), **given)
    return folder


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("PLIANT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        status = main(["rods", *(str(word) for word in words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_recordings_are_written_and_read_back(tmp_path):
    positions = swaying()
    positions[5:8, 3] = np.nan
    made = save_recording(tmp_path / "new" / "a.npz", positions, dt=0.005, clamped=CLAMPED, parents=PARENTS)
    read = load(tmp_path / "new" / "a.npz")
    for name in ("positions", "known", "clamped", "parents", "branch"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert read.dt == 0.005 and read.missing == 3 and read.branch.tolist() == [0] * 7 + [1, 1]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]
    chain = save_recording(tmp_path / "chain.npz", swaying()[:, :7], dt=0.01, clamped=[0, 6])
    assert chain.parents.tolist() == [-1, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": 1e3 * swaying()}, "another unit than metres"),
        ({"positions": swaying()[:, :, :2]}, "positions have shape"),
        ({"positions": swaying()[0]}, "positions have shape"),
        ({"positions": swaying().astype(complex)}, "positions have type complex128"),
        ({"positions": np.full((20, 9, 3), np.nan)}, "vertex 0 is not seen"),
        ({"parents": PARENTS[:-1]}, r"parents have shape \(8,\)"),
        ({"parents": [-1, 0, 1, 2, 3, 4, 5, 0, 7]}, "first vertex has several successors"),
        ({"parents": [-1, 0, 1, 9, 3, 4, 5, 3, 7]}, "makes no tree"),
        ({"parents": [-1.0, *PARENTS[1:]]}, "parents has type float64"),
        ({"clamped": [0, 9]}, "must be vertices from 0 to 8"),
        ({"clamped": []}, "clamped"),
        ({"dt": 0.0}, "dt=0.0 must be a time"),
        ({"clamp_mode": "left"}, "clamp_mode='left'"),
        ({"path": "a.csv"}, r"must end in \.npz"),
    ],
)
def test_what_makes_no_recording_is_not_written(tmp_path, changes, message):
    given = {"path": "a.npz", "positions": swaying(), "dt": 0.01, "clamped": CLAMPED, "parents": PARENTS, **changes}
    path, positions = tmp_path / given.pop("path"), given.pop("positions")
    with pytest.raises(ValueError, match=message):
        save_recording(path, positions, **given)
    assert list(tmp_path.iterdir()) == []


def test_a_path_or_name_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "harness")
    write(tmp_path / "data" / "rods" / "loom")
    write(tmp_path / "flat", splits=(".",))
    for text in ("harness", "./harness", str(tmp_path / "harness"), "harness/eval"):
        wire = find_wire(text)
        assert wire.name == "harness" and not wire.is_known
        assert [recording.name for recording in wire.recordings("eval")] == ["0", "1"]
        assert wire.recordings("eval")[0].object == "harness"
    assert len(find_wire("harness/train/1.npz").recordings("eval")) == 1
    assert find_wire("loom", tmp_path / "data").recordings("train")[0].object == "loom"
    monkeypatch.setenv("PLIANT_DATA", str(tmp_path / "data"))
    assert find_wire("loom").name == "loom" and find_wire("loom/eval/0.npz").place.is_file()
    assert find_wire("DLO2").is_known and find_wire("dlo2").place is None
    flat = find_wire("flat")
    assert not flat.has_splits() and len(flat.recordings("train")) == len(flat.recordings("eval")) == 2
    for text, message in (
        ("dlo7", "object='dlo7' is unknown; did you mean .*; nor is there a file or folder dlo7"),
        ("./none", "./none does not exist"),
        ("none.npz", "none.npz does not exist"),
        ("", "object='' is unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            find_wire(text)
    with pytest.raises(ValueError, match="harness has no recordings for test: harness/test has no files"):
        find_wire("harness").recordings("test")


def test_a_folder_of_two_wires_is_refused(command, tmp_path):
    write(tmp_path / "harness")
    save_recording(tmp_path / "harness" / "train" / "z.npz", swaying()[:, :7], dt=0.01, clamped=[0, 6])
    status, _, error = command("fit", "harness")
    assert status == 1 and "recordings 0 and z of harness differ in parents" in error
    assert not (tmp_path / "runs").exists()


def refusals(folder):
    """What is wrong with a fit, and the message."""
    short = initial_parameters(find_wire(folder).recordings("train"))
    save_parameters(folder / "short.json", short)
    text = json.loads((folder / "short.json").read_text())
    text["values"]["rest_length"]["value"] = [0.03] * 9
    (folder / "short.json").write_text(json.dumps(text))
    return [
        (("--start", folder / "short.json"), "recording 0: vertices 0 and 1 are 0.08 m apart in frame 1"),
        (("--start", "dlo1"), "parameters are of 13 vertices, the recording has 9"),
        (("--start", "none.json"), "none.json does not exist"),
        (("--iterations", 0), "iterations=0 must be at least 1"),
    ]


def test_refusals_come_before_a_folder_is_made(command, tmp_path):
    folder = write(tmp_path / "harness")
    for words, message in refusals(folder):
        status, _, error = command("fit", "harness", *words, "--out", tmp_path / "fit")
        assert status == 1 and message in error and len(error.splitlines()) == 1
        assert not (tmp_path / "fit").exists() and not (tmp_path / "runs").exists()


def test_evaluate_and_view_ask_for_parameters(command, tmp_path):
    write(tmp_path / "harness")
    for words in (("evaluate", "harness"), ("view", "harness"), ("view", "harness/eval/0.npz")):
        status, _, error = command(*words)
        assert status == 1 and "no parameters of 'harness' come with the package; pass --parameters FILE" in error
    status, _, error = command("evaluate", "harness", "--parameters", "dlo1")
    assert status == 1 and "parameters are of 13 vertices, the recording has 9" in error
    status, _, error = command("view", "harness", "--recording", "7", "--parameters", "dlo1")
    assert status == 1 and "recording='7' is unknown; harness has 0, 1" in error


def test_check_tells_what_recordings_hold(command, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    folder = write(tmp_path / "harness", count=1)
    lost = swaying()
    lost[4:8, 4] = np.nan
    save_recording(folder / "train" / "lost.npz", lost, dt=0.01, clamped=CLAMPED, parents=PARENTS)
    status, output, _ = command("check", "harness")
    assert status == 0 and "0.078 to 0.081" not in output and "2.2%" in output and "0 1 5 6" in output
    shutil.copy(folder / "train" / "0.npz", folder / "train" / "bad.npz")
    (folder / "train" / "bad.npz").write_bytes((folder / "train" / "bad.npz").read_bytes()[:200])
    status, output, error = command("check", "harness")
    assert status == 1 and "bad.npz is truncated" in error and "lost" in output


def setup_entry(**changes):
    return {"parents": [-1, 0, 1], "branch": [0, 0, 0], "clamped": [0], **changes}


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ([], "'setup' must hold lists of integers parents, branch, clamped"),
        (setup_entry(parents=[-1, 0, 1.5]), "must hold lists of integers"),
        (setup_entry(parents=[-1, 0, True]), "must hold lists of integers"),
        (setup_entry(parents=[-1, 0, 2]), r"parents\[2\]=2 must lie in"),
        (setup_entry(parents=[-1, 0, 10**30]), "'setup'"),
        (setup_entry(branch=[0, 0]), "branch must have 3 entries"),
        (setup_entry(clamped=[3]), "clamped some of the vertices 0 to 2"),
        (setup_entry(grip="glue"), "grip='glue' is unknown"),
        (setup_entry(roll="left"), "roll='left' must be a finite number"),
        (setup_entry(curvature=[[0, 0]]), r"'curvature' must have shape \(3, 2\)"),
        (setup_entry(length=["a"] * 3), "'length' must be a finite number or an array"),
    ],
)
def test_broken_setups_are_refused(tmp_path, setup, message):
    content = {"version": 1, "object": "wire", "values": {}, "provenance": {}, "setup": setup}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_parameters(tmp_path / "a.json")


@pytest.mark.parametrize("name", LAYOUTS)
def test_shipped_parameters_say_how_their_wires_were_recorded(name):
    parameters = load_parameters(name)
    parameters.check_complete()
    assert tuple(parameters.setup.parents) == LAYOUTS[name].parents
    assert tuple(parameters.setup.clamped) == LAYOUTS[name].clamped
    assert parameters.setup.curvature is not None and 1.0 < abs(parameters.setup.roll) < 2.0
