"""World: recordings of several steps, teams, batches, precisions, bad input, divergence, memory."""

import gc
from pathlib import Path

import numpy as np
import pytest
from adjoint import check_adjoint
from small_scenes import CELL, block, random_controls, reverse, small_scene, small_world, states

from pliant.sims import world as world_module
from pliant.sims.mpm.scene import Body, Scene, Walls
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.shapes import Sphere
from pliant.sims.runtime import thread_count
from pliant.sims.world import SimulationDiverged, World

STEPS = 5


def rollout(world, controls):
    """Everything that steps under ``controls`` lead to: states, forces, and gradients of a random functional."""
    world.reset()
    forces = []
    for c in controls:
        world.step(c)
        forces.append(world.effector_force)
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
    cotangent = rng.standard_normal((STEPS, 1, world.effector_count, 3))

    def forward(x):
        world.reset()
        world.set_state("velocity", x["velocity"])
        world.set_parameter("youngs_modulus", x["youngs_modulus"])
        total = 0.0
        for c, force in zip(x["controls"], cotangent, strict=True):
            world.step(c)
            total += np.vdot(force, world.effector_force)
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
        seen.append({**states(world), "force": world.effector_force})
    world.begin_adjoint()
    for t in reversed(range(STEPS)):
        world.load_step(t)
        assert_same({**states(world), "force": world.effector_force}, seen[t])
        world.step_adjoint(t)
    world.end_adjoint()
    assert_same({**states(world), "force": world.effector_force}, seen[-1])
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
    assert (world.control_size, world.effector_count, world.effector_force.shape) == (0, 0, (1, 0, 3))
    world.step(np.zeros((1, 0)))
    np.testing.assert_allclose(world.state("velocity")[0, 0], [0, -9.81 * 2e-4], rtol=1e-9)
    world.close()


# ---------------------------------------------------------------------- bad input


def body(**options):
    return Body(**{"name": "soft", "position": np.full((2, 2), 0.5), "volume": CELL**2, **options})


def scene(**options):
    return Scene(**{"dim": 2, "grid": (16, 16), "cell": CELL, "bodies": [body()], **options})


