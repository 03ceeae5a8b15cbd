"""What SAC, TD3, TQC and CrossQ have in common: a replay buffer, and updates after each step of the batch of worlds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.learned import LearnedPolicy, network_options
from pliant.policies.reinforcement.learning import learn, moments_of
from pliant.policies.reinforcement.vec_env import batched_worlds
from pliant.policies.settings import check_ranges


@dataclass
class OffPolicySettings:
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
    normalize: bool = False
    """Normalise observations by their running mean and standard deviation."""
    hidden: int = 128
    """Width of hidden layers, of policy and critics."""
    layers: int = 2
    """Number of hidden layers."""
    activation: Literal["tanh", "relu", "elu"] = "relu"
    """Their activation."""


Given = TypeVar("Given", bound=OffPolicySettings)


def learn_off_policy(
    algorithm: type[OffPolicyAlgorithm],
    kind: str,
    check_settings: Callable[[Given], None],
    own_options: Callable[[Any, Given], dict[str, Any]],
    env: Any,
    settings: Given,
    /,
    *,
    shown: tuple[str, ...] = (),
    on_iteration: OnIteration | None = None,
    state: dict[str, Any] | None = None,
) -> Result:
    """Train a policy by an algorithm with a replay buffer.

    Args:
        algorithm: of stable-baselines3 or sb3-contrib.
        kind: of its policy, as files name it.
        check_settings: raises ``ValueError`` where a setting is out of range.
        own_options: from the environment and the settings to what this algorithm takes besides.
        env: a vector environment made with ``autoreset_mode="SameStep"``.
        settings: what all such algorithms take.
        shown: names of the model's own figures that rows report, beside the losses of actor and critics.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each episode; ``snapshot()`` is a state.
        state: go on from here; the rest of the run is the same as if it had not been interrupted (on a CPU).

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
    """
    check_settings(settings)
    hidden = [settings.hidden] * settings.layers
    model = algorithm(
        "MlpPolicy",
        batched_worlds(env, normalize=settings.normalize),
        learning_starts=settings.learning_starts,
        buffer_size=settings.buffer_size,
        train_freq=1,
        gradient_steps=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        gamma=settings.discount,
        policy_kwargs=network_options(hidden, settings.activation),
        seed=settings.seed,
        device="cpu",
        **own_options(env, settings),
    )
    return learn(
        model,
        LearnedPolicy(kind, model.policy, hidden, settings.activation, moments=moments_of(model)),
        steps=settings.steps,
        minutes=settings.minutes,
        shown=("train/actor_loss", "train/critic_loss", *shown),
        on_iteration=on_iteration,
        state=state,
    )


def check_off_policy(settings: OffPolicySettings, **own: tuple[float, float]) -> None:
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
        hidden=(1, math.inf),
        layers=(0, math.inf),
        **own,
    )
