"""Back-propagation through time: a controller learns by gradients that run through the physics.

Each iteration plays one episode in all worlds and follows the gradient of the mean return with respect to the
controller's weights. It goes through every step: through the reward, through the physics from state to state, and
through the observations that the controller has acted on. With ``window`` it goes through so many steps only, and the
controller is updated after each window.

``simulated_steps`` counts forward environment steps of all worlds, ``reverse_steps`` those gone back through.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pliant.policies.files.checkpoints import history_array, history_rows
from pliant.policies.methods import OnIteration, Result
from pliant.policies.settings import check_ranges, half_cosine
from pliant.policies.through_physics.learning import make_controller
from pliant.policies.through_physics.setbacks import FAILURES, Setbacks, clipped_norm
from pliant.policies.torch_bridge import TorchEnv

COLUMNS = ("iteration", "simulated_steps", "reverse_steps", "seconds", "return", "score", "gradient_norm", "step_size")


@dataclass
class Settings:
    """Settings of a training run; zero means "off" or "chosen from the environment" where a field says so."""

    iterations: int = 100
    """Iterations: an episode in each world, and one update of the controller a window."""
    minutes: float = 0.0
    """Budget of training time; 0 is none. Where it is the tighter one, the step size falls by the clock."""
    seed: int = 0
    """Seed of the controller's first weights and of the episodes: iteration i takes the seeds seed + i B ... on."""
    episodes: int = 0
    """Different episodes that are played, again and again; 0 takes new ones in every iteration."""
    horizon: int = 0
    """Steps of an episode; 0 takes the environment's."""
    window: int = 0
    """Steps that a gradient runs through; 0 takes the whole episode. Short windows do not see late effects, but where a
    closed loop swings, gradients of long ones are so large and different that little is learned from them."""
    discount: float = 1.0
    """Discount factor per step of the return that is optimised (the history reports the plain sum)."""
    learning_rate: float = 5e-3
    """Step size of Adam."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the step size falls: not at all, or along half a cosine to 1 %."""
    beta1: float = 0.9
    """Decay of Adam's mean of gradients."""
    beta2: float = 0.95
    """Decay of Adam's mean of squared gradients."""
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it before Adam sees them; 0 does not clip."""
    controller: Literal["mlp", "sin_sin"] = "mlp"
    """A multilayer perceptron, or a network of sines that also sees sinusoids of the clock: for tasks with a rhythm."""
    hidden: int = 64
    """Width of the controller's hidden layers."""
    layers: int = 2
    """Number of its hidden layers."""
    activation: Literal["tanh", "elu", "silu"] = "elu"
    """Activation of the perceptron."""
    waves: int = 4
    """Sinusoids of the clock that the network of sines sees, spread evenly over a period."""
    cycles: float = 4.0
    """Their periods in an episode."""


def train(
    env: Any,
    settings: Settings,
    *,
    policy: torch.nn.Module | None = None,
    on_iteration: OnIteration | None = None,
    state: dict[str, Any] | None = None,
) -> Result:
    """Train a controller by back-propagation through time.

    Args:
        env: a differentiable vector environment, whose number of worlds is the batch B.
        settings: see ``Settings``.
        policy: a module from observations (B, O) to actions (B, A); None makes the controller that the settings
            describe. It is changed in place.
        on_iteration: called as ``on_iteration(snapshot, policy, row)`` after each iteration; ``snapshot()`` is a state.
            Rows have the keys ``COLUMNS``; "return" and "score" are means over the worlds, of the episodes played with
            the controller as it was before the update.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.

    Raises:
        ValueError: a setting is out of range, the state is of another controller, or the task tells no time but the
            controller needs it.
        SimulationDiverged: episodes diverge however short the steps are.
    """
    check_settings(settings)
    if policy is None:
        policy = make_controller(env, settings)
    weights = list(policy.parameters())
    bridge = TorchEnv(env, dtype=weights[0].dtype, device=weights[0].device)
    horizon = min(settings.horizon or bridge.horizon, bridge.horizon)
    adam = torch.optim.Adam(weights, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))
    setbacks = Setbacks(weights, adam)
    simulated_steps, seconds = 0, 0.0
    history: list[dict[str, float]] = []
    if state is not None:
        try:
            _restore(state, setbacks)
        except KeyError as error:
            raise ValueError(f"the state does not fit this environment and these settings: {error}") from error
        simulated_steps, seconds = int(state["simulated_steps"]), float(state["seconds"])
        history = history_rows(state["history"], COLUMNS)

    def snapshot() -> dict[str, Any]:
        counts = {"iteration": len(history), "simulated_steps": simulated_steps, "reverse_steps": simulated_steps}
        return {
            **_stored(setbacks),
            **{name: np.asarray(count) for name, count in counts.items()},
            "seconds": np.asarray(seconds),
            "history": history_array(history, COLUMNS),
        }

    while len(history) < settings.iterations and not (settings.minutes and seconds >= 60 * settings.minutes):
        began = time.perf_counter()
        step_size = _step_size(settings, len(history), seconds) * setbacks.factor
        adam.param_groups[0]["lr"] = step_size
        seeds = _seeds(settings, len(history), bridge.num_envs)
        norms: list[float] = []
        try:
            value, score = _episode(bridge, policy, settings, seeds, horizon, setbacks, norms)
        except FAILURES as failure:
            setbacks.go_back(failure)
            value, score, norms = math.nan, math.nan, [math.nan]
        simulated_steps += horizon * bridge.num_envs
        seconds += time.perf_counter() - began
        row = {
            "iteration": float(len(history) + 1),
            "simulated_steps": float(simulated_steps),
            "reverse_steps": float(simulated_steps),
            "seconds": seconds,
            "return": value,
            "score": score,
            "gradient_norm": float(np.mean(norms)),
            "step_size": step_size,
        }
        history.append(row)
        if on_iteration is not None:
            on_iteration(snapshot, policy, row)

    return Result(policy, history, simulated_steps, seconds, snapshot(), reverse_steps=simulated_steps)


