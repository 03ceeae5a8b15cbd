"""Markers that motion capture loses: masked in the loss and the scores, bridged in clamps, and counted."""

import numpy as np
import pytest

from pliant.envs.rods.gaps import fill
from pliant.envs.rods.wires.parameter_files import RodParameters
from pliant.envs.rods.wires.recordings import Recording, mean_lengths
from pliant.policies.identification import protocol
from pliant.policies.identification.fitting import Problem, fit
from pliant.policies.identification.rest_shapes import RestProblem
from pliant.policies.identification.wires import Predictor, initial_parameters, predict
from pliant.sims.rod.rod import Rod

PARENTS = np.array([-1, 0, 1, 2, 3, 4, 5, 3, 7])
CLAMPED = np.array([0, 1, 5, 6])


def swaying(frames=40, seed=0):
    """Positions of a branched wire that sways smoothly, (T, 9, 3) [m]."""
    rng = np.random.default_rng(seed)
    shape = np.zeros((9, 3))
    shape[:7, 0] = 0.08 * np.arange(7)
    shape[2:5, 2] -= [0.02, 0.03, 0.02]
    shape[7], shape[8] = shape[3] + [0.02, 0.07, 0], shape[3] + [0.03, 0.14, -0.02]
    time = 0.01 * np.arange(frames)[:, None, None]
    return shape + 0.05 * np.sin(6 * time + rng.uniform(0, 6, 3)) + 0.004 * np.sin(9 * time + rng.uniform(0, 6, (9, 3)))


def recording(positions, name="a"):
    return Recording(name, "wire", positions, 0.01, CLAMPED, "ends", PARENTS)


def without(positions, *gaps):
    """The positions with gaps (vertex, first, end)."""
    lost = np.array(positions)
    for vertex, first, end in gaps:
        lost[first:end, vertex] = np.nan
    return lost


def test_nothing_changes_without_gaps():
    whole = recording(swaying())
    np.testing.assert_array_equal(whole.positions, swaying())
    assert whole.known.all() and whole.missing == 0 and whole.is_bridged and whole.dropped == (0, 0)


@pytest.mark.parametrize("vertex", [0, 3, 8])
def test_short_gaps_are_bridged(vertex):
    found = recording(without(swaying(), (vertex, 15, 25)))
    assert found.missing == 10 and found.is_bridged and not found.known[15:25, vertex].any()
    np.testing.assert_allclose(found.positions, swaying(), atol=1e-3)


def test_long_gaps_of_free_vertices_are_kept_and_masked():
    found = recording(without(swaying(), (3, 12, 35), (8, 30, 40)))
    assert found.missing == 33 and not found.is_bridged and np.isfinite(found.positions).all()


def test_one_lost_coordinate_loses_the_position():
    positions = swaying()
    positions[20, 4, 1] = np.nan
    assert recording(positions).missing == 1


def test_frames_are_left_out_until_all_vertices_are_seen():
    found = recording(without(swaying(), (4, 0, 3), (7, 0, 2), (8, 3, 5), (4, 30, 40)))
    assert found.dropped == (3, 0) and len(found.positions) == 37
    np.testing.assert_array_equal(found.positions[0, 4], swaying()[3, 4])
    ends = recording(without(swaying(), (0, 37, 40)))
    assert ends.dropped == (0, 3) and len(ends.positions) == 37 and ends.missing == 0


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ([(3, 0, 40)], "vertex 3 is not seen in any frame"),
        ([(0, 10, 21)], r"clamped vertex 0 is missing from frame 10 on for 11 frames \(0.11 s\).* up to 0.1 s"),
        ([(5, 0, 38)], "fewer than 3 frames are left"),
        ([(3, 0, 20), (4, 20, 40)], "no two frames in a row show all vertices.* vertex 3 is seen least often, in 20"),
        ([(0, 0, 20), (6, 20, 40)], "no two frames in a row"),
        ([(v, 0, 40) for v in range(9)], "vertex 0 is not seen"),
    ],
)
def test_recordings_with_too_little_left_are_refused(gaps, message):
    with pytest.raises(ValueError, match=f"recording a: {message}"):
        recording(without(swaying(), *gaps))


def test_gaps_longer_than_what_is_bridged_count_by_time_not_frames():
    positions = without(swaying(), (0, 10, 30))
    assert fill(positions, CLAMPED, 0.005).is_bridged
    with pytest.raises(ValueError, match="clamped vertex 0"):
        fill(positions, CLAMPED, 0.01)


def test_mean_lengths_take_frames_that_show_both_ends():
    positions = swaying()
    lost = without(positions, (3, 10, 40))
    positions[10:, 3] = np.nan
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(positions[:, 1:] - positions[:, PARENTS[1:]], axis=-1)
    np.testing.assert_allclose(mean_lengths([recording(lost)])[1:], np.nanmean(lengths, axis=0), rtol=1e-12)
    apart = without(swaying(), (3, 3, 40), (7, 0, 3))
    apart[:, 7] = np.where(np.arange(40)[:, None] == 39, swaying()[:, 7], np.nan)
    with pytest.raises(ValueError, match="no two frames"):
        recording(apart)


def fitted_problem(rng, frames=14):
    """Two recordings of different lengths with markers lost, and parameters with memory."""
    lost = [without(swaying(frames), (3, 4, 9), (8, 6, 14)), without(swaying(frames - 3, 1), (2, 5, 6), (7, 3, 8))]
    found = [recording(positions, str(k)) for k, positions in enumerate(lost)]
    start = initial_parameters(found)
    values = {**start.values, "length_memory": 0.3, "shape_memory": np.full(9, 0.2)}
    return Problem(found, RodParameters("wire", values)), found


