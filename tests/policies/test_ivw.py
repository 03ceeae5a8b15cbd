"""IVW-H: each step has the best weight, the mixture has the right mean and less variance, and it finds an optimum."""

import math

import point_mass
import pytest

torch = pytest.importorskip("torch")

from closed_loop import regret  # noqa: E402  needs torch

from pliant.policies.networks.controllers import Mlp  # noqa: E402
from pliant.policies.through_physics import ivw  # noqa: E402
from pliant.policies.through_physics.noisy_episodes import NoisyEpisodes, play_noisy_episodes  # noqa: E402
from pliant.policies.torch_bridge import TorchEnv  # noqa: E402


class Constant(torch.nn.Module):
    """A policy whose actions are its weights, shape (A,): its gradient is the sum of the cotangents."""

    def __init__(self, size):
        super().__init__()
        self.actions = torch.nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def forward(self, observation):
        return self.actions.expand(*observation.shape[:-1], -1)


def made_up(first_scale, zeroth_scale, batch, seed=0):
    """Episodes whose cotangents are 1 plus independent noise of the scales given, of each step, in two actions."""
    generator = torch.Generator().manual_seed(seed)
    scales = [torch.tensor(scale, dtype=torch.float64)[:, None, None] for scale in (first_scale, zeroth_scale)]
    shape = len(first_scale), batch, 2
    first, zeroth = (1.0 + s * torch.randn(shape, generator=generator, dtype=torch.float64) for s in scales)
    return NoisyEpisodes(torch.zeros(*shape[:2], 1, dtype=torch.float64), first, zeroth, torch.zeros(batch), None)


def test_it_comes_near_the_optimum():
    env = point_mass.make(16, differentiable=True)
    result = ivw.train(env, ivw.Settings(steps=9600, samples=4, learning_rate=2e-2))
    env.close()
    assert regret(result.policy) < 0.05
    assert all(0 < row["alpha"] < 1 for row in result.history)


def test_weights_are_the_inverse_variances_of_the_steps():
    first = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0], [4.0, 4.0, math.inf]])
    zeroth = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    found = ivw.step_weights(first, zeroth)
    torch.testing.assert_close(found, torch.tensor([[3 / 8, 5 / 8, 4 / 8], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(ivw.step_weights(first[:, :1], zeroth[:, :1]), torch.tensor([[0.75], [1.0], [0.2]]))


def test_variances_are_of_the_episodes_that_share_a_seed():
    cotangents = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [10.0, 5.0], [10.0, 9.0]]])
    torch.testing.assert_close(ivw.step_variances(cotangents, 2), torch.tensor([[2.0, 8.0]], dtype=torch.float64))


def test_the_mixture_has_less_variance_than_either_order_and_the_best_that_there_is():
    """Step by step the better order changes; the variance is that of estimates from 16 episodes, over 300 of them."""
    first_scale, zeroth_scale, policy = [4.0, 1.0, 0.2], [0.5, 1.0, 3.0], Constant(2)
    estimates = [
        ivw.estimate_gradient(made_up(first_scale, zeroth_scale, 16, seed), policy, ivw.Settings(samples=4))
        for seed in range(300)
    ]
    values = {name: torch.stack([getattr(e, name) for e in estimates]) for name in ("first", "zeroth", "mixed")}
    variance = {name: float(v.var(0).sum()) for name, v in values.items()}
    assert variance["mixed"] < 0.2 * min(variance["first"], variance["zeroth"])
    best = sum(1 / (1 / a**2 + 1 / b**2) for a, b in zip(first_scale, zeroth_scale, strict=True)) * 2 / 16
    assert variance["mixed"] == pytest.approx(best, rel=0.25)
    torch.testing.assert_close(values["mixed"].mean(0), torch.full((2,), 3.0, dtype=torch.float64), atol=0.06, rtol=0)


def test_weights_of_other_episodes_leave_no_bias():
    """A zeroth order whose rare large values come with a large variance: weights of its own samples would hide them."""
    generator = torch.Generator().manual_seed(0)
    shape = steps, batch, _ = 20_000, 4, 1
    rare = 10.0 * (torch.rand(shape, generator=generator, dtype=torch.float64) < 0.1)
    first = 1.0 + torch.randn(shape, generator=generator, dtype=torch.float64)
    episodes = NoisyEpisodes(torch.zeros(shape, dtype=torch.float64), first, rare, torch.zeros(batch), None)
    mean = {
        samples: float(ivw.estimate_gradient(episodes, Constant(1), ivw.Settings(samples=samples)).mixed) / steps
        for samples in (2, 4)
    }
    assert mean[2] == pytest.approx(1.0, abs=0.03)
    assert mean[4] < 0.9  # one seed alone: its own samples


def test_a_first_order_that_overflows_has_no_weight_in_its_step():
    episodes, whole = made_up([1.0, 1.0], [1.0, 1.0], 8), made_up([1.0, 1.0], [1.0, 1.0], 8)
    episodes.first[0, 3, 0] = math.inf
    estimate = ivw.estimate_gradient(episodes, Constant(2), ivw.Settings(samples=4))
    assert estimate.first_variance == math.inf
    weights = ivw.step_weights(ivw.step_variances(whole.first, 4), ivw.step_variances(whole.zeroth, 4))
    spread = weights[1].repeat_interleave(4)[:, None]
    wanted = whole.zeroth[0].mean(0) + (spread * whole.first[1] + (1 - spread) * whole.zeroth[1]).mean(0)
    torch.testing.assert_close(estimate.mixed, wanted)
    episodes.zeroth[0, 0, 0] = math.nan
    with pytest.raises(FloatingPointError, match="zeroth-order"):
        ivw.estimate_gradient(episodes, Constant(2), ivw.Settings(samples=4))


def test_the_mixture_estimates_the_gradient_of_the_return():
    """400 episodes of 2 starts: the projections of the mixture and of the first order agree within their errors."""
    env = point_mass.make(400, differentiable=True)
    bridge = TorchEnv(env, dtype=torch.float64)
    policy = Mlp(6, 2, hidden=[4], activation="tanh", seed=1).double()
    settings = ivw.Settings(samples=200, sigma=0.2)
    seeds = [3] * 200 + [4] * 200
    episodes = play_noisy_episodes(bridge, policy, seeds, 8, settings, torch.Generator().manual_seed(0))
    estimate = ivw.estimate_gradient(episodes, policy, settings)
    env.close()
    assert float((estimate.mixed - estimate.first).norm()) < 0.02 * float(estimate.first.norm())
    assert 0.5 < estimate.alpha < 1.0 and estimate.first_variance < estimate.zeroth_variance


def test_settings_out_of_range_are_named():
    env = point_mass.make(3, differentiable=True)
    for name, value in (("samples", 1), ("sigma", 0.0), ("schedule", "step"), ("samples", 2)):
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            ivw.train(env, ivw.Settings(**{name: value}))
    env.close()
