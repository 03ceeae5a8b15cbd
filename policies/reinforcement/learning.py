"""What the methods of stable-baselines3 have in common: a run with rows, snapshots and budgets."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from pliant.policies.files.training_state import (
    global_random_state,
    history_from_tree,
    history_to_tree,
    set_global_random_state,
)
from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.learned import LearnedPolicy
from pliant.policies.reinforcement.vec_env import BatchedVecEnv

BUFFER_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
"""Names of the arrays of a replay buffer, a row for each step of the batch."""


def learn(
    model: BaseAlgorithm,
    policy: LearnedPolicy,
    *,
    steps: int,
    minutes: float,
    shown: Sequence[str],
    on_iteration: OnIteration | None,
    state: dict[str, Any] | None,
) -> Result:
    """Train a model until a budget is used up, or go on with an earlier training.

    Args:
        model: with a `BatchedVecEnv`, which a ``VecNormalize`` may wrap.
        policy: the model's.
        steps: budget of environment steps, all worlds together.
        minutes: budget of time; 0 is none.
        shown: names of the model's own figures ("train/loss") that rows report.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each iteration.
        state: what ``snapshot()`` gave.

    Raises:
        ValueError: the state is of another run.
    """
    model.set_logger(Logger(folder=None, output_formats=[]))
    reporter = _Reporter(policy, minutes, shown, on_iteration)
    if state is not None:
        try:
            _restore(model, state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise ValueError(f"the state does not fit this environment and these settings: {error}") from error
        reporter.history, reporter.seconds = history_from_tree(state["history"]), state["seconds"]
    left = steps - model.num_timesteps
    out_of_time = minutes > 0 and reporter.seconds >= 60 * minutes
    if left > 0 and not out_of_time:
        model.learn(left, reporter, log_interval=None, reset_num_timesteps=state is None)  # type: ignore[arg-type]
        reporter.report()
    return Result(policy, reporter.history, model.num_timesteps, reporter.seconds, reporter.snapshot_of(model))


class _Reporter(BaseCallback):
    """Reports between two rollouts, where nothing is half done."""

    def __init__(
        self, policy: LearnedPolicy, minutes: float, shown: Sequence[str], on_iteration: OnIteration | None
    ) -> None:
        super().__init__()
        self.own, self.minutes, self.shown, self.on_iteration = policy, minutes, shown, on_iteration
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0

    def _on_training_start(self) -> None:
        self._since = time.perf_counter()

    def _on_rollout_start(self) -> None:
        batch = worlds_of(self.model)
        last = self.history[-1]["simulated_steps"] if self.history else 0.0
        every_rollout = hasattr(self.model, "rollout_buffer")
        iteration = 1 if every_rollout else batch.env.horizon * batch.num_envs
        if self.model.num_timesteps - last >= iteration:
            self.report()

    def _on_step(self) -> bool:
        return not self.minutes or self.seconds + time.perf_counter() - self._since < 60 * self.minutes

    def report(self) -> None:
        """Add a row, unless there is one of this moment."""
        if self.history and self.history[-1]["simulated_steps"] == self.model.num_timesteps:
            return
        self.seconds += time.perf_counter() - self._since
        batch, figures = worlds_of(self.model), self.model.logger.name_to_value
        row = {
            "iteration": float(len(self.history) + 1),
            "simulated_steps": float(self.model.num_timesteps),
            "seconds": self.seconds,
            "return": float(batch.finished_return.mean()),
            "score": float(batch.finished_score.mean()),
            **{name.split("/")[-1]: float(figures.get(name, math.nan)) for name in self.shown},
        }
        self.history.append(row)
        if self.on_iteration is not None:
            self.on_iteration(lambda: self.snapshot_of(self.model), self.own, row)
        self._since = time.perf_counter()

    def snapshot_of(self, model: BaseAlgorithm) -> dict[str, Any]:
        tree = {**_snapshot(model), "history": history_to_tree(self.history), "seconds": self.seconds}
        return copy.deepcopy(tree)  # training goes on


def worlds_of(model: BaseAlgorithm) -> BatchedVecEnv:
    """The worlds beneath a model's wrappers."""
    env: VecEnv | None = model.get_env()
    while env is not None and not isinstance(env, BatchedVecEnv):
        env = getattr(env, "venv", None)
    if env is None:
        raise ValueError("the model's environment is no BatchedVecEnv")
    return env


