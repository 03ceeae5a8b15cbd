"""The gripper: two fingers that stay opposite of each other, and the adjoint of how actions move them."""

from types import SimpleNamespace

import numpy as np
import pytest

from pliant.envs.gripper import Gripper
from pliant.envs.gripper_actuator import GripperActuator
from pliant.sims.math.rotation_host import matrix_of_quaternion

GRIPPER = Gripper((1, 2), 0.1, 2.0, 0.05, (0.01, 0.05), ((-1.0, -1.0, -1.0), (1.0, 1.0, 0.031)))
STEP, SUBSTEPS = 0.02, 5


class World:
    """As much of one as an actuator needs."""

    differentiable, control_size, substeps, time_step, batch = True, 18, SUBSTEPS, STEP, 2

    def __init__(self, position):
        self.position = np.asarray(position, float)
        self.control_layout = {"effector_twist": slice(0, 18)}
        self.bar = np.zeros_like(self.position)

    def state(self, name):
        return self.position.copy()

    def add_state_adjoint(self, name, bar):
        self.bar += bar


def make(position):
    task = SimpleNamespace(action={"effector_twist": np.zeros((18, 7))}, action_size=7)
    world = World(position)
    return world, GripperActuator(task, world, GRIPPER)


def places(seed=0, width=0.03):
    rng = np.random.default_rng(seed)
    middle, axis = rng.uniform(-0.02, 0.02, (2, 3)), rng.normal(size=(2, 3))
    axis *= width / 2 / np.linalg.norm(axis, axis=1, keepdims=True)
    return np.stack([rng.normal(size=(2, 3)), middle - axis, middle + axis], axis=1)


def after(world, controls):
    """Places of the fingers after the step."""
    return world.position[:, 1:] + STEP * controls.reshape(2, 3, 6)[:, 1:, :3]


def test_fingers_move_turn_and_close_as_one():
    world, actuator = make(places())
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (2, 7))
    controls = actuator.controls(actions)
    new, old = after(world, controls), world.position[:, 1:]
    np.testing.assert_allclose(new.mean(axis=1), old.mean(axis=1) + STEP * 0.1 * actions[:, :3], atol=1e-12)
    width = np.linalg.norm(new[:, 1] - new[:, 0], axis=1)
    np.testing.assert_allclose(width, 0.03 - 0.05 * STEP * actions[:, 6], atol=1e-12)
    # the fingers turn, substep by substep, as the line between them does
    omega = 2.0 * actions[:, 3:6]
    np.testing.assert_allclose(controls.reshape(2, 3, 6)[:, 1:, 3:], np.stack([omega, omega], axis=1))
    q = np.concatenate([np.ones((2, 1)), omega * STEP / SUBSTEPS / 2], axis=1)
    turn = np.linalg.matrix_power(matrix_of_quaternion(q), SUBSTEPS)
    line = np.einsum("bij,bj->bi", turn, (old[:, 1] - old[:, 0]) / 0.03)
    np.testing.assert_allclose((new[:, 1] - new[:, 0]) / width[:, None], line, atol=1e-12)
    np.testing.assert_array_equal(controls.reshape(2, 3, 6)[:, 0], 0)


@pytest.mark.parametrize("width", [0.03, 0.0105, 0.0499], ids=["free", "closing ends", "opening ends"])
def test_the_adjoint_is_that_of_the_controls(width):
    rng = np.random.default_rng(2)
    position, actions = places(width=width), rng.uniform(-1, 1, (2, 7))
    actions[:, 6] = [0.9, -0.9]
    bar, dx, da = rng.normal(size=(2, 18)), rng.normal(size=position.shape), rng.normal(size=(2, 7))
    world, actuator = make(position)
    actuator.controls(actions)
    action_bar = actuator.adjoint(0, bar)
    h = 1e-6

    def value(sign):
        _, other = make(position + sign * h * dx)
        return (bar * other.controls(actions + sign * h * da)).sum()

    numeric = (value(1) - value(-1)) / (2 * h)
    np.testing.assert_allclose((action_bar * da).sum() + (world.bar * dx).sum(), numeric, rtol=1e-6)


def test_width_and_workspace_are_bounds():
    position = places(width=0.0101)
    position[:, 1:, 2] += 0.03 - position[:, 1:, 2].mean(axis=1, keepdims=True)
    world, actuator = make(position)
    actions = np.zeros((2, 7))
    actions[:, 2], actions[:, 6] = 1.0, 1.0
    for _ in range(3):
        world.position[:, 1:] = after(world, actuator.controls(actions))
    np.testing.assert_allclose(np.linalg.norm(world.position[:, 2] - world.position[:, 1], axis=1), 0.01, atol=1e-12)
    np.testing.assert_allclose(world.position[:, 1:, 2].mean(axis=1), 0.031, atol=1e-12)
