"""`pliant tactile`: calibration of made-up sensors from files in each layout, and errors that say what to mend."""

import json

import numpy as np
import pytest

from pliant.policies.identification.press_frames import save_presses
from pliant.scripts.main import main
from pliant.sims.sensor.optics import Optics
from pliant.sims.sensor.optics_files import load_calibration


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        capsys.readouterr()
        status = main(["tactile", *(str(word) for word in words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def frames():
    """Presses of a ball on a made-up sensor."""
    from made_up_sensor import presses

    return presses(count=9)


def test_a_sensor_is_calibrated_and_its_file_is_used(command, frames, tmp_path):
    save_presses(tmp_path / "mine.npz", frames)
    status, _, errors = command(
        "calibrate", "mine.npz", "--out", "out.npz", "--steps", "120", "--folds", "3", "--licence", "ours"
    )
    assert status == 0 and "grey levels on frames left out" in errors
    found = load_calibration(tmp_path / "out.npz")
    assert found.provenance["command"] == "pliant tactile calibrate mine.npz --out out.npz --steps 120 --folds 3"
    assert (found.provenance["licence"], found.provenance["frames"]) == ("ours", 9)
    assert 0.0 < found.provenance["error"] < 10.0
    assert str(tmp_path) not in json.dumps(found.provenance)
    np.testing.assert_array_equal(found.background, frames.background)
    optics = Optics.load(tmp_path / "out.npz")
    assert optics.background.shape == frames.background.shape
    status, out, _ = command("evaluate", "mine.npz", "--calibration", "out.npz", "--json")
    (row,) = json.loads(out)["models"]
    assert status == 0 and row["error"] < found.provenance["error"] and abs(row["drawn"] - row["error"]) < 0.05


def test_a_lighting_table_is_fitted(command, frames, tmp_path):
    save_presses(tmp_path / "mine.npz", frames)
    status, _, errors = command("calibrate", "mine.npz", "--model", "table", "--out", "table.npz")
    assert status == 0, errors
    assert load_calibration(tmp_path / "table.npz").lighting.terms == 6
    status, _, errors = command("calibrate", "mine.npz", "--model", "table", "--place", "affine")
    assert status == 1 and "--place and --steps are of the network" in errors


def test_models_are_compared_on_frames_left_out(command, frames, tmp_path):
    save_presses(tmp_path / "mine.npz", frames)
    status, out, errors = command(
        "evaluate", "mine.npz", "--folds", "2", "--steps", "60", "--picture", "side.png", "--json"
    )
    assert status == 0, errors
    rows = {row["model"]: row for row in json.loads(out)["models"]}
    assert set(rows) == {
        "background alone", "lighting table", "two networks", "network, affine in place", "network, quadratic in place",
    }  # fmt: skip
    assert all(len(row["folds"]) == 2 and len(row["frames"]) == 9 for row in rows.values())
    alone = rows.pop("background alone")["error"]
    assert all(row["error"] < 0.6 * alone for row in rows.values())
    assert (tmp_path / "side.png").stat().st_size > 1000
    status, out, _ = command("evaluate", "mine.npz", "--split", "quadrants", "--steps", "5")
    assert status == 0 and "two networks" in out and "9 frames" in out


def folder_of(frames, path):
    import cv2

    path.mkdir()
    cv2.imwrite(str(path / "background.png"), frames.background[..., ::-1])
    entries = []
    for i, image in enumerate(frames.images):
        cv2.imwrite(str(path / f"{i}.png"), image[..., ::-1])
        entries.append({"image": f"{i}.png", "centre": frames.centre[i].tolist(), "radius": float(frames.radius[i])})
    content = {
        "ball_radius": frames.ball_radius,
        "pixel_pitch": frames.pixel_pitch,
        "background": "background.png",
        "presses": entries,
    }
    (path / "presses.json").write_text(json.dumps(content))
    return content


def test_all_layouts_give_the_same_frames(frames, tmp_path):
    from pliant.policies.identification.press_frames import read_presses

    save_presses(tmp_path / "own.npz", frames)
    folder_of(frames, tmp_path / "folder")
    np.savez(
        tmp_path / "dataPack.npz",
        imgs=frames.images[..., ::-1],
        f0=frames.background[..., ::-1],
        touch_center=frames.centre,
        touch_radius=frames.radius,
        names=np.array(["a", "b"]),
    )
    lengths = {"ball_radius": frames.ball_radius, "pixel_pitch": frames.pixel_pitch}
    for name in ("own.npz", "folder", "dataPack.npz"):
        found = read_presses(tmp_path / name, **lengths)
        for attribute in ("images", "background", "centre", "radius", "ball_radius", "pixel_pitch"):
            np.testing.assert_array_equal(getattr(found, attribute), getattr(frames, attribute))
    np.savez(
        tmp_path / "differences.npz",
        difference=(frames.images.astype(int) - frames.background).astype(np.int8),
        centre=frames.centre,
        contact_radius=frames.radius,
        **lengths,
    )
    found = read_presses(tmp_path / "differences.npz")
    assert found.background is None
    pixels, whole = found.pixels(), frames.pixels()
    np.testing.assert_array_equal(pixels.m, whole.m)


def changed(content, **changes):
    return {**content, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: changed(c, background=None), "must be the name of a file"),
        (lambda c: {k: v for k, v in c.items() if k != "background"}, "names no background"),
        (lambda c: {k: v for k, v in c.items() if k != "ball_radius"}, "ball_radius is missing"),
        (lambda c: changed(c, presses=[]), "list of presses"),
        (lambda c: changed(c, presses=[{"image": "0.png"}]), r"presses\[0\] must have image, centre and radius"),
        (lambda c: changed(c, presses=[changed(c["presses"][0], image="none.png")]), "none.png does not exist"),
        (lambda c: changed(c, presses=[changed(c["presses"][0], image="../0.png")]), "name of a file in the folder"),
        (lambda c: changed(c, presses=[changed(c["presses"][0], image="presses.json")]), "no picture that can be read"),
        (
            lambda c: changed(c, presses=[changed(c["presses"][0], image="small.png")]),
            "has 10 by 8 pixels, the background",
        ),
        (lambda c: changed(c, presses=[changed(c["presses"][0], centre=[-20, 5])]), "lies outside the picture"),
        (lambda c: changed(c, presses=[changed(c["presses"][0], centre=[5])]), "centre has shape"),
        (lambda c: changed(c, presses=[changed(c["presses"][0], radius=0)]), "must be > 0"),
        (lambda c: changed(c, presses=[changed(c["presses"][0], radius="big")]), "radius='big'"),
        (lambda c: changed(c, ball_radius=5e-4), "contact disc must be smaller than the ball"),
        (lambda c: changed(c, pixel_pitch=-1.0), "pixel_pitch=-1"),
    ],
)
def test_frames_that_cannot_be_are_refused(command, frames, tmp_path, change, message):
    import re

    import cv2

    content = folder_of(frames, tmp_path / "folder")
    cv2.imwrite(str(tmp_path / "folder" / "small.png"), np.zeros((8, 10, 3), np.uint8))
    (tmp_path / "folder" / "presses.json").write_text(json.dumps(change(content)))
    status, _, errors = command("calibrate", "folder")
    assert status == 1 and re.search(message, errors) and "TRACEBACK" not in errors
    assert not (tmp_path / "optics.npz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["calibrate", "none.npz"], "none.npz does not exist"),
        (["calibrate", "mine.npz", "--out", "a.json"], "must end in .npz"),
        (["calibrate", "mine.npz", "--out", "no/folder/a.npz"], "in a folder that does not exist"),
        (["calibrate", "mine.npz", "--folds", "1"], "folds=1 must be from 2 to 9, the number of frames or 0"),
        (["calibrate", "mine.npz", "--folds", "10"], "folds=10"),
        (["calibrate", "mine.npz", "--steps", "-1"], "steps=-1"),
        (["calibrate", "mine.npz", "--seed", "-1"], "seed=-1"),
        (["evaluate", "mine.npz", "--folds", "0"], "folds=0"),
        (["evaluate", "mine.npz", "--calibration", "gelsigt"], "one of digit, gelsight"),
        (["evaluate", "mine.npz", "--calibration", "gone.npz"], "gone.npz does not exist"),
        (["evaluate", "mine.npz", "--calibration", "gelsight"], "was fitted to frames of"),
        (["evaluate", "mine.npz", "--picture", "a.jpg"], "picture='a.jpg' must end in .png"),
        (["evaluate", "mine.npz", "--picture", "no/folder/a.png"], "in a folder that does not exist"),
        (["evaluate", "differences.npz", "--calibration", "needs.npz"], "depends on the background"),
        (["speed", "--contact", "0"], "contact=0"),
        (["speed", "--repeats", "0"], "repeats=0"),
    ],
    ids=" ".join,
)
def test_flags_that_cannot_be_are_refused(command, frames, tmp_path, words, message):
    from made_up_sensor import network

    from pliant.sims.sensor.optics_files import Calibration, save_calibration

    save_presses(tmp_path / "mine.npz", frames)
    np.savez(
        tmp_path / "differences.npz",
        difference=np.zeros(frames.images.shape, np.int8),
        centre=frames.centre,
        contact_radius=frames.radius,
        ball_radius=frames.ball_radius,
        pixel_pitch=frames.pixel_pitch,
    )
    save_calibration(tmp_path / "needs.npz", Calibration(network(), frames.size, frames.pixel_pitch))
    status, _, errors = command(*words)
    assert status == 1 and message in errors, errors


def test_a_picture_that_cannot_be_drawn_loses_no_figures(command, frames, tmp_path, monkeypatch):
    """The fits take minutes, the picture comes after them."""
    import pliant.scripts.tactile.picture as picture

    def broken(*arguments):
        raise OSError("the disk is full")

    monkeypatch.setattr(picture, "side_by_side", broken)
    save_presses(tmp_path / "mine.npz", frames)
    status, out, errors = command(
        "evaluate", "mine.npz", "--folds", "2", "--steps", "5", "--picture", "side.png", "--json"
    )
    assert status == 1 and "the disk is full" in errors
    assert {"lighting table", "two networks"} <= {row["model"] for row in json.loads(out)["models"]}


def test_speed_is_measured(command):
    status, out, errors = command("speed", "--repeats", "2", "--contact", "0.05", "--json")
    assert status == 0, errors
    found = json.loads(out)
    assert {row["what"] for row in found["images"]} >= {"Pliant 320x240", "Pliant 640x480", "Pliant 640x480, adjoint"}
    assert all(0.0 < row["least_ms"] <= row["median_ms"] <= row["most_ms"] for row in found["images"])
