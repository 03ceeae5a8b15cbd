"""The diagnosis of an environment's first-order gradients against the horizon, put together from its parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pliant.policies.diagnosis.advice import find_faults, is_chaotic, recommend
from pliant.policies.diagnosis.episodes import Played, count_contacts, play, step_exponents
from pliant.policies.diagnosis.estimators import Slice, compare, controlled_zeroth_order, crossover, zeroth_order
from pliant.policies.diagnosis.figures import Recommendation, Row, Settings
from pliant.policies.diagnosis.lyapunov import Exponents
from pliant.sims.failures import SimulationDiverged

MakeWorlds = Callable[[str, int], Any]
"""``make(precision, worlds)`` gives a differentiable vector environment, or None where that precision cannot be had."""


@dataclass
class Diagnosis:
    """What was found.

    Attributes:
        settings: what was asked.
        rows: one for each horizon.
        exponents: of the step along the episode; None where there is no float64 or the products overflow.
        counted_from: the step from which the exponents count.
        step_time: duration of an environment step [s], None where the environment does not tell.
        chaotic: whether neighbouring states part exponentially; None where that cannot be told.
        crossover: horizon from which FoBG has the larger variance; None: not within the horizons.
        slices: through the actions of the longest horizon.
        contacts: contacts of effectors that begin or end in the episode without noise; None without effectors.
        failures: what has diverged, as sentences.
        verdict: "trusted", "limited", "chaotic" or "not trusted".
        recommendations: horizon, sigma, alpha and precision, with the reason for each.
    """

    settings: Settings
    rows: list[Row]
    exponents: Exponents | None
    counted_from: int
    step_time: float | None
    chaotic: bool | None
    crossover: float | None
    slices: list[Slice]
    contacts: int | None
    failures: list[str]
    verdict: str
    recommendations: list[Recommendation]

    def to_dict(self) -> dict[str, Any]:
        """Plain content; figures that are not finite are nan or infinite."""
        found: dict[str, Any] = {
            "verdict": self.verdict,
            "chaotic": self.chaotic,
            "crossover": self.crossover,
            "recommendations": [asdict(one) for one in self.recommendations],
            "rows": [asdict(row) for row in self.rows],
            "exponents": None,
            "contacts": {"from": self.contacts_from, "events": self.contact_events},
            "slices": [
                {
                    name: getattr(one, name).tolist()
                    for name in ("offsets", "values", "slopes", "tangent", "unexplained")
                }
                for one in self.slices
            ],
            "failures": self.failures,
            "settings": asdict(self.settings),
        }
        if self.exponents is not None:
            per_step = self.exponents.exponents
            found["exponents"] = {
                "per_step": per_step.tolist(),
                "per_second": None if self.step_time is None else (per_step / self.step_time).tolist(),
                "errors_per_step": self.exponents.errors.tolist(),
                "stretches": self.exponents.stretches.tolist(),
                "from_step": self.counted_from,
            }
        return found

    @property
    def contacts_from(self) -> str:
        """What contact events were counted by."""
        return "jumps of the slices" if self.contacts is None else "forces on the effectors"

    @property
    def contact_events(self) -> int:
        """Contacts that begin or end, or jumps of the return along the slices of the longest horizon."""
        return self.rows[-1].jumps if self.contacts is None else self.contacts


def diagnose(
    make: MakeWorlds,
    actions: np.ndarray,
    settings: Settings,
    *,
    on_stage: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Diagnose the gradients of the return by the actions of an open loop (arXiv 2111.05803, arXiv 2202.00817).

    Args:
        make: makes the environments; each is closed when it has served.
        actions: shape (T, A), T the longest horizon.
        settings: see `Settings`.
        on_stage: called with what is done next.

    Raises:
        ValueError: a setting is out of range, or the shape of the actions does not fit.
        RuntimeError: the episode diverges without noise.
    """
    _check(settings, actions)
    horizons, random = settings.horizons, np.random.default_rng(settings.seed)
    noise = random.standard_normal((settings.samples, *actions.shape))
    directions = random.standard_normal((settings.slices, *actions.shape))
    offsets = np.linspace(-2.0, 2.0, settings.points) * settings.sigma
    along = actions + offsets[None, :, None, None] * directions[:, None]
    points = np.concatenate([actions[None], along.reshape(-1, *actions.shape), actions + settings.sigma * noise])

    on_stage(f"{len(points)} episodes of {len(actions)} steps and their gradients")
    played, step_time = _play(make, settings.precision, settings.worlds, points, settings)
    on_stage("gradient and growth of tangent vectors in float64")
    exponents, counted_from, wide, failure = _in_double(make, actions, settings)
    own = _gradients(played, 0)
    if settings.precision == "f64":
        on_stage("gradient in float32")
        narrow = _gradients(_play(make, "f32", 1, actions[None], settings)[0], 0)
    else:
        narrow = own
    chaotic = None if exponents is None else is_chaotic(exponents)

    rows, slices = [], []
    start = 1 + settings.slices * settings.points
    for h in horizons:
        values = played.rewards[:, :h].sum(axis=1)
        slices = _slices(values, played.gradients[h], directions[:, :h], offsets, settings)
        first = played.gradients[h][start:].reshape(settings.samples, -1)
        zeroth = zeroth_order(played.rewards[start:, :h], noise[:, :h], settings.sigma).reshape(first.shape)
        gradient = own[h].ravel()
        flat_noise = noise[:, :h].reshape(first.shape)
        controlled = controlled_zeroth_order(values[start:], flat_noise, gradient, settings.sigma)
        compared = compare(first, zeroth, controlled, gradient, delta=settings.delta / len(horizons))
        cosine, error = _agreement(narrow[h], wide[h]) if wide else (math.nan, math.nan)
        row = Row(
            horizon=h,
            value=float(values[0]),
            gradient_norm=float(np.linalg.norm(own[h])),
            first_action_norm=float(np.linalg.norm(own[h][0])),
            growth=math.nan if exponents is None else _growth(exponents, h - counted_from),
            first_norm=compared.first_norm,
            zeroth_norm=compared.zeroth_norm,
            first_variance=compared.first_variance,
            zeroth_variance=compared.zeroth_variance,
            alpha=compared.alpha,
            bias=compared.bias,
            allowed=compared.allowed,
            cosine=cosine,
            relative_error=error,
            tangent_error=float(np.median([one.tangent_error for one in slices])),
            jumps=sum(one.jumps for one in slices),
        )
        row.faults = find_faults(row, is_biased=compared.is_biased, chaotic=bool(chaotic))
        rows.append(row)
    verdict, recommendations = recommend(rows, settings, exponents, chaotic)
    return Diagnosis(
        settings=settings,
        rows=rows,
        exponents=exponents,
        counted_from=counted_from,
        step_time=step_time,
        chaotic=chaotic,
        crossover=crossover(
            np.array(horizons),
            np.array([row.first_variance for row in rows]),
            np.array([row.zeroth_variance for row in rows]),
        ),
        slices=slices,
        contacts=None if played.forces is None else count_contacts(played.forces),
        failures=played.failures + failure,
        verdict=verdict,
        recommendations=recommendations,
    )


