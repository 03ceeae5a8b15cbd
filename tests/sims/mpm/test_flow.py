"""Liquids, viscoplastic bodies and sand in a World: gradients over several steps, limits of the substep, parameters."""

import numpy as np
import pytest
from small_scenes import CELL, GRID, block, random_controls, reverse, small_world

from pliant.envs.features.check import check_adjoint
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Sphere

STATES = ("position", "velocity", "affine_velocity", "deformation_gradient")
FLOWING = ("liquid", "viscoplastic", "sand", "neo_hookean")
PARAMETERS = (
    "youngs_modulus", "density", "bulk_modulus", "viscosity", "flow_index", "friction_angle", "yield_stress",
)  # fmt: skip


def mixture(dim, *, particles=6, seed=2):
    """Four materials that meet in a corner, thrown at a ball."""
    rng = np.random.default_rng(seed)
    bodies = [
        Body(
            material,
            block(rng, dim, [low] * (dim - 1) + [3.1], [low + 2.5] * (dim - 1) + [5.5], particles),
            (2.0 * CELL) ** dim / particles,
            material,
            youngs_modulus=2e4 * (1 + rng.random(particles)),
            density=1e3 * (1 + rng.random(particles)),
            bulk_modulus=2e4 * (1 + rng.random(particles)),
            viscosity=20.0 * (1 + rng.random(particles)),
            flow_index=0.5 + 0.5 * rng.random(particles),
            friction_angle=0.3 + 0.3 * rng.random(particles),
            yield_stress=30.0,
            velocity=[1.0, -0.6, -2.0][: dim - 1] + [-2.0],
        )
        for low, material in zip((3.1, 4.6, 6.1, 7.1), FLOWING, strict=True)
    ]
    ball = Effector("ball", Sphere(0.06), [6.13 * CELL] * dim, friction=0.4, softness=100.0)
    return Scene(dim, (GRID,) * dim, CELL, bodies, [ball], Walls(friction=0.3))


def motion(world, names, controls=None):
    """Where a World's matter is after some steps and how fast, of its states and parameters ``names``, and the adjoint;
    controls are an input where none are given."""

    def forward(x):
        world.reset()
        for name in STATES:
            world.set_state(name, x[name])
        for name in names:
            world.set_parameter(name, x[name])
        for c in x["controls"] if controls is None else controls:
            world.step(c)
        return {"position": world.state("position"), "velocity": world.state("velocity")}

    def adjoint(x, c):
        forward(x)
        bars = reverse(world, c)
        return {name: bars[name] for name in x}

    return forward, adjoint


@pytest.mark.parametrize("dim", [2, 3])
def test_gradients_of_several_steps(dim):
    """Actions, every quantity of the initial state and every constant of flow, to 1e-6 (float64)."""
    world = small_world(dim, scene=mixture(dim))
    controls = random_controls(world, 4)

    forward, adjoint = motion(world, PARAMETERS)

    world.reset()
    pressed = 0.98 * world.state("deformation_gradient")  # uncompressed sand stands at the kink of its law
    world.set_state("deformation_gradient", pressed)
    point = {
        "controls": controls,
        **{name: world.state(name) for name in STATES},
        **{name: world.parameter(name) for name in PARAMETERS},
    }
    sizes = {name: 0.1 * value for name, value in point.items() if name in PARAMETERS}
    sizes |= {"position": np.full(point["position"].shape, 0.01)}
    sizes["flow_index"] = np.where(point["flow_index"] < 0.99, 0.05, 0.0)
    found = check_adjoint(forward, adjoint, point, directions=sizes, trials=1, steps=(1e-3, 1e-4, 1e-5))
    assert all(c.analytic for c in found), "a parameter has no effect"
    world.close()


def fluid(dim, *, viscosity, flow_index, velocity=None):
    """A block of a viscoplastic body without a yield stress: a fluid of a power law."""
    places = block(np.random.default_rng(5), dim, [4.1] * dim, [6.5] * dim, 12)
    body = Body(
        "fluid", places, CELL**dim, "viscoplastic", youngs_modulus=2e4, density=1e3, yield_stress=0.0,
        viscosity=viscosity, flow_index=flow_index, velocity=velocity,
    )  # fmt: skip
    return Scene(dim, (GRID,) * dim, CELL, [body], [], Walls(friction=0.3))


@pytest.mark.parametrize(("dim", "precision"), [(2, "f32"), (3, "f64")])
@pytest.mark.parametrize(("viscosity", "flow_index"), [(20.0, 1.0), (20.0, 0.5), (0.0, 1.0), (0.0, 0.5)])
def test_without_a_yield_stress_nothing_turns_infinite(dim, precision, viscosity, flow_index):
    """At rest no rate is the answer, and there everything that divides by the rate must hold."""
    world = small_world(dim, scene=fluid(dim, viscosity=viscosity, flow_index=flow_index), precision=precision)
    controls = random_controls(world, 4)
    world.reset()
    for c in controls:
        world.step(c)
    rng = np.random.default_rng(1)
    bars = reverse(world, {name: rng.normal(size=world.state(name).shape) for name in ("position", "velocity")})
    assert all(np.isfinite(world.state(name)).all() for name in STATES)
    assert all(np.isfinite(bar).all() for bar in bars.values())
    world.close()


@pytest.mark.parametrize(("dim", "viscosity", "flow_index"), [(2, 20.0, 1.0), (3, 20.0, 0.5)])
def test_gradients_without_a_yield_stress(dim, viscosity, flow_index):
    """A sheared fluid: what it starts from and its constants, to 1e-6 (float64)."""
    scene = fluid(dim, viscosity=viscosity, flow_index=flow_index)
    world = small_world(dim, scene=scene)
    controls = random_controls(world, 3)
    names = ("viscosity", "youngs_modulus")

    forward, adjoint = motion(world, names, controls)

    world.reset()
    point = {name: world.state(name) for name in STATES} | {name: world.parameter(name) for name in names}
    point["velocity"] = np.random.default_rng(3).normal(size=point["velocity"].shape)
    sheared = np.eye(dim) + 0.1 * np.random.default_rng(4).normal(size=point["deformation_gradient"].shape)
    point["deformation_gradient"] = sheared
    sizes = {name: 0.1 * point[name] for name in names} | {"position": np.full(point["position"].shape, 0.01)}
    check_adjoint(forward, adjoint, point, directions=sizes, trials=1, steps=(1e-3, 1e-4, 1e-5))
    world.close()
