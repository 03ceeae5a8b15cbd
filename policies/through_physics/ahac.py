"""AHAC, the adaptive horizon actor-critic (Georgiev et al. 2024, arXiv 2405.17784): SHAC whose windows avoid stiffness.

The worlds are played in windows of h steps, the same h for all of them. The policy maximises what SHAC's does, under a
constraint on the stiffness s_t of each step of the window, by way of the Lagrangian

    1/(B h) sum over worlds of  sum_{t < h} gamma^t r_t + gamma^h min_k V_k(s_h)  -  sum_t phi_t v(s_t)

    v(s) = max(log(s / C), -1),   which is positive where the step is stiffer than the limit C.

After each window the multipliers climb, phi_t <- phi_t + rate mean v(s_t) within [0, 1]. The window grows by a part of
a step while no multiplier is positive, and their sum shrinks it:

    h <- h + window_rate (1 - sum_t phi_t)   within [shortest_window, longest_window].

Two critics and no target networks: the smaller value ends the policy's window and makes the critics' targets, and they
are fitted to TD(lambda) returns of the window until their loss stands still.

**Stiffness.** The paper bounds the norm of the Jacobian of the dynamics, and in rigid bodies it takes the stiffness of
contacts for it. Reverse sweeps of these environments form no Jacobian, and soft bodies are in contact nearly always.
What a sweep does give is the growth of the state's cotangent x_bar through a step, s_t = |J_t^T x_bar| / |x_bar|. This
is at most the norm of J_t, in the one direction that matters to the policy's gradient: the product of the s_t is what
makes it explode. Unlike contact forces, it sees every source of stiffness. Arrays of the state stand side by side in SI
units. At the last step of a sum x_bar is that of the reward and the value alone, and its growth says more of the units
of what they look at than of the physics: this step has no constraint.

**Gradient of the constraint.** s_t comes from a reverse sweep, and there is no second one through it. The gradient of
the constraint's term is estimated by likelihood ratios of the actions (zeroth order), with the mean over the other
worlds as baseline; that x_bar depends on the weights, too, is left out.

**Choices of this module.** Of the paper its summary and accounts of its algorithm were at hand, not its text. The
constraint there is on the plain difference s_t - C; the logarithm bounds what one extreme step does. The bounds of phi
keep a long time on one side of the limit from lasting, and since phi is never negative, the 1 in the rule of h is what
lets windows grow. Episodes that end within a window are dealt with as in `pliant.policies.through_physics.shac`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from pliant.policies.methods import OnIteration, Result
from pliant.policies.networks.gaussian import GaussianPolicy, value_network
from pliant.policies.settings import check_ranges
from pliant.policies.through_physics.critics import all_values, fit_critics
from pliant.policies.through_physics.episodes import Episodes
from pliant.policies.through_physics.learning import Run, used_share
from pliant.policies.through_physics.setbacks import FAILURES, Setbacks, clipped_norm
from pliant.policies.through_physics.windows import ActorCriticSettings, Window, check_actor_critic, play_window
from pliant.policies.torch_bridge import TorchEnv


@dataclass
class Settings(ActorCriticSettings):
    """Settings of a training run."""

    window: int = 16
    """Steps h that a gradient runs through, at the start."""
    shortest_window: int = 4
    """Least steps h, at least 2."""
    longest_window: int = 64
    """Most steps h."""
    stiffness_limit: float = 2.0
    """Limit C of a step's stiffness: its factor on the norm of the state's cotangent."""
    multiplier_rate: float = 0.1
    """Step size of the multipliers, an iteration."""
    window_rate: float = 0.25
    """Steps by which h grows in an iteration while no multiplier is positive."""
    constraint_weight: float = 1.0
    """Weight of the constraint's term in the policy's objective; 0 leaves stiffness to the window's length alone."""
    critic_epochs: int = 32
    """Most passes of the critics over a window's data."""
    critic_tolerance: float = 0.02
    """Passes end once the critics' loss changes by less than this share of itself a pass; 0 takes all of them."""


