"""Motion of rigid bodies within the material point method against closed forms."""

import numpy as np
import pytest
from physics import angular_momentum, block, idle, kinetic_energy, masses, momentum, of

from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box
from pliant.sims.world import World

CELL = 1 / 16
GRAVITY = 9.81


def distances(position):
    """All distances between particles, shape (N, N) [m]."""
    return np.linalg.norm(position[:, None] - position[None], axis=-1)


def rotation(world, name=None):
    """The rotation from the rest shape of a body to its shape now, shape (dim, dim)."""
    rest, now = (
        x[world.scene.group(name) if name else slice(None)] for x in (world.scene.position, of(world, "position"))
    )
    u, _, vt = np.linalg.svd((now - now.mean(0)).T @ (rest - rest.mean(0)))
    return u @ vt


def spinning(dim, **options):
    """A brick that drifts and spins freely, about no principal axis in 3-D; its velocities are those of w x r."""
    position, volume = block([0.375] * dim, [0.25, 0.1875, 0.125][:dim], CELL / 2)
    r = position - position.mean(0)
    turning = np.cross([2.0, -1.5, 3.0], r) if dim == 3 else 3 * np.stack([-r[:, 1], r[:, 0]], axis=1)
    velocity = np.array([0.03, 0.05, -0.04])[:dim] + turning
    body = Body("brick", position, volume, "rigid", velocity=velocity)
    return World(Scene(dim, (16,) * dim, CELL, [body], gravity=(0,) * dim), dt=1e-3, **options), velocity


@pytest.mark.parametrize("dim", [2, 3])
def test_a_free_body_keeps_its_momenta_its_energy_and_its_shape(dim):
    """1,000 substeps in float32: momenta to 1e-5; distances to rounding (positions are of order 1); energy to 1e-3."""
    world, velocity = spinning(dim, substeps=100)
    np.testing.assert_allclose(of(world, "velocity"), velocity, rtol=0, atol=1e-6)
    linear, angular, energy = momentum(world), angular_momentum(world), kinetic_energy(world)
    shape = distances(world.scene.position)
    for _ in range(10):
        world.step(idle(world))
        assert np.linalg.norm(momentum(world) - linear) <= 1e-5 * np.linalg.norm(linear)
        assert np.linalg.norm(angular_momentum(world) - angular) <= 1e-5 * np.linalg.norm(angular)
        assert kinetic_energy(world) == pytest.approx(energy, rel=1e-3)
        np.testing.assert_allclose(distances(of(world, "position")), shape, rtol=0, atol=2e-7)
    assert np.linalg.norm(rotation(world) - np.eye(dim)) > 0.5  # it did turn
    stretches = np.linalg.svd(of(world, "deformation_gradient"), compute_uv=False)
    np.testing.assert_allclose(stretches, 1, rtol=0, atol=0.01)  # not more strain than spinning makes


def test_a_body_turns_by_its_angular_velocity():
    """In 2-D, angle = w t within the second-order error of a substep, w dt - atan(w dt), in float64."""
    world, _ = spinning(2, substeps=200, precision="f64")
    world.step(idle(world))
    turned = rotation(world)
    assert np.arctan2(turned[1, 0], turned[0, 0]) == pytest.approx(0.6, abs=200 * (3e-3 - np.arctan(3e-3)))


def test_a_torque_free_top_follows_the_equations_of_euler():
    """0.5 s of tumbling in float64: angular velocity of a 3-D body with APIC's inertia, within 1 % of its size."""
    world, _ = spinning(3, substeps=500, precision="f64")
    w = np.array([2.0, -1.5, 3.0])
    position, m = world.scene.position, masses(world)
    r = position - position.mean(0)
    S = (m[:, None, None] * r[:, :, None] * r[:, None, :]).sum(0)
    inertia = (np.trace(S) + m.sum() * CELL**2 / 2) * np.eye(3) - S
    np.testing.assert_allclose(inertia, np.diag(np.diag(inertia)), rtol=0, atol=1e-12 * inertia.max())
    inertia = np.diag(inertia)
    count = 5000
    for _ in range(count):  # midpoint rule in the body's frame: I w' = (I w) x w
        half = w + 0.25 / count * np.cross(inertia * w, w) / inertia
        w = w + 0.5 / count * np.cross(inertia * half, half) / inertia
    world.step(idle(world))
    C = of(world, "affine_velocity")[0]
    found = rotation(world).T @ np.array([C[2, 1] - C[1, 2], C[0, 2] - C[2, 0], C[1, 0] - C[0, 1]]) / 2
    assert np.linalg.norm(w - [2.0, -1.5, 3.0]) > 0.5  # it did tumble
    np.testing.assert_allclose(found, w, rtol=0, atol=0.01 * np.linalg.norm(w))


