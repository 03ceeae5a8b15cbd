"""Critics that are fitted to a window of steps: the frame that the actor-critic methods through the physics share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch.nn.utils import clip_grad_norm_

from pliant.policies.networks.gaussian import GaussianPolicy
from pliant.policies.through_physics.learning import td_lambda_returns


@dataclass
class Window:
    """Steps of all B worlds, one entry a step.

    Attributes:
        seen: observations before the step, shape (B, O).
        rewards: of the step, shape (B,).
        next_values: values of the state after it, shape (B,).
        ended: whether it is the last one of an episode or of the window.
    """

    seen: list[torch.Tensor] = field(default_factory=list)
    rewards: list[torch.Tensor] = field(default_factory=list)
    next_values: list[torch.Tensor] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)


class CriticSettings(Protocol):
    """Settings that say how critics are fitted."""

    discount: float
    td_lambda: float
    clip_norm: float
    critic_epochs: int
    critic_batches: int
    normalize: bool


def fit_critics(
    critics: torch.nn.Module,
    values: Callable[[torch.Tensor], torch.Tensor],
    adam: torch.optim.Optimizer,
    window: Window,
    policy: GaussianPolicy,
    settings: CriticSettings,
    generator: torch.Generator,
) -> float:
    """Fit critics to the TD(lambda) returns of a window, by the mean squared error, summed over the critics.

    Args:
        critics: changed in place.
        values: their values (..., N) of N normalised observations, shape (N, O).
        adam: of their weights.
        window: what they are fitted to.
        policy: whose normalisation the observations go through; it then takes in those of the window.
        settings: of the fit.
        generator: of the order of the data.

    Returns:
        The loss of the last batch.
    """
    returns = td_lambda_returns(window.rewards, window.next_values, window.ended, settings.discount, settings.td_lambda)
    inputs, wanted = torch.cat(window.seen), torch.cat(returns)
    with torch.no_grad():
        inputs = policy.norm(inputs)
    last = 0.0
    for _ in range(settings.critic_epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for rows in order.chunk(settings.critic_batches):
            adam.zero_grad()
            loss = (values(inputs[rows]) - wanted[rows]).pow(2).mean(-1).sum()
            loss.backward()
            clip_grad_norm_(critics.parameters(), settings.clip_norm or math.inf)
            adam.step()
            last = float(loss.detach())
    if settings.normalize:
        policy.norm.update(torch.cat(window.seen))  # type: ignore[operator]
    return last
