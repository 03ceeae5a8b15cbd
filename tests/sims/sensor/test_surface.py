"""Depth and normals of a gel's skin: closed forms, derivatives, bit-identical whatever the threads, what is refused."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from gel_skins import SIZE, TOP, dent, dome, flat_pad, rumpled

from pliant.envs.features.check import check_adjoint
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.raster import NOTHING
from pliant.sims.sensor.surface import GelSurface, skin_triangles

TILTED = {"rotation": cv2.Rodrigues(np.array([0.06, -0.05, 0.2]))[0], "position": (0.001, -0.002, -0.021)}
CAMERAS = {
    "straight": CalibratedCamera.behind_gel(SIZE, width=64, height=48, top=TOP),
    "tilted": CalibratedCamera(61, 47, (70.0, 72.0), (29.0, 24.0), **TILTED),
    "distorted": CalibratedCamera(61, 47, (70.0, 72.0), (29.0, 24.0), (-0.3, 0.1, 0.01, -0.02, -0.01), **TILTED),
    "fisheye": CalibratedCamera(61, 47, (40.0, 41.0), (29.0, 24.0), (0.05, -0.02, 0, 0), "fisheye", **TILTED),
}


@pytest.fixture(params=CAMERAS)
def camera(request):
    return CAMERAS[request.param]


def rays_of(camera):
    """Rays of depth 1, in the mount's frame."""
    return np.concatenate([camera.slopes, np.ones((camera.height, camera.width, 1))], axis=2) @ camera.rotation


def fold(nodes, rest):
    """Turn the skin's two last columns of nodes over, under the skin beside them."""
    last = np.argsort(rest[:, 0])[-24:]
    nodes[last] -= (0.006, 0.0, 0.003)
    return nodes


@pytest.mark.parametrize(("precision", "rounding"), [("f32", 3e-7), ("f64", 1e-15)])
def test_depth_of_a_flat_pad_is_exact(camera, precision, rounding):
    triangles, rest = flat_pad(40, 30, size=(0.2, 0.15))
    surface = GelSurface(triangles, rest, camera, precision=precision)
    view = surface.read(rest[None])
    expected = (TOP - camera.position[2]) / rays_of(camera)[..., 2]
    assert (view.triangle != NOTHING).all()
    assert np.abs(view.depth[0] / expected - 1.0).max() < rounding * 4
    assert np.abs(view.normals[0] - camera.rotation[:, 2]).max() < rounding * 8
    points = surface.points(view)[0]
    assert np.abs(points[..., 2] - TOP).max() < rounding * 0.1
    assert (
        np.abs(camera.project(points.astype(float)).reshape(47 + (camera.height == 48), -1, 2)[5, 9] - (9, 5)).max()
        < 1e-3
    )


def test_no_pixel_falls_between_triangles(camera):
    """A fine skin in float32; nodes moved at random, so that nothing is special."""
    triangles, rest = flat_pad(90, 70, size=(0.2, 0.15))
    surface = GelSurface(triangles, rest, camera)
    random = np.random.default_rng(0)
    for _ in range(5):
        moved = rest + random.uniform(-3e-4, 3e-4, rest.shape)
        assert (surface.read(moved[None]).triangle != NOTHING).all()


def test_every_pixel_shows_the_nearest_triangle(camera):
    """Against all rays and all triangles in NumPy, with a fold that hides a part of the skin."""
    triangles, rest = flat_pad()
    moved = fold(rumpled(rest)[0], rest)
    view = GelSurface(triangles, rest, camera, precision="f64").read(moved[None])
    a, b, c = (moved[triangles[:, k]] - camera.position for k in range(3))
    rays = rays_of(camera).reshape(-1, 1, 3)
    w = np.stack([(rays * np.cross(p, q)).sum(-1) for p, q in ((b, c), (c, a), (a, b))], axis=-1)
    total = w.sum(axis=-1)
    depth = np.where((w / total[..., None] >= -1e-12).all(axis=-1), (a * np.cross(b, c)).sum(-1) / total, np.inf)
    nearest = depth.min(axis=1)
    seen = np.isfinite(nearest)
    assert 100 < seen.sum() < seen.size
    assert ((view.triangle.ravel() != NOTHING) == seen).all()
    assert np.abs(view.depth.ravel()[seen] - nearest[seen]).max() < 1e-14
    assert (view.depth.ravel()[~seen] == 0.0).all()
    assert (view.normals.reshape(-1, 3)[~seen] == (0.0, 0.0, 1.0)).all()
    assert (np.sort(depth, axis=1)[:, 1] < np.inf).sum() > 20, "the fold must hide something"


