"""Gradients through surface tension, against central differences and between drivers, in float64."""

import numpy as np
import pytest
from small_scenes import reverse, states, wet_scene

from pliant.envs.features.check import check_adjoint
from pliant.sims import runtime
from pliant.sims import world as world_module
from pliant.sims.runtime import thread_count
from pliant.sims.world import World

STEPS = 2


def wet_world(dim, *, mixed=True, **options):
    options = {"substeps": 3, "dt": 4e-4, "precision": "f64", "differentiable": True, **options}
    return World(wet_scene(dim, mixed=mixed), **options)


def start(world):
    world.reset()
    if "injected_quanta" in world.state_names:
        world.set_state("injected_quanta", 4.0)
        world.set_state("injected_remainder", 0.45 * world.scene.bodies[1].volume)
    rng = np.random.default_rng(3)
    shape = world.state("affine_velocity").shape[1:]
    world.set_state("affine_velocity", 5.0 * rng.standard_normal(shape))
    world.set_parameter("surface_tension", 60.0 + 20.0 * np.arange(world.batch))


def controls_of(world):
    controls = 0.5 * np.random.default_rng(1).standard_normal((STEPS, world.batch, world.control_size))
    if "injector_flow" in world.control_layout:
        controls[..., world.control_layout["injector_flow"]] = 0.3 * world.scene.bodies[1].volume / world.dt
    return controls


def run(world, x):
    start(world)
    for name in world.state_names:
        world.set_state(name, x[name])
    for name in world.parameter_names:
        world.set_parameter(name, x[name])
    for c in x["controls"]:
        world.step(c)
    return states(world)


def rollout(world):
    """States and gradients of a random functional."""
    start(world)
    for c in controls_of(world):
        world.step(c)
    found = states(world)
    rng = np.random.default_rng(7)
    bars = reverse(world, {name: rng.standard_normal(value.shape) for name, value in found.items()})
    return {**found, **{f"{name}_bar": bar for name, bar in bars.items()}}


def assert_close(a, b, *, forward=1e-12, backward=1e-9):
    """Largest difference relative to the largest entry, array by array."""
    assert a.keys() == b.keys()
    for name in a:
        error = np.abs(a[name] - b[name]).max(initial=0.0) / (np.abs(b[name]).max(initial=0.0) or 1.0)
        assert error <= (backward if name.endswith("_bar") else forward), f"{name}: {error:.3g}"


@pytest.mark.parametrize(("dim", "mixed"), [(2, True), (3, False)])
def test_gradients_agree_with_differences(dim, mixed):
    """Last state by controls, first state and every parameter, surface tension too, to 1e-6."""
    world = wet_world(dim, mixed=mixed)
    start(world)
    names = world.parameter_names
    point = {**states(world), **{name: world.parameter(name) for name in names}, "controls": controls_of(world)}
    scales = {name: 0.1 * np.abs(point[name]) for name in (*names, "controls", "injected_remainder") if name in point}
    scales["gravity"] = np.ones((1, dim))
    scales |= {"position": np.full(point["position"].shape, 0.01)}
    scales |= {"deformation_gradient": np.full(point["deformation_gradient"].shape, 0.1)}
    wrt = [name for name in point if name not in ("injected_quanta",) and point[name].size]

    def adjoint(x, c):
        run(world, x)
        return reverse(world, c)

    found = check_adjoint(
        lambda x: run(world, x), adjoint, point, wrt=wrt, directions=scales, steps=(1e-3, 1e-4, 1e-5), trials=1
    )
    seen = [one for one in found if one.input == "surface_tension" and one.output == "velocity"]
    assert seen and all(abs(one.numeric) > 1e-6 for one in seen)
    world.close()


def test_recomputed_steps_and_threads_an_element_agree(monkeypatch):
    """Few states kept, nodes not kept: to rounding. A thread an element (the path of a GPU): to rounding."""
    world = wet_world(2, batch=2)
    expected = rollout(world)
    assert np.abs(np.diff(expected["surface_tension_bar"])).max() > 0
    tight = wet_world(2, batch=2, memory=world.memory_for(whole=1, states=2))
    assert_close(rollout(tight), expected, forward=0, backward=0)
    for one in (world, tight):
        one.close()
    with monkeypatch.context() as patch:
        patch.setattr(world_module, "WorldMemory", lambda *a, **k: real(*a, **{**k, "keeps": False}))
        scattered = wet_world(2, batch=2)
    assert scattered._memory.kept == 0
    assert_close(rollout(scattered), expected)
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "_chosen", "cuda")
        device = wet_world(2, batch=2)
    assert device.device == "cuda"
    assert_close(rollout(device), expected)
    for one in (scattered, device):
        one.close()


real = world_module.WorldMemory


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
@pytest.mark.parametrize("dim", [2, 3])
def test_a_team_of_two_agrees_with_one_thread_and_with_itself(dim, monkeypatch):
    alone = wet_world(dim, mixed=dim == 2)
    monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 1)
    team = wet_world(dim, mixed=dim == 2)
    assert alone._team == 1 and team._team == min(thread_count(), team.count("position"))
    together = rollout(team)
    assert_close(together, rollout(alone))
    assert_close(rollout(team), together, forward=0, backward=0)
    for one in (alone, team):
        one.close()


def test_single_precision_follows_double():
    exact, single = wet_world(2), wet_world(2, precision="f32", differentiable=False)
    found = []
    for world in (single, exact):
        start(world)
        for c in controls_of(world):
            world.step(c)
        found.append(states(world))
    assert_close(*found, forward=1e-4)
    for one in (exact, single):
        one.close()
