"""Training states as plain arrays: nested dicts, lists, tensors and numbers to one .npz file and back, no pickle."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pliant.policies.files.checkpoints import history_array, history_rows

TREE = "tree"
"""The array that holds the nesting as JSON; the other arrays are its leaves, by number."""


def pack(tree: Any) -> dict[str, np.ndarray]:
    """Named plain arrays, copies, that `unpack` makes the same tree of.

    Args:
        tree: dicts (keys: strings or integers), lists, tuples, tensors, arrays, numbers, strings, None; nested anyhow.

    Raises:
        TypeError: something else is in it.
    """
    leaves: list[np.ndarray] = []

    def outline(node: Any) -> Any:
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, np.generic):
            return node.item()
        if isinstance(node, (np.ndarray, torch.Tensor)):
            tensor = isinstance(node, torch.Tensor)
            leaves.append(np.array(node.detach().cpu().numpy() if tensor else node, copy=True))  # type: ignore[union-attr]
            return {"tensor" if tensor else "array": len(leaves) - 1}
        if isinstance(node, Mapping):
            if not all(isinstance(key, (str, int)) for key in node):
                raise TypeError(f"keys {list(node)} of a state must be strings or integers")
            return {"dict": [[key, outline(value)] for key, value in node.items()]}
        if isinstance(node, (list, tuple)):
            return {"tuple" if isinstance(node, tuple) else "list": [outline(value) for value in node]}
        raise TypeError(f"a state cannot hold a {type(node).__name__}")

    text = json.dumps(outline(tree))
    return {TREE: np.frombuffer(text.encode(), np.uint8)} | {str(k): leaf for k, leaf in enumerate(leaves)}


def unpack(arrays: Mapping[str, np.ndarray]) -> Any:
    """Inverse of `pack`; tensors come back on the CPU.

    Raises:
        ValueError: the arrays were not made by `pack`, or some are missing.
    """

    def build(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        if kind in ("tensor", "array"):
            leaf = np.array(arrays[str(content)])
            return torch.from_numpy(leaf) if kind == "tensor" else leaf
        if kind == "dict":
            return {key: build(value) for key, value in content}
        return {"list": list, "tuple": tuple}[kind](build(value) for value in content)

    try:
        return build(json.loads(np.asarray(arrays[TREE], np.uint8).tobytes()))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is not a training state: {error!r}") from error


def global_random_state() -> dict[str, Any]:
    """The states of the global random generators of Python, NumPy and torch, for `pack`."""
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}


def set_global_random_state(state: Mapping[str, Any]) -> None:
    """Inverse of `global_random_state`."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])


def history_to_tree(history: list[dict[str, float]]) -> dict[str, Any]:
    """Rows with the same keys as one array, for `pack`."""
    columns = list(history[0]) if history else []
    return {"columns": columns, "rows": history_array(history, columns)}


def history_from_tree(tree: Mapping[str, Any]) -> list[dict[str, float]]:
    """Inverse of `history_to_tree`."""
    return history_rows(tree["rows"], tree["columns"])