def test_the_masked_loss_has_the_right_gradient():
    rng = np.random.default_rng(2)
    problem, _ = fitted_problem(rng)
    z = 0.1 * rng.normal(size=problem.size)
    _, gradient = problem.evaluate(z)
    for _ in range(2):
        d = rng.normal(size=problem.size)
        slopes = [(problem.evaluate(z + h * d)[0] - problem.evaluate(z - h * d)[0]) / (2 * h) for h in (1e-4, 1e-5)]
        assert min(abs(s - gradient @ d) for s in slopes) <= 1e-6 * abs(gradient @ d)


def test_what_stands_in_for_lost_markers_has_no_weight():
    """Neither in the loss nor in its gradient; nor have frames beyond the end of the shorter recording."""
    problem, found = fitted_problem(np.random.default_rng(2))
    before = problem.evaluate(np.full(problem.size, 0.05))
    recorded = problem.predictor.recorded
    assert (~problem.predictor.known).sum() == found[0].missing + found[1].missing + 3 * 9
    free = np.setdiff1d(np.arange(9), CLAMPED)
    at = np.zeros_like(problem.predictor.known)
    at[:, 2:, free] = ~problem.predictor.known[:, 2:, free]
    recorded[at] += 0.37
    after = problem.evaluate(np.full(problem.size, 0.05))
    assert after[0] == before[0]
    np.testing.assert_array_equal(after[1], before[1])


def test_scores_leave_lost_markers_out():
    whole, lost = recording(swaying()), recording(without(swaying(), (3, 10, 30), (8, 20, 22)))
    predicted = np.array(whole.positions)
    predicted[:, [2, 3, 4, 7, 8]] += [0.03, 0.0, 0.04]
    predicted[10:30, 3] += 9.0  # where nothing was measured
    scores = protocol.score([lost], [predicted])
    assert scores.rmse == pytest.approx(0.05, abs=1e-12)
    count = 38 * 9 - 22
    assert scores.l1 == pytest.approx((38 * 5 - 22) * 0.07 / 3 / count)
    padded = 0.05**2 * (38 * 6 - 22 - 20) / (3 * (38 * 2 * 7 - 22 - 20))  # vertex 3 counts twice
    assert scores.padded_rmse == pytest.approx(np.sqrt(padded))
    details = protocol.break_down([lost], [predicted])
    np.testing.assert_allclose(details.vertices[[2, 3, 4, 7, 8]], 0.05, atol=1e-12)
    np.testing.assert_allclose(details.times, 0.05, atol=1e-12)


def test_a_vertex_that_is_never_seen_again_has_no_error():
    lost = recording(without(swaying(), (8, 2, 40)))
    details = protocol.break_down([lost], [np.array(lost.positions)])
    assert np.isnan(details.vertices[8]) and np.isfinite(details.vertices[:8]).all()


def test_hidden_parameters_are_found_in_spite_of_lost_markers():
    frames = 40
    start = initial_parameters([recording(swaying(frames, k)) for k in range(2)])
    hidden = {**start.values, "bend_stiffness": 2.5 * np.asarray(start.values["bend_stiffness"]), "bend_damping": 0.03}
    moved = Predictor([recording(swaying(frames, k)) for k in range(2)], precision="f64").run(hidden, frames)
    rng = np.random.default_rng(0)
    lost = np.array(moved)
    for k in range(2):
        for vertex in (2, 3, 4, 7, 8):
            first = rng.integers(3, 25)
            lost[k, first : first + 15, vertex] = np.nan
        lost[k, 20:26, 1] = np.nan
    found = [recording(positions) for positions in lost]
    assert all(r.missing > 60 for r in found)
    losses = []
    result = fit(found, start, iterations=10, on_iteration=lambda i, value, p: losses.append(value), state={})
    assert losses[-1] < 0.1 * losses[0]
    assert np.median(result.parameters.values["bend_stiffness"]) == pytest.approx(0.05, rel=0.25)
    scores = protocol.score(found, predict(found, result.parameters))
    assert scores.rmse < 0.3 * protocol.score(found, predict(found, start)).rmse


def test_rest_shapes_leave_lost_markers_out():
    """What stands in for a lost vertex changes neither the loss nor its gradient."""
    tree = np.arange(-1, 5)
    shape = np.stack([0.05 * np.arange(6), np.zeros(6), 0.02 * (np.arange(6) - 2.5) ** 2 / 6], axis=1)
    known = np.ones((1, 6), bool)
    known[0, 3] = False
    rod = Rod(shape, parents=tree, mass=1e-3, bend_stiffness=1e-3, bend_damping=0.1, twist_damping=0.1)
    found = []
    for aside in (0.0, 0.004):
        problem = RestProblem(shape[None], rod, [[0, 1], [4, 5]], known)
        problem.shapes = shape[None] + aside * np.eye(6)[3][:, None]
        z = np.linspace(-0.3, 0.3, sum(problem.sizes))
        settle = problem.settle
        problem.settle = lambda point, settle=settle, of=problem: _from(settle, of, point, shape)
        found.append(problem.evaluate(z))
        problem.close()
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    with pytest.raises(ValueError, match=r"known has shape \(6,\), the shapes need \(1, 6\)"):
        RestProblem(shape[None], rod, [[0, 1], [4, 5]], known[0])


def _from(settle, problem, point, shape):
    """Rest as from ``shape``, whatever stands in for lost vertices."""
    given, problem.shapes = problem.shapes, shape[None]
    try:
        return settle(point)
    finally:
        problem.shapes = given
