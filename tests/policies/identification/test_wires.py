"""Identification of a wire from recordings: the gradient of the loss, and hidden parameters found again."""

import numpy as np
import pytest

from pliant.envs.rods.wires.parameter_files import RodParameters
from pliant.envs.rods.wires.recordings import Recording
from pliant.policies.identification.fitting import Problem, fit
from pliant.policies.identification.wires import Predictor, initial_parameters, predict

PARENTS = np.array([-1, 0, 1, 2, 3, 4, 5, 3, 7])
CLAMPED = np.array([0, 1, 5, 6])


def made_up(frames, values=None, seed=0):
    """Recordings of a branched wire: its clamped ends sway; the rest is what the simulator predicts with ``values``."""
    rng = np.random.default_rng(seed)
    shape = np.zeros((len(PARENTS), 3))
    shape[:7, 0] = np.arange(7) * 0.08
    shape[7], shape[8] = shape[3] + [0.02, 0.07, 0], shape[3] + [0.03, 0.14, -0.02]
    shape[2:5, 2] -= [0.02, 0.03, 0.02]
    found = []
    for k in range(2):
        positions = np.repeat(shape[None], frames, axis=0)
        t = np.arange(frames)[:, None] * 0.01
        phase, direction = rng.uniform(0, 6, 3), rng.normal(size=3)
        sway = 0.03 * direction * (np.sin(6 * t + phase) - np.sin(phase))
        positions[:, CLAMPED[:2]] += sway[:, None]
        positions[:, CLAMPED[2:]] -= 0.5 * sway[:, None]
        found.append(Recording(f"sway{k}", "wire", positions, 0.01, CLAMPED, "ends", PARENTS))
    if values is None:
        return found
    predictor = Predictor(found, precision="f64")
    moved = predictor.run(values, frames)
    return [Recording(r.name, r.object, moved[k], r.dt, CLAMPED, "ends", PARENTS) for k, r in enumerate(found)]


def test_the_loss_has_the_right_gradient_with_respect_to_every_value():
    recordings = made_up(12)
    start = initial_parameters(recordings)
    values = {**start.values, "length_memory": 0.3, "shape_memory": np.full(len(PARENTS), 0.2)}
    problem = Problem(recordings, RodParameters("wire", values))
    rng = np.random.default_rng(1)
    z = 0.1 * rng.normal(size=problem.size)
    _, gradient = problem.evaluate(z)
    for _ in range(3):
        d = rng.normal(size=problem.size)
        slopes = [
            (problem.evaluate(z + h * d)[0] - problem.evaluate(z - h * d)[0]) / (2 * h) for h in (1e-3, 1e-4, 1e-5)
        ]
        assert min(abs(s - gradient @ d) for s in slopes) <= 1e-6 * abs(gradient @ d)


def test_hidden_parameters_are_found_again():
    start = initial_parameters(made_up(60))
    hidden = {**start.values, "bend_stiffness": 2.5 * np.asarray(start.values["bend_stiffness"]), "bend_damping": 0.03}
    recordings = made_up(60, hidden)
    losses = []
    found, *_ = fit(recordings, start, iterations=15, on_iteration=lambda i, value, p: losses.append(value), state={})
    assert losses[-1] < 0.05 * losses[0]
    assert np.median(found.values["bend_stiffness"]) == pytest.approx(0.05, rel=0.2)


def test_a_fit_goes_on_from_its_state():
    recordings = made_up(20)
    seen, state = [], {}
    start = initial_parameters(recordings)
    fit(recordings, start, iterations=2, on_iteration=lambda i, value, p: seen.append((i, value)), state=state)
    fit(recordings, start, iterations=4, on_iteration=lambda i, value, p: seen.append((i, value)), state=state)
    assert [i for i, _ in seen] == [0, 1, 2, 3, 4]
    assert seen[-1][1] <= seen[2][1]


def test_predictions_keep_the_first_frames_and_the_clamps():
    recordings = made_up(10)
    start = initial_parameters(recordings)
    for recording, prediction in zip(recordings, predict(recordings, start), strict=True):
        np.testing.assert_array_equal(prediction[:2], recording.positions[:2])
        np.testing.assert_allclose(prediction[:, CLAMPED], recording.positions[:, CLAMPED], atol=1e-6)
        assert np.abs(prediction[-1] - recording.positions[-1]).max() < 0.1


def test_parameters_of_another_wire_are_refused():
    recordings = made_up(5)
    values = {**initial_parameters(recordings).values, "rest_length": np.full(4, 0.1)}
    with pytest.raises(ValueError, match="4 vertices, the recording has 9"):
        predict(recordings, RodParameters("wire", values))
