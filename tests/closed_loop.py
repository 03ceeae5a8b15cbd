"""How far a closed-loop policy is from the optimum of ``point_mass``."""

import numpy as np
import point_mass

from pliant.policies.evaluation import evaluate

SEEDS = range(1000, 1016)  # starts that no training has seen


def regret(policy):
    """(best - value) / (best - value of doing nothing), mean over ``SEEDS``: 0 at the optimum, 1 for idleness."""
    envs, alone = point_mass.make(16), point_mass.make()
    try:
        best = np.mean([point_mass.best_return(point_mass.start_of(alone, seed)) for seed in SEEDS])
        idle = evaluate(envs, lambda observation: np.zeros((len(observation), 2)), SEEDS)[0].mean()
        return (best - evaluate(envs, policy.act, SEEDS)[0].mean()) / (best - idle)
    finally:
        envs.close()
        alone.close()
