"""The gallery: tiles of the right size, written whole or not at all."""

import json

import numpy as np
import pytest

import pliant.envs
from pliant.scripts import gallery
from pliant.scripts.main import main
from pliant.scripts.video import LABEL_HEIGHT, write_video


def test_gallery_draws_a_captioned_picture(tmp_path, monkeypatch, capsys):
    import imageio.v3 as imageio

    monkeypatch.setattr(pliant.envs, "ENTRIES", [e for e in pliant.envs.ENTRIES if "Walker2D" in e.id])
    monkeypatch.setattr(gallery, "STEPS", 4)
    monkeypatch.setattr(gallery, "ITERATIONS", 1)
    out = tmp_path / "gallery.png"
    assert main(["gallery", "--out", str(out), "--size", "64"]) == 0
    assert "pliant/Walker2D-v0" in capsys.readouterr().out
    image = imageio.imread(out)
    assert image.shape == (64 + LABEL_HEIGHT, 64, 3)
    assert image[:64].std() > 5  # a body stands in the picture
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.png"]


def test_stills_of_a_run_are_the_optimised_half_of_its_video(tmp_path, capsys):
    import imageio.v3 as imageio

    run = tmp_path / "run"
    run.mkdir()
    summary = {"environment": "pliant/Walker2D-v0", "score": 0.754, "seed": 3}
    (run / "metrics.json").write_text(json.dumps({"summary": summary}))
    film = np.zeros((9, 64 + LABEL_HEIGHT, 128, 3), np.uint8)
    film[:, :, :64] = 255  # before
    for k in range(9):
        film[k, LABEL_HEIGHT:, 64:] = 20 * k
    write_video(run / "video.mp4", film)
    out = tmp_path / "stills.png"
    assert main(["gallery", str(run), "--out", str(out), "--size", "64"]) == 0
    image = imageio.imread(out)[:64].astype(int)
    assert image.shape == (64, 192, 3)
    for k, shade in enumerate((0, 80, 160)):
        assert abs(image[8:-8, 64 * k + 8 : 64 * k + 56].mean() - shade) < 6
    (run / "video.mp4").unlink()
    assert main(["gallery", str(run), "--out", str(out)]) == 1
    assert "video.mp4 does not exist" in capsys.readouterr().err


def test_tiles_stand_in_rows_on_white():
    tiles = [np.full((5, 7, 3), shade, np.uint8) for shade in range(4)]
    image = gallery.tiled(tiles, 3)
    assert image.shape == (2 * 5 + gallery.GAP, 3 * 7 + 2 * gallery.GAP, 3)
    assert gallery.tiled(tiles, 9).shape == (5, 4 * 7 + 3 * gallery.GAP, 3)
    assert (image[:5, :7] == 0).all() and (image[-5:, :7] == 3).all() and (image[-5:, 7:] == 255).all()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "8"], "size=8 is out of range; it must be from 64 to 1024"),
        (["--columns", "0"], "columns=0 is out of range; it must be from 1 to 16"),
        (["--out", "gallery.jpg"], "must end in .png"),
        (["--out", "nowhere/gallery.png"], "lies in a folder that does not exist"),
    ],
)
def test_wrong_flags_are_refused_before_any_work(tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.chdir(tmp_path)
    assert main(["gallery", *flags]) == 1
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
