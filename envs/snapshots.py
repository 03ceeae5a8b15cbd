"""The state of an episode as plain arrays: to go back to it, to plan ahead from it in a twin, to keep it in a file.

A snapshot is a dict of arrays whose axis 0 is the world, also for a single environment: "world.state" and
"world.outputs" (all that the simulation depends on, to the last bit), "actuator.NAME", "goal.NAME", "score.NAME",
"actions" (the last two, (B, 2, A)) and "elapsed". Parameters and random generators are not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pliant.envs.rollout import Outcome, Rollout

Snapshot = dict[str, np.ndarray]


def take(rollout: Rollout) -> Snapshot:
    """The state of the episodes of all worlds; copies."""
    if rollout._sweep is not None:
        raise RuntimeError("a backward sweep is under way; finish it with backward_end(), or reset")
    state, outputs = rollout.world.snapshot()
    none = np.zeros((rollout.batch, rollout.task.action_size))
    recent = [none, none, *rollout._earlier, *rollout._actions][-2:]
    snapshot = {
        "world.state": state,
        "world.outputs": outputs,
        "actions": np.stack(recent, axis=1),
        "elapsed": rollout.elapsed.copy(),
    }
    snapshot |= {f"actuator.{name}": rollout.actuator.state(name) for name in rollout.actuator.state_names}
    snapshot |= {f"goal.{name}": value.copy() for name, value in rollout.goal.items()}
    return snapshot | {f"score.{name}": value for name, value in rollout._scorer.snapshot().items()}


def put(rollout: Rollout, snapshot: Mapping[str, np.ndarray]) -> Outcome:
    """Go on from a snapshot in all worlds; one of a single world serves any number of them. Nothing is recorded yet.

    Raises:
        ValueError: it is a snapshot of another task, or of another number of worlds than one or B.
    """
    expected = {"world.state", "world.outputs", "actions", "elapsed", "score.start", "score.sums", "score.counted"}
    missing = sorted((expected | {f"actuator.{name}" for name in rollout.actuator.state_names}) - set(snapshot))
    if missing:
        raise ValueError(f"snapshot lacks {', '.join(missing)}; it must come from an environment of the same kind")
    arrays = {name: _for_worlds(name, np.asarray(values), rollout.batch) for name, values in snapshot.items()}
    if arrays["actions"].shape[1:] != (2, rollout.task.action_size):
        raise ValueError(f"snapshot: actions have shape {arrays['actions'].shape[1:]}, the task takes other ones")
    rollout.backward_stop()
    rollout.world.restore(arrays["world.state"], arrays["world.outputs"])
    rollout.actuator.restore(_part(arrays, "actuator."))
    rollout.goal = _part(arrays, "goal.")
    rollout.elapsed = np.array(arrays["elapsed"], int)
    rollout._earlier = [arrays["actions"][:, 0], arrays["actions"][:, 1]]
    rollout._actions, rollout._inside, rollout._observations = [], [], []
    rollout._scorer.restore(_part(arrays, "score."))
    outcome = rollout._outcome(rollout._view(rollout.world))
    if rollout.differentiable:
        rollout._observations.append(outcome.observation)
    return outcome


def _for_worlds(name: str, values: np.ndarray, batch: int) -> np.ndarray:
    if values.ndim < 1 or len(values) not in (1, batch):
        raise ValueError(f"snapshot: {name} has shape {values.shape}; axis 0 must be 1 or the {batch} worlds")
    return np.repeat(values, batch // len(values), axis=0)


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> Snapshot:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
