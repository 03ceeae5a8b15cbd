"""Critics that are fitted to a window of steps: the frame that the actor-critic methods through the physics share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch.nn.utils import clip_grad_norm_

from pliant.policies.networks.gaussian import GaussianPolicy
from pliant.policies.through_physics.learning import td_lambda_returns
from pliant.policies.through_physics.windows import Window

PATIENCE = 5
"""Passes over which critics must stand still to have converged."""


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
    tolerance: float = 0.0,
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
        tolerance: passes end early once their mean loss has converged to this share of itself; 0 takes all of them.

    Returns:
        The loss of the last batch.
    """
    returns = td_lambda_returns(window.rewards, window.next_values, window.ended, settings.discount, settings.td_lambda)
    inputs, wanted = torch.cat(window.seen), torch.cat(returns)
    with torch.no_grad():
        inputs = policy.norm(inputs)
    last, losses = 0.0, []
    for _ in range(settings.critic_epochs):
        total = 0.0
        order = torch.randperm(len(inputs), generator=generator)
        for rows in order.chunk(settings.critic_batches):
            adam.zero_grad()
            loss = (values(inputs[rows]) - wanted[rows]).pow(2).mean(-1).sum()
            loss.backward()
            clip_grad_norm_(critics.parameters(), settings.clip_norm or math.inf)
            adam.step()
            last = float(loss.detach())
            total += last * len(rows)
        losses.append(total / len(inputs))
        if has_converged(losses, tolerance):
            break
    if settings.normalize:
        policy.norm.update(torch.cat(window.seen))  # type: ignore[operator]
    return last


def all_values(critics: torch.nn.ModuleList, observation: torch.Tensor) -> torch.Tensor:
    """Values of K critics, shape (K, N), of N normalised observations, shape (N, O)."""
    return torch.stack([critic(observation)[:, 0] for critic in critics])


def has_converged(losses: Sequence[float], tolerance: float) -> bool:
    """Whether the mean change a pass over the last ``PATIENCE`` losses is less than ``tolerance`` times their mean."""
    recent = losses[-PATIENCE:]
    if len(recent) < PATIENCE:
        return False
    return abs(recent[-1] - recent[0]) / (PATIENCE - 1) < tolerance * sum(recent) / PATIENCE
