"""Open-loop controls as functions of a flat parameter vector, with their adjoints.

All of them are one formula: ``actions = squash(basis @ coefficients)`` with a fixed basis over time. Two squashes keep
the actions in [-1, 1]:

- ``"project"``: the coefficients themselves live in [-1, 1] and are put back there after each update (``project``). A
  basis that averages (identity, splines with non-negative weights of sum one) then keeps the actions inside. Bang-bang
  controls are reached exactly and the gradient never vanishes at the bounds.
- ``"tanh"``: for bases that do not average (sinusoids); the coefficients are unbounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.policies.trajectory.settings import TrajectorySettings

SATURATED = 0.999
"""Larger actions count as this large where the inverse of tanh is taken."""


@dataclass(frozen=True)
class Parametrisation:
    """``actions = squash(basis @ coefficients)``.

    Attributes:
        horizon: environment steps T.
        action_size: actions A per step.
        basis: values over time of the basis functions, shape (T, K); ``None`` is the identity (K = T).
        squash: "project" (coefficients within [-1, 1]) or "tanh".
    """

    horizon: int
    action_size: int
    basis: np.ndarray | None
    squash: str

    @property
    def size(self) -> int:
        """Length of the parameter vector, K * A."""
        return (self.horizon if self.basis is None else self.basis.shape[1]) * self.action_size

    @property
    def bounded(self) -> bool:
        """Whether the parameters live in [-1, 1]."""
        return self.squash == "project"

    def actions(self, parameters: np.ndarray) -> np.ndarray:
        """Normalised actions, shape (T, A), of the parameter vector, shape (K * A,)."""
        coefficients = np.asarray(parameters, np.float64).reshape(-1, self.action_size)
        raw = coefficients if self.basis is None else self.basis @ coefficients
        return np.tanh(raw) if self.squash == "tanh" else np.clip(raw, -1.0, 1.0)

    def adjoint(self, parameters: np.ndarray, action_cotangent: np.ndarray) -> np.ndarray:
        """Gradient with respect to the parameters, shape (K * A,), of Σ <action_cotangent, actions>, shape (T, A).

        ``project`` counts as the identity: inside the bounds it is, and on them the update is put back afterwards.
        """
        raw_cotangent = np.asarray(action_cotangent, np.float64)
        if self.squash == "tanh":
            raw_cotangent = raw_cotangent * (1.0 - self.actions(parameters) ** 2)
        return (raw_cotangent if self.basis is None else self.basis.T @ raw_cotangent).ravel()

    def project(self, parameters: np.ndarray) -> np.ndarray:
        """The nearest admissible parameter vector, shape (K * A,)."""
        return np.clip(parameters, -1.0, 1.0) if self.bounded else parameters

    def touches(self, steps: int) -> np.ndarray:
        """Which parameters the actions of the first ``steps`` steps depend on, booleans of shape (K * A,)."""
        if self.basis is None:
            touched = np.arange(self.horizon) < steps
        else:
            touched = (self.basis[:steps] != 0.0).any(axis=0)
        return np.repeat(touched, self.action_size)

    def nearest(self, actions: np.ndarray) -> np.ndarray:
        """Parameters, shape (K * A,), whose actions are nearest to the given ones, shape (T, A): least squares.

        With "tanh" the distance is that of the values before squashing.
        """
        raw = np.asarray(actions, np.float64)
        if self.squash == "tanh":
            raw = np.arctanh(np.clip(raw, -SATURATED, SATURATED))
        if self.basis is not None:
            raw = np.linalg.lstsq(self.basis, raw, rcond=None)[0]
        return self.project(raw.ravel())

    def initial(self, random: np.random.Generator, noise: float) -> np.ndarray:
        """A start near zero action, shape (K * A,): normal noise of the given standard deviation."""
        return self.project(noise * random.standard_normal(self.size))


def sequence(horizon: int, action_size: int) -> Parametrisation:
    """One free action per step: T * A parameters."""
    return Parametrisation(horizon, action_size, None, "project")


def knots(horizon: int, action_size: int, count: int, *, degree: int = 1) -> Parametrisation:
    """A clamped uniform B-spline through time: piecewise linear (degree 1) or cubic (degree 3).

    B-spline weights are non-negative with sum one, so the curve stays within the bounds of its ``count`` coefficients.
    """
    from scipy.interpolate import BSpline

    if count <= degree:
        raise ValueError(f"knots={count} is too few for a spline of degree {degree}; at least {degree + 1} are needed")
    if count > horizon:
        raise ValueError(f"knots={count} exceeds the {horizon} steps of the episode; use at most one knot per step")
    inner = np.linspace(0.0, 1.0, count - degree + 1)
    knot_vector = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    basis = BSpline.design_matrix(np.linspace(0.0, 1.0, horizon), knot_vector, degree).toarray()
    return Parametrisation(horizon, action_size, basis, "project")


def sinusoids(horizon: int, action_size: int, frequencies: np.ndarray, *, time_step: float) -> Parametrisation:
    """Per action a bias and, for each frequency [Hz], a sine and a cosine coefficient, squashed by tanh.

    The two coefficients (a, b) are amplitude √(a² + b²) and phase atan2(b, a) in Cartesian form: unlike amplitude and
    phase themselves, they have no dead point at amplitude zero.

    Args:
        frequencies: frequencies [Hz], shape (F,); the basis has K = 1 + 2 F functions: 1, sin, ..., cos, ...
        time_step: duration of an environment step [s].
    """
    phase = 2.0 * np.pi * np.outer(np.arange(horizon) * time_step, np.asarray(frequencies, np.float64))
    basis = np.concatenate([np.ones((horizon, 1)), np.sin(phase), np.cos(phase)], axis=1)
    return Parametrisation(horizon, action_size, basis, "tanh")


def make_parametrisation(
    settings: TrajectorySettings, *, horizon: int, action_size: int, time_step: float
) -> Parametrisation:
    """The parametrisation that ``settings`` describe, for an episode of ``horizon`` steps of ``time_step`` seconds."""
    if settings.parametrisation == "sequence":
        return sequence(horizon, action_size)
    if settings.parametrisation == "knots":
        return knots(horizon, action_size, settings.knots, degree=settings.knot_degree)
    base = settings.base_frequency or 1.0 / (horizon * time_step)
    frequencies = base * np.arange(1, settings.sinusoids + 1)
    return sinusoids(horizon, action_size, frequencies, time_step=time_step)
