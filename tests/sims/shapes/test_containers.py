"""Containers: their distances against independent ones, gradients through contact, what they hold, what is refused."""

import numpy as np
import pytest
import trimesh
from physics import idle
from scipy.spatial import cKDTree
from small_scenes import one_step, random_controls, reverse, small_world, states

from pliant.envs.features.check import check_adjoint
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.containers import WALL_CELLS, Bowl, Cone, Container, Cup, RingTank
from pliant.sims.shapes.mesh_distance import mesh_signed_distance
from pliant.sims.shapes.profile import Revolution
from pliant.sims.shapes.shapes import Sphere
from pliant.sims.world import World

CONTAINERS = {
    "cup": Cup(0.05, 0.09, 0.02, 0.02),
    "glass": Cup(0.05, 0.09, 0.02, 0.015, top_radius=0.07),
    "tube": Cup(0.05, 0.09, 0.02, 0.0, open_bottom=True),
    "cone": Cone(0.06, 0.09, 0.02),
    "bowl": Bowl(0.08, 0.02),
    "flat bowl": Bowl(0.09, 0.02, depth=0.05),
    "ring tank": RingTank(0.03, 0.09, 0.07, 0.02, 0.02),
}


@pytest.fixture
def thin_walls(monkeypatch):
    """Scenes take walls that they would refuse as leaking."""
    monkeypatch.setattr(Effector, "check_cell", lambda self, cell: None)
    monkeypatch.setattr(Effector, "check_thickness", lambda self, cell, *, soft_contact: None)


@pytest.fixture(params=CONTAINERS)
def container(request):
    return CONTAINERS[request.param]


# ---------------------------------------------------------------------- distances


