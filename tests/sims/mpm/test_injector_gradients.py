"""Gradients through injection and drainage, against central differences and between drivers, in float64."""

import numpy as np
import pytest
from small_scenes import CELL, GRID, block, reverse, states

from pliant.envs.features.check import check_adjoint
from pliant.sims import runtime
from pliant.sims import world as world_module
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Drain, Injector
from pliant.sims.mpm.supply.part import injected_volume
from pliant.sims.robot.effector import Effector
from pliant.sims.runtime import thread_count
from pliant.sims.shapes.shapes import Capsule, Sphere
from pliant.sims.world import World

STEPS = 4


def supplied_scene(dim):
    """Two injectors on one effector that turns, one on a fixed one; a body between the jets, the floor and a drain."""
    rng = np.random.default_rng(2)
    up = [0.0] * (dim - 1)
    volume = (CELL / 2.5) ** dim

    def pool(name, count):
        where = CELL * (np.full((count, dim), 11.0) + 0.1 * rng.random((count, dim)))
        sizes = volume * (0.7 + 0.6 * rng.random(count))
        return Body(name, where, sizes, "hencky", youngs_modulus=2e4, density=1e3 * (1 + rng.random(count)))

    soft = Body("soft", block(rng, dim, [4.0] * dim, [6.5] * (dim - 1) + [5.5], 24), volume, "fixed_corotated",
                youngs_modulus=2e4, velocity=[5.0] * (dim - 1) + [-2.0])  # fmt: skip
    hand = Effector("hand", Capsule(0.03, 0.05), CELL * np.array([5.3] * (dim - 1) + [8.3]), (0.9, 0, 0, 0.3), 0.3)
    ball = Effector("ball", Sphere(0.05), CELL * np.array([7.6] * (dim - 1) + [5.2]), softness=120.0)
    wall = Effector("wall", Sphere(0.02), CELL * np.array([8.1] * (dim - 1) + [9.2]), fixed=True)
    injectors = [
        Injector("tap", "water", "hand", 0.05, 1e3, [0.03, *up[1:], -1.1 * CELL], [0.2, *up[1:], -1.0]),
        Injector("jet", "oil", "hand", 0.04, 1e3, [1.3 * CELL, *up], [1.0, *up[1:], -0.3], seed=1),
        Injector("spout", "milk", "wall", 0.05, 1e3, [*up, -CELL], [-0.5, *up[1:], -1.0]),
    ]
    for injector in injectors:
        injector.max_flow = 100 * injector.area(dim)
    drains = [Drain([6.2 * CELL] + [0.0] * (dim - 1), [GRID * CELL] * (dim - 1) + [4.9 * CELL])]
    return Scene(dim, (GRID,) * dim, CELL, [soft, pool("water", 9), pool("oil", 7), pool("milk", 6)],
                 [hand, ball, wall], injectors=injectors, drains=drains)  # fmt: skip


def supplied_world(dim, **options):
    options = {"substeps": 4, "dt": 4e-4, "precision": "f64", "differentiable": True, **options}
    world = World(supplied_scene(dim), **options)
    start(world)
    return world


def start(world):
    world.reset()
    quanta = np.array([body.column("volume").mean() for body in world.scene.bodies[1:]])
    world.set_state("injected_remainder", 0.45 * quanta)
    rng = np.random.default_rng(3)
    shape = world.state("affine_velocity").shape[1:]
    world.set_state("affine_velocity", 5.0 * rng.standard_normal(shape))
    world.set_state("deformation_gradient", np.eye(world.dim) + 0.05 * rng.standard_normal(shape))


def controls_of(world, steps, seed=1):
    """Twists, and flows that let in about five particles of each pool in 16 substeps; other ones in each world."""
    rng = np.random.default_rng(seed)
    controls = 0.6 * rng.standard_normal((steps, world.batch, world.control_size))
    quanta = np.array([body.column("volume").mean() for body in world.scene.bodies[1:]])
    flows = 5 * quanta / (16 * world.dt) * (0.6 + 0.8 * rng.random((steps, world.batch, 3)))
    controls[..., world.control_layout["injector_flow"]] = flows * (1 + 0.3 * np.arange(world.batch))[:, None]
    return controls


def run(world, x, steps):
    start(world)
    for name in world.state_names:
        world.set_state(name, x[name])
    for name in world.parameter_names:
        world.set_parameter(name, x[name])
    forces = []
    for c in x["controls"]:
        world.step(c)
        forces.append(world.output("effector_force"))
    assert len(forces) == steps
    return {**states(world), "force": np.array(forces)}


