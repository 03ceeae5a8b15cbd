"""Identification of a wire: L-BFGS on the error of predicted recordings, with gradients from the rod's adjoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pliant.envs.rods.wires.parameter_files import RodParameters
from pliant.envs.rods.wires.recordings import Recording
from pliant.policies.identification.wires import GRAVITY, Predictor, check_start
from pliant.sims.failures import SimulationDiverged

ERROR_SCALE = 3e-3
"""Error [m] below which the loss is quadratic; above it grows in proportion, as the l1 score does."""

RIDGE = 1e-5
"""Weight of the squared steps, in the scales below: keeps what the recordings do not tell near the start."""

PATIENCE, PROGRESS = 10, 1e-3
"""A fit ends when so many iterations have lowered the loss by less than this share."""

DIVERGED = 1.0
"""Loss of parameters with which the simulation diverges."""


@dataclass(frozen=True)
class Variable:
    """How a value enters the optimiser: x = start * exp(scale z) if ``is_log``, else start + scale z."""

    scale: float
    is_log: bool = False


VARIABLES = {
    "bend_stiffness": Variable(0.7, True),
    "twist_stiffness": Variable(1.0, True),
    "stretch_stiffness": Variable(1.0, True),
    "bend_damping": Variable(1.0, True),
    "twist_damping": Variable(1.0, True),
    "drag": Variable(1.0, True),
    "quadratic_drag": Variable(1.0, True),
    "rest_length": Variable(0.03, True),
    "natural_curvature": Variable(1.0),
    "natural_twist": Variable(2.0),
    "mass_factor": Variable(0.3, True),
    "gravity": Variable(0.05 * GRAVITY),
    "length_memory": Variable(0.5),
    "shape_memory": Variable(0.3),
}
SHARED = ("bend_stiffness", "twist_stiffness")
"""Values of which a common factor is a variable too, of scale 1: joints differ less than wires do."""


def loss(predicted: np.ndarray, predictor: Predictor) -> tuple[float, np.ndarray]:
    """Mean of sqrt(e^2 + s^2) - s over the coordinates e of all vertices and predicted frames that were measured [m]
    (clamped ones count as right), and its derivative with respect to ``predicted`` (B, T, n, 3); s is
    ``ERROR_SCALE``."""
    frames = predicted.shape[1]
    error = predicted - predictor.recorded[:, :frames]
    error[:, :2] = 0.0
    error[:, :, predictor.clamped] = 0.0
    known = predictor.known[:, :frames]
    error[~known] = 0.0
    size = np.sqrt(error**2 + ERROR_SCALE**2)
    count = 3 * int(known[:, 2:].sum())
    return float((size - ERROR_SCALE).sum() / count), error / size / count


class Problem:
    """The fit as a function of one vector z, zero at the start."""

    def __init__(self, recordings: Sequence[Recording], start: RodParameters) -> None:
        check_start(recordings, start)
        self.predictor = Predictor(recordings, grip=start.grip, precision="f64", differentiable=True)
        self.start = {name: np.asarray(value, float) for name, value in start.values.items()}
        self.size = sum(self.start[name].size for name in VARIABLES) + len(SHARED)

    def values(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters at z; what the layout does not use (joints at the root, vertical gravity) stays as it is."""
        values, at = {}, 0
        for name, variable in VARIABLES.items():
            start = self.start[name]
            step = variable.scale * z[at : at + start.size].reshape(start.shape)
            if name in SHARED:
                step = step + z[self.size - len(SHARED) + SHARED.index(name)]
            if name == "gravity":
                step = step * [1.0, 1.0, 0.0]
            values[name] = start * np.exp(step) if variable.is_log else start + step
            at += start.size
        return values

    def evaluate(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss with ridge, and its gradient."""
        values = self.values(z)
        if not self.predictor.can_start(values):
            return DIVERGED, np.zeros(self.size)
        try:
            predicted = self.predictor.run(values, self.predictor.recorded.shape[1])
            value, bar = loss(predicted, self.predictor)
            pulled = self.predictor.pull_back(values, bar)
        except SimulationDiverged:
            return DIVERGED, np.zeros(self.size)
        parts, shared = [], []
        for name, variable in VARIABLES.items():
            g = np.asarray(pulled[name] * values[name] if variable.is_log else pulled[name])
            if name == "gravity":
                g = g * [1.0, 1.0, 0.0]
            if name in SHARED:
                shared.append(g.sum())
            parts.append(variable.scale * g.ravel())
        gradient = np.concatenate([*parts, shared])
        return value + RIDGE * float(z @ z), gradient + 2 * RIDGE * z


class Fitted(NamedTuple):
    """What a fit has found.

    Attributes:
        parameters: the best.
        reason: why it stopped, in words.
        is_done: whether all iterations were made.
    """

    parameters: RodParameters
    reason: str
    is_done: bool


def fit(
    recordings: Sequence[Recording],
    start: RodParameters,
    *,
    iterations: int,
    on_iteration: Callable[[int, float, RodParameters], None],
    state: dict[str, np.ndarray],
) -> Fitted:
    """Parameters that predict the recordings best, from ``start`` on.

    It ends before its time when ``PATIENCE`` iterations have lowered the loss by less than ``PROGRESS``, or when no
    lower loss is found even along the gradient.

    Args:
        recordings: of one wire, all held in the same way.
        start: see ``identification.initial_parameters``.
        iterations: of L-BFGS, in all (those of a resumed fit included).
        on_iteration: called with the iteration's number (0: the start), its loss and its parameters.
        state: empty, or what an earlier fit has left here: it goes on from there, with a fresh memory of curvature.

    Raises:
        ValueError: a wire with the parameters of ``start`` cannot start as a recording does.
        SimulationDiverged: it starts, but its simulation diverges.
    """
    problem = Problem(recordings, start)
    z = np.array(state["z"]) if "z" in state else np.zeros(problem.size)
    done = int(state["iteration"]) if "iteration" in state else 0

    def parameters(point: np.ndarray) -> RodParameters:
        shaped: dict[str, Any] = {k: v if v.ndim else float(v) for k, v in problem.values(point).items()}
        return RodParameters(start.object, shaped, setup=start.setup)

    def note(iteration: int, point: np.ndarray, value: float) -> None:
        state["z"], state["iteration"] = point.copy(), np.array(iteration)
        on_iteration(iteration, value, parameters(point))

    unit = problem.evaluate(z)[0]
    if unit >= DIVERGED:
        problem.predictor.run(problem.values(z), problem.predictor.recorded.shape[1])  # raises what is wrong
    if "z" not in state:
        note(0, z, unit)
    if unit == 0.0:
        return Fitted(parameters(z), "the predictions are exact", False)
    losses = [unit]

    def after(intermediate_result: Any) -> None:
        losses.append(unit * float(intermediate_result.fun))
        note(done + len(losses) - 1, intermediate_result.x, losses[-1])
        if len(losses) > PATIENCE and losses[-1] > (1 - PROGRESS) * losses[-1 - PATIENCE]:
            raise StopIteration

    while done + len(losses) - 1 < iterations:
        before = len(losses)
        z = _descend(problem, z, unit, iterations - done - before + 1, after)
        if len(losses) > PATIENCE and losses[-1] > (1 - PROGRESS) * losses[-1 - PATIENCE]:
            reason = f"the last {PATIENCE} iterations lowered the loss by less than {PROGRESS:.1%}"
            return Fitted(parameters(z), reason, False)
        if losses[-1] >= losses[before - 1]:  # not even from a fresh memory of curvature
            return Fitted(parameters(z), "no lower loss is found along the gradient", False)
    return Fitted(parameters(z), f"all {iterations} iterations are made", True)


def _descend(problem: Problem, z: np.ndarray, unit: float, iterations: int, after: Callable[[Any], None]) -> np.ndarray:
    """Where L-BFGS comes to from z with so many iterations, if nothing stops it. The loss counts in units of that at
    the start: its bounds on progress, which are absolute, are off."""
    from scipy.optimize import minimize

    def relative(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem.evaluate(point)
        return value / unit, gradient / unit

    options = {"maxiter": iterations, "maxcor": 20, "ftol": 0.0, "gtol": 0.0}
    return np.asarray(minimize(relative, z, jac=True, method="L-BFGS-B", callback=after, options=options).x)