def test_distance_is_that_to_the_nearest_point_of_the_profile(container):
    """Against 100,000 points along the profile and the even-odd rule, to 1e-7 m for points a millimetre off."""
    corners = np.array(container.profile)
    end = np.roll(corners, -1, axis=0)
    surface = ~((corners[:, 0] == 0) & (end[:, 0] == 0))
    share = np.linspace(0, 1, 100_000 // surface.sum())[:, None, None]
    sampled = (corners[surface] + share * (end - corners)[surface]).reshape(-1, 2)
    points = np.random.default_rng(0).uniform(-0.16, 0.16, (4000, 3))
    rho, z = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    crosses = (corners[:, 1] > z[:, None]) != (end[:, 1] > z[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = corners[:, 0] + (z[:, None] - corners[:, 1]) / (end - corners)[:, 1] * (end - corners)[:, 0]
    inside = (crosses & (at > rho[:, None])).sum(1) % 2 == 1
    expected = np.where(inside, -1, 1) * cKDTree(sampled).query(np.stack([rho, z], 1))[0]
    away = np.abs(expected) > 1e-3
    assert (inside & away).sum() > 40
    np.testing.assert_allclose(container.signed_distance(points)[away], expected[away], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["glass", "ring tank"])
def test_distance_agrees_with_a_mesh_of_the_solid(name):
    """720 facets around the axis: their sagitta is a millionth of a metre; signs by another method."""
    container = CONTAINERS[name]
    mesh = trimesh.creation.revolve(np.array([*container.profile, container.profile[0]]), sections=720)
    mesh.merge_vertices()
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.fix_normals()
    points = np.random.default_rng(0).uniform(-0.12, 0.12, (500, 3))
    expected = mesh_signed_distance(np.array(mesh.vertices), np.array(mesh.faces), points)
    np.testing.assert_allclose(container.signed_distance(points), expected, rtol=0, atol=2e-6)


def test_gradient_has_length_one(container):
    points = np.random.default_rng(1).uniform(-0.2, 0.2, (5000, 3))
    points[:500, :2] = 0.0
    np.testing.assert_allclose(np.linalg.norm(container.gradient(points), axis=1), 1.0, atol=1e-12)


def test_bowl_is_round_within_its_stated_error():
    points = np.random.default_rng(2).standard_normal((2000, 3)) * [1, 1, 0] + [0, 0, -1]
    for edges in (24, 96):
        bowl = Bowl(0.08, 0.02, edges=edges)
        centre = np.array([0, 0, bowl.height / 2])
        for radius, side in ((0.08, -1), (0.1, 1)):
            on_ball = centre + radius * points / np.linalg.norm(points, axis=1, keepdims=True)
            distance = bowl.signed_distance(on_ball[on_ball[:, 2] < centre[2] - 0.01])
            assert (side * distance).min() > -1e-12 or side < 0
            assert np.abs(distance).max() <= bowl.error
            assert np.abs(distance).max() > 0.5 * bowl.error
        assert bowl.error < 1.1 * 0.1 * (np.pi / 4 / edges) ** 2 / 2


def test_order_and_repetition_of_corners_do_not_matter():
    corners = [(0, 0), (0.05, 0), (0.05, 0.1), (0, 0.1)]
    points = np.random.default_rng(3).uniform(-0.1, 0.15, (500, 3))
    expected = Revolution(corners).signed_distance(points)
    for changed in (corners[::-1], [*corners, corners[0]], [*corners[:2], (0.05, 0.03), *corners[2:]]):
        np.testing.assert_allclose(Revolution(changed).signed_distance(points), expected, atol=1e-15)


def test_cavity_is_what_can_be_filled(container):
    points = np.random.default_rng(4).uniform(-0.15, 0.15, (20000, 3))
    held = container.holds(points)
    assert held.sum() > 100
    assert (container.signed_distance(points[held]) >= 0).all()
    assert (points[held, 2] >= container.floor).all() and (points[held, 2] <= container.height / 2).all()
    if not getattr(container, "open_bottom", False):
        below = points[held].copy()
        for _ in range(60):  # straight down from anywhere within is wall or floor
            below[:, 2] -= 0.003
            held &= True
            stopped = container.signed_distance(below) < 0
            below[stopped, 2] += 0.003
        assert (below[:, 2] > container.floor - 0.003).all()
    roomy = container.holds(points, clearance=0.01)
    assert 0 < roomy.sum() < held.sum() and (container.signed_distance(points[roomy]) >= 0.01).all()


# ---------------------------------------------------------------------- gradients through contact


def container_scene(dim, fixed):
    """Wet hands: particles in and about two containers, one turned; no particle's node is on an axis by chance."""
    rng = np.random.default_rng(6)
    cell = 1 / 16
    middle = 7.13 * cell
    upwards = (0.5**0.5, -(0.5**0.5), 0, 0)
    bodies = [
        Body("water", middle + 0.16 * rng.uniform(-1, 1, (40, dim)), cell**dim / 8, velocity=[1.0, -2.0, -1.5][:dim])
    ]
    turned = (0.9, 0.3, -0.2, 0.1) if dim == 3 else np.array(upwards) + [0.0, 0.0, 0.1, -0.1]
    effectors = [
        Effector("bowl", Bowl(0.14, 0.07), [middle + 0.03] * dim, turned, friction=0.3, softness=30.0),
        Effector("glass", Cup(0.09, 0.15, 0.06, 0.06, top_radius=0.12), [middle] * dim, turned, softness=40.0),
        Effector("tank", RingTank(0.05, 0.15, 0.1, 0.05, 0.05), [middle] * dim, turned, 0.2, "slip", 35.0, fixed=fixed),
    ]
    return Scene(dim, (16,) * dim, cell, bodies, effectors)


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "moving"])
@pytest.mark.parametrize("dim", [2, 3])
def test_a_substep_with_containers(dim, fixed, soft, thin_walls):
    """Every state, parameter and control against every state and the force, turned containers, soft and hard."""
    w = small_world(dim, scene=container_scene(dim, fixed), substeps=1, soft_contact=soft)
    point, forward, adjoint = one_step(w)

    assert (np.abs(forward(point)["force"]).max(axis=(0, 2)) > 0).all()
    small = {"position": 0.01, "poissons_ratio": 0.1, "effector_position": 0.1, "deformation_gradient": 0.1}
    small["effector_orientation"] = 0.1
    check_adjoint(
        forward,
        adjoint,
        point,
        trials=1,
        steps=(1e-3, 1e-4, 1e-5),
        directions={name: np.full(point[name].shape, scale) for name, scale in small.items()},
    )
    w.close()


# ---------------------------------------------------------------------- fixed effectors


def test_a_fixed_effector_has_no_controls_and_stays(thin_walls):
    """It acts as one does whose twist is zero, to the last bit, and its pose has a gradient all the same."""
    worlds = [small_world(3, scene=container_scene(3, fixed)) for fixed in (True, False)]
    assert [w.control_size for w in worlds] == [12, 18]
    assert worlds[0].control_layout["effector_twist"] == slice(0, 12)
    controls = random_controls(worlds[0], 3)
    for w, values in zip(worlds, (controls, np.concatenate([controls, np.zeros((3, 1, 6))], 2)), strict=True):
        for value in values:
            w.step(value)
    for name, value in states(worlds[0]).items():
        np.testing.assert_array_equal(value, worlds[1].state(name))
    c = {"position": np.random.default_rng(0).standard_normal(worlds[0].state("position").shape)}
    bars = [reverse(w, c) for w in worlds]
    np.testing.assert_array_equal(bars[0].pop("controls"), bars[1].pop("controls")[..., :12])
    assert np.abs(bars[0]["effector_position"][0, 2]).max() > 0
    for name, value in bars[0].items():
        np.testing.assert_array_equal(value, bars[1][name])
    for w in worlds:
        w.close()


def test_fixed_effectors_come_last(thin_walls):
    scene = container_scene(3, True)
    scene.effectors.reverse()
    with pytest.raises(ValueError, match=r"effector 'tank' has fixed=True and stands before one that moves"):
        small_world(3, scene=scene)


# ---------------------------------------------------------------------- what they hold

CELL = 1 / 32
SOFTNESS = 2 / CELL
WALL = WALL_CELLS * CELL
HOLDERS = {
    "cup": Cup(0.15, 0.2, WALL, WALL),
    "glass": Cup(0.12, 0.2, 1.1 * WALL, WALL, top_radius=0.16),
    "cone": Cone(0.16, 0.25, WALL),
    "bowl": Bowl(0.18, 1.02 * WALL),
    "ring tank": RingTank(0.08, 0.26, 0.2, WALL, WALL),
}


def drop(shape: Container, *, fixed=True, soft=True, width=5, above=0.6) -> World:
    """A block of dough of ``width`` cells, ``above`` cells above the rim; in a ring tank above its channel."""
    place = np.array([0.513, 0.507, 0.15 + shape.height / 2])
    along = (np.arange(2 * width) + 0.5 - width) * CELL / 2
    block = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1).reshape(-1, 3)
    block += place + [0, 0, shape.height / 2 + (width / 2 + above) * CELL]
    if isinstance(shape, RingTank):
        block[:, 0] += (shape.inner_radius + shape.outer_radius) / 2
    dough = Body("dough", block, (CELL / 2) ** 3, "von_mises", yield_stress=60.0)
    holder = Effector("holder", shape, place, softness=SOFTNESS, fixed=fixed)
    return World(Scene(3, (32, 32, 32), CELL, [dough], [holder]), substeps=20, dt=5e-4, soft_contact=soft)


