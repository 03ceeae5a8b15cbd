"""The state of an episode as plain arrays: to go back to it, to plan ahead from it in a twin, to keep it in a file.

A snapshot is a dict of arrays whose axis 0 is the world, also for a single environment: "world.state" and
"world.outputs" (all that the simulation depends on, to the last bit), "actuator.NAME", "goal.NAME", "score.NAME",
"actions" (the last two, (B, 2, A)), "elapsed", and "parameter.NAME" for those that this episode has values of its own
for. Other parameters and random generators are not part of it.

A snapshot may be of another precision: "world." entries are rounded to that of the World. Everything else has to be
what `take` gives, in names, shapes and types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pliant.envs.outcomes import Outcome
from pliant.envs.rollout import Rollout
from pliant.sims.inputs import numbers, real_array

Snapshot = dict[str, np.ndarray]


def take(rollout: Rollout) -> Snapshot:
    """The state of the episodes of all worlds; copies."""
    rollout.tape.check_no_sweep()
    goals = {f"goal.{name}": value.copy() for name, value in rollout.goal.items()}
    parameters = {f"parameter.{name}": value for name, value in rollout.parameters.of_episode().items()}
    return _entries(rollout) | goals | parameters


def _entries(rollout: Rollout) -> Snapshot:
    """What every snapshot of these worlds has, but for the goal."""
    state, outputs = rollout.world.snapshot()
    entries = {
        "actions": np.stack(rollout.tape.recent_actions(), axis=1),
        "elapsed": rollout.elapsed.copy(),
        "world.state": state,
        "world.outputs": outputs,
    }
    entries |= {f"actuator.{name}": rollout.actuator.state(name) for name in rollout.actuator.state_names}
    return entries | {f"score.{name}": value for name, value in rollout.scorer.snapshot().items()}


def put(rollout: Rollout, snapshot: Mapping[str, Any], horizon: int) -> Outcome:
    """Go on from a snapshot in all worlds; one of a single world serves any number of them. Nothing is recorded yet.

    Args:
        rollout: the worlds.
        snapshot: what `take` gave.
        horizon: steps of the worlds' episodes.

    Raises:
        ValueError: it is no snapshot, one of another task, of another number of worlds than one or B, or an entry has
            another shape, another type or values that cannot be; the message names the entry. Nothing has changed then.
    """
    arrays = check(rollout, snapshot, horizon)
    return rollout.resume(
        state=arrays["world.state"],
        outputs=arrays["world.outputs"],
        actuator=_part(arrays, "actuator."),
        parameters=_part(arrays, "parameter."),
        goal=_part(arrays, "goal."),
        score=_part(arrays, "score."),
        elapsed=arrays["elapsed"],
        recent_actions=[arrays["actions"][:, 0], arrays["actions"][:, 1]],
    )


def check(rollout: Rollout, snapshot: Mapping[str, Any], horizon: int) -> Snapshot:
    """The arrays of a snapshot for the B worlds, copies; see `put` for what is refused."""
    if not isinstance(snapshot, Mapping):
        raise ValueError(f"snapshot is a {type(snapshot).__name__}, must be a dict of arrays as snapshot() gives it")
    everywhere = np.ones(rollout.batch, bool)
    patterns = _entries(rollout) | {f"goal.{name}": value for name, value in rollout.goal_pattern().items()}
    missing = sorted(set(patterns) - set(snapshot))
    if missing:
        raise ValueError(f"snapshot lacks {', '.join(missing)}; it must come from an environment of the same kind")
    own = {f"parameter.{name}": name for name in rollout.world.parameter_names}
    patterns |= {entry: rollout.world.parameter(name) for entry, name in own.items() if entry in snapshot}
    extra = sorted(str(name) for name in set(snapshot) - set(patterns))
    if extra:
        raise ValueError(f"snapshot has {', '.join(extra)}, which this environment does not know")
    arrays = {name: _for_worlds(name, snapshot[name], pattern, everywhere) for name, pattern in patterns.items()}
    _check_range("elapsed", arrays["elapsed"], 0, horizon)
    _check_range("score.counted", arrays["score.counted"], 0, arrays["elapsed"])
    _check_range("actions", arrays["actions"], -1.0, 1.0)
    for name, values in _part(arrays, "actuator.").items():
        rollout.actuator.check_state(name, values, everywhere)
    rollout.parameters.check(_part(arrays, "parameter."), everywhere)
    return arrays


def _for_worlds(name: str, values: Any, pattern: np.ndarray, worlds: np.ndarray) -> np.ndarray:
    """``values`` for all worlds (B,), a copy of the shape and type of ``pattern``, (B, ...) or (1, ...)."""
    array = numbers(f"snapshot: {name}", values)
    batch = len(worlds)
    if array.ndim < 1 or len(array) not in (1, batch):
        raise ValueError(f"snapshot: {name} has shape {array.shape}; axis 0 must be 1 or the {batch} worlds")
    if array.shape[1:] != pattern.shape[1:]:
        raise ValueError(
            f"{name} of the snapshot has shape {array.shape}, must be {(len(array), *pattern.shape[1:])} here"
        )
    wanted = pattern.dtype
    is_exact = array.dtype.itemsize == wanted.itemsize or wanted.kind == "i"
    is_rounded = name.startswith(("world.", "parameter.")) and array.dtype.itemsize in (4, 8)
    if array.dtype.kind != wanted.kind or not (is_exact or is_rounded):
        raise ValueError(f"{name} of the snapshot has type {array.dtype}, must be {wanted}")
    if wanted.kind == "f":
        array = real_array(f"{name} of the snapshot", array, dtype=wanted)
    return np.repeat(array.astype(wanted), batch // len(array), axis=0)


def _check_range(name: str, values: np.ndarray, low: float, high: float | np.ndarray) -> None:
    high = np.broadcast_to(high, values.shape)
    outside = (values < low) | (values > high)
    if outside.any():
        raise ValueError(
            f"{name} of the snapshot is {values[outside][0]}, out of range; allowed here: {low} to {high[outside][0]}"
        )


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> Snapshot:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
