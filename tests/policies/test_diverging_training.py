"""Trainings through the physics survive episodes that diverge: the last update is taken back, steps get shorter."""

import numpy as np
import point_mass
import pytest

torch = pytest.importorskip("torch")

from pliant.policies.files.training_state import pack, unpack  # noqa: E402
from pliant.policies.through_physics import ahac, bptt, ivw, mixed_gradients, sapo, shac  # noqa: E402  need torch
from pliant.policies.through_physics.setbacks import MOST, Setbacks  # noqa: E402
from pliant.sims.checks import SimulationDiverged  # noqa: E402

SMALL = {"hidden": 8, "layers": 1}
CASES = {
    "bptt": (bptt, bptt.Settings(iterations=12, window=5, **SMALL)),
    "shac": (shac, shac.Settings(steps=12 * 2 * 7, window=7, critic_epochs=1, **SMALL)),
    "sapo": (sapo, sapo.Settings(steps=12 * 2 * 7, window=7, critic_epochs=1, **SMALL)),
    "ahac": (ahac, ahac.Settings(steps=12 * 2 * 7, window=7, window_rate=0.0, critic_epochs=1, **SMALL)),
    "mixed": (mixed_gradients, mixed_gradients.Settings(steps=12 * 2 * 20, samples=2, **SMALL)),
    "ivw": (ivw, ivw.Settings(steps=12 * 2 * 20, samples=2, **SMALL)),
}


@pytest.fixture(scope="module")
def few():
    env = point_mass.make(2, differentiable=True)
    yield env
    env.close()


@pytest.fixture
def failing(few, monkeypatch):
    """Makes the environment's ``step`` or ``backward_step`` fail at the calls with the numbers given."""

    def fail(name, numbers):
        real, count = getattr(few, name), 0

        def step(*arguments, **options):
            nonlocal count
            count += 1
            if count in numbers:
                raise SimulationDiverged(count, 0, "position", 1, "the test says so")
            return real(*arguments, **options)

        monkeypatch.setattr(few, name, step)

    return fail


def train(case, env, **options):
    method, settings = CASES[case]
    return method.train(env, settings, **options)


def weights_of(result):
    return result.policy.state_dict()


@pytest.mark.parametrize("name", ["step", "backward_step"])
@pytest.mark.parametrize("case", CASES)
def test_an_episode_that_diverges_costs_an_update(few, failing, case, name):
    first = 45 if case in ("mixed", "ivw") else 24
    failing(name, (first, first + 40))
    result = train(case, few)
    assert len(result.history) == 12
    failed = [k for k, row in enumerate(result.history) if np.isnan(row["gradient_norm"])]
    assert len(failed) == 2
    steps = [row["step_size"] for row in result.history]
    assert steps[failed[0] + 1] < 0.7 * steps[failed[0]]
    assert all(torch.isfinite(value).all() for value in weights_of(result).values())
    assert [set(row) for row in result.history] == [set(result.history[0])] * 12


@pytest.mark.parametrize("case", CASES)
def test_a_training_that_resumes_after_a_failure_equals_one_that_was_not_interrupted(few, failing, monkeypatch, case):
    kept = []

    def on_iteration(snapshot, policy, row):
        kept.append(pack(snapshot()))

    failing("step", (45,))
    whole = train(case, few, on_iteration=on_iteration)
    monkeypatch.undo()
    at = next(k for k, row in enumerate(whole.history) if np.isnan(row["gradient_norm"]))
    rest = train(case, few, state=unpack(kept[at]))
    for name, value in weights_of(whole).items():
        assert torch.equal(weights_of(rest)[name], value), name


@pytest.mark.parametrize("case", CASES)
def test_a_training_whose_every_episode_diverges_ends_with_the_reason(few, failing, case):
    failing("step", range(10_000))
    with pytest.raises(SimulationDiverged, match="the test says so"):
        train(case, few)


def test_setbacks_go_back_one_update_and_recover():
    weight = torch.nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([weight], lr=0.1)
    setbacks = Setbacks([weight], adam)
    weight.grad = torch.ones(3)
    setbacks.update()
    assert not torch.equal(weight, torch.ones(3))
    failure = SimulationDiverged(1, 0, "position", 0, "too fast")
    setbacks.go_back(failure)
    assert torch.equal(weight, torch.ones(3)) and setbacks.factor == 0.5 and not adam.state
    setbacks.update()
    assert setbacks.factor == pytest.approx(0.6)
    for _ in range(MOST):
        setbacks.go_back(failure)
    with pytest.raises(SimulationDiverged):
        setbacks.go_back(failure)
