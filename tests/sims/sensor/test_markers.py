"""Markers: rigid motions in closed form, derivatives, patterns, speed's sanity, what is refused."""

import cv2
import numpy as np
import pytest
from gel_skins import SIZE, TOP, dent, dome, flat_pad, rumpled

from pliant.envs.features.check import check_adjoint
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.markers import Markers, draw_markers, marker_disc, marker_grid

STRAIGHT = CalibratedCamera.behind_gel(SIZE, width=320, height=240, top=TOP)
TILTED = {"rotation": cv2.Rodrigues(np.array([0.06, -0.05, 0.2]))[0], "position": (0.001, -0.002, -0.021)}
CAMERAS = {
    "straight": STRAIGHT,
    "distorted": CalibratedCamera(320, 240, (250, 255), (150, 118), (-0.3, 0.1, 0.01, -0.02, -0.01), **TILTED),
    "fisheye": CalibratedCamera(320, 240, (200, 205), (150, 118), (0.05, -0.02, 0, 0), "fisheye", **TILTED),
}
PLACES = marker_grid(8, 10, 0.0015)


@pytest.fixture(params=CAMERAS)
def camera(request):
    return CAMERAS[request.param]


@pytest.mark.parametrize("depth", [0.0, 0.0005])
def test_a_sideways_motion_moves_markers_by_f_dx_over_z(depth):
    triangles, rest = flat_pad()
    markers = Markers(triangles, rest, STRAIGHT, PLACES, depth=depth)
    reading = markers.read((rest + (0.0004, -0.0003, 0.0))[None])
    expected = np.array([0.0004, -0.0003]) * STRAIGHT.focal / (TOP - depth + 0.025)
    assert np.abs(reading.displacements - expected).max() < 1e-10
    assert np.abs(reading.motions - (0.0004, -0.0003, 0.0)).max() < 1e-17
    assert np.abs(reading.pixels - reading.displacements - markers.rest_pixels).max() < 1e-12


def test_any_rigid_motion_moves_the_markers_with_it(camera):
    triangles, rest, _ = dome(half=0.011)
    markers = Markers(triangles, rest, camera, PLACES, depth=0.0003)
    turn, shift = cv2.Rodrigues(np.array([0.02, -0.03, 0.05]))[0], np.array([2e-4, -1e-4, 3e-4])
    reading = markers.read(np.stack([rest, rest @ turn.T + shift]))
    expected = markers.rest_points @ turn.T + shift
    assert np.abs(reading.points[1] - expected).max() < 1e-16
    assert np.abs(reading.pixels[1] - camera.project(expected)).max() < 1e-9
    assert np.abs(reading.displacements[0]).max() == 0.0 == np.abs(reading.motions[0]).max()


def test_markers_lie_on_the_curved_skin_above_their_places():
    triangles, rest, centre = dome(half=0.009)
    places = marker_disc(136, 0.007)
    markers = Markers(triangles, rest, STRAIGHT, places)
    assert len(markers) == 136
    assert np.abs(markers.rest_points[:, :2] - places).max() < 1e-15
    distance = np.linalg.norm(markers.rest_points - centre, axis=1)
    step = 0.018 / 32 * np.sqrt(2)
    assert (distance <= 0.03).all() and (distance > 0.03 - 1.2 * step**2 / (8 * 0.03)).all()
    deep = Markers(triangles, rest, STRAIGHT, places, depth=0.001)
    gap = deep.rest_points - markers.rest_points
    assert np.abs(np.linalg.norm(gap, axis=1) - 0.001).max() < 1e-15
    radial = (markers.rest_points - centre) / distance[:, None]
    assert (-(gap / 0.001 * radial).sum(axis=1)).min() > np.cos(np.radians(1.5))


def test_of_two_layers_the_upper_one_has_the_markers():
    triangles, rest = flat_pad(inside=0)
    both = np.concatenate([rest, rest - (0, 0, 0.002)])
    layers = np.concatenate([triangles + len(rest), triangles])
    below = np.concatenate([triangles[:, ::-1] + len(rest), triangles])
    for faces in (layers, below):
        assert np.abs(Markers(faces, both, STRAIGHT, PLACES).rest_points[:, 2] - TOP).max() < 1e-17


@pytest.mark.parametrize("depth", [0.0, 0.0005])
def test_readings_have_the_derivatives_that_their_adjoint_says(camera, depth):
    triangles, rest = flat_pad()
    markers = Markers(triangles, rest, camera, PLACES, depth=depth)

    def forward(given):
        reading = markers.read(given["nodes"])
        return {"pixels": reading.displacements, "points": reading.motions}

    def adjoint(given, bars):
        reading = markers.read(given["nodes"])
        return {"nodes": markers.adjoint(reading, pixels_bar=bars["pixels"], points_bar=bars["points"])}

    nodes = rumpled(rest, 3)
    check_adjoint(forward, adjoint, {"nodes": nodes}, directions={"nodes": np.full(nodes.shape, 1e-3)})


