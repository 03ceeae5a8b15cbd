"""Measures the gradients of one task, in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np

DIVERGED, OVERFLOWS, FINITE = "the simulation diverges", "the gradient overflows", "finite"


def probe(env_id: str, *, steps: int, directions: int, repeats: int, longest: int, seed: int) -> dict[str, Any]:
    """What `pliant bench gradients` says of a task.

    Args:
        env_id: of the environment.
        steps: over which gradients are compared with central differences, at most an episode.
        directions: random ones for each quantity.
        repeats: timed episodes.
        longest: episodes in length up to which the gradient is followed.
        seed: of episodes, actions and directions.
    """
    import gymnasium

    import pliant.envs  # noqa: F401  registers the ids
    from pliant.policies.gradcheck import check_gradients

    episode = _horizon(env_id)
    costs = _costs(env_id, repeats, seed)
    rows = check_gradients(env_id, steps=min(steps, episode), directions=directions, seed=seed)
    reach = _reach(env_id, episode, longest, seed)
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    return {
        "environment": env_id,
        "episode": episode,
        "steps": min(steps, episode),
        "directions": directions,
        "quantities": [
            {name: getattr(row, name) for name in ("quantity", "entries", "error", "cosine", "analytic", "numeric")}
            for row in rows
        ],
        **costs,
        "horizons": reach,
    }


def _horizon(env_id: str) -> int:
    from pliant.scripts.environments import make

    env = make(env_id)
    try:
        return int(env.horizon)
    finally:
        env.close()


def _actions(env: Any, steps: int, seed: int) -> np.ndarray:
    """Small random actions that change slowly, so that episodes stay where tasks are played; (T, A)."""
    random = np.random.default_rng(seed)
    noise = random.normal(0.0, 0.1, (steps + 4, env.action_space.shape[0]))
    return sum(noise[k : k + steps] for k in range(5)) / 5  # type: ignore[return-value]


def _costs(env_id: str, repeats: int, seed: int) -> dict[str, Any]:
    """Seconds of an episode forward, and with its gradient, and the peaks of memory of both [bytes]."""
    from pliant.scripts.environments import make

    costs: dict[str, Any] = {}
    plays: dict[str, Any] = {}
    envs = []
    try:
        for name, differentiable in (("forward", False), ("gradient", True)):
            env = make(env_id, differentiable=differentiable)
            envs.append(env)
            actions = _actions(env, env.horizon, seed)
            plays[name] = env.value_and_grad if differentiable else env.evaluate
            plays[name](actions, seed=seed)  # compiles
            costs[f"{name}_peak_bytes"] = _peak_bytes()
        times: dict[str, list[float]] = {name: [] for name in plays}
        for _ in range(repeats):  # in turns: the speed of a machine changes
            for name, play in plays.items():
                began = time.perf_counter()
                play(actions, seed=seed)
                times[name].append(time.perf_counter() - began)
    finally:
        for env in envs:
            env.close()
    for name, seconds in times.items():
        costs |= {f"{name}_seconds": statistics.median(seconds), f"{name}_seconds_range": [min(seconds), max(seconds)]}
    return costs


def _peak_bytes() -> int | None:
    """The most memory that this process has had; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _reach(env_id: str, episode: int, longest: int, seed: int) -> list[dict[str, Any]]:
    """Norms of the gradient of the return with respect to the first action, by the number of steps."""
    from pliant.scripts.environments import make
    from pliant.sims.failures import SimulationDiverged

    lengths = sorted({max(1, episode // 4), max(1, episode // 2), *(episode * k for k in range(1, longest + 1))})
    env = make(env_id, differentiable=True, max_episode_steps=lengths[-1])
    rows: list[dict[str, Any]] = []
    try:
        actions = _actions(env, lengths[-1], seed)
        for length in lengths:
            row: dict[str, Any] = {"steps": length, "first_action_norm": None, "norm": None, "outcome": FINITE}
            try:
                env.evaluate(actions[:length], seed=seed)
            except SimulationDiverged:
                rows.append(row | {"outcome": DIVERGED})
                break
            try:
                gradient = env.backward().actions
            except SimulationDiverged:
                rows.append(row | {"outcome": OVERFLOWS})
                break
            norms = np.linalg.norm(gradient[0]), np.linalg.norm(gradient)
            rows.append(row | {"first_action_norm": float(norms[0]), "norm": float(norms[1])})
    finally:
        env.close()
    return rows


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], **json.loads(sys.argv[2]))))