def moments_of(model: BaseAlgorithm) -> RunningMeanStd | None:
    """Mean and variance of the observations so far, where the model normalises by them."""
    normalize = model.get_vec_normalize_env()
    return normalize.obs_rms if normalize is not None and normalize.norm_obs else None  # type: ignore[return-value]


def _snapshot(model: BaseAlgorithm) -> dict[str, Any]:
    """Everything that the rest of a training depends on, taken between two rollouts."""
    tree: dict[str, Any] = {
        "parameters": model.get_parameters(),
        "counters": {name: getattr(model, name) for name in ("num_timesteps", "_n_updates", "_episode_num")},
        "episode_starts": model._last_episode_starts,
        "random": global_random_state(),
        "action_space": model.action_space.np_random.bit_generator.state,
        "worlds": worlds_of(model).to_tree(),
        "figures": dict(model.logger.name_to_value),
    }
    alpha = getattr(model, "log_ent_coef", None)
    if alpha is not None:
        tree["log_ent_coef"] = alpha.detach()
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        tree["rewards"] = {**_of_moments(normalize.ret_rms), "returns": normalize.returns}
    moments = moments_of(model)
    if moments is not None:
        tree["observations"] = _of_moments(moments)
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        filled = buffer.buffer_size if buffer.full else buffer.pos
        tree["replay"] = {name: getattr(buffer, name)[:filled] for name in BUFFER_ARRAYS}
        tree["replay"] |= {"pos": buffer.pos, "full": buffer.full}
    return tree


def _of_moments(moments: RunningMeanStd) -> dict[str, Any]:
    return {name: getattr(moments, name) for name in ("mean", "var", "count")}


def _set_moments(moments: RunningMeanStd, tree: dict[str, Any]) -> None:
    moments.mean, moments.var, moments.count = np.asarray(tree["mean"]), np.asarray(tree["var"]), tree["count"]


def _restore(model: BaseAlgorithm, tree: dict[str, Any]) -> None:
    """Inverse of ``_snapshot``, on a new model of the same settings."""
    normalize: VecNormalize | None = model.get_vec_normalize_env()
    model._last_obs = seen = worlds_of(model).restore(tree["worlds"])
    model._last_episode_starts = tree["episode_starts"]
    model.set_parameters(tree["parameters"], exact_match=True, device="cpu")
    for name, value in tree["counters"].items():
        setattr(model, name, value)
    for name, value in tree["figures"].items():
        model.logger.record(name, value)
    if "log_ent_coef" in tree:
        with torch.no_grad():
            model.log_ent_coef.copy_(tree["log_ent_coef"])  # type: ignore[attr-defined]
    if normalize is not None:
        _set_moments(normalize.ret_rms, tree["rewards"])
        normalize.returns = tree["rewards"]["returns"]
    moments = moments_of(model)
    if normalize is not None and moments is not None:
        _set_moments(moments, tree["observations"])
        normalize.old_obs, model._last_original_obs = seen, seen
        model._last_obs = normalize.normalize_obs(seen)
    if "replay" in tree:
        buffer: Any = model.replay_buffer  # type: ignore[attr-defined]
        for name in BUFFER_ARRAYS:
            getattr(buffer, name)[: len(tree["replay"][name])] = tree["replay"][name]
        buffer.pos, buffer.full = tree["replay"]["pos"], tree["replay"]["full"]
    model.action_space.np_random.bit_generator.state = tree["action_space"]
    set_global_random_state(tree["random"])
