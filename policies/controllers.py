"""Controllers: small networks from observations to actions, kept in files without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pliant.policies.checkpoints import load_arrays, replacing, save_arrays

VERSION = 1
ACTIVATIONS: Mapping[str, type[nn.Module]] = {"tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU}
SMALL = 0.01  # factor on the last layer's weights at the start: a new controller does nearly nothing


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
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is unknown; allowed: {', '.join(ACTIVATIONS)}")
        if observation_size < 1 or action_size < 1 or any(size < 1 for size in hidden):
            raise ValueError(f"sizes {observation_size}, {list(hidden)}, {action_size} must be at least 1")
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
        for k, (inputs, outputs) in enumerate(pairwise(sizes)):
            linear = nn.Linear(inputs, outputs)
            nn.init.orthogonal_(linear.weight, generator=generator)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.Tanh() if k == len(sizes) - 2 else ACTIVATIONS[activation]()]
        with torch.no_grad():
            layers[-2].weight.mul_(SMALL)  # type: ignore[operator, union-attr]
        self.layers = nn.Sequential(*layers)
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

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray:
        """The same for arrays, without gradients."""
        weight = next(self.parameters())
        return self(torch.as_tensor(observation).to(weight)).cpu().numpy()


def _entries(name: str, chosen: Sequence[int] | np.ndarray | None, size: int) -> np.ndarray:
    """Different numbers in 0 ... size - 1; all of them by default."""
    entries = np.arange(size) if chosen is None else np.asarray(chosen, int)
    if entries.ndim != 1 or not len(entries) or len(set(entries.tolist())) < len(entries):
        raise ValueError(f"{name}={entries.tolist()} must be different entries, at least one")
    if entries.min() < 0 or entries.max() >= size:
        raise ValueError(f"{name}={entries.tolist()} must be entries of {size} numbers")
    return entries


def save_controller(path: str | Path, controller: Mlp) -> None:
    """Write PATH.npz, the weights, and PATH.json, what they are the weights of."""
    path = Path(path).with_suffix("")
    save_arrays(f"{path}.npz", {name: value.cpu().numpy() for name, value in controller.state_dict().items()})
    with replacing(f"{path}.json") as temporary:
        content = {"version": VERSION, "kind": "mlp", **controller.settings}
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_controller(path: str | Path) -> Mlp:
    """A controller from PATH.npz and PATH.json; nothing is unpickled.

    Raises:
        ValueError: a file is missing, broken, of another version, or the two do not fit together.
    """
    path = Path(path).with_suffix("")
    try:
        content = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}.json is not a readable JSON file: {error}") from error
    if not isinstance(content, dict) or content.pop("version", None) != VERSION or content.pop("kind", None) != "mlp":
        raise ValueError(f"{path}.json does not describe a controller of version {VERSION}")
    try:
        controller = Mlp(content.pop("observation_size"), content.pop("action_size"), **content)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}.json does not describe a controller: {error}") from error
    wanted = controller.state_dict()
    arrays = load_arrays(f"{path}.npz", required=tuple(wanted))
    for name, value in wanted.items():
        array = arrays[name]
        if array.shape != tuple(value.shape) or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{path}.npz: {name} must be finite numbers of shape {tuple(value.shape)}")
    controller.load_state_dict({name: torch.as_tensor(arrays[name]) for name in wanted})
    return controller.to(torch.as_tensor(arrays[next(iter(wanted))]).dtype)
