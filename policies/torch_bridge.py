"""Environments in torch: one `torch.autograd.Function` an environment step, on top of ``backward_step``.

    vector = {"num_envs": 8, "vectorization_mode": "vector_entry_point"}
    envs = gym.make_vec("pliant/FingerReach-v0", **vector, differentiable=True)
    bridge = TorchEnv(envs)
    observation = bridge.reset(seed=0)  # (B, O), carries grad
    for _ in range(bridge.horizon):
        observation, reward, info = bridge.step(policy(observation))
        loss = loss - reward.mean()
    loss.backward()  # runs back through the policy and the physics, step by step
    observation = bridge.detach()  # cuts: what follows is a new window

Each step hands the next one a token, an empty tensor. Tokens make one chain of the steps, so that torch goes back
through them last first, as the tape wants, and through the reset at the very end. A step takes the cotangents of its
reward and of its observation, which torch has then gathered from the loss and from the policy, and gives that of its
action.

Importing this module imports torch (extra ``rl``); nothing else in this package needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch.autograd.function import once_differentiable

from pliant.envs.base import TaskVectorEnv
from pliant.envs.outcomes import OBSERVATION_LIMIT, Gradient

__all__ = ["TorchEnv", "to_array", "to_tensor", "vector_env"]


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array: the same memory on the CPU (by DLPack), a copy of another device's."""
    return np.from_dlpack(tensor.detach().cpu())


