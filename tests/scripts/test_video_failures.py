"""Results that cannot be written: an error that names the file, nothing half written, an earlier file as it was."""

import contextlib
import json
import os
import shutil
import signal
import sys

import numpy as np
import pytest

from pliant.policies.files.checkpoints import replacing, save_arrays, save_json
from pliant.scripts import video
from pliant.scripts.main import main

resource = pytest.importorskip("resource")  # a full disk is played by a limit on the size of files


@contextlib.contextmanager
def files_of_at_most(size):
    """In here writing more than ``size`` bytes to a file fails, in this process and in those that it starts.

    Modules that are loaded meanwhile are not written compiled: Python would leave them cut short for everybody.
    """
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    told = os.environ.get("PYTHONDONTWRITEBYTECODE")
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
        sys.dont_write_bytecode = writes
        if told is None:
            del os.environ["PYTHONDONTWRITEBYTECODE"]
        else:
            os.environ["PYTHONDONTWRITEBYTECODE"] = told


def noise(count=30):
    return np.random.default_rng(0).integers(0, 255, (count, 96, 96, 3), np.uint8)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [0, 48, 4_000, 100_000])
def test_a_video_that_does_not_fit_is_an_error_and_leaves_nothing(tmp_path, size):
    with files_of_at_most(size), pytest.raises(OSError, match=r"cannot write .*a\.mp4: "):
        video.write_video(tmp_path / "a.mp4", noise())
    assert names(tmp_path) == []


def test_an_earlier_video_stays_as_it_was(tmp_path):
    video.write_video(tmp_path / "a.mp4", noise(3))
    before = (tmp_path / "a.mp4").read_bytes()
    with files_of_at_most(4_000), pytest.raises(OSError, match=r"cannot write .*a\.mp4"):
        video.write_video(tmp_path / "a.mp4", noise())
    assert names(tmp_path) == ["a.mp4"] and (tmp_path / "a.mp4").read_bytes() == before


def test_every_picture_arrives_in_the_file(tmp_path):
    frames = np.full((7, 96, 96, 3), 30, np.uint8) * np.arange(1, 8, dtype=np.uint8)[:, None, None, None]
    video.write_video(tmp_path / "a.mp4", frames)
    assert video.count_frames(tmp_path / "a.mp4") == 7
    found = video.read_video(tmp_path / "a.mp4")
    assert found.shape == frames.shape and abs(found.astype(int) - frames).max() < 4


@pytest.mark.parametrize("name", ["a.avi", "a.txt", "a", "a.MP4", "mp4"])
def test_videos_have_one_suffix(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name} cannot be written: the name of a video must end in \.mp4"):
        video.write_video(tmp_path / name, noise(2))
    assert names(tmp_path) == []


def test_a_folder_in_the_way_is_an_error_that_names_it(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*a\.mp4: a folder of that name is in the way"):
        video.write_video(tmp_path / "a.mp4", noise(2))
    assert names(tmp_path) == ["a.mp4"] and names(tmp_path / "a.mp4") == []


def test_a_folder_that_is_missing_or_a_file_is_an_error_that_names_the_video(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("none", "file"):
        with pytest.raises(OSError, match=rf"cannot write .*{folder}/a\.mp4"):
            video.write_video(tmp_path / folder / "a.mp4", noise(2))


@pytest.mark.parametrize(
    "name", ["-y.mp4", "a b'\".mp4", "a:b.mp4", "%03d.mp4", "ä\n.mp4", "http:..x.mp4", "pipe:1.mp4"]
)
def test_names_are_nothing_but_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    video.write_video(name, noise(2))
    assert names(tmp_path) == [name] and len(video.read_video(name)) == 2


def test_a_truncated_video_is_not_read(tmp_path):
    video.write_video(tmp_path / "a.mp4", noise())
    whole = (tmp_path / "a.mp4").read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 100):
        (tmp_path / "b.mp4").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"b\.mp4 is not a readable \.mp4 file"):
            video.read_video(tmp_path / "b.mp4")


@pytest.mark.parametrize(
    "write", [lambda path: save_arrays(path, {"a": np.zeros(10**5)}), lambda path: save_json(path, ["x" * 10**5])]
)
def test_other_files_that_do_not_fit_leave_nothing_either(tmp_path, write):
    (tmp_path / "a.npz").write_text("earlier")
    with files_of_at_most(4_000), pytest.raises(OSError, match=r"cannot write .*a\.npz: File too large"):
        write(tmp_path / "a.npz")
    assert names(tmp_path) == ["a.npz"] and (tmp_path / "a.npz").read_text() == "earlier"


def test_an_exception_leaves_the_earlier_file(tmp_path):
    (tmp_path / "a").write_text("earlier")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "earlier"


@pytest.fixture(scope="module")
def whole_run(fake_env, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["optimize", fake_env.ID, "--iterations", "1", "--no-video", "--out", str(folder)]) == 0
    return folder


def test_replay_on_a_full_disk_fails_and_names_the_video(whole_run, tmp_path, capsys):
    shutil.copytree(whole_run, tmp_path / "run")
    before = names(tmp_path / "run")
    with files_of_at_most(1_000):
        status = main(["replay", str(tmp_path / "run")])
    captured = capsys.readouterr()
    assert status == 1 and "score" not in captured.out
    assert "replay.mp4" in captured.err and len(captured.err.splitlines()) == 1
    assert names(tmp_path / "run") == before


def test_optimize_on_a_full_disk_fails_and_names_the_file(fake_env, tmp_path, capsys):
    out = tmp_path / "run"
    with files_of_at_most(20_000):  # enough for all but the plot
        status = main(["optimize", fake_env.ID, "--iterations", "1", "--out", str(out)])
    captured = capsys.readouterr()
    assert status == 1 and "written to" not in captured.err
    assert "plot.png" in captured.err.splitlines()[-1]
    assert not [name for name in names(out) if "partial" in name or name in ("plot.png", "video.mp4")]
    assert json.loads((out / "metrics.json").read_text())["summary"]


def test_stills_on_a_full_disk_fail_and_name_the_picture(tmp_path, capsys):
    (tmp_path / "metrics.json").write_text(json.dumps({"summary": {"score": 0.5, "environment": "x"}}))
    video.write_video(tmp_path / "video.mp4", np.concatenate([noise(), noise()], axis=2))
    before = names(tmp_path)
    with files_of_at_most(1_000):
        status = main(["gallery", str(tmp_path), "--out", str(tmp_path / "stills.png")])
    error = capsys.readouterr().err
    assert status == 1 and "cannot write" in error and "stills.png" in error
    assert names(tmp_path) == before


@pytest.mark.parametrize("words", [["gallery", "--out", "{}/x.png"], ["rods", "view", "x.npz", "--out", "{}/x.mp4"]])
@pytest.mark.parametrize("folder", ["none", "file", "/proc/self"])
def test_where_nothing_can_be_written_is_refused_before_any_work(tmp_path, monkeypatch, capsys, words, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main([word.format(folder) for word in words]) == 1
    error = capsys.readouterr().err
    assert folder in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("words", [["gallery", "--out", "x.png"], ["rods", "view", "x.npz", "--out", "x.mp4"]])
def test_a_folder_at_the_name_of_the_result_is_refused_before_any_work(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / words[-1]).mkdir()
    assert main(words) == 1
    error = capsys.readouterr().err
    assert f"out='{words[-1]}' is a folder" in error and len(error.splitlines()) == 1
