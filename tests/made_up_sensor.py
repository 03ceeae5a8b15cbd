"""A tactile sensor that never was: Lambert's law under three lamps, and frames of a ball pressed into its gel."""

import numpy as np

from pliant.policies.identification.press_frames import Presses
from pliant.sims.sensor.optics_ensemble import PixelEnsemble
from pliant.sims.sensor.optics_features import positions
from pliant.sims.sensor.optics_network import PixelNetwork

WIDTH, HEIGHT, PITCH, BALL = 96, 72, 1e-4, 1.8e-3
LAMPS = np.deg2rad([0.0, 120.0, 240.0])
"""Directions of the red, the green and the blue lamp around the picture."""


def background():
    """RGB frame without contact: lamps that get weaker with the distance, float, (H, W, 3)."""
    place = positions(WIDTH, HEIGHT)
    return 110.0 + 30.0 * (place[..., :1] * np.cos(LAMPS) + place[..., 1:] * np.sin(LAMPS))


def change(m, place, colours):
    """What a tilt m at (u, v) adds [grey levels]: what the lamp's light has to do with the tilt, in proportion."""
    squared = (m * m).sum(-1, keepdims=True)
    lean = 2.0 * m / (1.0 + squared)  # n_x, n_y
    ahead = (1.0 - squared) / (1.0 + squared)
    toward = lean[:, :1] * np.cos(LAMPS) + lean[:, 1:] * np.sin(LAMPS)
    return colours * (0.5 * toward * (1.0 + 0.2 * place[:, :1]) + 0.3 * (ahead - 1.0))


def presses(count=12, seed=0, noise=1.0):
    """Frames in which a ball is pressed in at ``count`` places."""
    rng = np.random.default_rng(seed)
    frame = np.clip(np.rint(background()), 0, 255).astype(np.uint8)
    centre = rng.uniform([18, 18], [WIDTH - 18, HEIGHT - 18], (count, 2)).round()
    radius = rng.uniform(13.0, 16.0, count)
    blank = Presses(np.repeat(frame[None], count, axis=0), frame, centre, radius, BALL, PITCH, "made up")
    images = blank.images.astype(float)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for i in range(count):
        pixels = blank.pixels([i])
        inside = (x - centre[i, 0]) ** 2 + (y - centre[i, 1]) ** 2 < radius[i] ** 2
        images[i][inside] += change(pixels.m, pixels.place, pixels.background)
    images += rng.normal(0.0, noise, images.shape)
    images = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    return Presses(images, frame, centre, radius, BALL, PITCH, "made up")


def network():
    """A lighting of random weights that sees the background."""
    rng = np.random.default_rng(0)
    sees = {"sees_background": True, "is_relative": True}
    return PixelEnsemble((PixelNetwork.random(terms=3, hidden=8, place_hidden=4, rng=rng, **sees),))
