"""Adam on the analytic gradient of an open-loop action sequence.

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
from pliant.policies.schedules import half_cosine
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
    return_and_gradient,
    rollout,
    settle_parametrisation,
    start_parameters,
)
from pliant.policies.trajectory.settings import GradientSettings, check_settings

__all__ = ["GradientSettings", "GradientState", "optimize"]


@dataclass
class GradientState(RunState):
    """Everything that the next iteration depends on; ``to_arrays`` and ``from_arrays`` carry it through a file.

    Attributes:
        parameters, first_moment, second_moment: parameter vector and Adam's moments, shape (P,).
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
    value, score, gradient = return_and_gradient(
        env, settings, shape, state, state.parameters, horizon=horizon, discount=settings.discount
    )
    direction = np.where(shape.touches(state.held), 0.0, gradient)
    norm = float(np.linalg.norm(direction))
    if horizon == shape.horizon:
        state.best.offer(score, value, state.parameters, by=settings.best_by)
    step_size = _step_size(settings, state.iteration)
    if settings.clip_norm and norm > settings.clip_norm:
        direction *= settings.clip_norm / norm
    _adam(settings, shape, state, direction, step_size)
    state.iteration += 1
    if state.horizon < shape.horizon:
        _grow_on_plateau(settings, shape, state, value)
    state.seconds += time.perf_counter() - began
    row = make_row(state, horizon=horizon, value=value, score=score, gradient_norm=norm, step_size=step_size)
    state.history.append(row)
    return row


def _adam(
    settings: GradientSettings, shape: Parametrisation, state: GradientState, direction: np.ndarray, step_size: float
) -> None:
    """Adam (Kingma & Ba 2015), uphill, with the parameters put back into their bounds."""
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
    """Lengthen the horizon when the return stops improving; the moments are emptied, since the objective is another.

    Actions of the first ``hold_fraction`` of the old horizon are held from then on: the front moves forward.
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
    state.plateau_best, state.plateau_count, state.adam_steps = -np.inf, 0, 0
    state.first_moment = np.zeros(shape.size)
    state.second_moment = np.zeros(shape.size)


def _evaluate_whole(env: Any, settings: GradientSettings, shape: Parametrisation, state: GradientState) -> None:
    began = time.perf_counter()
    rewards, score = rollout(env, shape.actions(state.parameters), seed=settings.seed)
    state.best.offer(score, float(rewards.sum()), state.parameters, by=settings.best_by)
    state.simulated_steps += len(rewards)
    state.seconds += time.perf_counter() - began
