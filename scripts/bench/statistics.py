"""How methods are ranked, by the conventions of Agarwal et al. 2021 (arXiv 2108.13264): interquartile means, stratified
bootstrap intervals, probabilities of improvement, performance profiles.

The authors' library rliable (1.2.0) brings arch, pandas, statsmodels and seaborn for what NumPy and SciPy have most of,
cannot be imported with pandas 3, and wants the same number of runs of every task; here a task may have fewer. On five
runs of fourteen tasks means, probabilities and profiles were the same to rounding, bounds of intervals within .01.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import trim_mean

Scores = Sequence[np.ndarray]
"""Scores of a method, one array for each task with a number for each run."""
REPLICATES = 2000
CONFIDENCE = 0.95


def interquartile_mean(scores: Scores) -> tuple[float, float, float]:
    """Mean of the middle half of all runs of all tasks together, and its interval.

    The interval is that of the percentile bootstrap; runs are drawn anew within each task.
    """
    random = np.random.default_rng(0)
    drawn = [task[random.integers(len(task), size=(REPLICATES, len(task)))] for task in scores]
    values = trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1)
    return float(trim_mean(np.concatenate(scores), 0.25)), *_interval(values)


def improvement(scores: Scores, others: Scores) -> tuple[float, float, float]:
    """Probability that a run of a method does better than one of another on a task, and its interval.

    It is the mean over the tasks of the share of pairs of runs that the method wins, a tie one half of it (statistic of
    Mann and Whitney). The bootstrap draws the runs of both methods anew within each task.
    """
    random = np.random.default_rng(0)
    shares, drawn = [], []
    for mine, theirs in zip(scores, others, strict=True):
        wins = (mine[:, None] > theirs) + 0.5 * (mine[:, None] == theirs)
        shares.append(wins.mean())
        counts = [random.multinomial(n, np.full(n, 1 / n), REPLICATES) / n for n in wins.shape]
        drawn.append(np.einsum("ri,ij,rj->r", counts[0], wins, counts[1]))
    return float(np.mean(shares)), *_interval(np.mean(drawn, axis=0))


def profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Share of runs with a score above each of the thresholds, the mean over the tasks."""
    return np.mean([(task[:, None] > thresholds).mean(axis=0) for task in scores], axis=0)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
