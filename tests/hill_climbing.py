"""A method of training in one file, as somebody else may write it: hill climbing on the weights of a perceptron.

Each iteration adds noise to the best weights so far, plays an episode in every world, and keeps the weights if their
mean return is higher.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pliant.policies.evaluation import evaluate
from pliant.policies.files.training_state import history_from_tree, history_to_tree
from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.controllers import Mlp
from pliant.policies.settings import check_ranges


@dataclass
class Settings:
    """Settings of a training run."""

    steps: int = 1000
    """Budget of simulated steps, all worlds together."""
    minutes: float = 0.0
    """Budget of training time; 0 is none."""
    seed: int = 0
    """Seed of weights, noise and episodes."""
    sigma: float = 0.3
    """Standard deviation of the noise on the weights."""
    hidden: int = 8
    """Width of the hidden layer."""


def check_settings(settings: Settings) -> None:
    check_ranges(
        settings,
        steps=(1, math.inf),
        minutes=(0, math.inf),
        seed=(0, math.inf),
        sigma=(1e-12, math.inf),
        hidden=(1, math.inf),
    )


def train(
    env: Any, settings: Settings, *, on_iteration: OnIteration | None = None, state: dict[str, Any] | None = None
) -> Result:
    check_settings(settings)
    sizes = env.single_observation_space.shape[0], env.single_action_space.shape[0]
    policy = Mlp(*sizes, hidden=[settings.hidden], seed=settings.seed)
    best, best_return = parameters_to_vector(policy.parameters()).detach().clone(), -math.inf
    steps, seconds = 0, 0.0
    history: list[dict[str, float]] = []
    if state is not None:
        best, best_return = state["best"], state["best_return"]
        steps, seconds, history = state["steps"], state["seconds"], history_from_tree(state["history"])

    def snapshot() -> dict[str, Any]:
        return {
            "best": best.clone(),
            "best_return": best_return,
            "steps": steps,
            "seconds": seconds,
            "history": history_to_tree(history),
        }

    seeds = range(settings.seed, settings.seed + env.num_envs)
    while steps < settings.steps and not (settings.minutes and seconds >= 60 * settings.minutes):
        began = time.perf_counter()
        noise = np.random.default_rng([settings.seed, len(history)]).normal(size=len(best))
        tried = best + settings.sigma * torch.as_tensor(noise if history else 0 * noise).to(best)
        vector_to_parameters(tried.clone(), policy.parameters())
        returns, scores = evaluate(env, policy.act, seeds)
        if returns.mean() > best_return:
            best, best_return = tried, float(returns.mean())
        vector_to_parameters(best.clone(), policy.parameters())
        steps += env.horizon * env.num_envs
        seconds += time.perf_counter() - began
        history.append(
            {
                "iteration": len(history) + 1.0,
                "simulated_steps": float(steps),
                "seconds": seconds,
                "return": float(returns.mean()),
                "score": float(scores.mean()),
                "best_return": best_return,
            }
        )
        if on_iteration is not None:
            on_iteration(snapshot, policy, history[-1])
    return Result(policy, history, steps, seconds, snapshot())
