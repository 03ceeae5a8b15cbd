"""Controllers with sines, phase and goal, and controllers that act without torch."""

import json
import re
import subprocess
import sys

import numpy as np
import point_mass
import pytest

torch = pytest.importorskip("torch")

from pliant.policies.files.checkpoints import load_arrays, save_arrays  # noqa: E402
from pliant.policies.networks.array_controllers import load_array_controller  # noqa: E402  the others need torch
from pliant.policies.networks.controllers import (  # noqa: E402
    Mlp,
    SinSin,
    observed_entries,
)
from pliant.policies.networks.policy_files import load_policy, save_policy  # noqa: E402

T = 20


def clock(steps):
    angle = np.pi * np.asarray(steps) / T
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def test_the_formula_is_a_sine_of_sines():
    controller = SinSin(6, 2, hidden=[5], seed=3, clock=[4, 5], goal=[2, 3], waves=3, cycles=2.0).double()
    observation = np.concatenate([np.random.default_rng(0).standard_normal((7, 4)), clock(range(7))], axis=1)
    phase = 2 * np.pi * (2.0 * np.arange(7)[:, None] / T + np.arange(3) / 3)
    signal = np.concatenate([observation[:, :2], np.sin(phase), observation[:, 2:4]], axis=1)
    (w1, b1), (w2, b2) = ((x.weight.detach().numpy(), x.bias.detach().numpy()) for x in controller.layers)
    expected = np.sin(np.sin(signal @ w1.T + b1) @ w2.T + b2)
    np.testing.assert_allclose(controller.act(observation), expected, atol=1e-12)


def test_actions_repeat_with_the_period_where_state_and_goal_stand_still():
    controller = SinSin(4, 3, hidden=[8], clock=[2, 3], goal=[1], cycles=5.0)
    with torch.no_grad():
        controller.layers[-1].weight.normal_()
    still = np.tile([0.3, -0.2], (T, 1))
    actions = controller.act(np.concatenate([still, clock(range(T))], axis=1))
    np.testing.assert_allclose(actions[:16], actions[4:], atol=1e-4)
    assert np.abs(actions[:14] - actions[2:16]).max() > 0.1
    other = controller.act(np.concatenate([still + [0.0, 0.5], clock(range(T))], axis=1))
    assert np.abs(other - actions).max() > 0.01


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "controller",
    [
        lambda: SinSin(6, 2, hidden=[5, 4], clock=[4, 5], goal=[0, 1], waves=3),
        lambda: SinSin(6, 2, state=[0, 3]),
        lambda: Mlp(6, 2, hidden=[7, 5], activation="elu"),
        lambda: Mlp(6, 3, hidden=[7], activation="silu", columns=[0, 2, 4], commands=[2, 0]),
        lambda: Mlp(6, 3, hidden=[7], activation="tanh"),
    ],
)
def test_files_give_the_same_actions_with_torch_and_without(tmp_path, controller, precision):
    made = controller().to(precision)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_()
    save_policy(tmp_path / "policy", made)
    observation = np.random.default_rng(1).uniform(-1, 1, (9, 6))
    expected = made.act(observation)
    again = load_policy(tmp_path / "policy")
    assert type(again) is type(made) and again.settings == made.settings
    np.testing.assert_array_equal(again.act(observation), expected)
    plain = load_array_controller(tmp_path / "policy")
    np.testing.assert_allclose(plain.act(observation), expected, atol=2e-5)
    np.testing.assert_allclose(plain.act(observation[0]), expected[0], atol=2e-5)


def test_acting_from_a_file_needs_no_torch(tmp_path):
    save_policy(tmp_path / "policy", SinSin(3, 2))
    program = (
        "import sys, numpy as np; from pliant.policies.networks.array_controllers import load_array_controller; "
        f"print(load_array_controller({str(tmp_path / 'policy')!r}).act(np.zeros(3)).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2,) False"


def test_back_propagation_through_the_simulation_trains_it():
    """Twenty iterations of back-propagation through time bring the particle most of the way to the best return."""
    from pliant.policies.evaluation import evaluate
    from pliant.policies.through_physics import bptt

    envs = point_mass.make(4, differentiable=True, autoreset_mode="Disabled")
    entries = observed_entries(envs.task)
    assert entries == {"centre": [0, 1], "mean_velocity": [2, 3], "phase": [4, 5]}
    controller = SinSin(6, 2, hidden=[16], clock=entries["phase"], goal=entries["centre"], cycles=0.5)
    before = evaluate(envs, controller.act, range(4))[0].mean()
    bptt.train(envs, bptt.Settings(iterations=25, learning_rate=0.02), policy=controller)
    after = evaluate(envs, controller.act, range(4))[0].mean()
    alone = point_mass.make()
    best = np.mean([point_mass.best_return(point_mass.start_of(alone, seed)) for seed in range(4)])
    assert after > before + 0.8 * (best - before)
    alone.close()
    envs.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock": [0]}, "two entries"),
        ({"clock": [0, 9]}, "clock"),
        ({"goal": [1, 1]}, "goal"),
        ({"waves": 0}, "waves=0"),
        ({"cycles": 0.0}, "cycles=0.0"),
        ({"hidden": []}, "sizes"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SinSin(4, 2, **options)


@pytest.mark.parametrize("kind", [Mlp, SinSin])
def test_bad_sizes_are_named(kind):
    for sizes in ({"observation_size": 0}, {"action_size": -1}, {"hidden": [4, 0]}):
        ((name, value),) = sizes.items()
        with pytest.raises(ValueError, match=re.escape(f"{name}={value}")):
            kind(**{"observation_size": 4, "action_size": 2, **sizes})


@pytest.mark.parametrize("wrong", [np.full((2, 5), np.nan), np.full((2, 5), "a"), np.zeros((2, 5), int), np.zeros(10)])
def test_weights_that_are_no_finite_numbers_of_the_right_shape_are_refused(tmp_path, wrong):
    save_policy(tmp_path / "policy", SinSin(3, 2, hidden=[5]))
    arrays = load_arrays(tmp_path / "policy.npz")
    save_arrays(tmp_path / "policy.npz", {**arrays, "layers.1.weight": wrong})
    with pytest.raises(ValueError, match=r"layers\.1\.weight must be finite numbers of shape \(2, 5\)"):
        load_policy(tmp_path / "policy")


def test_a_file_of_something_else_is_refused(tmp_path):
    save_policy(tmp_path / "policy", SinSin(3, 2))
    content = json.loads((tmp_path / "policy.json").read_text())
    for wrong in ({"kind": "tree"}, {"version": 2}, {"hidden": [64, 64]}):
        (tmp_path / "policy.json").write_text(json.dumps({**content, **wrong}))
        for load in (load_policy, load_array_controller):
            with pytest.raises(ValueError, match="policy"):
                load(tmp_path / "policy")
