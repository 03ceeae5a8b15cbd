"""AHAC: it finds a known optimum, its windows follow the stiffness of the physics, and it resumes exactly."""

import math

import numpy as np
import point_mass
import pytest

torch = pytest.importorskip("torch")

from closed_loop import regret  # noqa: E402  needs torch

from pliant.policies.files.training_state import pack, unpack  # noqa: E402
from pliant.policies.networks.gaussian import GaussianPolicy, value_network  # noqa: E402
from pliant.policies.through_physics import ahac  # noqa: E402
from pliant.policies.through_physics.critics import has_converged  # noqa: E402
from pliant.policies.through_physics.windows import Window  # noqa: E402
from pliant.policies.torch_bridge import TorchEnv  # noqa: E402

SMALL = {"hidden": 8, "layers": 1, "critic_epochs": 1}


@pytest.fixture(scope="module")
def few():
    env = point_mass.make(2, differentiable=True)
    yield env
    env.close()


def window_of(growth, ended=None):
    """A window of h steps in B worlds with the growth given, shape (h, B)."""
    steps = len(growth)
    return Window(growth=list(np.asarray(growth, float)), ended=ended or [False] * (steps - 1) + [True])


@pytest.mark.slow
def test_it_comes_within_three_percent_of_the_optimum():
    settings = ahac.Settings(
        steps=16_000,
        window=10,
        longest_window=20,
        discount=1.0,
        finite_horizon=True,
        policy_learning_rate=5e-3,
        critic_learning_rate=5e-3,
        critic_epochs=4,
        log_std=-2.0,
    )
    env = point_mass.make(16, differentiable=True)
    result = ahac.train(env, settings)
    env.close()
    assert regret(result.policy) < 0.03
    assert result.history[-1]["window"] == 20


def test_the_gradient_of_a_window_ends_with_the_smaller_value(few):
    """Central differences of the window's objective; each critic has the smaller value in one of the worlds."""
    policy = ahac.train(few, ahac.Settings(steps=1, window=4, discount=0.9, clip_norm=0.0, **SMALL)).policy
    gradient = torch.cat([p.grad.flatten() for p in policy.parameters()]).double()

    policy = GaussianPolicy(6, 2, hidden=[8], seed=0).double()
    critics = [value_network(6, [8], "elu", seed).double() for seed in (1, 2)]
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(2, 2, generator=generator).double() for _ in range(4)]
    bridge = TorchEnv(few, dtype=torch.float64)
    smaller = set()

    @torch.no_grad()
    def objective():
        observation, total = bridge.reset([0, 1]), 0.0
        for t in range(4):
            mean, log_std = policy.distribution(observation)
            observation, reward, _ = bridge.step(torch.tanh(mean + log_std.exp() * noise[t]))
            total += 0.9**t * reward.sum()
        values = torch.stack([critic(observation)[:, 0] for critic in critics])
        smaller.update(values.argmin(0).tolist())
        return -(total + 0.9**4 * values.min(0).values.sum()) / (2 * 4)

    weights = list(policy.parameters())
    point = torch.nn.utils.parameters_to_vector(weights).clone()
    direction = torch.randn(len(point), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = []
    for step in (1e-5, -1e-5):
        torch.nn.utils.vector_to_parameters(point + step * direction, weights)
        values.append(float(objective()))
    assert float(gradient @ direction) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4)
    assert smaller == {0, 1}


def test_the_growth_is_that_of_the_transposed_jacobian(few):
    """The last step alone has a cotangent; step by step it is multiplied by A' of the point mass."""
    bridge = TorchEnv(few, dtype=torch.float64, measure_growth=True)
    bridge.reset([0, 1])
    for _ in range(4):
        observation, *_ = bridge.step(torch.zeros(2, 2, dtype=torch.float64))
    (observation[:, 0] + 2.0 * observation[:, 2]).sum().backward()  # position and velocity along x
    transposed, cotangent, expected = point_mass.dynamics()[0].T, np.array([1.0, 2.0]), []
    for _ in range(4):
        before, cotangent = cotangent, transposed @ cotangent
        expected.append(np.linalg.norm(cotangent) / np.linalg.norm(before))
    np.testing.assert_allclose(bridge.growth, np.array([expected, expected]).T, rtol=1e-6)
    assert not TorchEnv(few).growth


@pytest.mark.parametrize(("limit", "shortest", "longest"), [(0.5, True, False), (2.0, False, True)])
def test_windows_shrink_where_steps_are_stiffer_than_the_limit_and_grow_elsewhere(few, limit, shortest, longest):
    """The point mass has a growth between 0.95 and 1.06 everywhere."""
    settings = ahac.Settings(
        steps=600, window=8, shortest_window=3, longest_window=12, stiffness_limit=limit, window_rate=0.5, **SMALL
    )
    result = ahac.train(few, settings)
    windows = [row["window"] for row in result.history]
    assert windows[0] == 8 and (windows[-1] == 3) == shortest and (windows[-1] == 12) == longest
    assert result.simulated_steps == 2 * sum(windows)
    assert (result.history[-1]["multipliers"] > 0) == shortest


