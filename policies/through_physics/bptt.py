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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pliant.policies import evaluation
from pliant.policies.files.checkpoints import history_array, history_rows
from pliant.policies.networks.controllers import act_on_arrays
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


@dataclass
class State:
    """Everything that the next iteration depends on; ``to_arrays`` and ``from_arrays`` carry it through a file."""

    weights: np.ndarray  # of the controller, shape (P,)
    first_moment: np.ndarray  # Adam's, shape (P,)
    second_moment: np.ndarray
    before: np.ndarray = field(default_factory=lambda: np.zeros(0))  # the weights before the last update, shape (P,)
    step_factor: float = 1.0  # on the scheduled step size
    failures: int = 0  # iterations in a row that diverged
    updates: int = 0  # since the moments were last emptied
    iteration: int = 0
    simulated_steps: int = 0
    reverse_steps: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named plain arrays, for an .npz file."""
        arrays = {name: np.asarray(value) for name, value in vars(self).items() if name != "history"}
        return arrays | {"history": history_array(self.history, COLUMNS)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> State:
        """Inverse of ``to_arrays``."""
        values: dict[str, Any] = {name: a if a.ndim else a.item() for name, a in arrays.items() if name != "history"}
        return cls(**values, history=history_rows(arrays["history"], COLUMNS))


@dataclass
class Result:
    """What a run gives.

    Attributes:
        controller: with the weights after the last update.
        history: one row per iteration with the keys ``COLUMNS``; "return" and "score" are means over the worlds, of the
            episodes played with the controller as it was before the update.
        simulated_steps, reverse_steps: environment steps of all worlds, forward and gone back through.
        seconds: wall time.
        state: what a later call needs to go on from here.
    """

    controller: torch.nn.Module
    history: list[dict[str, float]]
    simulated_steps: int
    reverse_steps: int
    seconds: float
    state: State


def train(
    env: Any,
    settings: Settings,
    *,
    controller: torch.nn.Module | None = None,
    on_iteration: Callable[[State, dict[str, float]], None] | None = None,
    state: State | None = None,
) -> Result:
    """Train a controller by back-propagation through time.

    Args:
        env: a differentiable vector environment, whose number of worlds is the batch B.
        settings: see ``Settings``.
        controller: from observations (B, O) to actions (B, A); None makes the one that the settings describe. It is
            changed in place.
        on_iteration: called as ``on_iteration(state, row)`` after each iteration; save ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.

    Raises:
        ValueError: a setting is out of range, the state is of another controller, or the task tells no time but the
            controller needs it.
        SimulationDiverged: episodes diverge however short the steps are.
    """
    check_settings(settings)
    bridge = TorchEnv(env)
    if controller is None:
        controller = make_controller(env, settings)
    weights = list(controller.parameters())
    bridge = TorchEnv(env, dtype=weights[0].dtype, device=weights[0].device)
    horizon = min(settings.horizon or bridge.horizon, bridge.horizon)
    adam = torch.optim.Adam(weights, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2))
    setbacks = Setbacks(weights, adam)
    if state is None:
        count = parameters_to_vector(weights).numel()
        state = State(parameters_to_vector(weights).detach().cpu().numpy().copy(), np.zeros(count), np.zeros(count))
    else:
        _restore(state, weights, adam)
        before = torch.as_tensor(state.before if state.before.size else state.weights)
        setbacks.load_state_dict({"before": before, "factor": state.step_factor, "in_a_row": state.failures})

    while _left(settings, state):
        began = time.perf_counter()
        step_size = _step_size(settings, state) * setbacks.factor
        adam.param_groups[0]["lr"] = step_size
        seeds = _seeds(settings, state.iteration, bridge.num_envs)
        norms: list[float] = []
        try:
            value, score = _episode(bridge, controller, settings, seeds, horizon, setbacks, norms)
            state.updates += len(norms)
        except FAILURES as failure:
            setbacks.go_back(failure)
            value, score, norms, state.updates = math.nan, math.nan, [math.nan], 0
        state.iteration += 1
        state.simulated_steps += horizon * bridge.num_envs
        state.reverse_steps += horizon * bridge.num_envs
        state.seconds += time.perf_counter() - began
        _store(state, weights, setbacks)
        row = {
            "iteration": float(state.iteration),
            "simulated_steps": float(state.simulated_steps),
            "reverse_steps": float(state.reverse_steps),
            "seconds": state.seconds,
            "return": value,
            "score": score,
            "gradient_norm": float(np.mean(norms)),
            "step_size": step_size,
        }
        state.history.append(row)
        if on_iteration is not None:
            on_iteration(state, row)

    return Result(controller, state.history, state.simulated_steps, state.reverse_steps, state.seconds, state)


def _episode(
    bridge: TorchEnv,
    controller: torch.nn.Module,
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
        observation, reward, info = bridge.step(controller(observation))
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


def evaluate(
    env: Any, controller: torch.nn.Module, seeds: Sequence[int], horizon: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns and final scores of whole episodes; see `pliant.policies.evaluation.evaluate`."""
    return evaluation.evaluate(env, partial(act_on_arrays, controller), seeds, horizon)


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


def _left(settings: Settings, state: State) -> bool:
    """Whether there is another iteration."""
    in_time = not settings.minutes or state.seconds < 60 * settings.minutes
    return in_time and state.iteration < settings.iterations


def _step_size(settings: Settings, state: State) -> float:
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = state.iteration / max(settings.iterations - 1, 1)
    if settings.minutes:
        progress = min(max(progress, state.seconds / (60 * settings.minutes)), 1.0)
    return settings.learning_rate * half_cosine(progress)


def _store(state: State, weights: list[torch.nn.Parameter], setbacks: Setbacks) -> None:
    """Write weights, Adam's moments and what may be taken back to the state."""
    state.weights = parameters_to_vector(weights).detach().cpu().numpy().copy()
    state.before, state.step_factor, state.failures = setbacks.before.cpu().numpy(), setbacks.factor, setbacks.in_a_row
    for name, key in (("first_moment", "exp_avg"), ("second_moment", "exp_avg_sq")):
        moments = [setbacks.adam.state[w][key] if state.updates else torch.zeros_like(w) for w in weights]
        setattr(state, name, parameters_to_vector(moments).detach().cpu().numpy().copy())


def _restore(state: State, weights: list[torch.nn.Parameter], adam: torch.optim.Adam) -> None:
    """Inverse of ``_store``."""
    if state.weights.shape != (parameters_to_vector(weights).numel(),):
        raise ValueError(
            f"state has {state.weights.size} weights; this controller has {sum(w.numel() for w in weights)}"
        )
    vector_to_parameters(torch.as_tensor(state.weights).to(weights[0]), weights)
    if not state.updates:
        return
    at = 0
    for w in weights:
        part = slice(at, at + w.numel())
        at += w.numel()
        moments = [torch.as_tensor(m[part]).to(w).reshape(w.shape) for m in (state.first_moment, state.second_moment)]
        adam.state[w] = {"step": torch.tensor(float(state.updates)), "exp_avg": moments[0], "exp_avg_sq": moments[1]}
