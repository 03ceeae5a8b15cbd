"""Rods in motion: conservation, energy, order of the integrators, length, friction."""

import functools
from itertools import pairwise

import numpy as np
import pytest
from physics import of
from rod_scenes import branched_rod

from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.solver import FRICTION_SPEED
from pliant.sims.rod.topology import edges, joint_lengths, strains
from pliant.sims.shapes.shapes import HalfSpace, Sphere
from pliant.sims.world import World

GRAVITY = 9.81


def rod_world(rod, grips=(), *, dt, substeps=1, **options):
    return World(RodScene(rod, list(grips), **options), substeps=substeps, dt=dt, precision="f64")


def clamp_controls(world):
    """Controls that leave driven vertices where they are at the start."""
    return world.scene.position[world.scene.driven_vertices].reshape(1, -1)


def stir(world, size=0.3):
    """Random velocities, curvatures, twists."""
    rng = np.random.default_rng(4)
    world.set_state("velocity", size * rng.standard_normal(world.state("velocity").shape))
    world.set_parameter("natural_curvature", 3 * rng.standard_normal(world.parameter("natural_curvature").shape))
    world.set_parameter("natural_twist", 3 * rng.standard_normal(world.parameter("natural_twist").shape))


def energy(world):
    """Kinetic, elastic and potential energy of world 0 [J]."""
    tree = world.scene.rod.tree
    p, v, m = (of(world, name) for name in ("position", "velocity", "director"))
    q = {name: world.parameter(name)[0] for name in world.parameter_names}
    total = (q["mass"] * (v**2).sum(1)).sum() / 2 - (q["mass"] @ p) @ q["gravity"]
    stretch = edges(p, tree)[1] - q["rest_length"]
    total += (q["stretch_stiffness"] / q["rest_length"] * stretch**2)[1:].sum() / 2
    length = joint_lengths(q["rest_length"], tree)[:, None]
    natural = np.column_stack([q["natural_curvature"], q["natural_twist"]]) * length
    stiffness = np.column_stack([q["bend_stiffness"], q["twist_stiffness"]]) / length
    return total + (stiffness * (strains(p, m, tree) - natural) ** 2)[tree > 0].sum() / 2


# ---------------------------------------------------------------------- conservation


def free_rod(**options):
    return branched_rod(**{"drag": 0.0, "quadratic_drag": 0.0, **options})


def test_linear_momentum_of_a_free_rod_is_conserved():
    """A branched rod that wobbles for 1000 steps without gravity: 1e-6 of sum m |v|."""
    world = rod_world(free_rod(), dt=0.005, gravity=(0, 0, 0))
    stir(world)
    mass = world.parameter("mass")[0]
    before, size = mass @ of(world, "velocity"), mass @ np.linalg.norm(of(world, "velocity"), axis=1)
    for _ in range(1000):
        world.step(np.zeros((1, 0)))
    np.testing.assert_allclose(mass @ of(world, "velocity"), before, rtol=0, atol=1e-6 * size)
    world.close()


def test_inner_forces_have_neither_resultant_nor_moment():
    """Elastic and viscous forces m (v_1 - v_0)/dt at x_1, of a twisted, curved, branched rod: 1e-8 of their size."""
    world = rod_world(free_rod(), dt=0.005, gravity=(0, 0, 0))
    stir(world)
    v = of(world, "velocity")
    world.step(np.zeros((1, 0)))
    force = world.parameter("mass")[0][:, None] * (of(world, "velocity") - v) / world.dt
    p = of(world, "position")
    assert np.abs(force).max() > 0.1
    assert np.abs(force.sum(0)).max() <= 1e-8 * np.abs(force).sum()
    arm = p - p.mean(0)
    moments = np.cross(arm, force)
    assert np.abs(moments.sum(0)).max() <= 1e-8 * np.abs(moments).sum()
    world.close()


def test_angular_momentum_of_a_free_rod_is_kept_to_second_order():
    """Over 0.2 s: the loss falls at least threefold with half the step, to 1 % of what there is."""

    def loss(dt):
        world = rod_world(free_rod(), dt=dt, gravity=(0, 0, 0))
        spin = np.cross([2.0, 3.0, 5.0], world.scene.position - world.scene.position.mean(0))
        world.set_state("velocity", spin)
        mass = world.parameter("mass")[0][:, None]

        def momentum():
            return (mass * np.cross(of(world, "position"), of(world, "velocity"))).sum(0)

        before = momentum()
        for _ in range(round(0.2 / dt)):
            world.step(np.zeros((1, 0)))
        after = momentum()
        world.close()
        return np.linalg.norm(after - before) / np.linalg.norm(before)

    coarse, fine = loss(2e-3), loss(1e-3)
    assert fine <= coarse / 3
    assert fine <= 0.01


def test_the_centre_of_mass_flies_a_parabola():
    """0.5 s of flight: velocity to 1e-9, place to dt^2 g, which the first step of backward Euler costs."""
    world = rod_world(free_rod(), dt=0.005)
    stir(world)
    share = world.parameter("mass")[0] / world.parameter("mass")[0].sum()
    x, v = share @ of(world, "position"), share @ of(world, "velocity")
    for _ in range(100):
        world.step(np.zeros((1, 0)))
    fall = np.array([0, 0, -GRAVITY])
    np.testing.assert_allclose(share @ of(world, "velocity"), v + 0.5 * fall, rtol=0, atol=1e-9)
    np.testing.assert_allclose(share @ of(world, "position"), x + 0.5 * v + fall / 8, rtol=0, atol=0.005**2 * GRAVITY)
    world.close()


