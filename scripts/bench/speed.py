"""``pliant bench speed``: what the simulators reach on this machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from pliant.scripts.bench.options import Speed
from pliant.scripts.errors import CommandError

COLD_START_ENVIRONMENT = "pliant/Crawler3D-v0"
COLD_START = """
import json
import gymnasium, numpy
import pliant.envs
env = gymnasium.make({env!r}, differentiable=True, precision={precision!r}, device={device!r}).unwrapped
env.reset(seed=0)
shape = (env.horizon, env.action_space.shape[0])
env.value_and_grad(numpy.zeros(shape, numpy.float32), seed=0)
from pliant.sims.runtime import start
print(json.dumps({{"elements": len(env.state("position")), "device": start()}}))
"""


@dataclass(frozen=True)
class Case:
    """A block that falls and lands.

    Attributes:
        scene: name in the table.
        batch: worlds B.
        block: particles along each axis, half a cell apart.
        cells: grid cells along each axis of the unit cube.
        material: of the block.
        solver, time_step, substeps: of the simulation [s], substeps in a step.
        state: whose rows are the elements.
    """

    scene: str
    batch: int
    block: tuple[int, int, int]
    cells: int
    material: str = "neo_hookean"
    solver: str = "mpm"
    time_step: float = 1e-4
    substeps: int = 20
    state: str = "position"

    def build(self) -> Any:
        """The scene."""
        import numpy as np

        from pliant.sims.mpm.bodies import Body, Walls
        from pliant.sims.mpm.scene import Scene

        cell = 1.0 / self.cells
        spacing = 0.5 * cell
        lattice = np.stack(np.meshgrid(*(np.arange(n) for n in self.block), indexing="ij"), axis=-1).reshape(-1, 3)
        corner = np.array([0.5, 0.5, 0.0]) - 0.5 * spacing * np.array([*self.block[:2], 0]) + [0.0, 0.0, 4.0 * cell]
        position = corner + spacing * (lattice + 0.5)
        body = Body("block", position, spacing**3, self.material, youngs_modulus=5e3, viscosity=0.1)
        return Scene(dim=3, grid=(self.cells,) * 3, cell=cell, bodies=[body], walls=Walls())

    def controls(self, world: Any) -> Any:
        """Controls of ``STEPS`` steps, (STEPS, B, C)."""
        import numpy as np

        return np.zeros((STEPS, world.batch, world.control_size))


@dataclass(frozen=True)
class RodCase:
    """A cable of 0.6 m that sags between two driven ends, which sway.

    Attributes:
        scene: name in the table.
        batch: worlds B.
        vertices: of the cable.
        solver, time_step, substeps: of the simulation [s], substeps in a step.
        state: whose rows are the elements.
    """

    scene: str
    batch: int
    vertices: int
    solver: str = "rod"
    time_step: float = 4e-3
    substeps: int = 20
    state: str = "position"

    def build(self) -> Any:
        """The scene."""
        import numpy as np

        from pliant.sims.rod.rod import Grip, Rod
        from pliant.sims.rod.scene import RodScene

        n = self.vertices
        angle = np.linspace(-0.4, 0.4, n - 1)  # of the edges, on an arc that is level in the middle
        steps = 0.6 / (n - 1) * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
        rod = Rod(
            np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)]),
            mass=0.03 / n,
            bend_stiffness=2e-3,
            twist_stiffness=1.5e-3,
            stretch_stiffness=500.0,
            bend_damping=0.05,
            twist_damping=0.05,
            quadratic_drag=1e-4,
        )
        return RodScene(rod, grips=[Grip([0, 1]), Grip([n - 2, n - 1])])

    def controls(self, world: Any) -> Any:
        """Controls of ``STEPS`` steps, (STEPS, B, C)."""
        import numpy as np

        held = world.scene.position[world.scene.driven_vertices]
        time = self.substeps * self.time_step * np.arange(1, STEPS + 1)
        way = 0.05 * np.sin(2 * np.pi * time)[:, None, None] * np.array([0.0, 1.0, 0.3])
        return np.tile((held + way).reshape(STEPS, 1, -1), (1, world.batch, 1))


@dataclass(frozen=True)
class GelCase:
    """A tactile sensor's dome, into which a ball is pressed by 1 mm and then dragged by 4 mm.

    Attributes:
        scene: name in the table.
        batch: worlds B.
        nodes: about how many the dome has.
        solver, time_step, substeps: of the simulation [s], substeps in a step.
        state: whose rows are the elements.
    """

    scene: str
    batch: int
    nodes: int
    solver: str = "gel"
    time_step: float = 1e-2
    substeps: int = 4
    state: str = "gel_displacement"

    def build(self) -> Any:
        """The scene."""
        from pliant.sims.fem.gels import gel_mesh
        from pliant.sims.fem.scene import Gel, GelScene
        from pliant.sims.robot.effector import Effector
        from pliant.sims.shapes.shapes import Cylinder, Sphere

        mesh = gel_mesh("dome", nodes=self.nodes)
        top, radius = float(mesh.bounds[1, 2]), 6e-3
        mount = Effector("mount", Cylinder(0.015, 0.002), (0.0, 0.0, 0.0))
        ball = Effector("ball", Sphere(radius), (0.0003, 0.0002, top + radius), friction=0.5)
        return GelScene([Gel(mesh, "mount")], [mount, ball])

    def controls(self, world: Any) -> Any:
        """Controls of ``STEPS`` steps, (STEPS, B, C)."""
        import numpy as np

        speed = 1e-3 / (self.substeps * self.time_step)  # 1 mm a step
        ball = world.control_layout["effector_twist"].start + 6
        found = np.zeros((STEPS, world.batch, world.control_size))
        found[0, :, ball + 2] = -speed
        found[1:, :, ball] = speed
        return found


AnyCase = Case | RodCase | GelCase
CASES: tuple[AnyCase, ...] = (
    Case("block, 64^3", 1, (16, 16, 32), 64),
    Case("block, 64^3", 2, (16, 16, 32), 64),
    Case("block, 32^3", 16, (8, 8, 16), 32),
    *(
        Case(f"{material.replace('_', ' ')}, 64^3", 1, (16, 16, 32), 64, material)
        for material in ("liquid", "viscoplastic", "sand", "rigid", "von_mises")
    ),
    RodCase("13 vertices, both ends driven", 1, 13),
    RodCase("13 vertices, both ends driven", 256, 13),
    GelCase("dome, a ball pressed and dragged", 1, 1000),
    GelCase("dome, a ball pressed and dragged", 1, 2000),
    GelCase("dome, a ball pressed and dragged", 16, 1000),
)
STEPS = 5
FIGURES = (
    "forward_per_second",
    "forward_per_second_range",
    "substep_milliseconds",
    "reverse_over_forward",
    "reverse_over_forward_all_kept",
    "cold_start_seconds",
)


def measure(arguments: Speed) -> int:
    """Measure all cases and print them."""
    if not 1 <= arguments.repeats <= 1000:
        raise CommandError(f"repeats={arguments.repeats} must be at least 1, at most 1000")
    from rich.console import Console

    console = Console(stderr=True)
    rows = []
    if arguments.cold_start:
        with console.status(f"cold start of {COLD_START_ENVIRONMENT}"):
            rows.append(cold_start(precision=arguments.precision, device=arguments.device))
    for case in CASES:
        with console.status(f"{case.scene}, batch {case.batch}"):
            rows.append(speed(case, precision=arguments.precision, device=arguments.device, repeats=arguments.repeats))
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    return 0


def speed(case: AnyCase, *, precision: str, device: str, repeats: int) -> dict[str, Any]:
    """Warm speed of one case.

    Forward speed is that of a World that records nothing (evaluation, reinforcement learning). The reverse sweep is
    compared with the forward steps of the World that recorded them, twice: with a memory budget that keeps only the
    states at the start of steps (all substeps are recomputed), and with one that keeps all substeps.
    """
    plain = build_world(case, precision=precision, device=device, differentiable=False)
    forward, _ = _times(plain, case, repeats)
    world = build_world(case, precision=precision, device=device, differentiable=True)
    elements, device = world.count(case.state), world.device
    budget = world.memory_for(whole=1, states=STEPS + 1)
    whole, whole_reverse = _times(world, case, repeats)
    tight = build_world(case, precision=precision, device=device, differentiable=True, memory=budget)
    recorded, reverse = _times(tight, case, repeats)
    substeps = case.batch * elements * case.substeps * STEPS
    return {
        **_row(case.solver, case.scene, case.batch, elements, precision, device),
        "forward_per_second": substeps / statistics.median(forward),
        "forward_per_second_range": [substeps / max(forward), substeps / min(forward)],
        "substep_milliseconds": 1e3 * statistics.median(forward) / (case.substeps * STEPS),
        "reverse_over_forward": statistics.median(reverse) / statistics.median(recorded),
        "reverse_over_forward_all_kept": statistics.median(whole_reverse) / statistics.median(whole),
    }


def _times(world: Any, case: AnyCase, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of ``STEPS`` forward steps, and of the reverse sweep over them where the World records; closes it."""
    sequence = case.controls(world)
    forward, reverse = [], []
    try:
        for repeat in range(repeats + 1):  # the first compiles
            world.reset()
            began = time.perf_counter()
            for controls in sequence:
                world.step(controls)
            world.state(case.state)  # waits for the device
            middle = time.perf_counter()
            if world.differentiable:
                _reverse_sweep(world, case.state)
            end = time.perf_counter()
            if repeat:
                forward.append(middle - began)
                reverse.append(end - middle)
    finally:
        world.close()
    return forward, reverse


