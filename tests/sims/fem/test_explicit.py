"""Gels that are stepped explicitly: gradients, agreement with an implicit step, limits of the substep."""

import numpy as np
import pytest
from world_gradients import Episode

from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.scene import Gel, GelScene
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box, Sphere
from pliant.sims.world import World

MESH = pad_mesh((0.02, 0.02), 0.005, (4, 4, 2))
STATES = ("gel_displacement", "gel_velocity", "effector_position", "effector_orientation")
PARAMETERS = (
    *("gel_youngs_modulus", "gel_poisson_ratio", "gel_density", "gel_viscosity", "gravity"),
    *("contact_stiffness", "tangential_stiffness", "contact_damping", "effector_friction"),
)


def press(integrator="explicit", viscosity=10.0, **options):
    """A pad that hangs askew and a ball that touches it."""
    mount = Effector("mount", Box((0.02, 0.02, 0.002)), (0.01, -0.02, 0.3), orientation=(1, 0.1, -0.05, 0.2))
    R = matrix_of_quaternion(mount.pose[None, 3:])[0]
    place = mount.pose[:3] + R @ np.array([0.0013, 0.0012, 0.005 + 6e-3 - 1e-4])
    ball = Effector("ball", Sphere(6e-3), place, friction=0.5)
    scene = GelScene(
        [Gel(MESH, "mount", viscosity=viscosity)],
        [mount, ball],
        gravity=(0.3, -0.2, -9.81),
        contact_stiffness=1e8,
        contact_damping=2.0,
        onset=5e-5,
        integrator=integrator,
    )
    settings = {"substeps": 5, "dt": 4e-5, "precision": "f64", "differentiable": True} | options
    return World(scene, **settings), R


@pytest.fixture(scope="module")
def pressed():
    world, R = press()
    yield world, R
    world.close()


def controls_of(R, steps):
    """The mount wanders; the ball presses, then slides."""
    found = np.zeros((steps, 1, 12))
    for k in range(steps):
        found[k, 0, :6] = [0.005, 0.002, 0.003, 0.5, 0.3, -0.4]
        found[k, 0, 6:9] = R @ np.array([0.3 if 2 * k > steps else 0.0, 0.01, -0.2]) + [0.001, 0.002, 0.001]
        found[k, 0, 9:] = [1, 0.5, 2]
    return found


def test_gradients_of_pressing_and_sliding(pressed):
    world, R = pressed
    rng = np.random.default_rng(0)
    world.reset()
    initial = {
        "gel_displacement": 1e-5 * rng.standard_normal(world.state("gel_displacement").shape),
        "gel_velocity": 1e-3 * rng.standard_normal(world.state("gel_velocity").shape),
    }
    episode = Episode(world, controls_of(R, 12), STATES, PARAMETERS, initial)
    forces = []
    episode.value(
        episode.controls, episode.initial, episode.parameters, lambda w: forces.append(w.output("gel_force")[0, 0])
    )
    assert np.abs(forces).max() > 0.02 and np.abs(forces[-1]).max() > 1e-3, "the ball touches throughout"
    scales = {"controls": 0.01, "gel_displacement": 1e-3, "gel_velocity": 0.1}
    scales |= {"effector_position": 1e-3, "effector_orientation": 1e-2}
    errors = episode.errors(scales)
    assert max(errors.values()) < 1e-6, {name: f"{error:.1e}" for name, error in errors.items()}
