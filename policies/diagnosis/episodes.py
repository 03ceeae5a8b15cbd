"""What a diagnosis asks of an environment: episodes with their gradients by horizon, and Jacobians of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.policies.diagnosis.lyapunov import DIFFERENCE, Exponents, exponents_of_products
from pliant.policies.gradcheck import COUNTS
from pliant.sims.failures import SimulationDiverged

LEAST_SCALE = 1e-3
"""Share of the size of a state array that counts as a change of it; less would drown in rounding."""

LEAST_SHARE = 1e-6
"""Of the longest vector, for another one to be a direction of its own."""


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
    """How often a contact of an effector begins or ends in an episode, given forces (T, E) [N]; none is there before.

    What is below 1e-6 of the largest force is no contact, but what soft contact leaves at a distance.
    """
    touches = forces > 1e-6 * max(float(forces.max(initial=0.0)), 1e-300)
    return int(np.diff(touches, axis=0, prepend=False).sum())


class Tangents:
    """Tangent vectors of an environment's step, carried along its episode by differences of states in float64.

    World 0 takes the episode, each of the others a state beside it. What a step depends on besides the named state
    arrays (strains of the step before, frames of clamps) is carried along, as snapshots hold it. The state of the
    actuator is not: it follows the actions alone. Lengths are measured in the named arrays, each in units of how much
    it changes in the episode (root mean square), which lets metres and velocities stand side by side; exponents of long
    products do not depend on the units.

    Args:
        env: a vector environment in float64 with K + 1 worlds.
        actions: of the episode, shape (T, A).
        seed: of the start and of the first vectors.

    Attributes:
        vectors: orthonormal, shape (n, K'), from random changes of the first actions; K' is less than K where those
            reach fewer directions.
        begun: steps taken so far.
        scales: of the named arrays, by name, in the order in which the rows of ``vectors`` hold them.

    Raises:
        SimulationDiverged: the episode does.
    """

    def __init__(self, env: Any, actions: np.ndarray, *, seed: int = 0) -> None:
        self.env, self._actions, self.begun = env, actions, 0
        env.reset(seed=[seed] * env.num_envs)
        own = env.snapshot()
        names = [name for name in env.state_names if name not in COUNTS and f"actuator.{name}" not in own]
        states = [{name: env.state(name)[0] for name in names}]
        for action in actions:
            env.step(np.tile(action, (env.num_envs, 1)))
            states.append({name: env.state(name)[0] for name in names})
        self.scales = {name: _scale(np.stack([state[name] for state in states])) for name in names}
        env.reset(seed=[seed] * env.num_envs)
        self._base = env.snapshot()
        self._carried = np.zeros((self._base["world.state"].shape[1], env.num_envs - 1))
        self.vectors = self._excite(np.random.default_rng((seed, 2)))

    def _excite(self, random: np.random.Generator) -> np.ndarray:
        """Change the actions of the first quarter of the episode at random, by little."""
        shape = (self.env.num_envs - 1, self._actions.shape[1])
        named = np.zeros((1, 1))
        for _ in range(max(1, len(self._actions) // 4)):
            named = self._step(random.standard_normal(shape))
            length = float(np.linalg.norm(named, axis=0).max())
            if length > 0:
                self._carried, named = self._carried / length, named / length
        vectors, upper = np.linalg.qr(named)
        sizes = np.abs(np.diag(upper))
        count = int(np.argmin([*(sizes > LEAST_SHARE * max(float(sizes.max()), 1e-300)), False]))
        if count == 0:
            raise ValueError("the actions do not change the state: there is nothing to tell of its growth")
        self._named, self._carried = named[:, :count], self._carried[:, :count]
        return vectors[:, :count]

    def push(self, vectors: np.ndarray) -> np.ndarray:
        """The Jacobian of the next step times ``vectors``, shape (n, K'), combinations of those last given back."""
        change = vectors.T @ self._named  # R of the last Q R
        self._carried = np.linalg.solve(change.T, self._carried.T).T
        self._named = self._step(None)
        return self._named

    def _step(self, changes: np.ndarray | None) -> np.ndarray:
        """Take a step; the vectors in the named arrays, shape (n, K')."""
        env, count = self.env, self._carried.shape[1]
        actions = np.tile(self._actions[self.begun], (env.num_envs, 1))
        start = {name: np.repeat(value[:1], env.num_envs, axis=0) for name, value in self._base.items()}
        size = DIFFERENCE * np.sqrt(sum(env.state(name)[0].size for name in self.scales))
        start["world.state"][1 : count + 1] += size * self._carried.T
        if changes is not None:
            actions[1:] += size * changes
        env.restore(start)
        env.step(actions)
        self.begun += 1
        self._base = env.snapshot()
        flat = self._base["world.state"][: count + 1]
        self._carried = (flat[1:] - flat[:1]).T / size
        parts = [env.state(name)[: count + 1].reshape(count + 1, -1) / scale for name, scale in self.scales.items()]
        named = np.concatenate(parts, axis=1)
        return (named[1:] - named[:1]).T / size


def step_exponents(env: Any, actions: np.ndarray, *, seed: int = 0) -> tuple[Exponents, int]:
    """Leading Lyapunov exponents of the environment's step along an episode, and the step from which they count.

    Args:
        env: a vector environment in float64 with K + 1 worlds, for K exponents.
        actions: of the episode, shape (T, A), T at least 2.
        seed: of the start and the first vectors.

    Raises:
        SimulationDiverged: the episode does.
        ValueError: a product is not finite, or the actions change nothing.
    """
    tangents = Tangents(env, actions, seed=seed)
    steps, start = len(actions) - tangents.begun, tangents.begun
    return exponents_of_products(lambda t, vectors: tangents.push(vectors), tangents.vectors, steps), start


def _scale(path: np.ndarray) -> float:
    """How much an array, shape (T, ...), changes in an episode, root mean square, at least a share of its size."""
    change = float(np.sqrt(np.mean((path - path[0]) ** 2)))
    return max(change, LEAST_SCALE * float(np.sqrt(np.mean(path**2)))) or 1.0
