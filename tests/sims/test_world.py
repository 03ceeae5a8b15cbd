"""World: recordings of several steps, teams, batches, precisions, memory."""

import gc
from pathlib import Path

import numpy as np
import pytest
from small_scenes import CELL, random_controls, reverse, small_scene, small_world, states

from pliant.envs.features.check import check_adjoint
from pliant.sims import world as world_module
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.runtime import thread_count
from pliant.sims.world import World

STEPS = 5


def rollout(world, controls):
    """Everything that steps under ``controls`` lead to: states, forces, and gradients of a random functional."""
    world.reset()
    forces = []
    for c in controls:
        world.step(c)
        forces.append(world.output("effector_force"))
    found = {**states(world), "effector_force": np.array(forces)}
    if world.differentiable:
        rng = np.random.default_rng(7)
        # drawn for one world, so that every world of a batch has the cotangents that it would have by itself
        cotangents = {n: np.tile(rng.standard_normal(found[n][:1].shape), (world.batch, *[1] * (found[n].ndim - 1)))
                      for n in world.state_names}  # fmt: skip
        pull = np.tile(rng.standard_normal(found["effector_force"][:, :1].shape), (1, world.batch, 1, 1))
        found |= {f"{name}_bar": bar for name, bar in reverse(world, cotangents, pull).items()}
    return found


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def assert_close(a, b, *, forward, backward):
    """Largest difference relative to the largest entry, array by array."""
    assert a.keys() == b.keys()
    for name in a:
        scale = np.abs(b[name]).max()
        error = np.abs(a[name] - b[name]).max() / scale if scale else np.abs(a[name]).max()
        assert error <= (backward if name.endswith("_bar") else forward), f"{name}: {error:.3g}"


@pytest.fixture(scope="module")
def plane():
    """A World of two dimensions in float64 and some controls for it."""
    world = small_world(2)
    yield world, random_controls(world, STEPS)
    world.close()


def test_gradients_of_several_steps(plane):
    world, controls = plane
    rng = np.random.default_rng(0)
    cotangent = rng.standard_normal((STEPS, 1, world.count("effector_position"), 3))

    def forward(x):
        world.reset()
        world.set_state("velocity", x["velocity"])
        world.set_parameter("youngs_modulus", x["youngs_modulus"])
        total = 0.0
        for c, force in zip(x["controls"], cotangent, strict=True):
            world.step(c)
            total += np.vdot(force, world.output("effector_force"))
        return {"position": world.state("position"), "work": np.array(total)}

    def adjoint(x, c):
        forward(x)
        bars = reverse(world, {"position": c["position"]}, c["work"] * cotangent)
        return {name: bars[name] for name in x}

    world.reset()
    point = {
        "controls": controls,
        "velocity": world.state("velocity"),
        "youngs_modulus": world.parameter("youngs_modulus"),
    }
    try:
        check_adjoint(forward, adjoint, point, steps=(1e-4, 1e-5, 1e-6), trials=1)
    finally:
        world.reset()
        world.set_parameter("youngs_modulus", point["youngs_modulus"])


def test_cotangents_of_every_step_add_up(plane):
    world, controls = plane
    world.reset()
    for c in controls:
        world.step(c)
    cotangent = np.random.default_rng(1).standard_normal((2, *world.state("position").shape))

    def sweep(first, second):
        world.begin_adjoint()
        for t in reversed(range(STEPS)):
            world.load_step(t)
            if t == STEPS - 1:
                world.add_state_adjoint("position", first)
            if t == 1:
                world.add_state_adjoint("position", second)
            world.step_adjoint(t)
        world.load_initial()
        np.testing.assert_array_equal(world.state("position"), world.scene.position[None])
        world.end_adjoint()
        return world.state_adjoint("position")

    both, one, other = sweep(*cotangent), sweep(cotangent[0], 0 * cotangent[1]), sweep(0 * cotangent[0], cotangent[1])
    np.testing.assert_allclose(both, one + other, rtol=1e-9, atol=1e-9 * np.abs(both).max())


def test_loaded_states_are_those_of_the_rollout_and_stepping_goes_on(plane):
    world, controls = plane
    world.reset()
    seen = []
    for c in controls:
        world.step(c)
        seen.append({**states(world), "force": world.output("effector_force")})
    world.begin_adjoint()
    for t in reversed(range(STEPS)):
        world.load_step(t)
        assert_same({**states(world), "force": world.output("effector_force")}, seen[t])
        world.step_adjoint(t)
    world.end_adjoint()
    assert_same({**states(world), "force": world.output("effector_force")}, seen[-1])
    world.step(controls[0])
    after = states(world)
    rollout(world, [*controls, controls[0]])
    assert_same(after, states(world))


def test_effectors_follow_their_twists(plane):
    world, controls = plane
    start = world.scene.effectors[0].pose[:3]
    rollout(world, controls)
    twist = controls[:, :, world.control_layout["effector_twist"]].reshape(STEPS, -1, 6)
    np.testing.assert_allclose(
        world.state("effector_position")[0, 0], start + world.time_step * twist[:, 0, :3].sum(0), rtol=1e-12
    )


