"""Adam on the analytic gradient of an open-loop action sequence.

Each iteration simulates the episode once forward and once in reverse. ``simulated_steps`` counts forward environment
steps only, the same count as that of a black-box optimiser; ``reverse_steps`` counts the steps swept in reverse, each
of which costs some two to three forward steps (recomputation from checkpoints included). Whoever compares at equal
*work* weighs the two; ``seconds`` is the wall time of both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from pliant.policies.parametrisation import Parametrisation
from pliant.policies.trajectory.episode import (
    Best,
    OnIteration,
    Result,
    Row,
    history_array,
    history_rows,
    rollout,
    settle_parametrisation,
)
from pliant.policies.trajectory.settings import GradientSettings, check_settings

__all__ = ["GradientSettings", "GradientState", "optimize"]


@dataclass
class GradientState:
    """Everything that the next iteration depends on; ``to_arrays`` and ``from_arrays`` carry it through a file.

    Attributes:
        parameters, first_moment, second_moment: parameter vector and Adam's moments, shape (P,).
        initial_parameters: where the search started, shape (P,).
        iteration: iterations done.
        adam_steps: updates since the moments were last emptied.
        horizon: environment steps that are optimised at present.
        plateau_best, plateau_count: best return at this horizon, and iterations since it improved.
    """

    parameters: np.ndarray
    initial_parameters: np.ndarray
    first_moment: np.ndarray
    second_moment: np.ndarray
    horizon: int
    iteration: int = 0
    adam_steps: int = 0
    plateau_best: float = -np.inf
    plateau_count: int = 0
    simulated_steps: int = 0
    reverse_steps: int = 0
    seconds: float = 0.0
    best: Best = field(default_factory=Best)
    history: list[Row] = field(default_factory=list)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named plain arrays, for an .npz file."""
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.name not in ("best", "history")}
        arrays |= {f"best_{name}": np.asarray(value) for name, value in vars(self.best).items()}
        return arrays | {"history": history_array(self.history)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> GradientState:
        """Inverse of ``to_arrays``."""
        best = Best(float(arrays["best_score"]), float(arrays["best_value"]), arrays["best_parameters"])
        values: dict[str, Any] = {
            f.name: arrays[f.name] if arrays[f.name].ndim else arrays[f.name].item()
            for f in fields(cls)
            if f.name not in ("best", "history")
        }
        return cls(**values, best=best, history=history_rows(arrays["history"]))


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
    elif state.parameters.shape != (shape.size,):
        raise ValueError(f"state has {state.parameters.size} parameters; this run has {shape.size}")
    while state.iteration < settings.iterations:
        limit = settings.max_simulated_steps
        if limit and state.simulated_steps + state.horizon > limit:
            break
        row = _iterate(env, settings, shape, state)
        if on_iteration is not None:
            on_iteration(state, row)
        if settings.target_score and state.best.score >= settings.target_score:
            break
    if not state.best.parameters.size:  # the horizon never grew to the whole episode
        _evaluate_whole(env, settings, shape, state)
    return Result(
        method="gradient",
        actions=shape.actions(state.best.parameters),
        score=state.best.score,
        value=state.best.value,
        initial_actions=shape.actions(state.initial_parameters),
        parametrisation=shape,
        history=state.history,
        simulated_steps=state.simulated_steps,
        reverse_steps=state.reverse_steps,
        seconds=state.seconds,
        state=state,
    )


def _start(settings: GradientSettings, shape: Parametrisation, given: np.ndarray | None) -> GradientState:
    if given is None:
        given = shape.initial(np.random.default_rng(settings.seed), settings.initial_noise)
    elif given.shape != (shape.size,) or not np.isfinite(given).all():
        raise ValueError(f"initial_parameters has shape {given.shape}; it must be finite, of shape ({shape.size},)")
    start = shape.project(np.array(given, np.float64))
    horizon = min(settings.start_horizon or shape.horizon, shape.horizon)
    return GradientState(start, start.copy(), np.zeros(shape.size), np.zeros(shape.size), horizon)


def _iterate(env: Any, settings: GradientSettings, shape: Parametrisation, state: GradientState) -> Row:
    """One forward and one reverse sweep, one update of the parameters."""
    began = time.perf_counter()
    actions = shape.actions(state.parameters)
    rewards, score = rollout(env, actions[: state.horizon], seed=settings.seed)
    steps = len(rewards)
    gradient = env.backward(reward_weights=settings.discount ** np.arange(steps))
    action_cotangent = np.zeros_like(actions)
    action_cotangent[:steps] = gradient.actions
    direction = shape.adjoint(state.parameters, action_cotangent)
    norm = float(np.linalg.norm(direction))
    value = float(rewards.sum())
    if state.horizon == shape.horizon:
        state.best.offer(score, value, state.parameters, by=settings.best_by)
    state.simulated_steps += steps
    state.reverse_steps += steps
    horizon = state.horizon
    step_size = _step_size(settings, state.iteration)
    if settings.clip_norm and norm > settings.clip_norm:
        direction *= settings.clip_norm / norm
    _adam(settings, shape, state, direction, step_size)
    state.iteration += 1
    if state.horizon < shape.horizon:
        _grow_on_plateau(settings, shape, state, value)
    state.seconds += time.perf_counter() - began
    row = {
        "iteration": float(state.iteration),
        "simulated_steps": float(state.simulated_steps),
        "reverse_steps": float(state.reverse_steps),
        "seconds": state.seconds,
        "horizon": float(horizon),
        "return": value,
        "score": score,
        "best_return": state.best.value,
        "best_score": state.best.score,
        "gradient_norm": norm,
        "step_size": step_size,
    }
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
        return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + float(np.cos(np.pi * progress))))
    if settings.schedule == "step":
        return settings.learning_rate * settings.decay ** (iteration // settings.decay_every)
    return settings.learning_rate


def _grow_on_plateau(settings: GradientSettings, shape: Parametrisation, state: GradientState, value: float) -> None:
    """Lengthen the horizon when the return stops improving; the moments are emptied, since the objective is another."""
    gain = value - state.plateau_best
    if not np.isfinite(state.plateau_best) or gain > settings.plateau_tolerance * abs(state.plateau_best):
        state.plateau_best, state.plateau_count = value, 0
        return
    state.plateau_count += 1
    if state.plateau_count < settings.plateau_patience:
        return
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
