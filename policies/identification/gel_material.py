"""Material and friction of a gel from presses: a ball is pressed into it and dragged, forces and marker motions are
told.

A `PressRecord` holds what was done and what was read. `fit_material` simulates all its presses side by side, one world
each, and finds Young's modulus, Poisson's ratio, friction and contact stiffness by the gradient of the misfit, with
L-BFGS on logarithms (Liu and Nocedal 1989, SciPy's L-BFGS-B).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.optimize import minimize

from pliant.sims.failures import SimulationDiverged
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.scene import Gel, GelScene
from pliant.sims.inputs import real, real_array, shown, whole
from pliant.sims.robot.effector import Effector
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.markers import Markers
from pliant.sims.sensor.surface import skin_triangles
from pliant.sims.shapes.shapes import Cylinder, Sphere
from pliant.sims.world import World

NAMES = ("youngs_modulus", "poisson_ratio", "friction", "contact_stiffness")
"""What is fitted: [Pa], -, -, [Pa/m]."""

BOUNDS = {
    "youngs_modulus": (5e3, 2e6),
    "poisson_ratio": (0.2, 0.49),
    "friction": (0.05, 2.0),
    "contact_stiffness": (1e7, 1e10),
}
"""Within which they are looked for."""

ONSET = 1e-4
"""Half the width of the layer in which contact sets in [m]: nodes come into contact one after the other, and forces are
to be smooth functions of the parameters all the same."""

TANGENT = 0.8
"""Tangential contact stiffness in units of the normal one."""


@dataclass(frozen=True)
class PressRecord:
    """Presses of a ball into a gel, and what was read of them.

    ball_radius: [m].  start: (P, 3), the ball's middle at the start of each press in the mount's frame [m], at which it
    does not touch the gel.  velocity: (P, T, 3), of the ball in each step [m/s].  step_time: of a step [s].  markers:
    (M, 2), places (x, y) of the markers at rest [m].  force: (P, T, 3), on the gel in the mount's frame after each step
    [N].  motions: (P, T, M, 3), of the markers from rest in the mount's frame [m].
    """

    ball_radius: float
    start: np.ndarray
    velocity: np.ndarray
    step_time: float
    markers: np.ndarray
    force: np.ndarray
    motions: np.ndarray

    def __post_init__(self) -> None:
        real("ball_radius", self.ball_radius, above=0.0, unit="m")
        real("step_time", self.step_time, above=0.0, unit="s")
        arrays = {
            name: real_array(name, getattr(self, name)) for name in ("start", "velocity", "markers", "force", "motions")
        }
        if arrays["velocity"].ndim != 3 or arrays["velocity"].shape[2] != 3 or 0 in arrays["velocity"].shape:
            raise ValueError(f"velocity has shape {arrays['velocity'].shape}, must be (P, T, 3)")
        if arrays["markers"].ndim != 2 or arrays["markers"].shape[1] != 2:
            raise ValueError(f"markers has shape {arrays['markers'].shape}, must be (M, 2)")
        presses, steps, _ = arrays["velocity"].shape
        count = len(arrays["markers"])
        wanted = {"start": (presses, 3), "force": (presses, steps, 3), "motions": (presses, steps, count, 3)}
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, must be {shape}, as velocity and markers say")
        for name, array in arrays.items():
            object.__setattr__(self, name, array)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as npz."""
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PressRecord:
        """Read what `save` has written.

        Raises:
            ValueError: an array is missing or has another shape.
        """
        with np.load(path, allow_pickle=False) as data:
            missing = [field.name for field in fields(cls) if field.name not in data]
            if missing:
                raise ValueError(f"{os.fspath(path)!r} has no array {missing[0]!r}; presses have {_names(cls)}")
            found = {field.name: data[field.name] for field in fields(cls)}
        values: dict[str, Any] = {name: float(v) if v.ndim == 0 else v for name, v in found.items()}
        return cls(**values)


def _names(kind: type) -> str:
    return ", ".join(field.name for field in fields(kind))


def plan_presses(
    mesh: GelMesh,
    *,
    presses: int = 4,
    ball_radius: float = 0.008,
    depth: float = 0.001,
    drag: float = 0.0015,
    seed: int = 0,
) -> dict[str, Any]:
    """Balls that come down near the middle of a gel and are dragged aside, in directions evenly apart.

    Returns:
        ``start``, ``velocity``, ``step_time`` and ``ball_radius`` of a `PressRecord`; twelve steps of 10 ms each.

    Raises:
        ValueError: a number is out of range.
    """
    whole("presses", presses, 1, 1000)
    real("depth", depth, above=0.0, unit="m")
    rng = np.random.default_rng(whole("seed", seed, 0))
    low, high = mesh.bounds
    down, aside, step_time = 6, 6, 0.01
    offset = rng.uniform(-0.1, 0.1, (presses, 2)) * (high - low)[:2]
    deep = depth * rng.uniform(0.7, 1.3, presses)
    angle = 2 * np.pi * (np.arange(presses) + rng.uniform(-0.2, 0.2, presses)) / presses
    # the ball touches the gel's skin below it at a height that a cap or a pad tells
    top = surface_height(mesh, offset) + ball_radius
    start = np.concatenate([offset, top[:, None] + 1e-4], axis=1)
    velocity = np.zeros((presses, down + aside, 3))
    velocity[:, :down, 2] = -(deep + 1e-4)[:, None] / (down * step_time)
    velocity[:, down:, 0] = (drag / (aside * step_time) * np.cos(angle))[:, None]
    velocity[:, down:, 1] = (drag / (aside * step_time) * np.sin(angle))[:, None]
    return {"start": start, "velocity": velocity, "step_time": step_time, "ball_radius": ball_radius}


