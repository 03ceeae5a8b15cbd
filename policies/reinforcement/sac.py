"""SAC (Haarnoja et al. 2018, arXiv 1812.05905) by stable-baselines3, on all worlds of a batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import stable_baselines3

from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.learned import LearnedPolicy, network_options
from pliant.policies.reinforcement.learning import learn
from pliant.policies.reinforcement.vec_env import BatchedVecEnv
from pliant.policies.settings import check_ranges


@dataclass
class Settings:
    """Settings of a training run."""

    steps: int = 100_000
    """Budget of simulated steps, all worlds together."""
    minutes: float = 0.0
    """Budget of training time; 0 is none."""
    seed: int = 0
    """Seed of weights, noise and episodes."""
    learning_starts: int = 1000
    """Steps, all worlds together, with random actions before the first update."""
    buffer_size: int = 200_000
    """Steps that are kept to learn from, all worlds together."""
    updates: int = 8
    """Updates after each step of the batch of worlds."""
    batch_size: int = 256
    """Steps that an update learns from."""
    learning_rate: float = 3e-4
    """Step size of Adam."""
    discount: float = 0.99
    """Discount factor gamma per step."""
    target_rate: float = 0.005
    """Share of the way to the critics that their targets go with each update."""
    initial_alpha: float = 0.1
    """Weight of the entropy at the start; it is tuned from then on."""
    hidden: int = 128
    """Width of hidden layers, of policy and critics."""
    layers: int = 2
    """Number of hidden layers."""
    activation: Literal["tanh", "relu", "elu"] = "relu"
    """Their activation."""


def train(
    env: Any, settings: Settings, *, on_iteration: OnIteration | None = None, state: dict[str, Any] | None = None
) -> Result:
    """Train a policy by SAC.

    Args:
        env: a vector environment made with ``autoreset_mode="SameStep"``.
        settings: see ``Settings``.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each episode; ``snapshot()`` is a state.
        state: go on from here; the rest of the run is the same as if it had not been interrupted (on a CPU).

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
    """
    check_settings(settings)
    hidden = [settings.hidden] * settings.layers
    model = stable_baselines3.SAC(
        "MlpPolicy",
        BatchedVecEnv(env),
        learning_starts=settings.learning_starts,
        buffer_size=settings.buffer_size,
        train_freq=1,
        gradient_steps=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        gamma=settings.discount,
        tau=settings.target_rate,
        ent_coef=f"auto_{settings.initial_alpha}",
        policy_kwargs=network_options(hidden, settings.activation),
        seed=settings.seed,
        device="cpu",
    )
    return learn(
        model,
        LearnedPolicy("sac", model.policy, hidden, settings.activation),
        steps=settings.steps,
        minutes=settings.minutes,
        shown=("train/actor_loss", "train/critic_loss", "train/ent_coef"),
        on_iteration=on_iteration,
        state=state,
    )


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_ranges(
        settings,
        steps=(1, math.inf),
        minutes=(0, math.inf),
        seed=(0, 2**32 - 1),
        learning_starts=(0, math.inf),
        buffer_size=(1, math.inf),
        updates=(1, math.inf),
        batch_size=(1, math.inf),
        learning_rate=(1e-12, math.inf),
        discount=(1e-12, 1),
        target_rate=(1e-12, 1),
        initial_alpha=(1e-12, math.inf),
        hidden=(1, math.inf),
        layers=(0, math.inf),
    )
