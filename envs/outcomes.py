"""What steps and reverse sweeps give: outcomes and gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OBSERVATION_LIMIT = 10.0
"""Observations are clipped to [-OBSERVATION_LIMIT, OBSERVATION_LIMIT]; usual values lie within [-1, 1]."""


@dataclass
class Gradient:
    """Derivatives of a weighted sum of rewards and observations of an episode.

    In the vector environment every array has a leading axis, the world.

    Attributes:
        actions: with respect to the actions, shape (T, A); zero where an action lay outside [-1, 1].
        initial_state: with respect to the state after the reset, by name; shapes of the state arrays.
        parameters: with respect to the physical and design parameters, by name; shapes of the parameters.
    """

    actions: np.ndarray
    initial_state: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]


@dataclass
class Outcome:
    """What a reset or a step gives, for each of B worlds.

    Attributes:
        observation: float64, shape (B, O), not clipped.
        reward: shape (B,).
        terms: the parts of the reward by name, shape (B,) each.
        score: in [0, 1], shape (B,).
        measures: what the task reports besides, by name, shape (B,) each.
        diverged: worlds in which the step failed and was taken back, shape (B,).
    """

    observation: np.ndarray
    reward: np.ndarray
    terms: dict[str, np.ndarray]
    score: np.ndarray
    measures: dict[str, np.ndarray]
    diverged: np.ndarray
