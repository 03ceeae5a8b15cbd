"""Episodes one after another in all worlds of a torch bridge, cut into windows, resumable in the middle of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pliant.policies.torch_bridge import TorchEnv, to_array


class Episodes:
    """Plays episodes; those with number i have the seeds ``seed + i B`` ... ``seed + i B + B - 1``.

    Args:
        bridge: B worlds.
        seed: of the first world's first episode.
        horizon: steps of an episode; 0 takes the environment's.

    Attributes:
        observation: what the next action depends on, shape (B, O).
        count: episodes begun.
        finished_return, finished_score: of the episodes that ended last, shape (B,); nan before any has.
    """

    def __init__(self, bridge: TorchEnv, seed: int, horizon: int = 0) -> None:
        self.bridge, self.seed = bridge, seed
        self.horizon = min(horizon or bridge.horizon, bridge.horizon)
        self.count = 0
        self.finished_return = np.full(bridge.num_envs, np.nan)
        self.finished_score = np.full(bridge.num_envs, np.nan)

    @property
    def over(self) -> bool:
        """Whether the episode has come to its end: `begin` starts the next one."""
        return self._taken >= self.horizon

    def begin(self) -> torch.Tensor:
        """Start the next episode in every world, and a window."""
        first = self.seed + self.count * self.bridge.num_envs
        self.observation = self.bridge.reset(list(range(first, first + self.bridge.num_envs)))
        self.count += 1
        self._taken = 0
        self._return = np.zeros(self.bridge.num_envs)
        return self.observation

    def step(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of each world: the observations (B, O) and the rewards (B,), both carry grad."""
        self.observation, reward, info = self.bridge.step(action)
        self._taken += 1
        self._return += to_array(reward)
        if self.over:
            self.finished_return, self.finished_score = self._return, np.asarray(info["score"], np.float64)
        return self.observation, reward

    def cut(self) -> torch.Tensor:
        """Begin a window at the current state, within the episode or, where it is over, with the next one."""
        self.observation = self.begin() if self.over else self.bridge.detach()
        return self.observation

    def to_tree(self) -> dict[str, Any]:
        """Where the episodes stand. Call it after `cut`."""
        return {
            "count": self.count,
            "taken": self._taken,
            "return": self._return,
            "snapshot": self.bridge.env.snapshot(),
            "finished_return": self.finished_return,
            "finished_score": self.finished_score,
        }

    def restore(self, tree: dict[str, Any]) -> None:
        """Come to where another one stood; the steps that follow are the same to the last bit.

        Raises:
            ValueError: it stood in another environment or in another number of worlds.
        """
        if len(tree["return"]) != self.bridge.num_envs:
            raise ValueError(f"the state is of {len(tree['return'])} worlds; there are {self.bridge.num_envs}")
        self.observation = self.bridge.restore(tree["snapshot"])
        self.count, self._taken, self._return = tree["count"], tree["taken"], tree["return"].copy()
        self.finished_return, self.finished_score = tree["finished_return"], tree["finished_score"]
