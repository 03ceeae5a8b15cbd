"""Gymnasium faces of a task: `TaskEnv` for one world, `TaskVectorEnv` for a batch. The module that knows Gymnasium.

Both are plain Gymnasium environments and, made with ``differentiable=True``, give gradients of what they have done
since the last reset. Arrays of the vector environment have a leading axis, the world; otherwise the two are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from pliant.envs.checks import check_actions
from pliant.envs.differentiable import DifferentiableFace
from pliant.envs.rollout import OBSERVATION_LIMIT, Gradient, Outcome, Rollout
from pliant.envs.snapshots import put
from pliant.envs.task import Task
from pliant.sims.robot.kinematics_urdf import AnyArm

__all__ = ["Gradient", "TaskEnv", "TaskVectorEnv"]


class TaskEnv(DifferentiableFace, gym.Env):
    """One world of a task as a Gymnasium environment, with gradients.

    Args:
        task: the task class, or where it is, "module:Class".
        render_mode: None or "rgb_array".
        max_episode_steps: truncate episodes earlier than the task does.
        differentiable: record steps, so that `backward` and its kin work.
        device: "auto", "cpu", "cuda" ("vulkan" and "metal" are passed on).
        precision: "f32" or "f64".
        resolution: "small" or "full".
        soft_contact: smooth contact of manipulators; for gradients and reinforcement learning alike.
        memory: what checkpoints of the reverse sweep may use, for example "2GiB".
        parameters: physical or design parameters to override, by name.
        arm: "none", or the robot arm that holds each end effector: "panda", "iiwa", the path of a URDF file, or a
            `pliant.sims.robot.kinematics_urdf.Model`. Actions are then the joints' velocities, an action of 1 a tenth
            of the limit, and the joint angles end the observation.
        config: the task's own numbers, the fields of its ``Config``.

    Raises:
        ValueError: a keyword is unknown or out of range.
    """

    _single = True
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(
        self,
        task: str | type[Task],
        *,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        differentiable: bool = False,
        device: str = "auto",
        precision: str = "f32",
        resolution: str = "small",
        soft_contact: bool = True,
        memory: str = "2GiB",
        parameters: Mapping[str, Any] | None = None,
        arm: AnyArm = "none",
        **config: Any,
    ) -> None:
        self.build(
            task,
            1,
            render_mode=render_mode,
            max_episode_steps=max_episode_steps,
            differentiable=differentiable,
            device=device,
            precision=precision,
            resolution=resolution,
            soft_contact=soft_contact,
            memory=memory,
            parameters=parameters,
            arm=arm,
            config=config,
        )
        self.action_space = _action_space(self.task)
        self.observation_space = _observation_space(self._rollout)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: decides the goal and the initial state.
            options: ``{"state": {name: array}}`` overrides state arrays of the start.
        """
        self.check_open()
        super().reset(seed=seed)
        outcome = self._rollout.reset([self.np_random], state=self._state_option(options))
        self._last = outcome
        return _observed(outcome)[0], _info(outcome, 0, terms=False)

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
        """Go on from a ``snapshot()`` of this environment or of another one of the same task, as ``reset`` returns.

        The steps that follow are those of the original to the last bit, given equal precision and parameters; gradients
        are of the steps since, and ``initial_state`` is this state.

        Raises:
            ValueError: it is a snapshot of another task or of several worlds.
        """
        self.check_open()
        self._last = put(self._rollout, snapshot)
        return _observed(self._last)[0], _info(self._last, 0, terms=False)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step; ``action`` of shape (A,) is clipped to [-1, 1]. Tasks end by the clock only (truncation)."""
        self.check_open()
        if self._last is None or self._rollout.elapsed[0] >= self._horizon:
            raise ResetNeeded("the episode is over or has not begun: call reset() before step()")
        outcome = self._rollout.step(check_actions(action, (self.task.action_size,))[None])
        self._last = outcome
        truncated = bool(self._rollout.elapsed[0] >= self._horizon)
        return _observed(outcome)[0], float(outcome.reward[0]), False, truncated, _info(outcome, 0)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """A picture of the current state, uint8, shape (height, width, 3)."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; make the environment with 'rgb_array'")
            return None
        return self._picture(0)

    def close(self) -> None:
        """Free all memory; may be called again."""
        self._release()


