"""Rotations in NumPy, for kinematics on the host: leading axes are batches, quaternions are (w, x, y, z), float64."""

from __future__ import annotations

import numpy as np

SMALL = 1e-4
"""Angles [rad] below which series replace quotients; their next term is below 1e-16."""


def matrix_of_quaternion(q: np.ndarray) -> np.ndarray:
    """Rotation matrix, shape (..., 3, 3), of quaternions (..., 4), which are normalised first."""
    w, x, y, z = np.moveaxis(np.asarray(q, np.float64) / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quaternion_of_matrix(R: np.ndarray) -> np.ndarray:
    """Unit quaternion, shape (..., 4), w >= 0, of rotation matrices (..., 3, 3)."""
    # Each row of 4 q q^T is q times one of its components; the row of the largest one is the most exact.
    xx, yy, zz = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    wx, wy, wz = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    xy, xz, yz = R[..., 1, 0] + R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0], R[..., 2, 1] + R[..., 1, 2]
    rows = np.stack(
        [
            np.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            np.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            np.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            np.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    largest = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), -1)
    q = np.take_along_axis(rows, largest[..., None, None], -2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def skew(v: np.ndarray) -> np.ndarray:
    """The matrix [v]x of the cross product with v, shape (..., 3, 3), of vectors (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(v, np.float64), -1, 0)
    o = np.zeros_like(x)
    return np.stack([np.stack([o, -z, y], -1), np.stack([z, o, -x], -1), np.stack([-y, x, o], -1)], -2)


def turn_adjoint(q: np.ndarray, turn_bar: np.ndarray) -> np.ndarray:
    """Cotangents, shape (..., 4), of quaternions (..., 4) of any length from those of turns (..., 3) of the rotation.

    A change dq of q turns the rotation of q / |q|, from the left, by the vector part psi of 2 dq q* / |q|^2 (q* is the
    conjugate). So psi_bar . psi = q_bar . dq with q_bar = 2 (0, psi_bar) q / |q|^2.
    """
    w, v = q[..., :1], q[..., 1:]
    q_bar = np.concatenate([-(turn_bar * v).sum(-1, keepdims=True), w * turn_bar + np.cross(turn_bar, v)], axis=-1)
    return q_bar * (2.0 / (q**2).sum(-1, keepdims=True))


def rotation_vector(R: np.ndarray) -> np.ndarray:
    """Axis times angle [rad], shape (..., 3), angle in [0, pi], of rotation matrices (..., 3, 3)."""
    q = quaternion_of_matrix(R)
    length = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(length, q[..., :1])
    return q[..., 1:] * np.divide(angle, length, out=np.full_like(length, 2.0), where=length > 0)


def rotation_vector_change(phi: np.ndarray) -> np.ndarray:
    """The matrix A(phi), shape (..., 3, 3), of d phi = A d psi, where exp(phi) becomes exp(d psi) exp(phi).

    The inverse left Jacobian of SO(3): A = I - [phi]x / 2 + c [phi]x^2 with c = 1/a^2 - cot(a/2) / (2 a), a = |phi|
    (Sola, Deray & Atchuthan 2018, "A micro Lie theory", eq. 146). A change on the right, exp(phi) exp(d psi), is A^T.
    """
    angle = np.linalg.norm(phi, axis=-1)[..., None, None]
    safe = np.where(angle < SMALL, 1.0, angle)
    c = np.where(angle < SMALL, 1 / 12 + angle**2 / 720, 1 / safe**2 - 1 / (2 * safe * np.tan(safe / 2)))
    K = skew(phi)
    return np.eye(3) - K / 2 + c * (K @ K)
