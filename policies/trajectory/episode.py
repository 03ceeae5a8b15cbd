"""What the optimisers share: an episode, the record of a run, and the best-so-far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pliant.policies.parametrisation import Parametrisation, make_parametrisation
from pliant.policies.trajectory.settings import TrajectorySettings

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


@dataclass
class Best:
    """The best whole episode so far."""

    score: float = -np.inf
    value: float = -np.inf
    parameters: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def offer(self, score: float, value: float, parameters: np.ndarray, *, by: str) -> None:
        """Take the candidate if it is better ``by`` "score" (ties: by return) or by "return"."""
        if np.isnan(score):  # an environment without a score is ranked by return alone
            score = 0.0
        rank, record = ((score, value), (self.score, self.value)) if by == "score" else (value, self.value)
        if rank > record:  # type: ignore[operator]
            self.score, self.value, self.parameters = score, value, np.array(parameters)


@dataclass
class Result:
    """What an optimiser found.

    Attributes:
        method: "gradient" or "cmaes".
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


def history_array(history: list[Row]) -> np.ndarray:
    """The history as an array, shape (rows, columns), in the order of ``HISTORY_COLUMNS``."""
    return np.array([[row[name] for name in HISTORY_COLUMNS] for row in history]).reshape(-1, len(HISTORY_COLUMNS))


def history_rows(table: np.ndarray) -> list[Row]:
    """Inverse of ``history_array``."""
    return [dict(zip(HISTORY_COLUMNS, map(float, row), strict=True)) for row in table]


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


def rollout(env: Any, actions: np.ndarray, *, seed: int) -> tuple[np.ndarray, float]:
    """Reset with ``seed`` and apply ``actions``, shape (T, A), until they or the episode end.

    Returns:
        Rewards, shape (steps,), and the score after the last step (nan where the environment reports none).
    """
    env.reset(seed=seed)
    rewards = []
    score = np.nan
    for action in actions:
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(float(reward))
        score = float(info.get("score", np.nan))
        if terminated or truncated:
            break
    return np.array(rewards), score


def rollout_batch(envs: Any, actions: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Apply B action sequences, shape (B, T, A), to the B worlds of a vector environment, all reset with one seed.

    Returns:
        Returns, shape (B,), scores, shape (B,), and the environment steps that were simulated over all worlds.
    """
    batch, horizon = actions.shape[:2]
    envs.reset(seed=[seed] * batch)
    returns, scores = np.zeros(batch), np.full(batch, np.nan)
    running = np.ones(batch, bool)
    for step in range(horizon):
        _, reward, terminated, truncated, info = envs.step(actions[:, step])
        returns[running] += np.asarray(reward, np.float64)[running]
        done = np.asarray(terminated) | np.asarray(truncated)
        scores[running] = _last_scores(info, done)[running]
        running &= ~done
        if not running.any():
            return returns, scores, batch * (step + 1)
    return returns, scores, batch * horizon


def _last_scores(info: dict[str, Any], done: np.ndarray) -> np.ndarray:
    """Scores per world; with same-step autoreset, that of an ended episode stands in ``final_info``."""
    scores = np.array(info.get("score", np.full(len(done), np.nan)), np.float64)
    final = info.get("final_info")
    if isinstance(final, dict) and "score" in final:
        scores[done] = np.asarray(final["score"], np.float64)[done]
    return scores
