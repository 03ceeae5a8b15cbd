"""SHAC: it finds a known optimum, its gradient crosses the end of an episode rightly, and it resumes exactly."""

import numpy as np
import point_mass
import pytest

torch = pytest.importorskip("torch")

from closed_loop import regret  # noqa: E402  needs torch

from pliant.policies.files.training_state import pack, unpack  # noqa: E402
from pliant.policies.networks.gaussian import GaussianPolicy, RunningNorm, value_network  # noqa: E402
from pliant.policies.networks.policy_files import load_policy, save_policy  # noqa: E402
from pliant.policies.through_physics import shac  # noqa: E402
from pliant.policies.through_physics.learning import td_lambda_returns  # noqa: E402
from pliant.policies.torch_bridge import TorchEnv  # noqa: E402

SMALL = {"hidden": 8, "layers": 1, "critic_epochs": 1, "critic_batches": 2}


@pytest.fixture(scope="module")
def masses():
    env = point_mass.make(16, differentiable=True)
    yield env
    env.close()


@pytest.fixture(scope="module")
def few():
    env = point_mass.make(2, differentiable=True)
    yield env
    env.close()


def test_it_comes_within_two_percent_of_the_optimum(masses):
    settings = shac.Settings(
        steps=16_000,
        window=10,
        discount=1.0,
        finite_horizon=True,
        policy_learning_rate=5e-3,
        critic_learning_rate=5e-3,
        critic_epochs=4,
        log_std=-2.0,
    )
    result = shac.train(masses, settings)
    assert regret(result.policy) < 0.02
    assert result.simulated_steps == 16_000 and result.history[-1]["iteration"] == 100


@pytest.mark.parametrize("finite_horizon", [False, True])
def test_the_gradient_of_a_window_across_the_end_of_an_episode(few, finite_horizon):
    """Central differences of the window's objective, written out once more: two sums, each with its terminal value."""
    settings = shac.Settings(
        steps=1, horizon=5, window=7, discount=0.9, clip_norm=0.0, finite_horizon=finite_horizon, **SMALL
    )
    policy = shac.train(few, settings).policy
    gradient = torch.cat([p.grad.flatten() for p in policy.parameters()]).double()

    policy = GaussianPolicy(6, 2, hidden=[8], seed=0).double()
    critic = value_network(6, [8], "elu", 1).double()
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(2, 2, generator=generator).double() for _ in range(7)]
    bridge = TorchEnv(few, dtype=torch.float64)

    @torch.no_grad()
    def objective():
        total, at = 0.0, 0
        for episode, steps in enumerate((5, 2)):
            observation = bridge.reset([2 * episode, 2 * episode + 1])
            for t in range(steps):
                mean, log_std = policy.distribution(observation)
                action = torch.tanh(mean + log_std.exp() * noise[at])
                observation, reward, _ = bridge.step(action)
                total += 0.9**t * reward.sum()
                at += 1
            if not (finite_horizon and steps == 5):
                total += 0.9**steps * critic(observation).sum()
        return -total / (2 * 7)

    weights = list(policy.parameters())
    point = torch.nn.utils.parameters_to_vector(weights).clone()
    for seed in range(3):
        direction = torch.randn(len(point), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        values = []
        for step in (1e-5, -1e-5):
            torch.nn.utils.vector_to_parameters(point + step * direction, weights)
            values.append(float(objective()))
        assert float(gradient @ direction) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_resumed_run_equals_one_that_was_not_interrupted(few, normalize):
    settings = shac.Settings(steps=126, window=7, normalize=normalize, **SMALL)
    kept = []
    whole = shac.train(few, settings, on_iteration=lambda snapshot, policy, row: kept.append(pack(snapshot())))
    rest = shac.train(few, settings, state=unpack(kept[3]))  # in the middle of the second episode
    assert len(rest.history) == 9
    for row, other in zip(rest.history, whole.history, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=0, abs=0, nan_ok=True)
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], value), name
    with pytest.raises(ValueError, match="does not fit"):
        shac.train(few, shac.Settings(steps=126, hidden=9, layers=1), state=unpack(kept[0]))


def test_settings_out_of_range_are_named(few):
    for name, value in (("window", 0), ("discount", 1.5), ("schedule", "step"), ("window", 2.5), ("normalize", 1)):
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            shac.train(few, shac.Settings(**{name: value}))


def test_td_lambda_returns_are_mixtures_of_n_step_returns():
    """Each is the mean of the n-step returns with weights (1 - lambda) lambda^(n - 1), the longest takes the rest."""
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    ended = [False, False, True, False, True]  # an episode ends in the middle of the window
    gamma, mixing = 0.9, 0.7
    found = td_lambda_returns(list(rewards), list(values), ended, gamma, mixing)
    for t, end in enumerate((2, 2, 2, 4, 4)):
        expected, total = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for n in range(1, end - t + 2):
            total = total + gamma ** (n - 1) * rewards[t + n - 1]
            weight = mixing ** (n - 1) * (1.0 if t + n - 1 == end else 1 - mixing)
            expected = expected + weight * (total + gamma**n * values[t + n - 1])
        np.testing.assert_allclose(found[t], expected, rtol=1e-12)


def test_densities_are_those_of_a_squashed_gaussian():
    policy = GaussianPolicy(3, 2, state_dependent_std=True, seed=1)
    observation = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    action, log_density = policy.sample(observation, torch.Generator().manual_seed(3))
    mean, log_std = policy.distribution(observation)
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.TanhTransform()
    )
    np.testing.assert_allclose(log_density.detach(), squashed.log_prob(action).sum(-1).detach(), atol=1e-3)


def test_running_normalisation_is_that_of_all_data():
    data = torch.randn(100, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 0.5, 3.0]) + 1.0
    norm = RunningNorm(4)
    assert torch.equal(norm(data), data)
    for part in data.split([10, 70, 20]):
        norm.update(part)
    np.testing.assert_allclose(norm.mean, data.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm(data).std(0, unbiased=False), 1.0, rtol=1e-3)


def test_a_policy_survives_its_file(tmp_path):
    policy = GaussianPolicy(5, 2, hidden=[7], activation="silu", state_dependent_std=True, normalize=True, seed=1)
    observation = np.random.default_rng(0).normal(2.0, 3.0, (30, 5))
    policy.norm.update(torch.as_tensor(observation))
    save_policy(tmp_path / "policy", policy)
    np.testing.assert_array_equal(load_policy(tmp_path / "policy").act(observation), policy.act(observation))
    text = (tmp_path / "policy.json").read_text()
    for wrong in ("", "[]", text.replace('"version": 1', '"version": 9'), text.replace("silu", "relu6")):
        (tmp_path / "policy.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"policy\.json"):
            load_policy(tmp_path / "policy")
    (tmp_path / "policy.json").write_text(text.replace('"action_size": 2', '"action_size": 3'))
    with pytest.raises(ValueError, match="shape"):
        load_policy(tmp_path / "policy")
