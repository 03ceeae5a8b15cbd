"""Differentiable features of a state: the words that observations, reward terms and scores are written in.

A feature maps what is known after an environment step (a `View`) to ``size`` numbers per world, in float64, and
carries its adjoint by hand: ``adjoint(view, cotangent, sink)`` adds to the sink the derivative of
``sum(cotangent * value)`` with respect to every array that ``value`` reads. Axis 0 is the batch everywhere.
Features of shapes and densities live in `pliant.envs.features.shapes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

Index = slice | np.ndarray


class View:
    """What features may read after environment step ``step`` (0: right after the reset).

    Args:
        arrays: reads an array by name: the state arrays of the World and its outputs, shape (B, ...) each, such
            as "effector_force" [N], shape (B, M, 3), and "active", shape (B, N), 0 for particles that wait in a pool or
            lie in a drain.
        action: the action that led here, in [-1, 1], shape (B, A); zeros after the reset.
        previous_action: the action before it, shape (B, A).
        step: environment steps since the reset, shape (B,).
        horizon: environment steps in an episode.
        goal: the goal's arrays by name, shape (B, ...) each.
    """

    def __init__(
        self,
        *,
        arrays: Callable[[str], np.ndarray],
        action: np.ndarray,
        previous_action: np.ndarray,
        step: np.ndarray,
        horizon: int,
        goal: Mapping[str, np.ndarray],
    ) -> None:
        self._read = arrays
        self._arrays: dict[str, np.ndarray] = {"action": action, "previous_action": previous_action}
        self._cache: dict[Hashable, Any] = {}
        self.batch = len(step)
        self.step = step
        self.horizon = horizon
        self.goal = goal

    @property
    def phase(self) -> np.ndarray:
        """Elapsed fraction of the episode, shape (B,)."""
        return self.step / self.horizon

    def array(self, name: str) -> np.ndarray:
        """A state array, an output, "active" or an action: float64, shape (B, ...), read-only."""
        if name not in self._arrays:
            self._arrays[name] = np.asarray(self._read(name), np.float64)
        return self._arrays[name]

    def cached(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """``make()``, computed once per view and key: for features that share costly parts."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]


