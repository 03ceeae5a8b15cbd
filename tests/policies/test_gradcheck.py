"""The gradient check itself: it passes right gradients and fails wrong ones."""

import numpy as np
import pytest

from pliant.policies.gradcheck import check_gradients


def test_right_gradients_pass(fake_env):
    rows = check_gradients(fake_env.ID)
    assert [row.quantity for row in rows] == ["actions", "initial_state.position", "parameters.gain"]
    assert all(row.passed and row.error < 1e-7 for row in rows)


def test_a_gradient_one_percent_off_fails(fake_env):
    rows = {row.quantity: row for row in check_gradients(fake_env.ID, wrong=True)}
    assert not rows["parameters.gain"].passed and rows["parameters.gain"].error == pytest.approx(0.01, rel=0.02)
    assert rows["actions"].passed


@pytest.mark.parametrize("wrong", [False, True])
def test_noise_of_a_solver_neither_fails_a_right_gradient_nor_hides_a_wrong_one(fake_env, monkeypatch, wrong):
    exact, rng = fake_env.FakePointMasses.evaluate, np.random.default_rng(0)

    def noisy(self, actions, **options):
        values = exact(self, actions, **options)
        return values + 1e-11 * rng.standard_normal(values.shape)

    monkeypatch.setattr(fake_env.FakePointMasses, "evaluate", noisy)
    rows = {row.quantity: row for row in check_gradients(fake_env.ID, wrong=wrong)}
    assert rows["actions"].passed and rows["initial_state.position"].passed
    assert rows["parameters.gain"].passed != wrong


def test_single_precision_is_compared_by_angle(fake_env):
    rows = check_gradients(fake_env.ID, precision="f32", quantities=["actions"])
    assert [row.quantity for row in rows] == ["actions"]
    assert rows[0].passed and rows[0].error < 1e-6


def test_bad_arguments_are_refused(fake_env):
    with pytest.raises(ValueError, match="precision='f16'"):
        check_gradients(fake_env.ID, precision="f16")
    with pytest.raises(ValueError, match="steps=21 exceeds the episode"):
        check_gradients(fake_env.ID, steps=21)
    with pytest.raises(ValueError, match=r"parameters\.mass.*allowed: actions"):
        check_gradients(fake_env.ID, quantities=["parameters.mass"])
