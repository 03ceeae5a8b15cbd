"""Calibrated cameras: projections and rays against OpenCV, derivatives, files, what is refused."""

import json

import cv2
import numpy as np
import pytest

from pliant.envs.features.check import check_adjoint
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.camera_files import load_camera, save_camera

ROTATION = cv2.Rodrigues(np.array([0.1, -0.2, 0.3]))[0]
POSE = {"rotation": ROTATION, "position": (0.002, -0.001, -0.02)}
LENSES = {
    "none": ("pinhole", ()),
    "four": ("pinhole", (-0.31, 0.12, 0.003, -0.002)),
    "five": ("pinhole", (-0.31, 0.12, 0.003, -0.002, -0.01)),
    "eight": ("pinhole", (0.2, -0.1, 0.001, 0.002, 0.03, 0.4, -0.05, 0.01)),
    "twelve": ("pinhole", (0.2, -0.1, 0.001, 0.002, 0.03, 0.4, -0.05, 0.01, 0.01, -0.002, -0.004, 0.003)),
    "fisheye": ("fisheye", (0.05, -0.02, 0.004, -0.001)),
    "plain fisheye": ("fisheye", ()),
}


@pytest.fixture(params=LENSES)
def camera(request):
    lens, distortion = LENSES[request.param]
    return CalibratedCamera(320, 240, (260.0, 255.0), (157.3, 121.9), distortion, lens, **POSE)


def points_before(camera, count=200, seed=0):
    """Points of the mount's frame that the camera sees within half a radian of its axis."""
    random = np.random.default_rng(seed)
    depth = random.uniform(0.01, 0.03, (count, 1))
    seen = np.concatenate([random.uniform(-0.6, 0.6, (count, 2)) * depth, depth], axis=1)
    return seen @ camera.rotation + camera.position


def by_opencv(camera, points):
    turn = cv2.Rodrigues(camera.rotation)[0]
    shift = -camera.rotation @ camera.position
    if camera.lens == "fisheye":
        k = camera.distortion if len(camera.distortion) else np.zeros(4)
        return cv2.fisheye.projectPoints(points[:, None], turn, shift, camera.matrix, k)[0][:, 0]
    return cv2.projectPoints(points, turn, shift, camera.matrix, camera.distortion)[0][:, 0]


def test_projection_is_that_of_opencv(camera):
    points = points_before(camera)
    assert np.abs(camera.project(points) / by_opencv(camera, points) - 1.0).max() < 1e-9


def test_the_axis_of_a_fisheye_is_projected_as_its_neighbourhood():
    camera = CalibratedCamera(320, 240, (260.0, 255.0), distortion=(0.5, 0, 0, 0), lens="fisheye")
    x = np.array([0.0, 1e-12, 0.99e-4, 1.01e-4])
    points = np.stack([x, 0 * x, 0 * x + 1.0], axis=1)
    assert camera.project(points)[0].tolist() == camera.centre.tolist()
    theta = np.arctan(x)
    assert np.abs((camera.project(points)[:, 0] - camera.centre[0]) - 260 * (theta + 0.5 * theta**3)).max() < 1e-12


def test_rays_are_those_of_opencv_and_lead_back_to_their_pixels(camera):
    pixels = np.random.default_rng(1).uniform((0, 0), (319, 239), (300, 2))
    rays = camera.rays(pixels)
    assert np.abs(np.linalg.norm(rays, axis=1) - 1.0).max() < 1e-15
    back = camera.project((rays * 0.02) @ camera.rotation + camera.position)
    assert np.abs(back - pixels).max() < 1e-8
    k = camera.distortion if len(camera.distortion) else np.zeros(4)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 400, 1e-15)
    if camera.lens == "fisheye":
        slopes = cv2.fisheye.undistortPoints(pixels[:, None], camera.matrix, k, criteria=criteria)[:, 0]
    else:
        slopes = cv2.undistortPoints(pixels[:, None], camera.matrix, k, criteria=criteria)[:, 0]
    assert np.abs(rays[:, :2] / rays[:, 2:] - slopes).max() < 1e-9


def test_slopes_are_the_rays_of_all_pixels(camera):
    slopes = camera.slopes
    assert slopes.shape == (240, 320, 2)
    ray = camera.rays([17.0, 201.0])
    assert np.abs(slopes[201, 17] - ray[:2] / ray[2]).max() < 1e-12


