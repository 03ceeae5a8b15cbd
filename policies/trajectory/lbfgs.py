"""L-BFGS-B (SciPy; Byrd, Lu, Nocedal & Zhu 1995) on the analytic gradient of an open-loop action sequence.

The parameters stay within their bounds. One iteration here is one evaluation of return and gradient, those of the line
search included, so that iterations and budgets mean the same as for Adam. Where the line search fails (contact has
kinks, at which the gradient jumps) or leads to where the simulation diverges, the curvature is forgotten and the search
begins anew from the best point: with a shorter first step where nothing was gained since the last time.
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
    empty_matrix,
    empty_vector,
    make_result,
    make_row,
    may_go_on,
    settle_parametrisation,
    start_parameters,
)
from pliant.policies.trajectory.settings import LbfgsSettings, check_settings
from pliant.policies.trajectory.trials import rollout_and_gradient

__all__ = ["LbfgsSettings", "LbfgsState", "optimize"]

SHORTENING = 0.25
"""Factor on the first step of a search that begins anew after one that gained nothing or diverged."""
SHORTENINGS = 6
"""In a row without a gain before the run ends."""


@dataclass
class LbfgsState(RunState):
    """Returns and gradients of all evaluations so far.

    They determine the search: SciPy's driver is deterministic, so a resumed run lets it start over and answers from
    here, without simulating, until it asks for a new point. Its inner state needs no file of its own.

    Attributes:
        initial_parameters: where the search started, shape (P,).
        values: returns, shape (evaluations,); nan where the simulation or its gradient diverged.
        gradients: their derivatives with respect to the parameters, shape (evaluations, P).
    """

    initial_parameters: np.ndarray = field(default_factory=empty_vector)
    values: np.ndarray = field(default_factory=empty_vector)
    gradients: np.ndarray = field(default_factory=empty_matrix)


class _BudgetSpent(Exception):
    """Ends SciPy's loop from within an evaluation."""


class _Diverged(Exception):
    """Ends it too, so that the search begins anew from the best point."""


def optimize(
    env: Any,
    settings: LbfgsSettings,
    *,
    parametrisation: Parametrisation | None = None,
    initial_parameters: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    state: LbfgsState | None = None,
) -> Result:
    """Maximise the return of one episode by L-BFGS-B on its actions.

    Args:
        env: a differentiable Pliant environment (``gym.make(..., differentiable=True)``).
        settings: see ``LbfgsSettings``.
        parametrisation: overrides the one that the settings describe.
        initial_parameters: start of the search, shape (parametrisation.size,); default is noise around zero action.
        on_iteration: called as ``on_iteration(state, row)`` after each evaluation; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.
    """
    from scipy.optimize import minimize

    check_settings(settings)
    env = env.unwrapped
    shape = settle_parametrisation(env, settings, parametrisation)
    if state is None:
        start = start_parameters(settings, shape, np.random.default_rng(settings.seed), initial_parameters)
        state = LbfgsState(initial_parameters=start, gradients=np.zeros((0, shape.size)))
    else:
        check_size(state.initial_parameters, shape)
    search = _Search(env, settings, shape, state, on_iteration)
    bounds = [(-1.0, 1.0)] * shape.size if shape.bounded else None
    begin, before, shortenings = state.initial_parameters, -np.inf, 0
    try:
        while shortenings <= SHORTENINGS:
            search.first_step = settings.first_step * SHORTENING**shortenings
            options = {
                "maxcor": settings.memory_pairs,
                "ftol": 0.0,
                "gtol": settings.gradient_tolerance * search.first_step,  # the objective is scaled to such a gradient
                "maxiter": settings.iterations,
                "maxfun": settings.iterations + 1,
            }
            try:
                converged = minimize(
                    search.evaluate, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options
                ).success
                diverged = False
            except _Diverged:
                converged, diverged = False, True
            gained = search.highest > before
            if converged and not gained:
                break
            shortenings = shortenings + 1 if diverged or not gained else 0
            begin, before = search.highest_at, search.highest
    except _BudgetSpent:
        pass
    return make_result("lbfgs", shape, state, state.initial_parameters)


class _Search:
    """The objective as SciPy sees it: minus the return, scaled so that the first step is ``first_step`` long."""

    def __init__(
        self,
        env: Any,
        settings: LbfgsSettings,
        shape: Parametrisation,
        state: LbfgsState,
        on_iteration: OnIteration | None,
    ) -> None:
        self.env, self.settings, self.shape, self.state, self.on_iteration = env, settings, shape, state, on_iteration
        self.asked = 0
        self.first_step = settings.first_step
        self.highest = -np.inf
        self.highest_at = state.initial_parameters
        self.gradient_there: np.ndarray | None = None

    def evaluate(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective and gradient: of an evaluation made before, or a new one."""
        state = self.state
        if self.gradient_there is not None and np.array_equal(parameters, self.highest_at):
            return self._scaled(self.highest, self.gradient_there)  # where a search begins anew
        if self.asked == len(state.values):
            if not may_go_on(self.settings, state, self.shape.horizon):
                raise _BudgetSpent
            self._simulate(parameters)
        value, gradient = state.values[self.asked], state.gradients[self.asked]
        self.asked += 1
        if np.isnan(value):
            raise _Diverged
        if value > self.highest:
            self.highest, self.highest_at, self.gradient_there = float(value), parameters.copy(), gradient
        return self._scaled(float(value), gradient)

    def _scaled(self, value: float, gradient: np.ndarray) -> tuple[float, np.ndarray]:
        scale = self.first_step / (np.abs(self.state.gradients[0]).max() or 1.0)
        return -scale * value, -scale * gradient

    def _simulate(self, parameters: np.ndarray) -> None:
        """One forward and one reverse sweep; adds to the state what they gave."""
        began = time.perf_counter()
        state, shape = self.state, self.shape
        trial = rollout_and_gradient(self.env, shape, parameters, seed=self.settings.seed, horizon=shape.horizon)
        if trial.failure is not None and not len(state.values):
            raise trial.failure  # there is nothing to go back to
        state.simulated_steps += trial.steps
        state.reverse_steps += trial.reverse_steps
        state.best.offer(trial.score, trial.value, parameters, by=self.settings.best_by)
        gradient = np.full(shape.size, np.nan) if trial.gradient is None else trial.gradient
        state.values = np.append(state.values, np.nan if trial.gradient is None else trial.value)
        state.gradients = np.concatenate([state.gradients, gradient[None]])
        state.seconds += time.perf_counter() - began
        norm = float(np.linalg.norm(gradient))
        row = make_row(state, horizon=shape.horizon, value=trial.value, score=trial.score, gradient_norm=norm)
        state.history.append(row)
        if self.on_iteration is not None:
            self.on_iteration(state, row)