class TaskVectorEnv(DifferentiableFace, gym.vector.VectorEnv):
    """A batch of worlds of a task as a Gymnasium vector environment, with gradients.

    Args:
        task, ...: as for `TaskEnv`.
        num_envs: number of worlds B.
        autoreset_mode: ``gymnasium.vector.AutoresetMode`` or its value, "NextStep", "SameStep" or "Disabled". With
            "SameStep" the last step of an episode also empties the tape; use another one for gradients.
    """

    _single = False
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50, "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        task: str | type[Task],
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        differentiable: bool = False,
        device: str = "auto",
        precision: str = "f32",
        resolution: str = "small",
        soft_contact: bool = True,
        memory: str = "2GiB",
        parameters: Mapping[str, Any] | None = None,
        arm: AnyArm = "none",
        **config: Any,
    ) -> None:
        if not isinstance(num_envs, (int, np.integer)) or isinstance(num_envs, bool) or num_envs < 1:
            raise ValueError(f"num_envs={num_envs!r} must be an integer >= 1")
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise ValueError(f"autoreset_mode={autoreset_mode!r} is unknown; allowed: {modes}") from None
        self.num_envs = int(num_envs)
        self.build(
            task,
            self.num_envs,
            render_mode=render_mode,
            max_episode_steps=max_episode_steps,
            differentiable=differentiable,
            device=device,
            precision=precision,
            resolution=resolution,
            soft_contact=soft_contact,
            memory=memory,
            parameters=parameters,
            arm=arm,
            config=config,
        )
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}  # this environment's, not the class's
        self.single_action_space = _action_space(self.task)
        self.single_observation_space = _observation_space(self._rollout)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._generators: list[np.random.Generator | None] = [None] * self.num_envs
        self._seeds: list[int] = [-1] * self.num_envs
        self._done = np.zeros(self.num_envs, bool)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The random generator of each world."""
        return tuple(self._generator(b) for b in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each world's generator."""
        return tuple(self._seeds[b] for b in range(self.num_envs) if self._generator(b) is not None)

    def _generator(self, world: int, seed: int | None = None) -> np.random.Generator:
        generator = self._generators[world]
        if seed is not None or generator is None:
            generator, self._seeds[world] = seeding.np_random(seed)
            self._generators[world] = generator
        return generator

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,  # type: ignore[override]
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in each world.

        Args:
            seed: a number s means s + i for world i; or one each.
            options: ``{"state": {name: array}}`` overrides state arrays, shape (B, ...);
                ``{"reset_mask": mask}`` restarts only the worlds where the boolean array of shape (B,) holds.
        """
        self.check_open()
        state = self._state_option(options, ("reset_mask",))
        mask = np.ones(self.num_envs, bool)
        if options is not None and "reset_mask" in options:
            mask = _check_mask(options["reset_mask"], self.num_envs)
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + b for b in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed has {len(seeds)} entries, must be one for each of {self.num_envs} worlds")
        if self._last is None and not mask.all():
            raise ResetNeeded("the first reset must start every world; leave out reset_mask")
        for b in np.flatnonzero(mask):
            self._generator(int(b), seeds[b])
        outcome = self._restart(mask, state)
        infos: dict[str, Any] = {}
        for b in np.flatnonzero(mask):
            infos = self._add_info(infos, _info(outcome, int(b), terms=False), int(b))
        return _observed(outcome), infos

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
        """Go on from a ``snapshot()``, as in `TaskEnv`; one of a single world puts all worlds into that state."""
        self.check_open()
        self._last = put(self._rollout, snapshot)
        self._done = self._rollout.elapsed >= self._horizon
        infos: dict[str, Any] = {}
        for b in range(self.num_envs):
            infos = self._add_info(infos, _info(self._last, b, terms=False), b)
        return _observed(self._last), infos

    def _restart(self, mask: np.ndarray, state: Mapping[str, Any] | None = None) -> Outcome:
        self._last = self._rollout.reset(self.np_random, worlds=mask, state=state)
        self._done[mask] = False
        return self._last

    def step(  # type: ignore[override]
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of each world; ``actions`` of shape (B, A) are clipped to [-1, 1]."""
        self.check_open()
        if self._last is None:
            raise ResetNeeded("call reset() before step()")
        actions = check_actions(actions, (self.num_envs, self.task.action_size))
        again = self._done.copy()  # worlds whose episode ended with the step before
        if again.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise ResetNeeded(f"the episodes of worlds {np.flatnonzero(again).tolist()} are over: reset them first")
        if again.all():
            outcome = stepped = self._restart(again)
        else:
            outcome = stepped = self._rollout.step(np.where(again[:, None], 0.0, actions))
            if again.any():
                outcome = self._restart(again)
        rewards = np.where(again, 0.0, stepped.reward)
        truncated = ~again & (self._rollout.elapsed >= self._horizon)
        infos: dict[str, Any] = {}
        for b in range(self.num_envs):
            if again[b]:
                infos = self._add_info(infos, _info(outcome, b, terms=False), b)
            elif not (truncated[b] and self.autoreset_mode == AutoresetMode.SAME_STEP):
                infos = self._add_info(infos, _info(stepped, b), b)
        self._done = truncated.copy()
        self._last = outcome
        if self.autoreset_mode == AutoresetMode.SAME_STEP and truncated.any():
            final = _observed(stepped)
            outcome = self._restart(truncated)
            for b in np.flatnonzero(truncated).tolist():
                ended = {"final_obs": final[b].copy(), "final_info": _info(stepped, b)}
                infos = self._add_info(infos, ended | _info(outcome, b, terms=False), b)
        return _observed(outcome), rewards, np.zeros(self.num_envs, bool), truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """A picture of each world, uint8, shape (height, width, 3)."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; make the environment with 'rgb_array'")
            return None
        return tuple(self._picture(b) for b in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free all memory."""
        self._release()


def _action_space(task: Task) -> gym.spaces.Box:
    return gym.spaces.Box(-1.0, 1.0, (task.action_size,), np.float32)


def _observation_space(rollout: Rollout) -> gym.spaces.Box:
    return gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (rollout.observation_size,), np.float32)


def _observed(outcome: Outcome) -> np.ndarray:
    return np.clip(outcome.observation, -OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)


def _info(outcome: Outcome, world: int, *, terms: bool = True) -> dict[str, Any]:
    """The info of a world; after a reset, which has no reward, without its ``terms``."""
    info: dict[str, Any] = {"score": float(outcome.score[world])}
    for name, values in (("reward_terms", outcome.terms if terms else {}), ("measures", outcome.measures)):
        if values:
            info[name] = {key: float(value[world]) for key, value in values.items()}
    return info


def _check_mask(mask: Any, count: int) -> np.ndarray:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (count,) or not mask.any():
        raise ValueError(f"reset_mask={mask!r} must be a boolean array of shape ({count},) that holds somewhere")
    return mask.copy()