def test_projection_has_the_derivative_that_its_adjoint_says(camera):
    def moved(given):
        turn = cv2.Rodrigues(given["rotation"])[0]
        rotation, position = turn @ camera.rotation, given["position"]
        return CalibratedCamera(
            320, 240, given["focal"], given["centre"], given["distortion"], camera.lens, rotation, position
        )

    def forward(given):
        return {"pixels": moved(given).project(given["points"])}

    def adjoint(given, bars):
        points, bar = given["points"], bars["pixels"]
        return {"points": camera.project_adjoint(points, bar), **camera.parameters_adjoint(points, bar)}

    inputs = {name: np.array(getattr(camera, name)) for name in ("focal", "centre", "distortion", "position")}
    inputs |= {"points": points_before(camera, 20), "rotation": np.zeros(3)}
    wrt = [name for name, value in inputs.items() if value.size]
    scale = {"points": np.full((20, 3), 1e-3), "position": np.full(3, 1e-3)}
    scale |= {name: np.full_like(inputs[name], 1e-2) for name in ("rotation", "distortion")}
    check_adjoint(forward, adjoint, inputs, wrt=wrt, directions=scale)


def test_points_of_a_batch_in_float32_stay_so(camera):
    points = points_before(camera).astype(np.float32).reshape(4, 50, 3)
    pixels = camera.project(points)
    assert pixels.dtype == np.float32 and pixels.shape == (4, 50, 2)
    assert np.abs(pixels.reshape(-1, 2) - by_opencv(camera, points.reshape(-1, 3).astype(float))).max() < 1e-4
    assert camera.project_adjoint(points, np.ones_like(pixels)).dtype == np.float32


def test_a_camera_behind_a_gel_just_shows_it():
    camera = CalibratedCamera.behind_gel((0.02, 0.012), width=320, height=240, distance=0.02, top=0.004)
    corner = camera.project(np.array([0.01, 0.006, 0.004]))
    assert np.allclose(corner, [159.5 + 160.0, 119.5 + 96.0])
    camera = CalibratedCamera.behind_gel((0.02, 0.012), width=320, height=240, distance=0.02, top=0.004, fill=True)
    assert np.allclose(camera.project(np.array([0.01, 0.006, 0.004])), [159.5 + 200.0, 119.5 + 120.0])


def test_pictures_are_undistorted(camera):
    """A picture whose grey is the pixel's slope along x shows afterwards what a pinhole would see."""
    picture = camera.slopes[..., 0].astype(np.float32)
    shown = camera.undistort(picture)
    x = (np.arange(320) - camera.centre[0]) / camera.focal[0]
    assert np.abs(shown[60:180, 80:240] - x[80:240]).max() < 2e-4


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_camera_comes_back_from_its_file(camera, tmp_path, ending):
    path = tmp_path / f"camera.{ending}"
    save_camera(camera, path)
    again = load_camera(path)
    assert (again.width, again.height, again.lens) == (camera.width, camera.height, camera.lens)
    for name in ("focal", "centre", "distortion", "rotation", "position"):
        assert getattr(again, name).tolist() == getattr(camera, name).tolist()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_opencv_wrote_is_read(tmp_path):
    matrix, distortion = np.array([[260.0, 0, 157], [0, 255, 121], [0, 0, 1]]), np.array([[-0.3, 0.1, 0, 0, 0.01]])
    storage = cv2.FileStorage(str(tmp_path / "a.json"), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 320)
    storage.write("image_height", 240)
    storage.write("camera_matrix", matrix)
    storage.write("distortion_coefficients", distortion)
    storage.release()
    np.savez(tmp_path / "b.npz", mtx=matrix, dist=distortion, width=320, height=240)
    for name in ("a.json", "b.npz"):
        camera = load_camera(tmp_path / name)
        assert camera.matrix.tolist() == matrix.tolist() and camera.distortion.tolist() == distortion[0].tolist()


def test_a_pose_of_opencv_is_taken():
    turn, shift = np.array([0.1, -0.2, 0.3]), np.array([0.001, 0.002, 0.02])
    matrix, k = np.array([[260.0, 0, 157], [0, 255, 121], [0, 0, 1]]), np.array([-0.3, 0.1, 0, 0, 0.01])
    camera = CalibratedCamera.from_opencv(matrix, k, (320, 240), rotation_vector=turn, translation=shift)
    points = np.random.default_rng(0).uniform(-0.005, 0.005, (20, 3))
    assert np.allclose(camera.project(points), cv2.projectPoints(points, turn, shift, matrix, k)[0][:, 0], rtol=1e-9)


