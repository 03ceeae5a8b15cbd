"""Back-propagation through time: it learns, resumes, and its controllers are kept in files."""

import gymnasium as gym
import numpy as np
import point_mass
import pytest
from closed_loop import regret

import pliant.envs  # noqa: F401  registers the ids

torch = pytest.importorskip("torch")

from pliant.policies.evaluation import evaluate  # noqa: E402  the others need torch
from pliant.policies.files.training_state import pack, unpack  # noqa: E402
from pliant.policies.networks.controllers import Mlp, SinSin  # noqa: E402
from pliant.policies.networks.policy_files import load_policy, save_policy  # noqa: E402
from pliant.policies.through_physics import bptt, learning  # noqa: E402


@pytest.fixture(scope="module")
def finger():
    env = gym.make_vec(
        "pliant/FingerReach-v0", num_envs=2, vectorization_mode="vector_entry_point", differentiable=True
    )
    yield env
    env.close()


def test_five_iterations_raise_the_return(finger):
    settings = bptt.Settings(iterations=6, episodes=2, horizon=25, schedule="constant", learning_rate=0.01)
    result = bptt.train(finger, settings)
    returns = [row["return"] for row in result.history]
    assert returns[-1] > returns[0] + 0.5
    assert result.simulated_steps == result.reverse_steps == 6 * 2 * 25
    values, scores = evaluate(finger, result.policy.act, [0, 1, 2], horizon=25)
    assert values[:2].mean() > returns[0] + 0.5 and scores.shape == (3,)


def test_a_network_of_sines_with_the_clock_learns(finger):
    settings = bptt.Settings(
        iterations=6, episodes=2, horizon=25, schedule="constant", controller="sin_sin", hidden=32, layers=1, cycles=2
    )
    result = bptt.train(finger, settings)
    assert result.history[-1]["return"] > result.history[0]["return"] + 0.5
    assert isinstance(result.policy, SinSin) and result.policy.settings["cycles"] == 2
    assert result.policy.settings["clock"] == [24, 25]  # the last two entries of FingerReach's observation


def test_a_network_of_sines_needs_a_clock(finger, monkeypatch):
    monkeypatch.setattr(learning, "observed_entries", lambda task: {"tip": [0, 1]})
    with pytest.raises(ValueError, match=r"sin_sin.*allowed here: 'mlp'"):
        bptt.train(finger, bptt.Settings(controller="sin_sin"))


def test_it_comes_within_two_percent_of_a_known_optimum():
    env = point_mass.make(16, differentiable=True)
    result = bptt.train(env, bptt.Settings(iterations=60))
    env.close()
    assert regret(result.policy) < 0.02


def test_a_budget_of_time_ends_the_run(finger):
    result = bptt.train(finger, bptt.Settings(iterations=1000, horizon=4, minutes=1e-3, hidden=8))
    assert len(result.history) < 1000 and result.seconds >= 0.06
    steps = [row["step_size"] for row in result.history]
    assert steps == sorted(steps, reverse=True)


def test_a_resumed_run_equals_one_that_was_not_interrupted(finger):
    settings = bptt.Settings(iterations=3, horizon=6, window=4, hidden=8)
    kept = []
    whole = bptt.train(finger, settings, on_iteration=lambda snapshot, policy, row: kept.append(pack(snapshot())))
    rest = bptt.train(finger, settings, state=unpack(kept[0]))
    for name in whole.state.keys() - {"seconds", "history"}:
        np.testing.assert_array_equal(rest.state[name], whole.state[name])
    assert [row["return"] for row in rest.history] == [row["return"] for row in whole.history]
    assert whole.state["updates"] == 6  # two windows in each episode
    with pytest.raises(ValueError, match="weights"):
        bptt.train(finger, bptt.Settings(hidden=9), state=whole.state)


def test_settings_out_of_range_are_named():
    for name, value in (
        ("learning_rate", 0.0),
        ("discount", 1.5),
        ("window", -1),
        ("schedule", "step"),
        ("controller", "lstm"),
    ):
        with pytest.raises(ValueError, match=name):
            bptt.check_settings(bptt.Settings(**{name: value}))


def test_a_controller_survives_its_file(tmp_path):
    controller = Mlp(5, 4, hidden=[7], activation="tanh", seed=1, columns=[0, 2, 4], commands=[1, 3])
    with torch.no_grad():
        controller.layers[-2].bias.add_(0.3)
    save_policy(tmp_path / "policy", controller)
    loaded = load_policy(tmp_path / "policy.npz")
    observation = np.random.default_rng(0).normal(size=(3, 5))
    action = controller.act(observation)
    np.testing.assert_array_equal(loaded.act(observation), action)
    assert action.shape == (3, 4) and not action[:, [0, 2]].any() and (action[:, [1, 3]] > 0.2).all()
    blind = observation + [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(loaded.act(blind), action)


def test_broken_files_of_controllers_are_refused(tmp_path):
    save_policy(tmp_path / "policy", Mlp(3, 2, hidden=[4]))
    text = (tmp_path / "policy.json").read_text()
    for wrong in ("", "[]", text.replace('"version": 1', '"version": 9'), text.replace('"elu"', '"relu6"')):
        (tmp_path / "policy.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"policy\.json"):
            load_policy(tmp_path / "policy")
    (tmp_path / "policy.json").write_text(text.replace('"action_size": 2', '"action_size": 3'))
    with pytest.raises(ValueError, match="shape"):
        load_policy(tmp_path / "policy")
    (tmp_path / "policy.npz").unlink()
    with pytest.raises(ValueError, match="does not exist"):
        load_policy(tmp_path / "policy")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_closed_loop_policy_reaches_new_targets(seed):
    env = gym.make_vec(
        "pliant/FingerReach-v0", num_envs=8, vectorization_mode="vector_entry_point", differentiable=True
    )
    settings = bptt.Settings(iterations=14, window=10, seed=seed)
    result = bptt.train(env, settings)
    _, scores = evaluate(env, result.policy.act, range(1000, 1016))  # targets that it has not seen
    env.close()
    assert scores.mean() >= 0.7
