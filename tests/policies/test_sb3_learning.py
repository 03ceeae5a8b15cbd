"""PPO, SAC, TD3, TQC and CrossQ on the batch: they learn, resume exactly, and their policies are kept in files."""

import numpy as np
import point_mass
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from closed_loop import regret  # noqa: E402  needs torch

from pliant.policies.files.training_state import pack, unpack  # noqa: E402
from pliant.policies.networks.policy_files import load_policy, save_policy  # noqa: E402
from pliant.policies.reinforcement import crossq, ppo, sac, td3, tqc  # noqa: E402

OFF_POLICY = {"steps": 200, "learning_starts": 40, "buffer_size": 100, "updates": 1, "batch_size": 8, "hidden": 8}
SHORT = {
    ppo: ppo.Settings(steps=240, batch_size=20, epochs=2, hidden=8, schedule="linear", normalize=True),
    sac: sac.Settings(**OFF_POLICY),
    td3: td3.Settings(**OFF_POLICY),
    tqc: tqc.Settings(**OFF_POLICY, normalize=True),
    crossq: crossq.Settings(**OFF_POLICY),
}


def make(count):
    return point_mass.make(count, autoreset_mode="SameStep")


# few updates, so that a test takes seconds: most of the way from idleness to the optimum
RACING = {"steps": 6400, "learning_starts": 640, "updates": 3, "batch_size": 128, "hidden": 64, "discount": 0.9}
TARGET = {"target_rate": 0.02}
CASES = [
    (
        ppo,
        64,
        ppo.Settings(steps=64_000, learning_rate=2e-3, log_std=-1.0, discount=0.95, batch_size=320, epochs=6),
        0.1,
    ),
    (sac, 16, sac.Settings(**RACING, **TARGET, learning_rate=3e-3, initial_alpha=0.01), 0.35),
    (td3, 16, td3.Settings(**RACING, **TARGET, learning_rate=2e-3, noise=0.2), 0.3),
    (tqc, 16, tqc.Settings(**RACING, **TARGET, learning_rate=3e-3, initial_alpha=0.01, normalize=True), 0.35),
    (crossq, 16, crossq.Settings(**RACING, learning_rate=3e-3, initial_alpha=0.01), 0.35),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "worlds", "settings", "bound"), CASES)
def test_it_goes_most_of_the_way_to_the_optimum(method, worlds, settings, bound):
    env = make(worlds)
    result = method.train(env, settings)
    env.close()
    assert regret(result.policy) < bound


@pytest.mark.parametrize("method", SHORT)
def test_a_resumed_run_equals_one_that_was_not_interrupted(method):
    kept = []
    env = make(2)
    whole = method.train(env, SHORT[method], on_iteration=lambda snapshot, policy, row: kept.append(pack(snapshot())))
    env.close()
    assert len(kept) == len(whole.history) >= 5
    torch.manual_seed(123)
    np.random.seed(123)
    env = make(2)
    rest = method.train(env, SHORT[method], state=unpack(kept[2]))
    assert len(rest.history) == len(whole.history) and rest.simulated_steps == whole.simulated_steps
    for row, other in zip(rest.history, whole.history, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=0, abs=0, nan_ok=True)
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], value), name
    with pytest.raises(ValueError, match="does not fit"):
        method.train(env, type(SHORT[method])(steps=240, hidden=9), state=unpack(kept[0]))
    env.close()


@pytest.mark.parametrize("method", SHORT)
def test_a_policy_survives_its_file(method, tmp_path):
    env = make(2)
    policy = method.train(env, SHORT[method]).policy
    env.close()
    save_policy(tmp_path / "policy", policy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "policy.npz"]
    observation = np.random.default_rng(0).normal(size=(5, 6))
    action = load_policy(tmp_path / "policy").act(observation)
    np.testing.assert_array_equal(action, policy.act(observation))
    assert action.shape == (5, 2) and np.abs(action).max() <= 1
    text = (tmp_path / "policy.json").read_text()
    (tmp_path / "policy.json").write_text(text.replace('"action_size": 2', '"action_size": 3'))
    with pytest.raises(ValueError, match="shape"):
        load_policy(tmp_path / "policy")


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        (ppo, "clip_range", 0.0),
        (sac, "updates", 0),
        (td3, "noise", -1.0),
        (tqc, "dropped_quantiles", 25),
        (crossq, "policy_delay", 0),
    ],
)
def test_settings_out_of_range_are_named(method, name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        method.check_settings(method.Settings(**{name: value}))