def local_positions(world):
    """Particles in the frame of the first effector."""
    w, *v = world.state("effector_orientation")[0, 0].astype(float)
    x = world.state("position")[0].astype(float) - world.state("effector_position")[0, 0]
    u = -np.array(v)
    return x + 2 * np.cross(u, np.cross(u, x) + w * x)


@pytest.mark.parametrize("name", HOLDERS)
def test_what_drops_into_a_container_stays(name):
    """In 1 s no particle gets half a cell deep into a wall; then all are in the cavity, slower than 0.1 m/s."""
    shape = HOLDERS[name]
    world = drop(shape)
    for _ in range(100):
        world.step(idle(world))
        x = local_positions(world)
        assert shape.signed_distance(x).min() > -0.5 * CELL
        assert x[:, 2].min() > shape.floor - 0.5 * CELL
    assert np.linalg.norm(world.state("velocity")[0], axis=1).max() < 0.1
    assert (shape.cavity.signed_distance(x) < 0.5 * CELL).all()
    world.close()


def test_a_wall_of_two_cells_is_needed(thin_walls):
    """Sharp contact: the dough rests in a cup with walls and floor of two cells, and falls through those of one."""
    for cells, stays in ((WALL_CELLS, True), (1.0, False)):
        shape = Cup(0.15, 0.2, cells * CELL, cells * CELL)
        world = drop(shape, fixed=False, soft=False)
        for _ in range(100):
            world.step(idle(world))
        assert (local_positions(world)[:, 2].min() > shape.floor - CELL) == stays
        world.close()


