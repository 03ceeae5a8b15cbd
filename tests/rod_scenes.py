"""Small rods in which everything happens: branches, twist, natural curvature, drag, clamps, contact with friction."""

import numpy as np

from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.shapes.shapes import HalfSpace, Sphere
from pliant.sims.world import World

EDGE = 0.05  # [m]
PARENTS = (-1, 0, 1, 2, 3, 4, 3, 6, 2, 8)  # two branches, one of two edges from 3 and one from 2
DIRECTIONS = (
    *((1, 0, 0), (1, 0, 0), (1, 0.3, 0), (1, 0, 0.2), (1, 0.2, 0)),
    *((0.2, 1, 0), (0.3, 1, 0), (0.3, -1, 0.1), (0.1, -1, 0.4)),
)


def branched_position():
    """Vertices of the branched rod, (10, 3) [m]."""
    x = np.zeros((len(PARENTS), 3))
    x[0, 2] = 0.5
    for i, (p, d) in enumerate(zip(PARENTS[1:], DIRECTIONS, strict=True), start=1):
        x[i] = x[p] + EDGE * np.array(d) / np.linalg.norm(d)
    return x


def branched_rod(**options):
    """A branched rod in which no two vertices are alike."""
    rng = np.random.default_rng(1)
    x = branched_position()
    n = len(x)
    given = {
        "parents": PARENTS,
        "mass": 5e-3 * (1 + 0.2 * rng.random(n)),
        "bend_stiffness": 1e-3 * (1 + rng.random((n, 2))),
        "twist_stiffness": 1e-3,
        "stretch_stiffness": 100.0,
        "bend_damping": 0.05,
        "twist_damping": 0.02,
        "drag": 1e-3,
        "quadratic_drag": 1e-2,
        "director": (0, 0.3, 1),
    }
    return Rod(x, **(given | options))


def grippers(x):
    """Two effectors at an end and in the middle of the branched rod; a floor and a ball that it rests on."""
    return [
        Effector("end", Sphere(0.01), x[0] + [-0.03, 0, 0], (0.9, 0.1, 0.2, 0.3)),
        Effector("middle", Sphere(0.005), x[4] + [0, 0, 0.03]),
        Effector("floor", HalfSpace(), (0, 0, 0.4985), friction=0.4),
        Effector("ball", Sphere(0.03), x[7] + [0.01, 0, -0.032], friction=0.3),
    ]


def branched_scene(kind, **options):
    """The branched rod. ``kind``: "free"; "driven": an end and the tip of the trunk along given positions; "gripped":
    one effector holds two vertices, another one in the middle, and the rod rests on a floor and a ball."""
    rod = branched_rod()
    grips, effectors = {
        "free": ([], []),
        "driven": ([Grip([0, 1, 5])], []),
        "gripped": ([Grip([0, 1], "end"), Grip([4], "middle")], grippers(rod.position)),
    }[kind]
    return RodScene(rod, grips=grips, effectors=effectors, **{"contact_stiffness": 50.0, **options})


def rod_world(scene, **options):
    """A World of a rod in float64 that records, unless told otherwise."""
    return World(scene, **{"substeps": 2, "dt": 0.01, "precision": "f64", "differentiable": True, **options})


def random_point(world, steps):
    """A moving, twisted state, parameters with natural curvature, and controls of ``steps`` steps, by name."""
    rng = np.random.default_rng(3)
    point = {name: world.state(name) for name in world.state_names}
    point |= {name: world.parameter(name) for name in world.parameter_names}
    for name, size in (("velocity", 0.3), ("director", 0.2), ("natural_curvature", 2.0), ("natural_twist", 2.0)):
        point[name] = point[name] + size * rng.standard_normal(point[name].shape)
    controls = 0.3 * rng.standard_normal((steps, world.batch, world.control_size))
    if "driven_position" in world.control_layout:
        held = world.scene.position[world.scene.driven_vertices]
        way = 4e-3 * rng.standard_normal((1, world.batch, 3)) * np.arange(1, steps + 1)[:, None, None]
        columns = world.control_layout["driven_position"]
        controls[:, :, columns] = held.ravel() + np.tile(way, len(held))
    if "parameter_scale" in world.control_layout:
        columns = world.control_layout["parameter_scale"]
        controls[:, :, columns] = abs(controls[:, :, columns])
    return point | {"controls": controls}


def moves(point):
    """How far each quantity of a point may move in a check: a third of its size, positions a hundredth of a metre."""
    sizes = {name: 0.3 * max(float(np.abs(value).max(initial=0.0)), 1e-3) for name, value in point.items()}
    sizes |= {"position": 3e-3, "effector_position": 3e-3, "controls": 0.1}
    return {name: np.full(value.shape, sizes[name]) for name, value in point.items()}


def roll_out(world, point):
    """The states that steps under ``point["controls"]`` lead to, and the forces on effectors in each step, by name."""
    world.reset()
    for name in world.parameter_names:
        world.set_parameter(name, point[name])
    for name in world.state_names:
        world.set_state(name, point[name])
    forces = []
    for controls in point["controls"]:
        world.step(controls)
        has_effectors = "effector_force" in world.output_names
        forces.append(world.output("effector_force") if has_effectors else np.zeros((world.batch, 0, 3)))
    return {**{name: world.state(name) for name in world.state_names}, "force": np.array(forces)}
