"""What follows from the figures of a diagnosis: checks that fail, a verdict, and settings with reasons."""

from __future__ import annotations

import math

from pliant.policies.diagnosis.figures import Recommendation, Row, Settings
from pliant.policies.diagnosis.lyapunov import Exponents

MOST_ROUNDING = 0.1
"""Relative error of the float32 gradient above which float32 does not do."""

MOST_GROWTH = 1e3
"""Of a perturbation in a chaotic scene: one of a thousandth of the state's range is then as large as that."""

LATE_GROWTH = 10.0
"""Growth over the later half of the steps that is called exponential. One by a power p of time, as of a body that moves
off freely (p = 1), is 2^p."""

LEAST_STEPS = 8
"""Steps from which growth is judged."""

LINEAR = 0.1
"""Error of a tangent, as a share of the range of a slice, up to which the return counts as linear there."""


def is_chaotic(exponents: Exponents) -> bool | None:
    """Whether tangent vectors grow exponentially; None for products too short to tell.

    The leading exponent has to be positive by more than twice its error, and the leading vector has to grow tenfold
    over the later half of the steps, where growth by a power of time does little.
    """
    steps = len(exponents.stretches)
    if steps < LEAST_STEPS:
        return None
    late = float(exponents.stretches[steps // 2 :, 0].sum())
    return bool(exponents.exponents[0] > 2 * exponents.errors[0] and late > math.log(LATE_GROWTH))


def find_faults(row: Row, *, is_biased: bool, chaotic: bool) -> list[str]:
    """The checks that fail at a horizon, by name, in the order in which they matter."""
    checks = {
        "overflow": not math.isfinite(row.gradient_norm + row.first_variance),
        "variance": row.first_variance > row.zeroth_variance,
        "bias": is_biased,
        "jumps": row.jumps > 0,
        "growth": chaotic and row.growth > MOST_GROWTH,
        "rounding": row.relative_error > MOST_ROUNDING,
    }
    return [name for name, failed in checks.items() if failed]


def recommend(
    rows: list[Row], settings: Settings, exponents: Exponents | None, chaotic: bool | None
) -> tuple[str, list[Recommendation]]:
    """The verdict and the recommendations.

    The horizon is the longest up to which no check fails, rounding apart: float64 helps against that.
    """
    good = 0
    while good < len(rows) and not set(rows[good].faults) - {"rounding"}:
        good += 1
    if chaotic:
        verdict = "chaotic"
    else:
        verdict = "trusted" if good == len(rows) else "limited" if good else "not trusted"
    used, broken = rows[max(good - 1, 0)], rows[good] if good < len(rows) else None
    return verdict, [
        Recommendation("horizon", used.horizon if good else None, _why_horizon(used, broken, exponents)),
        _sigma(used, broken, settings),
        _alpha(used, trusted=good > 0),
        _precision(used, settings),
    ]


def _why_horizon(used: Row, broken: Row | None, exponents: Exponents | None) -> str:
    if broken is None:
        return f"all checks pass up to {used.horizon} steps, the longest horizon tried"
    why = {
        "overflow": "an episode diverges or its gradient overflows",
        "variance": f"the first-order gradient has {_ratio(broken)} times the variance of the zeroth-order one",
        "bias": f"both estimators differ by {abs(broken.bias):.2g} where chance explains {broken.allowed:.2g}",
        "jumps": f"the derivative does not explain {broken.jumps} of the intervals of the slices",
        "growth": f"perturbations grow by a factor of {broken.growth:.2g}"
        + ("" if exponents is None else f", {exponents.exponents[0]:.2g} e-foldings a step"),
    }
    reasons = " and ".join(why[name] for name in broken.faults if name in why)
    return f"at {broken.horizon} steps {reasons}"


def _ratio(row: Row) -> str:
    if not math.isfinite(row.first_variance):
        return "infinitely many"
    return f"{row.first_variance / max(row.zeroth_variance, 1e-300):.2g}"


def _sigma(used: Row, broken: Row | None, settings: Settings) -> Recommendation:
    tried, span = settings.sigma, f"within {2 * settings.sigma:g} of the actions"
    if broken is not None:
        where = "at all horizons" if broken is used else f"beyond {used.horizon} steps"
        return Recommendation("sigma", tried, f"{where} the return needs smoothing, and this noise was tried")
    if used.tangent_error <= LINEAR:
        reason = f"{span} the return is linear to {100 * used.tangent_error:.2g} % of its range"
        return Recommendation("sigma", 0.0, reason)
    return Recommendation("sigma", 0.0, f"{span} the return is curved, but its derivative explains it without jumps")


def _alpha(used: Row, *, trusted: bool) -> Recommendation:
    if not trusted and {"bias", "jumps", "overflow"} & set(used.faults):
        return Recommendation("alpha", 0.0, "the first-order gradient is wrong at the shortest horizon already")
    variances = f"{used.first_variance:.2g} (first order) and {used.zeroth_variance:.2g} (zeroth)"
    reason = f"it gives the mixture the least variance at {used.horizon} steps, where they have {variances}"
    return Recommendation("alpha", round(used.alpha, 3), reason)


def _precision(used: Row, settings: Settings) -> Recommendation:
    if math.isnan(used.cosine) and used.relative_error != math.inf:
        return Recommendation("precision", settings.precision, "float64 is not there to compare with")
    share = f"{100 * used.relative_error:.2g} %"
    if "rounding" in used.faults:
        return Recommendation("precision", "f64", f"at {used.horizon} steps the float32 gradient is off by {share}")
    reason = f"at {used.horizon} steps its gradient is that of float64 to {share} (cosine {used.cosine:.6f})"
    return Recommendation("precision", "f32", reason)
