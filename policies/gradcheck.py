"""Analytic gradients of whole episodes against central differences, for any differentiable environment.

The return V of a short episode with random actions is differentiated with respect to the actions, each array of the
initial state and each parameter. Along random directions d the derivative <gradient, d> is compared with
(V(x + h d) - V(x - h d)) / 2 h. Of several steps h the one is taken whose difference quotient agrees best with that of
its neighbour, noise included, which still smaller steps tell: the choice does not look at the analytic value.

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
STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
"""Relative steps h of the central differences, in units of the largest entry of the array."""

DISPLACED = 1e-3
"""Scale of the differences of displacements that are all 0 [m]."""

TINY_STEPS = (1e-10, 1e-11)
"""Steps that show nothing but the noise of the return, as solvers iterate to a tolerance."""

NOISE = 3.0
"""How much of it there may be, in units of the largest that these show."""

MOST_NOISE = 1e-3
"""Largest share of a derivative that is put down to noise."""

BATCH = 2
"""Directions whose difference quotients are simulated at a time, so that memory does not grow with their number."""

NEGLIGIBLE = 1e-6
"""Derivatives below this fraction of the sum of absolute rewards are compared on that scale: their difference quotients
are rounding."""


COUNTS = ("injected_quanta", "injected_remainder")
"""State arrays that count what injectors have let in: whole numbers of particles and what is left of the next one. They
decide which particles take part, and have no difference quotient."""


@dataclass
class GradientRow:
    """The outcome for one quantity (worst direction).

    Attributes:
        environment: id.
        quantity: "actions", "initial_state.NAME" or "parameters.NAME".
        entries: number of entries of the array.
        analytic, numeric: derivatives along the worst direction (float64); norms of both gradients (float32).
        step: relative step of the difference quotient (nan in float32).
        error: relative error beyond the noise of the difference quotient (float64), or 1 - cosine (float32).
        tolerance: the largest error that passes.
        cosine: of the angle between the derivatives along all directions, analytic and numeric (float64; 1 where all
            are negligible), or between the two gradients (float32).
    """

    environment: str
    quantity: str
    entries: int
    analytic: float
    numeric: float
    step: float
    error: float
    tolerance: float
    cosine: float = 1.0

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
        self.worlds: Any = None

    def actions(self, env: Any) -> np.ndarray:
        """Random actions well inside the bounds, exact in float32, shape (steps, A)."""
        if self.steps > env.horizon:
            raise ValueError(f"steps={self.steps} exceeds the episode of {self.env_id}; allowed: up to {env.horizon}")
        random = np.random.default_rng(self.seed)
        return random.uniform(-0.8, 0.8, (self.steps, env.action_space.shape[0])).astype(np.float32).astype(np.float64)

    def gradient(self, precision: str) -> _Evaluation:
        import gymnasium

        options = self.options | {"precision": precision, "differentiable": True}
        env: Any = gymnasium.make(self.env_id, disable_env_checker=True, **options).unwrapped
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
                    if name in COUNTS:
                        continue
                    arrays[f"{kind}.{name}"] = np.array(array, np.float64)
                    points[f"{kind}.{name}"] = values[name]
            return _Evaluation(arrays, points, float(np.abs(rewards).sum()))
        finally:
            env.close()

    def values(self, name: str, points: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Returns, shape (B,), with ``name`` at each of the points, shape (B, ...), and all else unchanged."""
        batch = len(points)
        if self.worlds is None or self.worlds.num_envs != batch:
            self.close()
            self.worlds = self._make_worlds(batch)
        seeds = [self.seed] * batch
        kind, _, array = name.partition(".")
        if kind == "actions":
            return self.worlds.evaluate(points, seed=seeds)
        repeated = np.broadcast_to(actions, (batch, *actions.shape))
        if kind == "initial_state":
            return self.worlds.evaluate(repeated, seed=seeds, options={"state": {array: points}})
        if _draws_parameters(self.worlds):  # a value that is set would be drawn anew at the reset
            return self.worlds.evaluate(repeated, seed=seeds, options={"parameters": {array: points}})
        usual = self.worlds.parameter(array)
        self.worlds.set_parameter(array, points)
        try:
            return self.worlds.evaluate(repeated, seed=seeds)
        finally:
            self.worlds.set_parameter(array, usual)

    def _make_worlds(self, batch: int) -> Any:
        import gymnasium

        options = self.options | {"precision": "f64"}
        return gymnasium.make_vec(
            self.env_id, num_envs=batch, vectorization_mode="vector_entry_point", **options
        ).unwrapped

    def close(self) -> None:
        if self.worlds is not None:
            self.worlds.close()


