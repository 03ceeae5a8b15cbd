"""What a diagnosis asks of an environment: episodes with their gradients by horizon, and Jacobians of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.policies.diagnosis.lyapunov import Exponents, exponents_of_products
from pliant.policies.gradcheck import COUNTS
from pliant.sims.failures import SimulationDiverged

LEAST_SCALE = 1e-9
"""Of the change of a state array over an episode; arrays that change less are measured by their size, or by 1."""


@dataclass
class Played:
    """Episodes and their gradients.

    Attributes:
        rewards: of each step, shape (M, T); nan where a simulation has diverged.
        gradients: of the return up to each horizon H, by H, shape (M, H, A); nan where the sweep has overflowed.
        forces: sizes of the forces on the effectors after each step of the first episode [N], shape (T, E); None where
            the environment has none.
        failures: what has diverged, as sentences.
    """

    rewards: np.ndarray
    gradients: dict[int, np.ndarray]
    forces: np.ndarray | None
    failures: list[str]


def play(env: Any, actions: np.ndarray, horizons: Sequence[int], *, seed: int = 0) -> Played:
    """Play episodes with the same start, B at a time, and sweep back from each horizon.

    One recording serves all horizons: the sweep from H is over before step H + 1 is taken.

    Args:
        env: a differentiable vector environment of B worlds, which does not end episodes early.
        actions: shape (M, T, A).
        horizons: rising numbers of steps, the last one T.
        seed: of the start.
    """
    count, steps, _ = actions.shape
    rewards = np.full((count, steps), np.nan)
    gradients = {h: np.full((count, h, actions.shape[2]), np.nan) for h in horizons}
    forces: list[np.ndarray] = []
    failures: list[str] = []
    for first in range(0, count, env.num_envs):
        part = actions[first : first + env.num_envs]
        rows, size = slice(first, first + len(part)), len(part)
        part = np.concatenate([part, np.repeat(part[-1:], env.num_envs - size, axis=0)])  # the last one fills up
        env.reset(seed=[seed] * env.num_envs)
        for t in range(steps):
            try:
                rewards[rows, t] = env.step(part[:, t])[1][:size]
            except SimulationDiverged as failure:
                failures.append(str(failure))
                break
            force = _contact_forces(env) if first == 0 else None
            if force is not None:
                forces.append(force)
            if t + 1 in gradients:
                try:
                    gradients[t + 1][rows] = env.backward().actions[:size]
                except SimulationDiverged as failure:
                    failures.append(str(failure))
    return Played(rewards, gradients, np.array(forces) if forces else None, failures)


def _contact_forces(env: Any) -> np.ndarray | None:
    """Sizes of the forces on the effectors of world 0 [N], shape (E,); None without effectors."""
    if not hasattr(env, "view"):
        return None
    try:
        return np.linalg.norm(env.view().array("effector_force")[0], axis=-1)
    except (KeyError, ValueError):  # this World has no such output
        return None


def count_contacts(forces: np.ndarray) -> int:
    """How often a contact of an effector begins or ends from one step to the next, given forces (T, E) [N].

    What is below 1e-6 of the largest force is no contact, but what soft contact leaves at a distance.
    """
    touches = forces > 1e-6 * max(float(forces.max(initial=0.0)), 1e-300)
    return int((touches[1:] != touches[:-1]).sum())


def step_exponents(env: Any, actions: np.ndarray, *, seed: int = 0, discard: int = 0) -> Exponents:
    """Leading Lyapunov exponents of the environment's step along an episode, by vector-Jacobian products.

    The reverse sweep goes back one step at a time from stored states; its cotangents are made orthonormal after each.
    So the product is the transposed one, taken from the last step to the first. States are compared in units of how
    much each array changes in the episode (root mean square), which lets metres and velocities stand side by side;
    exponents of long products do not depend on it.

    Args:
        env: a differentiable vector environment in float64; its number of worlds is the number of exponents K.
        actions: of the episode, shape (T, A).
        seed: of the start and the first vectors.
        discard: steps of the sweep that the exponents leave out.

    Raises:
        SimulationDiverged: the episode does, or a product is not finite.
        ValueError: a product is not finite.
    """
    snapshots, states = [], []
    env.reset(seed=[seed] * env.num_envs)
    for action in [*actions, None]:
        snapshots.append({name: value[:1] for name, value in env.snapshot().items()})
        states.append({name: np.array(env.state(name)[0], np.float64) for name in env.state_names})
        if action is not None:
            env.step(np.tile(action, (env.num_envs, 1)))
    names = [name for name in env.backward().initial_state if name in env.state_names and name not in COUNTS]
    scales = {name: _scale(np.stack([state[name] for state in states])) for name in names}
    shapes = {name: states[0][name].shape for name in names}
    ends = np.cumsum([states[0][name].size for name in names])

    def product(t: int, vectors: np.ndarray) -> np.ndarray:
        step = len(actions) - 1 - t
        env.restore(snapshots[step])
        env.step(np.tile(actions[step], (env.num_envs, 1)))
        parts = dict(zip(names, np.split(vectors.T, ends[:-1], axis=1), strict=True))
        # with x = S y for the scales S, the Jacobian in y is S^-1 J S: cotangents of y are S times those of x
        bars = {name: part.reshape(-1, *shapes[name]) / scales[name] for name, part in parts.items()}
        pulled = env.backward(np.zeros((env.num_envs, 1)), state_cotangents=bars).initial_state
        rows = [scales[name] * np.asarray(pulled[name]).reshape(env.num_envs, -1) for name in names]
        return np.concatenate(rows, axis=1).T

    return exponents_of_products(product, int(ends[-1]), len(actions), env.num_envs, discard=discard, seed=seed)


def _scale(path: np.ndarray) -> float:
    """How much an array, shape (T, ...), changes in an episode, root mean square; else its size, else 1."""
    change = float(np.sqrt(np.mean((path - path[0]) ** 2)))
    if change > LEAST_SCALE:
        return change
    return float(np.sqrt(np.mean(path**2))) or 1.0
