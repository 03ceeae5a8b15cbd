"""Closed-loop policies played on given seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def evaluate(
    env: Any, act: Callable[[np.ndarray], np.ndarray], seeds: Sequence[int], horizon: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns and final scores of whole episodes, shape (len(seeds),) each; an episode may end before the others.

    Args:
        env: a vector environment that does not reset itself within a step; it need not be differentiable. Seeds are
            played B at a time.
        act: from observations (B, O) to actions (B, A).
        seeds: of the episodes.
        horizon: steps of an episode; 0 takes the environment's.
    """
    env = env.unwrapped
    returns, scores = np.zeros(len(seeds)), np.zeros(len(seeds))
    for first in range(0, len(seeds), env.num_envs):
        batch = list(seeds[first : first + env.num_envs])
        rows = slice(first, first + len(batch))
        observation, _ = env.reset(seed=batch + batch[-1:] * (env.num_envs - len(batch)))  # the last one fills up
        running = np.ones(env.num_envs, bool)
        value, score = np.zeros(env.num_envs), np.zeros(env.num_envs)
        for _ in range(min(horizon or env.horizon, env.horizon)):
            observation, reward, terminated, truncated, info = env.step(act(observation))
            value[running] += reward[running]
            score[running] = info["score"][running]
            running &= ~(terminated | truncated)
            if not running.any():
                break
        returns[rows], scores[rows] = value[: len(batch)], score[: len(batch)]
    return returns, scores
