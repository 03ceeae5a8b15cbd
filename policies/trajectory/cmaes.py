"""CMA-ES (library ``cma``) on an open-loop action sequence: the black-box rival of the gradient.

The same parametrisations, the same environment and reward, the same count of simulated steps. A generation evaluates
``population`` episodes, in parallel where a vector environment is given.
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
    empty_matrix,
    evaluate_population,
    make_result,
    may_go_on,
    population_row,
    rankable,
    settle_parametrisation,
    simulated_steps,
    start_parameters,
)
from pliant.policies.trajectory.settings import CmaesSettings, check_settings

__all__ = ["CmaesSettings", "CmaesState", "optimize"]

DIAGONAL_FROM = 200  # parameters beyond which a full covariance costs more than it learns in a run of this kind


@dataclass
class CmaesState(RunState):
    """The returns of all candidates so far.

    They determine the search: the candidates follow from the seed, so a resumed run asks for them again and tells the
    recorded returns without simulating. Nothing needs to be pickled.

    Attributes:
        returns: returns per generation, shape (generations, population).
    """

    returns: np.ndarray = field(default_factory=empty_matrix)


def optimize(
    env: Any,
    settings: CmaesSettings,
    *,
    parametrisation: Parametrisation | None = None,
    initial_parameters: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    state: CmaesState | None = None,
) -> Result:
    """Maximise the return of one episode by CMA-ES on its actions.

    Args:
        env: a Pliant environment, or a vector of them (then ``num_envs`` candidates are simulated at a time).
        settings: see ``CmaesSettings``; a generation that would exceed ``max_simulated_steps`` is not begun.
        parametrisation: overrides the one that the settings describe.
        initial_parameters: mean of the first generation, shape (parametrisation.size,); default is zero action.
        on_iteration: called as ``on_iteration(state, row)`` after each generation; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.
    """
    check_settings(settings)
    env = env.unwrapped
    shape = settle_parametrisation(env, settings, parametrisation)
    random = np.random.default_rng(settings.seed)
    start = start_parameters(settings, shape, random, initial_parameters)
    search = _new_search(settings, shape, start, random)
    if state is None:
        state = CmaesState(returns=np.zeros((0, search.popsize)))
    elif state.returns.shape[1] != search.popsize:
        raise ValueError(f"state has a population of {state.returns.shape[1]}; this run has {search.popsize}")
    for returns in state.returns:
        search.tell(search.ask(), list(-returns))
    while may_go_on(settings, state, simulated_steps(env, search.popsize, shape.horizon)):
        began = time.perf_counter()
        candidates = search.ask()
        returns, scores = evaluate_population(env, settings, shape, state, np.stack(candidates))
        ranked = rankable(returns)
        search.tell(candidates, list(-ranked))
        state.returns = np.concatenate([state.returns, ranked[None]])
        state.seconds += time.perf_counter() - began
        row = population_row(state, shape, returns, scores, float(search.sigma))
        state.history.append(row)
        if on_iteration is not None:
            on_iteration(state, row)
    return make_result("cmaes", shape, state, start)


def population_size(settings: CmaesSettings, shape: Parametrisation) -> int:
    """Candidates per generation."""
    if settings.population and settings.population < 3:
        raise ValueError(f"population={settings.population} is too small; it must be 0 (automatic) or at least 3")
    return settings.population or 4 + int(3 * np.log(shape.size))


def _new_search(settings: CmaesSettings, shape: Parametrisation, start: np.ndarray, random: np.random.Generator) -> Any:
    import cma

    diagonal = settings.diagonal == "on" or (settings.diagonal == "auto" and shape.size > DIAGONAL_FROM)
    options: dict[str, Any] = {
        "seed": np.nan,  # leaves NumPy's global generator alone; randn below is the only source of chance
        "randn": lambda *size: random.standard_normal(size),
        "verbose": -9,
        "CMA_diagonal": diagonal,
        "popsize": population_size(settings, shape),
    }
    if shape.bounded:
        options["bounds"] = [-1.0, 1.0]
    return cma.CMAEvolutionStrategy(start, settings.sigma, options)
