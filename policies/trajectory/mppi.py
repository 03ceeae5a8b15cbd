"""Model-predictive path integral control (Williams et al. 2017, "Information Theoretic MPC", algorithm 2).

One iteration simulates the plan with normal noise on its parameters and moves it to the mean of the candidates, each
weighted by exp((return - best return) / lambda). As an optimiser of a whole episode it is iterated; in a receding
horizon (`pliant.policies.trajectory.mpc`) one iteration a plan is the algorithm of the paper. The paper's control cost
lambda u' Sigma^-1 epsilon is left out, which its section III allows for by a base distribution centred on the plan:
tasks carry an action cost of their own, the same for every method.
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
from pliant.policies.trajectory.settings import POPULATION, MppiSettings, check_settings

__all__ = ["MppiSettings", "MppiState", "optimize"]


@dataclass
class MppiState(RunState):
    """The plan that the next candidates surround.

    Attributes:
        mean: its parameters, shape (P,).
        initial_parameters: those of the first plan, shape (P,).
        sigma: standard deviation of the noise.
    """

    mean: np.ndarray = field(default_factory=empty_vector)
    initial_parameters: np.ndarray = field(default_factory=empty_vector)
    sigma: float = 0.0


def optimize(
    env: Any,
    settings: MppiSettings,
    *,
    parametrisation: Parametrisation | None = None,
    initial_parameters: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    state: MppiState | None = None,
) -> Result:
    """Maximise the return of one episode by path integrals over its actions.

    The plan as it stands is one of the candidates, so that its own return is known.

    Args:
        env: a Pliant environment, or a vector of them (then ``num_envs`` candidates are simulated at a time).
        settings: see ``MppiSettings``; a population that would exceed ``max_simulated_steps`` is not begun.
        parametrisation: overrides the one that the settings describe.
        initial_parameters: the first plan, shape (parametrisation.size,); default is noise around zero action.
        on_iteration: called as ``on_iteration(state, row)`` after each population; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.
    """
    check_settings(settings)
    env = env.unwrapped
    shape = settle_parametrisation(env, settings, parametrisation)
    count = settings.population or POPULATION
    if count < 2:
        raise ValueError(f"population={count} is too small; it must be 0 (automatic) or at least 2")
    if state is None:
        start = start_parameters(settings, shape, np.random.default_rng(settings.seed), initial_parameters)
        state = MppiState(mean=start, initial_parameters=start.copy(), sigma=settings.sigma)
    else:
        check_size(state.mean, shape)

    while may_go_on(settings, state, simulated_steps(env, count, shape.horizon)):
        began = time.perf_counter()
        random = np.random.default_rng((settings.seed, len(state.history)))
        noise = random.standard_normal((count, shape.size))
        noise[0] = 0.0
        candidates = shape.project(state.mean + state.sigma * noise)
        returns, scores = evaluate_population(env, settings, shape, state, candidates)
        state.mean = path_integral_weights(rankable(returns), settings.temperature) @ candidates
        used = state.sigma
        state.sigma *= settings.sigma_decay
        state.seconds += time.perf_counter() - began
        row = population_row(state, shape, returns, scores, used)
        state.history.append(row)
        if on_iteration is not None:
            on_iteration(state, row)
    return make_result("mppi", shape, state, state.initial_parameters)


def path_integral_weights(returns: np.ndarray, temperature: float) -> np.ndarray:
    """Weights exp((R_k - max R) / lambda), normalised, shape (n,); lambda is ``temperature`` deviations of the R_k.

    A temperature relative to the spread means the same on tasks whose rewards differ by orders of magnitude.
    """
    scale = temperature * float(np.std(returns))
    if scale == 0.0:
        return np.full(len(returns), 1.0 / len(returns))
    weights = np.exp((returns - returns.max()) / scale)
    return weights / weights.sum()