@pytest.mark.parametrize("dim", [2, 3])
def test_ballistic_flight_is_exact_to_rounding(dim):
    """x_n = x_0 + n dt v_0 + dt^2 g n (n + 1) / 2, in float64."""
    n, dt = 300, 1e-3
    start = np.array([0.6, -0.4][: dim - 1] + [1.5])
    gravity = np.array([0.0] * (dim - 1) + [-GRAVITY])
    position, volume = block([0.3, 0.4, 0.3][:dim], [0.25] * dim, CELL / 2)
    body = Body("body", position, volume, "rigid", velocity=start)
    world = World(Scene(dim, (16,) * dim, CELL, [body]), substeps=n, dt=dt, precision="f64")
    world.step(idle(world))
    expected = position + n * dt * start + dt**2 * gravity * n * (n + 1) / 2
    np.testing.assert_allclose(of(world, "position"), expected, rtol=0, atol=n * 1e-15)


def test_a_mirrored_start_is_turned_not_reflected():
    """Positions that are the mirror image of the shape: shape matching answers with a rotation."""
    world, _ = spinning(3, substeps=1, precision="f64")
    position = world.state("position")
    position[..., 0] = 1 - position[..., 0]
    world.set_state("position", position)
    world.step(idle(world))
    assert np.linalg.det(rotation(world)) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(distances(of(world, "position")), distances(world.scene.position), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_body_at_rest_in_any_pose_stays_there(dim):
    """A pose set before the first step, far from the shape's own: nothing moves by more than rounding."""
    world, _ = spinning(dim, substeps=20, precision="f64")
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0]
    turned *= np.where(np.arange(dim) == 0, np.sign(np.linalg.det(turned)), 1)
    position = 0.5 + (world.scene.position - world.scene.position.mean(0)) @ turned.T
    world.set_state("position", position)
    for name in ("velocity", "affine_velocity"):
        world.set_state(name, 0.0)
    world.step(idle(world))
    np.testing.assert_allclose(of(world, "position"), position, rtol=0, atol=1e-13)


def on_the_floor(dim, speed, friction, dt):
    """A cube of 4 cells in the lowest place of its domain, long in x, that starts with ``speed`` [m/s] along x."""
    position, volume = block([0.5] + [0.375] * (dim - 2) + [3 * CELL], [0.5] + [0.25] * (dim - 2) + [0.125], CELL / 2)
    body = Body("cube", position, volume, "rigid", youngs_modulus=1e6, velocity=[speed] + [0.0] * (dim - 1))
    scene = Scene(dim, (64,) + (16,) * (dim - 1), CELL, [body], walls=Walls("separate", friction))
    return World(scene, substeps=20, dt=dt)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_sliding_body_is_stopped_by_friction(dim):
    """It slows down by mu g, within 2 %, and comes to rest."""
    mu, speed = 0.3, 1.0
    world = on_the_floor(dim, speed, mu, 2e-4)
    times, speeds = [], []
    for n in range(120):
        world.step(idle(world))
        times.append((n + 1) * world.time_step)
        speeds.append(of(world, "velocity")[:, 0].mean())
    moving = (np.array(times) > 0.05) & (np.array(times) < 0.9 * speed / (mu * GRAVITY))
    slope = np.polyfit(np.array(times)[moving], np.array(speeds)[moving], 1)[0]
    assert slope == pytest.approx(-mu * GRAVITY, rel=0.02)
    assert abs(speeds[-1]) < 1e-3 * speed
    assert abs(of(world, "affine_velocity")).max() < 0.05  # and does not tip over


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_a_body_at_rest_stays_there(slope):
    """On a level floor, and on one whose slope is 0.6 mu: within 2 s it sinks and creeps by less than 0.02 cells."""
    world = on_the_floor(2, 0.0, 0.5, 2e-4)
    world.set_parameter("gravity", GRAVITY * np.array([slope, -1.0]) / np.hypot(1, slope))
    start = None
    for n in range(750):
        world.step(idle(world))
        if n == 250:  # the skin has found its load
            start = of(world, "position").mean(0)
    np.testing.assert_allclose(of(world, "position").mean(0), start, rtol=0, atol=0.02 * CELL)


def test_a_grip_holds_and_lifts_a_body_by_friction():
    """Two plates squeeze a box by 2 mm each: under gravity it slips less than 0.01 cells, and is lifted with them."""
    cell = 1 / 32
    position, volume = block([0.375, 0.3], [0.25, 0.25], cell / 2)
    box = Body("box", position, volume, "rigid", youngs_modulus=1e6)
    plates = [
        Effector(name, Box((0.035, 0.15, 0.1)), [0.5 + side * 0.19, 0.425], friction=0.8)
        for name, side in (("left", -1), ("right", 1))
    ]
    world = World(Scene(2, (32, 32), cell, [box], plates), substeps=20, dt=2e-4, soft_contact=False)
    twists = np.zeros((1, 2, 6))

    def move(steps, along, towards=0.0):
        twists[0, :, 0], twists[0, :, 1] = (towards, -towards), along
        for _ in range(steps):
            world.step(twists.reshape(1, -1))
        return of(world, "position").mean(0)[1]

    world.set_parameter("gravity", (0, 0))
    closed = move(80, 0.0, towards=0.1)
    world.set_parameter("gravity", (0, -GRAVITY))
    held = move(250, 0.0)
    assert abs(held - closed) < 0.01 * cell
    assert move(250, 0.1) - held == pytest.approx(0.1, abs=0.01 * cell)
    weight = masses(world).sum() * GRAVITY
    assert -world.output("effector_force")[0, :, 1].sum() == pytest.approx(weight, rel=0.02)