def check_world(world, steps, controls, **options):
    """All states and forces after ``steps`` against the controls, the initial state and the parameters."""
    start(world)
    point = {**states(world), **{name: world.parameter(name) for name in world.parameter_names}, "controls": controls}

    def adjoint(x, c):
        run(world, x, steps)
        force = c.pop("force")
        return reverse(world, c, force)

    flow = np.zeros(world.control_size)
    flow[world.control_layout["injector_flow"]] = 1.0
    scales = {
        "controls": np.where(flow, 0.1 * np.abs(controls), 1.0),
        "injected_remainder": 0.1 * point["injected_remainder"],
        "position": np.full(point["position"].shape, 0.01),
        "poissons_ratio": np.full(point["poissons_ratio"].shape, 0.1),
        "effector_position": np.full(point["effector_position"].shape, 0.1),
        "deformation_gradient": np.full(point["deformation_gradient"].shape, 0.1),
    }
    names = [name for name in point if name != "injected_quanta"]  # a count
    return check_adjoint(
        lambda x: run(world, x, steps),
        adjoint,
        point,
        wrt=names,
        directions=scales,
        steps=(1e-3, 1e-4, 1e-5),
        **options,
    )


@pytest.mark.parametrize("dim", [2, 3])
def test_the_substep_of_an_emission(dim):
    """One substep in which each injector lets in two particles or more."""
    world = supplied_world(dim, substeps=1)
    controls = controls_of(world, 1)
    controls[..., world.control_layout["injector_flow"]] *= 8
    before = world.derived("active")
    world.step(controls[0])
    new = world.derived("active") & ~before
    assert all(new[0, world.scene.group(name)].sum() >= 2 for name in ("water", "oil", "milk"))
    found = check_world(world, 1, controls, trials=1)
    decisive = [c for c in found if c.input in ("controls", "injected_remainder", "effector_orientation")
                and c.output in ("position", "velocity")]  # fmt: skip
    assert all(c.analytic != 0 for c in decisive if (c.input, c.output) != ("injected_remainder", "velocity"))
    world.close()


@pytest.mark.parametrize("dim", [2, 3])
def test_a_window_with_injection_contact_and_drainage(dim):
    """In two worlds of different flows."""
    world = supplied_world(dim, batch=2)
    controls = controls_of(world, STEPS)
    begun = world.derived("active")
    for c in controls:
        world.step(c)
    waiting, drained = world.derived("waiting"), world.derived("drained")
    let_in = (~waiting & ~begun).sum(1)
    assert let_in.min() >= 6 and waiting.any() and (drained & begun)[:, :24].any(1).all() and let_in[0] != let_in[1]
    assert np.abs(world.output("effector_force")).max() > 0
    check_world(world, STEPS, controls, trials=1)
    world.close()


def rollout(world, controls):
    """States and forces, gradients of a random functional, and who is where."""
    start(world)
    forces = []
    for c in controls:
        world.step(c)
        forces.append(world.output("effector_force"))
    found = {**states(world), "effector_force": np.array(forces), "volume": injected_volume(world)}
    rng = np.random.default_rng(7)
    cotangents = {name: rng.standard_normal(found[name].shape) for name in world.state_names}
    waiting, drained = world.derived("waiting"), world.derived("drained")
    bars = reverse(world, cotangents, rng.standard_normal(found["effector_force"].shape))
    return {**found, "waiting": 1.0 * waiting, "drained": 1.0 * drained, **{f"{n}_bar": bar for n, bar in bars.items()}}


def assert_close(a, b, *, forward, backward):
    """Largest difference relative to the largest entry, array by array."""
    assert a.keys() == b.keys()
    for name in a:
        error = np.abs(a[name] - b[name]).max() / (np.abs(b[name]).max() or 1.0)
        assert error <= (backward if name.endswith("_bar") else forward), f"{name}: {error:.3g}"


@pytest.mark.parametrize("dim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_recomputed_steps_and_threads_an_element_agree(dim, monkeypatch):
    """Few states kept instead of all substeps: bit by bit. A thread an element (the path of a GPU): to rounding."""
    world = supplied_world(dim, batch=2)
    controls = controls_of(world, STEPS)
    expected = rollout(world, controls)
    assert expected["drained"].any() and expected["waiting"].any()
    tight = supplied_world(dim, batch=2, memory=world.memory_for(whole=1, states=2))
    again = rollout(tight, controls)
    for name, value in expected.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "_chosen", "cuda")
        device = supplied_world(dim, batch=2)
    assert device.device == "cuda"
    assert_close(rollout(device, controls), expected, forward=1e-12, backward=1e-9)
    for one in (world, tight, device):
        one.close()


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
@pytest.mark.parametrize("dim", [2, 3])
def test_a_team_of_two_agrees_with_one_thread_and_with_itself(dim, monkeypatch):
    alone = supplied_world(dim)
    monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 1)
    team = supplied_world(dim)
    assert alone._team == 1 and team._team == min(thread_count(), 46)
    controls = controls_of(alone, STEPS)
    together = rollout(team, controls)
    assert_close(together, rollout(alone, controls), forward=1e-12, backward=1e-9)
    for name, value in rollout(team, controls).items():
        np.testing.assert_array_equal(value, together[name], err_msg=name)
    for one in (alone, team):
        one.close()
