"""SAPO: it finds a known optimum, steers the entropy, and resumes exactly."""

import point_mass
import pytest

torch = pytest.importorskip("torch")

from closed_loop import regret  # noqa: E402  needs torch

from pliant.policies.files.training_state import pack, unpack  # noqa: E402
from pliant.policies.through_physics import sapo  # noqa: E402


def test_it_comes_within_three_percent_of_the_optimum():
    settings = sapo.Settings(
        steps=16_000,
        window=10,
        discount=1.0,
        finite_horizon=True,
        policy_learning_rate=5e-3,
        critic_learning_rate=5e-3,
        critic_epochs=4,
        log_std=-2.0,
        target_entropy=1.5,
    )
    env = point_mass.make(16, differentiable=True)
    result = sapo.train(env, settings)
    env.close()
    assert regret(result.policy) < 0.03


def test_the_weight_of_the_entropy_follows_the_entropy():
    env = point_mass.make(2, differentiable=True)
    small = {"steps": 400, "window": 5, "hidden": 8, "layers": 1, "critic_epochs": 1, "entropy_learning_rate": 0.05}
    alphas = {}
    for log_std in (-4.0, 0.0):  # less and more than the target
        result = sapo.train(env, sapo.Settings(log_std=log_std, **small))
        alphas[log_std] = [row["alpha"] for row in result.history]
        assert alphas[log_std][0] == pytest.approx(0.1)
    env.close()
    assert alphas[-4.0][-1] > 0.2 and alphas[0.0][-1] < 0.1


def test_a_resumed_run_equals_one_that_was_not_interrupted():
    env = point_mass.make(2, differentiable=True)
    settings = sapo.Settings(steps=98, window=7, hidden=8, layers=1, critic_epochs=1)
    kept = []
    whole = sapo.train(env, settings, on_iteration=lambda snapshot, policy, row: kept.append(pack(snapshot())))
    rest = sapo.train(env, settings, state=unpack(kept[3]))
    env.close()
    assert [row["critic_loss"] for row in rest.history] == [row["critic_loss"] for row in whole.history]
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], value), name


def test_settings_out_of_range_are_named():
    for name, value in (("target_entropy", 0.0), ("td_lambda", 1.5), ("activation", "relu")):
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            sapo.check_settings(sapo.Settings(**{name: value}))
