"""The tactile sensor: readings by name and the way back, with colours that stand for any."""

import numpy as np
import pytest
from gel_skins import TOP, dent, flat_pad, rumpled

from pliant.envs.features.check import check_adjoint
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.forces import total_wrench
from pliant.sims.sensor.markers import Markers, marker_grid
from pliant.sims.sensor.reading import READINGS, TactileSensor
from pliant.sims.sensor.surface import GelSurface

CAMERA = CalibratedCamera.behind_gel((0.018, 0.0135), width=64, height=48, top=TOP, fill=True)
PLACES = marker_grid(5, 6, 0.002)
GAIN = np.array([[30.0, 10.0, -50.0], [-20.0, 40.0, 15.0], [60.0, -5.0, 25.0]])


class Colors:
    """A picture that is a polynomial of normals and indentation."""

    def __init__(self, *, of_indentation=True):
        self.of_indentation = of_indentation

    def __call__(self, normals, indentation):
        image = 120.0 + normals @ GAIN.astype(normals.dtype) + 9.0 * normals**2
        if self.of_indentation:
            image = image * (1.0 + 300.0 * indentation[..., None])
        return image, (normals, indentation)

    def adjoint(self, kept, image_bar):
        normals, indentation = kept
        if not self.of_indentation:
            return image_bar @ GAIN.T + 18.0 * normals * image_bar, None
        image = 120.0 + normals @ GAIN + 9.0 * normals**2
        inner_bar = image_bar * (1.0 + 300.0 * indentation[..., None])
        return inner_bar @ GAIN.T + 18.0 * normals * inner_bar, 300.0 * (image * image_bar).sum(axis=-1)


def make_sensor(precision="f64", *, optics=None, **options):
    triangles, rest = flat_pad()
    optics = Colors() if optics is None else optics
    options = {"camera": CAMERA, "places": PLACES, "optics": optics, "point": (0.001, 0.0, 0.002)} | options
    return TactileSensor(triangles, rest, precision=precision, **options), rest


@pytest.fixture(scope="module")
def sensor():
    return make_sensor()[0]


@pytest.fixture
def nodes(sensor):
    return rumpled(sensor.surface.rest, 2)


@pytest.fixture
def forces(nodes):
    return np.random.default_rng(2).normal(size=nodes.shape)


def test_all_readings_are_those_of_their_parts(sensor, nodes, forces):
    reading = sensor.read(list(READINGS), nodes, forces)
    assert list(reading) == list(READINGS) == list(sensor.readings)
    for name, value in reading.items():
        assert value.shape == (2, *sensor.shape(name)) and value.dtype == np.float64
    surface = GelSurface(sensor.surface.triangles, sensor.surface.rest, CAMERA, precision="f64")
    view = surface.read(nodes)
    markers = Markers(sensor.surface.triangles, sensor.surface.rest, CAMERA, PLACES).read(nodes)
    assert (reading["depth"] == view.depth).all() and (reading["normals"] == view.normals).all()
    assert (reading["markers"] == markers.displacements).all() and (reading["marker_motions"] == markers.motions).all()
    assert (reading["force"] == total_wrench(forces, nodes, point=sensor.point)).all()
    assert np.abs(reading["indentation"] - (TOP + 0.025 - view.depth)).max() < 1e-15
    assert (reading["image"] == Colors()(view.normals, reading["indentation"])[0]).all()


def test_a_reading_holds_what_was_asked_for_in_that_order(sensor, nodes):
    assert list(sensor.read(["image", "markers"], nodes)) == ["image", "markers"]
    assert sensor.read(["markers"], nodes).view is None
    assert len(sensor.read([], nodes)) == 0


def test_the_indentation_at_rest_is_zero_and_positive_under_a_press(sensor):
    rest = sensor.surface.rest
    pressed = sensor.read(["indentation"], np.stack([rest, dent(rest, depth=0.001)]))["indentation"]
    assert not pressed[0].any()
    assert 0.0009 < pressed[1].max() <= 0.001 and pressed[1].min() > -1e-12


def test_where_the_skin_has_gone_there_is_no_indentation_and_no_derivative(sensor):
    moved = sensor.surface.rest + (0.006, 0.0, -0.0005)
    reading = sensor.read(["indentation"], moved[None])
    gone = reading.view.triangle == -1
    assert 0.2 < gone.mean() < 0.5
    assert not reading["indentation"][gone].any() and np.allclose(reading["indentation"][~gone], 0.0005)
    bars = sensor.adjoint(reading, {"indentation": np.ones(gone.shape)})
    assert np.isclose(bars["positions"][..., 2].sum(), -(~gone).sum())


