"""The weights of networks in files without pickle: PATH.npz, and beside it PATH.json, what they are the weights of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from pliant.policies.files.checkpoints import check_network, load_arrays, save_arrays, save_description, without_suffix

Network = TypeVar("Network")


class HasWeights(Protocol):
    """Networks, and policies around one."""

    def state_dict(self) -> Mapping[str, torch.Tensor]: ...


def save_weights(path: str | Path, network: HasWeights, kind: str, settings: Mapping[str, Any]) -> None:
    """Write the weights of a network, and its kind and settings, which `load_description` reads."""
    weights = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    save_arrays(f"{without_suffix(path)}.npz", weights)
    save_description(path, kind, settings)


def build_network(
    path: str | Path,
    settings: Mapping[str, Any],
    build: Callable[[], Network],
    inputs: int | None = None,
    outputs: int | None = None,
) -> Network:
    """What ``build`` makes of the settings in PATH.json, once it is known to be no larger than the weights in PATH.npz.

    ``inputs`` are those of the first layer, where it does not see the whole observation; ``outputs`` those of the last
    one, where it does not give the whole action.

    Raises:
        ValueError: a file is missing or broken, or the settings describe no network of that kind.
    """
    path = without_suffix(path)
    numbers = sum(array.size for array in load_arrays(f"{path}.npz").values())
    check_network(f"{path}.json", settings, numbers, inputs, outputs)
    try:
        return build()
    except Exception as error:  # whatever the file says is an argument
        raise ValueError(f"{path}.json does not describe a policy: {error!r}") from error


def load_weights(path: str | Path, network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights in PATH.npz, for ``network.load_state_dict``, in the precision that they were saved with.

    Raises:
        ValueError: the file is missing or broken, or has not a finite array of the right shape for each of the weights
            (of integers for counters).
    """
    file = f"{without_suffix(path)}.npz"
    wanted = network.state_dict()
    arrays = load_arrays(file, required=tuple(wanted))
    for name, value in wanted.items():
        shape, array = tuple(value.shape), arrays[name]
        kind, word = ("f", "finite numbers") if value.is_floating_point() else ("i", "integers")
        if array.shape != shape or array.dtype.kind != kind or not np.isfinite(array).all():
            raise ValueError(f"{file}: {name} must be {word} of shape {shape}, not {array.dtype} {array.shape}")
    return {name: torch.as_tensor(arrays[name].astype(arrays[name].dtype.newbyteorder("="))) for name in wanted}
