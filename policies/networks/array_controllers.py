"""The controllers of `controllers.py` as plain arrays: they act from their files without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pliant.policies.files.checkpoints import check_network, load_arrays, load_description, without_suffix

KINDS = ("mlp", "sin_sin")
ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


class ArrayController:
    """A controller that has been loaded: ``act`` is all it does.

    Args:
        kind: one of ``KINDS``.
        settings: what the file PATH.json says besides.
        layers: weights (outputs, inputs) and biases (outputs,), the first layer first.
    """

    def __init__(self, kind: str, settings: dict[str, Any], layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.kind, self.settings, self.layers = kind, settings, layers

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Actions (..., A) of observations (..., O)."""
        observation = np.asarray(observation, self.layers[0][0].dtype)
        return self._mlp(observation) if self.kind == "mlp" else self._sin_sin(observation)

    def _mlp(self, observation: np.ndarray) -> np.ndarray:
        columns, commands = self.settings["columns"], self.settings["commands"]
        signal = observation if columns is None else observation[..., columns]
        for number, (weight, bias) in enumerate(self.layers, start=1):
            last = number == len(self.layers)
            signal = (np.tanh if last else ACTIVATIONS[self.settings["activation"]])(signal @ weight.T + bias)
        if commands is None:
            return signal
        action = np.zeros((*signal.shape[:-1], self.settings["action_size"]), signal.dtype)
        action[..., commands] = signal
        return action

    def _sin_sin(self, observation: np.ndarray) -> np.ndarray:
        settings = self.settings
        parts = [observation[..., settings["state"]]]
        if settings["clock"]:
            sine, cosine = (observation[..., k] for k in settings["clock"])
            offsets = 2.0 * np.pi * np.arange(settings["waves"]) / settings["waves"]
            parts.append(np.sin(2.0 * settings["cycles"] * np.arctan2(sine, cosine)[..., None] + offsets))
        if settings["goal"]:
            parts.append(observation[..., settings["goal"]])
        signal = np.concatenate(parts, axis=-1).astype(observation.dtype)
        for weight, bias in self.layers:
            signal = np.sin(signal @ weight.T + bias)
        return signal


def load_array_controller(path: str | Path) -> ArrayController:
    """A controller from PATH.npz and PATH.json; nothing is unpickled, nothing but NumPy is needed.

    Raises:
        ValueError: a file is missing, broken or of another version, or the two do not fit together.
    """
    path = without_suffix(path)
    kind, settings = load_description(path, KINDS)
    arrays = load_arrays(f"{path}.npz")
    check_network(f"{path}.json", settings, sum(array.size for array in arrays.values()), 1)
    try:
        names = sorted((name for name in arrays if name.endswith(".weight")), key=lambda name: int(name.split(".")[1]))
        layers = [(arrays[name], arrays[name.removesuffix("weight") + "bias"]) for name in names]
    except KeyError as error:
        raise ValueError(f"{path}.npz lacks the array {error}") from error
    except (IndexError, ValueError):
        raise ValueError(f"{path}.npz names its layers {', '.join(arrays)}; allowed: layers.0.weight, ...") from None
    controller = ArrayController(kind, settings, layers)
    try:
        shapes = [(weight.shape[0], bias.shape) for weight, bias in layers]
        if shapes != [(size, (size,)) for size in [*settings["hidden"], len(_commanded(settings))]]:
            raise ValueError(f"its layers have the outputs {[outputs for outputs, _ in shapes]}")
        with np.errstate(all="ignore"):
            action = controller.act(np.zeros(settings["observation_size"]))
        if action.shape != (settings["action_size"],) or not all(
            np.isfinite(part).all() for pair in layers for part in pair
        ):
            raise ValueError(f"it gives actions of shape {action.shape}, or its weights are not finite")
    except Exception as error:  # whatever the files say has been taken at its word
        raise ValueError(f"{path}.npz and {path}.json do not make a controller: {error!r}") from error
    return controller


def _commanded(settings: Mapping[str, Any]) -> Any:
    """The entries of the action that the last layer gives."""
    commands = settings.get("commands")
    return range(settings["action_size"]) if commands is None else commands
