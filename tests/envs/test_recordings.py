"""Recordings of wires: the .npz layout and both of the authors, hostile and broken files, the protocol's scores."""

import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest

from pliant.envs.rods.wires.layouts import LAYOUTS, OBJECTS, check_object
from pliant.envs.rods.wires.recordings import Recording, data_folder, load, recordings
from pliant.policies.identification import protocol

HOLD_STILL = {"dlo1": 0.0842, "dlo2": 0.0752, "dlo3": 0.0793, "dlo4": 0.0825, "dlo5": 0.0722}
needs_data = pytest.mark.skipif(not os.environ.get("PLIANT_DATA"), reason="PLIANT_DATA names no folder of recordings")


def positions(layout, frames=5, seed=0):
    """A wire of edges of 0.1 m, each child rising beside its parent, that wanders; shape (T, n, 3) [m]."""
    shape = np.zeros((len(layout.parents), 3))
    for vertex, parent in enumerate(layout.parents[1:], start=1):
        shape[vertex] = shape[parent] + (0.1 * np.eye(3)[2 if layout.branch[vertex] else 0])
    steps = np.random.default_rng(seed).normal(0, 0.002, (frames, *shape.shape))
    return shape + [0, 0, 0.5] + np.cumsum(steps, axis=0)


def make(wire="dlo2", **changes):
    layout = LAYOUTS[wire]
    fields = {
        "name": "one",
        "object": wire,
        "positions": positions(layout),
        "dt": 0.01,
        "clamped": np.array(layout.clamped),
        "clamp_mode": layout.clamp_mode,
        "parents": np.array(layout.parents),
        "branch": np.array(layout.branch),
    }
    return Recording(**(fields | changes))


def write_npz(path, name="dlo2", seed=0, **changes):
    layout = LAYOUTS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        "positions": positions(layout, seed=seed).astype(np.float32),
        "dt": np.float32(0.01),
        "clamped": np.array(layout.clamped, np.int32),
        "clamp_mode": np.array(layout.clamp_mode),
        "parents": np.array(layout.parents, np.int32),
        "branch": np.array(layout.branch, np.int32),
        "object": np.array(name.removesuffix("_mid").upper()),
    } | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def as_deform(points):
    """DEFORM: a list of frames, each (3, n)."""
    return [np.ascontiguousarray(frame.T) for frame in points]


def as_deft(points):
    """DEFT: (3, T, n) in axes (x, y, z) that this package calls (-y, z, -x)."""
    return np.stack([-points[..., 1], points[..., 2], -points[..., 0]])