def ball(**options):
    return Effector(**{"name": "ball", "shape": Sphere(0.05), "position": (0.5, 0.5), **options})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scene(dim=4), "dim=4"),
        (lambda: scene(grid=(16,)), r"grid=\(16,\)"),
        (lambda: scene(grid=(4, 16)), r"grid=\(4, 16\)"),
        (lambda: scene(cell=0.0), "cell=0.0"),
        (lambda: scene(bodies=[]), "bodies is empty"),
        (lambda: scene(bodies=[body(), body()]), r"bodies have the names \['soft', 'soft'\]"),
        (lambda: scene(effectors=[ball(), ball()]), r"effectors have the names \['ball', 'ball'\]"),
        (lambda: scene(gravity=(0, 0, -9.81)), "gravity="),
        (lambda: scene(gravity=(0, np.nan)), "gravity="),
        (lambda: scene(bodies=[body(position=np.array([[0.5, 0.5], [0.05, 0.5]]))]), "position of particle 1 is"),
        (lambda: scene(bodies=[body(position=np.full((2, 2), np.nan))]), "position of particle 0 is"),
        (lambda: scene(bodies=[body(position=np.zeros((2, 3)))]), r"body 'soft': position has shape \(2, 3\)"),
        (lambda: scene(bodies=[body(material="jelly")]), "material='jelly'"),
        (lambda: scene(bodies=[body(volume=0.0)]), "volume="),
        (lambda: scene(bodies=[body(youngs_modulus=-1.0)]), "youngs_modulus="),
        (lambda: scene(bodies=[body(youngs_modulus=np.ones(3))]), r"youngs_modulus has shape \(3,\)"),
        (lambda: scene(bodies=[body(poissons_ratio=0.5)]), "poissons_ratio="),
        (lambda: scene(bodies=[body(density=np.inf)]), "density="),
        (lambda: scene(bodies=[body(yield_stress=-1.0)]), "yield_stress="),
        (lambda: scene(bodies=[body(muscle_strength=np.nan)]), "muscle_strength="),
        (lambda: scene(bodies=[body(muscle_group=np.zeros(3, int))]), "muscle_group has shape"),
        (lambda: scene(bodies=[body(velocity=(1.0, 2.0, 3.0))]), "velocity has shape"),
        (lambda: scene(bodies=[body(fibre_direction=(np.nan, 1.0))]), "fibre_direction has shape"),
        (lambda: scene(walls=Walls("sticky", friction=-0.1)), "friction=-0.1"),
        (lambda: scene(walls=Walls("icy")), "kind='icy'"),
        (lambda: scene(walls=Walls(["slip"] * 3)), "kind="),
        (lambda: scene(walls=Walls(thickness=0)), "thickness=0"),
        (lambda: ball(position=(0.5,)), r"position=\(0.5,\)"),
        (lambda: ball(orientation=(0, 0, 0, 0)), r"orientation=\(0, 0, 0, 0\)"),
        (lambda: ball(friction=-1.0), "friction=-1.0"),
        (lambda: ball(softness=np.nan), "softness=nan"),
        (lambda: ball(contact="magnetic"), "contact='magnetic'"),
        (lambda: small_world(2, batch=0), "batch=0"),
        (lambda: small_world(2, substeps=1.5), "substeps=1.5"),
        (lambda: small_world(2, dt=0.0), "dt=0.0"),
        (lambda: small_world(2, dt=0.1), "dt=0.1 s is too large for body 'neo_hookean'.*at most"),
        (lambda: small_world(2, precision="f16"), "precision='f16'"),
        (lambda: small_world(2, device="abacus"), "device='abacus'"),
        (lambda: small_world(2, memory="2 bananas"), "memory='2 bananas'"),
        (lambda: small_world(2, memory=100), "memory=100 bytes is too little"),
        (lambda: small_world(2, horizon=0), "horizon=0"),
        (lambda: small_world(2, batch=2**24), "batch=16777216 is too large"),
    ],
)
def test_bad_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda w, c: w.step(c[:, :-1]), r"controls have shape \(1, 19\), must be \(1, 20\)"),
        (lambda w, c: w.step(c[0]), r"controls have shape \(20,\)"),
        (lambda w, c: w.step(np.nan * c), "controls contain a value that is not finite"),
        (lambda w, c: w.state("temperature"), "state 'temperature' is unknown; this scene has: position, velocity"),
        (lambda w, c: w.parameter("viscosity"), "parameter 'viscosity' is unknown; this scene has: youngs_modulus"),
        (lambda w, c: w.set_state("velocity", np.zeros((1, 5, 2))), r"velocity has shape \(1, 5, 2\)"),
        (lambda w, c: w.set_state("velocity", np.inf), "velocity contains a value that is not finite"),
        (lambda w, c: w.set_state("position", 0.01), "position of particle 0 is"),
        (lambda w, c: w.set_state("velocity", 0.0, [True, False]), "worlds="),
        (lambda w, c: w.set_state("effector_orientation", 1.0), "effector_orientation must be unit .* length 2"),
        (lambda w, c: w.set_parameter("effector_softness", -1.0), "parameter 'effector_softness'=-1.0 must not be"),
        (lambda w, c: w.set_parameter("density", -1.0), "parameter 'density'=-1.0 must be positive"),
        (lambda w, c: w.set_parameter("poissons_ratio", 0.5), "parameter 'poissons_ratio' must lie in"),
        (lambda w, c: w.set_parameter("wall_friction", -1.0), "parameter 'wall_friction'=-1.0 must not be negative"),
        (lambda w, c: w.set_parameter("youngs_modulus", 1e9), "dt may be at most"),
        (lambda w, c: w.set_parameter("gravity", np.zeros(3)), "gravity has shape"),
        (lambda w, c: w.reset([1, 0]), "worlds="),
        (lambda w, c: w.load_step(0), r"step=0 cannot be loaded in the reverse sweep; begin_adjoint\(\) first"),
        (lambda w, c: w.step_adjoint(0), "step=0 is not loaded"),
    ],
)
def test_bad_use(plane, use, message):
    world, controls = plane
    world.reset()
    before = {**states(world), **{name: world.parameter(name) for name in world.parameter_names}}
    with pytest.raises(ValueError, match=message):
        use(world, controls[0])
    assert_same({**states(world), **{name: world.parameter(name) for name in world.parameter_names}}, before)