def surface_height(mesh: GelMesh, places: np.ndarray) -> np.ndarray:
    """Height z [m] of the skin at places (n, 2) [m]: that of the nearest node of it."""
    nodes = mesh.positions[mesh.surface_nodes]
    nearest = np.argmin(((nodes[None, :, :2] - places[:, None]) ** 2).sum(-1) - 1e-3 * nodes[None, :, 2] ** 2, axis=1)
    return np.asarray(nodes[nearest, 2])


class PressSimulator:
    """All presses of a record at once, one world each, and the derivatives of a misfit.

    Args:
        mesh: of the gel.
        plan: ``start``, ``velocity``, ``step_time`` and ``ball_radius``, as in `PressRecord`.
        markers: (M, 2) places at rest [m].
        precision: "f32" or "f64".
    """

    def __init__(self, mesh: GelMesh, plan: Mapping[str, Any], markers: np.ndarray, *, precision: str = "f32") -> None:
        self.mesh, self.start = mesh, np.asarray(plan["start"], float)
        self.velocity = np.asarray(plan["velocity"], float)
        mount = Effector("mount", Cylinder(float(mesh.bounds[1, 0]), 0.002), (0.0, 0.0, 0.0))
        ball = Effector("ball", Sphere(plan["ball_radius"]), self.start[0])
        scene = GelScene([Gel(mesh, "mount")], [mount, ball], onset=ONSET)
        self.world = World(
            scene,
            batch=len(self.start),
            substeps=1,
            dt=plan["step_time"],
            precision=precision,
            differentiable=True,
        )
        low, high = mesh.bounds
        camera = CalibratedCamera.behind_gel((high - low)[:2], top=float(high[2]))
        self._markers = Markers(skin_triangles(mesh.surface, mesh.positions), mesh.positions, camera, markers)

    def close(self) -> None:
        """Free the memory."""
        self.world.close()

    def _set(self, values: Mapping[str, float]) -> None:
        world = self.world
        world.reset()
        position = world.state("effector_position")
        position[:, 1] = self.start
        world.set_state("effector_position", position)
        friction = world.parameter("effector_friction")
        friction[:, 1] = values["friction"]
        world.set_parameters(
            {
                "gel_youngs_modulus": np.full((world.batch, 1), values["youngs_modulus"]),
                "gel_poisson_ratio": np.full((world.batch, 1), values["poisson_ratio"]),
                "effector_friction": friction,
                "contact_stiffness": np.full(world.batch, values["contact_stiffness"]),
                "tangential_stiffness": np.full(world.batch, TANGENT * values["contact_stiffness"]),
            }
        )

    def _nodes(self) -> np.ndarray:
        positions = np.repeat(self.mesh.positions[None], self.world.batch, axis=0)
        positions[:, : self.mesh.free_count] += self.world.state("gel_displacement")
        return positions

    def run(self, values: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Forces (P, T, 3) [N] and marker motions (P, T, M, 3) [m] with these parameters, by the names in `NAMES`."""
        self._set(values)
        force, motions = [], []
        for t in range(self.velocity.shape[1]):
            controls = np.zeros((self.world.batch, 12))
            controls[:, 6:9] = self.velocity[:, t]
            self.world.step(controls)
            force.append(self.world.output("gel_force")[:, 0])
            motions.append(self._markers.read(self._nodes()).motions)
        return np.stack(force, axis=1), np.stack(motions, axis=1)

    def pull_back(self, force_bar: np.ndarray, motions_bar: np.ndarray) -> dict[str, float]:
        """Derivatives of a function of the last `run` by the parameters, from its cotangents, shaped like its
        results."""
        world = self.world
        world.begin_adjoint()
        for t in reversed(range(self.velocity.shape[1])):
            world.load_step(t)
            world.add_output_adjoint("gel_force", force_bar[:, t, None])
            reading = self._markers.read(self._nodes())
            nodes_bar = self._markers.adjoint(reading, points_bar=motions_bar[:, t])
            world.add_state_adjoint("gel_displacement", nodes_bar[:, : self.mesh.free_count])
            world.step_adjoint(t)
        found = {
            "youngs_modulus": float(world.parameter_adjoint("gel_youngs_modulus").sum()),
            "poisson_ratio": float(world.parameter_adjoint("gel_poisson_ratio").sum()),
            "friction": float(world.parameter_adjoint("effector_friction")[:, 1].sum()),
            "contact_stiffness": float(
                world.parameter_adjoint("contact_stiffness").sum()
                + TANGENT * world.parameter_adjoint("tangential_stiffness").sum()
            ),
        }
        world.end_adjoint()
        return found


class Misfit:
    """How far simulated presses are from a record: mean squares of force and marker errors in units of their sizes.

    Unknowns lie in [0, 1]: the logarithm of each parameter between its `BOUNDS`.

    Attributes:
        simulated: presses simulated so far; a gradient counts as one more run of each.
    """

    def __init__(self, record: PressRecord, mesh: GelMesh, *, precision: str = "f32") -> None:
        plan = {name: getattr(record, name) for name in ("start", "velocity", "step_time", "ball_radius")}
        self.record, self.simulator = record, PressSimulator(mesh, plan, record.markers, precision=precision)
        self._force_unit = float(np.sqrt(np.mean(record.force**2)))
        self._motion_unit = float(np.sqrt(np.mean(record.motions**2)))
        if not (self._force_unit > 0 and self._motion_unit > 0):
            raise ValueError("the record holds no force or no motion: the ball touches nothing")
        self._low, self._high = (np.log([BOUNDS[name][k] for name in NAMES]) for k in (0, 1))
        self.simulated = 0

    def values(self, z: np.ndarray) -> dict[str, float]:
        """The parameters of unknowns (4,) in [0, 1]."""
        return dict(zip(NAMES, np.exp(self._low + np.asarray(z) * (self._high - self._low)).tolist(), strict=True))

    def __call__(self, z: np.ndarray) -> float:
        """The misfit; 1e3 where the simulation fails."""
        return self._evaluate(z, with_gradient=False)[0]

    def with_gradient(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """The misfit and its gradient (4,)."""
        return self._evaluate(z, with_gradient=True)

    def _evaluate(self, z: np.ndarray, *, with_gradient: bool) -> tuple[float, np.ndarray]:
        values = self.values(z)
        self.simulated += len(self.record.start) * (2 if with_gradient else 1)
        try:
            force, motions = self.simulator.run(values)
            force_error = (force - self.record.force) / self._force_unit
            motion_error = (motions - self.record.motions) / self._motion_unit
            value = float(np.mean(force_error**2) + np.mean(motion_error**2))
            if not with_gradient:
                return value, np.zeros(len(NAMES))
            bars = self.simulator.pull_back(
                2 * force_error / (force_error.size * self._force_unit),
                2 * motion_error / (motion_error.size * self._motion_unit),
            )
        except SimulationDiverged:
            return 1e3, np.zeros(len(NAMES))
        slope = np.array([bars[name] * values[name] for name in NAMES]) * (self._high - self._low)
        return value, slope


@dataclass(frozen=True)
class MaterialFit:
    """What a fit has found.

    values: parameters by name.  misfit: at them.  simulated: presses simulated.  history: (evaluations,) misfits.
    """

    values: dict[str, float]
    misfit: float
    simulated: int
    history: np.ndarray


def fit_material(
    misfit: Misfit,
    start: np.ndarray,
    *,
    evaluations: int = 120,
    restarts: int = 2,
    enough: float = 1e-6,
    progress: Callable[[int, float], None] | None = None,
) -> MaterialFit:
    """Parameters of least misfit from unknowns ``start`` (4,) in [0, 1], by L-BFGS.

    Where it ends at more than ``enough``, it starts again from half-way between there and the middle of all bounds,
    then from the middle: a gel that is nearly rigid against a soft contact looks much like the reverse.

    Args:
        misfit: of the record.
        start: unknowns to begin from.
        evaluations: gradients, of all starts together.
        restarts: how often it starts again, at most 2.
        enough: misfit at which it is done.
        progress: called with the number of gradients taken and the last misfit.

    Raises:
        ValueError: an argument is out of range.
    """
    z = real_array("start", start, shape=(len(NAMES),))
    if z.min() < 0 or z.max() > 1:
        raise ValueError(f"start={shown(start)} must be in [0, 1]")
    whole("evaluations", evaluations, 1)
    whole("restarts", restarts, 0, 2)
    history: list[float] = []
    first = misfit.simulated
    best: tuple[float, np.ndarray] = (np.inf, z)

    def evaluate(unknowns: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best
        value, slope = misfit.with_gradient(unknowns)
        history.append(value)
        if value < best[0]:
            best = (value, unknowns.copy())
        if progress:
            progress(len(history), value)
        return value, slope

    middle = np.full(len(NAMES), 0.5)
    for turn in range(restarts + 1):
        begin = (z, (best[1] + middle) / 2, middle)[turn]
        minimize(
            evaluate,
            begin,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * len(NAMES),
            options={"maxfun": max(evaluations - len(history), 1), "ftol": 1e-12, "gtol": 1e-9},
        )
        if best[0] <= enough or len(history) >= evaluations:
            break
    return MaterialFit(misfit.values(best[1]), best[0], misfit.simulated - first, np.array(history))