def write_pickle(path, value, protocol=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def test_npz_is_read_as_written(tmp_path):
    recording = load(write_npz(tmp_path / "rods" / "dlo2" / "train" / "a.npz"))
    assert (recording.name, recording.object, recording.dt, recording.clamp_mode) == ("a", "dlo2", 0.01, "ends")
    assert recording.positions.dtype == np.float64 and recording.positions.shape == (5, 12, 3)
    np.testing.assert_allclose(recording.positions, positions(LAYOUTS["dlo2"]), atol=1e-7)
    assert recording.clamped.tolist() == [0, 1, 10, 11] and recording.free.tolist() == list(range(2, 10))
    assert not recording.positions.flags.writeable


@pytest.mark.parametrize("name", ["bdlo5", "bdlo1_mid"])
def test_npz_knows_object_and_rods(tmp_path, name):
    for changes in ({}, {"branch": None}):
        recording = load(write_npz(tmp_path / "a.npz", name, **changes))
        assert recording.object == name and tuple(recording.branch) == LAYOUTS[name].branch
    if name == "bdlo5":
        assert [rod.tolist() for rod in recording.branches[1:]] == [[5, 12, 13, 14], [12, 15, 16, 17]]


@pytest.mark.parametrize("number", range(6))
def test_pickles_of_deform_are_read_in_every_protocol(tmp_path, number):
    points = positions(LAYOUTS["dlo1"])
    recording = load(write_pickle(tmp_path / "data_set" / "DLO1" / "eval" / "7.pkl", as_deform(points), number))
    np.testing.assert_array_equal(recording.positions, points)
    assert recording.object == "dlo1" and recording.clamped.tolist() == [0, 1, 11, 12] and recording.dt == 0.01


@pytest.mark.parametrize(
    "kind", ["array", "flat", "lists", "tuple of arrays", "big-endian", "columns first", "float32"]
)
def test_pickles_of_deft_are_read_however_they_are_nested(tmp_path, kind):
    points = positions(LAYOUTS["bdlo1"])
    array = as_deft(points)
    value = {
        "array": array,
        "flat": array.reshape(3, -1),
        "lists": array.tolist(),
        "tuple of arrays": tuple(array),
        "big-endian": array.astype(">f8"),
        "columns first": np.asfortranarray(array),
        "float32": array.astype(np.float32),
    }[kind]
    recording = load(write_pickle(tmp_path / "dataset" / "BDLO1_mid_clamp" / "train" / "a.pkl", value))
    np.testing.assert_allclose(recording.positions, points, atol=1e-7 if kind == "float32" else 0)
    assert recording.object == "bdlo1_mid" and recording.clamped.tolist() == [2, 11, 12]
    assert recording.branches[2].tolist() == [8, 17, 18, 19]


def test_names_of_both_numpy_packages_are_admitted(tmp_path):
    """NumPy 2 writes numpy._core, NumPy 1 wrote numpy.core."""
    content = pickle.dumps(as_deform(positions(LAYOUTS["dlo2"])), protocol=2)
    old, new = b"numpy.core.multiarray", b"numpy._core.multiarray"
    for number, (there, other) in enumerate(((old, new), (new, old))):
        path = tmp_path / "DLO2" / f"{number}.pkl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.replace(there, other))
        assert load(path).positions.shape == (5, 12, 3)


@pytest.mark.parametrize("layout", ["rods", "inside rods", "authors", "clones"])
def test_recordings_are_found_in_each_layout(tmp_path, layout, monkeypatch):
    wanted = {
        "rods": tmp_path / "rods" / "bdlo3" / "train",
        "inside rods": tmp_path / "bdlo3" / "train",
        "authors": tmp_path / "dataset" / "BDLO3" / "train",
        "clones": tmp_path / "DEFT" / "dataset" / "BDLO3" / "train",
    }[layout]
    for seed, name in enumerate("cab"):
        if "rods" in layout:
            write_npz(wanted / f"{name}.npz", "bdlo3", seed=seed)
        else:
            write_pickle(wanted / f"{name}.pkl", as_deft(positions(LAYOUTS["bdlo3"], seed=seed)))
    assert [recording.name for recording in recordings("BDLO3", "train", tmp_path)] == ["a", "b", "c"]
    monkeypatch.setenv("PLIANT_DATA", str(tmp_path))
    assert len(recordings("bdlo3", "train")) == 3
    with pytest.raises(ValueError, match=r"has no recordings of bdlo3 for eval; looked for rods/bdlo3/eval/\*\.npz"):
        recordings("bdlo3", "eval")


def test_without_a_data_folder_both_ways_to_name_one_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("PLIANT_DATA", raising=False)
    with pytest.raises(ValueError, match=r"--data FOLDER.*PLIANT_DATA"):
        data_folder()
    monkeypatch.setenv("PLIANT_DATA", str(tmp_path / "absent"))
    with pytest.raises(ValueError, match=r"PLIANT_DATA names .*absent, which is not a folder"):
        data_folder()
    assert data_folder(tmp_path) == tmp_path


def test_an_unknown_object_is_answered_with_the_nearest(tmp_path):
    assert check_object("BDLO1_mid_clamp") == "bdlo1_mid"
    with pytest.raises(ValueError, match="object='dlo9' is unknown; did you mean"):
        recordings("dlo9", "train", tmp_path)
    with pytest.raises(ValueError, match="allowed: dlo1, dlo2"):
        check_object("rope")
    with pytest.raises(ValueError, match="split='training' is unknown; allowed: train, eval, test"):
        recordings("dlo1", "training", tmp_path)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("hidden", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, number, hidden):
    mark = tmp_path / "ran"
    hostile = Hostile(f"touch {mark}")
    value = [*as_deform(positions(LAYOUTS["dlo1"])), hostile] if hidden else hostile
    path = write_pickle(tmp_path / "DLO1" / "a.pkl", value, number)
    with pytest.raises(
        ValueError, match=r"a\.pkl is refused: it names (posix|nt)\.system; only lists and NumPy arrays"
    ):
        load(path)
    assert not mark.exists()


REFUSED = {
    "eval": (b"c__builtin__\neval\n(V1\ntR.", r"names __builtin__\.eval"),
    "attribute of a known module": (b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.", r"names numpy\.load"),
    "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.", r"names numpy\.ndarray\.dump"),
    "objects in an array": (pickle.dumps(np.array([{}, []], object)), r"array of type 'O8?'"),
    "text": (pickle.dumps(np.array(["a"])), "array of type 'U1'"),
    "dictionary": (pickle.dumps({"a": 1}), "it holds a dict"),
    "nothing": (pickle.dumps(None), "it holds a NoneType"),
    "deep lists": (pickle.dumps([[[[[[1.0]]]]]]), "nested on more than 4 levels"),
    "ragged lists": (pickle.dumps([[1.0], [1.0, 2.0]]), "different shapes"),
    "shape larger than the bytes": (
        pickle.dumps(np.zeros(3)).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
        "shape .2147483647,. in 24 bytes",
    ),
    "memo larger than the file": (b"\x80\x02]r" + struct.pack("<I", 2**31 - 1) + b".", "memo has an entry 2147483647"),
    "many times the same list": (pickle.dumps([[[[0.0] * 100] * 100] * 100] * 100), "more than 33,554,432 numbers"),
    "state of a function": (b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93}b.", "sets the state of a function"),
    "array without contents": (b"cnumpy.core.multiarray\n_reconstruct\n(tR.", "an array without contents"),
    "huge array made directly": (b"cnumpy\nndarray\n(I999999999999\ntR.", "calls numpy.ndarray itself"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_pickles_of_other_things_are_refused_with_the_reason(tmp_path, case):
    content, reason = REFUSED[case]
    path = tmp_path / "DLO1" / "a.pkl"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        load(path)
    assert "a.pkl is refused" in str(caught.value)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["npz", "pkl"])
def test_truncated_files_are_named(tmp_path, part, kind):
    if kind == "npz":
        path = write_npz(tmp_path / "dlo2" / "a.npz")
    else:
        path = write_pickle(tmp_path / "DLO2" / "a.pkl", as_deform(positions(LAYOUTS["dlo2"])))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=rf"a\.{kind} is truncated or no"):
        load(path)


def test_damaged_pickles_never_fail_otherwise(tmp_path):
    """Single bytes are changed at random: the file is read or refused, with nothing but a ValueError."""
    rng = np.random.default_rng(0)
    path = write_pickle(tmp_path / "DLO2" / "a.pkl", as_deform(positions(LAYOUTS["dlo2"])))
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(300):
        damaged = content.copy()
        damaged[rng.integers(len(content), size=2)] = rng.integers(256, size=2)
        path.write_bytes(damaged.tobytes())
        try:
            load(path)
        except ValueError as error:
            assert "a.pkl" in str(error) or "recording a" in str(error)


def test_npz_files_of_other_things_are_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz", positions=None)
    with pytest.raises(ValueError, match="lacks the arrays positions; it holds branch, clamp_mode"):
        load(path)
    mark = tmp_path / "ran"
    np.savez(path, positions=np.array([Hostile(f"touch {mark}")], object))
    with pytest.raises(ValueError, match=r"no \.npz file of plain arrays"):
        load(path)
    assert not mark.exists()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("positions.npy", b"0" * (257 * 2**20))
    with pytest.raises(ValueError, match="it unpacks to 269,484,032 bytes"):
        load(path)


def test_files_that_are_no_recordings_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ValueError, match=r"must end in \.npz, \.pkl, \.pickle"):
        load(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="does not exist"):
        load(tmp_path / "a.npz")
    path = write_pickle(tmp_path / "a.pkl", as_deform(positions(LAYOUTS["dlo2"])))
    with pytest.raises(ValueError, match="does not say of which object it is"):
        load(path)
    with pytest.raises(ValueError, match=r"shape \(5, 3, 12\); dlo1 needs \(T, 3, 13\)"):
        load(path, name="dlo1")
    with pytest.raises(ValueError, match=r"bdlo1 needs \(3, T, 20\)"):
        load(path, name="bdlo1")
    assert load(path, name="dlo2").object == "dlo2"