def test_soft_and_rigid_bodies_push_each_other():
    """A rigid body that hits a soft one: momentum is conserved, the soft one is dented, the rigid one is not."""
    soft, volume = block([0.5, 0.4], [0.25, 0.25], CELL / 2)
    hard, _ = block([0.2, 0.45], [0.125, 0.125], CELL / 2)
    bodies = [
        Body("soft", soft, volume, youngs_modulus=2e4),
        Body("hard", hard, volume, "rigid", density=3e3, velocity=[2.0, 0.0]),
    ]
    world = World(Scene(2, (24, 16), CELL, bodies, gravity=(0, 0)), substeps=25, dt=4e-4)
    linear, angular = momentum(world), angular_momentum(world)
    shape, strain = distances(hard), 0.0
    for _ in range(20):
        world.step(idle(world))
        stretches = np.linalg.svd(of(world, "deformation_gradient")[world.scene.group("soft")], compute_uv=False)
        strain = max(strain, float(abs(stretches - 1).max()))
    np.testing.assert_allclose(momentum(world), linear, rtol=0, atol=1e-5 * np.linalg.norm(linear))
    np.testing.assert_allclose(angular_momentum(world), angular, rtol=0, atol=1e-5 * abs(angular[0]))
    np.testing.assert_allclose(distances(of(world, "position")[world.scene.group("hard")]), shape, rtol=0, atol=2e-7)
    assert strain > 0.1
    assert of(world, "velocity")[world.scene.group("soft"), 0].mean() > 0.3


@pytest.mark.parametrize(
    ("dim", "position", "said"),
    [
        (2, np.full((1, 2), 0.5), "body 'thing': material='rigid' needs at least 2 particles"),
        (2, np.full((3, 2), 0.5), "do not lie in one point"),
        (3, 0.5 + 0.01 * np.arange(4)[:, None] * np.array([1.0, 2.0, 0.0]), "do not lie on one line"),
    ],
)
def test_bodies_without_an_orientation_are_refused(dim, position, said):
    with pytest.raises(ValueError, match=said):
        Scene(dim, (16,) * dim, CELL, [Body("thing", position, 1e-5, "rigid")])


def test_rigid_muscles_are_refused():
    position, volume = block([0.4, 0.4], [0.125, 0.125], CELL / 2)
    body = Body("thing", position, volume, "rigid", muscle_group=np.zeros(len(position), int))
    with pytest.raises(ValueError, match="body 'thing': material='rigid' takes no muscle_group"):
        Scene(2, (16, 16), CELL, [body])


def test_thin_bodies_are_allowed():
    """Three particles in a plane of space, two in the plane: their orientation can be told."""
    triangle = Body("triangle", 0.5 + 0.02 * np.eye(3), 1e-5, "rigid", velocity=[0.1, 0.0, 0.0])
    world = World(Scene(3, (16,) * 3, CELL, [triangle], gravity=(0, 0, 0)), substeps=50, dt=1e-3)
    pair = Body("pair", np.array([[0.5, 0.5], [0.52, 0.51]]), 1e-5, "rigid", velocity=[[0.0, 0.1], [0.0, -0.1]])
    flat = World(Scene(2, (16, 16), CELL, [pair], gravity=(0, 0)), substeps=50, dt=1e-3)
    for one in (world, flat):
        one.step(idle(one))
        np.testing.assert_allclose(distances(of(one, "position")), distances(one.scene.position), rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("density", [250.0, 500.0])
def test_a_float_is_immersed_by_its_share_of_the_density(density):
    """A light box on a liquid of 1,000 kg/m^2 at rest: the depth of its underside, within 15 % of its height."""
    spacing = CELL / 2
    depth, height, width = 0.5, 0.1875, 0.375
    pool, volume = block([3 * CELL, 3 * CELL], [26 * CELL, depth], spacing)
    box, _ = block([16 * CELL - width / 2, 3 * CELL + depth], [width, height], spacing)
    bodies = [
        Body("pool", pool, volume, "liquid", bulk_modulus=4e4, viscosity=1.0),
        Body("float", box, volume, "rigid", density=density),
    ]
    world = World(Scene(2, (32, 24), CELL, bodies, walls=Walls("slip")), substeps=20, dt=5e-4)
    water, own = world.scene.group("pool"), world.scene.group("float")
    drafts = []
    for n in range(600):
        world.step(idle(world))
        if n >= 400:
            x = of(world, "position")
            aside = x[water][abs(x[water, 0] - 16 * CELL) > width]
            surface = np.quantile(aside[:, 1], 0.99) + spacing / 2
            drafts.append(surface - (x[own, 1].min() - spacing / 2))
    assert np.mean(drafts) == pytest.approx(density / 1000 * height, abs=0.15 * height)