def test_a_gel_pressed_by_a_ball_has_the_balls_depth_and_normals(camera):
    """Nodes on a sphere: they differ by h^2 / (8 R) along the normal; normals out of the gel, to the ball's centre."""
    ball = 0.012
    triangles, rest = flat_pad(61, 46)
    centre = np.array([0.0, 0.0, TOP + ball - 0.0015])
    moved = np.array(rest)
    reach = ball**2 - (moved[:, :2] ** 2).sum(axis=1)
    under = centre[2] - np.sqrt(np.maximum(reach, 0.0))
    moved[:, 2] = np.where(reach > 0, np.minimum(moved[:, 2], under), moved[:, 2])
    surface = GelSurface(triangles, rest, camera)
    view = surface.read(moved[None])
    rays, origin = rays_of(camera), camera.position - centre
    half, unit = rays @ origin, (rays**2).sum(axis=-1)
    root = half**2 - unit * ((origin**2).sum() - ball**2)
    depth = (-half - np.sqrt(np.maximum(root, 0.0))) / unit
    point = camera.position + depth[..., None] * rays
    inside = (root > 0) & (np.hypot(point[..., 0], point[..., 1]) < 0.005) & (point[..., 2] < TOP)
    assert inside.sum() > 100
    # The longest edge is on a slope of at most asin(5 / 12) = 25 degrees, and rays are within 37 degrees of its normal.
    step = SIZE[0] / 60 * np.sqrt(2) / np.cos(np.radians(25))
    assert np.abs(view.depth[0] - depth)[inside].max() < step**2 / (8 * ball) / np.cos(np.radians(37))
    normal = ((centre - point) / ball) @ camera.rotation.T
    assert np.abs(np.linalg.norm(view.normals[0], axis=-1) - 1.0).max() < 1e-6
    angle = np.arccos(np.minimum((view.normals[0] * normal).sum(-1), 1.0))[inside]
    assert angle.max() < np.radians(0.2) and view.normals[0, inside, 2].min() > 0.5


def test_normals_of_a_dome_are_those_of_the_sphere_and_continuous():
    triangles, rest, centre = dome()
    camera = CalibratedCamera.behind_gel((0.014, 0.014), width=120, height=120, top=TOP)
    surface = GelSurface(triangles, rest, camera)
    view = surface.at_rest
    point = surface.points(view)[0]
    expected = (point - centre) / 0.03
    angle = np.degrees(
        np.arccos(np.minimum((view.normals[0] * expected).sum(-1) / np.linalg.norm(expected, axis=-1), 1))
    )
    assert angle[4:-4, 4:-4].max() < 0.1
    jump = np.linalg.norm(np.diff(view.normals[0], axis=1), axis=-1)
    assert jump.max() < 2.5 * (0.014 / 120 / 0.03), "about a pixel's turn: no steps at edges"


def test_readings_have_the_derivatives_that_their_adjoints_say(camera):
    """Two worlds, coverage fixed by leaving out pixels near edges where another triangle could take over."""
    triangles, rest = flat_pad()
    surface = GelSurface(triangles, rest, camera, precision="f64")
    nodes = rumpled(rest, 2)
    fold(nodes[1], rest)
    base = surface.read(nodes)
    covered = base.triangle != NOTHING
    assert covered.mean() > 0.2
    backs = (base.normals[1] * np.concatenate([camera.slopes, np.ones_like(camera.slopes[..., :1])], axis=2)).sum(
        -1
    ) < 0
    assert backs.sum() > 10, "the fold shows the skin's outside"
    steady = np.ones_like(covered)
    for seed in range(20):
        shaken = surface.read(nodes + np.random.default_rng(seed).uniform(-4e-6, 4e-6, nodes.shape))
        steady &= shaken.triangle == base.triangle
    assert steady.mean() > 0.8
    weight = steady[..., None].astype(float)

    def forward(given):
        view = surface.read(given["nodes"])
        points = surface.points(view)
        return {"depth": view.depth * weight[..., 0], "normals": view.normals * weight, "points": points * weight}

    def adjoint(given, bars):
        view = surface.read(given["nodes"])
        return {
            "nodes": surface.adjoint(
                view,
                depth_bar=bars["depth"] * weight[..., 0],
                normals_bar=bars["normals"] * weight,
                points_bar=bars["points"] * weight,
            )
        }

    direction = {"nodes": np.full(nodes.shape, 1e-4)}
    check_adjoint(forward, adjoint, {"nodes": nodes}, directions=direction, steps=(1e-2, 3e-3, 1e-3, 1e-4))


