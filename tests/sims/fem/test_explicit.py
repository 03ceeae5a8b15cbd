"""Gels that are stepped explicitly: gradients, agreement with an implicit step, limits of the substep."""

import numpy as np
import pytest
from world_gradients import Episode, check

from pliant.sims import world as world_module
from pliant.sims.failures import SimulationDiverged
from pliant.sims.fem import stability
from pliant.sims.fem.bodies import RigidBody
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.scene import Gel, GelScene
from pliant.sims.fem.topology import signed_volumes
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.robot.effector import Effector
from pliant.sims.runtime import thread_count  # noqa: F401 (a condition of skipif)
from pliant.sims.shapes.shapes import Box, Sphere
from pliant.sims.world import World

MESH = pad_mesh((0.02, 0.02), 0.005, (4, 4, 2))
STATES = ("gel_displacement", "gel_velocity", "effector_position", "effector_orientation")
PARAMETERS = (
    *("gel_youngs_modulus", "gel_poisson_ratio", "gel_density", "gel_viscosity", "gravity"),
    *("contact_stiffness", "tangential_stiffness", "contact_damping", "effector_friction"),
)


def press(integrator="explicit", viscosity=10.0, **options):
    """A pad that hangs askew and a ball that touches it."""
    mount = Effector("mount", Box((0.02, 0.02, 0.002)), (0.01, -0.02, 0.3), orientation=(1, 0.1, -0.05, 0.2))
    R = matrix_of_quaternion(mount.pose[None, 3:])[0]
    place = mount.pose[:3] + R @ np.array([0.0013, 0.0012, 0.005 + 6e-3 - 1e-4])
    ball = Effector("ball", Sphere(6e-3), place, friction=0.5)
    scene = GelScene(
        [Gel(MESH, "mount", viscosity=viscosity)],
        [mount, ball],
        gravity=(0.3, -0.2, -9.81),
        contact_stiffness=1e8,
        contact_damping=2.0,
        onset=5e-5,
        integrator=integrator,
    )
    settings = {"substeps": 5, "dt": 4e-5, "precision": "f64", "differentiable": True} | options
    return World(scene, **settings), R


@pytest.fixture(scope="module")
def pressed():
    world, R = press()
    yield world, R
    world.close()


def controls_of(R, steps):
    """The mount wanders; the ball presses, then slides."""
    found = np.zeros((steps, 1, 12))
    for k in range(steps):
        found[k, 0, :6] = [0.005, 0.002, 0.003, 0.5, 0.3, -0.4]
        found[k, 0, 6:9] = R @ np.array([0.3 if 2 * k > steps else 0.0, 0.01, -0.2]) + [0.001, 0.002, 0.001]
        found[k, 0, 9:] = [1, 0.5, 2]
    return found


def test_gradients_of_pressing_and_sliding(pressed):
    world, R = pressed
    rng = np.random.default_rng(0)
    world.reset()
    initial = {
        "gel_displacement": 1e-5 * rng.standard_normal(world.state("gel_displacement").shape),
        "gel_velocity": 1e-3 * rng.standard_normal(world.state("gel_velocity").shape),
    }
    episode = Episode(world, controls_of(R, 12), STATES, PARAMETERS, initial)
    forces = []
    episode.value(
        episode.controls, episode.initial, episode.parameters, lambda w: forces.append(w.output("gel_force")[0, 0])
    )
    assert np.abs(forces).max() > 0.02 and np.abs(forces[-1]).max() > 1e-3, "the ball touches throughout"
    scales = {"controls": 0.01, "gel_displacement": 1e-3, "gel_velocity": 0.1}
    scales |= {"effector_position": 1e-3, "effector_orientation": 1e-2}
    check(episode.errors(scales))


