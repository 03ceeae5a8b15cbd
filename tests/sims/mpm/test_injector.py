"""Injectors and drains: what is let in and taken out, where and how fast, how much; what is refused."""

import numpy as np
import pytest
from small_scenes import CELL, GRID

from pliant.sims.failures import SimulationDiverged
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Drain, Injector
from pliant.sims.mpm.supply.part import injected_volume
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Sphere
from pliant.sims.world import World

VOLUME = {2: (CELL / 3) ** 2, 3: (CELL / 3) ** 3}


def faucet_scene(dim, *, count=20, injector=None, pool=None, **options):
    """A pool of ``count`` particles and nothing else; the nozzle points down from the middle of the domain."""
    hand = Effector("hand", Sphere(0.001), [0.5] * (dim - 1) + [0.5 + 0.3 * CELL], contact="separate")
    injector = {
        "name": "tap",
        "body": "water",
        "effector": "hand",
        "radius": 0.05,
        "max_flow": 0.8 * CELL / 4e-4 * (0.1 if dim == 2 else np.pi * 0.05**2),
        "nozzle": [1.4 * CELL] + [0.0] * (dim - 1),
        "direction": [0.0] * (dim - 1) + [-1.0],
        **(injector or {}),
    }
    pool = {"position": np.full((count, dim), 0.5), "volume": VOLUME[dim], "youngs_modulus": 1e4, **(pool or {})}
    options = {"effectors": [hand], "injectors": [Injector(**injector)], **options}
    return Scene(dim, (GRID,) * dim, CELL, [Body("water", **pool)], **options)


def faucet(dim, *, scene=None, **options):
    options = {"substeps": 5, "dt": 4e-4, "precision": "f64", "soft_contact": False, **options}
    return World(scene or faucet_scene(dim), **options)


def controls_of(world, flow, twist=()):
    controls = np.zeros((world.batch, world.control_size))
    controls[:, world.control_layout["injector_flow"]] = flow
    start = world.control_layout["effector_twist"].start
    controls[:, start : start + len(twist)] = twist
    return controls


# ---------------------------------------------------------------------- where and how fast


@pytest.mark.parametrize("dim", [2, 3])
def test_an_emitted_particle_follows_the_ballistic_path(dim):
    """From a nozzle that moves and turns; the path is that of the recurrence v' = v + dt g, x' = x + dt v'."""
    world = faucet(dim, substeps=1)
    scene, dt = world.scene, world.dt
    injector, axis = scene.injectors[0], scene.injectors[0].axis(dim)
    flow = 0.7 * VOLUME[dim] / dt  # half a particle is let in after one substep, which so emits one
    v_n, omega = np.array([0.4, -0.3, 0.2 * (dim == 3)]), np.array([2.0 * (dim == 3), -1.0 * (dim == 3), 3.0])
    world.step(controls_of(world, flow, [*v_n, *omega]))
    active = world.derived("active")
    assert active.sum() == 1 and active[0, 0]
    w, *xyz = world.state("effector_orientation")[0, 0]
    v = np.array(xyz)

    def turned(a):
        return a + 2 * np.cross(v, np.cross(v, a) + w * a)

    arm = turned(injector.arms(20, dim)[0])
    along = turned(axis)
    past = 0.2 * VOLUME[dim] / injector.area(dim)
    time, g = 0.2 / 0.7 * dt, np.asarray(scene.gravity)
    x = (world.state("effector_position")[0, 0] + arm + past * along)[:dim] + time * (time + dt) / 2 * g
    u = (v_n + np.cross(omega, arm) + flow / injector.area(dim) * along)[:dim] + time * g
    np.testing.assert_allclose(world.state("position")[0, 0], x, rtol=1e-13)
    np.testing.assert_allclose(world.state("velocity")[0, 0], u, rtol=1e-12)
    np.testing.assert_array_equal(world.state("deformation_gradient")[0, 0], np.eye(dim))
    np.testing.assert_array_equal(world.state("affine_velocity")[0, 0], 0)
    for _ in range(25):
        world.step(controls_of(world, 0.0))
        u = u + dt * g
        x = x + dt * u
    np.testing.assert_allclose(world.state("position")[0, 0], x, rtol=1e-12)
    np.testing.assert_allclose(world.state("velocity")[0, 0], u, rtol=1e-11)
    waiting, drained = world.derived("waiting"), world.derived("drained")
    assert waiting.sum() == 19 and not drained.any()
    np.testing.assert_array_equal(world.state("position")[waiting], 0.5)
    np.testing.assert_array_equal(world.state("velocity")[waiting], 0.0)
    world.close()