def build_world(case: AnyCase, *, precision: str, device: str, differentiable: bool, memory: str | int = "2GiB") -> Any:
    """A World of ``case.batch`` copies of a case's scene."""
    from pliant.sims.world import World

    return World(
        case.build(),
        batch=case.batch,
        substeps=case.substeps,
        dt=case.time_step,
        device=device,
        precision=precision,
        differentiable=differentiable,
        horizon=STEPS,
        memory=memory,
    )


def cold_start(*, precision: str, device: str) -> dict[str, Any]:
    """Seconds from the start of a fresh process, without compiled kernels, to its first whole gradient.

    Raises:
        CommandError: the process failed.
    """
    code = COLD_START.format(env=COLD_START_ENVIRONMENT, precision=precision, device=device)
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PLIANT_OFFLINE_CACHE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CommandError(f"the cold start of {COLD_START_ENVIRONMENT} failed: {last[0]}")
    found = json.loads(process.stdout.splitlines()[-1])
    return {
        **_row("mpm", "Crawler3D small", 1, found["elements"], precision, found["device"]),
        "cold_start_seconds": seconds,
    }


def _reverse_sweep(world: Any, state: str) -> None:
    import numpy as np

    world.begin_adjoint()
    for step in reversed(range(STEPS)):
        world.load_step(step)
        if step == STEPS - 1:
            world.add_state_adjoint(state, np.ones((world.batch, world.count(state), world.dim)))
        world.step_adjoint(step)
    world.state_adjoint(state)  # waits for the device
    world.end_adjoint()


