"""The diagnosis of gradients: exponents of known maps, estimators against closed forms, what is flagged and cleared."""

import json
import math

import gymnasium as gym
import numpy as np
import pytest
from toy_maps import ToyMaps

import pliant.envs  # noqa: F401  registers the ids
from pliant.policies.diagnosis.advice import is_chaotic
from pliant.policies.diagnosis.diagnose import default_horizons, diagnose, small_actions
from pliant.policies.diagnosis.episodes import Tangents, count_contacts
from pliant.policies.diagnosis.estimators import (
    Slice,
    compare,
    controlled_zeroth_order,
    crossover,
    zeroth_order,
)
from pliant.policies.diagnosis.figures import Settings
from pliant.policies.diagnosis.lyapunov import DIFFERENCE, lyapunov_exponents
from pliant.policies.mixture import mixing_weight, sample_variance

CAT = np.array([[2.0, 1.0], [1.0, 1.0]])


def logistic(x):
    return 4 * x * (1 - x)


def henon(x):
    return np.array([1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]])


def test_exponent_of_the_logistic_map():
    found = lyapunov_exponents(logistic, np.array([0.3]), 4000, discard=100)
    assert found.exponents[0] == pytest.approx(math.log(2), rel=0.02)


def test_exponents_of_the_henon_map():
    """0.419 and ln 0.3 - 0.419 (Sprott 2003): the determinant of the Jacobian is -0.3 everywhere."""
    found = lyapunov_exponents(henon, np.array([0.1, 0.1]), 8000, 2, discard=200)
    assert found.exponents == pytest.approx([0.419, math.log(0.3) - 0.419], rel=0.02)


def test_exponents_of_the_cat_map():
    found = lyapunov_exponents(
        lambda x: CAT @ x % 1,
        np.array([0.1, 0.2]),
        200,
        2,
        jacobian_product=lambda _, vectors: CAT @ vectors,
        discard=9,
    )
    leading = math.log((3 + math.sqrt(5)) / 2)
    assert found.exponents == pytest.approx([leading, -leading], rel=0.02)


def test_exponents_of_a_linear_map_are_the_logarithms_of_its_eigenvalues():
    random = np.random.default_rng(0)
    basis = random.standard_normal((4, 4))
    matrix = basis @ np.diag([1.5, 1.1, 0.7, 0.2]) @ np.linalg.inv(basis)
    found = lyapunov_exponents(lambda x: matrix @ x, np.zeros(4), 400, 4, discard=50)
    assert found.exponents == pytest.approx(np.log([1.5, 1.1, 0.7, 0.2]), rel=0.02)


@pytest.mark.parametrize(
    ("matrix", "chaotic"),
    [([[1.0, 1.0], [0.0, 1.0]], False), ([[1.3, 0.0], [0.0, 0.5]], True), ([[0.9, 0.0], [0.0, 0.5]], False)],
    ids=["grows by a power of time", "grows exponentially", "decays"],
)
def test_only_exponential_growth_is_called_chaotic(matrix, chaotic):
    def exponents(steps):
        return lyapunov_exponents(lambda x: np.array(matrix) @ x, np.zeros(2), steps, 2)

    assert is_chaotic(exponents(40)) is chaotic
    assert is_chaotic(exponents(7)) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"count": 3}, "count=3.*from 1 to .* 2"),
        ({"discard": 10}, "discard=10.*from 0 to 9"),
        ({"state": np.zeros((2, 1))}, r"state has shape \(2, 1\)"),
        ({"step": lambda x: x * np.nan}, "step 0 is not finite"),
    ],
)
def test_bad_arguments_of_exponents_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        lyapunov_exponents(**{"step": henon, "state": np.zeros(2), "steps": 10, "count": 1} | words)


def quadratic(count, sigma):
    """b and H of R(a) = b.a - a'Ha / 2, and its gradients at a = 0 with noise: FoBG, ZoBG and controlled ZoBG, (N, 3)
    each."""
    random = np.random.default_rng(1)
    slope, root = random.standard_normal(3), random.standard_normal((3, 3))
    curvature = root @ root.T
    noise = random.standard_normal((count, 3))
    actions = sigma * noise
    values = actions @ slope - 0.5 * np.einsum("ni,ij,nj->n", actions, curvature, actions)
    first = slope - actions @ curvature
    zeroth = zeroth_order(values[:, None], noise[:, None], sigma)[:, 0]
    return slope, curvature, first, zeroth, controlled_zeroth_order(values, noise, slope, sigma)


