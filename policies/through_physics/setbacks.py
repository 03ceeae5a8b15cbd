"""What a training does where an episode or its gradient diverges: one update is taken back, the run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_, parameters_to_vector, vector_to_parameters

from pliant.sims.failures import SimulationDiverged

FAILURES = (SimulationDiverged, FloatingPointError)
"""What episodes and their gradients fail with."""
MOST = 10
"""Failures in a row that end a training: it is not the last update that leads astray."""
SHORTENING = 0.5
"""Factor on the step size with each of them."""
RECOVERY = 1.2
"""Factor on a shortened step size with each update after that."""


class Setbacks:
    """Takes back the last update of a policy, and shortens its steps for a while.

    Args:
        weights: of the policy.
        adam: their optimiser.

    Attributes:
        factor: on the step size.
    """

    def __init__(self, weights: Iterable[torch.nn.Parameter], adam: torch.optim.Optimizer) -> None:
        self.weights, self.adam = list(weights), adam
        self.factor, self.in_a_row = 1.0, 0
        self._keep()

    def _keep(self) -> None:
        self.before = parameters_to_vector(self.weights).detach().clone()

    def update(self) -> None:
        """One step of the optimiser, which may be taken back."""
        self._keep()
        self.adam.step()
        self.factor, self.in_a_row = min(1.0, RECOVERY * self.factor), 0

    def go_back(self, failure: Exception) -> None:
        """To the weights before the last update, with empty moments.

        Raises:
            SimulationDiverged: the ``failure``, or whatever it is, where many in a row have not helped.
        """
        self.in_a_row += 1
        if self.in_a_row > MOST:
            raise failure
        vector_to_parameters(self.before.clone(), self.weights)
        self.adam.state.clear()
        self.factor *= SHORTENING

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return {"before": self.before, "factor": self.factor, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`.

        Raises:
            ValueError: it is of another policy.
        """
        if state["before"].shape != self.before.shape:
            raise ValueError(f"the state has {len(state['before'])} weights; this policy has {len(self.before)}")
        self.before, self.factor = state["before"].to(self.before), float(state["factor"])
        self.in_a_row = int(state["in_a_row"])


def clipped_norm(weights: Iterable[torch.nn.Parameter], limit: float) -> float:
    """Norm of the gradient, which is shortened to ``limit`` (0: left as it is).

    Raises:
        FloatingPointError: it is not finite.
    """
    norm = float(clip_grad_norm_(weights, limit or math.inf))
    if not math.isfinite(norm):
        raise FloatingPointError("the gradient of the policy is not finite")
    return norm