def test_derivatives_in_float32_are_near_those_in_float64(camera):
    triangles, rest = flat_pad(30, 22)
    nodes = rumpled(rest, 2)
    bars = np.random.default_rng(1).normal(size=(2, camera.height, camera.width, 3))
    result = {}
    for precision in ("f32", "f64"):
        surface = GelSurface(triangles, rest, camera, precision=precision)
        view = surface.read(nodes)
        result[precision] = surface.adjoint(view, depth_bar=bars[..., 0], normals_bar=bars)
        assert result[precision].dtype == view.depth.dtype == surface.points(view).dtype
    assert result["f32"].dtype == np.float32
    error = np.linalg.norm(result["f32"] - result["f64"]) / np.linalg.norm(result["f64"])
    assert error < 2e-3, "a pixel may show another triangle"


def test_nodes_that_are_not_in_the_skin_have_no_derivative():
    triangles, rest = flat_pad()
    surface = GelSurface(triangles, rest, CAMERAS["straight"], precision="f64")
    view = surface.read(rest[None])
    bar = surface.adjoint(view, depth_bar=np.ones(view.depth.shape))
    assert (bar[0, np.setdiff1d(np.arange(len(rest)), triangles)] == 0.0).all()
    assert np.isclose(bar[..., 2].sum(), view.depth.size), "the pad as a whole moves away: each depth by as much"


def test_worlds_are_read_as_if_alone(camera):
    triangles, rest = flat_pad()
    surface = GelSurface(triangles, rest, camera)
    nodes = rumpled(rest, 3)
    together = surface.read(nodes)
    bars = np.random.default_rng(0).normal(size=together.normals.shape).astype(np.float32)
    pulled = surface.adjoint(together, depth_bar=bars[..., 0], normals_bar=bars)
    for world in range(3):
        alone = surface.read(nodes[world : world + 1])
        one = surface.adjoint(
            alone, depth_bar=bars[world : world + 1, ..., 0], normals_bar=bars[world : world + 1]
        )  # fmt: skip
        assert (alone.depth[0] == together.depth[world]).all() and (alone.normals[0] == together.normals[world]).all()
        assert (one[0] == pulled[world]).all()