def test_variances_on_a_quadratic_are_those_of_the_closed_form():
    """FoBG: sigma^2 tr H^2. ZoBG: (P + 1) |b|^2 + sigma^2 (P + 4) tr H^2 / 2 (Isserlis), and the baseline's share."""
    count, sigma, size = 40_000, 0.3, 3
    slope, curvature, first, zeroth, controlled = quadratic(count, sigma)
    square = float((curvature**2).sum())
    bend = 0.5 * sigma**2 * (size + 4) * square
    assert sample_variance(first) == pytest.approx(sigma**2 * square, rel=0.02)
    assert sample_variance(zeroth) == pytest.approx((size + 1) * slope @ slope + bend, rel=0.03)
    assert sample_variance(controlled) == pytest.approx(bend, rel=0.05)
    for samples in (zeroth, controlled):
        assert samples.mean(0) == pytest.approx(slope, abs=4 * math.sqrt(sample_variance(samples) / count))
    compared = compare(first, zeroth, controlled, slope)
    assert not compared.is_biased
    assert (
        compared.alpha
        == mixing_weight(first, zeroth)
        == pytest.approx(sample_variance(zeroth) / (sample_variance(first) + sample_variance(zeroth)))
    )


def test_rewards_before_an_action_do_not_count_in_its_zeroth_order_gradient():
    random = np.random.default_rng(0)
    rewards, noise = random.standard_normal((8, 3)), random.standard_normal((8, 3, 2))
    changed = rewards + [[5.0], *7 * [[0.0]]] * np.array([1.0, 0.0, 0.0])
    before, after = zeroth_order(rewards, noise, 0.1), zeroth_order(changed, noise, 0.1)
    assert np.allclose(before[:, 1:], after[:, 1:]) and not np.allclose(before[:, 0], after[:, 0])


def test_a_jump_biases_the_first_order_and_is_noticed():
    """R is 1 where a > 0, so that dR/da = 0 and dF/da = phi(0) / sigma (Suh et al. 2022, example 3.6)."""
    sigma, noise = 0.1, np.random.default_rng(0).standard_normal((400, 1))
    values, first = (noise[:, 0] > 0).astype(float), np.zeros((400, 1))
    controlled = controlled_zeroth_order(values, noise, np.zeros(1), sigma)
    found = compare(first, controlled, controlled, np.zeros(1))
    assert found.is_biased and found.first_variance == 0.0
    assert found.zeroth_norm == pytest.approx(1 / math.sqrt(2 * math.pi) / sigma, rel=0.1)


def test_false_alarms_about_the_bias_are_as_rare_as_promised():
    """Samples of equal means with 40 numbers each; 5 % of 200 comparisons may be alarms, and a few more by chance."""
    alarms = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        first, other = 0.01 * random.standard_normal((32, 40)), random.standard_normal((32, 40))
        alarms += compare(first, other, other, random.standard_normal(40)).is_biased
    assert alarms <= 20


def test_a_gradient_that_overflows_has_infinite_variance_and_no_weight():
    first = np.ones((4, 2))
    first[1] = np.nan
    found = compare(first, np.ones((4, 2)), np.ones((4, 2)), np.ones(2))
    assert found.first_variance == math.inf and found.alpha == 0.0 and not found.is_biased


def test_the_crossover_is_interpolated():
    horizons = np.array([10, 20, 40])
    assert crossover(horizons, np.array([0.1, 1.0, 10.0]), np.ones(3)) == pytest.approx(20)
    assert crossover(horizons, np.array([0.01, 0.1, 100.0]), np.ones(3)) == pytest.approx(20 * 2 ** (1 / 3))
    assert crossover(horizons, np.array([2.0, 3.0, 4.0]), np.ones(3)) == 10
    assert crossover(horizons, np.array([0.1, np.inf, np.inf]), np.ones(3)) == 20
    assert crossover(horizons, np.full(3, 0.5), np.ones(3)) is None


def test_slices_tell_jumps_from_curvature():
    offsets = np.linspace(-1, 1, 15)
    curved = Slice(offsets, offsets**2, 2 * offsets)
    assert curved.jumps == 0 and curved.tangent_error == pytest.approx(1.0)
    stepped = Slice(offsets, offsets + (offsets > 0.05), np.ones(15))
    assert stepped.jumps == 1 and np.argmax(np.abs(stepped.unexplained)) == 7
    assert Slice(offsets, np.full(15, 2.0), np.zeros(15)).jumps == 0


def test_contacts_are_counted_as_they_begin_and_end():
    forces = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1e-9], [0.0, 3.0]])
    assert count_contacts(forces) == 3
    assert count_contacts(forces[1:]) == 3  # the first one began with the episode
    assert count_contacts(np.zeros((3, 2))) == 0


def toy(kind, **words):
    settings = Settings(default_horizons(32), **{"samples": 32} | words)
    actions = small_actions(32, 1, 0)
    return diagnose(lambda precision, worlds: ToyMaps(worlds, kind=kind, precision=precision), actions, settings)


