"""The weights of networks in files without pickle: PATH.npz, and beside it PATH.json, what they are the weights of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pliant.policies.checkpoints import load_arrays, save_arrays, save_description, without_suffix


def save_weights(path: str | Path, network: nn.Module, kind: str, settings: Mapping[str, Any]) -> None:
    """Write the weights of a network, and its kind and settings, which `load_description` reads."""
    weights = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    save_arrays(f"{without_suffix(path)}.npz", weights)
    save_description(path, kind, settings)


def load_weights(path: str | Path, network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights in PATH.npz, for ``network.load_state_dict``, in the precision that they were saved with.

    Raises:
        ValueError: the file is missing or broken, or has not a finite array of the right shape for each of the weights.
    """
    file = f"{without_suffix(path)}.npz"
    wanted = network.state_dict()
    arrays = load_arrays(file, required=tuple(wanted))
    for name, value in wanted.items():
        shape, array = tuple(value.shape), arrays[name]
        if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{file}: {name} must be finite numbers of shape {shape}, not {array.dtype} {array.shape}")
    return {name: torch.as_tensor(arrays[name]) for name in wanted}
