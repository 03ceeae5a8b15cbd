"""Policies of stable-baselines3 kept in files without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from pliant.envs.outcomes import OBSERVATION_LIMIT
from pliant.policies.files.weights import build_network, load_weights

KINDS: dict[str, type[BasePolicy]] = {"ppo": ActorCriticPolicy, "sac": SACPolicy, "td3": TD3Policy}
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


class LearnedPolicy:
    """A policy of stable-baselines3 with what describes it.

    Args:
        kind: one of ``KINDS``.
        network: the policy itself.
        hidden: numbers in its hidden layers.
        activation: of them, one of ``ACTIVATIONS``.
    """

    def __init__(self, kind: str, network: BasePolicy, hidden: list[int], activation: str) -> None:
        self.kind, self.network = kind, network
        self.settings: dict[str, Any] = {
            "observation_size": network.observation_space.shape[0],  # type: ignore[index]
            "action_size": network.action_space.shape[0],  # type: ignore[index]
            "hidden": hidden,
            "activation": activation,
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The weights by name."""
        return self.network.state_dict()

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Actions (B, A) of observations (B, O), without noise."""
        return self.network.predict(np.asarray(observation, np.float32), deterministic=True)[0]


def network_options(hidden: list[int], activation: str) -> dict[str, Any]:
    """The ``policy_kwargs`` of a model."""
    return {"net_arch": list(hidden), "activation_fn": ACTIVATIONS[activation]}


def load(path: str | Path, kind: str, settings: dict[str, Any]) -> LearnedPolicy:
    """A policy from PATH.npz and the settings in PATH.json; nothing is unpickled.

    Raises:
        ValueError: the two do not fit together, or the weights are broken.
    """

    def build() -> BasePolicy:
        limit, options = OBSERVATION_LIMIT, network_options(settings["hidden"], settings["activation"])
        seen = gym.spaces.Box(-limit, limit, (settings["observation_size"],))
        moved = gym.spaces.Box(-1.0, 1.0, (settings["action_size"],))
        return KINDS[kind](seen, moved, lambda _: 0.0, **options)  # type: ignore[arg-type]

    network = build_network(path, settings, build)
    network.load_state_dict(load_weights(path, network))
    network.set_training_mode(False)
    return LearnedPolicy(kind, network, settings["hidden"], settings["activation"])
