"""Gymnasium faces of a task: `TaskEnv` for one world, `TaskVectorEnv` for a batch. The module that knows Gymnasium.

Both are plain Gymnasium environments and, made with ``differentiable=True``, give gradients of what they have done
since the last reset. Arrays of the vector environment have a leading axis, the world; otherwise the two are alike.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from pliant.envs.checks import check_actions, check_mask, check_options, check_seed, check_seeds
from pliant.envs.differentiable import RESET_OPTIONS, DifferentiableFace
from pliant.envs.options import takes_options
from pliant.envs.outcomes import OBSERVATION_LIMIT, Gradient, Outcome
from pliant.envs.snapshots import put
from pliant.envs.task import ObservationPart, Task
from pliant.sims.inputs import whole, word

__all__ = ["Gradient", "TaskEnv", "TaskVectorEnv"]

MOST_WORLDS = 2**20
"""Worlds that a vector environment may have."""


class TaskEnv(DifferentiableFace, gym.Env):
    """One world of a task as a Gymnasium environment, with gradients.

    Args:
        task: the task class, or where it is, "module:Class".
        render_mode, ...: the fields of `pliant.envs.options.Options`, which says what each does.
        config: the task's own numbers, the fields of its ``Config``.

    Raises:
        ValueError: a keyword is unknown or out of range.
    """

    _single = True
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}

    @takes_options
    def __init__(self, task: str | type[Task], **keywords: Any) -> None:
        if keywords.get("max_episode_steps") is None:
            keywords["max_episode_steps"] = _asked_of_gymnasium(sys._getframe(1))
        self.build(task, 1, keywords)
        self.action_space = _action_space(self.task)
        self.observation_space = _observation_space(self.task)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: decides the goal and the initial state.
            options: ``{"state": {name: array}}`` overrides state arrays of the start,
                ``{"parameters": {name: values}}`` physical or design parameters in this episode.
        """
        self.check_open()
        start = self._start_options(check_options(options, RESET_OPTIONS, RESET_OPTIONS))
        self._rollout.check_reset(np.ones(1, bool), **start)
        super().reset(seed=check_seed(seed))
        self._last = self._rollout.reset([self.np_random], **start)
        self._done[:] = False
        return _first(_observed(self.task, self._last)), self._info(self._last, 0, is_start=True)

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, Any]]:
        """Go on from a ``snapshot()`` of this environment or of another one of the same task, as ``reset`` returns.

        The steps that follow are those of the original to the last bit, given equal precision and parameters; gradients
        are of the steps since, and ``initial_state`` is this state. A state of another precision is rounded.

        Raises:
            ValueError: it is a snapshot of another task or of several worlds, or an entry of it cannot be; nothing has
                changed then.
        """
        self.check_open()
        self._last = put(self._rollout, snapshot, self._horizon)
        self._done = np.logical_or(*self._ends(self._last))
        return _first(_observed(self.task, self._last)), self._info(self._last, 0, is_start=True)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; ``action`` of shape (A,) is clipped to [-1, 1]."""
        self.check_open()
        if self._last is None or self._done[0]:
            raise ResetNeeded("the episode is over or has not begun: call reset() before step()")
        actions = check_actions(action, (self.task.action_size,))[None]
        outcome = self._rollout.step(actions, may_fail=np.ones(1, bool) if self._options.may_diverge else None)
        self._last = outcome
        terminated, truncated = self._ends(outcome)
        self._done = terminated | truncated
        info = self._info(outcome, 0)
        return (
            _first(_observed(self.task, outcome)),
            float(outcome.reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            info,
        )

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
            "SameStep" the last step of an episode also empties the tape; use another one for gradients. With
            ``differentiable=True`` the worlds end together, which `terminate_on_success` does not allow.
    """

    _single = False
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50, "autoreset_mode": AutoresetMode.NEXT_STEP}

    @takes_options
    def __init__(
        self,
        task: str | type[Task],
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **keywords: Any,
    ) -> None:
        if not isinstance(autoreset_mode, AutoresetMode):
            word("autoreset_mode", autoreset_mode, [mode.value for mode in AutoresetMode])
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.num_envs = whole("num_envs", num_envs, 1, MOST_WORLDS)
        self.build(task, self.num_envs, keywords)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}  # this environment's, not the class's
        self.single_action_space = _action_space(self.task)
        self.single_observation_space = _observation_space(self.task)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._generators: list[np.random.Generator | None] = [None] * self.num_envs
        self._seeds: list[int] = [-1] * self.num_envs

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
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in each world.

        Args:
            seed: a number s means s + i for world i; or one each.
            options: ``{"state": {name: array}}`` overrides state arrays, shape (B, ...);
                ``{"parameters": {name: values}}`` parameters in these episodes, likewise;
                ``{"reset_mask": mask}`` restarts only the worlds where the boolean array of shape (B,) holds.
        """
        self.check_open()
        options = check_options(options, (*RESET_OPTIONS, "reset_mask"), RESET_OPTIONS)
        mask = np.ones(self.num_envs, bool)
        if "reset_mask" in options:
            mask = check_mask(options["reset_mask"], self.num_envs)
        seeds = check_seeds(seed, self.num_envs)
        if self._last is None and not mask.all():
            raise ResetNeeded("the first reset must start every world; leave out reset_mask")
        start = self._start_options(options)
        self._rollout.check_reset(mask, **start)
        for b in np.flatnonzero(mask):
            self._generator(int(b), seeds[b])
        outcome = self._restart(mask, **start)
        return _observed(self.task, outcome), self._starts(outcome, mask)

    def _starts(self, outcome: Outcome, worlds: np.ndarray) -> dict[str, Any]:
        """The infos of a reset of the worlds of a mask."""
        infos: dict[str, Any] = {}
        for b in np.flatnonzero(worlds).tolist():
            infos = self._add_info(infos, self._info(outcome, b, is_start=True), b)
        return infos

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, Any]]:
        """Go on from a ``snapshot()``, as in `TaskEnv`; one of a single world puts all worlds into that state."""
        self.check_open()
        self._last = put(self._rollout, snapshot, self._horizon)
        self._done = np.logical_or(*self._ends(self._last))
        return _observed(self.task, self._last), self._starts(self._last, np.ones(self.num_envs, bool))

    def _restart(self, mask: np.ndarray, **start: Any) -> Outcome:
        self._last = self._rollout.reset(self.np_random, worlds=mask, **start)
        self._done[mask] = False
        return self._last

    def step(  # type: ignore[override]
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of each world; ``actions`` of shape (B, A) are clipped to [-1, 1]."""
        self.check_open()
        if self._last is None:
            raise ResetNeeded("call reset() before step()")
        actions = check_actions(actions, (self.num_envs, self.task.action_size))
        if self._done.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            ended = np.flatnonzero(self._done).tolist()
            raise ResetNeeded(f"the episodes of worlds {ended} are over: reset them first")
        if self._done.any() and self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._restart(self._done.copy())  # ended by evaluate or restore: a step would have begun the next one
        again = self._done.copy()  # worlds whose episode is over, and which this step only resets
        if self.differentiable and again.any() and not again.all():
            raise ResetNeeded(
                f"only the episodes of worlds {np.flatnonzero(again).tolist()} are over: reset all worlds"
            )
        if again.all():
            outcome = stepped = self._restart(again)
        else:
            # worlds that this step only resets may fail in it: nobody sees what they do
            tolerated = np.ones_like(again) if self._options.may_diverge else again
            stepped = self._rollout.step(
                np.where(again[:, None], 0.0, actions), may_fail=tolerated if tolerated.any() else None
            )
            outcome = self._restart(again) if again.any() else stepped
        rewards = np.where(again, 0.0, stepped.reward)
        terminated, truncated = (ended & ~again for ended in self._ends(stepped))
        infos: dict[str, Any] = {}
        self._done = terminated | truncated
        ends_here = self._done & (self.autoreset_mode == AutoresetMode.SAME_STEP)  # a copy: restarting clears the flags
        for b in np.flatnonzero(~ends_here).tolist():
            source = outcome if again[b] else stepped
            infos = self._add_info(infos, self._info(source, b, is_start=bool(again[b])), b)
        self._last = outcome
        if ends_here.any():
            final = _observed(self.task, stepped)
            outcome = self._restart(ends_here)
            for b in np.flatnonzero(ends_here).tolist():
                last = {"final_obs": _world(final, b), "final_info": self._info(stepped, b)}
                infos = self._add_info(infos, last | self._info(outcome, b, is_start=True), b)
        return _observed(self.task, outcome), rewards, terminated, truncated, infos

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