def test_where_there_was_no_skin_at_rest_there_is_no_indentation_and_no_derivative():
    camera = CalibratedCamera.behind_gel((0.03, 0.0225), width=64, height=48, top=TOP)
    sensor, rest = make_sensor(camera=camera)
    reading = sensor.read(["indentation"], (rest + (0.004, 0.0, -0.0005))[None])
    new = (reading.view.triangle != -1) & (sensor.surface.at_rest.triangle == -1)
    both = (reading.view.triangle != -1) & ~new
    assert new.sum() > 50 and not reading["indentation"][~both].any()
    bars = sensor.adjoint(reading, {"indentation": np.ones(new.shape)})
    assert np.isclose(bars["positions"][..., 2].sum(), -both.sum())


@pytest.mark.parametrize("of_indentation", [True, False])
@pytest.mark.parametrize("name", READINGS)
def test_each_reading_has_the_derivative_that_its_adjoint_says(nodes, forces, name, of_indentation):
    sensor, _ = make_sensor(optics=Colors(of_indentation=of_indentation), marker_depth=0.0003)
    weight = 1.0
    if sensor.shape(name)[:2] == (CAMERA.height, CAMERA.width):
        base = sensor.surface.read(nodes).triangle
        steady = np.ones_like(base, bool)
        for seed in range(20):
            shift = np.random.default_rng(seed).uniform(-4e-6, 4e-6, nodes.shape)
            steady &= sensor.surface.read(nodes + shift).triangle == base
        assert steady.mean() > 0.8
        weight = steady.reshape(steady.shape + (1,) * (len(sensor.shape(name)) - 2)).astype(float)

    def forward(given):
        return {name: sensor.read([name], given["positions"], given["forces"])[name] * weight}

    def adjoint(given, bars):
        reading = sensor.read([name], given["positions"], given["forces"])
        pulled = sensor.adjoint(reading, {name: bars[name] * weight})
        assert ("forces" in pulled) == (name == "force")
        return {"forces": np.zeros_like(forces)} | pulled

    inputs = {"positions": nodes, "forces": forces}
    check_adjoint(forward, adjoint, inputs, directions={"positions": np.full(nodes.shape, 1e-4)})


def test_cotangents_of_several_readings_add_up(sensor, nodes, forces):
    reading = sensor.read(list(READINGS), nodes, forces)
    random = np.random.default_rng(4)
    bars = {name: random.normal(size=value.shape) for name, value in reading.items()}
    together = sensor.adjoint(reading, bars)
    each = [sensor.adjoint(reading, {name: bar}) for name, bar in bars.items()]
    for which in ("positions", "forces"):
        total = sum(part[which] for part in each)
        assert np.abs(together[which] - total).max() < 1e-12 * np.abs(total).max()
    assert not sensor.adjoint(reading, {})["positions"].any()


def test_float32_is_read_and_pulled_back_in_float32(nodes, forces):
    sensor, _ = make_sensor("f32")
    reading = sensor.read(list(READINGS), nodes, forces)
    pulled = sensor.adjoint(reading, {name: np.ones_like(value) for name, value in reading.items()})
    assert all(value.dtype == np.float32 for value in [*reading.values(), *pulled.values()])


def test_what_a_sensor_lacks_it_cannot_read(nodes):
    triangles, rest = flat_pad()
    plain = TactileSensor(triangles, rest, camera=CAMERA)
    assert plain.readings == ("force", "depth", "indentation", "normals")
    with pytest.raises(ValueError, match=r"'image' cannot be read \(there is no optics\)"):
        plain.read(["image"], nodes)
    with pytest.raises(ValueError, match=r"'markers' cannot be read \(there are no places"):
        plain.shape("markers")


def test_what_cannot_be_is_refused_by_name(sensor, nodes, forces):
    with pytest.raises(ValueError, match="'colour' cannot be read; allowed: force, "):
        sensor.read(["colour"], nodes)
    with pytest.raises(ValueError, match="must be a list of names"):
        sensor.read("force", nodes)
    with pytest.raises(ValueError, match=r"forces=None.*\(B, N, 3\)"):
        sensor.read(["force"], nodes)
    with pytest.raises(ValueError, match="forces has shape"):
        sensor.read(["force"], nodes, forces[:1])
    with pytest.raises(ValueError, match="positions has shape"):
        sensor.read(["force"], nodes[0], forces)
    reading = sensor.read(["depth"], nodes)
    with pytest.raises(ValueError, match="'image' is not in the reading; it has depth"):
        sensor.adjoint(reading, {"image": np.ones((2, 48, 64, 3))})
    with pytest.raises(ValueError, match=r"cotangents\['depth'\] has shape"):
        sensor.adjoint(reading, {"depth": np.ones((48, 64))})
    with pytest.raises(ValueError, match="must be arrays by name"):
        sensor.adjoint(reading, [np.ones((2, 48, 64))])
    with pytest.raises(ValueError, match="point has shape"):
        make_sensor(point=(0.0, 0.0))
