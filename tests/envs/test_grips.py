"""One marker a gripper: either end is treated alike, and the order of the markers changes nothing."""

from dataclasses import replace

import numpy as np
import pytest

from pliant.envs.rods.grips import held_neighbours
from pliant.envs.rods.wires.parameter_files import RodParameters, load_parameters, save_parameters
from pliant.envs.rods.wires.recordings import Recording
from pliant.policies.identification.wires import Predictor, check_start, initial_parameters, predict

CHAIN = np.arange(-1, 11)
TREE = np.array([-1, 0, 1, 2, 3, 4, 5, 3, 7])  # a branch of two on vertex 3


@pytest.mark.parametrize(
    ("parents", "clamped", "pairs"),
    [
        (CHAIN, [0, 11], [(0, 1), (11, 10)]),
        (CHAIN, [0, 1, 10, 11], []),
        (CHAIN, [0, 10, 11], [(0, 1)]),
        (CHAIN, [0, 1, 11], [(11, 10)]),
        (CHAIN, [2, 10, 11], [(2, 1)]),
        (CHAIN, [0, 1, 9], [(9, 10)]),
        (CHAIN, [0], [(0, 1)]),
        (CHAIN, [11], [(11, 10)]),
        (CHAIN, [5], [(5, 4), (5, 6)]),
        (CHAIN, [0, 5, 11], [(0, 1), (11, 10)]),
        (CHAIN, [0, 2, 11], [(11, 10)]),
        (TREE, [0, 6], [(0, 1), (6, 5)]),
        (TREE, [0, 8], [(0, 1), (8, 7)]),
        (TREE, [3, 5, 6], [(3, 2), (3, 7)]),
    ],
)
def test_what_single_markers_hold(parents, clamped, pairs):
    assert sorted(held_neighbours(parents, np.array(clamped), "direction")) == sorted(pairs)
    assert held_neighbours(parents, np.array(clamped), "pin") == []


def test_an_unknown_grip_is_refused():
    with pytest.raises(ValueError, match="grip='glue' is unknown; allowed: direction, pin"):
        held_neighbours(CHAIN, np.array([0]), "glue")


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_does_not_depend_on_the_order_of_vertices(seed):
    rng = np.random.default_rng(seed)
    clamped = rng.choice(12, rng.integers(1, 5), replace=False)
    mirrored = {(11 - v, 11 - w) for v, w in held_neighbours(CHAIN, clamped, "direction")}
    assert mirrored == set(held_neighbours(CHAIN, 11 - clamped, "direction"))


def swaying(clamped, frames=40):
    """Motion capture of twelve vertices that form a bow and are moved as a whole."""
    s = np.linspace(-1, 1, 12)
    shape = np.stack([0.35 * s, 0.02 * s**3, 0.2 * s**2], axis=1)
    time = 0.01 * np.arange(frames)[:, None, None]
    way = 0.06 * np.sin(7 * time + np.array([0.3, 1.1, 2.0]))
    return Recording("sway", "wire", shape + way, 0.01, np.array(clamped), "ends", CHAIN)


def reversed_order(recording):
    clamped = 11 - recording.clamped
    return Recording("yaws", "wire", recording.positions[:, ::-1], recording.dt, clamped, "ends", CHAIN)


@pytest.mark.parametrize("grip", ["direction", "pin"])
@pytest.mark.parametrize("clamped", [[0, 11], [0, 1, 11], [2, 10, 11], [0, 5, 11], [0]])
@pytest.mark.parametrize(("damping", "tolerance"), [(0.0, 1e-10), (0.06, 1e-3)])
def test_reversing_the_markers_changes_no_prediction(clamped, grip, damping, tolerance):
    """Damping acts on curvatures in the frame of one edge of a joint: with twist, reversal changes a little."""
    forward = swaying(clamped)
    back = reversed_order(forward)
    there, again = (
        predict([r], replace(start, values={**start.values, "bend_damping": damping}), precision="f64")[0]
        for r, start in ((r, initial_parameters([r], grip)) for r in (forward, back))
    )
    assert np.abs(there[-1] - forward.positions[1]).max() > 0.02
    np.testing.assert_allclose(again[:, ::-1], there, rtol=0, atol=tolerance)


