"""Worlds of gels for tests: every one has the same kinds of shapes, so that they share their kernels."""

import numpy as np

from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.scene import Gel, GelScene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box, HalfSpace, Sphere
from pliant.sims.world import World

STATIC = 1e4
"""A substep [s] in which inertia and viscosity are nothing: each step finds an equilibrium."""

DOWN = (0.0, 1.0, 0.0, 0.0)
"""Turns +z to -z."""


def idle(*kinds):
    """Effectors of the kinds of shapes that a scene does not have, far away."""
    far = {
        "box": Effector("far_box", Box((1e-3, 1e-3, 1e-3)), (9.0, 0.0, 0.0), fixed=True),
        "sphere": Effector("far_sphere", Sphere(1e-3), (9.0, 1.0, 0.0), fixed=True),
        "plane": Effector("far_plane", HalfSpace(), (0.0, 0.0, -9.0), fixed=True),
    }
    return [far[kind] for kind in kinds]


def mount(name="mount", position=(0.0, 0.0, 0.0), **options):
    return Effector(name, Box((0.03, 0.03, 0.002)), position, **options)


def gel_world(
    gels, effectors, bodies=(), *, substep=1e-2, substeps=1, precision="f64", differentiable=False, batch=1, **scene
):
    """A World of a scene without gravity, unless it is given."""
    scene = {"gravity": (0.0, 0.0, 0.0)} | scene
    made = GelScene(list(gels), list(effectors), list(bodies), **scene)
    return World(
        made, substeps=substeps, dt=substep * substeps, precision=precision, differentiable=differentiable, batch=batch
    )


def pressed_world(mesh, tool, *, gel=None, **options):
    """A gel on a mount at the origin and a tool that touches it."""
    kind = {"Box": "box", "Sphere": "sphere", "HalfSpace": "plane"}[type(tool.shape).__name__]
    others = idle(*(k for k in ("box", "sphere", "plane") if k != kind))
    return gel_world([Gel(mesh, "mount", **(gel or {}))], [mount(), tool, *others], **options)


def move(world, name, velocity, steps=1):
    """Steps in which the named effector moves at a velocity (3,) [m/s]."""
    layout = world.control_layout
    controls = np.zeros((world.batch, world.control_size))
    columns = np.arange(world.control_size).reshape(-1, 6)[world_names(world).index(name)]
    controls[:, columns[:3]] = velocity
    for _ in range(steps):
        world.step(controls)
    return layout


def world_names(world):
    """Names of the effectors that move, in order."""
    return [e.name for e in world.scene.effectors if not e.fixed]


def force(world, gel=0, b=0):
    """Force of contact on a gel [N]."""
    return world.output("gel_force")[b, gel]


def small_pad(size=0.02, cells=(4, 4, 2), thickness=0.005):
    return pad_mesh(size=(size, size), cells=cells, thickness=thickness)
