"""`pliant rods`: fit, evaluate and view, with a stand-in for the simulator and synthetic recordings."""

import json
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

from pliant.envs.rods.wires import parameter_files
from pliant.envs.rods.wires.layouts import LAYOUTS, OBJECTS
from pliant.envs.rods.wires.parameter_files import RodParameters, load_parameters, save_parameters
from pliant.policies.identification.fitting import Fitted
from pliant.policies.identification.protocol import hold_still
from pliant.scripts.main import main
from pliant.scripts.rods import peers, view

KEYS = {"l1", "padded_rmse", "rmse", "hold_still", "ms_per_step", "files"}


class Identification(types.ModuleType):
    """A wire that keeps its first shape and sinks: its only parameter, drag, is the rate [m/frame]. The fit halves the
    distance to the best rate at each iteration and keeps what it needs to go on in ``state``."""

    RATE = 0.01

    def __init__(self):
        super().__init__("identification")
        self.interrupt_at = None

    def initial_parameters(self, recordings, grip="direction"):
        return RodParameters(recordings[0].object, {"drag": 0.0, "rest_length": np.full(3, 0.1)})

    def predict(self, recordings, parameters, *, precision="f32"):
        assert precision in ("f32", "f64")
        predictions = []
        for recording in recordings:
            prediction = hold_still(recording)
            frames = np.arange(len(prediction))[:, None]
            prediction[:, recording.free, 2] -= parameters.values["drag"] * np.maximum(frames - 1, 0)
            prediction[:, recording.clamped] = recording.positions[:, recording.clamped]
            predictions.append(prediction)
        return predictions

    def fit(self, recordings, start, *, iterations, on_iteration, state):
        def report(iteration):
            state["rate"], state["iteration"] = np.array(rate), np.array(iteration)
            on_iteration(iteration, abs(rate - self.RATE), RodParameters(start.object, start.values | {"drag": rate}))

        rate, first = start.values["drag"], 1
        if state:
            rate, first = float(state["rate"]), int(state["iteration"]) + 1
        else:
            report(0)
        for iteration in range(first, iterations + 1):
            if iteration == self.interrupt_at:
                raise KeyboardInterrupt
            rate += 0.5 * (self.RATE - rate)
            report(iteration)
        return Fitted(RodParameters(start.object, start.values | {"drag": rate}), "all are made", True)

    def check_start(self, recordings, parameters):
        pass

    def setup_of(self, recordings, grip):
        return None


@pytest.fixture
def identification(monkeypatch):
    fake = Identification()
    monkeypatch.setitem(sys.modules, "pliant.policies.identification.wires", fake)
    monkeypatch.setitem(sys.modules, "pliant.policies.identification.fitting", fake)
    return fake