@pytest.mark.parametrize("integrator", ["bdf2", "backward_euler"])
def test_energy_decays_with_damping(integrator):
    """A branched rod in clamps, stirred: its energy rises in no step of 800 and comes to rest (1 %)."""
    rod = branched_rod(bend_damping=0.02, twist_damping=0.02, drag=0.05)
    world = rod_world(rod, [Grip([0, 1])], dt=0.002, integrator=integrator)
    stir(world)
    levels = [energy(world)]
    for _ in range(800):
        world.step(clamp_controls(world))
        levels.append(energy(world))
    world.close()
    levels = np.array(levels)
    fallen = levels[0] - levels[-1]
    assert np.diff(levels).max() <= 1e-9 * fallen
    assert levels[-100] - levels[-1] <= 0.01 * fallen


# ---------------------------------------------------------------------- integrators


@functools.cache
def swing(integrator, dt):
    """Where a soft branched rod in a moving clamp is after 0.16 s."""
    rod = branched_rod(stretch_stiffness=5.0, bend_stiffness=2e-4, twist_stiffness=2e-4)
    world = rod_world(rod, [Grip([0, 1])], dt=dt, integrator=integrator)
    steps = round(0.16 / dt)
    for step in range(1, steps + 1):
        way = 0.03 * (1 - np.cos(np.pi * step / steps)) * np.array([0, 1, 1])
        world.step((clamp_controls(world).reshape(-1, 3) + way).reshape(1, -1))
    end = of(world, "position")
    world.close()
    return end


@pytest.mark.parametrize(("integrator", "order"), [("bdf2", 2), ("backward_euler", 1)])
def test_order_of_the_integrators(integrator, order):
    """Differences between steps of 2, 1, 0.5 and 0.25 ms fall as dt^2 (BDF2) and dt (backward Euler), to 0.2."""
    ends = [swing(integrator, 2e-3 / 2**k) for k in range(4)]
    gaps = [np.linalg.norm(a - b) for a, b in pairwise(ends)]
    found = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert found[-1] == pytest.approx(order, abs=0.2)


def test_both_integrators_agree():
    """At 0.25 ms to 2 % of the way that the rod has come."""
    a, b = (swing(name, 2.5e-4) for name in ("bdf2", "backward_euler"))
    assert np.abs(a - b).max() <= 0.02 * np.abs(a - branched_rod().position).max()


@pytest.mark.parametrize("angle", [45.0, 0.0])
def test_a_swinging_cable_keeps_its_length(angle):
    """A cable of 0.6 m, let go at an angle below the horizontal, to 0.05 % for 1 s, with 4e4 m^2/s^2 x density as in
    the tasks; let go level, it cracks like a whip."""
    density, stiffness, slope = 0.05, 4e4, np.radians(angle)
    x = np.outer(0.05 * np.arange(13), [np.cos(slope), 0, -np.sin(slope)])
    rod = Rod(x, mass=density * 0.05, bend_stiffness=1e-4, twist_stiffness=1e-4, stretch_stiffness=stiffness * density)
    world = rod_world(rod, [Grip([0])], dt=0.004)
    longest = lowest = 0.0
    for _ in range(250):
        world.step(clamp_controls(world))
        longest = max(longest, abs(edges(of(world, "position"), rod.tree)[1].sum() / 0.6 - 1))
        lowest = min(lowest, of(world, "position")[:, 2].min())
    world.close()
    assert lowest < -0.5
    assert longest <= 5e-4


# ---------------------------------------------------------------------- friction


def incline(slope, friction):
    """A World with a short straight rod that lies on a plane of this slope (its tangent), along the fall line, as high
    as contact carries it: k (w - g)^2/(4 w) = m g cos, w the radius."""
    radius, mass, stiffness = 2e-3, 2e-3, 200.0
    down = GRAVITY / np.hypot(1, slope) * np.array([slope, 0, -1])
    x = np.zeros((5, 3))
    x[:, 0] = 0.02 * np.arange(5)
    x[:, 2] = 2 * radius - np.sqrt(4 * radius * mass * -down[2] / stiffness)
    rod = Rod(x, mass=mass, bend_stiffness=1e-3, twist_stiffness=1e-3, radius=radius)
    things = [Effector("plane", HalfSpace(), (0, 0, 0), friction=friction), Effector("ball", Sphere(0.01), (0, 9, 9))]
    world = rod_world(rod, effectors=things, gravity=down, contact_stiffness=stiffness, dt=1e-3)
    return world


def speed_after(world, steps):
    for _ in range(steps):
        world.step(np.zeros((1, world.control_size)))
    return float(of(world, "velocity")[:, 0].mean())


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_rod_on_a_slope_below_the_angle_of_friction_only_creeps(share):
    """Smooth friction balances at the speed c r/sqrt(1 - r^2), r = tan(slope)/mu, c = 5 mm/s: to 1 %."""
    world = incline(0.5 * share, 0.5)
    creep = FRICTION_SPEED * share / np.sqrt(1 - share**2)
    assert speed_after(world, 400) == pytest.approx(creep, rel=0.01)
    world.close()


def test_a_rod_on_a_slope_starts_to_slide_at_the_angle_of_friction():
    """Accelerations on slopes above it, g (sin - mu cos), to 1 %; their line passes zero at tan(slope) = mu, to 1 %."""
    mu = 0.5
    slopes, found = mu * np.array([1.3, 1.6, 2.0]), []
    for slope in slopes:
        world = incline(slope, mu)
        early = speed_after(world, 200)
        found.append((speed_after(world, 100) - early) / 0.1)
        world.close()
    np.testing.assert_allclose(found, GRAVITY * (slopes - mu) / np.hypot(1, slopes), rtol=0.01)
    assert np.polyval(np.polyfit(np.array(found) * np.hypot(1, slopes), slopes, 1), 0) == pytest.approx(mu, rel=0.01)
