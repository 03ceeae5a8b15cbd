"""Analytic gradients of whole episodes against central differences, for any differentiable environment.

The return V of a short episode with random actions is differentiated with respect to the actions, each array of the
initial state and each parameter. Along random directions d the derivative <gradient, d> is compared with
(V(x + h d) - V(x - h d)) / 2 h. Of several steps h the one is taken whose difference quotient agrees best with that of
its neighbour: the choice does not look at the analytic value.

In float32 a difference quotient is mostly rounding; there the float32 gradient is compared with the float64 one by the
cosine of the angle between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

TOLERANCE = 1e-4
COSINE_TOLERANCE = 1e-3
STEPS = (1e-4, 1e-5, 1e-6)
"""Relative steps h of the central differences, in units of the largest entry of the array."""

NEGLIGIBLE = 1e-6
"""Derivatives below this fraction of the sum of absolute rewards are compared on that scale: their difference quotients
are rounding."""


@dataclass
class GradientRow:
    """The outcome for one quantity (worst direction).

    Attributes:
        environment: id.
        quantity: "actions", "initial_state.NAME" or "parameters.NAME".
        entries: number of entries of the array.
        analytic, numeric: derivatives along the worst direction (float64); norms of both gradients (float32).
        step: relative step of the difference quotient (nan in float32).
        error: relative error (float64), or 1 - cosine (float32).
        tolerance: the largest error that passes.
    """

    environment: str
    quantity: str
    entries: int
    analytic: float
    numeric: float
    step: float
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def check_gradients(
    env_id: str,
    *,
    precision: str = "f64",
    steps: int = 20,
    seed: int = 0,
    directions: int = 2,
    tolerance: float | None = None,
    quantities: Sequence[str] | None = None,
    on_row: Callable[[GradientRow], None] | None = None,
    **options: Any,
) -> list[GradientRow]:
    """Check all gradients of an environment over an episode of ``steps`` steps with random actions.

    Args:
        env_id: a registered id.
        precision: "f64" compares with central differences, "f32" with the float64 gradient.
        steps: environment steps.
        seed: seed of the episode, the actions and the directions.
        directions: random directions per quantity.
        tolerance: largest error that passes; default ``TOLERANCE`` (f64) or ``COSINE_TOLERANCE`` (f32).
        quantities: only these, for example ("actions", "parameters.youngs_modulus"); default all.
        on_row: called with each row as it is done.
        options: keyword arguments for ``gymnasium.make``.

    Returns:
        One row per quantity.

    Raises:
        ValueError: an argument is out of range, or a quantity is unknown.
    """
    if precision not in ("f32", "f64"):
        raise ValueError(f"precision={precision!r} is unknown; allowed: f32, f64")
    if steps < 1 or directions < 1:
        raise ValueError(f"steps={steps} and directions={directions} must be at least 1")
    problem = _Problem(env_id, options, steps, seed)
    try:
        wide = problem.gradient("f64")
        names = list(wide.arrays) if quantities is None else list(quantities)
        unknown = [name for name in names if name not in wide.arrays]
        if unknown:
            raise ValueError(f"quantities={unknown} are unknown in {env_id}; allowed: {', '.join(wide.arrays)}")
        narrow = problem.gradient("f32") if precision == "f32" else None
        rows = []
        for index, name in enumerate(names):
            if narrow is not None:
                limit = COSINE_TOLERANCE if tolerance is None else tolerance
                row = _compare_precisions(env_id, name, narrow.arrays[name], wide.arrays[name], limit)
            else:
                limit = TOLERANCE if tolerance is None else tolerance
                random = np.random.default_rng((seed, index))
                row = _compare_differences(problem, wide, name, directions, random, limit)
            rows.append(row)
            if on_row is not None:
                on_row(row)
        return rows
    finally:
        problem.close()


@dataclass
class _Evaluation:
    """Gradient arrays by quantity, the points at which they were taken, and the sum of absolute rewards."""

    arrays: dict[str, np.ndarray]
    points: dict[str, np.ndarray]
    scale: float


class _Problem:
    """The return of one short episode as a function of actions, initial state and parameters."""

    def __init__(self, env_id: str, options: dict[str, Any], steps: int, seed: int) -> None:
        self.env_id, self.options, self.steps, self.seed = env_id, options, steps, seed
        self.plain: Any = None

    def make(self, precision: str, *, differentiable: bool = False) -> Any:
        import gymnasium

        options = self.options | {"precision": precision, "differentiable": differentiable}
        return gymnasium.make(self.env_id, disable_env_checker=True, **options).unwrapped

    def actions(self, env: Any) -> np.ndarray:
        """Random actions well inside the bounds, exact in float32, shape (steps, A)."""
        if self.steps > env.horizon:
            raise ValueError(f"steps={self.steps} exceeds the episode of {self.env_id}; allowed: up to {env.horizon}")
        random = np.random.default_rng(self.seed)
        return random.uniform(-0.8, 0.8, (self.steps, env.action_space.shape[0])).astype(np.float32).astype(np.float64)

    def gradient(self, precision: str) -> _Evaluation:
        env = self.make(precision, differentiable=True)
        try:
            actions = self.actions(env)
            env.reset(seed=self.seed)
            points = {"actions": actions}
            rewards = []
            state = {name: np.array(env.state(name), np.float64) for name in env.state_names}
            parameters = {name: np.array(env.parameter(name), np.float64) for name in env.parameter_names}
            for action in actions:
                rewards.append(float(env.step(action)[1]))
            gradient = env.backward()
            arrays = {"actions": np.array(gradient.actions, np.float64)}
            for kind, given, values in (
                ("initial_state", gradient.initial_state, state),
                ("parameters", gradient.parameters, parameters),
            ):
                for name, array in given.items():
                    arrays[f"{kind}.{name}"] = np.array(array, np.float64)
                    points[f"{kind}.{name}"] = values[name]
            return _Evaluation(arrays, points, float(np.abs(rewards).sum()))
        finally:
            env.close()

    def value(self, name: str, point: np.ndarray, actions: np.ndarray) -> float:
        """The return with the quantity ``name`` at ``point`` and all others unchanged."""
        if self.plain is None:
            self.plain = self.make("f64")
        kind, _, array = name.partition(".")
        if kind == "actions":
            return self.plain.evaluate(point, seed=self.seed)
        if kind == "initial_state":
            return self.plain.evaluate(actions, seed=self.seed, options={"state": {array: point}})
        usual = self.plain.parameter(array)
        self.plain.set_parameter(array, point)
        try:
            return self.plain.evaluate(actions, seed=self.seed)
        finally:
            self.plain.set_parameter(array, usual)

    def close(self) -> None:
        if self.plain is not None:
            self.plain.close()


def _compare_differences(
    problem: _Problem, wide: _Evaluation, name: str, directions: int, random: np.random.Generator, tolerance: float
) -> GradientRow:
    """The worst of some random directions."""
    gradient, point = wide.arrays[name], wide.points[name]
    actions = wide.points["actions"]
    scale = float(np.abs(point).max(initial=0.0)) or 1.0
    worst: GradientRow | None = None
    for _ in range(directions):
        direction = scale * random.standard_normal(point.shape)
        if name.endswith("orientation"):  # unit quaternions: along the sphere
            direction -= point * (direction * point).sum(axis=-1, keepdims=True)
        analytic = float((gradient * direction).sum())
        quotients = []
        for step in STEPS:
            ahead, behind = point + step * direction, point - step * direction
            if name.endswith("orientation"):
                ahead, behind = (q / np.linalg.norm(q, axis=-1, keepdims=True) for q in (ahead, behind))
            difference = problem.value(name, ahead, actions) - problem.value(name, behind, actions)
            quotients.append(difference / (2.0 * step))
        gaps = np.abs(np.diff(quotients))
        chosen = int(np.argmin(gaps))
        chosen += int(chosen > 0)  # of the pair that agrees best, the inner one: the least truncation and rounding
        numeric = quotients[chosen]
        size = max(abs(analytic), abs(numeric), NEGLIGIBLE * wide.scale)
        error = abs(analytic - numeric) / size if size > 0 else 0.0
        if worst is None or not error <= worst.error:
            worst = GradientRow(
                problem.env_id, name, point.size, analytic, numeric, STEPS[chosen], float(error), tolerance
            )
    assert worst is not None
    return worst


def _compare_precisions(env_id: str, name: str, narrow: np.ndarray, wide: np.ndarray, tolerance: float) -> GradientRow:
    """One minus the cosine of the angle between the float32 and the float64 gradient."""
    norms = float(np.linalg.norm(narrow)), float(np.linalg.norm(wide))
    if max(norms) == 0.0:
        error = 0.0
    elif min(norms) == 0.0:
        error = 1.0
    else:
        error = 1.0 - float((narrow * wide).sum()) / (norms[0] * norms[1])
    return GradientRow(env_id, name, wide.size, *norms, float("nan"), error, tolerance)
