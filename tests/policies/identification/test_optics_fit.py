"""Fits of tactile optics: adjoints, a known sensor recovered, what frames must be, figures on real frames."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import made_up_sensor
import numpy as np
import pytest

from pliant.policies.identification.contact_shifts import ContactShifts
from pliant.policies.identification.optics import (
    NetworkSettings,
    TableSettings,
    cross_validate,
    drawn_change,
    fit_ensemble,
    fit_network,
    fit_table,
    interleaved_folds,
    prediction_error,
    quadrant_folds,
    tints,
    usual_settings,
)
from pliant.policies.identification.press_frames import Presses, read_presses
from pliant.sims.sensor.optics_files import load_calibration
from pliant.sims.sensor.optics_network import PixelNetwork

DIGIT = Path(os.environ.get("PLIANT_DATA", "")) / "tactile" / "digit_presses.npz"
TAXIM = importlib.util.find_spec("taxim")
GELSIGHT_SEEN, GELSIGHT_LEFT_OUT, DIGIT_SEEN, DIGIT_LEFT_OUT = 1.5, 1.8, 5.6, 6.0
"""Mean absolute errors [grey levels] on frames of the fit, and on frames left out of it."""
needs_digit = pytest.mark.skipif(
    not os.environ.get("PLIANT_DATA") or not DIGIT.exists(), reason="PLIANT_DATA names no folder with tactile presses"
)
needs_taxim = pytest.mark.skipif(TAXIM is None, reason="the package taxim is not installed")


def gelsight():
    return read_presses(Path(TAXIM.origin).parent / "calib" / "gelsight" / "dataPack.npz")


@pytest.mark.parametrize("place_hidden", [6, 0], ids=["two networks", "affine"])
def test_the_adjoint_of_the_network_agrees_with_central_differences(place_hidden):
    rng = np.random.default_rng(0)
    network = PixelNetwork.random(
        terms=3, hidden=8, place_hidden=place_hidden, rng=rng, sees_background=True, dtype=np.float64
    )
    tilt, place = rng.normal(size=(40, 14)), rng.normal(size=(40, 5 if place_hidden else 3))
    bar = rng.normal(size=(40, 3))
    _, kept = network.forward(tilt, place)
    gradient = network.adjoint(kept, bar)
    assert set(gradient) == set(network.parameters)
    for name, value in network.parameters.items():
        direction = rng.normal(size=value.shape)
        ends = []
        for h in (1e-5, -1e-5):
            moved = replace(network, parameters={**network.parameters, name: value + h * direction})
            ends.append((bar * moved.forward(tilt, place)[0]).sum())
        difference = (ends[0] - ends[1]) / 2e-5
        assert abs((gradient[name] * direction).sum() - difference) <= 1e-6 * max(abs(difference), 1e-3), name


@pytest.mark.parametrize("place", ["network", "affine", pytest.param("quadratic", marks=pytest.mark.slow)])
def test_a_known_light_is_recovered(place):
    """Frames of other places than those of the fit are predicted within what their noise allows (0.8 of its size)."""
    presses = made_up_sensor.presses(count=16, noise=1.0)
    settings = usual_settings(presses, place=place, steps=500, batch=1024, hidden=32)
    network = fit_network(presses, settings)
    other = made_up_sensor.presses(count=8, seed=1, noise=0.0).pixels()
    error = prediction_error(network, other).mean()
    assert np.abs(other.change).mean() > 15.0
    assert error < 1.0
    assert np.abs(drawn_change(network, other) - network.change(other.m, other.place, other.background)).mean() < 0.02


def test_the_light_of_a_lighting_table_is_recovered():
    presses = made_up_sensor.presses(count=40, noise=1.0)
    table = fit_table(presses, TableSettings(nodes=16, stride=1, smoothness=0.5))
    other = made_up_sensor.presses(count=8, seed=1, noise=0.0).pixels()
    assert prediction_error(table, other).mean() < 1.5


def test_marks_beside_the_contacts_are_found():
    """Contacts marked up to a pixel and a half beside where they are: most of that is found again."""
    presses = made_up_sensor.presses(count=16, noise=0.5)
    pixels = presses.pixels()
    off = np.random.default_rng(3).uniform(-1.5, 1.5, (16, 2))
    off -= off.mean(axis=0)
    shifts = ContactShifts(pixels.m, pixels.frame, presses.ball_pixels, 1e-4, 32.0)
    shifts.pixels = off.copy()
    marked = ContactShifts(shifts.tilts(), pixels.frame, presses.ball_pixels, 1e-4, 32.0)

    def predict(m):
        return made_up_sensor.change(m, pixels.place, pixels.background)

    marked.improve(np.arange(len(pixels.m)), predict, pixels.change, rounds=4)
    assert np.abs(marked.pixels + off).max() < 0.1 < np.abs(off).max()


def test_tints_are_what_frames_do_not_share():
    """Medians of the frames' errors less what most of them have: that is the light's, whatever a few frames show."""
    rng = np.random.default_rng(0)
    frame = np.repeat(np.arange(7), 200)
    own = np.zeros((7, 3))
    own[2], own[5] = [20.0, 0.0, -20.0], [-9.0, 4.0, 0.0]
    residual = 3.0 + own[frame] + rng.uniform(-1.0, 1.0, (1400, 3))
    residual[::50] += 100.0
    np.testing.assert_allclose(tints(residual, frame), own, atol=0.3)


def test_a_fit_is_the_same_every_time():
    presses = made_up_sensor.presses(count=4)
    settings = NetworkSettings(steps=30, batch=64, hidden=8, place_hidden=4, terms=3)
    first, second = fit_network(presses, settings), fit_network(presses, settings)
    other = fit_network(presses, replace(settings, seed=1))
    for name, value in first.parameters.items():
        np.testing.assert_array_equal(value, second.parameters[name])
    assert any((value != other.parameters[name]).any() for name, value in first.parameters.items())


def test_an_ensemble_is_the_mean_of_networks_from_seeds_in_a_row():
    presses = made_up_sensor.presses(count=4)
    settings = NetworkSettings(steps=20, batch=64, hidden=8, place_hidden=4, terms=3, members=2, seed=5)
    steps = []
    ensemble = fit_ensemble(presses, settings, on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(1, 41)) and ensemble.terms == 6
    pixels = presses.pixels()
    alone = [fit_network(presses, replace(settings, seed=seed)) for seed in (5, 6)]
    changes = [network.change(pixels.m, pixels.place, pixels.background) for network in alone]
    assert np.abs(changes[0] - changes[1]).max() > 0.1
    np.testing.assert_allclose(
        ensemble.change(pixels.m, pixels.place, pixels.background), np.mean(changes, axis=0), atol=1e-4
    )


def test_frames_left_out_are_not_used():
    """What a fold's frames show does not matter to the fit that predicts them."""
    presses = made_up_sensor.presses(count=6)
    spoiled = replace(presses, images=np.where(np.arange(6)[:, None, None, None] == 2, 0, presses.images))
    settings = NetworkSettings(steps=20, batch=64, hidden=8, place_hidden=4, terms=3)
    kept = [0, 1, 3, 4, 5]
    clean, dirty = (fit_network(p, settings, frames=kept) for p in (presses, spoiled))
    for name, value in clean.parameters.items():
        np.testing.assert_array_equal(value, dirty.parameters[name])


