"""What the models of the tactile image see of a pixel: where it is, its colour without contact, how its surface tilts.

Tilts are given as m = (n_x, n_y) / (1 + n_z), the stereographic picture of the unit normal n: |m| is the tangent of
half the angle between n and the line of sight's (0, 0, 1), 0 for a surface that faces the camera, 1 for one seen
edge-on.
"""

from __future__ import annotations

import numpy as np

ROUNDING = 0.1
"""Where the direction of a tilt loses its meaning: harmonics of it are rounded off below this |m|."""

FEATURES = 14
"""Of a tilt."""


def tilts(normals: np.ndarray) -> np.ndarray:
    """m of unit normals (..., 3) with n_z > -1; shape (..., 2)."""
    return normals[..., :2] / (1.0 + normals[..., 2:])


def tilt_features(m: np.ndarray) -> np.ndarray:
    """Smooth functions of tilts, shape (..., 2), that a small network bends into shading; shape (..., FEATURES).

    Tilt, normal, and harmonics of the angle and the direction of the tilt, the latter rounded off at zero where no
    direction is defined: a lamp lights one side of a dent, its reflections make narrow bands.
    """
    squared = (m * m).sum(-1)
    length = np.sqrt(squared + ROUNDING**2)
    direction = (m[..., 0] + 1j * m[..., 1]) / length
    known = np.abs(direction)
    angle = 2.0 * np.arctan(np.sqrt(squared))
    features = [2.0 * m[..., 0], 2.0 * m[..., 1], 3.0 * m[..., 0] / (1.0 + squared), 3.0 * m[..., 1] / (1.0 + squared)]
    features += [2.0 * (1.0 - squared) / (1.0 + squared) - 1.5]
    for order in (1, 2, 3):
        turned = direction**order
        features += [turned.real, turned.imag]
    features += [np.cos(4.0 * angle), np.sin(4.0 * angle) * known, 1.5 * angle * known - 1.0]
    return np.stack(features, axis=-1)


def positions(width: int, height: int) -> np.ndarray:
    """(u, v) of the pixels of a picture, -1 to 1 from its left to its right and from its upper to its lower edge.

    Shape (height, width, 2). Both are measured at the centres of pixels, so that a place on the sensor has the same
    (u, v) at any resolution.
    """
    u = (2.0 * np.arange(width) + 1.0) / width - 1.0
    v = (2.0 * np.arange(height) + 1.0) / height - 1.0
    return np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=-1)


def position_features(place: np.ndarray, background: np.ndarray | None) -> np.ndarray:
    """Of pixels at (u, v), shape (..., 2), with the colours ``background`` (..., 3) [grey levels], unless None."""
    parts = [2.0 * place]
    if background is not None:
        parts.append((background - 128.0) / 64.0)
    return np.concatenate(parts, axis=-1)


def polynomials(place: np.ndarray) -> np.ndarray:
    """1, u, v, u^2, u v, v^2 at (u, v); shape (..., 6)."""
    u, v = place[..., 0], place[..., 1]
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
