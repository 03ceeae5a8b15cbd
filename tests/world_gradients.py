"""Gradients of an episode of a World against central differences, with respect to all that it depends on."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from pliant.sims.world import World

STEPS = (1e-3, 1e-4, 1e-2, 3e-3, 3e-4, 5e-3, 2e-3, 1e-5, 5e-4, 2e-4, 3e-5)
"""Relative steps of the differences, tried one after the other: rounding (of an iteration that ends) and curvature
leave different ones to each quantity."""

GOOD = 3e-7
"""Relative error at which no further step is tried."""


def check(errors: Mapping[str, float], limit: float = 1e-6) -> None:
    """Fails with all relative errors if one is above the limit."""
    assert max(errors.values()) < limit, ", ".join(f"{name}: {error:.1e}" for name, error in errors.items())


class Episode:
    """A weighted sum of the outputs of all steps and of the state at the end, as a function of controls, initial state
    and parameters.

    Args:
        world: differentiable, in f64.
        controls: of each step, (T, B, C).
        states, parameters: names of those that it is a function of.
        initial: state at the start, beside the scene's.
        seed: of the weights.
    """

    def __init__(
        self,
        world: World,
        controls: np.ndarray,
        states: Iterable[str],
        parameters: Iterable[str],
        initial: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
    ) -> None:
        self.world, self.controls, self.rng = world, controls, np.random.default_rng(seed)
        world.reset()
        self.initial = {name: world.state(name) for name in states} | dict(initial or {})
        self.parameters = {name: world.parameter(name) for name in parameters}
        self.value(controls, self.initial, self.parameters)
        self.weights = {}
        for name, read in [(n, world.state) for n in self.initial] + [(n, world.output) for n in world.output_names]:
            values = read(name)
            size = max(float(np.abs(values).max()), 1e-3)
            self.weights[name] = self.rng.standard_normal(values.shape) / size

    def value(
        self, controls: np.ndarray, initial: Mapping, parameters: Mapping, watch: Callable | None = None
    ) -> float:
        world, weights = self.world, getattr(self, "weights", None)
        world.reset()
        for name, values in parameters.items():
            world.set_parameter(name, values)
        for name, values in initial.items():
            world.set_state(name, values)
        total = 0.0
        for control in controls:
            world.step(control)
            if watch:
                watch(world)
            if weights:
                total += sum(np.vdot(weights[name], world.output(name)) for name in world.output_names)
        return total + sum(np.vdot(weights[name], world.state(name)) for name in initial) if weights else 0.0

    def gradient(self) -> dict[str, np.ndarray]:
        """By "controls" and by the names of states and parameters."""
        world = self.world
        self.value(self.controls, self.initial, self.parameters)
        world.begin_adjoint()
        bars = np.zeros_like(self.controls)
        for t in reversed(range(len(self.controls))):
            world.load_step(t)
            for name in world.output_names:
                world.add_output_adjoint(name, self.weights[name])
            if t == len(self.controls) - 1:
                for name in self.initial:
                    world.add_state_adjoint(name, self.weights[name])
            bars[t] = world.step_adjoint(t)
        found = {"controls": bars}
        found |= {name: world.state_adjoint(name) for name in self.initial}
        found |= {name: world.parameter_adjoint(name) for name in self.parameters}
        world.end_adjoint()
        return found

    def errors(self, scales: Mapping[str, float], only: Sequence[str] | None = None) -> dict[str, float]:
        """Relative errors of the slopes along a random direction for each name; ``scales``: size of that direction for
        "controls" and states (parameters are scaled by themselves)."""
        exact, found = self.gradient(), {}
        for name in exact if only is None else only:
            values = {"controls": self.controls, **self.initial, **self.parameters}[name]
            direction = self.rng.standard_normal(values.shape)
            if name in self.parameters:
                direction *= np.where(np.abs(values) > 0, np.abs(values), 1.0)
            else:
                direction *= scales[name]
            slope = float(np.vdot(exact[name], direction))
            found[name] = np.inf
            for step in STEPS:
                if found[name] > GOOD:
                    difference = self._difference(name, values, direction, step)
                    error = abs(difference - slope) / max(abs(difference), abs(slope), 1e-300)
                    found[name] = min(found[name], error)
        return found

    def _difference(self, name: str, values: np.ndarray, direction: np.ndarray, step: float) -> float:
        ends = []
        for sign in (1, -1, 2, -2):
            moved = values + sign * step * direction
            controls = moved if name == "controls" else self.controls
            initial = self.initial | ({name: moved} if name in self.initial else {})
            parameters = self.parameters | ({name: moved} if name in self.parameters else {})
            ends.append(self.value(controls, initial, parameters))
        return (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * step)
