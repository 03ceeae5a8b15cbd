"""The renderer: what it shows, that it shows it again, and what it refuses."""

import time

import numpy as np
import pytest

from pliant.sims.camera import renderer as renderer_module
from pliant.sims.camera import tiles
from pliant.sims.camera.camera import Camera
from pliant.sims.camera.renderer import Renderer
from pliant.sims.runtime import start
from pliant.sims.shapes import shapes

RED, GREEN, BLUE, GREY = (0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.2, 0.9), (0.5, 0.5, 0.5)
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
NO_POINTS = np.zeros((0, 3))


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    start("auto")
    return Renderer(96, 64)


@pytest.fixture(scope="module")
def front() -> Camera:
    """From -y towards the origin, z up; a ball of radius 0.1 fills a quarter of the picture's height."""
    return Camera((0.0, -2.0, 0.0), (0.0, 0.0, 0.0), field_of_view=30.0)


def centre_color(image: np.ndarray) -> np.ndarray:
    return image[image.shape[0] // 2, image.shape[1] // 2].astype(int)


def shows(color: np.ndarray) -> str:
    return ("red", "green", "blue")[int(np.argmax(color))]


def body(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.uniform((0.3, 0.3, 0.0), (0.7, 0.7, 0.25), (count, 3)), generator.uniform(0.2, 0.9, (count, 3))


def test_picture_has_the_size_asked_for_and_is_a_new_array_each_time(renderer, front):
    first = renderer.render(np.zeros((1, 3)), RED, 0.1, front)
    second = renderer.render(np.zeros((1, 3)), RED, 0.1, front)
    assert first.shape == (64, 96, 3) and first.dtype == np.uint8
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, second)


def test_same_scene_gives_the_same_bytes_in_any_order_of_pictures_and_renderers(renderer):
    points, colors = body(3000)
    camera = Camera.frame_scene((0.2, 0.2, 0.0), (0.8, 0.8, 0.4), 3)
    surfaces = [(shapes.Capsule(0.03, 0.1), (0.5, 0.3, 0.3), UPRIGHT, GREY)]

    def picture(drawn_by: Renderer) -> np.ndarray:
        return drawn_by.render(points, colors, 0.01, camera, surfaces=surfaces, ghost=points[:500])

    first = picture(renderer)
    renderer.render(points[:10], RED, 0.02, Camera((0.0, -2.0, 1.0), (0.0, 0.0, 0.0)))
    np.testing.assert_array_equal(first, picture(renderer))
    np.testing.assert_array_equal(first, picture(Renderer(96, 64)))


@pytest.mark.parametrize("dim", [2, 3])
def test_parts_left_out_because_nothing_is_near_look_the_same_when_drawn(monkeypatch, dim):
    camera = Camera.frame_scene((-0.8,) * dim, (1.8,) * dim, dim)
    points, colors = body(1000)
    scene = {
        "positions": points[:, :dim],
        "colors": colors,
        "radius": 0.02,
        "camera": camera,
        "surfaces": [(shapes.Sphere(0.1), (0.0, 0.4, 0.4), UPRIGHT, GREY)],
        "markers": [((1.0,) * dim, 0.1, GREEN)],
        "ghost": points[:200, :dim] + 0.3,
    }
    sparse = Renderer(200, 150).render(**scene)
    every = tiles.CLOSE | tiles.SHADOW | tiles.GHOST | tiles.MARKER
    monkeypatch.setattr(renderer_module, "busy_marks", lambda *_: every)
    np.testing.assert_array_equal(sparse, Renderer(200, 150).render(**scene))


def test_near_particle_hides_a_far_one_whatever_their_order(renderer, front):
    points, colors = np.array([[0.0, -0.5, 0.0], [0.0, 0.5, 0.0]]), np.array([RED, GREEN])
    for order in ([0, 1], [1, 0]):
        image = renderer.render(points[order], colors[order], 0.1, front, ground=None)
        assert shows(centre_color(image)) == "red"


@pytest.mark.parametrize(
    "shape",
    [
        shapes.Sphere(0.1),
        shapes.Capsule(0.1, 0.1),
        shapes.Box((0.1, 0.1, 0.1), 0.02),
        shapes.Cylinder(0.1, 0.1),
        shapes.Torus(0.1, 0.05),
    ],
    ids=lambda shape: type(shape).__name__,
)
def test_effector_hides_what_is_behind_it_and_is_hidden_by_what_is_before_it(renderer, front, shape):
    hole = 0.1 if isinstance(shape, shapes.Torus) else 0.0  # the tube of a ring that lies flat is met beside its hole
    for y, seen in ((-0.6, "blue"), (0.6, "red")):
        surfaces = [(shape, (0.0, y + hole, 0.0), UPRIGHT, BLUE)]
        image = renderer.render(np.zeros((1, 3)), RED, 0.1, front, surfaces=surfaces, ground=None)
        assert shows(centre_color(image)) == seen


@pytest.mark.parametrize(
    "shape",
    [
        shapes.Sphere(0.3),
        shapes.Capsule(0.1, 0.25),
        shapes.Cylinder(0.15, 0.25),
        shapes.Box((0.2, 0.1, 0.3)),
        shapes.Box((0.2, 0.15, 0.3), 0.1),
    ],
    ids=str,
)
def test_effector_is_seen_where_its_distance_says(renderer, front, shape):
    turn = np.array([0.8, 0.3, -0.4, 0.33])
    image = renderer.render(NO_POINTS, RED, 0.1, front, surfaces=[(shape, (0.1, 0, 0), turn, BLUE)], ground=None)
    seen = image[..., 2].astype(int) - image[..., 0] > 60
    # The same by the least signed distance along each pixel's ray.
    w, x, y, z = turn / np.linalg.norm(turn)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    right, up, forward = front.axes
    step = 2.0 * np.tan(np.radians(15.0)) / 64
    columns, rows = (np.arange(96) + 0.5 - 48) * step, (32 - np.arange(64) - 0.5) * step
    rays = forward + columns[None, :, None] * right + rows[:, None, None] * up
    points = front.position + rays[:, :, None] * np.linspace(1.5, 2.5, 400)[:, None]
    distance = shape.signed_distance((points.reshape(-1, 3) - [0.1, 0, 0]) @ rotation).reshape(64, 96, -1).min(-1)
    assert seen[distance < -step].all()
    assert not seen[distance > step].any()


def test_half_space_fills_the_picture_below_its_surface(renderer, front):
    surfaces = [(shapes.HalfSpace(), (0.0, 0.0, 0.0), UPRIGHT, BLUE)]
    camera = Camera((0.0, -2.0, 0.2), (0.0, 0.0, 0.2))
    image = renderer.render(NO_POINTS, RED, 0.1, camera, surfaces=surfaces, ground=None)
    assert shows(image[-4, 48]) == "blue"
    assert image[4, 48].min() > 150


def test_effector_turns_with_its_orientation(renderer, front):
    lying = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)  # a quarter turn about y takes z to x
    for orientation, row, column in ((UPRIGHT, 10, 48), (lying, 32, 70)):
        surfaces = [(shapes.Capsule(0.05, 0.3), (0.0, 0.0, 0.0), orientation, BLUE)]
        image = renderer.render(NO_POINTS, RED, 0.1, front, surfaces=surfaces, ground=None)
        assert shows(image[row, column]) == "blue"
        other = image[32, 70] if row == 10 else image[10, 48]
        assert other.min() > 150