def test_each_frame_is_predicted_once():
    presses = made_up_sensor.presses(count=9)
    for folds in (interleaved_folds(9, 4), quadrant_folds(presses)):
        assert sorted(index for fold in folds for index in fold) == list(range(9))
    result = cross_validate(presses, lambda frames: fit_table(presses, TableSettings(nodes=8), frames=frames), folds)
    assert np.isfinite(result["frames"]).all() and len(result["folds"]) == len(folds)
    np.testing.assert_allclose(np.mean(result["channels"]), result["error"])
    with pytest.raises(ValueError, match="there must be two or more"):
        cross_validate(presses, lambda frames: None, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((12, 72, 96))}, "images has shape"),
        ({"images": np.zeros((12, 72, 96, 4))}, "images has shape"),
        ({"images": np.full((12, 72, 96, 3), 300.0)}, "grey levels 0 to 255"),
        ({"background": np.zeros((36, 48, 3))}, r"background has shape \(36, 48, 3\), must be \(72, 96, 3\)"),
        ({"centre": np.zeros((11, 2))}, "centre has shape"),
        ({"centre": np.full((12, 2), 96.0)}, r"centre\[0\]=\(96, 96\) lies outside the picture of 96 by 72"),
        ({"centre": np.full((12, 2), -1.0)}, "lies outside"),
        ({"centre": np.full((12, 2), np.nan)}, "centre at"),
        ({"radius": np.zeros(12)}, r"radius\[0\]=0 must be > 0"),
        ({"radius": np.full(12, 18.0)}, "contact disc must be smaller than the ball"),
        ({"ball_radius": 0.0}, "ball_radius=0.0"),
        ({"pixel_pitch": "0.1"}, "pixel_pitch='0.1'"),
    ],
)
def test_frames_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(made_up_sensor.presses(count=12), **changes)


