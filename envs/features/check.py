"""The dot-product test: is a hand-derived adjoint the derivative of its forward function?

`check_feature` asks that of a `Feature`, in one line: ``check_feature(MyFeature())``. `check_adjoint` asks it of any
two functions of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs.features.words import Feature, Sink, View
from pliant.sims.inputs import label, real, real_array, shown, whole

Arrays = dict[str, np.ndarray]

WITHOUT_DERIVATIVE = ("active",)
"""Arrays of a view that take no cotangents: they are 0 or 1."""


@dataclass(frozen=True)
class Comparison:
    """One derivative, of ``sum(cotangent * output)`` along a direction of ``input``.

    Attributes:
        input, output: names of the arrays.
        numeric: by central differences.
        analytic: by the adjoint.
        error: their difference relative to the larger one, see `check_adjoint`.
    """

    input: str
    output: str
    numeric: float
    analytic: float
    error: float

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
    """Check that c . dF(x)[d] = adjoint(x, c) . d for random d and c, each input against each output by itself.

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
    if failures:
        raise AssertionError("adjoint disagrees with central differences:\n" + "\n".join(failures))
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


def random_view(
    *,
    dim: int = 3,
    particles: int = 40,
    effectors: int = 2,
    action_size: int = 3,
    batch: int = 2,
    goal: Mapping[str, Any] | None = None,
    arrays: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> View:
    """A view of worlds that never were, with random arrays, to check features on.

    It has "position" [m], in the unit cube, and "velocity" [m/s], shape (batch, particles, dim) each;
    "effector_position" [m], "effector_orientation" and "effector_force" [N], shape (batch, effectors, 3 or 4);
    "active", shape (batch, particles), all 1; and the last two actions, shape (batch, action_size).

    Args:
        dim: of the scene, 2 or 3.
        particles: or vertices, in each world.
        effectors: in each world.
        action_size: numbers in an action.
        batch: number of worlds B.
        goal: the goal's arrays of one world by name, as `Task.make_goal` returns them; all worlds get these.
        arrays: more arrays, or other ones, shape (batch, ...) each.
        seed: of the random numbers.

    Raises:
        ValueError: an argument is out of range.
    """
    batch, particles = whole("batch", batch, 1), whole("particles", particles, 1)
    dim, effectors = whole("dim", dim, 2, 3), whole("effectors", effectors, 0)
    action_size, rng = whole("action_size", action_size, 1), np.random.default_rng(whole("seed", seed, 0))
    orientation = rng.normal(size=(batch, effectors, 4))
    known: Arrays = {
        "position": rng.uniform(size=(batch, particles, dim)),
        "velocity": rng.normal(size=(batch, particles, dim)),
        "effector_position": rng.uniform(size=(batch, effectors, 3)),
        "effector_orientation": orientation / np.linalg.norm(orientation, axis=-1, keepdims=True),
        "effector_force": rng.normal(size=(batch, effectors, 3)),
        "active": np.ones((batch, particles)),
        "action": rng.uniform(-1.0, 1.0, (batch, action_size)),
        "previous_action": rng.uniform(-1.0, 1.0, (batch, action_size)),
    }
    for name, values in (arrays or {}).items():
        known[name] = real_array(f"arrays[{name!r}]", values)
        if known[name].shape[:1] != (batch,):
            raise ValueError(f"arrays[{name!r}] has shape {known[name].shape}; axis 0 must be the {batch} worlds")

    def read(name: str) -> np.ndarray:
        if name not in known:
            raise ValueError(
                f"the random view has no array {name!r}, only {', '.join(known)}; hand it to random_view in arrays"
            )
        return known[name]

    goals = {name: real_array(f"goal[{name!r}]", values) for name, values in (goal or {}).items()}
    return View(
        arrays=read,
        action=known["action"],
        previous_action=known["previous_action"],
        step=np.arange(batch) % 8 + 2,
        horizon=10,
        goal={name: np.repeat(values[None], batch, axis=0) for name, values in goals.items()},
    )


class _Watched(View):
    """Another view with some of its arrays replaced; they are read-only, and it is known which have been read."""

    def __init__(self, view: View, replaced: Mapping[str, np.ndarray]) -> None:
        def read(name: str) -> np.ndarray:
            array = (replaced[name] if name in replaced else view.array(name)).view()
            array.flags.writeable = False
            return array

        super().__init__(
            arrays=read,
            action=read("action"),
            previous_action=read("previous_action"),
            step=view.step,
            horizon=view.horizon,
            goal=view.goal,
        )
        self.names_read: list[str] = []

    def array(self, name: str) -> np.ndarray:
        if name not in self.names_read:
            self.names_read.append(name)
        return super().array(name)


def check_feature(
    feature: Feature,
    view: View | None = None,
    *,
    trials: int = 2,
    steps: Iterable[float] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
    tolerance: float = 1e-6,
    seed: int = 0,
) -> list[Comparison]:
    """Check a feature of one's own: its shape, and its adjoint against central differences in float64.

    The adjoint is compared for every array that ``value`` reads and for every one that ``adjoint`` gives a cotangent.
    A right adjoint fails at a kink of the feature (a distance of 0, the edge of a clip), and where the value hardly
    changes at all, so that differences are rounding errors. Take another view then.

    Args:
        feature: what is checked.
        view: the point where; by default ``random_view()``. Others: `random_view` with a goal or in two dimensions,
            or ``env.unwrapped.view()`` of an environment.
        trials: random directions for each array.
        steps: step sizes of the differences relative to max(1, largest entry of the array); the best one counts.
        tolerance: largest accepted relative error, see `check_adjoint`.
        seed: of the random directions.

    Returns:
        every comparison; each prints as a line. None for a feature of goals and the clock only.

    Raises:
        ValueError: it is no `Feature`, its value is not as `Feature` says, or it needs what the view does not have.
        AssertionError: the adjoint is wrong; the message has both numbers for each array where it is.
    """
    if not isinstance(feature, Feature):
        raise ValueError(f"feature={shown(feature)} must be an instance of a subclass of Feature")
    trials, tolerance = whole("trials", trials, 1), real("tolerance", tolerance, above=0.0)
    name = label("name of the feature", getattr(feature, "name", None))
    whole(f"size of feature {name!r}", getattr(feature, "size", None), 1)
    if view is None:
        view = random_view()
    elif not isinstance(view, View):
        raise ValueError(f"view={shown(view)} must be a View, such as random_view() or env.unwrapped.view() gives")
    watched = _Watched(view, {})
    base = _value(feature, watched)
    if not np.array_equal(base, _value(feature, _Watched(view, {}))):
        raise ValueError(f"feature {name!r} gives another value when it is asked again; only the view may decide it")
    _check_worlds_apart(feature, view, base, watched.names_read)
    inputs = {array: watched.array(array) for array in watched.names_read if array not in WITHOUT_DERIVATIVE}
    inputs |= {array: view.array(array) for array in _adjoint(feature, view, {}, np.ones_like(base))}
    try:
        return check_adjoint(
            lambda changed: {name: _value(feature, _Watched(view, changed))},
            lambda point, cotangents: _adjoint(feature, view, point, cotangents[name]),
            inputs,
            trials=trials,
            steps=steps,
            tolerance=tolerance,
            seed=seed,
        )
    except AssertionError as error:
        missing = type(feature).adjoint is Feature.adjoint
        hint = "\nit has no method adjoint, as if it had no derivative" if missing else ""
        raise AssertionError(f"feature {name!r}: {error}{hint}") from None


def _value(feature: Feature, view: View) -> np.ndarray:
    """The value of a feature; ``ValueError`` unless it is float64, finite, of shape (B, size)."""
    try:
        value = feature.value(view)
    except KeyError as error:
        if error.args and error.args[0] in view.goal:
            raise
        raise ValueError(
            f"feature {feature.name!r} needs {error}, which the view does not have; its goal has "
            f"{', '.join(view.goal) or 'nothing'}: hand it to random_view in goal, or take the view of an environment"
        ) from error
    except IndexError as error:
        raise ValueError(
            f"feature {feature.name!r} reads rows that the view does not have: {error}; random_view takes the numbers "
            "of particles, effectors and actions"
        ) from error
    wanted = (view.batch, feature.size)
    if not isinstance(value, np.ndarray) or value.shape != wanted or value.dtype != np.float64:
        found = f"shape {value.shape} and type {value.dtype}" if isinstance(value, np.ndarray) else shown(value)
        raise ValueError(f"value of feature {feature.name!r} is {found}, must be of shape {wanted} and type float64")
    return real_array(f"value of feature {feature.name!r}", value).copy()


def _adjoint(feature: Feature, view: View, point: Arrays, cotangent: np.ndarray) -> Arrays:
    """Cotangents of the arrays at a point, by name; zeros where the feature gives none."""
    watched = _Watched(view, point)
    sink, cotangent = Sink(watched), cotangent.copy()
    cotangent.flags.writeable = False  # whoever calls may need it again
    feature.adjoint(watched, cotangent, sink)
    for name in WITHOUT_DERIVATIVE:
        if name in sink.cotangents:
            raise ValueError(f"feature {feature.name!r} gives {name!r} a cotangent, an array that has no derivative")
    return {name: np.zeros(values.shape) for name, values in point.items()} | sink.cotangents


def _check_worlds_apart(feature: Feature, view: View, base: np.ndarray, names: Iterable[str]) -> None:
    """Raise ``ValueError`` if the value of one world depends on the arrays of another."""
    if view.batch < 2:
        return
    for name in names:
        changed = view.array(name).copy()
        changed[0] = 0.875 * changed[0] + 1e-3
        value = feature.value(_Watched(view, {name: changed}))
        if not np.allclose(value[1:], base[1:], rtol=1e-9, atol=1e-12):
            raise ValueError(
                f"value of feature {feature.name!r} in one world depends on {name!r} of another: axis 0 is the world"
            )