def test_one_stiff_step_stops_the_window_before_it():
    """Step 9 is stiff, the others are smooth: the window grows until that step holds it, and on when it is gone."""
    settings = ahac.Settings(window=6, longest_window=30, multiplier_rate=0.2, window_rate=0.5)
    adaptive = ahac.AdaptiveWindow(settings)

    def play(times, stiff):
        lengths = []
        for _ in range(times):
            growth = np.ones((adaptive.steps, 2))
            growth[9:10] = stiff
            adaptive.update(ahac.constraint_violations(window_of(growth), 2.0))
            lengths.append(adaptive.steps)
        return lengths

    held = play(100, 50.0)[40:]
    assert 9 <= min(held) and max(held) <= 12
    assert adaptive.multipliers[9] > 0 and adaptive.multipliers[:9].max() == 0.0
    assert play(100, 1.0)[-1] == 30
    assert adaptive.multipliers.max() == 0.0


def test_violations_are_bounded_below_and_left_out_where_a_sum_ends():
    growth = [[2.0, 4.0], [0.0, 1e-30], [8.0, 8.0], [2.0 * math.e, 2.0], [9.0, 9.0]]
    found = ahac.constraint_violations(window_of(growth, [False, False, True, False, True]), 2.0)
    expected = [[0.0, math.log(2.0)], [-1.0, -1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_gradient_of_the_constraint_is_that_of_its_expectation():
    """Violations that are a known function of the actions of their own and earlier steps of an episode."""
    policy = GaussianPolicy(3, 1, hidden=[4], log_std=-0.5, seed=1)
    generator = torch.Generator().manual_seed(0)
    batch, ended, multipliers = 50_000, [False, True, True], np.array([0.3, 0.9, 0.5])
    seen = [torch.full((batch, 3), value) for value in (0.5, -1.0, 2.0)]
    actions = [policy.sample(row, generator)[0] for row in seen]
    first, second, third = (action[:, 0] for action in actions)
    violations = torch.stack([first, first * second, third**2])
    weights = [weight for weight in policy.parameters()]
    wanted = (0.7 * torch.from_numpy(multipliers).float()[:, None] * violations).mean()
    wanted = torch.cat([part.flatten() for part in torch.autograd.grad(wanted, weights)])
    window = Window(seen=seen, actions=[action.detach() for action in actions], ended=ended)
    ahac.add_constraint_gradient(policy, window, violations.detach().double().numpy(), multipliers, 0.7)
    found = torch.cat([weight.grad.flatten() for weight in weights])
    assert float((found - wanted).norm()) < 0.06 * float(wanted.norm())


@pytest.mark.parametrize("normalize", [False, True])
def test_a_resumed_run_equals_one_that_was_not_interrupted(few, normalize):
    settings = ahac.Settings(
        steps=160, window=7, stiffness_limit=1.02, window_rate=0.4, multiplier_rate=2.0, normalize=normalize, **SMALL
    )
    kept = []
    whole = ahac.train(few, settings, on_iteration=lambda snapshot, policy, row: kept.append(pack(snapshot())))
    assert whole.history[3]["multipliers"] > 0 and len({row["window"] for row in whole.history}) > 1
    rest = ahac.train(few, settings, state=unpack(kept[3]))
    assert len(rest.history) == len(whole.history) > 8
    for row, other in zip(rest.history, whole.history, strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=0, abs=0, nan_ok=True)
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], value), name
    for other in (ahac.Settings(hidden=9, layers=1), ahac.Settings(longest_window=65, hidden=8, layers=1)):
        with pytest.raises(ValueError, match="does not fit"):
            ahac.train(few, other, state=unpack(kept[0]))


def test_critics_have_converged_when_their_loss_stands_still():
    falling = [2.0**-k for k in range(8)]
    assert not has_converged(falling, 0.05)
    assert not has_converged([1.0] * 4, 0.05)
    assert has_converged([*falling, 0.1, 0.1, 0.101, 0.1, 0.1], 0.05)
    assert not has_converged([1.0] * 9, 0.0)


def test_settings_out_of_range_are_named():
    wrong = (
        ("shortest_window", 1),
        ("longest_window", 3),
        ("window", 65),
        ("window", 2),
        ("stiffness_limit", 0.0),
        ("multiplier_rate", -0.1),
        ("critic_tolerance", math.nan),
    )
    for name, value in wrong:
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            ahac.check_settings(ahac.Settings(**{name: value}))
