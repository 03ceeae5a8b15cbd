"""Adam on the analytic gradient of an open-loop action sequence, with steps that are judged.

Adam's step does not shrink where the landscape is stiff, so that one step may lead to where the gradient is hundreds of
times as large and says nothing about the way back. So each iteration is judged by the objective: what loses more than
was gained since the start is taken back at once, and so are iterations that stay below the best for a while. The
search then goes on from the best, with a shorter step and empty moments; the step grows again with success.

Each iteration simulates the episode once forward and once in reverse. ``simulated_steps`` counts forward environment
steps only, the same count as that of a black-box optimiser; ``reverse_steps`` counts the steps swept in reverse, each
of which costs some two to three forward steps (recomputation from checkpoints included). Whoever compares at equal
*work* weighs the two; ``seconds`` is the wall time of both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.policies.parametrisation import Parametrisation
from pliant.policies.settings import half_cosine
from pliant.policies.trajectory.episode import (
    OnIteration,
    Result,
    Row,
    RunState,
    check_size,
    empty_vector,
    make_result,
    make_row,
    may_go_on,
    settle_parametrisation,
    start_parameters,
)
from pliant.policies.trajectory.settings import GradientSettings, check_settings
from pliant.policies.trajectory.trials import Trial, rollout, rollout_and_gradient

__all__ = ["GradientSettings", "GradientState", "optimize"]

SHORTENING = 0.5
"""Factor on the step when the search goes back to the best."""
RECOVERY = 1.2
"""Factor on a shortened step with each iteration that is better than the best."""
SHORTEST = 2.0**-10
"""Smallest factor on the scheduled step size."""


@dataclass
class GradientState(RunState):
    """Everything that the next iteration depends on; ``to_arrays`` and ``from_arrays`` carry it through a file.

    Attributes:
        parameters, first_moment, second_moment: parameter vector and Adam's moments, shape (P,).
        anchor, anchor_gradient: the best parameters at this horizon and the gradient there, shape (P,).
        anchor_value, start_value: the objective there and at the first iteration of this horizon.
        setbacks: iterations in a row below ``anchor_value``.
        step_factor: on the scheduled step size.
        initial_parameters: where the search started, shape (P,).
        iteration: iterations done.
        adam_steps: updates since the moments were last emptied.
        horizon: environment steps that are optimised at present.
        held: steps from the start of the episode whose actions are held.
        plateau_best, plateau_count: best return at this horizon, and iterations since it improved.
    """

    parameters: np.ndarray = field(default_factory=empty_vector)
    initial_parameters: np.ndarray = field(default_factory=empty_vector)
    first_moment: np.ndarray = field(default_factory=empty_vector)
    second_moment: np.ndarray = field(default_factory=empty_vector)
    anchor: np.ndarray = field(default_factory=empty_vector)
    anchor_gradient: np.ndarray = field(default_factory=empty_vector)
    anchor_value: float = -np.inf
    start_value: float = -np.inf
    setbacks: int = 0
    step_factor: float = 1.0
    horizon: int = 0
    held: int = 0
    iteration: int = 0
    adam_steps: int = 0
    plateau_best: float = -np.inf
    plateau_count: int = 0


def optimize(
    env: Any,
    settings: GradientSettings,
    *,
    parametrisation: Parametrisation | None = None,
    initial_parameters: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    state: GradientState | None = None,
) -> Result:
    """Maximise the return of one episode by gradient ascent on its actions.

    Args:
        env: a differentiable Pliant environment (``gym.make(..., differentiable=True)``).
        settings: see ``GradientSettings``.
        parametrisation: overrides the one that the settings describe.
        initial_parameters: start of the search, shape (parametrisation.size,); default is noise around zero action.
        on_iteration: called as ``on_iteration(state, row)`` after each iteration; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.
    """
    check_settings(settings)
    env = env.unwrapped
    shape = settle_parametrisation(env, settings, parametrisation)
    if state is None:
        state = _start(settings, shape, initial_parameters)
    else:
        check_size(state.parameters, shape)
    while may_go_on(settings, state, state.horizon):
        row = _iterate(env, settings, shape, state)
        if on_iteration is not None:
            on_iteration(state, row)
    if not state.best.parameters.size:  # the horizon never grew to the whole episode
        _evaluate_whole(env, settings, shape, state)
    return make_result("gradient", shape, state, state.initial_parameters)


def _start(settings: GradientSettings, shape: Parametrisation, given: np.ndarray | None) -> GradientState:
    start = start_parameters(settings, shape, np.random.default_rng(settings.seed), given)
    return GradientState(
        parameters=start,
        initial_parameters=start.copy(),
        first_moment=np.zeros(shape.size),
        second_moment=np.zeros(shape.size),
        horizon=min(settings.start_horizon or shape.horizon, shape.horizon),
    )


def _iterate(env: Any, settings: GradientSettings, shape: Parametrisation, state: GradientState) -> Row:
    """One forward and one reverse sweep, one update of the parameters."""
    began = time.perf_counter()
    horizon = state.horizon
    trial = rollout_and_gradient(
        env, shape, state.parameters, seed=settings.seed, horizon=horizon, discount=settings.discount
    )
    state.simulated_steps += trial.steps
    state.reverse_steps += trial.reverse_steps
    if horizon == shape.horizon:
        state.best.offer(trial.score, trial.value, state.parameters, by=settings.best_by)
    if trial.gradient is None:
        if trial.failure is not None and not state.anchor.size:
            raise trial.failure  # there is nothing to go back to
        norm, direction = np.nan, state.anchor_gradient
    else:
        direction = np.where(shape.touches(state.held), 0.0, trial.gradient)
        norm = float(np.linalg.norm(direction))
    if _is_taken_back(settings, state, trial, direction):
        _go_back(state)
        direction = state.anchor_gradient
    step_size = _step_size(settings, state.iteration) * state.step_factor
    _adam(settings, shape, state, direction, step_size)
    state.iteration += 1
    if state.horizon < shape.horizon and trial.gradient is not None:
        _grow_on_plateau(settings, shape, state, trial.value)
    state.seconds += time.perf_counter() - began
    row = make_row(
        state, horizon=horizon, value=trial.value, score=trial.score, gradient_norm=norm, step_size=step_size
    )
    state.history.append(row)
    return row


def _is_taken_back(settings: GradientSettings, state: GradientState, trial: Trial, direction: np.ndarray) -> bool:
    """Judge an iteration: note it as the best at this horizon, bear with it, or have the search go back."""
    if trial.gradient is not None and trial.objective >= state.anchor_value:
        if not state.anchor.size:
            state.start_value = trial.objective
        elif trial.objective > state.anchor_value:
            state.step_factor = min(1.0, RECOVERY * state.step_factor)
        state.anchor, state.anchor_gradient = state.parameters.copy(), direction.copy()
        state.anchor_value, state.setbacks = trial.objective, 0
        return False
    if not settings.patience:
        return trial.gradient is None
    state.setbacks += 1
    return trial.gradient is None or trial.objective < state.start_value or state.setbacks >= settings.patience


def _go_back(state: GradientState) -> None:
    """To the best parameters at this horizon, with a shorter step and empty moments."""
    state.parameters = state.anchor.copy()
    state.step_factor = max(SHORTEST, SHORTENING * state.step_factor)
    state.setbacks = 0
    _empty_moments(state)


def _empty_moments(state: GradientState) -> None:
    state.first_moment = np.zeros_like(state.parameters)
    state.second_moment = np.zeros_like(state.parameters)
    state.adam_steps = 0


def _adam(
    settings: GradientSettings, shape: Parametrisation, state: GradientState, direction: np.ndarray, step_size: float
) -> None:
    """Adam (Kingma & Ba 2015), uphill, with the parameters put back into their bounds."""
    norm = float(np.linalg.norm(direction))
    if settings.clip_norm and norm > settings.clip_norm:
        direction = direction * (settings.clip_norm / norm)
    state.adam_steps += 1
    state.first_moment = settings.beta1 * state.first_moment + (1 - settings.beta1) * direction
    state.second_moment = settings.beta2 * state.second_moment + (1 - settings.beta2) * direction**2
    mean = state.first_moment / (1 - settings.beta1**state.adam_steps)
    mean_square = state.second_moment / (1 - settings.beta2**state.adam_steps)
    # Relative to the largest entry: the scale of rewards differs between tasks by many orders of magnitude.
    floor = 1e-8 * np.sqrt(mean_square.max(initial=0.0)) + np.finfo(np.float64).tiny
    state.parameters = shape.project(state.parameters + step_size * mean / (np.sqrt(mean_square) + floor))


def _step_size(settings: GradientSettings, iteration: int) -> float:
    if settings.schedule == "cosine":
        progress = iteration / max(settings.iterations - 1, 1)
        return settings.learning_rate * half_cosine(progress)
    if settings.schedule == "step":
        return settings.learning_rate * settings.decay ** (iteration // settings.decay_every)
    return settings.learning_rate


def _grow_on_plateau(settings: GradientSettings, shape: Parametrisation, state: GradientState, value: float) -> None:
    """Lengthen the horizon when the return stops improving, and go on from the best at the old one.

    The moments are emptied and the best is forgotten, since the objective is another. Actions of the first
    ``hold_fraction`` of the old horizon are held from then on: the front moves forward.
    """
    gain = value - state.plateau_best
    if not np.isfinite(state.plateau_best) or gain > settings.plateau_tolerance * abs(state.plateau_best):
        state.plateau_best, state.plateau_count = value, 0
        return
    state.plateau_count += 1
    if state.plateau_count < settings.plateau_patience:
        return
    held = max(state.held, int(settings.hold_fraction * state.horizon))
    if held and shape.touches(held).all():
        raise ValueError(
            f"hold_fraction={settings.hold_fraction}: every parameter of the parametrisation "
            f"{settings.parametrisation!r} moves the first {held} actions; allowed: 0, or a parametrisation by steps"
        )
    state.held = held
    state.horizon = min(max(int(state.horizon * settings.horizon_growth), state.horizon + 1), shape.horizon)
    state.plateau_best, state.plateau_count = -np.inf, 0
    state.parameters = state.anchor
    state.anchor, state.anchor_gradient = empty_vector(), empty_vector()
    state.anchor_value, state.start_value, state.setbacks = -np.inf, -np.inf, 0
    _empty_moments(state)


def _evaluate_whole(env: Any, settings: GradientSettings, shape: Parametrisation, state: GradientState) -> None:
    began = time.perf_counter()
    parameters = state.anchor if state.anchor.size else state.parameters
    trial = rollout(env, shape.actions(parameters), seed=settings.seed)
    state.best.offer(trial.score, trial.value, parameters, by=settings.best_by)
    state.simulated_steps += trial.steps
    if trial.failure is not None:
        raise trial.failure
    state.seconds += time.perf_counter() - began
