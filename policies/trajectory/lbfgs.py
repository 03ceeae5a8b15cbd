"""L-BFGS-B (SciPy; Byrd, Lu, Nocedal & Zhu 1995) on the analytic gradient of an open-loop action sequence.

The parameters stay within their bounds. One iteration here is one evaluation of return and gradient, those of the line
search included, so that iterations and budgets mean the same as for Adam. Where the line search fails (contact has
kinks, at which the gradient jumps) the curvature is forgotten and the search begins anew from the best point, as long
as that has become better since the last time.
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
    return_and_gradient,
    settle_parametrisation,
    start_parameters,
)
from pliant.policies.trajectory.settings import LbfgsSettings, check_settings

__all__ = ["LbfgsSettings", "LbfgsState", "optimize"]


@dataclass
class LbfgsState(RunState):
    """Returns and gradients of all evaluations so far.

    They determine the search: SciPy's driver is deterministic, so a resumed run lets it start over and answers from
    here, without simulating, until it asks for a new point. Its inner state needs no file of its own.

    Attributes:
        initial_parameters: where the search started, shape (P,).
        values: returns, shape (evaluations,).
        gradients: their derivatives with respect to the parameters, shape (evaluations, P).
    """

    initial_parameters: np.ndarray = field(default_factory=empty_vector)
    values: np.ndarray = field(default_factory=empty_vector)
    gradients: np.ndarray = field(default_factory=empty_matrix)


class _BudgetSpent(Exception):
    """Ends SciPy's loop from within an evaluation."""


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
    options = {
        "maxcor": settings.memory_pairs,
        "ftol": 0.0,
        "gtol": settings.gradient_tolerance * settings.first_step,  # the objective is scaled to such a gradient
        "maxiter": settings.iterations,
        "maxfun": settings.iterations + 1,
    }
    begin, before = state.initial_parameters, np.inf
    try:
        while True:
            minimize(search.evaluate, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
            if search.lowest >= before:
                break
            begin, before = search.lowest_at, search.lowest
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
        self.lowest = np.inf
        self.lowest_at = state.initial_parameters

    def evaluate(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective and gradient: of an evaluation made before, or a new one."""
        state = self.state
        if self.asked == len(state.values):
            if not may_go_on(self.settings, state, self.shape.horizon):
                raise _BudgetSpent
            self._simulate(parameters)
        value, gradient = state.values[self.asked], state.gradients[self.asked]
        self.asked += 1
        scale = self.settings.first_step / (np.abs(state.gradients[0]).max() or 1.0)
        if -scale * value < self.lowest:
            self.lowest, self.lowest_at = -scale * value, parameters.copy()
        return -scale * value, -scale * gradient

    def _simulate(self, parameters: np.ndarray) -> None:
        """One forward and one reverse sweep; adds to the state what they gave."""
        began = time.perf_counter()
        state, shape = self.state, self.shape
        value, score, gradient = return_and_gradient(
            self.env, self.settings, shape, state, parameters, horizon=shape.horizon
        )
        state.best.offer(score, value, parameters, by=self.settings.best_by)
        state.values = np.append(state.values, value)
        state.gradients = np.concatenate([state.gradients, gradient[None]])
        state.seconds += time.perf_counter() - began
        norm = float(np.linalg.norm(gradient))
        row = make_row(state, horizon=shape.horizon, value=value, score=score, gradient_norm=norm)
        state.history.append(row)
        if self.on_iteration is not None:
            self.on_iteration(state, row)