class Sink:
    """Collects the cotangents of the arrays of a `View`, by name."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.cotangents: dict[str, np.ndarray] = {}

    def add(self, name: str, cotangent: np.ndarray, index: Index | None = None) -> None:
        """Add a cotangent of the whole array ``name``, or of its rows ``array[:, index]`` (no row twice)."""
        total = self.cotangents.get(name)
        if total is None:
            total = self.cotangents[name] = np.zeros(self._view.array(name).shape)
        if index is None:
            total += cotangent
        else:
            total[:, index] += cotangent


class Feature(ABC):
    """A differentiable function of a `View`. ``size`` numbers per world; ``name`` labels it in tables."""

    name: str
    size: int

    @abstractmethod
    def value(self, view: View) -> np.ndarray:
        """The feature, float64, shape (B, size)."""

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        """Add to ``sink`` the derivative of ``sum(cotangent * value)``, ``cotangent`` of shape (B, size).

        The default is that of a feature without a derivative (goals, the clock).
        """
        return


def as_index(rows: np.ndarray | Sequence[int]) -> Index:
    """Row numbers, a boolean mask or consecutive rows as the cheapest equivalent index (a slice where possible)."""
    rows = np.asarray(rows)
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    if len(rows) == 0:
        raise ValueError("a feature needs at least one row, got none")
    if np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return slice(int(rows[0]), int(rows[0]) + len(rows))
    if len(np.unique(rows)) != len(rows):
        raise ValueError("the rows of a feature must be distinct")
    return rows


class Rows(Feature):
    """Rows of an array as they are, flattened: sampled particles, poses, forces. Units of the array.

    Args:
        array: name of a state array or an output.
        rows: which rows of axis 1 (particles or effectors).
        width: numbers per row.
    """

    def __init__(self, name: str, array: str, rows: np.ndarray | Sequence[int], width: int) -> None:
        self.name, self.array, self.index, self.width = name, array, as_index(rows), width
        self.size = len(np.asarray(rows).nonzero()[0] if np.asarray(rows).dtype == bool else rows) * width

    def value(self, view: View) -> np.ndarray:
        return view.array(self.array)[:, self.index].reshape(view.batch, self.size).copy()

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        rows = view.array(self.array)[:, self.index]
        sink.add(self.array, cotangent.reshape(rows.shape), self.index)


class Mean(Feature):
    """Mean over rows of an array, for example the centre [m] or mean velocity [m/s] of a group of particles.

    The mean is over particles, not over mass, so that it does not depend on the density parameter; for particles of one
    rest volume and density it is the centre of mass.
    """

    def __init__(self, name: str, array: str, rows: np.ndarray | Sequence[int], width: int) -> None:
        self.name, self.array, self.index, self.size = name, array, as_index(rows), width
        index = self.index
        self._key = (array, (index.start, index.stop) if isinstance(index, slice) else id(index))

    def value(self, view: View) -> np.ndarray:
        # several features of a task are of the same rows; the sum is quicker than numpy's mean, and the same
        def mean() -> np.ndarray:
            rows = view.array(self.array)[:, self.index]
            return rows.sum(axis=1) / rows.shape[1]

        return view.cached(self._key, mean).copy()

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        count = view.array(self.array)[:, self.index].shape[1]
        sink.add(self.array, cotangent[:, None, :] / count, self.index)


def centre(rows: np.ndarray | Sequence[int], dim: int, name: str = "centre") -> Mean:
    """Mean position of particles [m], size ``dim``."""
    return Mean(name, "position", rows, dim)


def mean_velocity(rows: np.ndarray | Sequence[int], dim: int, name: str = "mean_velocity") -> Mean:
    """Mean velocity of particles [m/s], size ``dim``."""
    return Mean(name, "velocity", rows, dim)


class Linear(Feature):
    """``matrix @ feature``: components, projections on a direction, differences. ``matrix`` has shape (size, d)."""

    def __init__(self, name: str, feature: Feature, matrix: Sequence[float] | np.ndarray) -> None:
        self.name, self.feature = name, feature
        self.matrix = np.atleast_2d(np.asarray(matrix, np.float64))
        if self.matrix.shape[1] != feature.size:
            raise ValueError(f"matrix has {self.matrix.shape[1]} columns, {feature.name} has size {feature.size}")
        self.size = len(self.matrix)

    def value(self, view: View) -> np.ndarray:
        return self.feature.value(view) @ self.matrix.T

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        self.feature.adjoint(view, cotangent @ self.matrix, sink)


class SquaredNorm(Feature):
    """Mean square of the components of a feature, size 1: costs of actions, forces, residual motion."""

    def __init__(self, name: str, feature: Feature) -> None:
        self.name, self.feature, self.size = name, feature, 1

    def value(self, view: View) -> np.ndarray:
        return np.mean(self.feature.value(view) ** 2, axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        value = self.feature.value(view)
        self.feature.adjoint(view, cotangent * 2.0 * value / self.feature.size, sink)


class GoalValue(Feature):
    """A goal array as it is, flattened; without a derivative."""

    def __init__(self, goal: str, size: int) -> None:
        self.name, self.goal, self.size = goal, goal, size

    def value(self, view: View) -> np.ndarray:
        return np.array(view.goal[self.goal], np.float64).reshape(view.batch, self.size)


class Offset(Feature):
    """Goal minus feature, for example the vector from a finger tip to its target [m]. Same size as the feature."""

    def __init__(self, name: str, feature: Feature, goal: str) -> None:
        self.name, self.feature, self.goal, self.size = name, feature, goal, feature.size

    def value(self, view: View) -> np.ndarray:
        return view.goal[self.goal] - self.feature.value(view)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        self.feature.adjoint(view, -cotangent, sink)


class PathValue(Feature):
    """What a goal array (rows, size) says of this moment: row t after environment step t; without a derivative."""

    def __init__(self, goal: str, size: int) -> None:
        self.name, self.goal, self.size = goal, goal, size

    def value(self, view: View) -> np.ndarray:
        rows = view.goal[self.goal]
        return np.array(rows[np.arange(view.batch), np.minimum(view.step, rows.shape[1] - 1)], np.float64)


class PathOffset(Feature):
    """`PathValue` minus feature: the vector to a target that moves on a path of its own. Same size as the feature."""

    def __init__(self, name: str, feature: Feature, goal: str) -> None:
        self.name, self.feature, self.size = name, feature, feature.size
        self.path = PathValue(goal, feature.size)

    def value(self, view: View) -> np.ndarray:
        return self.path.value(view) - self.feature.value(view)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        self.feature.adjoint(view, -cotangent, sink)


class Distance(Feature):
    """Euclidean norm of a feature, usually an `Offset`: distance to a target [m], size 1. Its derivative at 0 is 0."""

    def __init__(self, name: str, feature: Feature) -> None:
        self.name, self.feature, self.size = name, feature, 1

    def value(self, view: View) -> np.ndarray:
        return np.linalg.norm(self.feature.value(view), axis=1, keepdims=True)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        value = self.feature.value(view)
        norm = np.linalg.norm(value, axis=1, keepdims=True)
        direction = np.divide(value, norm, out=np.zeros_like(value), where=norm > 0.0)
        self.feature.adjoint(view, cotangent * direction, sink)


def _actions(view: View, feature: Feature) -> np.ndarray:
    actions = view.array("action")
    if actions.shape[1] != feature.size:
        raise ValueError(
            f"feature {feature.name!r} is of {feature.size} numbers, actions have {actions.shape[1]}: "
            "make it with the task's action_size, which depends on the arm"
        )
    return actions


class Action(Feature):
    """The action that led to this view, in [-1, 1], size A; the velocities of effectors are multiples of it."""

    def __init__(self, size: int, name: str = "action") -> None:
        self.name, self.size = name, size

    def value(self, view: View) -> np.ndarray:
        return _actions(view, self).copy()

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        sink.add("action", cotangent)


class ActionChange(Feature):
    """The action minus the one before it, size A; the square of it is the smoothness cost."""

    def __init__(self, size: int, name: str = "action_change") -> None:
        self.name, self.size = name, size

    def value(self, view: View) -> np.ndarray:
        return _actions(view, self) - view.array("previous_action")

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        sink.add("action", cotangent)
        sink.add("previous_action", -cotangent)


def action_cost(size: int) -> SquaredNorm:
    """Mean square of the action, in [0, 1]."""
    return SquaredNorm("action_cost", Action(size))


def smoothness_cost(size: int) -> SquaredNorm:
    """Mean square of the change of the action from step to step, in [0, 4]."""
    return SquaredNorm("smoothness_cost", ActionChange(size))


def force_cost(effectors: Sequence[int]) -> SquaredNorm:
    """Mean square of the force components on effectors over the last step [N^2]."""
    return SquaredNorm("force_cost", Rows("force", "effector_force", effectors, 3))


class Phase(Feature):
    """Clock of the episode: sin and cos of pi t / T, size 2; without a derivative."""

    name, size = "phase", 2

    def value(self, view: View) -> np.ndarray:
        angle = np.pi * view.phase
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)
