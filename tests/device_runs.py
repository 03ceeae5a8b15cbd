"""Short runs with all their gradients, by name, on any device; ``python device_runs.py DEVICE NAME STEPS FILE``.

A process has one device: tests run this file for each other device than theirs, and read what it leaves in FILE.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))


def environment_run(env_id, device, steps, precision):
    """Observations, rewards, last state and the gradient of the return under random actions."""
    import gymnasium as gym

    import pliant.envs  # noqa: F401  registers the ids

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
    """Last state, forces if there are effectors, and the gradient of a random functional of both, from the states and
    parameters ``point``."""
    from small_scenes import random_controls, reverse

    point = {"controls": random_controls(world, steps), **point}
    for name in world.parameter_names:
        world.set_parameter(name, point[name])
    for name in world.state_names:
        world.set_state(name, point[name])
    forces = []
    for controls in point["controls"]:
        world.step(controls)
        forces += [world.output(name) for name in world.output_names]
    found = {name: world.state(name) for name in world.state_names}
    rng = np.random.default_rng(7)
    cotangents = {name: rng.standard_normal(value.shape) for name, value in found.items()}
    bars = reverse(world, cotangents, rng.standard_normal(np.shape(forces)) if forces else None)
    found["force"] = np.array(forces)
    world.close()
    return found | {f"{name}_bar": bar for name, bar in bars.items()}


def own_point(world, steps):
    return {name: world.state(name) for name in world.state_names} | {
        name: world.parameter(name) for name in world.parameter_names
    }


def scene_run(name, device, steps, precision):
    """The small scenes of the solvers' own tests."""
    from rod_scenes import branched_scene, random_point, rod_world
    from small_scenes import small_world

    from pliant.sims.mpm import boxes

    if name.endswith("in rounds") and device != "cpu":
        boxes.NODE_THREADS = 24  # each of them visits several nodes
    if name == "rod":
        world, start = rod_world(branched_scene("driven"), device=device, precision=precision), random_point
    else:
        world, start = small_world(int(name[5]), batch=2, device=device, precision=precision), own_point
    return world_run(world, start(world, steps), steps)


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
