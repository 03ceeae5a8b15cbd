"""Friction, walls and forces on effectors against closed forms."""

import numpy as np
import pytest
from physics import block, idle, masses, momentum, of, settle

from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import HalfSpace
from pliant.sims.world import World

CELL = 1 / 16
GRAVITY = 9.81
FRICTION = 0.5
UPWARDS = (0.5**0.5, -(0.5**0.5), 0, 0)  # turns z to y


def floor(dim, height, **options):
    """A half-space below ``height`` [m]."""
    position = (0, height) if dim == 2 else (0, 0, height)
    return Effector("floor", HalfSpace(), position, UPWARDS if dim == 2 else (1, 0, 0, 0), **options)


def slide(slope, *, kind="separate", effector=None, soft=False):
    """Acceleration [m/s^2] and travel [cells] in 0.8 s of a stiff, flat block on an incline, tan(angle) = ``slope``.

    The floor is level and gravity inclined. The block is brought to rest on it first, then the incline is raised within
    another 0.8 s: tilted at once, an elastic block swings past its equilibrium and pulls on the floor twice as hard. It
    is stiff because rubbing feeds the vibrations of a soft one (flutter by Coulomb friction).
    """
    low = 3 * CELL if effector is None else 5 * CELL
    position, volume = block([0.5, low], [0.75, 0.125], CELL / 2)
    body = Body("block", position, volume, youngs_modulus=1e6, poissons_ratio=0.3)
    walls = Walls(kind, FRICTION if effector is None else 0.0)
    scene = Scene(2, (96, 16), CELL, [body], [] if effector is None else [effector], walls)
    world = World(scene, substeps=10, dt=5e-4, soft_contact=soft)
    normal = GRAVITY / np.hypot(1, slope)
    world.set_parameter("gravity", (0, -normal))
    settle(world, rate=40, duration=0.5)
    for share in np.linspace(0, 1, 160):
        world.set_parameter("gravity", (share * slope * normal, -normal))
        world.step(idle(world))
    start, velocities = of(world, "position")[:, 0].mean(), []
    for _ in range(160):
        world.step(idle(world))
        velocities.append(of(world, "velocity")[:, 0].mean())
    acceleration = np.polyfit(world.time_step * np.arange(160), velocities, 1)[0]
    return acceleration, (of(world, "position")[:, 0].mean() - start) / CELL


FLOORS = {
    "wall": {},
    "hard": {"effector": floor(2, 4.001 * CELL, friction=FRICTION)},
    "soft": {"effector": floor(2, 4.001 * CELL, friction=FRICTION, softness=40.0), "soft": True},
}


@pytest.mark.parametrize("name", list(FLOORS))
def test_a_block_stays_on_an_incline_below_the_friction_angle(name):
    """tan(angle) = 0.95 mu: in 0.8 s it creeps less than 1 % of the way it would slide without friction."""
    slope = 0.95 * FRICTION
    _, travel = slide(slope, **FLOORS[name])
    free = GRAVITY * slope / np.hypot(1, slope) * 0.8**2 / 2 / CELL
    assert abs(travel) < 0.01 * free


@pytest.mark.parametrize("excess", [1.05, 1.5])
@pytest.mark.parametrize("name", list(FLOORS))
def test_a_block_slides_on_an_incline_above_the_friction_angle(name, excess):
    """tan(angle) = 1.05 mu and 1.5 mu: it accelerates by g (sin - mu cos) within 2 % (wall, effectors)."""
    slope = excess * FRICTION
    acceleration, _ = slide(slope, **FLOORS[name])
    assert acceleration == pytest.approx(GRAVITY * (slope - FRICTION) / np.hypot(1, slope), rel=0.02)


def test_a_block_slides_freely_on_a_slip_wall():
    """It accelerates by g sin(angle), to 1e-4."""
    acceleration, _ = slide(0.5, kind="slip")
    assert acceleration == pytest.approx(GRAVITY * 0.5 / np.hypot(1, 0.5), rel=1e-4)


