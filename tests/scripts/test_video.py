"""Videos: frames, labels, and a missing system library."""

import sys

import numpy as np
import pytest

from pliant.scripts import video
from pliant.scripts.errors import CommandError


@pytest.fixture
def env(fake_env):
    return fake_env.FakePointMass(render_mode="rgb_array")


def test_frames_cover_the_episode(env):
    frames, value, score = video.record(env, np.full((20, 2), 0.1), seed=1)
    assert frames.shape == (21, 49, 65, 3) and frames.dtype == np.uint8
    assert np.isfinite(value) and 0 < score < 1
    assert video.playing_speed(env, 20) == 0.5  # 50 steps a second, shown at 25


def test_long_episodes_skip_frames(fake_env):
    env = fake_env.FakePointMass(render_mode="rgb_array", horizon=400)
    frames, _, _ = video.record(env, np.zeros((400, 2)), seed=1)
    assert len(frames) == 1 + 400 // 3 + 1
    assert video.playing_speed(env, 400) == 1.5


def test_clips_stand_side_by_side_under_their_labels():
    clips = {"before": np.zeros((3, 48, 64, 3), np.uint8), "after": np.full((5, 48, 80, 3), 9, np.uint8)}
    frames = video.side_by_side(clips)
    assert frames.shape == (5, 48 + video.LABEL_HEIGHT, 144, 3)
    assert frames[:, : video.LABEL_HEIGHT].max() > 200
    assert (frames[4, video.LABEL_HEIGHT :, 64:] == 9).all()


def test_without_the_system_library_the_video_has_no_labels(monkeypatch, capsys):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "cv2":
                raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(CommandError, match=r"OpenCV lacks a system library \(libGL\.so\.1"):
        video.import_opencv()
    frames = video.side_by_side({"a": np.zeros((2, 48, 64, 3), np.uint8)})
    assert frames.shape == (2, 48, 64, 3)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_video_of_odd_size_can_be_read_back(tmp_path):
    import imageio_ffmpeg

    frames = np.random.default_rng(0).integers(0, 255, (6, 49, 65, 3), np.uint8)
    video.write_video(tmp_path / "a.mp4", frames)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    meta = next(imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4")))
    assert meta["size"] == (64, 48) and meta["fps"] == 25
