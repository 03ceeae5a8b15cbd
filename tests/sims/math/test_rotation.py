"""Quaternions: matrices, integration of angular velocity, adjoints."""

import functools

import numpy as np
import pytest

from pliant.envs.features.check import check_adjoint
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.runtime import ti


@functools.cache
def kernels():
    fp = ti.f64
    rotation = rotation_functions(fp)
    array = ti.types.ndarray(fp, 1)

    @ti.func
    def quaternion(a: ti.template()):
        return ti.Vector([a[0], a[1], a[2], a[3]], dt=fp)

    @ti.kernel
    def matrix(q: array, R: ti.types.ndarray(fp, 2)):
        R_q = rotation.matrix(quaternion(q))
        for i, j in ti.static(ti.ndrange(3, 3)):
            R[i, j] = R_q[i, j]

    @ti.kernel
    def matrix_adjoint(q: array, R_bar: ti.types.ndarray(fp, 2), q_bar: array):
        bar = ti.Matrix.zero(fp, 3, 3)
        for i, j in ti.static(ti.ndrange(3, 3)):
            bar[i, j] = R_bar[i, j]
        result = rotation.matrix_adjoint(quaternion(q), bar)
        for i in ti.static(range(4)):
            q_bar[i] = result[i]

    @ti.kernel
    def integrate(q: array, omega: array, dt: fp, q_next: array):
        result = rotation.integrate(quaternion(q), ti.Vector([omega[0], omega[1], omega[2]], dt=fp), dt)
        for i in ti.static(range(4)):
            q_next[i] = result[i]

    @ti.kernel
    def integrate_adjoint(q: array, omega: array, dt: fp, q_next_bar: array, q_bar: array, omega_bar: array):
        o = ti.Vector([omega[0], omega[1], omega[2]], dt=fp)
        a, b = rotation.integrate_adjoint(quaternion(q), o, dt, quaternion(q_next_bar))
        for i in ti.static(range(4)):
            q_bar[i] = a[i]
        for i in ti.static(range(3)):
            omega_bar[i] = b[i]

    return matrix, matrix_adjoint, integrate, integrate_adjoint


def matrix(q):
    R = np.empty((3, 3))
    kernels()[0](q, R)
    return R


def integrate(q, omega, dt):
    q_next = np.empty(4)
    kernels()[2](q, omega, dt, q_next)
    return q_next


@pytest.fixture
def q():
    q = np.random.default_rng(5).standard_normal(4)
    return q / np.linalg.norm(q)


def test_matrix_is_the_rotation_about_the_axis_of_the_quaternion():
    angle = 0.7
    R = matrix(np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)]))
    expected = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    np.testing.assert_allclose(R, expected, atol=1e-15)


def test_matrix_of_a_unit_quaternion_is_a_rotation(q):
    R = matrix(q)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(R) == pytest.approx(1.0)


def test_integration_turns_about_the_world_axis(q):
    """Many small steps reach R(omega t) R(q), with the angular velocity fixed in the world."""
    omega, steps, dt = np.array([0.0, 0.0, 2.0]), 1000, 1e-3
    R = matrix(q)
    for _ in range(steps):
        q = integrate(q, omega, dt)
    turn = matrix(np.array([np.cos(1.0), 0.0, 0.0, np.sin(1.0)]))
    np.testing.assert_allclose(matrix(q), turn @ R, atol=2e-6)
    assert np.linalg.norm(q) == pytest.approx(1.0, abs=1e-14)


def test_matrix_adjoint(q):
    def adjoint(x, c):
        q_bar = np.empty(4)
        kernels()[1](x["q"], c["R"], q_bar)
        return {"q": q_bar}

    check_adjoint(lambda x: {"R": matrix(x["q"])}, adjoint, {"q": q})


@pytest.mark.parametrize("dt", [1e-4, 0.3])
def test_integrate_adjoint(q, dt):
    def adjoint(x, c):
        q_bar, omega_bar = np.empty(4), np.empty(3)
        kernels()[3](x["q"], x["omega"], dt, c["q_next"], q_bar, omega_bar)
        return {"q": q_bar, "omega": omega_bar}

    omega = np.array([0.4, -1.1, 0.8])
    check_adjoint(lambda x: {"q_next": integrate(x["q"], x["omega"], dt)}, adjoint, {"q": q, "omega": omega})
