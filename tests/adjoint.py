"""The dot-product test: a hand-derived adjoint against central differences of its forward function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """One dot product: cotangent of ``output`` against a direction of ``input``."""

    input: str
    output: str
    numeric: float
    analytic: float
    error: float  # relative to the larger of both, see check_adjoint

    def __str__(self) -> str:
        return (
            f"d {self.output} / d {self.input}: central differences {self.numeric:.12g}, "
            f"adjoint {self.analytic:.12g}, relative error {self.error:.3g}"
        )


def check_adjoint(
    forward: Callable[[Arrays], Mapping[str, np.ndarray]],
    adjoint: Callable[[Arrays, Arrays], Mapping[str, np.ndarray]],
    inputs: Mapping[str, np.ndarray],
    *,
    outputs: Iterable[str] | None = None,
    wrt: Iterable[str] | None = None,
    trials: int = 2,
    steps: Iterable[float] = (1e-2, 1e-3, 1e-4, 1e-5),
    directions: Mapping[str, np.ndarray] | None = None,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> list[Comparison]:
    """Assert that c . dF(x)[d] = adjoint(x, c) . d for random d and c, each input against each output by itself.

    dF(x)[d] comes from central differences in float64 at several step sizes with one Richardson extrapolation; the best
    step size counts. The difference may be ``tolerance`` times the larger side (or a twentieth of |c| |dF[d]| where the
    dot product cancels) plus the rounding error of the differences themselves.

    Args:
        forward: inputs -> outputs, by name. Arrays are fresh copies that it may overwrite and return.
        adjoint: (inputs, cotangents of all outputs) -> cotangents of the inputs in ``wrt``, shaped like them.
        inputs: the point x, arrays by name; floating-point ones are handed on as float64.
        outputs: names of the outputs to check; all that forward returns by default.
        wrt: names of the inputs to perturb; all of floating-point type by default. Others are constants.
        trials: random pairs (d, c) for each input.
        steps: step sizes relative to max(1, largest entry of the input).
        directions: masks or scales, by input name, that random directions are multiplied by (entries that must
            not move: 0; quantities of another size: theirs). Inputs without one move by their own largest entry or 1.
        tolerance: largest accepted relative error.
        seed: of the random directions.

    Returns:
        every comparison made.

    Raises:
        AssertionError: a comparison fails; names input, output and both numbers.
    """
    rng = np.random.default_rng(seed)
    point = {k: np.array(v, np.float64) if np.asarray(v).dtype.kind == "f" else np.array(v) for k, v in inputs.items()}
    names = [k for k, v in point.items() if v.dtype.kind == "f"] if wrt is None else list(wrt)
    directions = directions or {}

    def run(changed: Arrays) -> Arrays:
        result = forward({k: v.copy() for k, v in changed.items()})
        return {k: np.array(v, np.float64) for k, v in result.items()}

    base = run(point)
    checked = list(base) if outputs is None else list(outputs)
    comparisons: list[Comparison] = []
    for _ in range(trials):
        cotangents = {k: rng.standard_normal(base[k].shape) for k in checked}
        pulled = {}
        for out in checked:
            only = {k: cotangents[k].copy() if k == out else np.zeros_like(v) for k, v in base.items()}
            pulled[out] = adjoint({k: v.copy() for k, v in point.items()}, only)
        for name in names:
            x = point[name]
            scale = directions.get(name, max(1.0, float(np.abs(x).max(initial=0.0))))
            d = rng.standard_normal(x.shape) * scale
            slopes = []
            for h in steps:
                coarse = _central(run, point, name, d, h, checked)
                fine = _central(run, point, name, d, h / 2, checked)
                slopes.append((h, {k: (4 * fine[k] - coarse[k]) / 3 for k in checked}))
            for out in checked:
                c = cotangents[out]
                analytic = float(np.vdot(np.asarray(pulled[out][name], np.float64).reshape(d.shape), d))
                noise = 4 * np.finfo(np.float64).eps * np.linalg.norm(c) * np.linalg.norm(base[out])
                best = min(
                    (_compare(name, out, c, slope[out], analytic, noise / h) for h, slope in slopes),
                    key=lambda comparison: comparison.error,
                )
                comparisons.append(best)
    failures = [str(c) for c in comparisons if not c.error <= tolerance]
    assert not failures, "adjoint disagrees with central differences:\n" + "\n".join(failures)
    return comparisons


def _central(
    run: Callable[[Arrays], Arrays], point: Arrays, name: str, d: np.ndarray, h: float, outputs: list[str]
) -> Arrays:
    plus = run({**point, name: point[name] + h * d})
    minus = run({**point, name: point[name] - h * d})
    return {k: (plus[k] - minus[k]) / (2 * h) for k in outputs}


def _compare(name: str, out: str, c: np.ndarray, slope: np.ndarray, analytic: float, noise: float) -> Comparison:
    numeric = float(np.vdot(c, slope))
    size = max(abs(numeric), abs(analytic), 0.05 * float(np.linalg.norm(c) * np.linalg.norm(slope)))
    excess = abs(numeric - analytic) - noise
    if not np.isfinite(excess):
        return Comparison(name, out, numeric, analytic, np.inf)
    return Comparison(name, out, numeric, analytic, excess / size if excess > 0 else 0.0)