def to_tensor(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """An array as a tensor of the type and on the device of ``like``: the same memory (by DLPack) where it can be."""
    return torch.from_dlpack(np.ascontiguousarray(array)).to(like)


def vector_env(env: Any) -> TaskVectorEnv:
    """A vector environment without its wrappers.

    Raises:
        ValueError: it is something else.
    """
    env = getattr(env, "unwrapped", env)
    if not isinstance(env, TaskVectorEnv):
        raise ValueError(f"env is a {type(env).__name__}; gymnasium.make_vec makes one, num_envs=1 for one world")
    return env


class TorchEnv:
    """A differentiable batch of worlds whose observations and rewards are tensors that carry grad.

    Observations have full precision: they are clipped as in the Gymnasium interface, but not rounded to float32.
    The worlds start and end together.

    Args:
        env: a vector environment made with ``differentiable=True``; the bridge does not close it.
        dtype: of observations and rewards.
        device: of them; the physics runs where the environment says.
        measure_growth: whether backward passes measure how they stretch the cotangent of the state.

    Attributes:
        gradient: after a backward pass that reached the start of the window: the derivatives of the loss with respect
            to its actions, the state that it began with, and all parameters.

        growth: with ``measure_growth``, of the steps gone back in the latest pass, the last step first, shape (B,)
            each; see ``backward_step``.

    Raises:
        ValueError: the environment is no vector environment, records nothing, or resets itself within a step.
    """

    def __init__(
        self,
        env: Any,
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        measure_growth: bool = False,
    ) -> None:
        env = vector_env(env)
        if not env.differentiable:
            raise ValueError("differentiable=False: this environment records nothing; make it with differentiable=True")
        if env.autoreset_mode == AutoresetMode.SAME_STEP:
            raise ValueError("autoreset_mode='SameStep' empties the tape with an episode's last step; take another one")
        self.env = env
        self.gradient: Gradient | None = None
        self.growth: list[np.ndarray] = []
        self._measures_growth = measure_growth
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._window = 0  # its number: a graph of an earlier window must not touch the tape
        self._steps: int | None = None  # taken in this window; None before the first reset
        self._taken = 0  # in this episode
        self._left: int | None = None  # steps that the pass under way has still to go back
        self._pass = -1  # which pass that is
        self._token = self._like

    @property
    def num_envs(self) -> int:
        """Number of worlds B."""
        return self.env.num_envs

    @property
    def horizon(self) -> int:
        """Environment steps after which an episode is over."""
        return self.env.horizon

    @property
    def observation_size(self) -> int:
        """Numbers in an observation, O."""
        return int(self.env.single_observation_space.shape[0])  # type: ignore[index]

    @property
    def action_size(self) -> int:
        """Numbers in an action, A."""
        return int(self.env.single_action_space.shape[0])  # type: ignore[index]

    def reset(
        self,
        seed: int | Sequence[int] | None = None,
        *,
        parameters: Mapping[str, torch.Tensor] | None = None,
        state: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Start an episode in each world and return its observations, shape (B, O).

        Args:
            seed: s means s + i for world i; or one each.
            parameters: physical or design parameters by name, which broadcast to shape (B, ...); they stay until they
                are set again. Tensors that carry grad get it.
            state: state arrays of the start by name, likewise.
        """
        parameters, state, env = dict(parameters or {}), dict(state or {}), self.env
        for name, value in parameters.items():
            env.set_parameter(name, to_array(value))
        env.reset(seed=seed, options={"state": {name: to_array(value) for name, value in state.items()}})  # type: ignore[arg-type]
        self._taken = 0
        whole = {("parameters", name): value.expand(env.parameter(name).shape) for name, value in parameters.items()}
        whole |= {("initial_state", name): value.expand(env.state(name).shape) for name, value in state.items()}
        return self._begin(whole)

    def step(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        """One step of each world.

        Args:
            action: shape (B, A), clipped to [-1, 1]; where it is clipped its gradient is zero.

        Returns:
            Observations (B, O), rewards (B,), and the environment's ``info`` (arrays) with the entry "truncated":
            whether the episode is over.
        """
        if self._steps is None or self._taken >= self.horizon:
            raise RuntimeError("the episode is over or has not begun: call reset() before step()")
        observation, reward, self._token, info = _Step.apply(self, action, self._token)
        return observation, reward, info

    def detach(self) -> torch.Tensor:
        """Cut the graph: forget what is recorded and go on from the current state, in a new window.

        Returns:
            The observation of the current state, shape (B, O), without the past; what comes before it gets no gradient
            any more. For windows of back-propagation that are shorter than an episode.
        """
        if self._steps is None:
            raise RuntimeError("call reset() first")
        self.env.begin_window()
        return self._begin({})

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> torch.Tensor:
        """Go on from a ``snapshot()`` of the environment, in a new window; return the observations, shape (B, O)."""
        self.env.restore(snapshot)
        self._taken = int(np.max(snapshot["elapsed"]))
        return self._begin({})

    def _begin(self, given: dict[tuple[str, str], torch.Tensor]) -> torch.Tensor:
        """A new window; ``given`` are tensors that it depends on, by the field of `Gradient` and the name in it."""
        self._window += 1
        self._steps, self._left, self.gradient = 0, None, None
        leaf = torch.empty_like(self._like, requires_grad=True)  # makes torch record all steps, whoever asks for what
        observation, self._token = _Start.apply(self, list(given), leaf, *given.values())
        return observation

    def _observed(self) -> torch.Tensor:
        observation = np.clip(self.env.outcome.observation, -OBSERVATION_LIMIT, OBSERVATION_LIMIT)
        return to_tensor(observation, self._like)

    def _forward(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        assert self._steps is not None
        self._stop()
        _, reward, _, truncated, info = self.env.step(to_array(action))
        self._steps += 1
        self._taken += 1
        return self._observed(), to_tensor(reward, self._like), info | {"truncated": bool(truncated.all())}

    def _go_back(self, window: int, step: int, reward_bar: torch.Tensor, observation_bar: torch.Tensor) -> np.ndarray:
        """Cotangent of the action of a step, shape (B, A); later steps that the loss does not need are gone through."""
        self._check_window(window)
        assert self._steps is not None
        current = torch._C._current_graph_task_id()  # tells passes apart, as torch.utils.checkpoint does
        if self._left is None or current != self._pass:
            self._stop()
            self._left, self._pass, self.growth = self._steps, current, []
        growth = self.growth if self._measures_growth else None
        while self._left > step + 1:
            self.env.backward_step(0.0, growth=growth)
            self._left -= 1
        self._left = step
        return self.env.backward_step(to_array(reward_bar), to_array(observation_bar), growth=growth)

    def _stop(self) -> None:
        """Leave a pass that did not reach the start of the window, as one of torch.autograd.grad may not."""
        if self._left is not None:
            self.env.backward_stop()
            self._left = None

    def _arrive(self, window: int, observation_bar: torch.Tensor) -> Gradient | None:
        """The gradient at the start of the window; None where the loss needs no step, only the first observation."""
        self._check_window(window)
        if self._left != 0 or torch._C._current_graph_task_id() != self._pass:
            return None
        self.gradient = self.env.backward_end(to_array(observation_bar))
        self._left = None
        return self.gradient

    def _check_window(self, window: int) -> None:
        if window != self._window:
            raise RuntimeError("this graph's window is over: go back before reset() or detach() begins another one")


class _Start(torch.autograd.Function):
    """(leaf, given tensors) -> (first observation, token)."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, bridge: TorchEnv, sources: list[tuple[str, str]], leaf: torch.Tensor, *given: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.bridge, ctx.window = bridge, bridge._window
        ctx.sources, ctx.given = sources, [value.detach() for value in given]
        return bridge._observed(), torch.empty_like(leaf)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, observation_bar: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        gradient = ctx.bridge._arrive(ctx.window, observation_bar)
        if gradient is None:
            if ctx.given:
                raise RuntimeError("the loss needs no step: there is no gradient of parameters or of the state")
            return None, None, None
        bars = [
            to_tensor(getattr(gradient, kind)[name], value)
            for (kind, name), value in zip(ctx.sources, ctx.given, strict=True)
        ]
        return None, None, None, *bars


class _Step(torch.autograd.Function):
    """(action, token) -> (observation, reward, token)."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, bridge: TorchEnv, action: torch.Tensor, token: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        observation, reward, info = bridge._forward(action)
        ctx.bridge, ctx.window, ctx.step = bridge, bridge._window, cast(int, bridge._steps) - 1
        ctx.like = action.detach()
        return observation, reward, torch.empty_like(token), info

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, observation_bar: torch.Tensor, reward_bar: torch.Tensor, _: torch.Tensor, __: None
    ) -> tuple[None, torch.Tensor, None]:
        action_bar = ctx.bridge._go_back(ctx.window, ctx.step, reward_bar, observation_bar)
        return None, to_tensor(action_bar, ctx.like), None