def sinking(layout, frames=12, rate=Identification.RATE, seed=0):
    """Held ends stay; the rest sinks at ``rate`` [m/frame] from frame 1; shape (T, n, 3) [m]."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(0, 0.01, (len(layout.parents), 3)) + [0, 0, 1]
    for vertex, parent in enumerate(layout.parents[1:], start=1):
        shape[vertex] += [shape[parent, 0] + 0.1, 0.05 * layout.branch[vertex], 0]
    points = np.repeat(shape[None], frames, axis=0)
    free = np.setdiff1d(np.arange(len(shape)), layout.clamped)
    points[:, free, 2] -= rate * np.maximum(np.arange(frames)[:, None] - 1, 0)
    return points


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with recordings of dlo2 (as .npz) and bdlo1 (as the authors' pickles)."""
    root = tmp_path / "data"
    for split, count in (("train", 4), ("eval", 2)):
        for number in range(count):
            layout = LAYOUTS["dlo2"]
            path = root / "rods" / "dlo2" / split / f"{number}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            parents, clamped = np.array(layout.parents), np.array(layout.clamped)
            np.savez(path, positions=sinking(layout, seed=number), dt=0.01, clamped=clamped, parents=parents)
            points = sinking(LAYOUTS["bdlo1"], seed=number)
            path = root / "dataset" / "BDLO1" / split / f"{number}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            array = np.stack([-points[..., 1], points[..., 2], -points[..., 0]])
            path.write_bytes(pickle.dumps(array))
    monkeypatch.setenv("PLIANT_DATA", str(root))
    return root


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package with parameters of dlo2 only: the right rate."""
    folder = tmp_path / "package" / "parameters"
    folder.mkdir(parents=True)
    save_parameters(folder / "dlo2.json", RodParameters("dlo2", {"drag": Identification.RATE}, {"date": "today"}))
    monkeypatch.setattr(parameter_files, "files", lambda _: folder.parent)
    return folder


@pytest.fixture
def command(capsys):
    def run(*words):
        status = main(["rods", *(str(word) for word in words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.mark.parametrize("action", ["fit", "evaluate", "view"])
def test_help_of_each_action_has_an_example_and_is_quick(action):
    code = (
        f"import sys; from pliant.scripts.main import main; main(['rods', {action!r}, '--help']); "
        "print([m for m in ('numpy', 'taichi', 'gymnasium', 'cv2', 'rich') if m in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        began = sum(os.times()[2:4])
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(sum(os.times()[2:4]) - began)
    assert min(seconds) < 0.5
    assert process.stdout.splitlines()[-1] == "[]"
    assert f"usage: pliant rods {action}" in process.stdout and f"pliant rods {action} " in process.stdout
    assert "Example" in process.stdout


def test_evaluate_prints_json(command, data, shipped, identification):
    status, output, _ = command("evaluate", "dlo2", "--json")
    found = json.loads(output)
    assert status == 0 and set(found) >= KEYS and set(found["hold_still"]) == {"l1", "padded_rmse", "rmse"}
    assert found["l1"] < 1e-12 and found["rmse"] < 1e-12 and found["files"] == 2
    sunk = 0.01 * np.arange(1, 11)  # metres, in the scored frames
    assert found["hold_still"]["l1"] == pytest.approx(8 / 12 / 3 * sunk.mean())
    assert found["hold_still"]["rmse"] == pytest.approx(np.sqrt(np.mean(sunk**2)))
    assert found["ms_per_step"] > 0 and "breakdown" not in found


def test_evaluate_breaks_the_error_down(command, data, shipped, identification, tmp_path):
    wrong = tmp_path / "wrong.json"
    save_parameters(wrong, RodParameters("bdlo1", {"drag": 0.0}))
    status, output, _ = command("evaluate", "bdlo1", "--parameters", wrong, "--json", "--breakdown")
    found = json.loads(output)
    assert status == 0 and found["rmse"] == found["hold_still"]["rmse"]
    where = found["breakdown"]
    assert len(where["vertices"]) == 20 and len(where["times"]) == 10 and set(where["files"]) == {"0", "1"}
    assert where["times"] == pytest.approx(0.01 * np.arange(1, 11))
    assert [vertex for vertex, error in enumerate(where["vertices"]) if error < 1e-12] == [0, 1, 11, 12]


def test_evaluate_prints_tables_beside_the_peers(command, data, shipped, identification):
    status, output, _ = command("evaluate", "dlo2", "--breakdown", "--precision", "f64")
    assert status == 0
    for text in ("Pliant", "holding still", "DEFORM, trained", "0.0102", "ms/step", "vertex", "time [s]", "recording"):
        assert text in output


def test_parameters_that_are_not_shipped_are_asked_for(command, data, shipped, identification):
    status, _, error = command("evaluate", "bdlo1")
    assert status == 1 and "no parameters of bdlo1 come with the package (there are: dlo2)" in error
    assert len(error.splitlines()) == 1 and "TRACEBACK" not in error


def test_errors_are_one_sentence(command, data, shipped, identification, tmp_path, monkeypatch):
    for words, message in (
        (("evaluate", "dlo7"), "object='dlo7' is unknown; did you mean"),
        (("fit", "dlo2", "--iterations", "0"), "iterations=0 must be at least 1"),
        (("fit", "dlo2", "--files", "-1"), "files=-1 must be 0 (all) or positive"),
        (("fit", "dlo3"), "has no recordings of dlo3 for train"),
        (("fit", "dlo2", "--data", tmp_path / "none"), "none, which is not a folder"),
        (("evaluate", "dlo2", "--parameters", tmp_path / "none.json"), "none.json does not exist"),
        (("view", "dlo2/eval/9.npz"), "dlo2/eval/9.npz does not exist"),
        (("view", "dlo2/eval/0.npz", "--out", tmp_path / "a.avi"), "must end in .mp4"),
    ):
        status, _, error = command(*words)
        assert status == 1 and message in error and len(error.splitlines()) == 1
    monkeypatch.delenv("PLIANT_DATA")
    status, _, error = command("evaluate", "dlo2")
    assert status == 1 and "--data FOLDER" in error and "PLIANT_DATA" in error


def test_hostile_and_truncated_files_are_refused(command, data, shipped, identification, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = data / "dataset" / "BDLO1" / "eval" / "1.pkl"
    whole = path.read_bytes()
    path.write_bytes(pickle.dumps(Hostile()))
    status, _, error = command("evaluate", "bdlo1", "--parameters", "dlo2")
    assert status == 1 and "1.pkl is refused: it names" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "ran").exists()
    path.write_bytes(whole[:-100])
    assert "1.pkl is truncated" in command("evaluate", "bdlo1", "--parameters", "dlo2")[2]


def test_fit_writes_parameters_with_their_provenance(command, data, identification, tmp_path):
    out = tmp_path / "fit"
    status, _, message = command("fit", "dlo2", "--iterations", 8, "--files", 2, "--out", out)
    assert status == 0 and "parameters.json" in message
    names = {"config.json", "start.json", "parameters.json", "metrics.csv", "metrics.json", "checkpoint.npz"}
    assert {path.name for path in out.iterdir()} == names
    fitted = load_parameters(out / "parameters.json")
    assert fitted.object == "dlo2" and fitted.values["drag"] == pytest.approx(0.01, rel=0.01)
    np.testing.assert_array_equal(fitted.values["rest_length"], np.full(3, 0.1))
    origin = fitted.provenance
    assert origin["training_files"] == ["0", "2"] and origin["iterations"] == 8
    assert origin["loss_before"] == 0.01 and origin["loss_after"] == pytest.approx(0.01 / 2**8)
    assert (
        origin["command"] == "pliant rods fit dlo2 --iterations 8 --files 2"
        and origin["versions"]["taichi"] != "absent"
    )
    assert str(tmp_path) not in (out / "parameters.json").read_text()
    assert len(json.loads((out / "metrics.json").read_text())["history"]) == 9
    status, output, _ = command("evaluate", "dlo2", "--parameters", out / "parameters.json", "--json")
    assert json.loads(output)["rmse"] < 1e-3


def test_an_interrupted_fit_goes_on_to_the_same_end(command, data, identification, tmp_path):
    assert command("fit", "dlo2", "--iterations", 9, "--out", tmp_path / "whole")[0] == 0
    identification.interrupt_at = 5
    status, _, error = command("fit", "dlo2", "--iterations", 9, "--out", tmp_path / "parts")
    assert status == 130 and "--resume" in error
    halfway = load_parameters(tmp_path / "parts" / "parameters.json")
    assert halfway.values["drag"] == pytest.approx(0.01 * (1 - 2**-4)) and halfway.provenance["iterations"] == 4
    identification.interrupt_at = None
    status, _, error = command("fit", "dlo2", "--iterations", 9, "--out", tmp_path / "parts")
    assert status == 1 and "holds a run already" in error
    assert command("fit", "dlo2", "--iterations", 9, "--out", tmp_path / "parts", "--resume")[0] == 0
    whole, parts = (load_parameters(tmp_path / name / "parameters.json") for name in ("whole", "parts"))
    assert whole.values["drag"] == parts.values["drag"]
    assert parts.provenance["loss_before"] == 0.01 and parts.provenance["iterations"] == 9
    history = json.loads((tmp_path / "parts" / "metrics.json").read_text())["history"]
    assert [row["iteration"] for row in history] == list(range(10))


def test_a_fit_interrupted_before_its_first_iteration_can_be_resumed(command, data, identification, tmp_path):
    identification.interrupt_at = 1
    assert command("fit", "dlo2", "--iterations", 3, "--out", tmp_path / "fit")[0] == 130
    (tmp_path / "fit" / "checkpoint.npz").unlink()
    identification.interrupt_at = None
    assert command("fit", "dlo2", "--iterations", 3, "--out", tmp_path / "fit", "--resume")[0] == 0


def test_only_the_same_fit_is_resumed(command, data, shipped, identification, tmp_path):
    out = tmp_path / "fit"
    assert command("fit", "dlo2", "--iterations", 2, "--start", "dlo2", "--out", out)[0] == 0
    assert load_parameters(out / "start.json").values == {"drag": 0.01}
    status, _, error = command("fit", "bdlo1", "--out", out, "--resume")
    assert status == 1 and "it was run with object='dlo2'" in error
    status, _, error = command("fit", "dlo2", "--files", 1, "--out", out, "--resume")
    assert status == 1 and "it was run with training_files=['0', '1', '2', '3']" in error
    status, _, error = command("fit", "dlo2", "--start", "dlo2", "--out", out, "--resume")
    assert status == 1 and "leave out --start" in error
    (out / "checkpoint.npz").write_bytes(b"garbage")
    status, _, error = command("fit", "dlo2", "--out", out, "--resume")
    assert status == 1 and "checkpoint.npz is not a readable .npz" in error
    np.savez(out / "checkpoint.npz", history=np.zeros((2, 5)))
    status, _, error = command("fit", "dlo2", "--out", out, "--resume")
    assert status == 1 and "checkpoint.npz is of another kind" in error
    assert command("fit", "dlo2", "--iterations", 2, "--out", out, "--overwrite")[0] == 0


def test_parameters_survive_a_file(tmp_path):
    values = {"bend_stiffness": 0.123456789012345678, "natural_curvature": np.random.default_rng(0).normal(size=(5, 2))}
    save_parameters(tmp_path / "a.json", RodParameters("bdlo2", values), {"date": "today"})
    read = load_parameters(tmp_path / "a.json")
    assert read.object == "bdlo2" and read.provenance == {"date": "today"} and list(read.values) == list(values)
    assert read.values["bend_stiffness"] == values["bend_stiffness"]
    np.testing.assert_array_equal(read.values["natural_curvature"], values["natural_curvature"])
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["version"] == 1 and written["values"]["bend_stiffness"]["unit"] == "m^4/s^2"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("values", "message"),
    [({"colour": 1.0}, "parameter 'colour' has no unit"), ({"drag": np.nan}, "parameter 'drag' must be finite")],
)
def test_parameters_that_cannot_be_written_leave_no_file(tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        save_parameters(tmp_path / "a.json", RodParameters("dlo1", values))
    assert list(tmp_path.iterdir()) == []


def written(**changes):
    return json.dumps({"version": 1, "object": "dlo1", "values": {}, "provenance": {}} | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (written()[:-9], "is truncated or no JSON"),
        ("[" * 100_000, "is truncated or no JSON"),
        ("[]", r"version 1 \(version=None\)"),
        (written(version=2), r"version 1 \(version=2\)"),
        (written(object=3), "'object' must be a str"),
        (written(values=[]), "'values' must be a dict"),
        (written(values={"colour": {"value": 1, "unit": ""}}), "there is no parameter 'colour'"),
        (written(values={"drag": 1.0}), "'drag' must be a value with the unit '1/s'"),
        (written(values={"drag": {"value": 1.0, "unit": "kg"}}), "with the unit '1/s'"),
        (written(values={"drag": {"value": "1", "unit": "1/s"}}), "must be a finite number"),
        (written(values={"drag": {"value": True, "unit": "1/s"}}), "must be a finite number"),
        (written(values={"drag": {"value": [[1], [1, 2]], "unit": "1/s"}}), "must be a finite number"),
        (written(values={"drag": {"value": float("nan"), "unit": "1/s"}}), "must be a finite number"),
        (written(values={"drag": {"value": [1.0, float("inf")], "unit": "1/s"}}), "must be a finite number"),
    ],
)
def test_broken_parameter_files_are_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_parameters(tmp_path / "a.json")
    assert "a.json" in str(caught.value)


def test_every_shipped_file_can_be_read_and_names_no_folders():
    for name in parameter_files.shipped_objects():
        parameters = load_parameters(name)
        assert parameters.object == name and parameters.values
        assert {"training_files", "date", "loss_before", "loss_after", "versions", "command"} <= set(
            parameters.provenance
        )
        assert "/" not in json.dumps(parameters.provenance["training_files"])


def test_view_writes_a_video(command, data, shipped, identification, tmp_path, monkeypatch):
    import imageio_ffmpeg

    from pliant.scripts.video import LABEL_HEIGHT

    monkeypatch.setattr(view, "SIZE", (96, 64))
    out = tmp_path / "a.mp4"
    status, output, _ = command("view", "dlo2/eval/0.npz", "--out", out)
    assert status == 0 and str(out) in output and "rmse 0.0000 m" in output
    meta = next(imageio_ffmpeg.read_frames(str(out)))
    assert meta["size"] == (192, 64 + LABEL_HEIGHT) and meta["fps"] == 25
    status, _, error = command("view", data / "dataset" / "BDLO1" / "eval" / "0.pkl", "--out", out)
    assert status == 1 and "no parameters of bdlo1" in error


def test_edges_have_the_color_of_their_rod_or_are_held():
    from pliant.envs.rods.wires.recordings import Recording

    layout = LAYOUTS["bdlo1"]
    arrays = {"clamped": np.array(layout.clamped), "parents": np.array(layout.parents)}
    colors = view.colors_of(Recording("a", "", positions=sinking(layout), dt=0.01, clamp_mode="ends", **arrays))
    named = [view.HELD, *view.COLORS]
    assert [named.index(tuple(color)) for color in colors] == [0] + 10 * [1] + [0] + 4 * [2] + 3 * [3]


def test_peers_are_known_objects_with_a_source():
    for name in OBJECTS:
        assert peers.peers_of(name) and all(peer.method and peer.source for peer in peers.peers_of(name))
    (trained,) = [peer for peer in peers.peers_of("bdlo1") if peer.source == "its records"]
    assert trained.padded_rmse == 0.0144 and trained.l1 is None
