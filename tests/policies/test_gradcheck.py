"""The gradient check itself: it passes right gradients and fails wrong ones."""

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
