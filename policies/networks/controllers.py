"""Controllers: small networks from observations to actions, kept in files without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pliant.policies.files.weights import build_network, load_weights

ACTIVATIONS: Mapping[str, type[nn.Module]] = {"tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU}
SMALL = 0.01  # gain of the last layer at the start: a new controller does nearly nothing


def linear(inputs: int, outputs: int, generator: torch.Generator, gain: float = 1.0) -> nn.Linear:
    """A layer with orthogonal weights times ``gain`` and biases of zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def check_activation(name: str) -> None:
    """Raise ``ValueError`` unless it is one of ``ACTIVATIONS``."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r} is unknown; allowed: {', '.join(ACTIVATIONS)}")


@torch.no_grad()
def act_on_arrays(policy: nn.Module, observation: np.ndarray) -> np.ndarray:
    """Actions (..., A) of a module for observations (..., O), without gradients."""
    weight = next(policy.parameters())
    return policy(torch.as_tensor(observation).to(weight)).cpu().numpy()


class Mlp(nn.Module):
    """A multilayer perceptron whose outputs, tanh of the last layer, are actions in (-1, 1).

    Args:
        observation_size: numbers in an observation, O.
        action_size: numbers in an action, A.
        hidden: numbers in the hidden layers.
        activation: of the hidden layers, one of ``ACTIVATIONS``.
        seed: of the weights at the start.
        columns: the entries of the observation that the network sees; None: all.
        commands: the entries of the action that it commands, the others are zero; None: all.
    """

    kind = "mlp"

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "elu",
        seed: int = 0,
        columns: Sequence[int] | np.ndarray | None = None,
        commands: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        super().__init__()
        check_activation(activation)
        _check_sizes(observation_size, hidden, action_size)
        seen = _entries("columns", columns, observation_size)
        moved = _entries("commands", commands, action_size)
        self.settings: dict[str, Any] = {
            "observation_size": int(observation_size),
            "action_size": int(action_size),
            "hidden": [int(size) for size in hidden],
            "activation": activation,
            "columns": None if columns is None else seen.tolist(),
            "commands": None if commands is None else moved.tolist(),
        }
        sizes = [len(seen), *self.settings["hidden"], len(moved)]
        layers: list[nn.Module] = []
        generator = torch.Generator().manual_seed(seed)
        for inputs, outputs in pairwise(sizes[:-1]):
            layers += [linear(inputs, outputs, generator), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers, linear(sizes[-2], sizes[-1], generator, SMALL), nn.Tanh())
        self.seen: torch.Tensor
        self.moved: torch.Tensor
        self.register_buffer("seen", torch.as_tensor(seen), persistent=False)
        self.register_buffer("moved", torch.as_tensor(moved), persistent=False)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Actions (..., A) of observations (..., O)."""
        moved = self.layers(observation[..., self.seen])
        if self.settings["commands"] is None:
            return moved
        still = moved.new_zeros(*moved.shape[:-1], self.settings["action_size"])
        return still.index_copy(-1, self.moved, moved)

    def act(self, observation: np.ndarray) -> np.ndarray:
        """The same for arrays, without gradients."""
        return act_on_arrays(self, observation)