def _draws_parameters(env: Any) -> bool:
    """Whether the task of an environment draws parameters at each reset."""
    from pliant.envs.task import Task

    task = getattr(env, "task", None)
    return isinstance(task, Task) and type(task).make_parameters is not Task.make_parameters


def _compare_differences(
    problem: _Problem, wide: _Evaluation, name: str, directions: int, random: np.random.Generator, tolerance: float
) -> GradientRow:
    """The worst of some random directions; those of ``BATCH`` directions are simulated at a time."""
    gradient, point = wide.arrays[name], wide.points[name]
    scale: Any = float(np.abs(point).max(initial=0.0)) or (DISPLACED if name.endswith("displacement") else 1.0)
    if (
        name.startswith("parameters.")
        and (point >= 0).all()
        and (point.any() or name.endswith(("friction", "damping")))
    ):
        scale = point  # what may not be negative changes by a share of itself: viscosities of one scene differ widely
    bearings = scale * random.standard_normal((directions, *point.shape))
    on_sphere = name.endswith("orientation")  # unit quaternions are perturbed along the sphere
    if on_sphere:
        bearings -= point * (bearings * point).sum(axis=-1, keepdims=True)
    every = np.array(STEPS + TINY_STEPS)
    points = point + np.multiply.outer(np.multiply.outer([1.0, -1.0], every), bearings)  # (2, steps, directions, ...)
    if on_sphere:
        points /= np.linalg.norm(points, axis=-1, keepdims=True)
    together = BATCH if directions % BATCH == 0 else 1  # all parts alike: worlds are made once
    values = np.concatenate(
        [
            problem.values(name, part.reshape(-1, *point.shape), wide.points["actions"]).reshape(part.shape[:3])
            for part in np.split(points, range(together, directions, together), axis=2)
        ],
        axis=2,
    )
    ahead, behind = values
    quotients = (ahead - behind) / (2.0 * every[:, None])
    shown = np.abs(np.diff(quotients[len(STEPS) - 1 :], axis=0)) * np.array(TINY_STEPS)[:, None]
    noise = max(float(np.finfo(np.float64).eps * wide.scale), NOISE * float(shown.max()))
    rows = []
    for bearing, column in zip(bearings, quotients.T, strict=True):
        analytic = float((gradient * bearing).sum())
        doubt = np.abs(np.diff(column[: len(STEPS)])) + noise / np.array(STEPS[1:])
        chosen = int(np.argmin(doubt)) + 1  # of the two that agree best, the one of less truncation
        numeric = float(column[chosen])
        size = max(abs(analytic), abs(numeric), NEGLIGIBLE * wide.scale)
        granted = min(noise / STEPS[chosen], MOST_NOISE * size)
        error = max(abs(analytic - numeric) - granted, 0.0) / size if size > 0 else 0.0
        rows.append(GradientRow(problem.env_id, name, point.size, analytic, numeric, STEPS[chosen], error, tolerance))
    worst = max(rows, key=lambda row: np.inf if np.isnan(row.error) else row.error)
    pair = np.array([[row.analytic, row.numeric] for row in rows]).T
    worst.cosine = _cosine(*pair) if np.abs(pair).max() > NEGLIGIBLE * wide.scale else 1.0
    return worst


def _compare_precisions(env_id: str, name: str, narrow: np.ndarray, wide: np.ndarray, tolerance: float) -> GradientRow:
    """One minus the cosine of the angle between the float32 and the float64 gradient."""
    norms = float(np.linalg.norm(narrow)), float(np.linalg.norm(wide))
    cosine = _cosine(narrow, wide)
    return GradientRow(env_id, name, wide.size, *norms, float("nan"), 1.0 - cosine, tolerance, cosine)


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Of the angle between two arrays; 1 where both vanish, 0 where one does."""
    norms = float(np.linalg.norm(left)), float(np.linalg.norm(right))
    if max(norms) == 0.0:
        return 1.0
    return float((left * right).sum()) / (norms[0] * norms[1]) if min(norms) > 0.0 else 0.0