def test_particle_darkens_the_ground_below_it_only(renderer):
    camera = Camera((0.0, -1.0, 1.5), (0.0, 0.0, 0.0))
    empty = renderer.render(NO_POINTS, RED, 0.1, camera).astype(int)
    below = renderer.render(np.array([[0.0, 0.0, 0.1]]), (1.0, 1.0, 1.0), 0.1, camera).astype(int)
    darker = (empty - below).sum(-1) > 60
    assert 20 < darker.sum() < 0.2 * darker.size
    assert not darker[:, :10].any() and not darker[:, -10:].any()


def test_two_dimensional_scene_keeps_proportions_and_shows_cross_sections(renderer):
    camera = Camera.frame_scene((0.0, 0.0), (1.5, 1.0), 2, aspect=1.5, margin=0.0)
    grid = np.stack(np.meshgrid(np.linspace(0.3, 0.7, 40), np.linspace(0.3, 0.7, 40)), -1).reshape(-1, 2)
    surfaces = [(shapes.Box((0.1, 0.2, 0.3)), (1.1, 0.5, 0.0), UPRIGHT, BLUE)]
    image = renderer.render(grid, RED, 0.01, camera, surfaces=surfaces, ground=0.1).astype(int)
    red, blue = image[..., 0] - image[..., 2] > 60, image[..., 2] - image[..., 0] > 60
    for mask, width, height in ((red, 0.42, 0.42), (blue, 0.2, 0.4)):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert np.ptp(columns) + 1 == pytest.approx(64 * width, abs=2.0)
        assert np.ptp(rows) + 1 == pytest.approx(64 * height, abs=2.0)
    assert np.flatnonzero(red.any(0)).mean() == pytest.approx(0.5 * 64, abs=1.5)
    assert np.flatnonzero(blue.any(1)).mean() == pytest.approx(0.5 * 64, abs=1.5)