def test_the_substep_of_an_emission_makes_no_difference():
    """A particle alone that leaves the opening at time w / Q: its path is smooth in Q whenever substeps begin."""
    world = faucet(2, scene=faucet_scene(2, count=1), substeps=20)
    injector, g = world.scene.injectors[0], world.scene.gravity[1]
    start = world.state("effector_position")[0, 0, 1]
    for flow in VOLUME[2] / (2 * world.dt) * np.linspace(0.15, 0.6, 23):  # let in in the 2nd to the 7th substep
        world.reset()
        world.step(controls_of(world, flow))
        assert world.derived("active").all()
        flown = world.time_step - 0.5 * VOLUME[2] / flow
        speed = flow / injector.area(2)
        y = start - flown * speed + g * flown * (flown + world.dt) / 2
        np.testing.assert_allclose(world.state("position")[0, 0, 1], y, rtol=1e-13)
        np.testing.assert_allclose(world.state("velocity")[0, 0, 1], g * flown - speed, rtol=1e-12)
    world.close()


def test_particles_of_a_jet_lie_evenly():
    """V / area apart along it, wherever the substeps fell, if nothing acts on them."""
    world = faucet(2, scene=faucet_scene(2, gravity=(0, 0)), substeps=7)
    injector = world.scene.injectors[0]
    for _ in range(6):
        world.step(controls_of(world, 0.37 * VOLUME[2] / world.dt, [0.6, 0.2]))
    active = world.derived("active")[0]
    assert 10 < active.sum() < 20
    flown = world.state("effector_position")[0, 0, 1] - world.state("position")[0, active, 1]
    spacing = VOLUME[2] / injector.area(2)
    # the nozzle rises by 0.2 m/s, particles have that velocity too
    np.testing.assert_allclose(np.diff(flown), -spacing, rtol=1e-9)
    world.close()


def test_openings_are_filled_evenly():
    injector = Injector("tap", "water", "hand", 0.3, 1.0, nozzle=(0.1, 0.2, 0.3), direction=(1.0, 2.0, -2.0))
    arms = injector.arms(2000, 3) - np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(arms @ injector.axis(3), 0, atol=1e-15)
    distance = np.linalg.norm(arms, axis=1)
    assert distance.max() <= 0.3
    assert np.mean(distance**2) == pytest.approx(0.3**2 / 2, rel=0.01)  # that of a uniform disc
    assert np.abs(arms.mean(0)).max() < 2e-3
    line = injector.__class__("tap", "water", "hand", 0.3, 1.0, direction=(0.0, 1.0)).arms(500, 2)
    assert np.abs(line[:, 0].mean()) < 1e-3 and np.ptp(line[:, 0]) > 0.59 and not line[:, 1:].any()


# ---------------------------------------------------------------------- how much


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_what_is_let_in_is_the_flow_to_one_particle(precision):
    """Under a varying flow, with particles of different volumes, in two worlds."""
    rng = np.random.default_rng(0)
    volume = VOLUME[2] * (0.5 + rng.random(60))
    scene = faucet_scene(2, count=60, pool={"volume": volume, "density": 900.0}, drains=[Drain((0.0, 0.0), (1.0, 0.3))])
    world = faucet(2, scene=scene, batch=2, precision=precision, substeps=20)
    most = scene.injectors[0].max_flow
    total = np.zeros(2)
    seen_drained = False
    for k in range(24):
        flow = most * 0.008 * np.array([1 + np.sin(k), 0.5 + 0.5 * np.cos(2 * k)])
        world.step(controls_of(world, flow[:, None]))
        total += flow * world.time_step
        active, waiting, drained = (world.derived(name) for name in ("active", "waiting", "drained"))
        np.testing.assert_array_equal(active.astype(int) + waiting + drained, 1)
        let_in = (~waiting * volume).sum(1)
        assert (np.abs(let_in - total) <= volume.max()).all()
        np.testing.assert_allclose(injected_volume(world)[:, 0], total, rtol=1e-5 if precision == "f32" else 1e-12)
        seen_drained |= bool(drained.any())
    assert seen_drained and waiting.any() and active.any() and (total[0] > 1.5 * total[1])
    world.close()


