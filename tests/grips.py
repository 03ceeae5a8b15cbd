"""Two gels and what is between them, for tests."""

import numpy as np
from world_gradients import Episode

from pliant.sims.fem.grip import GripScene
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.scene import Gel
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.shapes.shapes import Box

THICKNESS = 0.004
FACING = (1, 0, 1, 0), (1, 0, -1, 0)
"""Orientations in which a gel's +z looks along +x and along -x."""


def jaws(middle, half, overlap=0.0, shift=(0.0, 0.0)):
    """Mounts of gels on both sides of a body of half the width ``half`` [m], that overlap it."""
    out = half + THICKNESS - overlap
    y, z = middle[1] + shift[0], middle[2] + shift[1]
    return [
        Effector("left", Box((0.01, 0.01, 0.002)), (middle[0] - out, y, z), orientation=FACING[0]),
        Effector("right", Box((0.01, 0.01, 0.002)), (middle[0] + out, y + 2e-4, z - 1e-4), orientation=FACING[1]),
    ]


def cube_grip(cell=3e-3, size=0.012, overlap=3e-4, cells=(4, 4, 2), young=2e4, material="neo_hookean", **options):
    """A cube of particles between two pads; nothing stands on the grid's nodes."""
    middle = np.array([8.05, 8.1, 7.93]) * cell
    count = round(2 * size / cell)
    line = (np.arange(count) + 0.5) / count - 0.5
    lattice = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3) * size
    body = Body(
        "cube",
        middle + lattice,
        (size / count) ** 3,
        material,
        youngs_modulus=young,
        poissons_ratio=0.3,
        density=1100.0,
    )
    mesh = pad_mesh((0.015, 0.015), THICKNESS, cells, grading=(1.0, 1.0))
    gravity = options.pop("gravity", (0.0, 0.0, -9.81))
    matter = Scene(3, (16, 16, 16), cell, [body], jaws(middle, size / 2, overlap), Walls("sticky"), gravity=gravity)
    viscosity = options.pop("viscosity", 5.0)
    return GripScene(
        matter, [Gel(mesh, "left", viscosity=viscosity), Gel(mesh, "right", viscosity=viscosity)], **options
    )


def cable_grip(count=13, length=0.06, radius=2.5e-3, overlap=4e-4, cells=(4, 4, 1), bow=0.004, **options):
    """A slack cable between two pads, somewhat askew."""
    x = np.linspace(-0.5, 0.5, count)
    places = np.stack([1e-4 + 2e-4 * x, length * x + 3e-4, bow * (0.25 - x * x)], axis=1)
    rod = Rod(
        places, mass=0.02 / count, bend_stiffness=2e-5, twist_stiffness=2e-5, stretch_stiffness=200.0, radius=radius
    )
    rod.bend_damping = options.pop("bend_damping", 0.01)
    gravity = options.pop("gravity", (0.0, 0.0, -9.81))
    mounts = jaws(np.zeros(3), radius, overlap, (3e-4, 4e-4))
    matter = RodScene(rod, effectors=mounts, gravity=gravity, integrator=options.pop("integrator", "bdf2"))
    mesh = pad_mesh((0.015, 0.015), THICKNESS, cells, grading=(1.0, 1.0))
    viscosity = options.pop("viscosity", 5.0)
    return GripScene(
        matter, [Gel(mesh, "left", viscosity=viscosity), Gel(mesh, "right", viscosity=viscosity)], **options
    )


GEL_STATES = {"gel_displacement": 1e-5, "gel_velocity": 1e-2, "effector_position": 1e-5, "effector_orientation": 1e-3}
"""Steps of the differences by which the gradients of a grip are checked, besides those of what is held."""

GEL_PARAMETERS = (
    *("grip_stiffness", "grip_tangential_stiffness", "grip_damping", "grip_friction", "gravity", "gel_gravity"),
    *("gel_youngs_modulus", "gel_poisson_ratio", "gel_density", "gel_viscosity"),
)


def closing_controls(world, steps):
    """Closes the jaws, lifts them and turns one of them."""
    controls = np.zeros((steps, 1, world.control_size))
    controls[:, 0, 0], controls[:, 0, 6] = 0.03, -0.02
    controls[:, 0, 2] = controls[:, 0, 8] = 0.05
    controls[:, 0, 3:6] = [0.3, -0.2, 0.1]
    return controls


def shaken_episode(world, states, parameters):
    """Five steps of ``closing_controls`` in which everything moves from the start on."""
    rng = np.random.default_rng(1)
    initial = {
        "velocity": 0.02 * rng.standard_normal(world.state("velocity").shape),
        "gel_displacement": 2e-6 * rng.standard_normal(world.state("gel_displacement").shape),
        "gel_velocity": 1e-3 * rng.standard_normal(world.state("gel_velocity").shape),
    }
    return Episode(world, closing_controls(world, 5), states, parameters, initial)
