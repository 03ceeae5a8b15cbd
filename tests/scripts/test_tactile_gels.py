"""`pliant tactile material` and `view`, and the fit behind the first: gradients, recovery, errors."""

import json

import numpy as np
import pytest

from pliant.policies.identification.gel_material import (
    NAMES,
    Misfit,
    PressRecord,
    PressSimulator,
    fit_material,
    plan_presses,
)
from pliant.scripts.main import main
from pliant.sims.fem.gels import gel_mesh
from pliant.sims.sensor.markers import marker_disc

TRUE = {"youngs_modulus": 8e4, "poisson_ratio": 0.44, "friction": 0.45, "contact_stiffness": 3e8}
NODES = 150


@pytest.fixture(scope="module")
def mesh():
    return gel_mesh("dome", nodes=NODES)


@pytest.fixture(scope="module")
def record(mesh):
    plan = plan_presses(mesh, presses=2)
    markers = marker_disc(30, 0.007)
    simulator = PressSimulator(mesh, plan, markers)
    force, motions = simulator.run(TRUE)
    simulator.close()
    return PressRecord(markers=markers, force=force, motions=motions, **plan)


def test_the_gradient_of_the_misfit_is_that_of_differences(mesh, record):
    misfit = Misfit(record, mesh)
    z = np.array([0.5, 0.7, 0.55, 0.6])
    value, slope = misfit.with_gradient(z)
    assert value > 1e-3
    for k in range(len(NAMES)):
        step = np.zeros(len(NAMES))
        step[k] = 3e-3
        numeric = (misfit(z + step) - misfit(z - step)) / 6e-3
        assert slope[k] == pytest.approx(numeric, rel=0.05, abs=0.01 * np.abs(slope).max()), NAMES[k]
    misfit.simulator.close()


def test_values_are_found_within_five_percent(mesh, record):
    """From nine presses or fewer, each a simulation of what is then forgotten."""
    misfit = Misfit(record, mesh)
    fit = fit_material(misfit, np.random.default_rng(0).uniform(0.2, 0.8, len(NAMES)))
    for name in NAMES:
        assert fit.values[name] == pytest.approx(TRUE[name], rel=0.05), name
    assert fit.simulated == 2 * 2 * len(fit.history)
    misfit.simulator.close()


def test_the_command_writes_what_it_finds(record, tmp_path, capsys):
    record.save(tmp_path / "presses.npz")
    out = tmp_path / "gel.json"
    words = ["tactile", "material", str(tmp_path / "presses.npz"), "--nodes", str(NODES), "--out", str(out)]
    assert main([*words, "--evaluations", "3"]) == 0, capsys.readouterr().err
    found = json.loads(out.read_text())
    assert set(found["values"]) == set(NAMES) and found["presses"] == 2
    assert str(tmp_path) not in out.read_text()
    assert main([*words, "--gel", "pad", "--evaluations", "0"]) == 1
    assert "--evaluations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("force", lambda a: a[:, :3], r"force has shape \(2, 3, 3\), must be \(2, 12, 3\)"),
        ("motions", lambda a: a[..., :2], "motions has shape"),
        ("markers", lambda a: a[:, 0], "markers has shape"),
        ("ball_radius", lambda a: -a, "ball_radius"),
        ("velocity", lambda a: a * np.nan, "velocity"),
    ],
)
def test_records_that_cannot_be_are_refused(record, name, change, said):
    values = {key: getattr(record, key) for key in ("start", "velocity", "markers", "force", "motions")}
    values |= {"ball_radius": record.ball_radius, "step_time": record.step_time}
    with pytest.raises(ValueError, match=said):
        PressRecord(**(values | {name: change(values[name])}))


def test_a_file_without_presses_is_named(tmp_path, capsys):
    np.savez(tmp_path / "other.npz", force=np.zeros(3))
    assert main(["tactile", "material", str(tmp_path / "other.npz")]) == 1
    assert "no array 'ball_radius'" in capsys.readouterr().err


def test_the_view_shows_scene_markers_and_image(tmp_path, capsys):
    import imageio.v3 as imageio

    out = tmp_path / "view.png"
    assert main(["tactile", "view", "SurfaceFollow", "--steps", "2", "--out", str(out)]) == 0, capsys.readouterr().err
    picture = imageio.imread(out)
    assert picture.shape == (360, 360 + 480 + 480, 3)
    assert all(part.std() > 5 for part in (picture[:, :360], picture[:, 360:840], picture[:, 840:]))
    assert main(["tactile", "view", "FingerReach", "--out", str(out)]) == 1
    assert "no tactile sensor" in capsys.readouterr().err
