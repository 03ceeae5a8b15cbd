"""Rigid bodies and gels: they fall and spin, gels hold them without creep, forces are equal and opposite."""

import gel_scenes as scenes
import numpy as np
import pytest

from pliant.sims.fem.bodies import RigidBody
from pliant.sims.fem.scene import Gel
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box, HalfSpace

SUBSTEP = 0.005
MASS, HALF = 0.03, 0.01
GRAVITY = (0.0, 0.0, -9.81)


def box(**options):
    return RigidBody("box", Box((HALF, 0.009, 0.012), 0.001), MASS, **options)


def body_world(bodies, *, high=0.5, mesh=None, **options):
    """A pad on a mount far above the body, a plane below, and the other kinds of shapes."""
    mesh = scenes.small_pad() if mesh is None else mesh
    others = scenes.idle("sphere", "box")
    floor = Effector("floor", HalfSpace(), (0, 0, -9.0), fixed=True)
    return scenes.gel_world(
        [Gel(mesh, "mount")], [scenes.mount(position=(0, 0, high)), *others, floor], bodies, **options
    )


def rest(world, steps):
    for _ in range(steps):
        world.step(np.zeros((world.batch, world.control_size)))


@pytest.fixture(scope="module")
def free():
    return body_world([box()], substep=SUBSTEP, gravity=GRAVITY)


def test_a_free_body_falls_as_the_scheme_says(free):
    """Backward Euler: v = v0 + n dt g, x = x0 + n dt v0 + n (n + 1) / 2 dt^2 g, to rounding."""
    free.reset()
    start = np.array([0.3, -0.2, 0.5])
    free.set_state("body_velocity", start[None, None])
    rest(free, 20)
    n, g = 20, np.array(GRAVITY)
    assert free.state("body_velocity")[0, 0] == pytest.approx(start + n * SUBSTEP * g, rel=1e-9, abs=1e-9)
    wanted = n * SUBSTEP * start + n * (n + 1) / 2 * SUBSTEP**2 * g
    assert free.state("body_position")[0, 0] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def angular_momentum(world, inertia):
    R = matrix_of_quaternion(world.state("body_orientation")[0])[0]
    return R @ (inertia * (R.T @ world.state("body_angular_velocity")[0, 0]))


def test_a_spin_without_torque_keeps_its_angular_momentum_to_the_order_of_the_step():
    inertia = np.asarray(box().inertia)
    errors = []
    for substep in (2e-3, 1e-3):
        world = body_world([box(angular_velocity=(3.0, 1.0, -2.0))], substep=substep)
        before = angular_momentum(world, inertia)
        rest(world, round(0.2 / substep))
        errors.append(np.linalg.norm(angular_momentum(world, inertia) - before) / np.linalg.norm(before))
        world.close()
    assert errors[0] < 0.05
    assert errors[1] < 0.6 * errors[0]


def grip_world(**options):
    """A box between two pads, pressed on by 0.3 mm a side."""
    mesh = scenes.small_pad()
    overlap = 3e-4
    reach = HALF + 0.005 - overlap
    left = scenes.mount("left", (-reach, 0, 0), orientation=(1, 0, 1, 0))
    right = scenes.mount("right", (reach, 0, 0), orientation=(1, 0, -1, 0))
    others = scenes.idle("sphere", "box", "plane")
    gels = [Gel(mesh, "left", viscosity=100.0), Gel(mesh, "right", viscosity=100.0)]
    return scenes.gel_world(gels, [left, right, *others], [box(friction=0.6)], gravity=GRAVITY, **options)


def test_a_static_grip_does_not_creep():
    """Over 5 s, after it has settled for 0.5 s, a held box moves by less than 0.1 mm."""
    world = grip_world(substep=0.01)
    rest(world, 50)
    start = world.state("body_position")[0, 0]
    assert abs(start[2]) < 2e-3  # it is held
    rest(world, 500)
    assert np.linalg.norm(world.state("body_position")[0, 0] - start) < 1e-4
    assert abs(world.state("body_velocity")).max() < 1e-5
    # the gels carry its weight: the force on them is the body's on them, to 1e-6
    total = world.output("gel_force")[0].sum(axis=0)
    assert total == pytest.approx([0, 0, -MASS * 9.81], abs=1e-6 * MASS * 9.81)


def test_forces_are_equal_and_opposite_while_things_move():
    """Momentum of the body: m (v' - v) / dt = m g - (force on the gels), to 1e-6, sliding and settling."""
    world = grip_world(substep=SUBSTEP)
    controls = np.zeros((1, world.control_size))
    controls[0, [2, 8]] = 0.05, -0.03  # the fingers slide up and down
    controls[0, [0, 6]] = 0.004, -0.002
    for _ in range(20):
        before = world.state("body_velocity")[0, 0]
        world.step(controls)
        gain = MASS * (world.state("body_velocity")[0, 0] - before) / SUBSTEP
        force = MASS * np.array(GRAVITY) - world.output("gel_force")[0].sum(axis=0)
        assert gain == pytest.approx(force, abs=1e-6 * max(np.linalg.norm(force), MASS * 9.81))


@pytest.mark.parametrize(("share", "slips"), [(0.98, False), (1.02, True)])
def test_a_block_on_a_tilted_gel_slips_above_the_coefficient(share, slips):
    """The threshold lies at tan(angle) = mu, to 2 %."""
    friction = 0.4
    tangent = share * friction
    g = 9.81 / np.hypot(1, tangent)
    # wider than the gel: no edge of the block ploughs through it
    body = RigidBody("box", Box((0.03, 0.03, 0.003), 0.0), 0.05, position=(0, 0, 0.008), friction=friction)
    world = body_world([body], high=0.0, substep=0.01, gravity=(0, 0, -9.81))
    rest(world, 30)
    world.set_parameter("gravity", np.array([[g * tangent, 0, -g]]))
    rest(world, 40)
    start = world.state("body_position")[0, 0, 0]
    rest(world, 60)
    moved = world.state("body_position")[0, 0, 0] - start
    # above the threshold it gains 2 % of mu g: half of that in 0.6 s would be 7 mm; below it comes to rest
    assert moved > 2e-3 if slips else abs(moved) < 1e-5
