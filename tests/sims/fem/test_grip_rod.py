"""Gels that hold a cable: gradients, equal and opposite forces, no creep."""

import numpy as np
import pytest
from grips import GEL_PARAMETERS, GEL_STATES, cable_grip, closing_controls, shaken_episode
from world_gradients import check

from pliant.sims.world import World

DT = 4e-5
GRAVITY = (0.3, -0.2, -9.81)
FRICTION = [0.8, 0.05]


@pytest.fixture(scope="module")
def grip():
    """In f64; the left gel sticks, the right one slides."""
    scene = cable_grip(friction=FRICTION, gravity=GRAVITY)
    world = World(scene, substeps=8, dt=DT, precision="f64", differentiable=True)
    yield world
    world.close()


@pytest.fixture(autouse=True)
def restore(grip):
    """Tests change the state and the parameters of the shared World; each begins with those of the scene."""
    grip.reset()
    grip.set_parameter("grip_friction", np.array([FRICTION]))
    grip.set_parameter("gravity", np.array([GRAVITY]))


STATES = {"position": 1e-5, "velocity": 1e-2, "director": 1e-3, **GEL_STATES}
PARAMETERS = ("mass", "bend_stiffness", "stretch_stiffness", *GEL_PARAMETERS)


def test_gradients_of_a_grip_that_sticks_on_one_side_and_slides_on_the_other(grip):
    episode = shaken_episode(grip, STATES, PARAMETERS)
    forces = []
    episode.value(
        episode.controls, episode.initial, episode.parameters, lambda w: forces.append(w.output("gel_force")[0])
    )
    assert np.abs(np.array(forces)[:, :, 0]).min() > 0.05, "both gels touch throughout"
    check(episode.errors({"controls": 1e-2, **STATES}))


def test_what_the_gels_feel_is_what_the_cable_loses():
    """Newton's third law: without gravity the cable's momentum changes by minus the forces on the gels. (In steps of
    first order: those of second order spread a force over several.)"""
    scene = cable_grip(gravity=(0, 0, 0), integrator="backward_euler")
    world = World(scene, substeps=8, dt=DT, precision="f64", differentiable=False)
    mass = world.parameter("mass")[0]
    before, felt = np.zeros(3), 0.0
    for control in closing_controls(world, 10):
        world.step(control)
        after = mass @ world.state("velocity")[0]
        force = world.output("gel_force")[0].sum(axis=0)
        felt = max(felt, np.abs(world.output("gel_force")).max())
        np.testing.assert_allclose(after - before, -force * world.time_step, rtol=0, atol=1e-6 * felt * world.time_step)
        before = after
    assert felt > 0.05
    world.close()


def test_a_cable_that_is_held_neither_falls_nor_creeps():
    """The ends swing; the middle, between the gels, stays where it is to a hundredth of a millimetre a second."""
    scene = cable_grip(bend_damping=0.05)
    world = World(scene, substeps=250, dt=DT, precision="f64", differentiable=False)
    middle = len(world.state("position")[0]) // 2
    places = []
    for _ in range(150):
        world.step(np.zeros((1, world.control_size)))
        places.append(world.state("position")[0, middle])
    weight = world.parameter("mass").sum() * np.array([0, 0, -9.81])
    assert np.abs(world.output("gel_force")[0].sum(axis=0) - weight).max() < 0.2 * np.abs(weight).max()
    assert np.abs(places[-1] - places[0]).max() < 5e-4, "it does not fall"
    assert np.abs(places[-1] - places[75]).max() < 1e-5 * 75 * world.time_step, "it does not creep"
    world.close()


def test_without_friction_the_cable_slides_along_the_gels(grip):
    """The jaws move along the cable, which is left where it is; with friction it goes along."""
    moved = []
    for friction in (0.0, 0.8):
        grip.reset()
        grip.set_parameter("grip_friction", np.full((1, 2), friction))
        grip.set_parameter("gravity", np.zeros((1, 3)))
        start = grip.state("position")[0, :, 1].mean()
        control = np.zeros((1, grip.control_size))
        control[0, 1] = control[0, 7] = 0.1
        for _ in range(60):
            grip.step(control)
        moved.append(grip.state("position")[0, :, 1].mean() - start)
    way = 0.1 * 60 * grip.time_step
    assert abs(moved[0]) < 0.1 * way and abs(moved[1] - way) < 0.2 * way


def test_layers_that_are_too_tall_for_a_rod_are_refused():
    with pytest.raises(ValueError, match=r"onset=0\.002 m"):
        cable_grip(onset=2e-3)