def _episode(
    bridge: TorchEnv,
    policy: torch.nn.Module,
    settings: Settings,
    seeds: list[int],
    horizon: int,
    setbacks: Setbacks,
    norms: list[float],
) -> tuple[float, float]:
    """One episode in all worlds, with an update after each window; ``norms`` gets those of the gradients.

    Returns:
        The mean return and the mean score.
    """
    observation = bridge.reset(seeds)
    total = torch.zeros(bridge.num_envs)
    value: Any = 0.0  # of the window so far
    for t in range(horizon):
        observation, reward, info = bridge.step(policy(observation))
        value = value + settings.discount**t * reward.mean()
        total += reward.detach().cpu()
        if t + 1 == horizon or (settings.window and (t + 1) % settings.window == 0):
            setbacks.adam.zero_grad()
            (-value).backward()
            norms.append(clipped_norm(setbacks.weights, settings.clip_norm))
            setbacks.update()
            if t + 1 < horizon:
                observation, value = bridge.detach(), 0.0
    return float(total.mean()), float(np.mean(info["score"]))


def check_settings(settings: Settings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_ranges(
        settings,
        iterations=(1, math.inf),
        minutes=(0, math.inf),
        seed=(0, math.inf),
        episodes=(0, math.inf),
        horizon=(0, math.inf),
        window=(0, math.inf),
        discount=(1e-12, 1),
        learning_rate=(1e-12, math.inf),
        beta1=(0, 0.9999999),
        beta2=(0, 0.9999999),
        clip_norm=(0, math.inf),
        hidden=(1, math.inf),
        layers=(0, math.inf),
        waves=(1, math.inf),
        cycles=(1e-12, math.inf),
    )


def _seeds(settings: Settings, iteration: int, batch: int) -> list[int]:
    """Seeds of the worlds in an iteration."""
    numbers = np.arange(iteration * batch, (iteration + 1) * batch)
    return (settings.seed + (numbers % settings.episodes if settings.episodes else numbers)).tolist()


def _step_size(settings: Settings, iteration: int, seconds: float) -> float:
    """Step size of an iteration, before setbacks shorten it."""
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = iteration / max(settings.iterations - 1, 1)
    if settings.minutes:
        progress = min(max(progress, seconds / (60 * settings.minutes)), 1.0)
    return settings.learning_rate * half_cosine(progress)


def _stored(setbacks: Setbacks) -> dict[str, np.ndarray]:
    """Weights, Adam's moments, shape (P,) each, and what may be taken back, as copies."""
    weights, moments = setbacks.weights, setbacks.adam.state

    def flat(parts: list[torch.Tensor]) -> np.ndarray:
        return parameters_to_vector(parts).detach().cpu().numpy().copy()

    return {
        "weights": flat(list(weights)),
        "first_moment": flat([moments[w]["exp_avg"] if moments else torch.zeros_like(w) for w in weights]),
        "second_moment": flat([moments[w]["exp_avg_sq"] if moments else torch.zeros_like(w) for w in weights]),
        "before": setbacks.before.cpu().numpy().copy(),
        "step_factor": np.asarray(setbacks.factor),
        "failures": np.asarray(setbacks.in_a_row),
        "updates": np.asarray(int(moments[weights[0]]["step"]) if moments else 0),
    }


def _restore(state: Mapping[str, Any], setbacks: Setbacks) -> None:
    """Inverse of ``_stored``."""
    weights, adam = setbacks.weights, setbacks.adam
    if state["weights"].shape != (parameters_to_vector(weights).numel(),):
        raise ValueError(
            f"state has {state['weights'].size} weights; this controller has {sum(w.numel() for w in weights)}"
        )
    vector_to_parameters(torch.as_tensor(state["weights"]).to(weights[0]), weights)
    before, factor, failures = torch.as_tensor(state["before"]), state["step_factor"], state["failures"]
    setbacks.load_state_dict({"before": before, "factor": factor, "in_a_row": failures})
    updates = float(state["updates"])  # since the moments were last emptied
    if not updates:
        return
    at = 0
    for w in weights:
        part = slice(at, at + w.numel())
        at += w.numel()
        moments = [
            torch.as_tensor(state[name][part]).to(w).reshape(w.shape) for name in ("first_moment", "second_moment")
        ]
        adam.state[w] = {"step": torch.tensor(updates), "exp_avg": moments[0], "exp_avg_sq": moments[1]}
