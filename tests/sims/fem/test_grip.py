"""Gels that hold a cube of particles: gradients, equal and opposite forces, no creep, no leak."""

import numpy as np
import pytest
from grips import cube_grip
from world_gradients import Episode

from pliant.sims.world import World

DT = 4e-5


@pytest.fixture(scope="module")
def grip():
    """In f64; the left gel sticks, the right one slides."""
    scene = cube_grip(friction=[0.8, 0.05], gravity=(0.3, -0.2, -9.81), size=0.009, cells=(4, 4, 1))
    world = World(scene, substeps=8, dt=DT, precision="f64", differentiable=True)
    yield world
    world.close()


def controls_of(world, steps):
    """Closes the jaws and lifts them."""
    controls = np.zeros((steps, 1, world.control_size))
    controls[:, 0, 0], controls[:, 0, 6] = 0.03, -0.02
    controls[:, 0, 2] = controls[:, 0, 8] = 0.05
    controls[:, 0, 3:6] = [0.3, -0.2, 0.1]
    return controls


STATES = {
    "position": 1e-4,
    "velocity": 1e-2,
    "affine_velocity": 0.1,
    "deformation_gradient": 1e-3,
    "gel_displacement": 1e-5,
    "gel_velocity": 1e-2,
    "effector_position": 1e-5,
    "effector_orientation": 1e-3,
}
PARAMETERS = (
    *("grip_stiffness", "grip_tangential_stiffness", "grip_damping", "grip_friction", "youngs_modulus", "density"),
    *("gravity", "gel_gravity", "gel_youngs_modulus", "gel_poisson_ratio", "gel_density", "gel_viscosity"),
)


def test_gradients_of_a_grip_that_sticks_on_one_side_and_slides_on_the_other(grip):
    rng = np.random.default_rng(1)
    grip.reset()
    initial = {
        "velocity": 0.02 * rng.standard_normal(grip.state("velocity").shape),
        "gel_displacement": 2e-6 * rng.standard_normal(grip.state("gel_displacement").shape),
        "gel_velocity": 1e-3 * rng.standard_normal(grip.state("gel_velocity").shape),
    }
    episode = Episode(grip, controls_of(grip, 5), STATES, PARAMETERS, initial)
    errors = episode.errors({"controls": 1e-2, **STATES})
    assert max(errors.values()) < 1e-6, {name: f"{error:.1e}" for name, error in errors.items()}