def test_a_slow_flow_is_not_lost_in_single_precision():
    """A millionth of the pool a substep, beside nine tenths of it that are in already."""
    scene = faucet_scene(2, count=4000)
    world = faucet(2, scene=scene, precision="f32", substeps=500)
    world.set_state("injected_quanta", 3600.0)
    flow = 4000 * VOLUME[2] * 1e-6 / world.dt
    world.set_parameter("gravity", 0.0)
    position = world.state("position")
    position[0, :3600] = CELL * (3.5 + 9 * np.random.default_rng(0).random((3600, 2)))
    world.set_state("position", position)
    for _ in range(2):
        world.step(controls_of(world, flow))
    assert injected_volume(world)[0, 0] / VOLUME[2] - 3600 == pytest.approx(4.0, rel=1e-4)
    assert world.derived("active").sum() == 3604
    world.close()


@pytest.mark.parametrize("dim", [2, 3])
def test_the_grid_bears_the_mass_of_active_particles(dim):
    bodies = faucet_scene(dim).bodies
    rest = Body("soft", np.full((4, dim), 4.5 * CELL) + 0.01 * np.arange(4)[:, None], VOLUME[dim])
    scene = faucet_scene(dim, drains=[Drain([0.0] * dim, [4.6 * CELL] * dim)])
    scene = Scene(dim, (GRID,) * dim, CELL, [rest, *bodies], scene.effectors, injectors=scene.injectors,
                  drains=scene.drains)  # fmt: skip
    world = faucet(dim, scene=scene, substeps=1)
    for _ in range(3):
        active = world.derived("active")
        world._memory.grid.fill(0)
        world.step(controls_of(world, 3.2 * VOLUME[dim] / world.dt))
        mass = world._memory.grid.view().reshape(-1, 4)[:, 3].sum()
        assert mass == pytest.approx(active.sum() * VOLUME[dim] * 1e3, rel=1e-12)
    assert 0 < active.sum() < 24 and not active[0, 0]
    world.close()


# ---------------------------------------------------------------------- drains


def test_what_enters_a_drain_stays_there():
    dim = 2
    rng = np.random.default_rng(1)
    falling = Body("soft", CELL * (6 + 2 * rng.random((30, dim))), VOLUME[dim], velocity=(0.0, -2.0))
    drain = Drain((0.0, 0.0), (1.0, 5.5 * CELL))
    world = World(Scene(dim, (GRID,) * dim, CELL, [falling], drains=[drain]), substeps=4, dt=4e-4, precision="f64")
    assert world.control_size == 0 and world.derived("active").all()
    kept = {}
    for _ in range(80):
        world.step(np.zeros((1, 0)))
        for p in np.flatnonzero(world.derived("drained")[0]):
            x = world.state("position")[0, p]
            if p in kept:
                np.testing.assert_array_equal(x, kept[p])
                np.testing.assert_array_equal(world.state("velocity")[0, p], 0)
            kept.setdefault(int(p), x)
            assert 5.3 * CELL < x[1] < 5.5 * CELL
    assert len(kept) == 30
    world.close()


# ---------------------------------------------------------------------- what is refused


