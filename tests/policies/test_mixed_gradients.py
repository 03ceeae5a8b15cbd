"""Mixed gradients: both estimates have the right mean, the mixture the right weight, and it finds a known optimum."""

import math

import numpy as np
import point_mass
import pytest

torch = pytest.importorskip("torch")

from closed_loop import regret  # noqa: E402  needs torch

from pliant.policies.files.training_state import pack, unpack  # noqa: E402
from pliant.policies.mixture import zeroth_error  # noqa: E402
from pliant.policies.networks.controllers import Mlp  # noqa: E402
from pliant.policies.through_physics import ivw  # noqa: E402
from pliant.policies.through_physics import mixed_gradients as mixed  # noqa: E402
from pliant.policies.through_physics.noisy_episodes import play_noisy_episodes  # noqa: E402
from pliant.policies.torch_bridge import TorchEnv  # noqa: E402


@pytest.mark.parametrize(("alpha", "steps", "bound"), [(-1.0, 9600, 0.05), (1.0, 9600, 0.05), (0.0, 25_600, 0.05)])
def test_it_comes_near_the_optimum(alpha, steps, bound):
    env = point_mass.make(32 if alpha == 0 else 16, differentiable=True)
    samples = 16 if alpha == 0 else 4
    result = mixed.train(env, mixed.Settings(steps=steps, alpha=alpha, samples=samples, learning_rate=2e-2))
    env.close()
    assert regret(result.policy) < bound
    assert all(0 <= row["alpha"] <= 1 for row in result.history)


def test_both_orders_estimate_the_same_gradient():
    """400 episodes with one start; the projections of both means agree within their errors."""
    env = point_mass.make(400, differentiable=True)
    bridge = TorchEnv(env, dtype=torch.float64)
    policy = Mlp(6, 2, hidden=[4], activation="tanh", seed=1).double()
    settings = mixed.Settings(samples=400, sigma=0.2)
    generator = torch.Generator().manual_seed(0)
    episodes = play_noisy_episodes(bridge, policy, [3] * 400, 8, settings, generator)
    estimate = mixed.estimate_gradient(episodes, policy, settings)
    env.close()
    assert episodes.returns.std() > 0.01
    direction = estimate.first / estimate.first.norm()
    error = math.sqrt(estimate.zeroth_variance / 400)
    assert float(estimate.zeroth @ direction) == pytest.approx(float(estimate.first.norm()), abs=3 * error)
    assert error < 0.3 * float(estimate.first.norm())
    assert estimate.first_variance < estimate.zeroth_variance


def test_the_first_order_is_the_gradient_of_the_mean_return():
    env = point_mass.make(4, differentiable=True)
    bridge = TorchEnv(env, dtype=torch.float64)
    policy = Mlp(6, 2, hidden=[4], seed=1).double()
    settings = mixed.Settings(samples=2, sigma=0.1, discount=0.9)
    seeds = [0, 0, 1, 1]
    episodes = play_noisy_episodes(bridge, policy, seeds, 6, settings, torch.Generator().manual_seed(5))
    estimate = mixed.estimate_gradient(episodes, policy, settings)
    generator = torch.Generator().manual_seed(5)
    observation, value = bridge.reset(seeds), 0.0
    for t in range(6):
        noise = 0.1 * torch.randn((4, 2), generator=generator, dtype=torch.float64)
        observation, reward, _ = bridge.step(policy(observation) + noise)
        value = value + 0.9**t * reward.mean()
    value.backward()
    expected = torch.cat([p.grad.flatten() for p in policy.parameters()])
    np.testing.assert_allclose(estimate.first, expected, rtol=1e-9, atol=1e-12)
    env.close()


def test_the_mixture_weighs_by_variance_and_bounds_the_bias():
    generator = torch.Generator().manual_seed(0)
    first = 1.0 + 0.1 * torch.randn(500, 2, generator=generator)
    zeroth = 0.0 + 0.3 * torch.randn(500, 2, generator=generator)
    free = mixed.mix(first, zeroth, mixed.Settings())
    assert free.alpha == pytest.approx(0.9, abs=0.02)
    torch.testing.assert_close(free.mixed, free.alpha * free.first + (1 - free.alpha) * free.zeroth)
    bounded = mixed.mix(first, zeroth, mixed.Settings(tolerance=0.5))
    gap, error = float((free.first - free.zeroth).norm()), zeroth_error(zeroth, 0.05)
    assert bounded.alpha == pytest.approx((0.5 - error) / gap) and 0 < bounded.alpha < 0.9
    assert float((bounded.mixed - zeroth.mean(0)).norm()) <= 0.5 - error + 1e-6
    assert mixed.mix(first, zeroth, mixed.Settings(tolerance=1e-3)).alpha == 0.0  # the bound cannot be known to hold
    assert mixed.mix(first, zeroth, mixed.Settings(alpha=0.25)).alpha == 0.25
    first[0, 0] = math.inf
    assert mixed.mix(first, zeroth, mixed.Settings()).alpha == 0.0


def test_the_error_bound_holds():
    broken = 0
    for seed in range(200):
        samples = torch.rand(50, 3, generator=torch.Generator().manual_seed(seed))
        broken += float((samples.mean(0) - 0.5).norm()) > zeroth_error(samples, 0.05)
    assert broken <= 10
    assert zeroth_error(samples, 0.05) < 0.6  # and says something


@pytest.mark.parametrize("method", [mixed, ivw])
def test_a_resumed_run_equals_one_that_was_not_interrupted(method):
    env = point_mass.make(4, differentiable=True)
    settings = method.Settings(steps=400, samples=2, hidden=8, layers=1)
    kept = []
    whole = method.train(env, settings, on_iteration=lambda snapshot, policy, row: kept.append(pack(snapshot())))
    rest = method.train(env, settings, state=unpack(kept[1]))
    env.close()
    assert [{**row, "seconds": 0} for row in rest.history] == [{**row, "seconds": 0} for row in whole.history]
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], value), name


def test_settings_out_of_range_are_named():
    env = point_mass.make(3, differentiable=True)
    for name, value in (("alpha", 1.5), ("samples", 1), ("sigma", 0.0), ("samples", 2)):
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            mixed.train(env, mixed.Settings(**{name: value}))
    env.close()
