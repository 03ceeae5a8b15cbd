"""The path for GPUs, run on the CPU: a World that takes the CPU for another device agrees with the usual one."""

import numpy as np
import pytest
from small_scenes import CELL, GRID, forces_on_effectors, random_controls, reverse, small_scene, small_world, states

from pliant.sims import runtime
from pliant.sims.failures import SimulationDiverged
from pliant.sims.mpm.scene import Scene

STEPS = 3


def rollout(world, controls):
    """States, forces, and gradients of a random functional."""
    world.reset()
    forces = []
    for c in controls:
        world.step(c)
        forces.append(forces_on_effectors(world))
    rng = np.random.default_rng(7)
    found = {**states(world), "effector_force": np.array(forces)}
    cotangents = {name: rng.standard_normal(found[name].shape) for name in world.state_names}
    bars = reverse(world, cotangents, rng.standard_normal(found["effector_force"].shape))
    return {**found, **{f"{name}_bar": bar for name, bar in bars.items()}}


def device_world(dim, monkeypatch, **options):
    """A World whose arrays are copied to and fro and whose kernels have a thread an element."""
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "_chosen", "cuda")
        world = small_world(dim, **options)
    assert world.device == "cuda" and world._team == 1
    return world


def assert_close(a, b, forward, backward):
    assert a.keys() == b.keys()
    for name in a:
        scale = np.abs(b[name]).max(initial=0.0) or 1.0
        error = np.abs(a[name] - b[name]).max(initial=0.0) / scale
        assert error <= (backward if name.endswith("_bar") else forward), f"{name}: {error:.3g}"


@pytest.mark.parametrize("dim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_thread_an_element_agrees_with_the_team(dim, monkeypatch):
    team, device = small_world(dim, batch=2), device_world(dim, monkeypatch, batch=2)
    controls = random_controls(team, STEPS)
    expected = rollout(team, controls)
    assert_close(rollout(device, controls), expected, 1e-12, 1e-9)
    # few states instead of all: steps are recomputed
    tight = device_world(dim, monkeypatch, batch=2, memory=7 * device._checkpoints.state_bytes)
    assert_close(rollout(tight, controls), expected, 1e-12, 1e-9)
    for world in (team, device, tight):
        world.close()


def test_single_precision_and_set_states(monkeypatch):
    team = small_world(2, precision="f32", differentiable=False)
    device = device_world(2, monkeypatch, precision="f32", differentiable=False)
    for world in (team, device):
        velocity = world.state("velocity")
        velocity[:, 0] = 1.5
        world.set_state("velocity", velocity)
        world.set_parameter("gravity", [0.5, -3.0])
        for c in random_controls(world, STEPS):
            world.step(c)
    assert_close(states(device), states(team), 1e-5, None)
    team.close()
    device.close()


def test_one_material_without_effectors_and_muscles(monkeypatch):
    rest = small_scene(2).bodies[0]
    rest.muscle_group = None
    scene = Scene(2, (GRID, GRID), CELL, [rest])
    team, device = small_world(2, scene=scene), device_world(2, monkeypatch, scene=scene)
    controls = random_controls(team, STEPS)
    assert_close(rollout(device, controls), rollout(team, controls), 1e-12, 1e-9)
    team.close()
    device.close()


def test_many_failures_at_once_are_reported_in_order(monkeypatch):
    world = device_world(2, monkeypatch, batch=3)
    velocity = world.state("velocity")
    velocity[1:] = 1e4
    world.set_state("velocity", velocity)
    with pytest.raises(SimulationDiverged) as found:
        world.step(np.zeros((3, world.control_size)))
    assert (found.value.step, found.value.substep, found.value.world) == (0, 0, 1)
    assert found.value.array.startswith("position of particle ") and found.value.cause == "a particle left the domain"
    world.close()
