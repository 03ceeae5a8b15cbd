"""Gels that hold a cube of particles: gradients, equal and opposite forces, no creep, no leak."""

import numpy as np
import pytest
from grips import GEL_PARAMETERS, GEL_STATES, THICKNESS, closing_controls, cube_grip, shaken_episode
from small_scenes import small_scene
from world_gradients import check

from pliant.sims import world as world_module
from pliant.sims.fem.grip import GripScene
from pliant.sims.fem.scene import Gel
from pliant.sims.runtime import thread_count  # noqa: F401 (a condition of skipif)
from pliant.sims.world import World

DT = 4e-5


@pytest.fixture(scope="module")
def grip():
    """In f64; the left gel sticks, the right one slides."""
    scene = cube_grip(friction=[0.8, 0.05], gravity=(0.3, -0.2, -9.81), size=0.009, cells=(4, 4, 1))
    world = World(scene, substeps=8, dt=DT, precision="f64", differentiable=True)
    yield world
    world.close()


STATES = {
    "position": 1e-4,
    "velocity": 1e-2,
    "affine_velocity": 10.0,
    "deformation_gradient": 1e-3,
    **GEL_STATES,
}
PARAMETERS = ("youngs_modulus", "density", *GEL_PARAMETERS)


def test_gradients_of_a_grip_that_sticks_on_one_side_and_slides_on_the_other(grip):
    grip.reset()
    check(shaken_episode(grip, STATES, PARAMETERS).errors({"controls": 1e-2, **STATES}))


def mass_of(world):
    return np.concatenate([body.column("volume") for body in world.scene.matter.bodies]) * world.parameter("density")[0]


def test_what_the_gels_feel_is_what_the_particles_lose(grip):
    """Newton's third law: without gravity the momentum of the cube changes by minus the forces on the gels."""
    grip.reset()
    grip.set_parameter("gravity", np.zeros((1, 3)))
    mass = mass_of(grip)
    before, felt = mass @ grip.state("velocity")[0], 0.0
    for control in closing_controls(grip, 10):
        grip.step(control)
        after = mass @ grip.state("velocity")[0]
        force = grip.output("gel_force")[0].sum(axis=0)
        felt = max(felt, np.abs(grip.output("gel_force")).max())
        np.testing.assert_allclose(after - before, -force * grip.time_step, rtol=0, atol=1e-9 * felt * grip.time_step)
        before = after
    assert felt > 0.05
    grip.reset()
    grip.set_parameter("gravity", np.array([[0.3, -0.2, -9.81]]))


def test_a_cube_that_is_held_neither_falls_nor_creeps(grip):
    """Both gels stick; once at rest the cube stays where it is, to less than a thousandth of what it would creep by if
    it lost a thousandth of its weight."""
    grip.reset()
    grip.set_parameter("grip_friction", np.full((1, 2), 0.8))
    heights = []
    idle = np.zeros((1, grip.control_size))
    for k in range(1000):
        grip.step(closing_controls(grip, 1)[0] * [0 if i % 6 else 1 for i in range(12)] if k < 10 else idle)
        heights.append(float(mass_of(grip) @ grip.state("position")[0, :, 2] / mass_of(grip).sum()))
    force = grip.output("gel_force")[0].sum(axis=0)
    weight = mass_of(grip).sum() * grip.parameter("gravity")[0]
    np.testing.assert_allclose(force, weight, atol=1e-3 * np.abs(weight).max())
    assert abs(heights[0] - heights[-1]) < 1e-4, "it does not fall"
    assert abs(heights[-1] - heights[-100]) < 1e-8, "it does not creep"
    grip.reset()
    grip.set_parameter("grip_friction", np.array([[0.8, 0.05]]))


def test_a_cube_that_is_not_held_falls(grip):
    """Without friction nothing but gravity acts along the gels."""
    grip.reset()
    grip.set_parameter("grip_friction", np.zeros((1, 2)))
    for _ in range(50):
        grip.step(np.zeros((1, grip.control_size)))
    speed = mass_of(grip) @ grip.state("velocity")[0] / mass_of(grip).sum()
    np.testing.assert_allclose(speed[2], -9.81 * 50 * grip.time_step, rtol=0.02)
    grip.reset()
    grip.set_parameter("grip_friction", np.array([[0.8, 0.05]]))