def _row(solver: str, scene: str, batch: int, elements: int, precision: str, device: str) -> dict[str, Any]:
    """What a row says of its case, with no figures yet."""
    from pliant.scripts.runs import machine, versions

    return {
        "solver": solver,
        "scene": scene,
        "batch": batch,
        "elements": elements,
        "precision": precision,
        "device": device,
        "versions": versions(("pliant", "taichi", "numpy")),
        "machine": machine(),
        **dict.fromkeys(FIGURES),
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from pliant.scripts.tables import print_table

    texts = []
    for row in rows:
        texts.append(
            [
                row["solver"],
                row["scene"],
                f"{row['device']} {row['precision']}",
                str(row["batch"]),
                f"{row['elements']:,}",
                "" if row["forward_per_second"] is None else f"{row['forward_per_second'] / 1e6:.2f}",
                "" if row["substep_milliseconds"] is None else f"{row['substep_milliseconds']:.3g}",
                "" if row["reverse_over_forward"] is None else f"{row['reverse_over_forward']:.2f}",
                "" if row["reverse_over_forward"] is None else f"{row['reverse_over_forward_all_kept']:.2f}",
                "" if row["cold_start_seconds"] is None else f"{row['cold_start_seconds']:.1f} s",
            ]
        )
    figures = ["batch", "elements", "forward [1e6/s]", "substep [ms]", "reverse/fwd.", "all kept", "cold start"]
    print_table(["solver", "scene", "device", *figures], texts, left=3)
    here = rows[0]["machine"]
    print(f"{here['processor']}, {here['cores']} cores, {here['platform']}, {here['date']}")
