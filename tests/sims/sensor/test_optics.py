"""The tactile image: values, adjoint, batches, precisions, sizes, and what is refused."""

import numpy as np
import pytest

from pliant.sims.sensor.optics import Optics
from pliant.sims.sensor.optics_ensemble import PixelEnsemble, lookup
from pliant.sims.sensor.optics_features import positions, tilts
from pliant.sims.sensor.optics_files import SHIPPED, Calibration, load_calibration, save_calibration
from pliant.sims.sensor.optics_lighting import LightingTable
from pliant.sims.sensor.optics_network import PixelNetwork

WIDTH, HEIGHT, BATCH = 24, 18, 3
LIGHTINGS = ("network", "affine", "table")


def lighting_of(kind, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "table":
        return LightingTable(rng.normal(0.0, 8.0, (12, 12, 3, 6)))
    if kind == "affine":
        return PixelEnsemble((PixelNetwork.random(terms=3, hidden=16, place_hidden=0, rng=rng, dtype=np.float32),))
    sees = {"sees_background": True, "is_relative": True, "dtype": np.float32}
    members = [PixelNetwork.random(terms=k, hidden=16, place_hidden=8, rng=rng, **sees) for k in (5, 3)]
    return PixelEnsemble(tuple(members))


def calibration_of(kind, seed=0):
    frame = np.random.default_rng(seed + 1).integers(60, 180, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return Calibration(lighting_of(kind, seed), (WIDTH, HEIGHT), 1e-4, frame, {"source": "made up"})


def optics_of(kind, **options):
    return Optics(calibration_of(kind), **{"precision": "f64", **options})


def surfaces(seed=0, batch=BATCH, steepest=0.8):
    """Unit normals and depths [m] of dented surfaces; some pixels at rest, some in full depth, some in between."""
    rng = np.random.default_rng(seed)
    lean = rng.uniform(-steepest, steepest, (batch, HEIGHT, WIDTH, 2)) / np.sqrt(2.0)
    normals = np.concatenate([lean, np.sqrt(1.0 - (lean**2).sum(-1, keepdims=True))], axis=-1)
    return normals, rng.uniform(-5e-5, 1.5e-4, (batch, HEIGHT, WIDTH))


@pytest.mark.parametrize("kind", LIGHTINGS)
def test_the_image_is_background_and_change(kind):
    """The lighting itself says what the change is; a network's table of splines is 0.05 grey levels away at most."""
    optics = optics_of(kind)
    normals, _ = surfaces()
    image, _ = optics(normals)
    place = np.broadcast_to(positions(WIDTH, HEIGHT), (BATCH, HEIGHT, WIDTH, 2)).reshape(-1, 2)
    colours = np.broadcast_to(optics.background, image.shape).reshape(-1, 3)
    change = optics.calibration.lighting.change(tilts(normals).reshape(-1, 2), place, colours)
    assert np.abs(change).max() > 3.0
    expected = np.clip(colours + change, 0.0, 255.0).reshape(image.shape)
    np.testing.assert_allclose(image, expected, rtol=0.0, atol=1e-10 if kind == "table" else 0.05)


def test_fewer_terms_keep_what_matters_most():
    """Terms that say the same cost nothing; each further one that is left out, more."""
    lighting = lighting_of("network")
    twice = PixelEnsemble(lighting.members * 2)
    rng = np.random.default_rng(4)
    place, colours = rng.uniform(-1.0, 1.0, (300, 2)), rng.uniform(60.0, 180.0, (300, 3))

    def picture(terms):
        table, factors = lookup(twice, place, colours, terms=terms)
        assert table.shape[-1] == factors.shape[-1] == terms
        return np.einsum("ijck,pck->ijpc", table, factors)

    whole = picture(16)
    lost = {terms: np.abs(picture(terms) - whole).max() for terms in (8, 4, 2, 1)}
    assert lost[8] < 1e-6 * np.abs(whole).max()
    assert 10.0 * lost[8] < lost[4] < lost[2] < lost[1]


def test_pixels_at_rest_show_the_background():
    optics = optics_of("network")
    normals, depth = surfaces()
    image, _ = optics(normals, np.minimum(depth, 0.0))
    np.testing.assert_array_equal(image, np.broadcast_to(optics.background, image.shape))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:9, 5:11] = True
    masked, _ = optics(normals, mask=mask)
    full, _ = optics(normals)
    np.testing.assert_array_equal(masked, np.where(mask[..., None], full, optics.background))
    _, kept = optics(normals, mask=mask)
    normals_bar, shares_bar = optics.adjoint(kept, np.ones(normals.shape))
    assert shares_bar is None and normals_bar[:, mask].all(axis=0).any() and not normals_bar[:, ~mask].any()


@pytest.mark.parametrize("kind", LIGHTINGS)
def test_the_adjoint_agrees_with_central_differences(kind):
    optics = optics_of(kind)
    normals, depth = surfaces()
    rng = np.random.default_rng(7)
    bar = rng.normal(size=(BATCH, HEIGHT, WIDTH, 3))
    toward, deeper = rng.normal(size=normals.shape), 1e-4 * rng.normal(size=depth.shape)
    _, kept = optics(normals, depth)
    normals_bar, depth_bar = optics.adjoint(kept, bar)
    for direction, given in (
        ((toward, 0.0), (normals_bar * toward).sum()),
        ((0.0, deeper), (depth_bar * deeper).sum()),
    ):
        h = 1e-6
        ends = [optics(normals + s * h * direction[0], depth + s * h * direction[1])[0] for s in (1.0, -1.0)]
        difference = (bar * (ends[0] - ends[1])).sum() / (2.0 * h)
        assert abs(given) > 1.0
        assert abs(given - difference) <= 1e-6 * abs(difference)


def test_the_adjoint_of_shares_agrees_with_central_differences():
    optics = optics_of("network")
    normals, _ = surfaces()
    rng = np.random.default_rng(8)
    shares, bar = rng.uniform(0.1, 0.9, normals.shape[:3]), rng.normal(size=normals.shape)
    _, kept = optics(normals, mask=shares)
    _, shares_bar = optics.adjoint(kept, bar)
    more = rng.normal(size=shares.shape)
    ends = [optics(normals, mask=shares + s * 1e-6 * more)[0] for s in (1.0, -1.0)]
    difference = (bar * (ends[0] - ends[1])).sum() / 2e-6
    assert abs((shares_bar * more).sum() - difference) <= 1e-6 * abs(difference)


def test_the_first_derivative_is_continuous_across_the_cells_of_the_table():
    """Along a great circle of normals the slope of the image jumps nowhere by more than its curvature explains."""
    optics = optics_of("network")
    slopes = []
    angles = np.linspace(-1.2, 1.2, 4001)
    for chunk in np.array_split(angles, 10):
        normals = np.zeros((len(chunk), HEIGHT, WIDTH, 3))
        normals[..., 0], normals[..., 2] = np.sin(chunk)[:, None, None], np.cos(chunk)[:, None, None]
        _, kept = optics(normals)
        bar = np.zeros(normals.shape)
        bar[:, 3, 5, 1] = 1.0
        normals_bar, _ = optics.adjoint(kept, bar)
        turn = np.stack([np.cos(chunk), np.zeros(len(chunk)), -np.sin(chunk)], axis=-1)
        slopes.append((normals_bar[:, 3, 5] * turn).sum(-1))
    slope = np.concatenate(slopes)
    assert np.abs(np.diff(slope)).max() < 0.02 * np.abs(slope).max()


def test_clipped_colours_have_no_gradient():
    bright = optics_of("affine", background=np.full((HEIGHT, WIDTH, 3), 255.0))
    normals, _ = surfaces()
    image, kept = bright(normals)
    clipped = image == 255.0
    assert 0.1 < clipped.mean() < 0.9
    bar = np.where(clipped, 1.0, 0.0)
    normals_bar, shares_bar = bright.adjoint(kept, bar)
    assert not normals_bar.any() and shares_bar is None
    _, kept = bright(normals, mask=np.ones((HEIGHT, WIDTH)))
    assert not bright.adjoint(kept, bar)[1].any()


def test_surfaces_seen_edge_on_are_the_steepest():
    optics = optics_of("table")
    normals = np.zeros((2, HEIGHT, WIDTH, 3))
    normals[0, ..., 0] = 1.0
    normals[1, ..., 0], normals[1, ..., 2] = np.sin(1.9), np.cos(1.9)
    image, kept = optics(normals)
    np.testing.assert_allclose(image[0], image[1], atol=1e-9)
    normals_bar, _ = optics.adjoint(kept, np.ones(normals.shape))
    assert not normals_bar[1, ..., 0].any() and np.isfinite(normals_bar).all()


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_batch_is_its_pictures_one_by_one(precision):
    optics = optics_of("network", precision=precision)
    normals, depth = surfaces()
    bar = np.random.default_rng(2).normal(size=normals.shape)
    image, kept = optics(normals, depth)
    normals_bar, depth_bar = optics.adjoint(kept, bar)
    assert image.dtype == normals_bar.dtype == depth_bar.dtype == (np.float32 if precision == "f32" else np.float64)
    for i in range(BATCH):
        one, kept = optics(normals[i : i + 1], depth[i : i + 1])
        np.testing.assert_array_equal(one[0], image[i])
        ones_bar, one_depth_bar = optics.adjoint(kept, bar[i : i + 1])
        np.testing.assert_array_equal(ones_bar[0], normals_bar[i])
        np.testing.assert_array_equal(one_depth_bar[0], depth_bar[i])


@pytest.mark.parametrize("kind", LIGHTINGS)
def test_single_precision_agrees_with_double(kind):
    normals, depth = surfaces()
    bar = np.random.default_rng(2).normal(size=normals.shape)
    found = {}
    for precision in ("f32", "f64"):
        optics = optics_of(kind, precision=precision)
        image, kept = optics(normals, depth)
        found[precision] = (image, *optics.adjoint(kept, bar))
    for single, double in zip(found["f32"], found["f64"], strict=True):
        assert np.abs(single - double).max() <= 2e-4 * np.abs(double).max()


def test_a_kept_image_may_be_changed_by_its_owner():
    optics = optics_of("network")
    normals, depth = surfaces()
    bar = np.ones(normals.shape)
    image, kept = optics(normals, depth)
    before, _ = optics.adjoint(kept, bar)
    image[:] = -1.0
    optics(np.roll(normals, 1, axis=1), depth)
    after, _ = optics.adjoint(kept, bar)
    np.testing.assert_array_equal(before, after)


def test_a_smaller_image_shows_the_same_gel():
    """Half as many pixels each way: the mean of four large ones, where normals are the same and the light is even."""
    calibration = calibration_of("affine")
    flat = np.full((HEIGHT, WIDTH, 3), 100.0)
    large = Optics(calibration, background=flat, precision="f64")
    small = Optics(calibration, size=(WIDTH // 2, HEIGHT // 2), background=flat, precision="f64")
    normals = np.zeros((1, HEIGHT, WIDTH, 3)) + np.array([0.3, -0.4, np.sqrt(0.75)])
    fine, _ = large(normals)
    coarse, _ = small(normals[:, : HEIGHT // 2, : WIDTH // 2])
    blocks = fine.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean(axis=(1, 3))
    assert fine.std(axis=(0, 1, 2)).min() > 0.1
    np.testing.assert_allclose(coarse[0], blocks, atol=1e-9)


@pytest.mark.parametrize("kind", LIGHTINGS)
def test_a_calibration_is_read_back_as_it_was_written(kind, tmp_path):
    calibration = calibration_of(kind)
    save_calibration(tmp_path / "mine.npz", calibration)
    found = load_calibration(tmp_path / "mine.npz")
    assert (found.size, found.pixel_pitch) == (calibration.size, calibration.pixel_pitch)
    assert found.provenance == calibration.provenance
    np.testing.assert_array_equal(found.background, calibration.background)
    normals, _ = surfaces()
    before, _ = Optics(calibration, precision="f64")(normals)
    after, _ = Optics.load(tmp_path / "mine.npz", precision="f64")(normals)
    np.testing.assert_allclose(after, before, atol=1e-4 if kind == "table" else 1e-12)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_calibrations_say_where_they_come_from(name):
    calibration = load_calibration(name)
    for entry in ("source", "licence", "frames", "command", "date", "error"):
        assert calibration.provenance[entry], entry
    optics = Optics.load(name)
    rest = np.zeros((1, optics.height, optics.width, 3))
    rest[..., 2] = 1.0
    image, _ = optics(rest, np.zeros(rest.shape[:3]))
    np.testing.assert_array_equal(image[0], optics.background.astype(np.float32))


def normals_with(value):
    normals, _ = surfaces()
    normals[1, 2, 3, 0] = value
    return normals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o(surfaces()[0][0]), "normals has shape"),
        (lambda o: o(surfaces()[0][:, :-1]), "normals has shape"),
        (lambda o: o(surfaces()[0][:0]), "normals has shape"),
        (lambda o: o("normals"), "normals"),
        (lambda o: o(normals_with(np.nan)), r"normals at \(1, 2, 3, 0\)"),
        (lambda o: o(normals_with(np.inf)), r"normals at \(1, 2, 3, 0\)"),
        (lambda o: o(-np.ones((1, HEIGHT, WIDTH, 3))), "points back at the camera"),
        (lambda o: o(surfaces()[0], np.full((BATCH, HEIGHT, WIDTH), np.nan)), "depth at"),
        (lambda o: o(surfaces()[0], np.ones((HEIGHT, WIDTH))), "depth has shape"),
        (lambda o: o(*surfaces(), mask=np.ones((HEIGHT, WIDTH))), "both given"),
        (lambda o: o(surfaces()[0], mask=np.ones((2, HEIGHT, WIDTH))), "mask has shape"),
        (lambda o: o(surfaces()[0], mask=np.full((HEIGHT, WIDTH), 1.5)), "mask goes from"),
        (lambda o: o.adjoint(o(surfaces()[0])[1], np.ones((BATCH, HEIGHT, WIDTH))), "image_bar has shape"),
        (lambda o: o.adjoint(o(surfaces()[0])[1], np.full((BATCH, HEIGHT, WIDTH, 3), np.nan)), "image_bar at"),
    ],
)
def test_calls_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(optics_of("network"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3}, "size=3"),
        ({"size": (0, 5)}, "width"),
        ({"size": (5, 5.5)}, "height"),
        ({"background": np.zeros((4, 4))}, "background has shape"),
        ({"background": np.full((4, 4, 3), 300.0)}, "background goes from"),
        ({"full_depth": 0.0}, "full_depth"),
        ({"terms": 0}, "terms=0"),
        ({"precision": "f16"}, "precision"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        optics_of("network", **options)


def test_files_that_are_no_calibration_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one of digit, gelsight"):
        load_calibration("gelsigt")
    with pytest.raises(FileNotFoundError):
        load_calibration(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    np.savez(tmp_path / "objects.npz", version=np.array([{}], object))
    good = tmp_path / "good.npz"
    save_calibration(good, calibration_of("network"))
    arrays = dict(np.load(good))
    bad = {
        "missing weight": {k: v for k, v in arrays.items() if k != "network1.normal.bias1"},
        "missing member": arrays | {"members": np.array(3)},
        "no members": arrays | {"members": np.array(0)},
        "wrong terms": arrays | {"network0.terms": np.array(6)},
        "nan": arrays | {"network0.normal.bias0": np.full(16, np.nan)},
        "wrong size": arrays | {"size": np.array([WIDTH, HEIGHT + 1])},
        "huge": arrays | {"size": np.array([10**9, HEIGHT])},
        "version": arrays | {"version": np.array(99)},
        "no picture": arrays | {"background": np.zeros(7, np.uint8)},
        "provenance": arrays | {"provenance": np.array("[1]")},
    }
    for name, entries in bad.items():
        np.savez(tmp_path / f"{name}.npz", **entries)
    for file in sorted(tmp_path.glob("*.npz")):
        if file != good:
            with pytest.raises(ValueError, match=file.stem):
                load_calibration(file)