def test_a_block_does_not_slide_on_a_sticky_wall():
    """tan(angle) = 2: in 0.8 s it creeps less than 1 % of the way it would slide without friction."""
    _, travel = slide(2.0, kind="sticky")
    assert abs(travel) < 0.01 * GRAVITY * 2 / np.hypot(1, 2) * 0.8**2 / 2 / CELL


@pytest.mark.parametrize("dim", [2, 3])
def test_walls_change_velocities_as_their_kind_says(dim):
    """One particle, one substep, each face and kind: the nodes of the wall hold 23/32 of its weight and obey the law.

    A particle 2.25 cells off the edge has weights 1/32 + 22/32 on the wall's nodes (2 cells off and less), 9/32 beyond.
    """
    extent, mu, share = 16, 0.25, 23 / 32
    body = Body("particle", np.full((1, dim), 0.5), (CELL / 2) ** dim)
    for kind in ("sticky", "slip", "separate"):
        scene = Scene(dim, (extent,) * dim, CELL, [body], walls=Walls(kind, mu), gravity=(0,) * dim)
        world = World(scene, substeps=1, dt=1e-4, precision="f64")
        for axis in range(dim):
            for inward in (1, -1):
                for pressing in (True, False):
                    position = np.full((1, dim), 0.5)
                    position[0, axis] = 2.25 * CELL if inward == 1 else (extent - 2.25) * CELL
                    velocity = np.full(dim, 0.6)
                    velocity[axis] = -0.8 * inward if pressing else 0.8 * inward
                    tangential = np.where(np.arange(dim) == axis, 0, velocity)
                    answer = {
                        "sticky": 0 * velocity,
                        "slip": tangential,
                        "separate": tangential * (1 - mu * 0.8 / np.linalg.norm(tangential)) if pressing else velocity,
                    }[kind]
                    world.reset()
                    world.set_state("position", position)
                    world.set_state("velocity", velocity)
                    world.step(idle(world))
                    expected = (1 - share) * velocity + share * answer
                    np.testing.assert_allclose(of(world, "velocity")[0], expected, rtol=0, atol=1e-12)


def landing(dim, soft):
    """A soft cube a cell above a half-space."""
    position, volume = block([0.375] * (dim - 1) + [5 * CELL], [0.25] * dim, CELL / 2)
    body = Body("cube", position, volume, youngs_modulus=1e5, poissons_ratio=0.3)
    effector = floor(dim, 4.001 * CELL, friction=FRICTION, softness=40.0)
    return World(Scene(dim, (16,) * dim, CELL, [body], [effector]), substeps=10, dt=1e-3, soft_contact=soft)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_impulses_on_an_effector_are_the_change_of_momentum(dim, soft):
    """Each step of a landing, m (v' - v) = m g T - F T, to 1e-5 of the largest impulse (float32)."""
    world = landing(dim, soft)
    world.set_state("velocity", [0.5] + [0.0] * (dim - 2) + [-1.0])
    weight = masses(world).sum() * np.array([0.0] * (dim - 1) + [-GRAVITY])
    momenta, impulses = [momentum(world)], []
    for _ in range(40):
        world.step(idle(world))
        momenta.append(momentum(world))
        impulses.append(world.output("effector_force")[0, 0, :dim].astype(float) * world.time_step)
    assert np.abs(impulses).max() > 2 * abs(weight).max() * world.time_step  # it did land
    assert np.abs(impulses)[:, 0].max() > 0  # and rubbed
    error = np.diff(momenta, axis=0) - weight * world.time_step + impulses
    assert np.abs(error).max() <= 1e-5 * np.abs(impulses).max()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_a_body_at_rest_presses_with_its_weight(dim, soft):
    """Mean force over half a second on the half-space that it lies on: its weight, downwards, within 2 % of it."""
    world = landing(dim, soft)
    settle(world, rate=40, duration=0.8)
    forces = []
    for _ in range(50):
        world.step(idle(world))
        forces.append(world.output("effector_force")[0, 0, :dim])
    weight = masses(world).sum() * GRAVITY
    np.testing.assert_allclose(np.mean(forces, axis=0) / weight, [0.0] * (dim - 1) + [-1.0], rtol=0, atol=0.02)
