"""What the single and the vector environment share: construction, gradients, parameters, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.envs.checks import check_actions, check_discount, check_options
from pliant.envs.copying import CopiedEnv
from pliant.envs.features.words import View
from pliant.envs.infos import info_of
from pliant.envs.options import Options, split_keywords
from pliant.envs.outcomes import Gradient, Outcome
from pliant.envs.rollout import Rollout
from pliant.envs.snapshots import Snapshot, take
from pliant.envs.task import Task, make_config
from pliant.sims.inputs import numbers, shown, word
from pliant.sims.runtime import choose

if TYPE_CHECKING:
    from pliant.envs.pictures import Pictures

RESET_OPTIONS = ("state", "parameters")


class DifferentiableFace(CopiedEnv):
    """What both faces share: construction, gradients, parameters. ``_single`` drops the leading axis of one world."""

    _single: bool
    metadata: dict[str, Any]
    render_mode: str | None

    def build(self, task: str | type[Task], batch: int, keywords: Mapping[str, Any]) -> None:
        """Make the task and its worlds from the keywords of a constructor: fields of `Options`, and the task's own.

        Raises:
            ValueError: a keyword is unknown or out of range.
        """
        kind = load_task(task)
        common, config = split_keywords(keywords)
        make_config(kind.Config, config)  # a wrong keyword is reported before anything is built
        self._options = options = Options(**common)
        if batch > 1 and options.differentiable and options.terminate_on_success:
            raise ValueError(
                "terminate_on_success=True does not go with differentiable=True here: one tape serves the batch, and "
                "its worlds end together"
            )
        # before a scene with meshes has its kernels take what "auto" gives
        choose(options.device, precision=options.precision)
        steps = options.max_episode_steps
        longer = None if steps is None else max(kind.horizon, steps)  # a task is never shortened
        self.task = kind(resolution=options.resolution, arm=options.arm, horizon=longer, **config)
        if options.terminate_on_success and self.task.score.relative_to is not None:
            raise ValueError(
                f"terminate_on_success=True does not fit {kind.__name__}: its score is a mean over the whole episode"
            )
        self.render_mode = options.render_mode
        self._horizon = self.task.horizon if steps is None else steps
        self._done = np.zeros(batch, bool)  # worlds whose episode is over
        self._closed = False
        self._pictures: Pictures | None = None
        self._last: Outcome | None = None
        self._rollout = Rollout(self.task, batch=batch, options=options)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": max(1, round(1.0 / kind.step_time))}

    def _lead(self, values: Any, name: str) -> np.ndarray | None:
        """Values of the caller, who calls them ``name``, with the axis of worlds."""
        if values is None:
            return None
        array = numbers(name, values)
        return array[None] if self._single else array

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

    def _is_success(self, outcome: Outcome) -> np.ndarray:
        """Whether the task counts as done, shape (B,)."""
        return outcome.score >= self.task.success_score

    def _ends(self, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
        """Which episodes the step that led to ``outcome`` has terminated and which it has truncated, (B,) each."""
        begun = self._rollout.elapsed > 0
        terminated = begun & self._is_success(outcome) if self._options.terminate_on_success else np.zeros_like(begun)
        return terminated, (self._rollout.elapsed >= self._horizon) | outcome.diverged

    def _info(self, outcome: Outcome, world: int, *, is_start: bool = False) -> dict[str, Any]:
        success = self._is_success(outcome)
        return info_of(outcome, world, success=success, shows_divergence=self._options.may_diverge, is_start=is_start)

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
        word("state name", name, self.state_names)
        return np.array(self._drop(self._rollout.state(name)))

    def view(self) -> View:
        """What features read now, axis 0 the world: for ``feature.value(env.view())``, and to check a feature there.

        Good until the next step or reset.
        """
        self.check_open()
        if self._last is None:
            raise RuntimeError("call reset() first")
        return self._rollout.view()

    @property
    def parameter_names(self) -> list[str]:
        """Names of the physical parameters and of the task's design parameters."""
        return self._rollout.parameters.names

    def parameter(self, name: str) -> np.ndarray:
        """A copy of a parameter, shape (N,) or other; in the vector environment with a leading axis."""
        return np.array(self._drop(self._rollout.parameters.value(name)))

    def set_parameter(self, name: str, value: Any) -> None:
        """Replace a parameter by anything that broadcasts to its shape. Ends the episode: reset next.

        For a single episode there is ``reset(options={"parameters": {name: value}})``.
        """
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
        weights = self._lead(reward_weights, "reward_weights")
        cotangents = self._lead(observation_cotangents, "observation_cotangents")
        return self._drop_all(self._rollout.tape.backward(weights, cotangents))

    def backward_step(self, reward_weight: Any = 1.0, observation_cotangent: np.ndarray | None = None) -> np.ndarray:
        """Go back one step, the last first, and return the gradient with respect to its action, shape (A,).

        For closed loops: the observation that an action came from is that of the step before, so its cotangent is known
        in time for the next call. After the first step, `backward_end` gives the rest of the gradient.

        Args:
            reward_weight: weight of the step's reward.
            observation_cotangent: cotangent of the step's observation, shape (O,).
        """
        self.check_open()
        cotangent = self._lead(observation_cotangent, "observation_cotangent")
        return self._drop(self._rollout.tape.backward_step(reward_weight, cotangent))

    def backward_end(self, observation_cotangent: np.ndarray | None = None) -> Gradient:
        """The gradient after the last `backward_step`.

        ``observation_cotangent``, shape (O,), belongs to the observation of the reset.
        """
        self.check_open()
        cotangent = self._lead(observation_cotangent, "observation_cotangent")
        return self._drop_all(self._rollout.tape.backward_end(cotangent))

    def backward_stop(self) -> None:
        """Give up a sweep that `backward_step` has begun; steps may be taken again, or gone back from the last one."""
        self.check_open()
        self._rollout.tape.backward_stop()

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

        Parameters are part of it where this episode has values of its own. The random generator, which only a reset
        draws from, is not.
        """
        self.check_open()
        if self._last is None:
            raise RuntimeError("call reset() first")
        return take(self._rollout)

    def evaluate(
        self, actions: np.ndarray, *, seed: int = 0, discount: float = 1.0, options: dict[str, Any] | None = None
    ) -> Any:
        """Reset, take all ``actions``, shape (T, A), and return the sum of ``discount**t * r_t``; `score` is then set.

        Needs no ``differentiable=True``; ``options`` as for ``reset``, but all worlds begin anew. All actions are
        taken, whether or not the task is done on the way (``terminate_on_success``). The episode may go on by ``step``;
        where the actions have brought it to its end, it is over as after steps.

        Raises:
            ValueError: an argument is out of range.
            SimulationDiverged: a state is no longer finite, whatever ``on_divergence`` says of steps.
        """
        self.check_open()
        discount = check_discount(discount)
        if options is not None:
            check_options(options, RESET_OPTIONS, RESET_OPTIONS)
        lead = () if self._single else (self._rollout.batch,)
        actions = numbers("actions", actions)
        steps = actions.shape[len(lead)] if actions.ndim == len(lead) + 2 else 0
        if not 1 <= steps <= self._horizon:
            raise ValueError(
                f"actions has shape {actions.shape}, must be {(*lead, 'T', self.task.action_size)} "
                f"with T in 1..{self._horizon}"
            )
        checked = check_actions(actions, (*lead, steps, self.task.action_size))
        batch = checked[None] if self._single else checked
        self.reset(seed=seed, options=options)  # type: ignore[attr-defined]
        value = np.zeros(self._rollout.batch)
        for t in range(steps):
            self._last = self._rollout.step(batch[:, t])
            value += discount**t * self._last.reward
        self._done = np.logical_or(*self._ends(self.outcome))
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
        self._rollout.tape.check_records()
        value = self.evaluate(actions, seed=seed, discount=discount, options=options)
        weights = discount ** np.arange(self._rollout.tape.recorded_steps)
        return value, self._drop_all(self._rollout.tape.backward(weights, None))

    def _start_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What options of a reset say of "state" and of "parameters", with the axis of worlds."""
        tables = {table: options.get(table) or {} for table in RESET_OPTIONS}
        return {
            table: {name: self._lead(value, f"{table} {name!r}") for name, value in values.items()}
            for table, values in tables.items()
        }

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
        if not all(part.isidentifier() for part in (*module.split("."), name)):
            raise ValueError(f"task={shown(task)} must be a task class or 'module:Class'")
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there and needs another one that is not
            raise ValueError(f"task={shown(task)}: there is no module {error.name!r}") from None
        if not hasattr(found, name):
            raise ValueError(f"task={shown(task)}: the module has no {name!r}")
        task = getattr(found, name)
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise ValueError(f"task={shown(task)} must be a subclass of pliant.envs.task.Task")
    return task