def test_a_held_edge_keeps_its_direction_and_a_pinned_one_does_not():
    recording = swaying([0, 11])
    for grip, holds in (("direction", True), ("pin", False)):
        (predicted,) = predict([recording], initial_parameters([recording], grip), precision="f64")
        for end, neighbour in ((0, 1), (11, 10)):
            edge = predicted[1:, neighbour] - predicted[1:, end]
            assert (np.abs(edge - edge[0]).max() < 1e-9) == holds


def test_the_grip_is_kept_in_the_parameter_file(tmp_path):
    recording = swaying([0, 11])
    start = initial_parameters([recording], "pin")
    save_parameters(tmp_path / "a.json", start)
    read = load_parameters(tmp_path / "a.json")
    assert read.grip == "pin" and read.setup.clamped.tolist() == [0, 11]
    np.testing.assert_array_equal(read.setup.curvature, start.setup.curvature)
    np.testing.assert_array_equal(predict([recording], read)[0], predict([recording], start)[0])


def scaled(recording, factor):
    return Recording("scaled", "wire", factor * recording.positions, recording.dt, recording.clamped, "ends", CHAIN)


@pytest.mark.parametrize("factor", [0.02, 0.3, 4.0, 20.0])
def test_edges_of_any_length_are_simulated(factor):
    """A wire with edges from 1.5 mm to 1.5 m moves like one of 7 cm, if time, gravity and stiffness are scaled too."""
    one = swaying([0, 1, 10, 11])
    other = scaled(one, factor)
    values = initial_parameters([one]).values
    (wanted,) = predict([one], RodParameters("wire", {**values, "quadratic_drag": 0.0}), precision="f64")
    large = {
        **values,
        "quadratic_drag": 0.0,
        "rest_length": factor * values["rest_length"],
        "bend_stiffness": factor**4 * values["bend_stiffness"],
        "twist_stiffness": factor**4 * values["twist_stiffness"],
        "stretch_stiffness": factor**2 * values["stretch_stiffness"],
        "gravity": factor * values["gravity"],
    }
    (found,) = predict([other], RodParameters("wire", large), precision="f64")
    np.testing.assert_allclose(found / factor, wanted, atol=2e-6)


def test_a_recording_that_cannot_start_is_named():
    recording = swaying([0, 1, 10, 11])
    values = initial_parameters([recording]).values
    short = {**values, "rest_length": 0.4 * values["rest_length"]}
    with pytest.raises(ValueError, match=r"recording sway: vertices 0 and 1 are .* m apart in frame 1; .* 2-fold"):
        check_start([recording], RodParameters("wire", short))
    positions = np.array(recording.positions)
    apart = positions[1, 6] - positions[1, 5]
    positions[1, 7:] += positions[1, 5] - positions[1, 7] + 0.02 * apart + [0, 1e-3, 0]
    positions[1, 8:] += positions[1, 7] - positions[1, 8] - apart
    folded = Recording("bent", "wire", positions, 0.01, recording.clamped, "ends", CHAIN)
    with pytest.raises(ValueError, match="recording bent, frame 1: the rod is folded by"):
        check_start([folded], RodParameters("wire", values))
    with pytest.raises(ValueError, match="the parameters of 'wire' lack bend_stiffness"):
        check_start([recording], RodParameters("wire", {"rest_length": values["rest_length"]}))


def test_the_world_is_as_large_as_the_wire():
    sizes = [np.linalg.norm(Predictor([scaled(swaying([0, 1]), f)]).world.scene.position[-1]) for f in (0.1, 1.0, 8.0)]
    np.testing.assert_allclose(sizes, [11 * 0.1 * 2.0**-4, 11 * 0.1, 11 * 0.8], rtol=0.5)
