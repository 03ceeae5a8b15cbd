"""What goes wrong with gels is said by name, before anything explodes."""

import gel_scenes as scenes
import numpy as np
import pytest

from pliant.sims.failures import SimulationDiverged
from pliant.sims.fem.scene import Gel
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Sphere


def gripper(half_gap):
    """Two pads that face each other, their surfaces 2 ``half_gap`` apart [m]."""
    mesh, reach = scenes.small_pad(), 0.005 + half_gap
    left = scenes.mount("left", (-reach, 0, 0), orientation=(1, 0, 1, 0))
    right = scenes.mount("right", (reach, 0, 0), orientation=(1, 0, -1, 0))
    gels = [Gel(mesh, "left"), Gel(mesh, "right")]
    return gels, [left, right, *scenes.idle("box", "sphere", "plane")]


def test_gels_that_begin_in_each_other_are_refused():
    with pytest.raises(ValueError, match=r"gels on 'left' and 'right' are in each other"):
        scenes.gel_world(*gripper(-1e-3))


def test_a_gripper_that_closes_through_itself_is_a_failure():
    world = scenes.gel_world(*gripper(1e-3), substep=0.01)
    controls = np.zeros((1, world.control_size))
    controls[0, [0, 6]] = 0.02, -0.02
    for _ in range(4):  # to 0.2 mm a side
        world.step(controls)
    with pytest.raises(SimulationDiverged, match="a gripper has closed through itself"):
        for _ in range(10):
            world.step(controls)
    # it overlaps by less than a tenth of the gels then, and the world shows the state before
    reach = abs(world.state("effector_position")[0, :2, 0])
    assert (reach > 0.0045).all() and np.isfinite(world.state("gel_displacement")).all()


@pytest.mark.parametrize("precision", ["f64", "f32"])
@pytest.mark.parametrize("speed", [0.02, 0.15])
def test_a_press_too_deep_is_a_failure(precision, speed):
    """Slowly or at once: by name, and what is left is finite and right side out."""
    mesh = scenes.small_pad()
    tool = Effector("tool", Sphere(2e-3), (0, 0, 0.0071))
    world = scenes.pressed_world(mesh, tool, substep=0.01, precision=precision)
    with pytest.raises(SimulationDiverged, match="too deep"):
        for _ in range(60):
            scenes.move(world, "tool", (0, 0, -speed))
    u = world.state("gel_displacement")[0]
    assert np.isfinite(u).all() and abs(u).max() < 0.01
    world.reset()
    world.step(np.zeros((1, world.control_size)))


@pytest.mark.parametrize("precision", ["f64", "f32"])
def test_the_largest_poisson_ratio_is_allowed_as_each_precision_has_it(precision):
    gel = {"poisson_ratio": 0.495}
    world = scenes.pressed_world(
        scenes.small_pad(), Effector("tool", Sphere(2e-3), (0, 0, 0.01)), gel=gel, precision=precision
    )
    world.set_parameter("gel_poisson_ratio", [0.495])
    with pytest.raises(ValueError, match=r"'gel_poisson_ratio'=0\.4951.* must be above -1 and at most 0\.495"):
        world.set_parameter("gel_poisson_ratio", [0.4951])
    world.close()