def test_a_recording_is_not_edited_midway(plane):
    world, controls = plane
    world.reset()
    world.step(controls[0])
    with pytest.raises(ValueError, match="state 'velocity' can be set before the first step of a recording only"):
        world.set_state("velocity", 0.0)
    with pytest.raises(ValueError, match="parameter 'density' can be set before the first step of a recording only"):
        world.set_parameter("density", 1e3)
    world.begin_adjoint()
    with pytest.raises(ValueError, match=r"step: the reverse sweep is under way; end_adjoint\(\) first"):
        world.step(controls[0])
    with pytest.raises(ValueError, match="step=1 cannot be loaded in the reverse sweep; the next one is 0"):
        world.load_step(1)
    with pytest.raises(ValueError, match="load_initial: step 0 has not been reversed yet"):
        world.load_initial()
    world.load_step(0)
    with pytest.raises(ValueError, match="load_initial: step 0 has not been reversed yet"):
        world.load_initial()
    with pytest.raises(ValueError, match=r"cotangent of velocity has shape \(3, 2\)"):
        world.add_state_adjoint("velocity", np.zeros((3, 2)))
    world.step_adjoint(0)
    with pytest.raises(ValueError, match="step=0 is not loaded"):
        world.step_adjoint(0)
    world.end_adjoint()
    batch = small_world(2, batch=2)
    batch.step(np.zeros((2, batch.control_size)))
    with pytest.raises(ValueError, match="a recording covers all worlds alike"):
        batch.reset(np.array([True, False]))
    batch.close()


def test_a_world_that_does_not_record_says_so():
    world = small_world(2, differentiable=False)
    for use in (
        world.begin_adjoint,
        world.end_adjoint,
        lambda: world.load_step(0),
        lambda: world.state_adjoint("position"),
    ):
        with pytest.raises(ValueError, match="differentiable=False"):
            use()
    world.close()


def test_a_closed_world_says_so():
    world = small_world(2)
    world.close()
    world.close()
    for use in (
        world.reset,
        world.begin_adjoint,
        lambda: world.step(np.zeros((1, world.control_size))),
        lambda: world.state("position"),
        lambda: world.set_state("velocity", 0.0),
        lambda: world.parameter("density"),
        lambda: world.set_parameter("density", 1e3),
    ):
        with pytest.raises(ValueError, match="this World is closed"):
            use()


# ---------------------------------------------------------------------- divergence


def test_a_body_thrown_out_of_the_domain_is_reported():
    world = small_world(2, batch=2, scene=fast())
    world.set_state("velocity", [[[0.0, 60.0]]], np.array([False, True]))
    controls = np.zeros((2, world.control_size))
    with pytest.raises(SimulationDiverged) as found:
        for _ in range(50):
            world.step(controls)
    error = found.value
    assert error.world == 1 and error.step == world.step_count and 0 <= error.substep < world.substeps
    assert error.array.startswith("position of particle ") and error.cause == "a particle left the domain"
    for part in (f"step {error.step}", f"substep {error.substep}", "world 1", "left the domain"):
        assert part in str(error)
    world.reset()
    world.step(controls)
    world.close()


def fast():
    """A block under walls that hold nothing back (one cell deep, and particles fly through it in a substep)."""
    rng = np.random.default_rng(0)
    b = Body(
        "soft", block(rng, 2, [6, 10], [8, 12], 16), CELL**2 / 4, muscle_group=np.zeros(16, int), material="von_mises"
    )
    return Scene(
        2, (16, 16), CELL, [b, *small_scene(2).bodies[:3]], small_scene(2).effectors, Walls("separate", thickness=1)
    )


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize(
    ("speed", "cause"),
    [(400.0, "crossed more than one cell"), (1e30, "left the domain"), (1e300, "left the domain")],
)
def test_an_absurd_velocity_is_reported(plane, precision, speed, cause):
    if precision == "f32" and speed > 1e30:
        pytest.skip("not a float32")
    world = small_world(2, precision=precision)
    velocity = world.state("velocity")
    velocity[0, 5] = speed
    world.set_state("velocity", velocity)
    with pytest.raises(SimulationDiverged) as found:
        world.step(np.zeros((1, world.control_size)))
    assert (found.value.step, found.value.substep, found.value.world) == (0, 0, 0)
    assert cause in found.value.cause
    world.close()


def test_a_world_that_diverged_wants_a_reset(plane):
    world, controls = plane
    world.reset()
    velocity = world.state("velocity")
    velocity[0, 0] = 4000.0
    world.set_state("velocity", velocity)
    with pytest.raises(SimulationDiverged):
        world.step(controls[0])
    with pytest.raises(ValueError, match="diverged"):
        world.step(controls[0])
    world.reset()
    world.step(controls[0])


def test_a_gradient_that_overflows_is_reported(plane):
    world, controls = plane
    world.reset()
    world.step(controls[0])
    world.begin_adjoint()
    world.load_step(0)
    world.add_state_adjoint("deformation_gradient", 1e308 * np.ones(world.state("deformation_gradient").shape))
    with pytest.raises(SimulationDiverged, match=r"at step 0 in gradient of .* of world 0: the gradient overflowed"):
        world.step_adjoint(0)
    world.end_adjoint()


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
