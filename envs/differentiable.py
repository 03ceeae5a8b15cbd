"""What the single and the vector environment share: construction, gradients, parameters, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.envs.checks import check_actions
from pliant.envs.rollout import Gradient, Outcome, Rollout
from pliant.envs.snapshots import Snapshot, take
from pliant.envs.task import Task, make_config

if TYPE_CHECKING:
    from pliant.envs.pictures import Pictures

RESET_OPTIONS = ("state",)


class DifferentiableFace:
    """What both faces share: construction, gradients, parameters. ``_single`` drops the leading axis of one world."""

    _single: bool
    metadata: dict[str, Any]
    render_mode: str | None

    def build(
        self,
        task: str | type[Task],
        batch: int,
        *,
        render_mode: str | None,
        max_episode_steps: int | None,
        differentiable: bool,
        device: str,
        precision: str,
        resolution: str,
        soft_contact: bool,
        memory: str,
        parameters: Mapping[str, Any] | None,
        arm: str,
        config: Mapping[str, Any],
    ) -> None:
        kind = load_task(task)
        make_config(kind.Config, config)  # a wrong keyword is reported before anything is built
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r} is unknown; allowed: None, 'rgb_array'")
        for name, flag in (("differentiable", differentiable), ("soft_contact", soft_contact)):
            if not isinstance(flag, (bool, np.bool_)):
                raise ValueError(f"{name}={flag!r} must be True or False")
        if parameters is not None and not isinstance(parameters, Mapping):
            raise ValueError(f"parameters={parameters!r} must be a dict of values by name")
        horizon = kind.horizon if max_episode_steps is None else max_episode_steps
        if not isinstance(horizon, (int, np.integer)) or not 1 <= horizon <= kind.horizon:
            raise ValueError(f"max_episode_steps={max_episode_steps!r} must be an integer in 1..{kind.horizon}")
        self.task = kind(resolution=resolution, arm=arm, **config)
        self.render_mode = render_mode
        self._horizon = int(horizon)
        self._closed = False
        self._pictures: Pictures | None = None
        self._last: Outcome | None = None
        self._rollout = Rollout(
            self.task,
            batch=batch,
            differentiable=bool(differentiable),
            device=device,
            precision=precision,
            soft_contact=bool(soft_contact),
            memory=memory,
            parameters=parameters,
        )
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": max(1, round(1.0 / kind.step_time))}

    def _lead(self, values: Any) -> np.ndarray | None:
        """Values of the caller with the axis of worlds."""
        if values is None:
            return None
        values = np.asarray(values, np.float64)
        return values[None] if self._single else values

    def _drop(self, values: np.ndarray) -> Any:
        """Values for the caller: without the axis of worlds in the single environment, where a number is a float."""
        if not self._single:
            return values
        return float(values[0]) if values.ndim == 1 else values[0]

    def _drop_all(self, gradient: Gradient) -> Gradient:
        return Gradient(
            self._drop(gradient.actions),
            {name: np.asarray(self._drop(value)) for name, value in gradient.initial_state.items()},
            {name: np.asarray(self._drop(value)) for name, value in gradient.parameters.items()},
        )

    def check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this environment is closed")

    @property
    def horizon(self) -> int:
        """Environment steps after which an episode is truncated."""
        return self._horizon

    @property
    def differentiable(self) -> bool:
        """Whether steps are recorded."""
        return self._rollout.differentiable

    @property
    def memory_bytes(self) -> int:
        """Bytes of the simulation's own arrays, all worlds together; those of checkpoints come on top."""
        return self._rollout.world.memory_bytes

    @property
    def score(self) -> Any:
        """The score now, in [0, 1]: a float, or shape (B,)."""
        if self._last is None:
            raise RuntimeError("call reset() first")
        return self._drop(self._last.score.copy())

    @property
    def outcome(self) -> Outcome:
        """What the last reset or step gave, in float64 and before observations are clipped; arrays (B, ...)."""
        if self._last is None:
            raise RuntimeError("call reset() first")
        return self._last

    @property
    def state_names(self) -> list[str]:
        """Names of the state arrays."""
        return self._rollout.state_names

    def state(self, name: str) -> np.ndarray:
        """A copy of a state array, shape (N, ...), in the vector environment (B, N, ...)."""
        if name not in self.state_names:
            raise ValueError(f"state {name!r} is unknown; allowed: {', '.join(self.state_names)}")
        return np.array(self._drop(self._rollout.state(name)))

    @property
    def parameter_names(self) -> list[str]:
        """Names of the physical parameters and of the task's design parameters."""
        return self._rollout.parameter_names

    def parameter(self, name: str) -> np.ndarray:
        """A copy of a parameter, shape (N,) or other; in the vector environment with a leading axis."""
        return np.array(self._drop(self._rollout.parameter(name)))

    def set_parameter(self, name: str, value: Any) -> None:
        """Replace a parameter by anything that broadcasts to its shape. Ends the episode: reset next."""
        self.check_open()
        self._rollout.set_parameter(name, value)
        self._last = None

    def backward(
        self,
        reward_weights: np.ndarray | Sequence[float] | None = None,
        observation_cotangents: np.ndarray | None = None,
    ) -> Gradient:
        """Gradient of ``sum_t reward_weights[t] r_t + sum_t <observation_cotangents[t], obs_t>`` since the reset.

        Args:
            reward_weights: shape (T,), default ones.
            observation_cotangents: shape (T + 1, O), default zeros; row 0 belongs to the observation of the reset,
                row t + 1 to that of step t.

        Returns:
            The gradient; the vector environment takes and gives a leading axis (B, ...).
        """
        self.check_open()
        return self._drop_all(self._rollout.backward(self._lead(reward_weights), self._lead(observation_cotangents)))

    def backward_step(self, reward_weight: Any = 1.0, observation_cotangent: np.ndarray | None = None) -> np.ndarray:
        """Go back one step, the last first, and return the gradient with respect to its action, shape (A,).

        For closed loops: the observation that an action came from is that of the step before, so its cotangent is known
        in time for the next call. After the first step, `backward_end` gives the rest of the gradient.

        Args:
            reward_weight: weight of the step's reward.
            observation_cotangent: cotangent of the step's observation, shape (O,).
        """
        self.check_open()
        weight = np.broadcast_to(np.asarray(reward_weight, np.float64), (self._rollout.batch,))
        return self._drop(self._rollout.backward_step(weight, self._lead(observation_cotangent)))

    def backward_end(self, observation_cotangent: np.ndarray | None = None) -> Gradient:
        """The gradient after the last `backward_step`.

        ``observation_cotangent``, shape (O,), belongs to the observation of the reset.
        """
        self.check_open()
        return self._drop_all(self._rollout.backward_end(self._lead(observation_cotangent)))

    def backward_stop(self) -> None:
        """Give up a sweep that `backward_step` has begun; steps may be taken again, or gone back from the last one."""
        self.check_open()
        self._rollout.backward_stop()

    def begin_window(self) -> None:
        """Forget the steps recorded, and a sweep under way, and go on from the current state in the same episode.

        For truncated back-propagation: later gradients are of the steps since, and ``initial_state`` is this state.
        """
        self.check_open()
        if self._last is None:
            raise RuntimeError("call reset() first")
        self._rollout.begin_window()

    def snapshot(self) -> Snapshot:
        """The state of the episode as plain arrays (`pliant.envs.snapshots`), for ``restore``; axis 0 is the world.

        Parameters and the random generator, which only a reset draws from, are not part of it.
        """
        self.check_open()
        if self._last is None:
            raise RuntimeError("call reset() first")
        return take(self._rollout)

    def evaluate(
        self, actions: np.ndarray, *, seed: int = 0, discount: float = 1.0, options: dict[str, Any] | None = None
    ) -> Any:
        """Reset, take all ``actions``, shape (T, A), and return the sum of ``discount**t * r_t``; `score` is then set.

        Needs no ``differentiable=True``; ``options`` as for ``reset``.
        """
        self.check_open()
        lead = () if self._single else (self._rollout.batch,)
        steps = np.shape(actions)[len(lead)] if np.ndim(actions) == len(lead) + 2 else 0
        if not 1 <= steps <= self._horizon:
            raise ValueError(
                f"actions has shape {np.shape(actions)}, must be {(*lead, 'T', self.task.action_size)} "
                f"with T in 1..{self._horizon}"
            )
        checked = check_actions(actions, (*lead, steps, self.task.action_size))
        batch = checked[None] if self._single else checked
        self.reset(seed=seed, options=options)  # type: ignore[attr-defined]
        value = np.zeros(self._rollout.batch)
        for t in range(steps):
            self._last = self._rollout.step(batch[:, t])
            value += discount**t * self._last.reward
        return self._drop(value)

    def value_and_grad(
        self, actions: np.ndarray, *, seed: int = 0, discount: float = 1.0, options: dict[str, Any] | None = None
    ) -> tuple[Any, Gradient]:
        """`evaluate`, and the gradient of its value.

        Args:
            actions: shape (T, A), T at most `horizon`.
            seed: of the reset.
            discount: factor per step.
            options: of the reset.
        """
        if not self.differentiable:
            raise RuntimeError("this environment records nothing; make it with differentiable=True")
        value = self.evaluate(actions, seed=seed, discount=discount, options=options)
        weights = discount ** np.arange(self._rollout.recorded_steps)
        return value, self._drop_all(self._rollout.backward(weights, None))

    def _state_option(self, options: Mapping[str, Any] | None, extra: Sequence[str] = ()) -> dict[str, Any] | None:
        for name in options or {}:
            if name not in (*RESET_OPTIONS, *extra):
                raise ValueError(f"reset option {name!r} is unknown; allowed: {', '.join((*RESET_OPTIONS, *extra))}")
        state = (options or {}).get("state")
        if state is not None and not isinstance(state, Mapping):
            raise ValueError(f"reset option 'state' is a {type(state).__name__}, must be a dict of arrays by name")
        return None if state is None else {name: self._lead(value) for name, value in state.items()}

    def _picture(self, world: int) -> np.ndarray:
        self.check_open()
        if self._last is None:
            raise RuntimeError("call reset() before render()")
        if self._pictures is None:
            from pliant.envs.pictures import Pictures  # compiles the renderer: only for who looks

            self._pictures = Pictures(self.task)
        return self._pictures.draw(self._rollout, world)

    def _release(self) -> None:
        if not getattr(self, "_closed", True):
            self._closed = True
            self._pictures = None
            self._rollout.close()


def load_task(task: str | type[Task]) -> type[Task]:
    """The task class itself, or from where it is, "module:Class".

    Raises:
        ValueError: it is neither, or there is no such class.
    """
    if isinstance(task, str):
        module, _, name = task.partition(":")
        if not name or not module or module.startswith("."):
            raise ValueError(f"task={task!r} must be a task class or 'module:Class'")
        try:
            task = getattr(import_module(module), name)
        except (ModuleNotFoundError, AttributeError) as error:
            raise ValueError(f"task={task!r} cannot be found: {error}") from error
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise ValueError(f"task={task!r} must be a subclass of pliant.envs.task.Task")
    return task
