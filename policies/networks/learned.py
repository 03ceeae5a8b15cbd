"""Policies of stable-baselines3 kept in files without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from pliant.envs.outcomes import OBSERVATION_LIMIT
from pliant.policies.files.weights import build_network, load_weights

STABLE_BASELINES: dict[str, type[BasePolicy]] = {"ppo": ActorCriticPolicy, "sac": SACPolicy, "td3": TD3Policy}
FLAT = 1e-4
"""Added to the variances of observations: quantities that hardly change stay small."""
LARGEST = 10.0
"""Of normalised observations."""
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


class LearnedPolicy:
    """A policy of stable-baselines3 with what describes it.

    Args:
        kind: "ppo", "sac", "td3", "tqc" or "crossq".
        network: the policy itself.
        hidden: numbers in its hidden layers.
        activation: of them, one of ``ACTIVATIONS``.
        moments: mean and variance of observations (O,), by which they are normalised; None leaves them.
    """

    def __init__(
        self,
        kind: str,
        network: BasePolicy,
        hidden: list[int],
        activation: str,
        *,
        moments: RunningMeanStd | None = None,
    ) -> None:
        self.kind, self.network, self.moments = kind, network, moments
        self.settings: dict[str, Any] = {
            "observation_size": network.observation_space.shape[0],  # type: ignore[index]
            "action_size": network.action_space.shape[0],  # type: ignore[index]
            "hidden": hidden,
            "activation": activation,
            "normalize": moments is not None,
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The weights by name, with the moments of observations."""
        weights = dict(self.network.state_dict())
        if self.moments is not None:
            weights |= {"observation.mean": torch.as_tensor(self.moments.mean)}
            weights |= {"observation.variance": torch.as_tensor(self.moments.var)}
        return weights

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Actions (B, A) of observations (B, O), without noise."""
        observation = np.asarray(observation, np.float32)
        if self.moments is not None:
            scaled = (observation - self.moments.mean) / np.sqrt(self.moments.var + FLAT)
            observation = np.clip(scaled, -LARGEST, LARGEST).astype(np.float32)
        return self.network.predict(observation, deterministic=True)[0]


class _Moments(nn.Module):
    """Mean and variance of observations as they are named in files."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.observation = nn.Module()
        for name in ("mean", "variance"):
            self.observation.register_buffer(name, torch.zeros(size, dtype=torch.float64))


def policy_class(kind: str) -> type[BasePolicy]:
    """The class of a kind's network."""
    if kind in STABLE_BASELINES:
        return STABLE_BASELINES[kind]
    import sb3_contrib  # only for its own policies

    algorithm: Any = sb3_contrib.TQC if kind == "tqc" else sb3_contrib.CrossQ
    return algorithm.policy_aliases["MlpPolicy"]


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
        return policy_class(kind)(seen, moved, lambda _: 0.0, **options)  # type: ignore[arg-type]

    network = build_network(path, settings, build)
    network.load_state_dict(load_weights(path, network))
    network.set_training_mode(False)
    moments = None
    if settings.get("normalize", False):
        size = settings["observation_size"]
        weights, moments = load_weights(path, _Moments(size)), RunningMeanStd(shape=(size,))
        moments.mean, moments.var = weights["observation.mean"].numpy(), weights["observation.variance"].numpy()
        if (moments.var < 0).any():
            raise ValueError(f"{path}: observation.variance must not be negative")
    return LearnedPolicy(kind, network, settings["hidden"], settings["activation"], moments=moments)