def test_a_slow_press_is_that_of_an_implicit_gel(pressed):
    """The ball presses 0.3 mm deep, then slides by 0.2 mm."""
    world, R = pressed
    implicit, _R = press("implicit", substeps=1, dt=2e-3, differentiable=False)
    forces = []
    for one, steps, size in ((world, 400, 2e-4), (implicit, 40, 2e-3)):
        one.reset()
        for k in range(steps):
            control = np.zeros((1, 12))
            control[0, 6:9] = R @ (np.array([0, 0, -0.0075]) if 2 * k < steps else np.array([0.005, 0, 0]))
            one.step(control)
        assert one.time_step == pytest.approx(size)
        forces.append(one.output("gel_force")[0, 0])
    implicit.close()
    assert np.linalg.norm(forces[1]) > 0.03
    assert np.linalg.norm(forces[0] - forces[1]) < 0.04 * np.linalg.norm(forces[1])


def test_a_gel_that_falls_with_its_mount_keeps_its_shape():
    """But for what the velocities do that lag a substep behind the mount's."""
    mount = Effector("mount", Box((0.02, 0.02, 0.002)), (0.0, 0.0, 0.3), orientation=(1, 0.3, 0.2, 0.1))
    scene = GelScene([Gel(MESH, "mount")], [mount], gravity=(1.0, 2.0, -9.81), integrator="explicit", touched=[])
    world = World(scene, substeps=1, dt=4e-5, precision="f64", differentiable=False)
    for k in range(200):
        world.step(np.concatenate([(k + 1) * 4e-5 * np.array([1.0, 2.0, -9.81]), np.zeros(3)])[None])
    np.testing.assert_allclose(world.state("gel_displacement"), 0.0, atol=2e-7)
    np.testing.assert_allclose(world.state("gel_velocity")[0, 0], 200 * 4e-5 * np.array([1.0, 2.0, -9.81]), rtol=1e-2)
    world.close()


def test_substeps_that_are_too_long_are_refused_with_the_limit(pressed):
    with pytest.raises(
        ValueError, match=r"dt=0.001 s is too large for the explicit gel on 'mount'.*at most [\d.]+e-05 s"
    ):
        press(dt=1e-3)
    with pytest.raises(ValueError, match=r"at most [\d.e-]+ s; [\d.e-]+ s without viscosity"):
        press(viscosity=500.0)
    world, _R = pressed
    world.reset()
    for name, factor in (("gel_youngs_modulus", 30.0), ("gel_density", 0.03), ("contact_stiffness", 100.0)):
        values = world.parameter(name)
        with pytest.raises(ValueError, match=f"parameter '{name}': dt=4e-05 s is too large.*at most"):
            world.set_parameter(name, factor * values)
        np.testing.assert_array_equal(world.parameter(name), values)


def free_gel(dt, **options):
    """A gel without viscosity that nothing touches."""
    mount = Effector("mount", Box((0.02, 0.02, 0.002)), (0, 0, 0.3))
    scene = GelScene([Gel(MESH, "mount", viscosity=0.0)], [mount], gravity=(0, 0, 0), integrator="explicit", touched=[])
    return World(scene, substeps=100, dt=dt, precision="f64", **options)


def test_a_gel_at_the_limit_is_stable_and_one_beyond_is_not(monkeypatch):
    """The limit is neither wrong nor far from what a gel bears: at 1.7 times the limit a small kick grows."""
    with pytest.raises(ValueError, match="at most") as refused:
        free_gel(1.0)
    limit = float(str(refused.value).split("at most ")[1].split(" s")[0])
    monkeypatch.setattr(stability, "SHARE", 10.0)
    kick = 1e-3 * np.random.default_rng(0).standard_normal((1, sum(~MESH.mounted), 3))
    for share, is_stable in ((0.99, True), (1.7, False)):
        world = free_gel(share * limit)
        world.set_state("gel_velocity", kick)
        try:
            for _ in range(20):
                world.step(np.zeros((1, 6)))
            assert is_stable == (np.abs(world.state("gel_velocity")).max() < 0.05)
        except SimulationDiverged:
            assert not is_stable
        world.close()


