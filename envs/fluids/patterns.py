"""Patterns that flow could draw on a surface, in closed form: maps of the plane that keep areas as they are."""

from __future__ import annotations

import numpy as np

STEPS = 40  # of the integration


def vortex_pair(points: np.ndarray, *, middle: np.ndarray, angle: float, stroke: float, width: float) -> np.ndarray:
    """Where a pair of vortices carries points [m], shape (n, 2): ahead in the middle, back on both sides.

    The flow of the stream function U d exp(-(s^2 + d^2) / (2 w^2)) about ``middle`` (s along the axis, d across it), as
    the stroke of a stirrer leaves it; it moves with the fluid in its middle.

    Args:
        points: shape (n, 2) [m].
        middle: where the pair starts, shape (2,) [m].
        angle: of its axis from x [rad].
        stroke: way of the pair [m].
        width: w [m], from the axis to the middle of either vortex.
    """
    axis = np.array([np.cos(angle), np.sin(angle)])
    turn = np.stack([axis, [-axis[1], axis[0]]], axis=1)
    local = (points - middle) @ turn

    def flow(at: np.ndarray, time: float) -> np.ndarray:
        s, d = at[:, 0] - stroke * time, at[:, 1]
        bell = stroke * np.exp(-(s**2 + d**2) / (2 * width**2))
        return np.stack([bell * (1 - d**2 / width**2), bell * s * d / width**2], axis=1)

    h = 1 / STEPS
    for step in range(STEPS):  # Runge-Kutta, fourth order
        t = step * h
        a = flow(local, t)
        b = flow(local + h / 2 * a, t + h / 2)
        c = flow(local + h / 2 * b, t + h / 2)
        e = flow(local + h * c, t + h)
        local = local + h / 6 * (a + 2 * b + 2 * c + e)
    return local @ turn.T + middle


def wave(along: np.ndarray, *, length: float, amplitude: float, phase: float) -> np.ndarray:
    """Points [m], shape (n, 2), of one period of a wave along x about the origin, at shares ``along`` (n,) of it.

    Args:
        along: share of the length.
        length, amplitude: [m].
        phase: at the start [rad].
    """
    return np.stack([length * (along - 0.5), amplitude * np.sin(2 * np.pi * along + phase)], axis=1)