def test_nothing_leaks_through_a_gel_whose_nodes_are_a_cell_and_a_half_apart():
    """A soft cube is pressed to two thirds of its width."""
    scene = cube_grip(cell=2.5e-3, size=0.01, cells=(4, 4, 1), young=1e4, stiffness=8e7)
    spacing = 0.015 / 4
    assert spacing == 1.5 * scene.matter.cell
    world = World(scene, substeps=10, dt=DT, precision="f64", differentiable=False)
    control = np.zeros((1, world.control_size))
    control[0, 0], control[0, 6] = 0.2, -0.2
    for _ in range(20):
        world.step(control)
    gap = float(np.diff(world.state("effector_position")[0, :, 0])[0]) - 2 * THICKNESS
    assert gap < 0.7 * 0.01
    x = world.state("position")[0, :, 0]
    for k, side in ((0, 1), (1, -1)):
        front = world.state("effector_position")[0, k, 0] + side * THICKNESS
        worst = float((side * (front - x)).max())
        assert worst < 0.5 * scene.matter.cell, "no particle is far behind the gel's surface at rest"
    assert np.abs(world.output("gel_force")[0, :, 0]).min() > 0.3
    world.close()


def test_the_force_of_contact_sets_in_without_a_kink(grip):
    """The force of the first step by the place of a jaw: its second differences fall with the square of the spacing,
    where those at a kink fall with the spacing."""
    start = np.zeros((1, grip.control_size))
    worst = []
    for count in (41, 81):
        forces = []
        for shift in np.linspace(2e-4, 1.4e-3, count):
            grip.reset()
            place = grip.state("effector_position")
            place[0, 1, 0] += shift
            grip.set_state("effector_position", place)
            grip.step(start)
            forces.append(grip.output("gel_force")[0, 1, 0])
        assert forces[0] > 0.05 and forces[-1] == 0.0
        worst.append(np.abs(np.diff(forces, 2)).max())
    assert worst[1] < 0.35 * worst[0]


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
def test_two_threads_agree_with_one_and_are_the_same_from_run_to_run(monkeypatch):
    found = []
    for elements in (world_module.MEMBER_ELEMENTS, 1, 1):
        monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", elements)
        world = World(cube_grip(size=0.009, cells=(4, 4, 1)), substeps=8, dt=DT, precision="f64", differentiable=True)
        assert world._team == (2 if elements == 1 else 1)
        for control in closing_controls(world, 4):
            world.step(control)
        world.begin_adjoint()
        for t in reversed(range(4)):
            world.load_step(t)
            if t == 3:
                world.add_state_adjoint("position", np.ones_like(world.state("position")))
            bar = world.step_adjoint(t)
        found.append(
            [world.state("velocity"), world.state("gel_velocity"), bar, world.parameter_adjoint("grip_friction")]
        )
        world.close()
    for one, two, again in zip(*found, strict=True):
        np.testing.assert_array_equal(two, again)
        np.testing.assert_allclose(two, one, rtol=1e-8, atol=1e-9 * np.abs(one).max())


def test_grips_that_cannot_be_are_refused(grip):
    with pytest.raises(ValueError, match=r"matter=.* must be a three-dimensional Scene or a RodScene"):
        GripScene(small_scene(2), [])
    with pytest.raises(ValueError, match=r"friction=.* must be one or 2 finite numbers >= 0"):
        cube_grip(friction=[0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"onset=0\.01 m"):
        cube_grip(onset=0.01)
    with pytest.raises(ValueError, match="stiffness=0"):
        cube_grip(stiffness=0)
    with pytest.raises(ValueError, match="gel: mount='third'"):
        GripScene(grip.scene.matter, [Gel(grip.scene.gels[0].mesh, "third")])
    with pytest.raises(ValueError, match=r"dt=0.0002 s is too large for the explicit gel on 'left'.*at most"):
        World(cube_grip(), substeps=1, dt=2e-4)
    with pytest.raises(ValueError, match=r"parameter 'grip_stiffness': dt=4e-05 s is too large"):
        grip.set_parameter("grip_stiffness", np.array([1e10]))
    with pytest.raises(ValueError, match=r"parameter 'grip_friction'=-1\.0 must not be negative"):
        grip.set_parameter("grip_friction", np.array([[-1.0, 0.0]]))