GOOD = {"camera_matrix": [[260.0, 0, 157], [0, 255, 121], [0, 0, 1]], "width": 320, "height": 240}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[1, 2]", "object with the entries"),
        ({"width": 320, "height": 240}, "no camera_matrix"),
        (GOOD | {"width": "wide"}, "width"),
        (GOOD | {"image_width": 320}, "two names"),
        (GOOD | {"camera_matrix": [[1, 2], [3]]}, "camera_matrix"),
        (GOOD | {"camera_matrix": {"rows": 3}}, "rows, cols and data"),
        (GOOD | {"camera_matrix": [[260, 1, 157], [0, 255, 121], [0, 0, 1]]}, "skew"),
        (GOOD | {"camera_matrix": [[-260, 0, 157], [0, 255, 121], [0, 0, 1]]}, "fx=-260"),
        (GOOD | {"distortion": [0.1, 0.2]}, "2 coefficients"),
        (GOOD | {"distortion": ["a", "b", "c", "d"]}, "distortion"),
        (GOOD | {"lens": "pinhole camera"}, "lens"),
        (GOOD | {"rotation": [[2, 0, 0], [0, 1, 0], [0, 0, 1]]}, "rotation"),
        (GOOD | {"position": [0, 0, float("nan")]}, "position"),
    ],
)
def test_a_file_that_is_no_camera_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "camera.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        load_camera(path)
    assert "camera.json" in str(caught.value)


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_camera(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match="cannot be read as npz"):
        load_camera(tmp_path / "broken.npz")
    np.savez(tmp_path / "objects.npz", camera_matrix=np.array([{}], object), width=3, height=3)
    with pytest.raises(ValueError, match="cannot be read as npz"):
        load_camera(tmp_path / "objects.npz")
    with pytest.raises(ValueError, match=r"\.json or \.npz"):
        load_camera(tmp_path / "camera.yaml")
    with pytest.raises(ValueError, match=r"\.json or \.npz"):
        save_camera(CalibratedCamera(3, 3, (1, 1)), tmp_path / "camera")


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"focal": (0.0, 260.0)}, "fx=0"),
        ({"focal": (260.0, -1.0)}, "fy=-1"),
        ({"focal": 260.0}, "focal"),
        ({"focal": (260.0, np.inf)}, "focal"),
        ({"width": 0}, "width"),
        ({"height": 2.5}, "height"),
        ({"width": 1 << 20}, "width"),
        ({"lens": "telescope"}, "lens"),
        ({"distortion": (0.1, 0.2, 0.3)}, "3 coefficients"),
        ({"distortion": np.ones(14)}, "14 coefficients"),
        ({"distortion": (0.1, 0.2, 0.0, 0.0, 0.1), "lens": "fisheye"}, "5 coefficients"),
        ({"distortion": (-9.0, 0.0, 0.0, 0.0)}, "cannot be undone at pixel"),
        ({"distortion": (-9.0, 0.0, 0.0, 0.0), "lens": "fisheye"}, "cannot be undone at pixel"),
        ({"rotation": -np.eye(3)}, "rotation"),
        ({"rotation": np.eye(2)}, "rotation"),
        ({"position": (0.0, 0.0)}, "position"),
        ({"centre": "middle"}, "centre"),
    ],
)
def test_a_camera_that_cannot_be_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        CalibratedCamera(**{"width": 320, "height": 240, "focal": (260.0, 255.0)} | arguments)


def test_a_fisheye_that_shows_no_ray_at_its_rim_is_refused():
    """Equidistant: 90 degrees are at 1.571 focal lengths; the corner is at 2."""
    with pytest.raises(ValueError, match="cannot be undone at pixel"):
        CalibratedCamera(320, 240, (100.0, 100.0), lens="fisheye")


def test_points_that_are_not_in_front_are_refused(camera):
    points = points_before(camera).reshape(10, 20, 3)
    for depth in (0.0, -0.01, np.nan):
        points[3, 7] = np.array([0.0, 0.0, depth]) @ camera.rotation + camera.position
        with pytest.raises(ValueError, match=r"points at \(3, 7\)"):
            camera.project(points)
    with pytest.raises(ValueError, match="points has shape"):
        camera.project(np.ones((4, 2)))
    with pytest.raises(ValueError, match="pixels_bar has shape"):
        camera.project_adjoint(points_before(camera), np.ones((3, 2)))
    with pytest.raises(ValueError, match="pixels"):
        camera.rays([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="image has shape"):
        camera.undistort(np.zeros((320, 240)))
    with pytest.raises(ValueError, match="size"):
        CalibratedCamera.behind_gel((0.0, 0.02))