def _observation_space(task: Task) -> gym.spaces.Space:
    """A box; or, for a task that observes several things, a dictionary of boxes."""
    spaces: dict[str, gym.Space] = {name: _part_space(part) for name, part in task.observation_parts.items()}
    return next(iter(spaces.values())) if len(spaces) == 1 else gym.spaces.Dict(spaces)


def _part_space(part: ObservationPart) -> gym.spaces.Box:
    if part.picture is not None:
        return gym.spaces.Box(0, 255, part.picture, np.uint8)
    size = part.columns.stop - part.columns.start
    return gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (size,), np.float32)


def _observed(task: Task, outcome: Outcome) -> Any:
    """The observations of all worlds: an array (B, ...), or a dictionary of such."""
    parts = {name: _part_values(outcome, part) for name, part in task.observation_parts.items()}
    return next(iter(parts.values())) if len(parts) == 1 else parts


def _part_values(outcome: Outcome, part: ObservationPart) -> np.ndarray:
    values = outcome.observation[:, part.columns]
    if part.picture is not None:
        return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8).reshape(-1, *part.picture)
    return np.clip(values, -OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)


def _world(observed: Any, b: int) -> Any:
    """A copy of the observation of world b."""
    if isinstance(observed, dict):
        return {name: values[b].copy() for name, values in observed.items()}
    return observed[b].copy()


def _first(observed: Any) -> Any:
    """The observation of the only world."""
    if isinstance(observed, dict):
        return {name: values[0] for name, values in observed.items()}
    return observed[0]


def _asked_of_gymnasium(caller: FrameType) -> int | None:
    """The steps of an episode that ``gymnasium.make`` is asked for, if that is the caller.

    It tells them to its wrapper ``TimeLimit`` only. The environment has to know, too: it ends the episode by itself,
    and goals, clocks and checkpoints depend on how long an episode is.
    """
    frame: FrameType | None = caller
    while frame is not None and frame.f_globals.get("__name__", "").startswith("pliant."):
        frame = frame.f_back  # of what wraps the constructor
    if frame is None or frame.f_code is not gym.make.__code__:
        return None
    given = frame.f_locals
    steps = given["max_episode_steps"]
    if steps is None:
        steps = given["env_spec"].max_episode_steps
    return None if steps == -1 else steps  # -1: without the wrapper