def with_value(array, index, value):
    changed = np.array(array)
    changed[index] = value
    return changed


POINTS, PARENTS = positions(LAYOUTS["dlo2"]), np.array(LAYOUTS["dlo2"].parents)
WRONG = {
    "two frames": ({"positions": POINTS[:2]}, r"shape \(2, 12, 3\)"),
    "flat": ({"positions": POINTS[..., :2]}, r"shape \(5, 12, 2\)"),
    "infinite": ({"positions": with_value(POINTS, (3, 4, 1), np.inf)}, "vertex 4 in frame 3 is infinite"),
    "millimetres": ({"positions": 1e3 * POINTS}, "another unit than metres"),
    "same point twice": ({"positions": with_value(POINTS, (2, 5), POINTS[2, 4])}, r"edge 5 has the length 0\.0e\+00"),
    "parent later": ({"parents": with_value(PARENTS, 3, 5)}, r"parents\[3\]=5 makes no tree"),
    "parent of itself": ({"parents": with_value(PARENTS, 3, 3)}, r"parents\[3\]=3 makes no tree"),
    "two roots": ({"parents": with_value(PARENTS, 3, -1)}, r"parents\[3\]=-1 makes no tree"),
    "no root": ({"parents": with_value(PARENTS, 0, 0)}, r"parents\[0\]=0 makes no tree"),
    "too few parents": ({"parents": PARENTS[:-1]}, r"parents have shape \(11,\)"),
    "fractions": ({"parents": PARENTS.astype(float)}, "parents has type float64"),
    "clamp outside": ({"clamped": np.array([0, 12])}, "must be vertices from 0 to 11"),
    "clamp before": ({"clamped": np.array([-1, 0])}, "must be vertices from 0 to 11"),
    "clamp twice": ({"clamped": np.array([0, 0])}, "must be different vertices"),
    "no clamp": ({"clamped": np.array([], int)}, "at least one"),
    "all clamped": ({"clamped": np.arange(12)}, "not all 12"),
    "clamp mode": ({"clamp_mode": "left"}, "clamp_mode='left' must be one of ends, middle"),
    "no time": ({"dt": 0.0}, r"dt=0\.0 must be"),
    "nan time": ({"dt": float("nan")}, "dt=nan must be"),
    "rod that jumps": ({"branch": np.array([0] * 6 + [1] * 3 + [0] * 3)}, r"branch\[9\]=0 neither continues"),
    "rod left out": ({"branch": np.array([0] * 6 + [2] * 6)}, r"branch\[6\]=2 neither continues"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_field_is_named(case):
    changes, message = WRONG[case]
    with pytest.raises(ValueError, match=message) as caught:
        make(**changes)
    assert str(caught.value).startswith("recording one: ")


def test_recordings_of_different_wires_are_not_mixed(tmp_path):
    write_npz(tmp_path / "bdlo1" / "eval" / "a.npz", "bdlo1")
    write_npz(tmp_path / "bdlo1" / "eval" / "b.npz", "bdlo2")
    with pytest.raises(ValueError, match="recordings a and b of bdlo1 differ in parents"):
        recordings("bdlo1", "eval", tmp_path)


def test_scores_of_a_shifted_prediction():
    """All free vertices are off by (3, 4, 0) cm."""
    recording = make("dlo2")
    predicted = np.array(recording.positions)
    predicted[2:, recording.free] += [0.03, 0.04, 0.0]
    found = protocol.score([recording], [predicted])
    assert found.l1 == pytest.approx(8 / 12 * 0.07 / 3)
    assert found.padded_rmse == pytest.approx(np.sqrt(8 / 12 * 0.05**2 / 3))
    assert found.rmse == pytest.approx(0.05)


def test_padding_counts_as_right_and_attachments_count_twice():
    """Vertex 4, which a child hangs on, is off by 6 cm along x; DEFT's array has 3 * 13 * 3 entries, two are off."""
    recording = make("bdlo1")
    predicted = np.array(recording.positions)
    predicted[:, 4, 0] += 0.06
    assert protocol.padded(recording, predicted).shape == (5, 3, 13, 3)
    found = protocol.score([recording], [predicted])
    assert found.padded_rmse == pytest.approx(0.06 * np.sqrt(2 / (3 * 13 * 3)))
    assert found.l1 == pytest.approx(0.06 / (20 * 3)) and found.rmse == pytest.approx(0.06 / np.sqrt(16))


def test_the_first_two_frames_are_given_and_files_are_pooled_by_frames():
    layout = LAYOUTS["dlo2"]
    short, long = make(positions=positions(layout, 4)), make(name="two", positions=positions(layout, 8))
    wrong = [np.array(short.positions), np.array(long.positions)]
    wrong[0] += 0.03  # in its two scored frames, the other's six are right
    wrong[0][:2] = 9.0
    found = protocol.score([short, long], wrong)
    assert found.l1 == pytest.approx(0.03 * 2 / 8) and found.rmse == pytest.approx(0.03 * np.sqrt(3 * 2 / 8))
    where = protocol.break_down([short, long], wrong)
    assert where.times.shape == (2,) and where.vertices.shape == (12,)
    assert where.vertices == pytest.approx(0.03 * np.sqrt(3 * 2 / 8))
    assert where.files["one"].l1 == pytest.approx(0.03) and where.files["two"].l1 == 0.0


def test_hold_still_keeps_the_last_given_frame():
    recording = make()
    still = protocol.hold_still(recording)
    np.testing.assert_array_equal(still[:2], recording.positions[:2])
    assert (still[2:] == recording.positions[1]).all()


def test_evaluation_predicts_each_recording_once_after_warming_up():
    seen = []

    def predict(recording):
        seen.append(recording.name)
        return protocol.hold_still(recording)

    found = protocol.evaluate([make(), make(name="two")], predict)
    assert seen == ["one", "one", "two"]
    assert found.scores == found.hold_still and found.ms_per_step > 0 and len(found.predictions) == 2


def test_predictions_are_checked():
    recording = make()
    with pytest.raises(ValueError, match=r"prediction of one has shape \(5, 11, 3\), not \(5, 12, 3\)"):
        protocol.score([recording], [recording.positions[:, 1:]])
    with pytest.raises(ValueError, match="prediction of one is not finite"):
        protocol.score([recording], [with_value(recording.positions, (4, 3, 2), np.nan)])
    with pytest.raises(ValueError, match="no recordings"):
        protocol.evaluate([], protocol.hold_still)


@needs_data
@pytest.mark.parametrize("name", OBJECTS)
def test_real_recordings_have_the_layout_of_their_object(name):
    layout = LAYOUTS[name]
    for split in ("train", "eval"):
        for recording in recordings(name, split):
            assert recording.object == name and recording.positions.shape == (500, len(layout.parents), 3)
            assert (tuple(recording.parents), tuple(recording.branch)) == (layout.parents, layout.branch)
            assert (tuple(recording.clamped), recording.clamp_mode) == (layout.clamped, layout.clamp_mode)


@needs_data
@pytest.mark.parametrize("name", HOLD_STILL)
def test_hold_still_has_the_known_error_on_real_recordings(name):
    found = recordings(name, "eval")
    assert len(found) == 7
    assert protocol.score(found, list(map(protocol.hold_still, found))).l1 == pytest.approx(HOLD_STILL[name], abs=6e-5)


def test_pickles_are_read_without_importing_what_they_name(tmp_path):
    path = tmp_path / "DLO1" / "a.pkl"
    path.parent.mkdir()
    path.write_bytes(b"cantigravity\nfly\n.")
    with pytest.raises(ValueError, match=r"names antigravity\.fly"):
        load(path)
    assert "antigravity" not in sys.modules
