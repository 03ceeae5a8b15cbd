"""Files are whole or absent, and nothing is unpickled."""

import numpy as np
import pytest

from pliant.policies.files.checkpoints import (
    history_array,
    history_rows,
    load_arrays,
    load_description,
    load_json,
    replacing,
    save_arrays,
    save_description,
    save_json,
    without_suffix,
)


def test_arrays_survive_the_file(tmp_path):
    save_arrays(tmp_path / "a.npz", {"x": np.arange(3), "y": np.float64(2)})
    arrays = load_arrays(tmp_path / "a.npz", required=("x", "y"))
    assert arrays["x"].tolist() == [0, 1, 2] and arrays["y"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_policys_name_may_hold_dots(tmp_path):
    save_description(tmp_path / "crawler-0.5", "mlp", {"hidden": 3})
    assert load_description(tmp_path / "crawler-0.5", ["mlp"]) == ("mlp", {"hidden": 3})
    assert without_suffix("crawler-0.5.npz") == without_suffix("crawler-0.5.json") == without_suffix("crawler-0.5")


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


@pytest.mark.parametrize("columns", [("step", "return"), ()])
def test_a_history_survives_its_array(columns):
    history = [dict.fromkeys(columns, 0.5 * k) for k in range(3)] if columns else []
    assert history_rows(history_array(history, columns), columns) == history
    assert history_array([], columns).shape == (0, len(columns))
    for wrong in (np.zeros((2, 3)), np.zeros(2)):
        with pytest.raises(ValueError, match=rf"it must be \(rows, {len(columns)}\)"):
            history_rows(wrong, columns)


def test_a_json_object_survives_the_file_and_nothing_else_is_taken(tmp_path):
    save_json(tmp_path / "a.json", {"x": [1, None, "é"]})
    assert load_json(tmp_path / "a.json") == {"x": [1, None, "é"]}
    with pytest.raises(ValueError, match="Out of range float"):
        save_json(tmp_path / "a.json", {"x": np.nan})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    for wrong, message in ((b"{", "not a readable"), (b"\xff", "not a readable"), (b"[1]", "holds no JSON object")):
        (tmp_path / "a.json").write_bytes(wrong)
        with pytest.raises(ValueError, match=rf"a\.json .*{message}"):
            load_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"none\.json is not a readable"):
        load_json(tmp_path / "none.json")


def test_a_description_is_of_a_known_kind_and_version(tmp_path):
    save_description(tmp_path / "policy.npz", "mlp", {"hidden": [4]})
    assert load_description(tmp_path / "policy", ("mlp", "sin_sin")) == ("mlp", {"hidden": [4]})
    with pytest.raises(ValueError, match=r"policy\.json .*kind='mlp'; allowed: sin_sin"):
        load_description(tmp_path / "policy", ("sin_sin",))
    for wrong, message in (({"kind": ["mlp"]}, r"kind=\['mlp'\]"), ({"kind": "mlp"}, "version=None; allowed: 1")):
        save_json(tmp_path / "policy.json", wrong)
        with pytest.raises(ValueError, match=message):
            load_description(tmp_path / "policy", ("mlp",))
