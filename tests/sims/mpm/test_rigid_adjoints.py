"""Gradients through rigid bodies: shape matching by itself, and a World of rigid, soft and manipulated things."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from small_scenes import CELL, forces_on_effectors, one_step, random_controls, reverse, small_scene, small_world, states

from pliant.envs.features.check import check_adjoint
from pliant.sims import runtime
from pliant.sims import world as world_module
from pliant.sims.fields import Memory
from pliant.sims.mpm.rigid.matching import rigid_functions
from pliant.sims.runtime import thread_count, ti  # noqa: F401 (conditions of skipif)

FLOATS = ti.types.ndarray(ti.f64, 1)
INTEGERS = ti.types.ndarray(ti.i32, 1)
ARRAYS = ("frames", "adjoint", "parameters", "parameter_adjoint", "constants", "integers")
STEPS = 3


def rigid_scene(dim, *, effectors=True):
    """Two soft bodies and two rigid ones of uneven masses, some in a corner of the walls, in reach of effectors."""
    scene = small_scene(dim, particles=8, effectors=effectors)
    for body in scene.bodies[::2]:
        body.material, body.muscle_group = "rigid", None
        body.check(dim)
    return scene


def memory_of(*arrays):
    return Memory(**{**dict.fromkeys(Memory._fields), **dict(zip(ARRAYS, arrays, strict=True))})


@functools.cache
def rigid_kernels(setup):
    """Shape matching of body k of world 0, from row 0 to row 1, and its adjoint, on the arrays of a World."""
    rigid = rigid_functions(setup)

    @ti.kernel
    def project(f0: FLOATS, f1: FLOATS, f2: FLOATS, f3: FLOATS, f4: FLOATS, integers: INTEGERS, k: ti.i32):
        mem = ti.static(memory_of(f0, f1, f2, f3, f4, integers))
        for _ in range(1):
            rigid.project(mem, 0, k, 1)

    @ti.kernel
    def project_adjoint(f0: FLOATS, f1: FLOATS, f2: FLOATS, f3: FLOATS, f4: FLOATS, integers: INTEGERS, k: ti.i32):
        mem = ti.static(memory_of(f0, f1, f2, f3, f4, integers))
        for _ in range(1):
            rigid.project_adjoint(mem, 0, k, 0, 1)

    return SimpleNamespace(project=project, project_adjoint=project_adjoint)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("dim", [2, 3])
def test_project_adjoint(dim, number):
    """Moved positions, velocities, velocity gradients and densities against all that shape matching writes."""
    world = small_world(dim, scene=rigid_scene(dim))
    memory, kernels = world._memory, rigid_kernels(world._parts[-1].setup(dim, ti.f64, False))
    arrays = [getattr(memory, "live" if name == "frames" else name).device_array for name in ARRAYS]
    fields = {name: world._fields["state"][name] for name in ("position", "velocity", "affine_velocity")}
    own = world.scene.group(world.scene.bodies[2 * number].name)
    initial = {name: world.state(name)[0, own] for name in fields}
    rng = np.random.default_rng(dim)

    def rows():
        return memory.live.view().reshape(2, -1)

    def forward(x):
        world.set_parameter("density", density(x))
        before, after = rows()[:1], rows()[1:]
        # the adjoint finds the moved positions by x* = x + dt v*
        fields["position"].of(before)[0, own] = x["position"] - world.dt * x["velocity"]
        for name, field in fields.items():
            field.of(after)[0, own] = x[name]
        kernels.project(*arrays, number)
        return {name: field.of(after)[0, own].copy() for name, field in fields.items()}

    def density(x):
        every = np.full(world.count("position"), 1e3)
        every[own] = x["density"]
        return every

    def adjoint(x, c):
        forward(x)
        memory.parameter_adjoint.fill(0)
        bars = memory.adjoint.view().reshape(1, -1)
        for name, field in fields.items():
            field.of(bars)[0, own] = c[name]
        kernels.project_adjoint(*arrays, number)
        found = {name: field.of(bars)[0, own].copy() for name, field in fields.items()}
        return {**found, "density": world.parameter_adjoint("density")[0, own]}

    point = {
        "position": initial["position"] @ np.linalg.qr(rng.standard_normal((dim, dim)))[0].T
        + 0.1 * CELL * rng.standard_normal(initial["position"].shape),
        "velocity": rng.standard_normal(initial["velocity"].shape),
        "affine_velocity": 30 * rng.standard_normal(initial["affine_velocity"].shape),
        "density": 1e3 * (1 + rng.random(8)),
    }
    directions = {"position": np.full(point["position"].shape, 0.1 * CELL)}
    check_adjoint(forward, adjoint, point, directions=directions, trials=3)
    world.close()


def rollout(world, controls):
    """States, forces, and gradients of a random functional, the same in every world of a batch."""
    world.reset()
    forces = []
    for c in controls:
        world.step(c)
        forces.append(forces_on_effectors(world))
    rng = np.random.default_rng(7)
    found = {**states(world), "effector_force": np.array(forces)}
    cotangents = {n: np.tile(rng.standard_normal(found[n][:1].shape), (world.batch, *[1] * (found[n].ndim - 1)))
                  for n in world.state_names}  # fmt: skip
    pull = np.tile(rng.standard_normal(found["effector_force"][:, :1].shape), (1, world.batch, 1, 1))
    bars = reverse(world, cotangents, pull)
    return {**found, **{f"{name}_bar": bar for name, bar in bars.items()}}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def assert_close(a, b, forward, backward):
    """Largest difference relative to the largest entry, array by array."""
    assert a.keys() == b.keys()
    for name in a:
        scale = np.abs(b[name]).max(initial=0.0) or 1.0
        error = np.abs(a[name] - b[name]).max(initial=0.0) / scale
        assert error <= (backward if name.endswith("_bar") else forward), f"{name}: {error:.3g}"


@pytest.mark.parametrize("dim", [2, 3])
def test_a_whole_step(dim):
    """Controls, states and parameters against states and the forces on effectors, in two worlds."""
    w = small_world(dim, scene=rigid_scene(dim), substeps=3, batch=2)
    rng = np.random.default_rng(5)
    w.set_state("affine_velocity", 5.0 * rng.standard_normal(w.state("affine_velocity").shape))
    point, forward, adjoint = one_step(w)

    small = {"position": 0.01, "poissons_ratio": 0.1, "effector_position": 0.1, "deformation_gradient": 0.1}
    found = check_adjoint(
        forward,
        adjoint,
        point,
        wrt=[name for name in point if name not in ("bulk_modulus", "viscosity", "flow_index", "friction_angle")],
        trials=1,
        steps=(1e-3, 1e-4, 1e-5),
        directions={name: np.full(point[name].shape, scale) for name, scale in small.items()},
    )
    assert any(c.input == "density" and c.output == "position" and c.analytic for c in found)
    w.close()


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
@pytest.mark.parametrize("dim", [2, 3])
def test_a_team_agrees_with_one_thread_and_with_itself(dim, monkeypatch):
    alone = small_world(dim, scene=rigid_scene(dim))
    monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 1)
    team = small_world(dim, scene=rigid_scene(dim))
    assert alone._team == 1 and team._team >= 2
    controls = random_controls(alone, STEPS)
    together = rollout(team, controls)
    assert_close(together, rollout(alone, controls), 1e-12, 1e-9)
    assert_same(rollout(team, controls), together)
    alone.close()
    team.close()


@pytest.mark.parametrize("dim", [2, 3])
def test_recomputed_steps_and_a_batch_are_the_same_to_the_last_bit(dim):
    scene = rigid_scene(dim)
    whole = small_world(dim, scene=scene, batch=2)
    few = small_world(
        dim, scene=scene, batch=2, memory=7 * whole._checkpoints.state_bytes + whole._checkpoints.segment_bytes
    )
    controls = random_controls(whole, 8)
    together = rollout(whole, controls)
    assert whole._checkpoints.complete
    assert_same(rollout(few, controls), together)
    assert not few._checkpoints.complete
    single = small_world(dim, scene=scene)
    for name, value in rollout(single, controls[:, :1]).items():
        lone = together[name][:, :1] if name in ("effector_force", "controls_bar") else together[name][:1]
        np.testing.assert_array_equal(value, lone, err_msg=name)
    for world in (whole, few, single):
        world.close()


@pytest.mark.parametrize("dim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_thread_an_element_agrees_with_the_team(dim, monkeypatch):
    """The path for GPUs, run on the CPU."""
    scene = rigid_scene(dim)
    team = small_world(dim, scene=scene, batch=2)
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "_chosen", "cuda")
        device = small_world(dim, scene=scene, batch=2)
    assert device.device == "cuda"
    controls = random_controls(team, STEPS)
    assert_close(rollout(device, controls), rollout(team, controls), 1e-12, 1e-9)
    team.close()
    device.close()


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, 3])
def test_single_precision_points_the_same_way(dim):
    """Cosine of the gradients in float32 and float64 over the first steps."""
    found = {}
    for precision in ("f32", "f64"):
        world = small_world(dim, scene=rigid_scene(dim), precision=precision)
        found[precision] = rollout(world, random_controls(world, STEPS))
        world.close()
    for name in found["f64"]:
        if name.endswith("_bar") and found["f64"][name].any():
            a, b = (found[precision][name].ravel().astype(float) for precision in found)
            assert a @ b >= 0.9999 * np.linalg.norm(a) * np.linalg.norm(b), name