def test_mesh_is_drawn(renderer, front, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / "ball.obj"
    trimesh.creation.icosphere(subdivisions=2, radius=0.2).export(path)
    surfaces = [(shapes.Mesh(path, cells=12), (0.0, 0.0, 0.0), UPRIGHT, BLUE)]
    image = renderer.render(NO_POINTS, RED, 0.1, front, surfaces=surfaces, ground=None).astype(int)
    area = (image[..., 2] - image[..., 0] > 60).sum()
    per_pixel = 2 * 2.0 * np.tan(np.radians(15.0)) / 64
    assert area == pytest.approx(np.pi * 0.2**2 / per_pixel**2, rel=0.12)


def test_marker_and_ghost_are_translucent(renderer, front):
    plain = centre_color(renderer.render(np.zeros((1, 3)), RED, 0.1, front, ground=None))
    markers = [((0.0, -0.5, 0.0), 0.1, GREEN)]
    marked = centre_color(renderer.render(np.zeros((1, 3)), RED, 0.1, front, ground=None, markers=markers))
    haunted = centre_color(
        renderer.render(
            np.zeros((1, 3)), RED, 0.1, front, ground=None, ghost=np.array([[0.0, -0.5, 0.0]]), ghost_color=GREEN
        )
    )
    for color in (marked, haunted):
        assert color[1] > plain[1] + 20
        assert color[0] > 60


def test_empty_scene_shows_ground_and_background(renderer, front):
    for points in (NO_POINTS, np.zeros((0, 2))):
        image = renderer.render(points, np.zeros((0, 3)), 0.1, front, background=((0.2, 0.2, 0.9), (0.2, 0.2, 0.9)))
        assert image.min() > 0
    blank = renderer.render(NO_POINTS, RED, 0.1, front, ground=None, background=(0.25, 0.5, 0.75))
    assert np.abs(blank.astype(int) - np.array([64, 128, 191])).max() <= 1


def test_camera_sees_particles_behind_or_around_it_without_harm(renderer):
    points, colors = body(200)
    image = renderer.render(points, colors, 0.02, Camera((0.5, 0.5, 0.1), (0.5, 0.9, 0.1)))
    assert image.shape == (64, 96, 3)


def test_framing_holds_the_box(renderer):
    for aspect in (0.5, 1.0, 2.0):
        low, high = np.array([0.1, 0.2, 0.0]), np.array([0.9, 0.5, 0.6])
        camera = Camera.frame_scene(low, high, 3, aspect=aspect)
        right, up, forward = camera.axes
        corners = np.array([[x, y, z] for x in (0.1, 0.9) for y in (0.2, 0.5) for z in (0.0, 0.6)]) - camera.position
        reach = (corners @ forward) * np.tan(np.radians(camera.field_of_view / 2))
        share = np.maximum(np.abs(corners @ right) / (aspect * reach), np.abs(corners @ up) / reach)
        assert 0.8 < share.max() < 1.0


def test_finer_samples_keep_the_picture(renderer, front):
    points = np.array([[0.0, 0.0, 0.0]])
    coarse = renderer.render(points, RED, 0.15, front).astype(float)
    fine = Renderer(96, 64, samples=2).render(points, RED, 0.15, front).astype(float)
    assert np.abs(coarse - fine).mean() < 3.0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"positions": np.zeros((4, 4))}, "positions"),
        ({"positions": np.full((4, 3), np.nan)}, "positions"),
        ({"colors": np.full((4, 3), 1.5)}, "colors"),
        ({"colors": np.zeros((3, 4))}, "colors"),
        ({"radius": 0.0}, "radius"),
        ({"ground": np.inf}, "ground"),
        ({"markers": [((0.0, 0.0), 0.1, RED)]}, "marker position"),
        ({"markers": [((0.0, 0.0, 0.0), -0.1, RED)]}, "marker radius"),
        ({"surfaces": [(shapes.Sphere(0.1), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), RED)]}, "orientation"),
        ({"surfaces": [(shapes.Sphere(0.1), (0.0, 0.0), UPRIGHT, RED)]}, "surface position"),
        ({"ghost": np.zeros((4, 2))}, "ghost"),
        ({"ghost_opacity": 2.0}, "ghost_opacity"),
        ({"background": (0.1, 0.2)}, "background"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments_are_named(renderer, front, change, name):
    arguments = {"positions": np.zeros((4, 3)), "colors": RED, "radius": 0.1, "camera": front} | change
    with pytest.raises(ValueError, match=name):
        renderer.render(**arguments)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Camera((0, 0), (1, 0, 0)), "position"),
        (lambda: Camera((0, 0, 0), (0, 0, 0)), "target"),
        (lambda: Camera((0, 0, 2), (0, 0, 0)), "up"),
        (lambda: Camera((0, 1, 0), (0, 0, 0), field_of_view=180.0), "field_of_view"),
        (lambda: Camera((0, 1, 0), (0, 0, 0), frame_height=0.0), "frame_height"),
        (lambda: Camera.frame_scene((0, 0), (1, 1), 4), "dim"),
        (lambda: Camera.frame_scene((0, 1), (1, 1), 2), "low"),
        (lambda: Renderer(8, 64), "width"),
        (lambda: Renderer(64, 64, samples=0), "samples"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_cameras_and_renderers_are_named(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def frames_per_second(seconds: float, count: int) -> float:
    """Pictures a second, 512 x 512, of ``count`` particles and two effectors: the best of several short runs."""
    drawer, (points, colors) = Renderer(512, 512), body(count)
    camera = Camera.frame_scene((0.2, 0.2, 0.0), (0.8, 0.8, 0.5), 3)
    surfaces = [
        (shapes.Capsule(0.03, 0.1), (0.5, 0.3, 0.3), (0.8, 0.0, 0.6, 0.0), GREY),
        (shapes.Box((0.05, 0.05, 0.05), 0.01), (0.8, 0.3, 0.05), UPRIGHT, GREY),
    ]
    drawer.render(points, colors, 0.008, camera, surfaces=surfaces)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(3):
            drawer.render(points, colors, 0.008, camera, surfaces=surfaces)
        best = max(best, 3.0 / (time.perf_counter() - begin))
    print(f"{best:.1f} pictures a second")
    return best


def test_pictures_come_fast_enough_to_watch():
    assert frames_per_second(1.0, 10_000) > 3.0  # loose: the machine may be busy


@pytest.mark.slow
def test_pictures_of_a_small_scene_come_at_video_speed():
    assert frames_per_second(8.0, 2_000) > 20.0