def test_readings_keep_the_type_of_the_positions():
    triangles, rest = flat_pad()
    markers = Markers(triangles, rest, STRAIGHT, PLACES, depth=0.0002)
    nodes = rumpled(rest, 2)
    exact, rounded = markers.read(nodes), markers.read(nodes.astype(np.float32))
    for name in ("pixels", "displacements", "points", "motions"):
        value = getattr(rounded, name)
        assert value.dtype == np.float32 and getattr(exact, name).dtype == np.float64
    assert np.abs(rounded.displacements - exact.displacements).max() < 1e-4
    bar = np.ones_like(rounded.pixels)
    pulled = markers.adjoint(rounded, pixels_bar=bar)
    assert pulled.dtype == np.float32 and pulled.shape == nodes.shape
    assert np.abs(pulled / 1e5 - markers.adjoint(exact, pixels_bar=bar) / 1e5).max() < 1e-5


def test_a_grid_is_centred_and_has_its_pitch():
    places = marker_grid(3, 4, 0.002)
    assert places.shape == (12, 2)
    assert np.abs(places.mean(axis=0)).max() < 1e-18
    assert np.allclose(places[:2], [[-0.003, -0.002], [-0.001, -0.002]])
    assert np.allclose(places[4], [-0.003, 0.0])


def test_a_disc_is_filled_evenly():
    places = marker_disc(136, 0.008)
    gaps = np.linalg.norm(places[:, None] - places, axis=-1) + np.eye(136)
    even = 0.008 * np.sqrt(np.pi / 136)
    assert np.linalg.norm(places, axis=1).max() < 0.008
    assert 0.7 * even < gaps.min(axis=1).min() and gaps.min(axis=1).max() < 1.2 * even


def test_a_picture_shows_markers_and_arrows():
    triangles, rest = flat_pad()
    markers = Markers(triangles, rest, STRAIGHT, [(0.0, 0.0), (0.004, 0.003)])
    reading = markers.read(np.stack([rest, rest + (0.001, 0.0, 0.0)]))
    still, moved = draw_markers(markers, reading, 0), draw_markers(markers, reading, 1, gain=2.0)
    assert still.shape == (240, 320, 3) and still.dtype == np.uint8
    for picture, world in ((still, 0), (moved, 1)):
        for x, y in np.rint(reading.pixels[world]).astype(int):
            assert picture[y, x, 1] < 60, "dark (or red) where the marker is"
    red = (moved[..., 0].astype(int) - moved[..., 2] > 100).nonzero()
    x = markers.rest_pixels[:, 0]
    tip = x.max() + 2 * reading.displacements[1, 1, 0]
    assert abs(red[1].max() - tip) < 2 and not (still[..., 0].astype(int) - still[..., 2] > 100).any()
    behind = np.full((240, 320, 3), 17.0)
    assert draw_markers(markers, reading, image=behind)[0, 0].tolist() == [17, 17, 17]


def test_markers_that_cannot_be_are_refused_by_name():
    triangles, rest = flat_pad()
    for places, message in [
        (np.zeros((0, 2)), "places has shape"),
        (np.zeros((3, 3)), "places has shape"),
        ([(0.0, np.nan)], "places"),
        ([(0.0, 0.0), (0.011, 0.0)], r"places\[1\].* no skin"),
    ]:
        with pytest.raises(ValueError, match=message):
            Markers(triangles, rest, STRAIGHT, places)
    near = CalibratedCamera(320, 240, (1000, 1000), position=(0, 0, -0.01))
    with pytest.raises(ValueError, match=r"places\[0\].* outside of the camera's picture"):
        Markers(triangles, rest, near, [(0.009, 0.0)])
    with pytest.raises(ValueError, match=r"depth=-0\.001"):
        Markers(triangles, rest, STRAIGHT, PLACES, depth=-0.001)
    with pytest.raises(ValueError, match=r"depth=0\.04 m: .* in front of the camera"):
        Markers(triangles, rest, STRAIGHT, PLACES, depth=0.04)
    with pytest.raises(ValueError, match="the edge from node"):
        Markers(np.concatenate([triangles, triangles[:1]]), rest, STRAIGHT, PLACES)
    for wrong in ({"rows": 0}, {"columns": 1.5}, {"pitch": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            marker_grid(**{"rows": 2, "columns": 2, "pitch": 0.001} | wrong)
    for wrong in ({"count": 0}, {"radius": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            marker_disc(**{"count": 2, "radius": 0.001} | wrong)


def test_readings_that_cannot_be_are_refused_by_name():
    triangles, rest = flat_pad()
    markers = Markers(triangles, rest, STRAIGHT, PLACES)
    with pytest.raises(ValueError, match="positions has shape"):
        markers.read(rest)
    with pytest.raises(ValueError, match=r"points at \(1, \d+\) .* in front of the camera"):
        markers.read(np.stack([rest, rest - (0, 0, 0.03)]))
    reading = markers.read(dent(rest)[None])
    with pytest.raises(ValueError, match="pixels_bar"):
        markers.adjoint(reading, pixels_bar=np.ones((80, 2)))
    with pytest.raises(ValueError, match="points_bar"):
        markers.adjoint(reading, points_bar=np.ones((1, 80, 2)))
    with pytest.raises(ValueError, match="world=1"):
        draw_markers(markers, reading, 1)
    with pytest.raises(ValueError, match="image has shape"):
        draw_markers(markers, reading, image=np.zeros((320, 240, 3)))
