"""Model-predictive control: plan over a receding horizon with any of the trajectory optimisers, act, plan again.

Two environments of the same task: the one that is controlled, and a planner, a twin (or a batch of twins) that each
plan puts into the present state of the first (`pliant.envs.snapshots`) and simulates ahead from there. A plan starts
from the one before, moved on by the steps taken since; what is behind its end repeats its last action. Steps of the
planner and of the controlled environment both count as simulated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pliant.policies.parametrisation import Parametrisation
from pliant.policies.trajectory.episode import (
    OnIteration,
    Result,
    RunState,
    empty_matrix,
    empty_vector,
    episode_shape,
    make_row,
    settle_parametrisation,
    start_parameters,
)
from pliant.policies.trajectory.settings import MpcSettings, TrajectorySettings, check_settings
from pliant.policies.trajectory.trials import AllDivergedError
from pliant.sims.failures import SimulationDiverged

__all__ = ["MpcSettings", "MpcState", "Planner", "optimize"]

SNAPSHOT = "snapshot."
Optimizer = Callable[..., Result]


@dataclass
class MpcState(RunState):
    """What has been done so far, the plan, and the state of the controlled environment.

    Attributes:
        actions, rewards: taken so far, shape (t, A) and (t,).
        initial_parameters, plan: parameters of the first and of the next plan's start, shape (P,).
        score: of the episode so far.
        snapshot: the controlled environment's.
    """

    actions: np.ndarray = field(default_factory=empty_matrix)
    rewards: np.ndarray = field(default_factory=empty_vector)
    initial_parameters: np.ndarray = field(default_factory=empty_vector)
    plan: np.ndarray = field(default_factory=empty_vector)
    score: float = 0.0
    snapshot: dict[str, np.ndarray] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named plain arrays, for an .npz file."""
        arrays = super().to_arrays()
        del arrays["snapshot"]
        return arrays | {SNAPSHOT + name: value for name, value in self.snapshot.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> MpcState:
        """Inverse of ``to_arrays``."""
        snapshot = {name.removeprefix(SNAPSHOT): value for name, value in arrays.items() if name.startswith(SNAPSHOT)}
        state = super().from_arrays({**arrays, "snapshot": np.zeros(1)})
        state.snapshot = snapshot
        return state


class Planner:
    """An environment whose episodes begin at a snapshot and last ``horizon`` steps: what the optimisers plan with.

    Args:
        env: a single environment or a vector of them, of the task that is controlled.
        horizon: steps of a plan; an episode that ends before ends the plan.
    """

    def __init__(self, env: Any, horizon: int) -> None:
        env = env.unwrapped
        self.env, self.horizon = env, horizon
        self.snapshot: dict[str, np.ndarray] = {}
        for name in ("num_envs", "action_space", "single_action_space", "task", "metadata"):
            if hasattr(env, name):
                setattr(self, name, getattr(env, name))

    @property
    def unwrapped(self) -> Planner:
        return self

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Back to the snapshot; the seed decides nothing."""
        return self.env.restore(self.snapshot)

    def step(self, actions: np.ndarray) -> Any:
        return self.env.step(actions)

    def backward(self, reward_weights: np.ndarray) -> Any:
        return self.env.backward(reward_weights=reward_weights)


def optimize(
    env: Any,
    planner: Any,
    method: Optimizer,
    settings: TrajectorySettings,
    control: MpcSettings,
    *,
    on_iteration: OnIteration | None = None,
    state: MpcState | None = None,
) -> Result:
    """Control one episode by plans over a receding horizon.

    Args:
        env: the environment that is controlled.
        planner: another one of the same task and parameters that plans are simulated in: differentiable for a method
            by gradient, possibly a vector for one by populations.
        method: ``optimize`` of `gradient`, `lbfgs`, `cem`, `mppi`, `random_search` or `cmaes`.
        settings: of the method. ``iterations`` are those of each plan; ``seed`` decides the episode and the random
            numbers of all plans; ``horizon`` ends the episode early; ``max_simulated_steps`` ends the run before a plan
            might exceed it, ``max_seconds`` after the plan that does; the parametrisation is that of a plan.
        control: how far ahead is planned and how often.
        on_iteration: called as ``on_iteration(state, row)`` after each plan and the steps that follow it; save
            ``state.to_arrays()``.
        state: go on from here; the rest of the run is the same as if it had not been interrupted.

    Returns:
        the actions taken (those of the whole episode, unless the budget ended it), their return and score. The history
        has a row for each plan, whose "return" and "score" are those of the episode so far, as are "best_return" and
        "best_score": there is only this episode.
    """
    check_settings(settings)
    check_settings(control)
    if not control.receding_horizon:
        raise ValueError("receding_horizon=0 plans nothing; it must be at least 1 step")
    env = env.unwrapped
    steps, action_size = episode_shape(env, settings)
    ahead = Planner(planner, control.receding_horizon)
    no_budgets: dict[str, Any] = {"max_simulated_steps": 0, "max_seconds": 0.0, "target_score": 0.0}
    plan_settings = replace(settings, horizon=0, best_by="return", **no_budgets)
    shape = settle_parametrisation(ahead, plan_settings, None)
    env.reset(seed=settings.seed)
    if state is None:
        start = start_parameters(settings, shape, np.random.default_rng(settings.seed), None)
        state = MpcState(
            actions=np.zeros((0, action_size)), initial_parameters=start, plan=start.copy(), snapshot=env.snapshot()
        )
    elif state.plan.shape != (shape.size,):
        raise ValueError(f"state has a plan of {state.plan.size} parameters; this run has {shape.size}")
    else:
        env.restore(state.snapshot)

    dearest = 0  # simulated steps of the dearest plan so far
    while len(state.rewards) < steps:
        limit = settings.max_simulated_steps
        if limit and state.simulated_steps + dearest + control.replan_every > limit:
            break
        if settings.max_seconds and len(state.rewards) and state.seconds >= settings.max_seconds:
            break
        began = time.perf_counter()
        first = not len(state.rewards)
        ahead.snapshot = state.snapshot
        plan_settings = replace(
            plan_settings,
            iterations=(first and control.first_iterations) or settings.iterations,
            seed=_seed_of_plan(settings.seed, len(state.rewards)),
        )
        try:
            plan = method(ahead, plan_settings, parametrisation=shape, initial_parameters=state.plan)
        except (SimulationDiverged, AllDivergedError):  # from here the plan before leads astray
            plan = method(ahead, plan_settings, parametrisation=shape, initial_parameters=state.initial_parameters)
        # a method that moves a distribution plans its mean, not the luckiest of its samples
        planned = shape.actions(plan.state.mean) if hasattr(plan.state, "mean") else plan.actions
        taken = _act(env, planned[: min(control.replan_every, steps - len(state.rewards))], state)
        state.plan = shape.nearest(np.concatenate([planned[taken:], np.repeat(planned[-1:], taken, axis=0)]))
        state.snapshot = env.snapshot()
        state.simulated_steps += plan.simulated_steps + taken
        state.reverse_steps += plan.reverse_steps
        dearest = max(dearest, plan.simulated_steps)
        state.seconds += time.perf_counter() - began
        value = float(state.rewards.sum())
        state.best.score, state.best.value, state.best.parameters = state.score, value, state.plan
        row = make_row(
            state,
            horizon=control.receding_horizon,
            value=value,
            score=state.score,
            gradient_norm=plan.history[-1]["gradient_norm"],
            step_size=plan.history[-1]["step_size"],
        )
        state.history.append(row)
        if on_iteration is not None:
            on_iteration(state, row)
    return _result(shape, state, steps)


def interim_result(env: Any, settings: TrajectorySettings, control: MpcSettings, state: MpcState) -> Result:
    """What a run that is not over has done so far.

    Args:
        env: the environment that is controlled.
        settings, control, state: of the run, as of `optimize`.
    """
    steps, _ = episode_shape(env.unwrapped, settings)
    shape = settle_parametrisation(Planner(env, control.receding_horizon), replace(settings, horizon=0), None)
    return _result(shape, state, steps)


def _result(shape: Parametrisation, state: MpcState, steps: int) -> Result:
    initial = _held(shape.actions(state.initial_parameters), steps)
    return Result(
        method="mpc",
        actions=state.actions,
        score=state.score,
        value=float(state.rewards.sum()),
        initial_actions=initial[: len(state.actions)],
        parametrisation=shape,
        history=state.history,
        simulated_steps=state.simulated_steps,
        reverse_steps=state.reverse_steps,
        seconds=state.seconds,
        state=state,
    )


def _seed_of_plan(seed: int, step: int) -> int:
    """Another stream of random numbers for each plan."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def _act(env: Any, actions: np.ndarray, state: MpcState) -> int:
    """Take the actions in the controlled environment; how many were taken before the episode ended."""
    for taken, action in enumerate(actions, start=1):
        _, reward, terminated, truncated, info = env.step(action)
        state.actions = np.concatenate([state.actions, action[None]])
        state.rewards = np.append(state.rewards, float(reward))
        state.score = float(info.get("score", np.nan))
        if terminated or truncated:
            return taken
    return len(actions)


def _held(actions: np.ndarray, steps: int) -> np.ndarray:
    """Actions (H, A) over ``steps`` steps, the last one held."""
    return actions[np.minimum(np.arange(steps), len(actions) - 1)]


def plans_of(steps: int, control: MpcSettings) -> int:
    """Plans in an episode of so many steps."""
    return -(-steps // control.replan_every)