def test_a_tilting_glass_carries_its_content():
    """0.2 m sideways and 25 degrees in 1 s: all stays inside and moves along."""
    shape = HOLDERS["glass"]
    world = drop(shape, fixed=False, above=-4.0)
    for _ in range(40):
        world.step(idle(world))
    before = world.state("position")[0].mean(0)
    twist = np.array([[0.0, 0.2, 0.0, np.radians(25.0), 0.0, 0.0]])
    for _ in range(100):
        world.step(twist)
        x = local_positions(world)
        assert shape.signed_distance(x).min() > -0.5 * CELL
    assert (shape.cavity.signed_distance(x) < 0.5 * CELL).all()
    assert world.state("position")[0].mean(0)[1] - before[1] == pytest.approx(0.2, abs=0.07)
    assert np.abs(world.output("effector_force")[0, 0]).max() > 0
    world.close()


# ---------------------------------------------------------------------- what is refused

SQUARE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Revolution([(0, 0), (1, 0)]), r"profile has shape \(2, 2\)"),
        (lambda: Revolution([(0, 0), (1, np.nan), (1, 1)]), r"profile at \(1, 1\) is nan, must be finite"),
        (lambda: Revolution([(0, 0), (1, 0), (-0.5, 1)]), r"r=-0.5 at corner 2; allowed: r >= 0"),
        (lambda: Revolution([(0, 0), (1, 1), (1, 0), (0, 1)]), r"crosses or touches itself: edges 0 and 2"),
        (lambda: Revolution([*SQUARE[:2], (0.5, 0.0), *SQUARE[2:]]), "crosses or touches itself"),
        (lambda: Revolution([(0, 0), (1, 0), (2, 0)]), "encloses no area"),
        (lambda: Revolution([(1, 1)] * 5), "encloses no area"),
        (lambda: Cup(0.0, 1.0, 0.1, 0.1), "Cup: radius=0.0 must be a positive"),
        (lambda: Cup(1.0, 1.0, float("nan"), 0.1), "Cup: wall=nan must be a positive"),
        (lambda: Cup(1.0, 1.0, 0.1, 0.0), "Cup: floor_thickness=0.0 .*open_bottom=True"),
        (lambda: Cup(1.0, 1.0, 0.1, 0.1, open_bottom=True), "floor_thickness=0.1 must be 0 with open_bottom=True"),
        (lambda: Cup(1.0, 1.0, 0.1, 0.1, top_radius=-1), "Cup: top_radius=-1"),
        (lambda: Cone(1.0, 1.0, 0.0), "Cone: wall=0.0"),
        (lambda: Bowl(1.0, 0.1, depth=1.5), "Bowl: depth=1.5 must be at most the radius"),
        (lambda: Bowl(1.0, 0.1, edges=8), "Bowl: edges=8"),
        (lambda: RingTank(1.0, 0.5, 1.0, 0.1, 0.1), "RingTank: outer_radius=0.5 must be larger than inner_radius=1.0"),
        (lambda: RingTank(0.5, 1.0, 1.0, 0.1, 0.0), "RingTank: floor_thickness=0.0"),
    ],
)
def test_what_is_no_container_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (Cup(0.1, 0.2, 0.06, 0.07), "wall=0.06"),
        (Cup(0.1, 0.2, 0.07, 0.06), "floor_thickness=0.06"),
        (Cup(0.1, 0.1, 0.07, 0.07, top_radius=0.2), "wall=0.07"),
        (Cone(0.1, 0.2, 0.06), "wall=0.06"),
        (Bowl(0.1, 0.06), "wall=0.06"),
        (RingTank(0.03, 0.2, 0.1, 0.07, 0.07), "inner_radius=0.03"),
    ],
)
def test_walls_that_a_grid_does_not_resolve_are_named(shape, name):
    """Two cells are 0.0625 m here; a slanting wall is thinner than it is wide."""
    effector = Effector("holder", shape, (0, 0, 0))
    with pytest.raises(ValueError, match=rf"effector 'holder': \w+: {name} m makes it .* at least 2 cells, 0.0625 m"):
        effector.check_cell(CELL)
    effector.check_cell(CELL / 2)


def test_solid_shapes_fit_any_cell():
    Effector("ball", Sphere(0.01), (0, 0, 0)).check_cell(1.0)


def test_a_scene_refuses_walls_that_its_grid_does_not_resolve():
    thin = Effector("cup", Cup(0.15, 0.2, CELL, 2 * CELL), (0.5, 0.5, 0.5), fixed=True)
    clay = Body("clay", np.full((1, 3), 0.5), CELL**3)
    with pytest.raises(ValueError, match=r"effector 'cup': Cup: wall=.* leaks; allowed: at least 2 cells"):
        Scene(3, (32,) * 3, CELL, [clay], [thin])
