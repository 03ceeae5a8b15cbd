"""Episodes that the optimisers try: one forward, one with its gradient, a population of them.

An episode that diverges is a trial that failed, not the end of a run: its return is nan, and what searches goes on from
what it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.policies.parametrisation import Parametrisation
from pliant.sims.failures import SimulationDiverged


class AllDivergedError(RuntimeError):
    """No candidate gave a return: there is nothing that a search could go on from."""


@dataclass(frozen=True)
class Trial:
    """What an episode gave.

    Attributes:
        value: the return, the plain sum of rewards; nan where the episode diverged.
        score: after the last step; nan where the episode diverged or the environment reports none.
        steps: environment steps that were simulated forward, the one that diverged included.
        reverse_steps: those that were swept in reverse.
        objective: the discounted return, which the gradient is of.
        gradient: with respect to the parameters, shape (P,); None where none was asked for or a sweep diverged.
        failure: of the forward or the reverse sweep.
    """

    value: float
    score: float
    steps: int
    reverse_steps: int = 0
    objective: float = np.nan
    gradient: np.ndarray | None = None
    failure: SimulationDiverged | None = None


def rollout(env: Any, actions: np.ndarray, *, seed: int) -> Trial:
    """Reset with ``seed`` and apply ``actions``, shape (T, A), until they or the episode end."""
    return _forward(env, actions, seed)[0]


def _forward(env: Any, actions: np.ndarray, seed: int) -> tuple[Trial, np.ndarray]:
    """The trial of a rollout and its rewards, shape (steps,)."""
    env.reset(seed=seed)
    rewards: list[float] = []
    score = np.nan
    for action in actions:
        try:
            _, reward, terminated, truncated, info = env.step(action)
        except SimulationDiverged as failure:
            return Trial(np.nan, np.nan, len(rewards) + 1, failure=failure), np.array(rewards)
        rewards.append(float(reward))
        score = float(info.get("score", np.nan))
        if terminated or truncated:
            break
    return Trial(float(np.sum(rewards)), score, len(rewards)), np.array(rewards)


def rollout_and_gradient(
    env: Any, shape: Parametrisation, parameters: np.ndarray, *, seed: int, horizon: int, discount: float = 1.0
) -> Trial:
    """One forward and one reverse sweep over the first ``horizon`` steps of an episode."""
    actions = shape.actions(parameters)
    trial, rewards = _forward(env, actions[:horizon], seed)
    if trial.failure is not None:
        return trial
    steps = trial.steps
    weights = discount ** np.arange(steps)
    try:
        swept = env.backward(reward_weights=weights).actions
    except SimulationDiverged as failure:
        return Trial(trial.value, trial.score, steps, steps, failure=failure)
    action_cotangent = np.zeros_like(actions)
    action_cotangent[:steps] = swept
    gradient = shape.adjoint(parameters, action_cotangent)
    return Trial(trial.value, trial.score, steps, steps, float(weights @ rewards), gradient)


Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, int]]


def evaluator(env: Any, seed: int) -> Evaluate:
    """The function from action sequences (n, T, A) to returns (n,), scores (n,) and environment steps simulated.

    A vector environment simulates ``num_envs`` candidates at a time. Candidates that diverge have the return nan.
    """
    return _batched(env, seed) if hasattr(env, "num_envs") else _one_by_one(env, seed)


def _one_by_one(env: Any, seed: int) -> Evaluate:
    def evaluate(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        trials = [rollout(env, candidate, seed=seed) for candidate in actions]
        returns, scores = np.array([trial.value for trial in trials]), np.array([trial.score for trial in trials])
        return returns, scores, sum(trial.steps for trial in trials)

    return evaluate


def _batched(envs: Any, seed: int) -> Evaluate:
    """Candidates in groups of ``num_envs``; the last group is filled up with copies, which count as simulated."""

    def evaluate(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        worlds, count = envs.num_envs, len(actions)
        index = np.resize(np.arange(count), -(-count // worlds) * worlds)
        groups = [rollout_batch(envs, actions[group], seed=seed) for group in index.reshape(-1, worlds)]
        returns = np.concatenate([group[0] for group in groups])[:count]
        scores = np.concatenate([group[1] for group in groups])[:count]
        return returns, scores, sum(group[2] for group in groups)

    return evaluate


def rollout_batch(envs: Any, actions: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Apply B action sequences, shape (B, T, A), to the B worlds of a vector environment, all reset with one seed.

    A world that diverges ends the whole batch, so the others are played anew, with copies of one of them in its place.

    Returns:
        Returns, shape (B,), scores, shape (B,), both nan where a world diverged, and the environment steps that were
        simulated over all worlds.
    """
    batch = len(actions)
    healthy, simulated = np.ones(batch, bool), 0
    while healthy.any():
        played = np.where(healthy, np.arange(batch), np.flatnonzero(healthy)[0])
        returns, scores, steps, diverged = _play_batch(envs, actions[played], seed)
        simulated += steps
        if not diverged:
            return np.where(healthy, returns, np.nan), np.where(healthy, scores, np.nan), simulated
        healthy &= ~np.isin(played, played[diverged])
    return np.full(batch, np.nan), np.full(batch, np.nan), simulated


def _play_batch(envs: Any, actions: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int, list[int]]:
    """One episode in each world: returns, scores, steps simulated over all worlds, and the worlds that diverged."""
    batch, horizon = actions.shape[:2]
    envs.reset(seed=[seed] * batch)
    returns, scores = np.zeros(batch), np.full(batch, np.nan)
    running = np.ones(batch, bool)
    for step in range(horizon):
        try:
            _, reward, terminated, truncated, info = envs.step(actions[:, step])
        except SimulationDiverged as failure:
            return returns, scores, batch * (step + 1), [failure.world]
        returns[running] += np.asarray(reward, np.float64)[running]
        done = np.asarray(terminated) | np.asarray(truncated)
        scores[running] = _last_scores(info, done)[running]
        running &= ~done
        if not running.any():
            return returns, scores, batch * (step + 1), []
    return returns, scores, batch * horizon, []


def _last_scores(info: dict[str, Any], done: np.ndarray) -> np.ndarray:
    """Scores per world; with same-step autoreset, that of an ended episode stands in ``final_info``."""
    scores = np.array(info.get("score", np.full(len(done), np.nan)), np.float64)
    final = info.get("final_info")
    if isinstance(final, dict) and "score" in final:
        scores[done] = np.asarray(final["score"], np.float64)[done]
    return scores
