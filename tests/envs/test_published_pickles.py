"""Pickles of DEFT as they are published: arrays of shape (1, 3, T·n), and what is refused in their place."""

import os
import pickle

import numpy as np
import pytest

from pliant.envs.rods.wires.layouts import LAYOUTS, authors_name
from pliant.envs.rods.wires.recordings import load, recordings

HARNESSES = [name for name in LAYOUTS if name.startswith("b")]
FRAMES = 40


def positions(name, seed=0):
    """A harness that hangs and sways, its children beside it, (T, n, 3) [m], z up."""
    layout = LAYOUTS[name]
    shape = np.zeros((len(layout.parents), 3))
    for vertex, parent in enumerate(layout.parents[1:], start=1):
        shape[vertex] = shape[parent] + (
            [0.0, 0.02 * layout.branch[vertex], -0.05] if layout.branch[vertex] else [0.08, 0, 0]
        )
    time = 0.01 * np.arange(FRAMES)[:, None, None]
    rng = np.random.default_rng(seed)
    return shape + [0, 0, 0.5] + 0.1 * np.sin(6 * time + rng.uniform(0, 6, 3)) + rng.normal(0, 1e-3, (FRAMES, 1, 1))


def published(points):
    """All x, all y, all z, each frame by frame, in the authors' axes."""
    x, y, z = points.transpose(2, 0, 1)
    return np.stack([-y, z, -x])


SHAPES = {
    "(1, 3, T n)": lambda a: a.reshape(1, 3, -1),
    "(1, 3, T, n)": lambda a: a[None],
    "(1, 1, 3, T n)": lambda a: a.reshape(1, 1, 3, -1),
    "(3, 1, T n)": lambda a: a.reshape(3, 1, -1),
    "(3, T n)": lambda a: a.reshape(3, -1),
    "(3, T, n)": lambda a: a,
    "list of one array": lambda a: [a.reshape(3, -1)],
    "nested lists": lambda a: a.reshape(1, 3, -1).tolist(),
}


def write(folder, value, name="bdlo2", protocol=4):
    path = folder / "DEFT" / "dataset" / authors_name(name) / "train" / "a.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("name", HARNESSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_harness_is_read_in_every_shape(tmp_path, name, shape):
    points = positions(name)
    write(tmp_path, SHAPES[shape](published(points)), name)
    (found,) = recordings(name, "train", tmp_path)
    np.testing.assert_array_equal(found.positions, points)
    assert found.object == name and tuple(found.parents) == LAYOUTS[name].parents


@pytest.mark.parametrize("number", range(6))
def test_every_pickle_protocol_is_read(tmp_path, number):
    points = positions("bdlo4")
    path = write(tmp_path, published(points).reshape(1, 3, -1), "bdlo4", number)
    np.testing.assert_array_equal(load(path).positions, points)


def test_lost_markers_in_pickles_are_masked(tmp_path):
    points = positions("bdlo1")
    points[20:25, 7] = np.nan
    recording = load(write(tmp_path, published(points).reshape(1, 3, -1), "bdlo1"))
    assert recording.missing == 5 and np.isfinite(recording.positions).all()


class Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def refusals(mark):
    array = published(positions("bdlo2")).reshape(1, 3, -1)
    return {
        "a number too many": (
            np.append(array, 0.0),
            r"shape \(2401,\); bdlo2 needs \(3, T, 20\), .* or \(1, 3, T\*20\)",
        ),
        "two recordings": (np.concatenate([array, array]), r"shape \(2, 3, 800\)"),
        "four axes": (array.reshape(1, 4, -1), r"shape \(1, 4, 600\)"),
        "transposed": (array.transpose(0, 2, 1), r"shape \(1, 800, 3\)"),
        "nothing": (np.zeros((1, 3, 0)), r"shape \(1, 3, 0\)"),
        "another wire": (published(positions("bdlo4")).reshape(1, 3, -1), "recording of another wire"),
        "code": (Hostile(mark), r"refused: it names (posix|nt)\.system"),
        "code beside the array": ([array, Hostile(mark)], r"refused: it names (posix|nt)\.system"),
        "objects": (np.array([[[1.0, {}, "a"]]], object), "refused: it holds an array of type"),
        "complex numbers": (array.astype(complex), "refused: it holds an array of type 'c16'"),
        "half a file": (pickle.dumps(array)[:-400], "is truncated"),
        "infinite": (array * np.inf, "infinite"),
    }


@pytest.mark.parametrize("case", refusals(""))
def test_what_is_refused_has_a_reason(tmp_path, case):
    mark = tmp_path / "ran"
    value, reason = refusals(mark)[case]
    path = write(tmp_path, value)
    with pytest.raises(ValueError, match=reason), np.errstate(invalid="ignore"):
        load(path)
    assert not mark.exists()


@pytest.mark.skipif(not os.environ.get("PLIANT_DATA"), reason="PLIANT_DATA names no folder of recordings")
@pytest.mark.parametrize("name", ["bdlo5", "bdlo1_mid"])
def test_real_recordings_survive_the_published_layout(tmp_path, name):
    real = recordings(name, "eval")[0]
    write(tmp_path, published(real.positions).reshape(1, 3, -1), name)
    (found,) = recordings(name, "train", tmp_path)
    np.testing.assert_array_equal(found.positions, real.positions)
