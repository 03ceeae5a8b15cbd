"""What a World refuses, and how it reports a simulation that diverges."""

import numpy as np
import pytest
from small_scenes import CELL, block, random_controls, small_scene, small_world, states

from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Sphere
from pliant.sims.world import SimulationDiverged

STEPS = 5


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def plane():
    """A World of two dimensions in float64 and some controls for it."""
    world = small_world(2)
    yield world, random_controls(world, STEPS)
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
        (lambda: scene(gravity=(0, 0, -9.81)), "gravity has shape"),
        (lambda: scene(gravity=(0, np.nan)), r"gravity at \(1,\) is nan"),
        (lambda: scene(bodies=[body(position=np.array([[0.5, 0.5], [0.05, 0.5]]))]), "position of particle 1 is"),
        (lambda: scene(bodies=[body(position=np.full((2, 2), np.nan))]), r"position at \(0, 0\) is nan"),
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
        (lambda: scene(bodies=[body(fibre_direction=(np.nan, 1.0))]), r"fibre_direction at \(0,\) is nan"),
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
        (lambda: small_world(2, batch=2**24), "batch=16777216 and substeps=. are too many"),
    ],
)
def test_bad_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda w, c: w.step(c[:, :-1]), r"controls has shape \(1, 19\), must be \(1, 20\)"),
        (lambda w, c: w.step(c[0]), r"controls has shape \(20,\)"),
        (lambda w, c: w.step(np.nan * c), r"controls at \(0, 0\) is nan"),
        (lambda w, c: w.state("temperature"), "state 'temperature' is unknown; this scene has: position, velocity"),
        (lambda w, c: w.parameter("viscosity"), "parameter 'viscosity' is unknown; this scene has: youngs_modulus"),
        (lambda w, c: w.set_state("velocity", np.zeros((1, 5, 2))), r"velocity has shape \(1, 5, 2\)"),
        (lambda w, c: w.set_state("velocity", np.inf), "velocity=inf must be finite"),
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
