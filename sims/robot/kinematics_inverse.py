"""Inverse kinematics: joint angles that bring the tool of a chain to a pose.

Damped least squares (Wampler 1986; the damping grows with the error, Sugihara 2011) on the geometric Jacobian, within
the joint limits; what freedom is left pulls towards the chain's home posture. Where the first start gets stuck, others
drawn from a fixed seed follow, so that the same pose always has the same answer.
"""

from __future__ import annotations

import numpy as np

from pliant.sims.math.rotation_host import rotation_vector
from pliant.sims.robot.kinematics import Chain

ITERATIONS, POLISHING = 150, 30  # with the pull towards home, then without
STARTS = 12
LONGEST = 0.3  # change of a joint in an iteration [rad or m]
PULL = 0.1  # share of the way home in an iteration
DAMPING = 1e-12  # of the least squares where the error is zero
TOLERANCE = 1e-9  # error that counts as reached [m, rad]


def solve_pose(chain: Chain, position: np.ndarray, rotation: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Joint angles, shape (B, n), at which ``chain.pose`` is ``position`` (B, 3) [m] and ``rotation`` (B, 3, 3).

    Args:
        chain: the arm.
        position, rotation: the poses wanted of its tool.
        start: joint angles to begin from, shape (n,), towards an answer nearby. Default: the home posture, which then
            pulls, too.

    Raises:
        ValueError: a pose is out of reach; the message says how near the tool comes.
    """
    batch, n = len(position), len(chain)
    rng = np.random.default_rng(0)
    best, least = np.zeros((batch, n)), np.full(batch, np.inf)
    q = np.tile(chain.clamp(chain.home if start is None else start), (batch, 1))
    for _ in range(STARTS):
        open_ = least > TOLERANCE
        q[open_] = _descend(chain, position[open_], rotation[open_], q[open_], PULL if start is None else 0.0)
        error = np.linalg.norm(_error(chain, position, rotation, q), axis=1)
        better = open_ & (error < least)
        best[better], least[better] = q[better], error[better]
        if (least <= TOLERANCE).all():
            return best
        q = rng.uniform(chain.lower, chain.upper, (batch, n))
    worst = int(least.argmax())
    away = _error(chain, position, rotation, best)[worst]
    raise ValueError(
        f"arm {chain.name!r} with its base at {chain.base_position.round(3).tolist()} m cannot reach "
        f"{position[worst].round(3).tolist()} m in the wanted orientation: it comes as near as "
        f"{np.linalg.norm(away[:3]):.2g} m and {np.linalg.norm(away[3:]):.2g} rad; move the base or the grip"
    )


def _error(chain: Chain, position: np.ndarray, rotation: np.ndarray, q: np.ndarray) -> np.ndarray:
    """From the tool's pose to the wanted one: distance [m] and rotation vector [rad], shape (B, 6)."""
    at, turned = chain.pose(q)
    return np.concatenate([position - at, rotation_vector(rotation @ turned.transpose(0, 2, 1))], axis=1)


def _descend(chain: Chain, position: np.ndarray, rotation: np.ndarray, q: np.ndarray, pull: float) -> np.ndarray:
    for iteration in range(ITERATIONS + POLISHING):
        error = _error(chain, position, rotation, q)
        polishing = iteration >= ITERATIONS or not pull
        if polishing and (np.abs(error) < 1e-13).all():
            break
        J = chain.jacobian(q)
        home = np.zeros_like(q) if polishing else pull * (chain.home - q)
        change = _least_squares(J, error, home)
        # A joint that is at its limit and wants beyond is left out, and the others make up for it.
        stuck = ((q <= chain.lower) & (change < 0)) | ((q >= chain.upper) & (change > 0))
        if stuck.any():
            change = np.where(stuck, 0.0, _least_squares(np.where(stuck[:, None], 0.0, J), error, home))
        longest = np.abs(change).max(axis=1, keepdims=True)
        q = chain.clamp(q + change * np.minimum(1.0, LONGEST / np.maximum(longest, 1e-300)))
    return q


def _least_squares(J: np.ndarray, error: np.ndarray, home: np.ndarray) -> np.ndarray:
    """dq = J^+ e + (1 - J^+ J) home with the damped inverse J^+ = J^T (J J^T + d)^-1, d = |e|^2 / 2 + `DAMPING`."""
    damping = 0.5 * (error**2).sum(axis=1) + DAMPING
    square = J @ J.transpose(0, 2, 1) + damping[:, None, None] * np.eye(6)
    rest = error - np.einsum("bkn,bn->bk", J, home)
    return home + np.einsum("bkn,bk->bn", J, np.linalg.solve(square, rest[..., None])[..., 0])
