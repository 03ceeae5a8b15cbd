"""Contact of a velocity with a surface: what each kind does, and the adjoint."""

import functools

import numpy as np
import pytest

from pliant.envs.features.check import check_adjoint
from pliant.sims.contact import CONTACT_KINDS, CONTACT_NAMES, contact_functions, contact_kind
from pliant.sims.runtime import ti


@functools.cache
def kernels(dim):
    fp = ti.f64
    contact = contact_functions(dim, fp)
    array = ti.types.ndarray(fp, 1)

    @ti.func
    def vector(a: ti.template()):
        return ti.Vector([a[k] for k in ti.static(range(dim))], dt=fp)

    @ti.kernel
    def respond(u: array, n: array, kind: ti.i32, mu: array, u_out: array):
        result = contact.respond(vector(u), vector(n), kind, mu[0])
        for i in ti.static(range(dim)):
            u_out[i] = result[i]

    @ti.kernel
    def respond_adjoint(
        u: array, n: array, kind: ti.i32, mu: array, u_out_bar: array, u_bar: array, n_bar: array, mu_bar: array
    ):
        a, b, c = contact.respond_adjoint(vector(u), vector(n), kind, mu[0], vector(u_out_bar))
        for i in ti.static(range(dim)):
            u_bar[i] = a[i]
            n_bar[i] = b[i]
        mu_bar[0] = c

    return respond, respond_adjoint


def respond(u, n, kind, mu):
    u, n = np.array(u, np.float64), np.array(n, np.float64)
    u_out = np.empty_like(u)
    kernels(len(u))[0](u, n, CONTACT_KINDS[kind], np.array([mu], np.float64), u_out)
    return u_out


def test_sticky_stops():
    assert np.all(respond([1.0, 2.0, 3.0], [0, 0, 1], "sticky", 0.5) == 0)


@pytest.mark.parametrize("vertical", [-3.0, 3.0])
def test_slip_removes_the_normal_part_both_ways(vertical):
    np.testing.assert_allclose(respond([1.0, 2.0, vertical], [0, 0, 1], "slip", 0.5), [1, 2, 0])


def test_separate_lets_go():
    np.testing.assert_allclose(respond([1.0, 2.0, 3.0], [0, 0, 1], "separate", 0.5), [1, 2, 3])


def test_separate_without_friction_slips():
    np.testing.assert_allclose(respond([1.0, -2.0], [0, 1], "separate", 0.0), [1, 0])


def test_friction_shortens_the_tangential_velocity_by_mu_times_the_normal_one():
    u_out = respond([3.0, 4.0, -2.0], [0, 0, 1], "separate", 0.5)
    np.testing.assert_allclose(u_out, np.array([3.0, 4.0, 0.0]) * (5 - 1) / 5)


@pytest.mark.parametrize("kind", ["slip", "separate"])
def test_a_velocity_that_is_not_finite_is_not_hidden(kind):
    for u in ([np.nan, 0.0, -1.0], [1.0, 0.0, np.nan], [0.0, 0.0, -np.inf]):
        assert not np.isfinite(respond(u, [0, 0, 1], kind, 0.5)).all()


def test_friction_holds_but_does_not_turn_back():
    assert np.all(respond([0.3, 0.4, -2.0], [0, 0, 1], "separate", 0.5) == 0)


def test_head_on_impact_without_tangential_velocity_is_finite():
    for mu in (0.0, 0.5):
        assert np.all(respond([0.0, 0.0, -2.0], [0, 0, 1], "separate", mu) == 0)


CASES = {
    "sticky": ("sticky", -1.0, 0.5),
    "slip, approaching": ("slip", -1.0, 0.5),
    "slip, leaving": ("slip", 1.0, 0.5),
    "leaving": ("separate", 0.8, 0.5),
    "sliding": ("separate", -1.0, 0.5),
    "sliding without friction": ("separate", -1.0, 0.0),
    "held": ("separate", -1.0, 5.0),
}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_respond_adjoint(case, dim):
    kind, normal_speed, mu = CASES[case]
    rng = np.random.default_rng(2)
    n = rng.standard_normal(dim)
    n /= np.linalg.norm(n)
    t = rng.standard_normal(dim)
    t -= n * (t @ n)
    u = normal_speed * n + 1.5 * t / np.linalg.norm(t)

    def forward(x):
        u_out = np.empty(dim)
        kernels(dim)[0](x["u"], x["n"], CONTACT_KINDS[kind], x["mu"], u_out)
        return {"u_out": u_out}

    def adjoint(x, c):
        u_bar, n_bar, mu_bar = np.empty(dim), np.empty(dim), np.empty(1)
        kernels(dim)[1](x["u"], x["n"], CONTACT_KINDS[kind], x["mu"], c["u_out"], u_bar, n_bar, mu_bar)
        return {"u": u_bar, "n": n_bar, "mu": mu_bar}

    check_adjoint(forward, adjoint, {"u": u, "n": n, "mu": np.array([mu])})


def test_names_and_numbers_map_to_each_other():
    for name, number in CONTACT_KINDS.items():
        assert contact_kind(name) == number
        assert CONTACT_NAMES[number] == name
    with pytest.raises(ValueError, match=r"contact='magnetic'.*sticky, slip, separate"):
        contact_kind("magnetic")
