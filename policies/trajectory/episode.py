"""What the optimisers share: the shape of an episode, the record of a run, and the best so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from pliant.policies.files.checkpoints import history_array, history_rows
from pliant.policies.parametrisation import Parametrisation, make_parametrisation
from pliant.policies.trajectory.settings import SamplingSettings, TrajectorySettings
from pliant.policies.trajectory.trials import AllDivergedError, evaluator

HISTORY_COLUMNS = (
    "iteration",
    "simulated_steps",
    "reverse_steps",
    "seconds",
    "horizon",
    "return",
    "score",
    "best_return",
    "best_score",
    "gradient_norm",
    "step_size",
)

Row = dict[str, float]
OnIteration = Callable[[Any, Row], None]


def empty_vector() -> np.ndarray:
    """What an array of shape (n,) in a state is before a run sets it."""
    return np.zeros(0)


def empty_matrix() -> np.ndarray:
    """The same of shape (n, m)."""
    return np.zeros((0, 0))


@dataclass
class Best:
    """The best whole episode so far; the one that a run reports, saves and replays.

    Attributes:
        score, value: its score and its return.
        parameters: its parameters, shape (P,); empty before the first.
    """

    score: float = -np.inf
    value: float = -np.inf
    parameters: np.ndarray = field(default_factory=empty_vector)

    def offer(self, score: float, value: float, parameters: np.ndarray, *, by: str) -> None:
        """Take the candidate if it is better ``by`` "score" or "return" (ties: by the other); nan never is."""
        if np.isnan(value):
            return
        if np.isnan(score):  # an environment without a score is ranked by return alone
            score = 0.0
        pairs = ((score, value), (self.score, self.value))
        rank, record = pairs if by == "score" else (pair[::-1] for pair in pairs)
        if rank > record:
            self.score, self.value, self.parameters = score, value, np.array(parameters)


@dataclass
class RunState:
    """What every run counts and keeps; the state of a method adds what its next iteration depends on.

    All other fields are numbers or arrays, so that a state is carried through an .npz file without pickle.

    Attributes:
        simulated_steps, reverse_steps, seconds, history: see ``Result``.
        best: the best whole episode so far.
    """

    simulated_steps: int = 0
    reverse_steps: int = 0
    seconds: float = 0.0
    best: Best = field(default_factory=Best)
    history: list[Row] = field(default_factory=list)

    def copy(self: State) -> State:
        """The state as it is now; iterations to come replace its arrays and do not write into them."""
        return replace(self, best=replace(self.best), history=list(self.history))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named plain arrays, for an .npz file."""
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.name not in ("best", "history")}
        arrays |= {f"best_{name}": np.asarray(value) for name, value in vars(self.best).items()}
        return arrays | {"history": history_array(self.history, HISTORY_COLUMNS)}

    @classmethod
    def from_arrays(cls: type[State], arrays: dict[str, np.ndarray]) -> State:
        """Inverse of ``to_arrays``."""
        best = Best(float(arrays["best_score"]), float(arrays["best_value"]), arrays["best_parameters"])
        values: dict[str, Any] = {
            f.name: arrays[f.name] if arrays[f.name].ndim else arrays[f.name].item()
            for f in fields(cls)
            if f.name not in ("best", "history")
        }
        return cls(**values, best=best, history=history_rows(arrays["history"], HISTORY_COLUMNS))


State = TypeVar("State", bound=RunState)


@dataclass
class Result:
    """What an optimiser found.

    Attributes:
        method: the name of the module.
        actions: best actions, shape (T, A), normalised.
        score: score of the best actions at the end of the episode, in [0, 1].
        value: their return, the plain sum of rewards.
        initial_actions: the actions that the search started from, shape (T, A).
        parametrisation: maps ``best.parameters`` to ``actions``.
        history: one row per iteration with the keys ``HISTORY_COLUMNS``.
        simulated_steps: forward environment steps, recomputation in the reverse sweep not counted.
        reverse_steps: environment steps that were swept backward.
        seconds: wall time spent in the optimiser.
        state: what a later call needs to go on from here.
    """

    method: str
    actions: np.ndarray
    score: float
    value: float
    initial_actions: np.ndarray
    parametrisation: Parametrisation
    history: list[Row]
    simulated_steps: int
    reverse_steps: int
    seconds: float
    state: Any


def episode_shape(env: Any, settings: TrajectorySettings) -> tuple[int, int]:
    """Environment steps T and actions A that ``settings`` ask for on ``env`` (single or vector).

    Raises:
        ValueError: ``settings.horizon`` exceeds the episode, or the action space is not a box over [-1, 1].
    """
    space = getattr(env, "single_action_space", None) or env.action_space
    if space.shape is None or len(space.shape) != 1 or not (np.all(space.low == -1) and np.all(space.high == 1)):
        raise ValueError(f"action space {space} is not supported; it must be a flat Box over [-1, 1]")
    if settings.horizon > env.horizon:
        raise ValueError(f"horizon={settings.horizon} exceeds the episode; allowed: up to {env.horizon} steps")
    return settings.horizon or int(env.horizon), int(space.shape[0])


def start_parameters(
    settings: TrajectorySettings, shape: Parametrisation, random: np.random.Generator, given: np.ndarray | None
) -> np.ndarray:
    """Where a search starts: the ``given`` parameters after a check, or noise around zero action; shape (P,)."""
    if given is None:
        return shape.initial(random, settings.initial_noise)
    if given.shape != (shape.size,) or not np.isfinite(given).all():
        raise ValueError(f"initial_parameters has shape {given.shape}; it must be finite, of shape ({shape.size},)")
    return shape.project(np.array(given, np.float64))