class AdaptiveWindow:
    """The window's length and the multipliers of its steps.

    Args:
        settings: where they begin, their limits and step sizes.

    Attributes:
        length: h, not rounded.
        multipliers: phi of all steps that the longest window has, shape (longest_window,); those beyond the window
            wait. The last step of a window has no constraint.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.length = float(settings.window)
        self.multipliers = np.zeros(settings.longest_window)

    @property
    def steps(self) -> int:
        """Steps h of the next window."""
        return round(self.length)

    @property
    def active(self) -> np.ndarray:
        """The multipliers of the window's steps, with that of the last one 0, shape (h,)."""
        return np.append(self.multipliers[: self.steps - 1], 0.0)

    def update(self, violations: np.ndarray) -> None:
        """Climb with the multipliers, then move the length; ``violations`` are of the window just played, (h, B)."""
        settings, constrained = self.settings, self.multipliers[: len(violations) - 1]
        constrained += settings.multiplier_rate * violations[:-1].mean(1)
        np.clip(constrained, 0.0, 1.0, out=constrained)
        length = self.length + settings.window_rate * (1.0 - float(constrained.sum()))
        self.length = min(max(length, settings.shortest_window), settings.longest_window)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return {"length": self.length, "multipliers": self.multipliers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`.

        Raises:
            ValueError: it is of another longest window.
        """
        if state["multipliers"].shape != self.multipliers.shape:
            raise ValueError(
                f"the state has longest_window={len(state['multipliers'])}, these settings {len(self.multipliers)}"
            )
        self.length, self.multipliers = float(state["length"]), np.array(state["multipliers"])


def constraint_violations(window: Window, limit: float) -> np.ndarray:
    """v(s_t) = max(log(s_t / limit), -1) of a window's steps, shape (h, B); 0 where a sum ends."""
    growth = np.maximum(np.stack(window.growth), limit * math.exp(-1.0))
    return np.where(np.array(window.ended)[:, None], 0.0, np.log(growth / limit))


def add_constraint_gradient(
    policy: GaussianPolicy, window: Window, violations: np.ndarray, multipliers: np.ndarray, weight: float
) -> None:
    """Add to the policy's gradient that of ``weight / (B h) sum phi_t v_t``, estimated by likelihood ratios.

    Args:
        policy: that played the window.
        window: of h steps in B worlds.
        violations: v_t, shape (h, B).
        multipliers: phi_t, shape (h,).
        weight: of the term.
    """
    costs = multipliers[:, None] * violations
    if weight == 0 or not costs.any():
        return
    to_go = np.zeros_like(costs)
    rest = np.zeros(costs.shape[1])
    for t in reversed(range(len(costs))):  # an action changes no episode but its own
        rest = costs[t] if window.ended[t] else costs[t] + rest
        to_go[t] = rest
    others = (to_go.sum(1, keepdims=True) - to_go) / max(costs.shape[1] - 1, 1)
    log_densities = policy.log_density(torch.stack(window.seen), torch.stack(window.actions))
    advantages = torch.from_numpy(to_go - others).to(log_densities)
    (weight * (advantages * log_densities).sum() / costs.size).backward()


def train(
    env: Any,
    settings: Settings,
    *,
    on_iteration: OnIteration | None = None,
    state: dict[str, Any] | None = None,
) -> Result:
    """Train a policy by AHAC.

    Args:
        env: a differentiable vector environment, whose number of worlds is the batch B.
        settings: see ``Settings``.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each window; ``snapshot()`` is a state.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.

    Raises:
        ValueError: a setting is out of range, or the state is of another run.
        SimulationDiverged: episodes diverge however short the steps are.
    """
    check_settings(settings)
    bridge = TorchEnv(env, measure_growth=True)
    sizes = bridge.observation_size, bridge.action_size
    hidden = [settings.hidden] * settings.layers
    policy = GaussianPolicy(
        *sizes,
        hidden=hidden,
        activation=settings.activation,
        log_std=settings.log_std,
        normalize=settings.normalize,
        seed=settings.seed,
    )
    critics = torch.nn.ModuleList(
        value_network(sizes[0], hidden, settings.activation, settings.seed + 1 + k) for k in range(2)
    )
    betas = settings.beta1, settings.beta2
    policy_adam = torch.optim.Adam(policy.parameters(), lr=settings.policy_learning_rate, betas=betas)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=settings.critic_learning_rate, betas=betas)
    setbacks = Setbacks(policy.parameters(), policy_adam)
    generator = torch.Generator().manual_seed(settings.seed)
    adaptive = AdaptiveWindow(settings)
    parts: dict[str, Any] = {
        "policy": policy,
        "critics": critics,
        "policy_adam": policy_adam,
        "critic_adam": critic_adam,
        "setbacks": setbacks,
        "adaptive": adaptive,
    }
    episodes = Episodes(bridge, settings.seed, settings.horizon)
    run = Run(parts, generator, episodes)
    run.begin(state)
    values = partial(all_values, critics)

    def least(observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = values(observation).min(0).values
        return value, value

    while (progress := used_share(settings, run.simulated_steps, run.seconds)) < 1.0:
        began = time.perf_counter()
        rate = 1.0 if settings.schedule == "constant" else 1.0 - 0.99 * progress
        step_size = rate * settings.policy_learning_rate * setbacks.factor
        policy_adam.param_groups[0]["lr"] = step_size
        critic_adam.param_groups[0]["lr"] = rate * settings.critic_learning_rate
        steps, multipliers = adaptive.steps, adaptive.active

        # the policy: one window through the physics and the smaller value, and the constraint
        policy_adam.zero_grad()
        critics.requires_grad_(False)
        try:
            window = play_window(bridge, policy, episodes, settings, generator, least, steps)
            violations = constraint_violations(window, settings.stiffness_limit)
            add_constraint_gradient(policy, window, violations, multipliers, settings.constraint_weight)
            norm = clipped_norm(policy.parameters(), settings.clip_norm)
        except FAILURES as failure:
            setbacks.go_back(failure)
            episodes.begin()
            window, norm, critic_loss, reward, stiffness = None, math.nan, math.nan, math.nan, math.nan
        if window is not None:
            setbacks.update()
            adaptive.update(violations)
            critics.requires_grad_(True)
            critic_loss = fit_critics(
                critics, values, critic_adam, window, policy, settings, generator, settings.critic_tolerance
            )
            reward = float(torch.stack(window.rewards).mean())
            stiffness = float(np.stack(window.growth)[~np.array(window.ended)].max(initial=0.0))

        columns = {
            "return": float(episodes.finished_return.mean()),
            "score": float(episodes.finished_score.mean()),
            "reward": reward,
            "gradient_norm": norm,
            "critic_loss": critic_loss,
            "std": float(policy.log_std.detach().exp().mean()),
            "step_size": step_size,
            "window": float(steps),
            "multipliers": float(multipliers.sum()),
            "stiffness": stiffness,
        }
        row = run.add(steps * bridge.num_envs, time.perf_counter() - began, columns)
        if on_iteration is not None:
            on_iteration(run.snapshot, policy, row)

    total = run.simulated_steps
    return Result(policy, run.history, total, run.seconds, run.snapshot(), reverse_steps=total)


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_ranges(settings, shortest_window=(2, math.inf))
    check_ranges(settings, longest_window=(settings.shortest_window, math.inf))
    check_actor_critic(
        settings,
        window=(settings.shortest_window, settings.longest_window),
        stiffness_limit=(1e-12, math.inf),
        multiplier_rate=(0, math.inf),
        window_rate=(0, math.inf),
        constraint_weight=(0, math.inf),
        critic_tolerance=(0, math.inf),
    )