def test_what_explicit_gels_do_not_take_is_refused():
    mount = Effector("mount", Box((0.02, 0.02, 0.002)), (0, 0, 0.3))
    with pytest.raises(ValueError, match="integrator='euler' is unknown; allowed: 'implicit', 'explicit'"):
        GelScene([Gel(MESH, "mount")], [mount], integrator="euler")
    box = RigidBody("box", Box((0.01, 0.01, 0.01)), 0.01)
    with pytest.raises(ValueError, match=r"integrator='explicit' takes no bodies, given \['box'\]"):
        GelScene([Gel(MESH, "mount")], [mount], [box], integrator="explicit")


def test_a_gel_that_is_pressed_flat_is_reported(pressed):
    world, _R = pressed
    world.reset()
    displacement = world.state("gel_displacement")
    displacement[0, 40] += [0.0, 0.0, -0.01]
    world.set_state("gel_displacement", displacement)
    with pytest.raises(SimulationDiverged, match="pressed too deep for its mesh: a cell has lost most of its volume"):
        world.step(np.zeros((1, 12)))
    world.reset()


def test_an_edge_that_is_turned_inside_out_turns_back():
    """Its cell keeps most of its volume; the energy of a tetrahedron is defined beyond a det F of 0."""
    world = World(
        GelScene(
            [Gel(MESH, "mount", viscosity=10.0)],
            [Effector("mount", Box((0.02, 0.02, 0.002)), (0, 0, 0))],
            gravity=(0, 0, 0),
            integrator="explicit",
        ),
        substeps=100,
        dt=4e-5,
        precision="f64",
    )
    bent, inward = MESH.positions.copy(), np.array([0.0, 0.0, -0.003])  # a cell is 2.2 mm high there
    node = int(np.argmin(np.linalg.norm(bent - [0.01, 0.0, 0.005], axis=1)))
    bent[node] += inward
    assert signed_volumes(bent, MESH.tetrahedra).min() < 0
    displacement = world.state("gel_displacement")
    displacement[0, np.flatnonzero(~MESH.mounted).tolist().index(node)] = inward
    world.set_state("gel_displacement", displacement)
    for _ in range(60):
        world.step(np.zeros((1, 6)))
    assert abs(world.state("gel_displacement")).max() < 1e-3 * np.linalg.norm(inward)
    world.close()


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
def test_two_threads_give_the_same_bits_as_one(monkeypatch):
    states = []
    for elements in (world_module.MEMBER_ELEMENTS, 1):
        monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", elements)
        world, R = press(differentiable=False)
        assert world._team == (2 if elements == 1 else 1)
        for control in controls_of(R, 10):
            world.step(control)
        states.append({name: world.state(name) for name in world.state_names})
        world.close()
    for name, values in states[0].items():
        np.testing.assert_array_equal(values, states[1][name])


def test_gels_that_go_into_each_other_are_a_failure():
    """Also where one gel, which needs no look at others, has been compiled before."""
    reach, speed = 0.006, 0.02
    mounts = [
        Effector(name, Box((0.02, 0.02, 0.002)), (side * reach, 0, 0), orientation=(1, 0, -side, 0))
        for name, side in (("left", -1), ("right", 1))
    ]
    for gels in ([Gel(MESH, "left")], [Gel(MESH, "left"), Gel(MESH, "right")]):
        scene = GelScene(gels, mounts, gravity=(0, 0, 0), touched=[], integrator="explicit")
        world = World(scene, substeps=250, dt=4e-5, precision="f64")
        controls = np.zeros((1, 12))
        controls[0, [0, 6]] = speed, -speed
        for _ in range(4):  # to 0.2 mm a side
            world.step(controls)
        if len(gels) == 1:
            world.close()
    with pytest.raises(SimulationDiverged, match="a gripper has closed through itself"):
        for _ in range(10):
            world.step(controls)
    assert (abs(world.state("effector_position")[0, :, 0]) > 0.0045).all()  # the state before
    world.close()
