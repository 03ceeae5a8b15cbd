"""The cross-entropy method on an open-loop action sequence (Rubinstein 1999; de Boer et al. 2005, section 5).

Candidates come from a normal distribution with a diagonal covariance, which is then fitted to the best of them: the
elites. Part of the distribution before is kept, so that one population cannot make it collapse.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.policies.parametrisation import Parametrisation
from pliant.policies.trajectory.episode import (
    OnIteration,
    Result,
    RunState,
    check_size,
    empty_vector,
    evaluate_population,
    make_result,
    may_go_on,
    population_row,
    rankable,
    settle_parametrisation,
    simulated_steps,
    start_parameters,
)
from pliant.policies.trajectory.settings import POPULATION, CemSettings, check_settings

__all__ = ["CemSettings", "CemState", "optimize"]


@dataclass
class CemState(RunState):
    """The distribution that the next candidates come from.

    Attributes:
        mean, deviation: its mean and standard deviations, shape (P,).
        initial_parameters: the first mean, shape (P,).
    """

    mean: np.ndarray = field(default_factory=empty_vector)
    deviation: np.ndarray = field(default_factory=empty_vector)
    initial_parameters: np.ndarray = field(default_factory=empty_vector)


def optimize(
    env: Any,
    settings: CemSettings,
    *,
    parametrisation: Parametrisation | None = None,
    initial_parameters: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    state: CemState | None = None,
) -> Result:
    """Maximise the return of one episode by the cross-entropy method on its actions.

    Args:
        env: a Pliant environment, or a vector of them (then ``num_envs`` candidates are simulated at a time).
        settings: see ``CemSettings``; a population that would exceed ``max_simulated_steps`` is not begun.
        parametrisation: overrides the one that the settings describe.
        initial_parameters: the first mean, shape (parametrisation.size,); default is noise around zero action.
        on_iteration: called as ``on_iteration(state, row)`` after each population; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.
    """
    check_settings(settings)
    env = env.unwrapped
    shape = settle_parametrisation(env, settings, parametrisation)
    count = settings.population or POPULATION
    elites = max(2, round(settings.elite_fraction * count))
    if count < elites:
        raise ValueError(f"population={count} is too small; it must be 0 (automatic) or at least {elites}")
    if state is None:
        start = start_parameters(settings, shape, np.random.default_rng(settings.seed), initial_parameters)
        state = CemState(mean=start, deviation=np.full(shape.size, settings.sigma), initial_parameters=start.copy())
    else:
        check_size(state.mean, shape)

    while may_go_on(settings, state, simulated_steps(env, count, shape.horizon)):
        began = time.perf_counter()
        random = np.random.default_rng((settings.seed, len(state.history)))
        noise = random.standard_normal((count, shape.size))
        noise[0] = 0.0  # the mean itself is a candidate: what a plan in a receding horizon was warm-started with counts
        candidates = shape.project(state.mean + state.deviation * noise)
        returns, scores = evaluate_population(env, settings, shape, state, candidates)
        best = candidates[np.argsort(-rankable(returns), kind="stable")[:elites]]
        keep = settings.smoothing
        state.mean = keep * state.mean + (1 - keep) * best.mean(axis=0)
        deviation = keep * state.deviation + (1 - keep) * best.std(axis=0)
        state.deviation = np.maximum(deviation, settings.sigma_floor)
        state.seconds += time.perf_counter() - began
        row = population_row(state, shape, returns, scores, float(state.deviation.mean()))
        state.history.append(row)
        if on_iteration is not None:
            on_iteration(state, row)
    return make_result("cem", shape, state, state.initial_parameters)
