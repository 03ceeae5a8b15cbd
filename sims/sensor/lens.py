"""Lens distortion with OpenCV's coefficients: Brown-Conrady for pinhole cameras, Kannala-Brandt for fisheyes.

A lens takes a ray, as slopes (x, y) = (X, Y) / Z in the camera's frame, to distorted slopes (x', y'); the camera matrix
makes pixels of those. With r^2 = x^2 + y^2,

    pinhole:  x' = x R + 2 p1 x y + p2 (r^2 + 2 x^2) + s1 r^2 + s2 r^4,   R = (1 + k1 r^2 + k2 r^4 + k3 r^6) /
              y' = y R + p1 (r^2 + 2 y^2) + 2 p2 x y + s3 r^2 + s4 r^4        (1 + k4 r^2 + k5 r^4 + k6 r^6)
    fisheye:  (x', y') = (x, y) q,   q = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) / r,
              theta = atan r

and the coefficients in OpenCV's order: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4, and k1 k2 k3 k4.
"""

from __future__ import annotations

import numpy as np

LENSES = ("pinhole", "fisheye")
COUNTS = {"pinhole": (0, 4, 5, 8, 12), "fisheye": (0, 4)}
"""How many coefficients each lens may have."""

_FULL = {"pinhole": 12, "fisheye": 4}
_SMALL = 1e-4  # below this r the quotients of the fisheye are taken from their series


def distort(lens: str, coefficients: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distorted slopes, shape (..., 2), and their derivative by the slopes (..., 2), shape (..., 2, 2)."""
    k = full_coefficients(lens, coefficients)
    x, y = slopes[..., 0], slopes[..., 1]
    s = x * x + y * y
    if lens == "fisheye":
        q, q_slope = _fisheye(k, s)
        image = slopes * q[..., None]
        # q depends on r alone: dq/dx = x (dq/dr) / r
        jacobian = q_slope[..., None, None] * slopes[..., :, None] * slopes[..., None, :] + q[..., None, None] * np.eye(
            2
        )
        return image, jacobian
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = k
    above, below = 1 + s * (k1 + s * (k2 + s * k3)), 1 + s * (k4 + s * (k5 + s * k6))
    radial = above / below
    # by s = r^2
    radial_slope = (k1 + s * (2 * k2 + s * 3 * k3) - radial * (k4 + s * (2 * k5 + s * 3 * k6))) / below
    across, along = s1 + 2 * s2 * s, s3 + 2 * s4 * s
    image = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x) + s * (s1 + s2 * s),
            y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y + s * (s3 + s4 * s),
        ],
        axis=-1,
    )
    mixed = 2 * x * y * radial_slope + 2 * p1 * x + 2 * p2 * y
    rows = [
        radial + 2 * x * x * radial_slope + 2 * p1 * y + 6 * p2 * x + 2 * x * across,
        mixed + 2 * y * across,
        mixed + 2 * x * along,
        radial + 2 * y * y * radial_slope + 6 * p1 * y + 2 * p2 * x + 2 * y * along,
    ]
    return image, np.stack(rows, axis=-1).reshape(*slopes.shape, 2)


def distort_coefficients_adjoint(
    lens: str, coefficients: np.ndarray, slopes: np.ndarray, image_bar: np.ndarray
) -> np.ndarray:
    """Cotangents of the coefficients, shaped like them: summed over all slopes, shape (..., 2)."""
    k = full_coefficients(lens, coefficients)
    x, y = slopes[..., 0], slopes[..., 1]
    x_bar, y_bar = image_bar[..., 0], image_bar[..., 1]
    s = x * x + y * y
    radial_bar = x_bar * x + y_bar * y
    if lens == "fisheye":
        r = np.sqrt(s)
        theta = np.arctan(r)
        over = np.where(r < _SMALL, 1 - s / 3, theta / np.maximum(r, _SMALL))
        bars = [radial_bar * over * theta ** (2 * i + 2) for i in range(4)]
    else:
        below = 1 + s * (k[5] + s * (k[6] + s * k[7]))
        radial = (1 + s * (k[0] + s * (k[1] + s * k[4]))) / below
        over = radial_bar / below
        p_bars = [2 * x * y * x_bar + (s + 2 * y * y) * y_bar, (s + 2 * x * x) * x_bar + 2 * x * y * y_bar]
        bars = [over * s, over * s**2, *p_bars, over * s**3]
        bars += [-over * radial * s, -over * radial * s**2, -over * radial * s**3]
        bars += [x_bar * s, x_bar * s * s, y_bar * s, y_bar * s * s]
    return np.array([bar.sum() for bar in bars[: len(coefficients)]])


def full_coefficients(lens: str, coefficients: np.ndarray) -> np.ndarray:
    """All coefficients of a lens: those that are not given are 0."""
    full = np.zeros(_FULL[lens])
    full[: len(coefficients)] = coefficients
    return full


def _fisheye(k: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q = theta_d / r and (dq/dr) / r, for s = r^2."""
    r = np.sqrt(s)
    theta = np.arctan(r)
    t = theta * theta
    bent = 1 + t * (k[0] + t * (k[1] + t * (k[2] + t * k[3])))
    slope = 1 + t * (3 * k[0] + t * (5 * k[1] + t * (7 * k[2] + t * 9 * k[3])))
    small = r < _SMALL
    wide = np.where(small, 1.0, r)
    # theta = r - r^3/3 + ..., so that q = 1 + (k1 - 1/3) r^2 + ...
    q = np.where(small, 1 + (k[0] - 1 / 3) * s, theta * bent / wide)
    q_slope = np.where(small, 2 * (k[0] - 1 / 3), (slope / (1 + s) - q) / np.where(small, 1.0, s))
    return q, q_slope