def check_size(stored: np.ndarray, shape: Parametrisation) -> None:
    """Raise ``ValueError`` unless the parameters in a stored state are those of this run's parametrisation."""
    if stored.shape != (shape.size,):
        raise ValueError(f"state has {stored.size} parameters; this run has {shape.size}")


def time_step(env: Any) -> float:
    """Duration of an environment step [s]."""
    task = getattr(env, "task", None)
    return 1.0 / env.metadata["render_fps"] if task is None else float(task.step_time)


def settle_parametrisation(env: Any, settings: TrajectorySettings, given: Parametrisation | None) -> Parametrisation:
    """The ``given`` parametrisation after a check of its shape, or the one that ``settings`` describe."""
    horizon, action_size = episode_shape(env, settings)
    if given is None:
        return make_parametrisation(settings, horizon=horizon, action_size=action_size, time_step=time_step(env))
    if (given.horizon, given.action_size) != (horizon, action_size):
        raise ValueError(
            f"parametrisation is for {given.horizon} steps of {given.action_size} actions; "
            f"this run has {horizon} steps of {action_size}"
        )
    return given


def simulated_steps(env: Any, candidates: int, horizon: int) -> int:
    """Environment steps that the evaluation of so many candidates takes, the copies that fill a batch included."""
    worlds = getattr(env, "num_envs", 1)
    return -(-candidates // worlds) * worlds * horizon


def evaluate_population(
    env: Any, settings: SamplingSettings, shape: Parametrisation, state: RunState, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns and scores, shape (n,), of parameter vectors (n, P); counts the steps and offers the best.

    Both are nan where a candidate diverged, see `rankable`.

    Raises:
        AllDivergedError: no candidate so far gave a return.
    """
    actions = np.stack([shape.actions(candidate) for candidate in candidates])
    returns, scores, steps = evaluator(env, settings.seed)(actions)
    for candidate, value, score in zip(candidates, returns, scores, strict=True):
        state.best.offer(float(score), float(value), candidate, by=settings.best_by)
    state.simulated_steps += steps
    if not state.best.parameters.size:
        raise AllDivergedError(
            f"all {len(candidates)} candidates of the first population diverged; try smaller actions"
        )
    return returns, scores


def rankable(returns: np.ndarray) -> np.ndarray:
    """Returns, shape (n,), in which a candidate that diverged (nan) stands as far below the worst as the best above."""
    failed = np.isnan(returns)
    if failed.all():
        return np.zeros(len(returns))
    low, high = np.nanmin(returns), np.nanmax(returns)
    return np.where(failed, low - max(high - low, abs(low), 1e-12), returns)


def make_row(
    state: RunState,
    *,
    horizon: int,
    value: float,
    score: float,
    gradient_norm: float = np.nan,
    step_size: float = np.nan,
) -> Row:
    """The next row of the history: what an iteration gave (``value`` is its return), the counts and the best so far."""
    return {
        "iteration": len(state.history) + 1.0,
        "simulated_steps": float(state.simulated_steps),
        "reverse_steps": float(state.reverse_steps),
        "seconds": state.seconds,
        "horizon": float(horizon),
        "return": float(value),
        "score": float(score),
        "best_return": state.best.value,
        "best_score": state.best.score,
        "gradient_norm": gradient_norm,
        "step_size": step_size,
    }


def population_row(
    state: RunState, shape: Parametrisation, returns: np.ndarray, scores: np.ndarray, step_size: float
) -> Row:
    """The row of the history after a population: its best candidate."""
    leader = int(np.argmax(rankable(returns)))
    return make_row(state, horizon=shape.horizon, value=returns[leader], score=scores[leader], step_size=step_size)


def may_go_on(settings: TrajectorySettings, state: RunState, next_steps: int) -> bool:
    """Whether another iteration, of ``next_steps`` forward steps, is within the iterations, the budgets and the goal.

    Raises:
        ValueError: the budget does not allow the first iteration.
    """
    budget = settings.max_simulated_steps
    if budget and not state.simulated_steps and next_steps > budget:
        raise ValueError(
            f"max_simulated_steps={budget} allows no iteration, which takes {next_steps} steps here; allowed: 0 (no "
            f"limit) or from {next_steps}"
        )
    if len(state.history) >= settings.iterations:
        return False
    if settings.max_seconds and state.history and state.seconds >= settings.max_seconds:
        return False
    if budget and state.simulated_steps + next_steps > budget:
        return False
    return not (settings.target_score and state.best.score >= settings.target_score)


def interim_result(method: str, env: Any, settings: TrajectorySettings, state: RunState) -> Result:
    """What a run that is not over has found so far; it started where its seed says."""
    shape = settle_parametrisation(env.unwrapped, settings, None)
    start = start_parameters(settings, shape, np.random.default_rng(settings.seed), None)
    return make_result(method, shape, state, start)


def make_result(method: str, shape: Parametrisation, state: RunState, start: np.ndarray) -> Result:
    """The outcome of a run that started from the parameters ``start``, which stand in where nothing was simulated."""
    best = state.best.parameters if state.best.parameters.size else start
    return Result(
        method=method,
        actions=shape.actions(best),
        score=state.best.score,
        value=state.best.value,
        initial_actions=shape.actions(start),
        parametrisation=shape,
        history=state.history,
        simulated_steps=state.simulated_steps,
        reverse_steps=state.reverse_steps,
        seconds=state.seconds,
        state=state,
    )
