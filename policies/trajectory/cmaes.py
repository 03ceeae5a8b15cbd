"""CMA-ES (library ``cma``) on an open-loop action sequence: the black-box rival of the gradient.

The same parametrisations, the same environment and reward, the same count of simulated steps. A generation evaluates
``population`` episodes, in parallel where a vector environment is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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
    rollout_batch,
    settle_parametrisation,
)
from pliant.policies.trajectory.settings import CmaesSettings, check_settings

__all__ = ["CmaesSettings", "CmaesState", "optimize"]

DIAGONAL_FROM = 200  # parameters beyond which a full covariance costs more than it learns in a run of this kind


@dataclass
class CmaesState:
    """The returns of all candidates so far.

    They determine the search: the candidates follow from the seed, so a resumed run asks for them again and tells the
    recorded returns without simulating. Nothing needs to be pickled.

    Attributes:
        returns: returns per generation, shape (generations, population).
    """

    returns: np.ndarray
    simulated_steps: int = 0
    seconds: float = 0.0
    best: Best = field(default_factory=Best)
    history: list[Row] = field(default_factory=list)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named plain arrays, for an .npz file."""
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.name not in ("best", "history")}
        arrays |= {f"best_{name}": np.asarray(value) for name, value in vars(self.best).items()}
        return arrays | {"history": history_array(self.history)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> CmaesState:
        """Inverse of ``to_arrays``."""
        best = Best(float(arrays["best_score"]), float(arrays["best_value"]), arrays["best_parameters"])
        steps, seconds = int(arrays["simulated_steps"]), float(arrays["seconds"])
        return cls(arrays["returns"], steps, seconds, best, history_rows(arrays["history"]))


def optimize(
    env: Any,
    settings: CmaesSettings,
    *,
    parametrisation: Parametrisation | None = None,
    initial_parameters: np.ndarray | None = None,
    on_iteration: OnIteration | None = None,
    state: CmaesState | None = None,
) -> Result:
    """Maximise the return of one episode by CMA-ES on its actions.

    Args:
        env: a Pliant environment, or a vector of them (then ``num_envs`` candidates are simulated at a time).
        settings: see ``CmaesSettings``; a generation that would exceed ``max_simulated_steps`` is not begun.
        parametrisation: overrides the one that the settings describe.
        initial_parameters: mean of the first generation, shape (parametrisation.size,); default is zero action.
        on_iteration: called as ``on_iteration(state, row)`` after each generation; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.
    """
    check_settings(settings)
    env = env.unwrapped
    shape = settle_parametrisation(env, settings, parametrisation)
    random = np.random.default_rng(settings.seed)
    start = shape.initial(random, settings.initial_noise)
    if initial_parameters is not None:
        if initial_parameters.shape != start.shape or not np.isfinite(initial_parameters).all():
            raise ValueError(f"initial_parameters must be finite, of shape {start.shape}")
        start = shape.project(np.array(initial_parameters, np.float64))
    search = _new_search(settings, shape, start, random)
    if state is None:
        state = CmaesState(np.zeros((0, search.popsize)))
    elif state.returns.shape[1] != search.popsize:
        raise ValueError(f"state has a population of {state.returns.shape[1]}; this run has {search.popsize}")
    for returns in state.returns:
        search.tell(search.ask(), list(-returns))
    evaluate = _batched(env, settings.seed) if hasattr(env, "num_envs") else _one_by_one(env, settings.seed)
    worlds = getattr(env, "num_envs", 1)
    steps_per_generation = -(-search.popsize // worlds) * worlds * shape.horizon
    while len(state.returns) < settings.iterations:
        limit = settings.max_simulated_steps
        if limit and state.simulated_steps + steps_per_generation > limit:
            break
        row = _generation(search, evaluate, shape, state, settings.best_by)
        if on_iteration is not None:
            on_iteration(state, row)
        if settings.target_score and state.best.score >= settings.target_score:
            break
    best = state.best.parameters if state.best.parameters.size else start
    return Result(
        method="cmaes",
        actions=shape.actions(best),
        score=state.best.score,
        value=state.best.value,
        initial_actions=shape.actions(start),
        parametrisation=shape,
        history=state.history,
        simulated_steps=state.simulated_steps,
        reverse_steps=0,
        seconds=state.seconds,
        state=state,
    )


Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, int]]


def population_size(settings: CmaesSettings, shape: Parametrisation) -> int:
    """Candidates per generation."""
    if settings.population and settings.population < 3:
        raise ValueError(f"population={settings.population} is too small; it must be 0 (automatic) or at least 3")
    return settings.population or 4 + int(3 * np.log(shape.size))


def _new_search(settings: CmaesSettings, shape: Parametrisation, start: np.ndarray, random: np.random.Generator) -> Any:
    import cma

    diagonal = settings.diagonal == "on" or (settings.diagonal == "auto" and shape.size > DIAGONAL_FROM)
    options: dict[str, Any] = {
        "seed": np.nan,  # leaves NumPy's global generator alone; randn below is the only source of chance
        "randn": lambda *size: random.standard_normal(size),
        "verbose": -9,
        "CMA_diagonal": diagonal,
        "popsize": population_size(settings, shape),
    }
    if shape.bounded:
        options["bounds"] = [-1.0, 1.0]
    return cma.CMAEvolutionStrategy(start, settings.sigma, options)


def _generation(search: Any, evaluate: Evaluate, shape: Parametrisation, state: CmaesState, best_by: str) -> Row:
    began = time.perf_counter()
    candidates = search.ask()
    returns, scores, steps = evaluate(np.stack([shape.actions(candidate) for candidate in candidates]))
    search.tell(candidates, list(-returns))
    state.returns = np.concatenate([state.returns, returns[None]])
    for candidate, value, score in zip(candidates, returns, scores, strict=True):
        state.best.offer(float(score), float(value), candidate, by=best_by)
    state.simulated_steps += steps
    state.seconds += time.perf_counter() - began
    leader = int(np.argmax(returns))
    row = {
        "iteration": float(len(state.returns)),
        "simulated_steps": float(state.simulated_steps),
        "reverse_steps": 0.0,
        "seconds": state.seconds,
        "horizon": float(shape.horizon),
        "return": float(returns[leader]),
        "score": float(scores[leader]),
        "best_return": state.best.value,
        "best_score": state.best.score,
        "gradient_norm": np.nan,
        "step_size": float(search.sigma),
    }
    state.history.append(row)
    return row


def _one_by_one(env: Any, seed: int) -> Evaluate:
    def evaluate(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        episodes = [rollout(env, candidate, seed=seed) for candidate in actions]
        returns = np.array([rewards.sum() for rewards, _ in episodes])
        return returns, np.array([score for _, score in episodes]), sum(len(rewards) for rewards, _ in episodes)

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
