"""Random search: the best of random open-loop action sequences, the plainest rival at equal simulated steps.

Nothing is learned from one candidate for the next, except, with ``sampling="around-best"``, where the best one lies.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.policies.parametrisation import Parametrisation
from pliant.policies.trajectory.episode import (
    OnIteration,
    Result,
    RunState,
    evaluate_population,
    make_result,
    may_go_on,
    population_row,
    settle_parametrisation,
    simulated_steps,
    start_parameters,
)
from pliant.policies.trajectory.settings import POPULATION, RandomSearchSettings, check_settings

__all__ = ["RandomSearchSettings", "RandomSearchState", "optimize"]


@dataclass
class RandomSearchState(RunState):
    """The best so far is all that the next iteration depends on; its random numbers follow from its number."""


def optimize(
    env: Any,
    settings: RandomSearchSettings,
    *,
    parametrisation: Parametrisation | None = None,
    initial_parameters: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    state: RandomSearchState | None = None,
) -> Result:
    """Maximise the return of one episode by trying random actions.

    Parameters within bounds are uniform there; unbounded ones (sinusoids) are standard normal.

    Args:
        env: a Pliant environment, or a vector of them (then ``num_envs`` candidates are simulated at a time).
        settings: see ``RandomSearchSettings``; a population that would exceed ``max_simulated_steps`` is not begun.
        parametrisation: overrides the one that the settings describe.
        initial_parameters: the first candidate, shape (parametrisation.size,); default is noise around zero action.
        on_iteration: called as ``on_iteration(state, row)`` after each population; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.
    """
    check_settings(settings)
    env = env.unwrapped
    shape = settle_parametrisation(env, settings, parametrisation)
    start = start_parameters(settings, shape, np.random.default_rng(settings.seed), initial_parameters)
    count = settings.population or POPULATION
    state = state or RandomSearchState()

    while may_go_on(settings, state, simulated_steps(env, count, shape.horizon)):
        began = time.perf_counter()
        iteration = len(state.history)
        random = np.random.default_rng((settings.seed, iteration))
        if settings.sampling == "around-best":
            centre = state.best.parameters if state.best.parameters.size else start
            candidates = centre + settings.sigma * random.standard_normal((count, shape.size))
        elif shape.bounded:
            candidates = random.uniform(-1.0, 1.0, (count, shape.size))
        else:
            candidates = random.standard_normal((count, shape.size))
        if iteration == 0:
            candidates[0] = start
        candidates = shape.project(candidates)
        returns, scores = evaluate_population(env, settings, shape, state, candidates)
        state.seconds += time.perf_counter() - began
        row = population_row(state, shape, returns, scores, settings.sigma)
        state.history.append(row)
        if on_iteration is not None:
            on_iteration(state, row)
    return make_result("random_search", shape, state, start)