def _check(settings: Settings, actions: np.ndarray) -> None:
    horizons = settings.horizons
    if not horizons or min(horizons) < 1 or list(horizons) != sorted(set(horizons)):
        raise ValueError(f"horizons={horizons} must be rising numbers of steps, from 1")
    if actions.ndim != 2 or len(actions) != horizons[-1]:
        raise ValueError(f"actions has shape {actions.shape}; it must be (T, A) with T={horizons[-1]}")
    if settings.samples < 4:
        raise ValueError(f"samples={settings.samples} is out of range; it must be at least 4")
    if not 0 < settings.sigma < math.inf:
        raise ValueError(f"sigma={settings.sigma} is out of range; it must be above 0")
    if settings.points < 3 or settings.points % 2 == 0:
        raise ValueError(f"points={settings.points} is out of range; it must be an odd number from 3")
    for name in ("slices", "exponents", "worlds"):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name}={getattr(settings, name)} is out of range; it must be at least 1")


def _play(
    make: MakeWorlds, precision: str, worlds: int, points: np.ndarray, settings: Settings
) -> tuple[Played, float | None]:
    """Episodes in an environment of their own, and its step time [s]."""
    env = make(precision, min(worlds, len(points)))
    try:
        played = play(env, points, settings.horizons, seed=settings.seed)
        if not np.isfinite(played.rewards[0]).all():
            raise RuntimeError(f"the episode without noise cannot be simulated: {played.failures[0]}")
        return played, getattr(getattr(env, "task", None), "step_time", None)
    finally:
        env.close()


