"""When a fit ends, what it says then, and that a resumed one goes on; a small function stands in for the simulation."""

from types import SimpleNamespace

import numpy as np
import pytest

from pliant.envs.rods.wires.parameter_files import RodParameters
from pliant.policies.identification import fitting

LOSS = 2e-3  # as small as real ones: bounds on progress that are meant for losses near 1 would end the fit at once


class Valley:
    """A loss of the size of real ones: a curved valley (Rosenbrock's) with a floor; gradients far below 1e-5."""

    floor, calls = 0.5, 0

    def __init__(self, recordings, start):
        self.size, self.predictor = 2, SimpleNamespace(recorded=np.zeros((1, 3, 1, 3)), run=lambda *_: None)

    def values(self, z):
        return {"drag": np.array(z[0])}

    def evaluate(self, z):
        Valley.calls += 1
        x, y = z + [-1.2, 1.0]
        scale = LOSS / 500
        value = self.floor + (1 - x) ** 2 + 100 * (y - x * x) ** 2
        slope = np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])
        return scale * value, scale * slope


@pytest.fixture
def valley(monkeypatch):
    monkeypatch.setattr(fitting, "Problem", Valley)
    return Valley


def run(iterations, state):
    seen = []
    found = fitting.fit(
        [],
        RodParameters("wire", {"drag": 0.0}),
        iterations=iterations,
        on_iteration=lambda i, value, p: seen.append((i, value)),
        state=state,
    )
    return found, seen


def test_all_iterations_are_made_where_there_is_progress(valley):
    found, seen = run(15, {})
    assert [i for i, _ in seen] == list(range(16)) and found.is_done
    assert found.reason == "all 15 iterations are made"
    losses = [value for _, value in seen]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.5 * losses[0]


def test_a_fit_that_ends_early_says_why_and_goes_on_when_resumed(valley, monkeypatch):
    monkeypatch.setattr(fitting, "PATIENCE", 4)
    state = {}
    found, seen = run(200, state)
    last = seen[-1][0]
    assert last < 200 and not found.is_done
    assert found.reason == "the last 4 iterations lowered the loss by less than 0.1%"
    assert seen[-1][1] == pytest.approx(LOSS / 500 * Valley.floor, rel=1e-2)
    state["z"] = state["z"] + 0.05  # there is something to gain again
    found, more = run(last + 3, state)
    assert [i for i, _ in more] == [last + 1, last + 2, last + 3] and found.is_done
    assert more[-1][1] < more[0][1]


def test_a_resumed_fit_with_nothing_left_to_do_says_so(valley):
    state = {}
    run(5, state)
    found, seen = run(5, state)
    assert seen == [] and found.is_done and found.reason == "all 5 iterations are made"


def test_no_lower_loss_ends_a_fit(valley, monkeypatch):
    """A gradient that is wrong: every way leads up."""
    monkeypatch.setattr(Valley, "evaluate", lambda self, z: (LOSS * (1 + np.abs(z).sum()), np.array([1e-3, 0.0])))
    found, seen = run(10, {})
    assert len(seen) <= 2 and seen[-1][1] == LOSS and not found.is_done
    assert found.reason == "no lower loss is found along the gradient"


def test_exact_predictions_end_a_fit(valley, monkeypatch):
    monkeypatch.setattr(Valley, "evaluate", lambda self, z: (0.0, np.zeros(2)))
    assert run(10, {})[0].reason == "the predictions are exact"


def test_a_start_that_diverges_is_an_error(valley, monkeypatch):
    def diverges(*_):
        raise fitting.SimulationDiverged(0, 0, "position", 0, "torn")

    monkeypatch.setattr(Valley, "evaluate", lambda self, z: (fitting.DIVERGED, np.zeros(2)))
    original = Valley.__init__

    def made(self, *arguments):
        original(self, *arguments)
        self.predictor.run = diverges

    monkeypatch.setattr(Valley, "__init__", made)
    with pytest.raises(fitting.SimulationDiverged, match="torn"):
        run(10, {})