def test_repeats_are_identical_to_the_last_bit(plane):
    world, controls = plane
    assert_same(rollout(world, controls), rollout(world, controls))


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
@pytest.mark.parametrize("dim", [2, 3])
def test_a_team_of_two_agrees_with_one_thread_and_with_itself(dim, monkeypatch):
    alone = small_world(dim)
    monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 1)
    team = small_world(dim)
    assert (alone._team, team._team) == (1, thread_count() if thread_count() < 24 else 24)
    controls = random_controls(alone, STEPS)
    together = rollout(team, controls)
    assert_close(together, rollout(alone, controls), forward=1e-12, backward=1e-9)
    assert_same(rollout(team, controls), together)
    alone.close()
    team.close()


def test_a_batch_is_its_worlds_one_by_one(plane):
    single, _ = plane
    batch = small_world(2, batch=3)
    controls = random_controls(batch, STEPS)
    together = rollout(batch, controls)
    for b in range(3):
        alone = rollout(single, controls[:, b : b + 1])
        for name, value in together.items():
            per_step = name in ("effector_force", "controls_bar")
            one = (alone[name][:, 0], value[:, b]) if per_step else (alone[name][0], value[b])
            np.testing.assert_array_equal(*one, err_msg=name)
    batch.close()


def test_worlds_of_a_batch_can_be_reset_and_set_one_by_one():
    world = small_world(2, batch=3, differentiable=False)
    world.step(random_controls(world, 1)[0])
    moved = states(world)
    chosen = np.array([False, True, False])
    world.reset(chosen)
    np.testing.assert_array_equal(world.state("position")[1], world.scene.position)
    np.testing.assert_array_equal(world.state("position")[~chosen], moved["position"][~chosen])
    world.set_state("velocity", 0.25, chosen)
    assert (world.state("velocity")[1] == 0.25).all()
    np.testing.assert_array_equal(world.state("velocity")[~chosen], moved["velocity"][~chosen])
    world.close()


def test_recording_does_not_change_the_steps(plane):
    world, controls = plane
    plain = small_world(2, differentiable=False)
    recorded = rollout(world, controls)
    for name, value in rollout(plain, controls).items():
        np.testing.assert_array_equal(value, recorded[name], err_msg=name)
    plain.close()


def test_single_precision_beside_double(plane):
    double, controls = plane
    single = small_world(2, precision="f32")
    a, b = rollout(single, controls), rollout(double, controls)
    assert a["position"].dtype == np.float32 and b["position"].dtype == np.float64
    np.testing.assert_allclose(a["position"], b["position"], rtol=1e-4)
    for name, bar in b.items():
        if name.endswith("_bar") and np.abs(bar).max() > 0:
            cosine = np.vdot(a[name].astype(float), bar) / np.linalg.norm(a[name].astype(float)) / np.linalg.norm(bar)
            assert cosine >= 0.999, f"{name}: {cosine}"
    single.close()


def test_worlds_of_different_sizes_do_not_disturb_each_other(plane):
    world, controls = plane
    expected = rollout(world, controls)
    other = small_world(2, scene=small_scene(2, particles=9, seed=4), substeps=3, batch=2)
    others = random_controls(other, STEPS)
    expected_other = rollout(other, others)
    world.reset()
    other.reset()
    for c, d in zip(controls, others, strict=True):
        world.step(c)
        other.step(d)
    for w, e in ((world, expected), (other, expected_other)):
        for name, value in states(w).items():
            np.testing.assert_array_equal(value, e[name], err_msg=name)
    other.close()


def test_a_scene_names_what_it_has():
    world = World(
        Scene(2, (16, 16), CELL, [Body("soft", np.full((1, 2), 0.5), CELL**2)]), substeps=2, dt=1e-4, precision="f64"
    )
    assert world.parameter_names == ("youngs_modulus", "poissons_ratio", "density", "gravity", "wall_friction")
    assert world.state_names == ("position", "velocity", "affine_velocity", "deformation_gradient")
    assert (world.control_size, world.count("effector_position"), world.output_names) == (0, 0, ())
    with pytest.raises(ValueError, match="output 'effector_force' is unknown"):
        world.output("effector_force")
    world.step(np.zeros((1, 0)))
    np.testing.assert_allclose(world.state("velocity")[0, 0], [0, -9.81 * 2e-4], rtol=1e-9)
    world.close()


# ---------------------------------------------------------------------- memory


def resident():
    """Resident memory of this process [bytes]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_returns_after_close():
    scene = small_scene(2)

    def cycle():
        world = small_world(2, scene=scene, substeps=200)  # half a megabyte a step
        controls = np.zeros((1, world.control_size))
        for _ in range(2):
            world.step(controls)
        world.close()

    for _ in range(5):
        cycle()
    gc.collect()
    before = resident()
    for _ in range(100):
        cycle()
    gc.collect()
    assert resident() - before < 50e6