def test_settings_out_of_range_are_refused():
    presses = made_up_sensor.presses(count=4)
    blind = Presses(presses.images, None, presses.centre, presses.radius, presses.ball_radius, presses.pixel_pitch)
    with pytest.raises(ValueError, match="needs frames with a background"):
        fit_network(blind, NetworkSettings())
    assert not usual_settings(blind).is_relative and usual_settings(blind).place == "affine"
    for changes in ({"place": "cubic"}, {"steps": 0}, {"learning_rate": 0.0}, {"tint_share": 1.5}, {"hidden": 1.5}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            usual_settings(presses, **changes)


@needs_taxim
def test_the_shipped_gelsight_optics_predict_the_frames_that_they_were_fitted_to():
    calibration, pixels = load_calibration("gelsight"), gelsight().pixels(stride=5)
    change = calibration.lighting.change(pixels.m, pixels.place, pixels.background)
    assert pixels.error(change).mean() < GELSIGHT_SEEN
    assert pixels.error(drawn_change(calibration.lighting, pixels)).mean() < GELSIGHT_SEEN + 0.01
    assert calibration.provenance["frames"] == 48 and calibration.provenance["error"] <= GELSIGHT_LEFT_OUT


@needs_digit
def test_the_shipped_digit_optics_predict_the_frames_that_they_were_fitted_to():
    calibration, pixels = load_calibration("digit"), read_presses(DIGIT).pixels()
    assert pixels.error(drawn_change(calibration.lighting, pixels)).mean() < DIGIT_SEEN
    assert calibration.provenance["frames"] == 35 and calibration.provenance["error"] <= DIGIT_LEFT_OUT


@pytest.mark.slow
@needs_taxim
def test_gelsight_frames_left_out_of_the_fit_are_predicted():
    presses = gelsight()
    settings = usual_settings(presses)
    folds = interleaved_folds(48, 4)
    found = cross_validate(presses, lambda frames: fit_ensemble(presses, settings, frames=frames), folds)
    assert found["error"] <= GELSIGHT_LEFT_OUT


@pytest.mark.slow
@needs_digit
def test_digit_frames_left_out_of_the_fit_are_predicted():
    presses = read_presses(DIGIT)
    settings = usual_settings(presses)
    folds = interleaved_folds(35, 5)
    found = cross_validate(presses, lambda frames: fit_ensemble(presses, settings, frames=frames), folds)
    assert found["error"] <= DIGIT_LEFT_OUT
