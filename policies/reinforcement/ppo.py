"""PPO (Schulman et al. 2017, arXiv 1707.06347) by stable-baselines3, on all worlds of a batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import stable_baselines3

from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.learned import LearnedPolicy, network_options
from pliant.policies.reinforcement.learning import learn, moments_of
from pliant.policies.reinforcement.vec_env import batched_worlds
from pliant.policies.settings import check_ranges


@dataclass
class Settings:
    """Settings of a training run."""

    steps: int = 100_000
    """Budget of simulated steps, all worlds together; a rollout is finished once begun."""
    minutes: float = 0.0
    """Budget of training time; 0 is none."""
    seed: int = 0
    """Seed of weights, noise and episodes."""
    rollout: int = 0
    """Steps of each world between two updates; 0 takes an episode."""
    epochs: int = 10
    """Passes over a rollout's data."""
    batch_size: int = 128
    """Steps in a batch of such a pass; the next smaller number that divides a rollout's is taken."""
    learning_rate: float = 3e-4
    """Step size of Adam."""
    schedule: Literal["constant", "linear"] = "constant"
    """How the step size falls over ``steps``: not at all, or along a line to 0."""
    discount: float = 0.99
    """Discount factor gamma per step."""
    gae_lambda: float = 0.95
    """Mixing factor of generalised advantage estimation."""
    clip_range: float = 0.2
    """Bound on the change of action probabilities."""
    entropy_weight: float = 0.0
    """Weight of the entropy in the loss."""
    value_weight: float = 0.5
    """Weight of the value's error in the loss."""
    clip_norm: float = 0.5
    """Gradients longer than this are shortened to it."""
    log_std: float = -0.5
    """Logarithm of the standard deviation of the actions at the start."""
    normalize_reward: bool = True
    """Divide rewards by the running standard deviation of the discounted return."""
    normalize: bool = False
    """Normalise observations by their running mean and standard deviation."""
    hidden: int = 64
    """Width of hidden layers, of policy and value."""
    layers: int = 2
    """Number of hidden layers."""
    activation: Literal["tanh", "relu", "elu"] = "tanh"
    """Their activation."""


def train(
    env: Any, settings: Settings, *, on_iteration: OnIteration | None = None, state: dict[str, Any] | None = None
) -> Result:
    """Train a policy by PPO.

    Args:
        env: a vector environment made with ``autoreset_mode="SameStep"``.
        settings: see ``Settings``.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each update; ``snapshot()`` is a state.
        state: go on from here; the rest of the run is the same as if it had not been interrupted (on a CPU).

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
    """
    check_settings(settings)
    rewards = {"reward_discount": settings.discount} if settings.normalize_reward else {}
    worlds = batched_worlds(env, normalize=settings.normalize, **rewards)
    rollout = settings.rollout or env.unwrapped.horizon
    data = rollout * worlds.num_envs
    batch_size = next(size for size in range(min(settings.batch_size, data), 0, -1) if data % size == 0)
    hidden = [settings.hidden] * settings.layers
    falling = settings.schedule == "linear"
    model = stable_baselines3.PPO(
        "MlpPolicy",
        worlds,
        n_steps=rollout,
        n_epochs=settings.epochs,
        batch_size=batch_size,
        learning_rate=(lambda left: left * settings.learning_rate) if falling else settings.learning_rate,
        gamma=settings.discount,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip_range,
        ent_coef=settings.entropy_weight,
        vf_coef=settings.value_weight,
        max_grad_norm=settings.clip_norm,
        policy_kwargs=network_options(hidden, settings.activation) | {"log_std_init": settings.log_std},
        seed=settings.seed,
        device="cpu",
    )
    return learn(
        model,
        LearnedPolicy("ppo", model.policy, hidden, settings.activation, moments=moments_of(model)),
        steps=settings.steps,
        minutes=settings.minutes,
        shown=("train/loss", "train/value_loss", "train/approx_kl", "train/std"),
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
        rollout=(0, math.inf),
        epochs=(1, math.inf),
        batch_size=(2, math.inf),
        learning_rate=(1e-12, math.inf),
        discount=(1e-12, 1),
        gae_lambda=(0, 1),
        clip_range=(1e-12, math.inf),
        entropy_weight=(0, math.inf),
        value_weight=(0, math.inf),
        clip_norm=(1e-12, math.inf),
        log_std=(-5, 2),
        hidden=(1, math.inf),
        layers=(0, math.inf),
    )
