"""The networks of actor-critic methods: a squashed Gaussian policy, value networks, normalised observations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pliant.policies.files.weights import build_network, load_weights
from pliant.policies.networks.controllers import ACTIVATIONS, SMALL, act_on_arrays, check_activation, linear

LOG_STD_LIMITS = (-5.0, 2.0)
LARGEST_ACTION = 1.0 - 1e-6
"""Actions beyond it are rounded in float32, and have no finite inverse of tanh."""


class RunningNorm(nn.Module):
    """(x - mean) / std of all observations so far (Chan et al. 1979), clipped; the identity before the first."""

    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor

    def __init__(self, size: int, limit: float = 10.0) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Normalised observations (..., O)."""
        if not self.count:
            return observation
        scale = (self.variance + 1e-4).rsqrt().to(observation)  # quantities that hardly change stay small
        return ((observation - self.mean.to(observation)) * scale).clamp(-self.limit, self.limit)

    @torch.no_grad()
    def update(self, observation: torch.Tensor) -> None:
        """Take in observations (N, O)."""
        batch = observation.to(self.mean)
        count, mean, variance = len(batch), batch.mean(0), batch.var(0, unbiased=False)
        whole = self.count + count
        shift = mean - self.mean
        self.variance.copy_(
            (self.variance * self.count + variance * count + shift**2 * self.count * count / whole) / whole
        )
        self.mean += shift * count / whole
        self.count += count


class GaussianPolicy(nn.Module):
    """a = tanh(u), u ~ N(mean(o), std^2); without noise a = tanh(mean(o)).

    Args:
        observation_size: numbers in an observation, O.
        action_size: numbers in an action, A.
        hidden: numbers in the hidden layers, each of them with layer normalisation.
        activation: of the hidden layers, one of ``ACTIVATIONS``.
        log_std: logarithm of the standard deviation at the start.
        state_dependent_std: whether it depends on the observation, or is one number an action.
        normalize: whether observations are normalised by their running mean and standard deviation.
        seed: of the weights at the start.
    """

    kind = "gaussian"

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "elu",
        log_std: float = -1.0,
        state_dependent_std: bool = False,
        normalize: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "observation_size": int(observation_size),
            "action_size": int(action_size),
            "hidden": [int(size) for size in hidden],
            "activation": activation,
            "log_std": float(log_std),
            "state_dependent_std": bool(state_dependent_std),
            "normalize": bool(normalize),
        }
        generator = torch.Generator().manual_seed(seed)
        self.norm = RunningNorm(observation_size) if normalize else nn.Identity()
        self.trunk = hidden_layers([observation_size, *hidden], activation, generator)
        width = hidden[-1] if hidden else observation_size
        self.mean = linear(width, action_size, generator, SMALL)
        self.state_dependent_std = state_dependent_std
        if state_dependent_std:
            self.log_std: Any = linear(width, action_size, generator, SMALL)
            nn.init.constant_(self.log_std.bias, log_std)
        else:
            self.log_std = nn.Parameter(torch.full((action_size,), float(log_std)))

    def distribution(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log std of u, shape (..., A) each."""
        features = self.trunk(self.norm(observation))
        mean = self.mean(features)
        log_std = self.log_std(features) if self.state_dependent_std else self.log_std.expand_as(mean)
        return mean, log_std.clamp(*LOG_STD_LIMITS)

    def sample(self, observation: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (..., A) and the logarithms of their densities (...,), both differentiable (reparametrised)."""
        mean, log_std = self.distribution(observation)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        u = mean + log_std.exp() * noise
        return torch.tanh(u), _log_density(u, noise, log_std)

    def log_density(self, observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Logarithms (...,) of the densities of given actions (..., A), differentiable in the weights."""
        mean, log_std = self.distribution(observation)
        u = torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))
        return _log_density(u, (u - mean) / log_std.exp(), log_std)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Actions (..., A) without noise."""
        return torch.tanh(self.distribution(observation)[0])

    def act(self, observation: np.ndarray) -> np.ndarray:
        """The same for arrays, without gradients."""
        return act_on_arrays(self, observation)


def _log_density(u: torch.Tensor, noise: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Logarithms (...,) of the densities of tanh(u), with u = mean + std noise."""
    # log N(u) - log |da/du|, with log(1 - tanh^2 u) = 2 (log 2 - u - softplus(-2 u))
    density = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    return (density - 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))).sum(-1)


def value_network(observation_size: int, hidden: Sequence[int], activation: str, seed: int) -> nn.Sequential:
    """From observations (..., O) to values (..., 1); hidden layers as those of `GaussianPolicy`."""
    generator = torch.Generator().manual_seed(seed)
    trunk = hidden_layers([observation_size, *hidden], activation, generator)
    return nn.Sequential(*trunk, linear(hidden[-1] if hidden else observation_size, 1, generator))


def hidden_layers(sizes: Sequence[int], activation: str, generator: torch.Generator) -> nn.Sequential:
    """From ``sizes[0]`` to ``sizes[-1]`` numbers, each layer with activation and layer normalisation."""
    check_activation(activation)
    if any(size < 1 for size in sizes):
        raise ValueError(f"sizes {list(sizes)} must be at least 1")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [linear(inputs, outputs, generator), ACTIVATIONS[activation](), nn.LayerNorm(outputs)]
    return nn.Sequential(*layers)


def load(path: str | Path, kind: str, settings: dict[str, Any]) -> GaussianPolicy:
    """A policy from PATH.npz and the settings in PATH.json; nothing is unpickled.

    Raises:
        ValueError: the two do not fit together, or the weights are broken.
    """
    policy = build_network(path, settings, lambda: GaussianPolicy(**settings))
    policy.load_state_dict(load_weights(path, policy))
    return policy