def _in_double(
    make: MakeWorlds, actions: np.ndarray, settings: Settings
) -> tuple[Exponents | None, int, dict[int, np.ndarray], list[str]]:
    """Exponents, the step from which they count, gradients by horizon, and what has failed; no exponents and no
    gradients where there is no float64."""
    env = make("f64", settings.exponents + 1)
    if env is None:
        return None, 0, {}, []
    try:
        played = play(env, actions[None], settings.horizons, seed=settings.seed)
        gradients = _gradients(played, 0)
        if len(actions) < 2:
            return None, 0, gradients, played.failures
        try:
            exponents, counted_from = step_exponents(env, actions, seed=settings.seed)
        except (SimulationDiverged, ValueError, np.linalg.LinAlgError) as failure:
            return None, 0, gradients, [*played.failures, f"Jacobians in float64: {failure}"]
        return exponents, counted_from, gradients, played.failures
    finally:
        env.close()


def _growth(exponents: Exponents, steps: int) -> float:
    """Of the leading vector in so many steps, at least none."""
    return float(np.exp(exponents.growth[steps - 1])) if steps > 0 else 1.0


def _gradients(played: Played, episode: int) -> dict[int, np.ndarray]:
    return {h: gradients[episode] for h, gradients in played.gradients.items()}


def _slices(
    values: np.ndarray, gradients: np.ndarray, directions: np.ndarray, offsets: np.ndarray, settings: Settings
) -> list[Slice]:
    """Slices at one horizon H from all episodes played: values (M,), gradients (M, H, A), directions (D, H, A)."""
    found = []
    for index, direction in enumerate(directions):
        first = 1 + index * settings.points
        rows = slice(first, first + settings.points)
        slopes = (gradients[rows] * direction).sum(axis=(1, 2))
        found.append(Slice(offsets, values[rows], slopes))
    return found


def _agreement(narrow: np.ndarray, wide: np.ndarray) -> tuple[float, float]:
    """Cosine of the angle between two gradients, and the norm of their difference relative to that of ``wide``."""
    norms = float(np.linalg.norm(narrow)), float(np.linalg.norm(wide))
    if not np.isfinite(norms).all():
        return math.nan, math.inf
    if min(norms) == 0.0:
        return (1.0, 0.0) if norms[0] == norms[1] else (0.0, 1.0 if norms[1] else math.inf)
    return float((narrow * wide).sum()) / (norms[0] * norms[1]), float(np.linalg.norm(narrow - wide)) / norms[1]


def default_horizons(longest: int, count: int = 5) -> tuple[int, ...]:
    """Horizons of which each is half the next one, up to the longest: (5, 10, 20, 40, 80) of 80."""
    return tuple(sorted({max(1, math.ceil(longest / 2**k)) for k in range(count)}))


def small_actions(steps: int, size: int, seed: int) -> np.ndarray:
    """Random actions within a fifth of their bounds, shape (steps, size): not at rest, and far from where they clip."""
    return np.random.default_rng((seed, 1)).uniform(-0.2, 0.2, (steps, size))