def remade(**changes):
    return lambda: faucet_scene(2, injector=changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (remade(nozzle=(0.9, 0.0)), r"injector 'tap': the nozzle is at \[1.4, .*outside the domain"),
        (remade(body="milk"), "injector 'tap': body 'milk' is unknown; bodies: water"),
        (remade(effector="foot"), "injector 'tap': effector='foot' is unknown; effectors: hand"),
        (remade(radius=0.0), "radius=0.0 must be at least half the spacing of the pool's particles, 0.0104"),
        (remade(radius=0.01), "radius=0.01 must be at least"),
        (remade(radius=np.nan), "radius=nan must be a finite number"),
        (remade(direction=(0.0, 0.0)), r"direction=\(0.0, 0.0\) must not be zero"),
        (remade(direction=(0.0, 1.0, 1.0)), r"direction=\(0.0, 1.0, 1.0\) must be 2 finite numbers"),
        (remade(direction=(np.nan, 1.0)), r"direction at \(0,\) is nan"),
        (remade(nozzle=(0.0,)), r"nozzle=\(0.0,\) must be 2 finite numbers"),
        (remade(max_flow=-1.0), "max_flow=-1.0 must be a finite number > 0"),
        (remade(max_flow=np.inf), "max_flow=inf must be a finite number > 0"),
        (lambda: faucet_scene(2, count=0), "body 'water': position has shape"),
        (lambda: faucet_scene(2, effectors=[]), "effector='hand' is unknown; effectors: none"),
        (
            lambda: faucet_scene(2, pool={"material": "rigid", "position": 0.5 + 0.01 * np.eye(20, 2)}),
            "body='water' is rigid",
        ),
        (lambda: faucet_scene(2, injectors=2 * faucet_scene(2).injectors), r"injectors have the names \['tap'"),
        (
            lambda: faucet_scene(
                2, injectors=[Injector(name, "water", "hand", 0.05, 1.0) for name in ("tap", "jet")]
            ),
            "injector 'jet': body='water' is the pool of injector 'tap' already",
        ),
        (lambda: faucet_scene(2, drains=[Drain((0, 0), (0, 1))]), r"drain: low=\(0, 0\), high=\(0, 1\) must be 2"),
        (lambda: faucet_scene(2, drains=[Drain((0, 0, 0), (1, 1, 1))]), "must be 2 numbers each"),
        (lambda: faucet_scene(2, drains=[Drain((2, 2), (3, 3))]), "lies outside the domain"),
        (lambda: faucet_scene(2, drains=[Drain((0, 0), (1, 1))]), "injector 'tap': the nozzle is at .*, in the drain"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_flow_of_more_than_a_cell_a_substep_is_refused():
    largest = CELL / 4e-4 * 0.1
    with pytest.raises(ValueError, match=rf"max_flow=.* may be at most {largest:.3g} m\^2/s"):
        faucet(2, scene=faucet_scene(2, injector={"max_flow": 1.01 * largest}))
    faucet(2, scene=faucet_scene(2, injector={"max_flow": largest})).close()


def test_flows_and_states_out_of_range_are_refused():
    world = faucet(2, precision="f32")
    most = world.scene.injectors[0].max_flow
    for flow in (-1e-6, 1.001 * most):
        with pytest.raises(ValueError, match=r"injector_flow=.* of injector 'tap' must lie in 0\.\."):
            world.step(controls_of(world, flow))
    world.step(controls_of(world, most))
    world.reset()
    with pytest.raises(ValueError, match="injected_quanta must be whole numbers"):
        world.set_state("injected_quanta", 0.5)
    with pytest.raises(ValueError, match="injected_remainder must lie in"):
        world.set_state("injected_remainder", 2 * VOLUME[2])
    world.close()


def test_a_nozzle_that_has_left_the_domain_is_reported():
    world = faucet(2)
    world.set_state("effector_position", [1.2, 0.5, 0.0])
    with pytest.raises(SimulationDiverged, match=r"position of particle 0 .*left the domain"):
        world.step(controls_of(world, VOLUME[2] / world.dt))
    world.close()


def test_an_empty_pool_lets_nothing_in():
    world = faucet(2)
    for _ in range(6):
        world.step(controls_of(world, VOLUME[2] / world.dt))
    assert world.derived("active").all()
    assert injected_volume(world)[0, 0] == pytest.approx(30 * VOLUME[2])
    world.close()
