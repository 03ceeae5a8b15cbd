"""Short runs with all their gradients, by name, on any device; ``python device_runs.py DEVICE NAME STEPS FILE``.

A process has one device: tests run this file for each other device than theirs, and read what it leaves in FILE.
"""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import gymnasium as gym
import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "sims")]

from rod_scenes import branched_scene, random_point, rod_world  # noqa: E402
from small_scenes import random_controls, reverse, small_world, wet_scene  # noqa: E402
from test_parts import Root, Springs, make_world  # noqa: E402

import pliant.envs  # noqa: E402, F401  registers the ids
from pliant.sims import runtime  # noqa: E402
from pliant.sims.fem.bodies import RigidBody  # noqa: E402
from pliant.sims.fem.pads import pad_mesh  # noqa: E402
from pliant.sims.fem.scene import Gel, GelScene  # noqa: E402
from pliant.sims.mpm import boxes  # noqa: E402
from pliant.sims.robot.effector import Effector  # noqa: E402
from pliant.sims.shapes.shapes import Box, Sphere  # noqa: E402
from pliant.sims.world import World  # noqa: E402


def environment_run(env_id, device, steps, precision):
    """Observations, rewards, last state and the gradient of the return under random actions."""
    options = {"differentiable": True, "device": device, "precision": precision, "disable_env_checker": True}
    env = gym.make(env_id, **options).unwrapped
    actions = np.random.default_rng(0).uniform(-0.8, 0.8, (steps, env.action_space.shape[0])).astype(np.float32)
    env.reset(seed=0)
    found = {"reward": [], "observation": []}
    for action in actions:
        found["reward"].append(env.step(action)[1])
        found["observation"].append(env.outcome.observation)
    gradient = env.backward()
    found |= {name: env.state(name) for name in env.state_names}
    found |= {f"{name}_bar": bar for name, bar in {**gradient.initial_state, **gradient.parameters}.items()}
    env.close()
    return found | {"actions_bar": gradient.actions}


def world_run(world, point, steps):
    """Last state, outputs, and the gradient of a random functional of the state and of forces, from the states and
    parameters ``point``."""
    point = {"controls": random_controls(world, steps), **point}
    for name in world.parameter_names:
        world.set_parameter(name, point[name])
    for name in world.state_names:
        world.set_state(name, point[name])
    outputs = {name: [] for name in world.output_names}
    for controls in point["controls"]:
        world.step(controls)
        for name, values in outputs.items():
            values.append(world.output(name))
    found = {name: world.state(name) for name in world.state_names}
    outputs = {name: np.array(values) for name, values in outputs.items()}
    rng = np.random.default_rng(7)
    cotangents, pulls = (
        {name: rng.standard_normal(value.shape) for name, value in of.items()} for of in (found, outputs)
    )
    bars = reverse(world, cotangents, pulls.get("effector_force"))
    world.close()
    found |= outputs
    return found | {f"{name}_bar": bar for name, bar in bars.items()}


def own_point(world, steps):
    point = {name: world.state(name) for name in world.state_names}
    point |= {name: world.parameter(name) for name in world.parameter_names}
    if "injector_flow" in world.control_layout:
        controls = random_controls(world, steps)
        controls[..., world.control_layout["injector_flow"]] = 0.3 * world.scene.bodies[1].volume / world.dt
        point["controls"] = controls
    return point


def parts_world(**options):
    """Parts from outside the package: one of which an iteration is a step, and springs at a slower rate."""
    return make_world(Root(4), Springs(3, every=3), **options)


def wet_world(dim, **options):
    world = World(wet_scene(dim), substeps=2, dt=4e-4, differentiable=True, **options)
    world.set_state("injected_quanta", 4.0)
    world.set_state("injected_remainder", 0.45 * world.scene.bodies[1].volume)
    return world


def gel_world(**options):
    """A pad, a ball pressed into it and a block that lies on it, in an implicit step."""
    mount = Effector("mount", Box((0.03, 0.03, 0.002)), (0.0, 0.0, 0.0))
    ball = Effector("ball", Sphere(0.005), (0.0061, 0.0003, 0.0098), friction=0.5)
    block = RigidBody("block", Box((0.004, 0.006, 0.003), 0.001), 0.01, position=(-0.0047, 0.0004, 0.00795))
    gel = Gel(pad_mesh(size=(0.02, 0.02), cells=(2, 2, 1)), "mount")
    scene = GelScene([gel], [mount, ball], [block], gravity=(0.1, 0.0, -9.81))
    return World(scene, substeps=1, dt=0.01, differentiable=True, **options)


def scene_run(name, device, steps, precision):
    """The small scenes of the solvers' own tests; ``device`` "elements": on the CPU, a kernel a pass as on others,
    which compiles in a part of the time."""
    if device == "elements":
        assert runtime.start("cpu") == "cpu"
        with mock.patch.object(runtime, "_chosen", "cuda"):
            return scene_run(name, "cuda", steps, precision)
    options, point = {"device": device, "precision": precision}, own_point
    if name.endswith("in rounds") and device != "cpu":
        boxes.NODE_THREADS = 24  # each of them visits several nodes
    if name == "rod":
        world, point = rod_world(branched_scene("driven"), substeps=1, **options), random_point
    elif name == "gel":
        world = gel_world(**options)
    elif name == "parts":
        world = parts_world(**options)
    elif name.startswith("wet"):
        world = wet_world(int(name[3]), **options)
    else:
        world = small_world(int(name[5]), batch=2, substeps=2, **options)
    return world_run(world, point(world, steps), steps)


def run(name, device, steps, precision="f32"):
    """All that comes of a run, arrays by name; those of gradients end in ``_bar``."""
    make = environment_run if name.startswith("pliant/") else scene_run
    return {key: np.asarray(value) for key, value in make(name, device, steps, precision).items()}


def run_elsewhere(name, device, steps, file):
    """The same in a process of its own, by way of ``file``."""
    command = [sys.executable, __file__, device, name, str(steps), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(file) as found:
        return dict(found)


if __name__ == "__main__":
    np.savez(sys.argv[4], **run(sys.argv[2], sys.argv[1], int(sys.argv[3])))
