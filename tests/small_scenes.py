"""Small scenes in which everything happens: all materials, muscles, contact laws, walls; liquids with surface tension,
injected and drained (one set of kernels each)."""

import numpy as np

from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Drain, Injector
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box, Capsule, Sphere
from pliant.sims.world import World

CELL = 1 / 16
GRID = 16


def block(rng, dim, low, high, count):
    """Random points in a box, shape (count, dim) [m]; low and high in cells."""
    return CELL * (np.asarray(low) + rng.random((count, dim)) * (np.asarray(high) - low))


def small_scene(dim, *, particles=6, effectors=True, seed=0):
    """Four bodies of ``particles`` each, one in a corner of the domain, in reach of three effectors."""
    rng = np.random.default_rng(seed)
    lows = {"neo_hookean": 3.1, "fixed_corotated": 5.1, "hencky": 6.1, "von_mises": 7.1}
    bodies = [
        Body(
            material,
            block(rng, dim, [low] * (dim - 1) + [3.1], [low + 2.5] * (dim - 1) + [5.5], particles),
            (2.0 * CELL) ** dim / particles,
            material,
            youngs_modulus=2e4 * (1 + rng.random(particles)),
            poissons_ratio=0.2 + 0.2 * rng.random(particles),
            density=1e3 * (1 + rng.random(particles)),
            yield_stress=300.0,
            velocity=[1.0, -0.6, -2.0][: dim - 1] + [-2.0],
            muscle_group=np.arange(particles) % 3 - 1,
            fibre_direction=rng.standard_normal((particles, dim)),
            muscle_strength=4e3,
        )
        for material, low in lows.items()
    ]
    middle = 6.13 * CELL  # no node at a centre, where a normal has no direction
    around = [
        Effector("ball", Sphere(0.06), [middle] * dim, friction=0.4, contact="separate", softness=100.0),
        Effector(
            "bar",
            Capsule(0.03, 0.1),
            [middle + 0.11] * (dim - 1) + [middle - 0.07],
            orientation=(0.8, 0.6, 0.1, 0.2) if dim == 3 else (0.9, 0, 0, 0.3),
            contact="slip",
            softness=80.0,
        ),
        Effector("block", Box((0.05, 0.04, 0.06)), [middle - 0.12] * dim, contact="sticky", softness=60.0),
    ]
    kinds = ["separate", "slip", "separate", "sticky", "separate", "separate"][: 2 * dim]
    walls = Walls(kinds, friction=0.1 + 0.1 * np.arange(2 * dim))
    return Scene(dim, (GRID,) * dim, CELL, bodies, around if effectors else [], walls)


def wet_scene(dim, *, mixed=True):
    """Two liquids; if ``mixed`` a soft body in one, a hand that pours the other, and a drain too."""
    rng = np.random.default_rng(1)
    count = 14 * dim
    water = Body("water", block(rng, dim, [4.0] * dim, [7.0] * dim, count), (2.5 * CELL) ** dim / count, "liquid",
                 density=1e3 * (1 + rng.random(count)), viscosity=3.0, velocity=[1.0] * (dim - 1) + [-2.0])  # fmt: skip
    oil = Body("oil", block(rng, dim, [6.5] * dim, [8.5] * dim, 9), (CELL / 2.5) ** dim, "liquid", bulk_modulus=4e4)
    if not mixed:
        return Scene(dim, (GRID,) * dim, CELL, [water, oil], surface_tension=60.0)
    soft = Body("soft", block(rng, dim, [5.5] * dim, [7.0] * dim, 8), (CELL / 2) ** dim, youngs_modulus=2e4)
    hand = Effector("hand", Sphere(0.05), CELL * np.array([6.2] * (dim - 1) + [9.3]), friction=0.3, softness=100.0)
    tap = Injector("tap", "oil", "hand", 0.05, 1.0, [0.0] * (dim - 1) + [-1.5 * CELL], [0.1] * (dim - 1) + [-1.0])
    drain = Drain([3.0 * CELL] * dim, [4.8 * CELL] * dim)
    return Scene(dim, (GRID,) * dim, CELL, [water, oil, soft], [hand], injectors=[tap], drains=[drain],
                 surface_tension=60.0)  # fmt: skip


def small_world(dim, *, scene=None, **options):
    """A World of ``small_scene`` in float64 unless told otherwise."""
    options = {"substeps": 4, "dt": 4e-4, "precision": "f64", "differentiable": True, **options}
    return World(scene or small_scene(dim), **options)


def random_controls(world, steps, seed=1):
    """Twists and activations, shape (steps, B, C)."""
    return 0.7 * np.random.default_rng(seed).standard_normal((steps, world.batch, world.control_size))


def reverse(world, cotangents, force_cotangents=None):
    """The reverse sweep from cotangents of the last state and of every step's force: all cotangents, by name."""
    world.begin_adjoint()
    controls = np.zeros((world.step_count, world.batch, world.control_size))
    for t in reversed(range(world.step_count)):
        world.load_step(t)
        if t == world.step_count - 1:
            for name, cotangent in cotangents.items():
                world.add_state_adjoint(name, cotangent)
        if force_cotangents is not None and "effector_force" in world.output_names:
            world.add_output_adjoint("effector_force", force_cotangents[t])
        controls[t] = world.step_adjoint(t)
    world.load_initial()
    world.end_adjoint()
    states = {name: world.state_adjoint(name) for name in world.state_names}
    return {"controls": controls, **states, **{name: world.parameter_adjoint(name) for name in world.parameter_names}}


def states(world):
    """Every quantity of the state shown, by name."""
    return {name: world.state(name) for name in world.state_names}


def forces_on_effectors(world):
    """The forces of the step shown, (B, M, 3); M is 0 without effectors."""
    has_effectors = "effector_force" in world.output_names
    return world.output("effector_force") if has_effectors else np.zeros((world.batch, 0, 3))


def one_step(w):
    """A step of a World as a function of its states, parameters and controls: (point, forward, adjoint).

    ``forward`` gives the states after it and the force; ``adjoint`` the cotangents of all that is in the point.
    """
    point = {**states(w), **{name: w.parameter(name) for name in w.parameter_names}}
    point["controls"] = random_controls(w, 1)[0]

    def forward(x):
        w.reset()
        for name in w.state_names:
            w.set_state(name, x[name])
        for name in w.parameter_names:
            w.set_parameter(name, x[name])
        w.step(x["controls"])
        return {**states(w), "force": w.output("effector_force")}

    def adjoint(x, c):
        forward(x)
        force = c.pop("force")
        bars = reverse(w, c, force[None])
        return {**bars, "controls": bars["controls"][0]}

    return point, forward, adjoint
