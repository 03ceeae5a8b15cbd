"""Rods, triangle meshes and containers in pictures: where they are seen, what hides them, what is refused."""

import time

import numpy as np
import pytest

from pliant.sims.camera.camera import Camera
from pliant.sims.camera.meshes import TriangleMesh
from pliant.sims.camera.packing import rotation_matrix
from pliant.sims.camera.renderer import Renderer
from pliant.sims.runtime import start
from pliant.sims.shapes import shapes
from pliant.sims.shapes.containers import Bowl, Cone, Cup, RingTank
from pliant.sims.shapes.profile import Revolution

RED, GREEN, BLUE, GREY = (0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.2, 0.9), (0.5, 0.5, 0.5)
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
NO_POINTS = np.zeros((0, 3))
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
     [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    start("auto")
    return Renderer(96, 64)


@pytest.fixture(scope="module")
def front() -> Camera:
    """From -y towards the origin, z up."""
    return Camera((0.0, -2.0, 0.0), (0.0, 0.0, 0.0), field_of_view=30.0)


def is_color(image: np.ndarray, channel: int) -> np.ndarray:
    others = [k for k in range(3) if k != channel]
    return image[..., channel].astype(int) - image[..., others].max(-1) > 40


def around(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask or next to one."""
    padded = np.pad(mask, 1)
    rows, columns = mask.shape
    return np.any([padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)], 0)


def ball(divisions: int, radius: float) -> TriangleMesh:
    """A sphere of about 2 divisions^2 triangles."""
    u, v = np.meshgrid(np.linspace(0, np.pi, divisions + 1), np.linspace(0, 2 * np.pi, divisions + 1), indexing="ij")
    vertices = radius * np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], -1).reshape(-1, 3)
    i, j = (k.ravel() for k in np.meshgrid(np.arange(divisions), np.arange(divisions), indexing="ij"))
    a = i * (divisions + 1) + j
    c = a + divisions + 1
    above = np.stack([a, c, a + 1], -1)[divisions:]  # those at the poles have no area
    below = np.stack([a + 1, c, c + 1], -1)[:-divisions]
    return TriangleMesh(vertices, np.concatenate([above, below]))


def test_each_edge_looks_like_a_capsule(renderer, front):
    chain = (np.array([[0.0, 0.0, -0.2], [0.0, 0.0, 0.2]]), [[0, 1]], 0.1, BLUE)
    capsule = (shapes.Capsule(0.1, 0.2), (0.0, 0.0, 0.0), UPRIGHT, BLUE)
    drawn = renderer.render(NO_POINTS, RED, 0.1, front, chains=[chain]).astype(int)
    expected = renderer.render(NO_POINTS, RED, 0.1, front, surfaces=[capsule]).astype(int)
    assert np.abs(drawn - expected).max() <= 2


def test_tree_is_seen_where_its_edges_are_each_in_its_colour(renderer):
    camera = Camera((0.0, 0.0, 5.0), (0.0, 0.0, 0.0), up=(0.0, 1.0, 0.0), frame_height=2.0)
    vertices = np.array([[-0.8, -0.6], [0.0, 0.0], [0.8, 0.5], [0.1, -0.8]])
    edges, radii = np.array([[0, 1], [1, 2], [1, 3]]), np.array([0.1, 0.15, 0.2])
    tree = (vertices, edges, radii, np.array([RED, GREEN, BLUE]))
    image = renderer.render(np.zeros((0, 2)), RED, 0.1, camera, chains=[tree], ground=None)
    size = 2.0 / 64
    x, y = np.meshgrid((np.arange(96) + 0.5 - 48) * size, (32 - np.arange(64) - 0.5) * size)
    pixels = np.stack([x, y], -1)
    distances = []
    for (a, b), radius in zip(edges, radii, strict=True):
        along = vertices[b] - vertices[a]
        share = np.clip((pixels - vertices[a]) @ along / (along @ along), 0.0, 1.0)
        distances.append(np.linalg.norm(pixels - vertices[a] - share[..., None] * along, axis=-1) - radius)
    free = np.min(distances, 0) > size
    for k, distance in enumerate(distances):
        others = np.min([d for j, d in enumerate(distances) if j != k], 0)
        assert is_color(image, k)[(distance < -size) & (others > size)].all()
        assert not is_color(image, k)[free].any()


def test_rods_and_meshes_hide_and_are_hidden(renderer, front):
    cube = TriangleMesh(0.1 * CORNERS, CUBE_FACES)
    red = {"positions": np.zeros((1, 3)), "colors": RED}
    red_rod = ([[-0.1, 0.0, 0.0], [0.1, 0.0, 0.0]], [[0, 1]], 0.1, RED)
    for y, seen in ((-0.6, "blue"), (0.6, "red")):
        rod = ([[0.0, y, -0.3], [0.0, y, 0.3]], [[0, 1]], 0.1, BLUE)
        scenes = [
            red | {"chains": [rod]},
            red | {"meshes": [(cube, (0.0, y, 0.0), UPRIGHT, BLUE)]},
            {"positions": NO_POINTS, "colors": RED, "chains": [red_rod, rod]},
            {"positions": NO_POINTS, "colors": RED, "chains": [red_rod], "meshes": [(cube, (0, y, 0), UPRIGHT, BLUE)]},
            {
                "positions": NO_POINTS,
                "colors": RED,
                "surfaces": [(shapes.Sphere(0.1), (0.0, 0.0, 0.0), UPRIGHT, RED)],
                "chains": [rod],
                "meshes": [(cube, (0.0, y, 0.1), UPRIGHT, BLUE)],
            },
        ]
        for scene in scenes:
            image = renderer.render(radius=0.1, camera=front, ground=None, **scene)
            assert is_color(image, 2 if seen == "blue" else 0)[32, 48]


def test_ground_hides_what_lies_below_it(renderer):
    camera = Camera((0.0, -1.5, 1.5), (0.0, 0.0, 0.0))
    cube = TriangleMesh(0.1 * CORNERS, CUBE_FACES)
    rod = ([[-0.3, 0.0, -0.3], [0.3, 0.0, -0.3]], [[0, 1]], 0.1, BLUE)
    empty = renderer.render(NO_POINTS, RED, 0.1, camera)
    image = renderer.render(NO_POINTS, RED, 0.1, camera, chains=[rod], meshes=[(cube, (0, 0, -0.3), UPRIGHT, BLUE)])
    assert not is_color(image, 2).any()
    assert is_color(image, 2).shape == empty.shape[:2]


@pytest.mark.parametrize("frame_height", [None, 1.2])
def test_cube_of_triangles_has_the_silhouette_and_shades_of_a_box(frame_height):
    renderer = Renderer(160, 120)
    camera = Camera((0.6, -2.0, 0.9), (0.0, 0.0, 0.0), field_of_view=30.0, frame_height=frame_height)
    size, place, turn = np.array([0.3, 0.2, 0.15]), (0.05, 0.0, 0.02), (0.8, 0.3, -0.4, 0.33)
    mesh = TriangleMesh(CORNERS * size, CUBE_FACES)
    drawn = renderer.render(NO_POINTS, RED, 0.1, camera, meshes=[(mesh, place, turn, BLUE)], ground=None)
    expected = renderer.render(
        NO_POINTS, RED, 0.1, camera, surfaces=[(shapes.Box(size), place, turn, BLUE)], ground=None
    )
    a, b = is_color(drawn, 2), is_color(expected, 2)
    assert a.sum() > 1000
    assert not (a & ~around(b)).any() and not (b & ~around(a)).any()
    inner = a & ~around(~a)
    assert np.median(np.abs(drawn.astype(int) - expected)[inner]) <= 1.0
    assert np.mean(np.abs(drawn.astype(int) - expected)[inner]) < 2.0


def test_fine_mesh_looks_smooth_whatever_the_order_of_its_corners(renderer, front):
    expected = renderer.render(
        NO_POINTS, RED, 0.1, front, surfaces=[(shapes.Sphere(0.3), (0, 0, 0), UPRIGHT, BLUE)], ground=None
    )
    mesh = ball(32, 0.3)
    for faces in (mesh.faces, mesh.faces[:, ::-1]):
        part = (TriangleMesh(mesh.vertices, faces.copy()), (0.0, 0.0, 0.0), UPRIGHT, BLUE)
        image = renderer.render(NO_POINTS, RED, 0.1, front, meshes=[part], ground=None)
        assert np.abs(image.astype(int) - expected).mean() < 1.0


def test_creases_stay_sharp_and_flat_shading_is_flat():
    cube = TriangleMesh(CORNERS, CUBE_FACES)
    np.testing.assert_allclose(np.abs(cube.corner_normals).max(-1), 1.0)
    flat = TriangleMesh(ball(8, 1.0).vertices, ball(8, 1.0).faces, crease=0.0).corner_normals
    np.testing.assert_allclose(flat[8:-8, 0], flat[8:-8, 2], atol=1e-2)
    smooth = ball(32, 1.0)
    points = smooth.vertices[smooth.faces]
    assert np.abs((smooth.corner_normals * points).sum(-1)).min() > 0.99


def test_parts_move_and_meshes_change_between_pictures(renderer, front):
    cube, small = TriangleMesh(0.1 * CORNERS, CUBE_FACES), TriangleMesh(0.05 * CORNERS, CUBE_FACES)
    columns = []
    for mesh, x in ((cube, -0.4), (cube, 0.4), (small, 0.4)):
        image = renderer.render(NO_POINTS, RED, 0.1, front, meshes=[(mesh, (x, 0, 0), UPRIGHT, BLUE)], ground=None)
        seen = is_color(image, 2)
        columns.append((np.flatnonzero(seen.any(0)).mean(), seen.sum()))
    assert columns[0][0] < 40 and columns[1][0] > 56 and columns[2][0] > 56
    assert columns[2][1] < 0.4 * columns[1][1]


def test_rods_and_meshes_around_or_behind_the_camera_do_no_harm(renderer):
    generator = np.random.default_rng(0)
    camera = Camera((0.5, 0.5, 0.5), (0.5, 0.9, 0.5))
    rods = [(generator.uniform(0, 1, (50, 3)), np.stack([np.arange(49), np.arange(1, 50)], -1), 0.05, BLUE)]
    image = renderer.render(NO_POINTS, RED, 0.1, camera, chains=rods, meshes=[(ball(8, 0.5), (0.5,) * 3, UPRIGHT, RED)])
    assert image.shape == (64, 96, 3)


CONTAINERS = {
    "cup": Cup(0.2, 0.3, 0.04, 0.04),
    "cone": Cone(0.25, 0.4, 0.04),
    "bowl": Bowl(0.3, 0.04),
    "ring tank": RingTank(0.1, 0.3, 0.25, 0.04, 0.04),
}


@pytest.mark.parametrize("turn", [UPRIGHT, (0.95, 0.2, 0.24, 0.0)], ids=["upright", "turned"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_container_is_seen_where_it_is(renderer, name, turn):
    """Its silhouette is where rays meet the solid, to a pixel, whatever is see-through."""
    shape, camera = CONTAINERS[name], Camera((0.0, -3.0, 0.8), (0.0, 0.0, 0.0), frame_height=1.2)
    image = renderer.render(NO_POINTS, RED, 0.1, camera, surfaces=[(shape, (0, 0, 0), turn, BLUE)], ground=None)
    x, y = np.meshgrid((np.arange(96) + 0.5 - 48) * 1.2 / 64, (32 - np.arange(64) - 0.5) * 1.2 / 64)
    right, up, forward = camera.axes
    starts = (x[..., None] * right + y[..., None] * up).reshape(-1, 3)
    reach = shape.bounding_radius
    close = np.linalg.norm(starts, axis=1) < reach + 0.03  # the other rays pass by
    points = starts[close, None] + np.linspace(-reach, reach, 120)[:, None] * forward
    nearest = np.full(64 * 96, np.inf)
    nearest[close] = shape.signed_distance(points.reshape(-1, 3) @ rotation_matrix(turn)).reshape(-1, 120).min(-1)
    nearest = nearest.reshape(64, 96)
    assert is_color(image, 2)[nearest < -0.019].all()
    assert not is_color(image, 2)[nearest > 0.019].any()
    assert (nearest < -0.019).sum() > 200


def test_content_and_inside_of_a_container_show_through_its_wall(renderer, front):
    """A red particle in a blue cup is seen from the front; behind the cup it is not; a solid of the same form hides."""
    cup = CONTAINERS["cup"]
    solid = Revolution(cup.profile)
    place = (0.0, 0.0, 0.05)
    seen = {}
    for what, shape, y in (("inside", cup, 0.0), ("behind", cup, 0.6), ("in front", cup, -0.6), ("solid", solid, 0.0)):
        scene = {"positions": np.array([[0.0, y, 0.05]]), "colors": RED, "surfaces": [(shape, place, UPRIGHT, BLUE)]}
        seen[what] = is_color(renderer.render(radius=0.1, camera=front, ground=None, **scene), 0).sum()
    assert seen["inside"] > 50 and seen["in front"] > 50
    assert seen["behind"] == seen["solid"] == 0
    empty = renderer.render(NO_POINTS, RED, 0.1, front, surfaces=[(cup, place, UPRIGHT, BLUE)], ground=None)
    full = renderer.render(NO_POINTS, RED, 0.1, front, surfaces=[(solid, place, UPRIGHT, BLUE)], ground=None)
    assert np.abs(empty.astype(int) - full)[24:36, 44:52].mean() > 4  # the far wall's inside, not the near one's out


def test_container_of_a_two_dimensional_scene_shows_its_cross_section(renderer):
    """Between the walls the background is seen."""
    camera = Camera((0.0, 0.0, 5.0), (0.0, 0.0, 0.0), up=(0.0, 1.0, 0.0), frame_height=1.0)
    upwards = (0.5**0.5, -(0.5**0.5), 0, 0)
    cup = CONTAINERS["cup"]
    surfaces = [(cup, (0, 0, 0), upwards, BLUE)]
    image = renderer.render(np.zeros((0, 2)), RED, 0.01, camera, surfaces=surfaces, ground=None)
    x, y = np.meshgrid((np.arange(96) + 0.5 - 48) / 64, (32 - np.arange(64) - 0.5) / 64)
    points = np.stack([x, np.zeros_like(x), y], -1).reshape(-1, 3)
    distance = cup.signed_distance(points).reshape(64, 96)
    assert is_color(image, 2)[distance < -1 / 64].all()
    assert not is_color(image, 2)[distance > 1 / 64].any()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"chains": [(np.zeros((2, 2)), [[0, 1]], 0.1, RED)]}, "chain vertices"),
        ({"chains": [(np.zeros((2, 3)), [[0, 2]], 0.1, RED)]}, "chain edges"),
        ({"chains": [(np.zeros((2, 3)), [[0.0, 1.0]], 0.1, RED)]}, "chain edges"),
        ({"chains": [(np.zeros((2, 3)), [[0, 1]], -0.1, RED)]}, "chain radius"),
        ({"chains": [(np.zeros((2, 3)), [[0, 1]], [0.1, 0.1], RED)]}, "chain radius"),
        ({"chains": [(np.zeros((2, 3)), [[0, 1]], 0.1, (2.0, 0.0, 0.0))]}, "chain color"),
        ({"meshes": [(TriangleMesh(CORNERS, CUBE_FACES), (0, 0), UPRIGHT, RED)]}, "mesh position"),
        ({"meshes": [(TriangleMesh(CORNERS, CUBE_FACES), (0, 0, 0), (0, 0, 0, 0), RED)]}, "orientation"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_rods_and_parts_are_named(renderer, front, change, name):
    with pytest.raises(ValueError, match=name):
        renderer.render(NO_POINTS, RED, 0.1, front, **change)


@pytest.mark.parametrize(
    ("vertices", "faces", "crease", "name"),
    [
        (np.zeros((3, 2)), CUBE_FACES, 40.0, "vertices"),
        (CORNERS, CUBE_FACES + 1, 40.0, "faces"),
        (CORNERS, CUBE_FACES.astype(float), 40.0, "faces"),
        (CORNERS, np.zeros((0, 3), int), 40.0, "faces"),
        (CORNERS, CUBE_FACES, -1.0, "crease"),
    ],
)
def test_bad_meshes_are_named(vertices, faces, crease, name):
    with pytest.raises(ValueError, match=name):
        TriangleMesh(vertices, faces, crease)


@pytest.mark.slow
def test_rods_and_an_arm_of_triangles_come_at_video_speed():
    generator, drawer = np.random.default_rng(0), Renderer(512, 512)
    camera = Camera.frame_scene((-0.5, -0.5, 0.0), (0.5, 0.5, 1.0), 3)
    vertices = np.cumsum(generator.normal(0.0, 0.03, (101, 3)), 0) + [0.0, 0.0, 0.5]
    rods = [(vertices, np.stack([np.arange(100), np.arange(1, 101)], -1), 0.01, BLUE)]
    meshes = [(ball(40, 0.08), (0.3, 0.0, 0.1 + 0.1 * k), UPRIGHT, GREY) for k in range(9)]
    drawer.render(NO_POINTS, RED, 0.01, camera, chains=rods, meshes=meshes)
    best, end = 0.0, time.perf_counter() + 8.0
    while time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(3):
            drawer.render(NO_POINTS, RED, 0.01, camera, chains=rods, meshes=meshes)
        best = max(best, 3.0 / (time.perf_counter() - begin))
    print(f"{best:.1f} pictures a second")
    assert best > 20.0
