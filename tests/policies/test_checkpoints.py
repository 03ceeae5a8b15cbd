"""Files are whole or absent, and nothing is unpickled."""

import numpy as np
import pytest

from pliant.policies.checkpoints import load_arrays, replacing, save_arrays


def test_arrays_survive_the_file(tmp_path):
    save_arrays(tmp_path / "a.npz", {"x": np.arange(3), "y": np.float64(2)})
    arrays = load_arrays(tmp_path / "a.npz", required=("x", "y"))
    assert arrays["x"].tolist() == [0, 1, 2] and arrays["y"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_broken_missing_and_pickled_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none\.npz does not exist"):
        load_arrays(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match="not a readable"):
        load_arrays(tmp_path / "broken.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="not a readable"):
        load_arrays(tmp_path / "text.npz")
    np.savez(tmp_path / "pickled.npz", x=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match="not a readable"):
        load_arrays(tmp_path / "pickled.npz")
    save_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    with pytest.raises(ValueError, match="lacks the arrays z; it holds x"):
        load_arrays(tmp_path / "a.npz", required=("z",))