class SinSin(nn.Module):
    """A network whose hidden and output layers are sines, with phase and goal inputs (Fang et al., arXiv 2206.02341).

    The input is the state, ``waves`` sinusoids of the clock that are spread evenly over a period, and the goal; the
    action sin(W2 sin(W1 input + b1) + b2) lies in [-1, 1]. The sinusoids make rhythm easy, the goal lets one network
    serve many. Nothing is kept between calls: the time is read from the clock in the observation.

    Args:
        observation_size: numbers in an observation, O.
        action_size: numbers in an action, A.
        hidden: numbers in the hidden layers.
        seed: of the weights at the start.
        state: the entries of the observation that are the state; None: all but those of clock and goal.
        clock: the entries that hold sin and cos of pi t / T, the feature "phase" of every task; None: no sinusoids.
        goal: the entries that say what is wanted; they may be part of the state's too.
        waves: sinusoids of the clock.
        cycles: their periods in an episode.
    """

    kind = "sin_sin"

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        hidden: Sequence[int] = (64,),
        seed: int = 0,
        state: Sequence[int] | np.ndarray | None = None,
        clock: Sequence[int] | np.ndarray | None = None,
        goal: Sequence[int] | np.ndarray | None = None,
        waves: int = 4,
        cycles: float = 4.0,
    ) -> None:
        super().__init__()
        _check_sizes(observation_size, hidden, action_size)
        if not len(hidden):
            raise ValueError("hidden=[] must hold the sizes of at least one layer")
        if waves < 1 or not 0.0 < cycles < np.inf:
            raise ValueError(f"waves={waves} must be at least 1 and cycles={cycles} positive")
        ticks = _entries("clock", clock, observation_size) if clock is not None else np.zeros(0, int)
        if clock is not None and len(ticks) != 2:
            raise ValueError(f"clock={list(clock)} must be two entries, of sin and cos of pi t / T")
        aims = _entries("goal", goal, observation_size) if goal is not None else np.zeros(0, int)
        rest = np.setdiff1d(np.arange(observation_size), np.concatenate([ticks, aims]))
        seen = rest if state is None else _entries("state", state, observation_size)
        self.settings: dict[str, Any] = {
            "observation_size": int(observation_size),
            "action_size": int(action_size),
            "hidden": [int(size) for size in hidden],
            "state": seen.tolist(),
            "clock": ticks.tolist() or None,
            "goal": aims.tolist() or None,
            "waves": int(waves),
            "cycles": float(cycles),
        }
        sizes = [len(seen) + (waves if len(ticks) else 0) + len(aims), *self.settings["hidden"], action_size]
        if not sizes[0]:
            raise ValueError("state, clock and goal leave nothing to see; name at least one entry")
        generator = torch.Generator().manual_seed(seed)
        hidden_layers = [linear(inputs, outputs, generator) for inputs, outputs in pairwise(sizes[:-1])]
        self.layers = nn.ModuleList([*hidden_layers, linear(sizes[-2], sizes[-1], generator, SMALL)])

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Actions (..., A) of observations (..., O)."""
        settings = self.settings
        parts = [observation[..., settings["state"]]]
        if settings["clock"]:
            sine, cosine = (observation[..., k] for k in settings["clock"])
            turned = 2.0 * settings["cycles"] * torch.atan2(sine, cosine)  # pi t / T lies in [0, pi]
            offsets = 2.0 * torch.pi * torch.arange(settings["waves"]).to(observation) / settings["waves"]
            parts.append(torch.sin(turned[..., None] + offsets))
        if settings["goal"]:
            parts.append(observation[..., settings["goal"]])
        signal = torch.cat(parts, dim=-1)
        for layer in self.layers:
            signal = torch.sin(layer(signal))
        return signal

    def act(self, observation: np.ndarray) -> np.ndarray:
        """The same for arrays, without gradients."""
        return act_on_arrays(self, observation)


Controller = Mlp | SinSin
KINDS: Mapping[str, type[Mlp] | type[SinSin]] = {kind.kind: kind for kind in (Mlp, SinSin)}


def observed_entries(task: Any) -> dict[str, list[int]]:
    """The entries of a task's observation by the name of the feature: what ``columns``, ``clock`` and ``goal`` take."""
    entries: dict[str, list[int]] = {}
    first = 0
    for part in task.observation:
        entries[part.feature.name] = list(range(first, first + part.feature.size))
        first += part.feature.size
    return entries


def _check_sizes(observation_size: int, hidden: Sequence[int], action_size: int) -> None:
    if min(observation_size, action_size, *hidden) < 1:
        given = f"observation_size={observation_size}, hidden={list(hidden)}, action_size={action_size}"
        raise ValueError(f"{given}: all sizes must be at least 1")


def _entries(name: str, chosen: Sequence[int] | np.ndarray | None, size: int) -> np.ndarray:
    """Different numbers in 0 ... size - 1; all of them by default."""
    entries = np.arange(size) if chosen is None else np.asarray(chosen)
    if entries.ndim != 1 or entries.dtype.kind not in "iu" or len(set(entries.tolist())) < max(len(entries), 1):
        raise ValueError(f"{name}={entries.tolist()} must be different entries, at least one")
    if entries.min() < 0 or entries.max() >= size:
        raise ValueError(f"{name}={entries.tolist()} must be entries of {size} numbers")
    return entries


def _inputs(settings: Mapping[str, Any]) -> int | None:
    """Inputs of the first layer that a description speaks of; None where that cannot be said."""
    seen, waves = settings.get("columns", settings.get("state")), settings.get("waves", 0)
    size, goal = settings.get("observation_size"), settings.get("goal")
    if not isinstance(size, int) or not isinstance(waves, int):
        return None
    first = len(seen) if isinstance(seen, list) else size
    return first + (waves if settings.get("clock") else 0) + (len(goal) if isinstance(goal, list) else 0)


def _outputs(settings: Mapping[str, Any]) -> int | None:
    """Outputs of the last layer, where it does not give the whole action."""
    moved = settings.get("commands")
    return len(moved) if isinstance(moved, list) else None


def load(path: str | Path, kind: str, settings: dict[str, Any]) -> Controller:
    """A controller from PATH.npz and the settings in PATH.json; nothing is unpickled.

    Raises:
        ValueError: the two do not fit together, or the weights are broken.
    """
    controller = build_network(path, settings, lambda: KINDS[kind](**settings), _inputs(settings), _outputs(settings))
    weights = load_weights(path, controller)
    controller.to(next(iter(weights.values())).dtype)
    controller.load_state_dict(weights)
    return controller