def test_a_smooth_scene_is_cleared():
    found = toy("smooth")
    assert found.verdict == "trusted" and found.chaotic is False and found.crossover is None
    assert found.exponents.exponents == pytest.approx([math.log(0.9)], rel=1e-4)
    assert [row.faults for row in found.rows] == 5 * [[]]
    assert [one.value for one in found.recommendations] == [32, 0.0, pytest.approx(1.0, abs=0.01), "f32"]


def test_a_chaotic_scene_is_flagged():
    found = toy("chaotic")
    assert found.verdict == "chaotic" and found.chaotic is True
    assert found.exponents.exponents[0] == pytest.approx(math.log((3 + math.sqrt(5)) / 2), rel=0.02)
    assert 4 < found.crossover < 8
    assert found.rows[1].faults == [] and {"variance", "growth", "rounding"} <= set(found.rows[-1].faults)
    advice = {one.name: one for one in found.recommendations}
    assert advice["horizon"].value == 4 and advice["sigma"].value == 0.1
    assert "variance" in advice["horizon"].reason


def test_a_scene_that_jumps_is_flagged_although_its_gradient_has_no_variance():
    found = toy("jumping", samples=512)
    assert found.verdict == "not trusted" and found.chaotic is False
    assert "jumps" in found.rows[0].faults and "bias" in found.rows[-1].faults
    assert found.rows[0].first_variance == 0.0
    advice = {one.name: one.value for one in found.recommendations}
    assert advice["horizon"] is None and advice["alpha"] == 0.0
    assert found.contacts_from == "jumps of the slices" and found.contact_events > 0


def test_without_float64_nothing_is_said_of_rounding_and_chaos():
    make = {"f32": ToyMaps, "f64": lambda worlds: None}
    found = diagnose(lambda precision, worlds: make[precision](worlds), small_actions(4, 1, 0), Settings((2, 4)))
    assert found.exponents is None and found.chaotic is None and math.isnan(found.rows[0].cosine)
    assert found.recommendations[3].value == "f32" and "not there" in found.recommendations[3].reason


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"horizons": ()}, "horizons="),
        ({"horizons": (0, 4)}, "horizons="),
        ({"horizons": (4, 2)}, "horizons="),
        ({"horizons": (2, 5)}, r"actions has shape \(4, 1\).*T=5"),
        ({"samples": 1}, "samples=1"),
        ({"sigma": 0.0}, "sigma=0"),
        ({"points": 4}, "points=4"),
        ({"exponents": 0}, "exponents=0"),
    ],
)
def test_bad_settings_are_refused(words, message):
    settings = Settings(**{"horizons": (2, 4)} | words)
    with pytest.raises(ValueError, match=message):
        diagnose(lambda precision, worlds: ToyMaps(worlds), small_actions(4, 1, 0), settings)


def test_a_diagnosis_is_the_same_again():
    first, second = toy("chaotic").to_dict(), toy("chaotic").to_dict()
    assert json.dumps(first) == json.dumps(second)


def test_a_tangent_vector_through_a_step_agrees_with_the_reverse_sweep():
    """<c, J v> by differences of states = <J^T c, v> by the adjoint, for random cotangents c of the observation."""
    words = {"vectorization_mode": "vector_entry_point", "precision": "f64", "differentiable": True}
    env = gym.make_vec("pliant/FingerReach-v0", num_envs=3, **words).unwrapped
    actions = small_actions(8, env.single_action_space.shape[0], 0)
    tangents = Tangents(env, actions, seed=0)
    assert tangents.begun == 2 and tangents.vectors.shape[1] == 2
    before = {name: value[:1] for name, value in env.snapshot().items()}
    tangents.push(tangents.vectors)
    size = DIFFERENCE * math.sqrt(len(tangents.vectors))
    seen = env.outcome.observation
    pushed = (seen[1:] - seen[:1]) / size  # (K, O)

    env.restore(before)
    env.step(np.tile(actions[2], (3, 1)))
    cotangents = np.zeros((3, 2, seen.shape[1]))
    cotangents[:, 1] = np.random.default_rng(0).standard_normal((3, seen.shape[1]))
    bars = env.backward(np.zeros((3, 1)), cotangents).initial_state
    pulled = np.concatenate([scale * bars[name].reshape(3, -1) for name, scale in tangents.scales.items()], axis=1)
    env.close()
    analytic = pulled @ tangents.vectors
    assert np.abs(analytic).max() > 1e-4
    np.testing.assert_allclose(cotangents[:, 1] @ pushed.T, analytic, rtol=1e-4, atol=1e-5 * np.abs(analytic).max())