THREADS = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from gel_skins import flat_pad, rumpled
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.surface import GelSurface
triangles, rest = flat_pad(40, 30)
camera = CalibratedCamera(160, 120, (150.0, 150.0), distortion=(-0.2, 0.05, 0, 0), position=(0, 0, -0.02))
surface = GelSurface(triangles, rest, camera)
view = surface.read(rumpled(rest, 2))
bars = np.random.default_rng(0).normal(size=view.normals.shape)
nodes_bar = surface.adjoint(view, depth_bar=bars[..., 0], normals_bar=bars)
from pliant.sims.runtime import thread_count
assert thread_count() == int(sys.argv[2])
np.savez(sys.argv[3], depth=view.depth, normals=view.normals, triangle=view.triangle, nodes_bar=nodes_bar)
"""


def test_one_thread_and_two_give_the_same_bits(tmp_path):
    here = str(Path(__file__).parents[2])
    results = []
    for count in (1, 2):
        path = tmp_path / f"{count}.npz"
        environment = os.environ | {"PLIANT_THREADS": str(count)}
        command = [sys.executable, "-c", THREADS, here, str(count), str(path)]
        subprocess.run(command, env=environment, check=True, timeout=300)
        results.append(np.load(path))
    for name in results[0].files:
        assert results[0][name].tobytes() == results[1][name].tobytes(), name
    assert np.abs(results[0]["nodes_bar"]).max() > 0


def test_triangles_that_reach_out_of_the_picture_are_drawn_whole():
    """One pair of triangles, far larger than what a strongly distorting lens shows of it."""
    triangles, rest = flat_pad(2, 2, size=(0.4, 0.4), inside=0)
    camera = CalibratedCamera(61, 47, (70.0, 72.0), None, (-0.3, 0.1, 0.01, -0.02, -0.01), **TILTED)
    view = GelSurface(triangles, rest, camera, precision="f64").read(rest[None])
    assert np.abs(view.depth[0] - (TOP + 0.021) / rays_of(camera)[..., 2]).max() < 1e-15


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 1), (1, 2), (3, 500), (501, 2)])
def test_pictures_of_any_proportions_are_drawn(width, height):
    triangles, rest = flat_pad(40, 30, size=(0.2, 0.15))
    camera = CalibratedCamera(width, height, (300.0, 300.0), position=(0.0, 0.0, -0.02))
    surface = GelSurface(triangles, rest, camera)
    view = surface.read(rest[None])
    assert np.abs(view.depth - (TOP + 0.02)).max() < 1e-8
    bar = surface.adjoint(view, depth_bar=np.ones(view.depth.shape))
    assert np.isclose(bar[..., 2].sum(), width * height, rtol=1e-5)


def test_cotangents_of_a_few_pixels_reach_their_triangles_alone():
    triangles, rest = flat_pad()
    surface = GelSurface(triangles, rest, CAMERAS["tilted"], precision="f32")
    view = surface.read(dent(rest)[None])
    bar = np.zeros(view.depth.shape)
    bar[0, 20, 30] = 1e-30  # its square is none in float32
    moved = np.flatnonzero(surface.adjoint(view, depth_bar=bar)[0].any(axis=1))
    assert sorted(moved) == sorted(triangles[view.triangle[0, 20, 30]])


def test_a_copy_sees_the_same():
    triangles, rest = flat_pad()
    surface = GelSurface(triangles, rest, CAMERAS["distorted"])
    for other in (copy.deepcopy(surface), pickle.loads(pickle.dumps(surface))):
        assert (other.read(rest[None]).depth == surface.at_rest.depth).all()


def test_the_skin_of_a_closed_gel_is_what_looks_up():
    top, nodes = flat_pad(4, 3, inside=0)
    below = nodes - (0, 0, TOP)
    both = np.concatenate([nodes, below])
    closed = np.concatenate([top[::-1], top[:, ::-1] + len(nodes)])
    assert sorted(map(tuple, skin_triangles(closed, both))) == sorted(map(tuple, top))
    with pytest.raises(ValueError, match="none looks along"):
        skin_triangles(top[:, ::-1], nodes)
    with pytest.raises(ValueError, match="steepest"):
        skin_triangles(top, nodes, steepest=91)


# ---------------------------------------------------------------------- bad input


def replaced(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


def test_surfaces_that_are_none_are_refused_by_name():
    triangles, rest = flat_pad()
    camera = CAMERAS["straight"]
    for bad, message in [
        (triangles.astype(float), "triangles must be integers"),
        (triangles[:, :2], "triangles must be integers"),
        (triangles[:0], "triangles must be integers"),
        (replaced(triangles, (3, 1), len(rest)), r"triangles\[3\]"),
        (replaced(triangles, (3, 1), -1), r"triangles\[3\]"),
        (replaced(triangles, (3, 1), triangles[3, 0]), r"triangles\[3\].* has no area"),
        (np.concatenate([triangles, triangles[4:5]]), "the edge from node"),
        (replaced(triangles, 5, triangles[5, ::-1]), "the edge from node"),
        (triangles[:, ::-1], "look towards the camera"),
    ]:
        with pytest.raises(ValueError, match=message):
            GelSurface(bad, rest, camera)
    with pytest.raises(ValueError, match="rest"):
        GelSurface(triangles, rest[:, :2], camera)
    with pytest.raises(ValueError, match="rest"):
        GelSurface(triangles, replaced(rest, (0, 0), np.nan), camera)
    with pytest.raises(ValueError, match="precision"):
        GelSurface(triangles, rest, camera, precision="f16")
    with pytest.raises(ValueError, match="in front of the camera"):
        GelSurface(triangles, rest, CalibratedCamera(64, 48, (50, 50), position=(0, 0, 0.1)))
    aside = CalibratedCamera(64, 48, (5000, 5000), position=(0.02, 0, -0.02))
    with pytest.raises(ValueError, match="no pixel shows the gel"):
        GelSurface(triangles, rest, aside).read(dent(rest)[None])


def test_positions_and_cotangents_that_cannot_be_are_refused_by_name(monkeypatch):
    triangles, rest = flat_pad()
    surface = GelSurface(triangles, rest, CAMERAS["straight"])
    for bad in (rest, rest[None, :-1], np.zeros((0, *rest.shape)), rest[None].astype(str)):
        with pytest.raises(ValueError, match="positions"):
            surface.read(bad)
    node = int(triangles[0, 0])
    with pytest.raises(ValueError, match=r"positions at .* finite"):
        surface.read(replaced(rest, (node, 0), np.nan)[None])
    with pytest.raises(ValueError, match=f"node {node} of world 1 .* pressed too deep"):
        surface.read(np.stack([rest, replaced(rest, (node, 2), -1.0)]))
    with pytest.raises(ValueError, match=f"node {node} of world 0 is at .* no coordinate may be larger"):
        surface.read(replaced(rest, (node, 0), 1e25)[None])
    view = surface.read(dent(rest)[None])
    with pytest.raises(ValueError, match="depth_bar"):
        surface.adjoint(view, depth_bar=np.ones((48, 64)))
    with pytest.raises(ValueError, match="normals_bar"):
        surface.adjoint(view, normals_bar=np.full(view.normals.shape, np.nan))
    monkeypatch.setattr("pliant.sims.sensor.surface.MOST_ENTRIES", 20_000)  # of 9,216 for each world
    surface.read(np.stack([rest] * 2))
    with pytest.raises(ValueError, match="too many"):
        surface.read(np.stack([rest] * 3))
