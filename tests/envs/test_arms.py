"""Tasks whose effectors arms hold: the way of the effector, gradients, limits, what is refused, what pictures show."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from pliant.envs import features as f
from pliant.envs.arms.mounts import mount_from_above
from pliant.envs.arms.pictures import BUDGET, ArmPictures, merge_vertices
from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.dough.rolling_pin import RollingPin
from pliant.envs.particles import fill_box
from pliant.envs.task import Observed, Score, Task, Term
from pliant.policies.gradcheck import check_gradients
from pliant.sims.math.rotation_host import matrix_of_quaternion, quaternion_of_matrix
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.kinematics_pybullet import import_pybullet
from pliant.sims.robot.twists import twist_between, twist_between_adjoint
from pliant.sims.shapes.shapes import Sphere

try:
    import_pybullet()
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""

needs_pybullet = pytest.mark.skipif(bool(MISSING), reason=MISSING)
PIN, MOVE = "pliant/RollingPin-v0", "pliant/Move-v0"


class Press(Task):
    """A ball on an arm presses a block that has a muscle, beside a ball that stands still."""

    summary = "press a block"
    horizon = 10
    step_time = 0.01
    substeps = {"small": 10, "full": 20}

    def make_scene(self) -> Scene:
        position = fill_box([0.10, 0.10, 0.09], [0.16, 0.16, 0.15], 0.015)
        muscle = {"muscle_group": np.zeros(len(position), int), "fibre_direction": (0, 0, 1), "muscle_strength": 2e3}
        block = Body("block", position, 0.015**3, youngs_modulus=2e4, density=1000.0, **muscle)
        balls = [
            Effector("still", Sphere(0.02), (0.087, 0.131, 0.117)),
            Effector("held", Sphere(0.02), (0.13, 0.13, 0.17)),
        ]
        return Scene(dim=3, grid=[14, 14, 14], cell=0.02, bodies=[block], effectors=balls)

    def make_action(self) -> dict[str, np.ndarray]:
        twist, muscle = np.zeros((12, 4)), np.zeros((1, 4))
        twist[6:9, :3], muscle[0, 3] = 0.1 * np.eye(3), 1.0
        return {"effector_twist": twist, "muscle_activation": muscle}

    def make_observation(self) -> list[Observed]:
        return [Observed(f.centre(np.arange(len(self.scene.position)), 3)), Observed(f.Action(self.action_size))]

    def make_reward(self) -> list[Term]:
        press = f.force_cost([1])
        return [Term(press, 1.0), Term(f.action_cost(self.action_size), -0.1)]

    def make_score(self) -> Score:
        return Score(f.force_cost([1]), goal=1.0)

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The held ball is somewhere else in each episode."""
        position = np.array([effector.pose[:3] for effector in self.scene.effectors])
        position[1, :2] += rng.uniform(-0.01, 0.01, 2)
        return {"effector_position": position}


class FarPin(RollingPin):
    """The arm stands out of reach."""

    def make_mounts(self, chain: Any) -> list[Any]:
        (pin,) = self.scene.effectors
        return [mount_from_above(chain, pin.pose[:3], pin.pose[3:], towards=(1, 0), distance=2.0)]


def random_actions(env: Any, steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (steps, env.task.action_size))


def test_twist_brings_a_pose_to_another_by_the_substeps_of_the_effectors():
    rng, substeps, dt = np.random.default_rng(0), 5, 0.01
    p0, p1 = rng.normal(size=(2, 4, 3))
    q0, q1 = rng.normal(size=(2, 4, 4))
    q1[0] = q0[0]  # no turn
    q1[1] = q0[1] + 1e-6 * q1[1]
    R0, R1 = matrix_of_quaternion(q0), matrix_of_quaternion(q1)
    twist = twist_between(p0, R0, p1, R1, substeps * dt, substeps)
    p, q = p0.copy(), quaternion_of_matrix(R0)
    for _ in range(substeps):
        w, v, omega = q[:, :1], q[:, 1:], twist[:, 3:]
        turn = np.concatenate([-np.sum(omega * v, 1, keepdims=True), w * omega + np.cross(omega, v)], axis=1)
        p, q = p + dt * twist[:, :3], q + dt / 2 * turn
        q /= np.linalg.norm(q, axis=1, keepdims=True)
    assert np.abs(p - p1).max() < 1e-13 and np.abs(matrix_of_quaternion(q) - R1).max() < 1e-13


def test_adjoint_of_the_twist_between_poses():
    rng, step, size = np.random.default_rng(1), 1e-6, 50
    p0, p1, dp0, dp1, psi0, psi1 = rng.normal(size=(6, size, 3))
    q0 = rng.normal(size=(size, 4))
    q1 = q0 + np.geomspace(1e-7, 1.0, size)[:, None] * rng.normal(size=(size, 4))
    R0, R1, bar = matrix_of_quaternion(q0), matrix_of_quaternion(q1), rng.normal(size=(size, 6))

    def turned(R: np.ndarray, psi: np.ndarray) -> np.ndarray:
        return matrix_of_quaternion(np.concatenate([np.ones((size, 1)), psi / 2], axis=1)) @ R

    def value(s: float) -> np.ndarray:
        poses = p0 + s * dp0, turned(R0, s * psi0), p1 + s * dp1, turned(R1, s * psi1)
        return np.sum(twist_between(*poses, 0.1, 5) * bar, axis=1)

    p_bar, psi0_bar, psi1_bar = twist_between_adjoint(R0, R1, 0.1, 5, bar)
    analytic = np.sum(p_bar * (dp1 - dp0) + psi0_bar * psi0 + psi1_bar * psi1, axis=1)
    numeric = (value(step) - value(-step)) / (2 * step)
    assert np.allclose(analytic, numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("env_id", "arm", "count"), [(PIN, "panda", 1), (MOVE, "iiwa", 2)])
def test_effectors_are_where_the_arms_hold_them(env_id, arm, count):
    env: Any = gym.make(env_id, arm=arm, precision="f64").unwrapped
    plain: Any = gym.make(env_id, precision="f64").unwrapped
    assert env.action_space.shape == (7 * count,)
    more = env.action_space.shape[0] - plain.action_space.shape[0] + 7 * count  # the previous action grows, too
    assert env.observation_space.shape[0] == plain.observation_space.shape[0] + more
    env.reset(seed=0), plain.reset(seed=0)
    arms = env.task.arms
    for name in ("effector_position", "effector_orientation"):
        assert np.abs(env.state(name) - plain.state(name)).max() < 1e-12, "the start is that of the task"
    expected = env.state("joint_angle")
    for action in random_actions(env, 10):
        observation = env.step(action)[0]
        expected = expected + env.task.step_time * arms.speed * action
        assert np.allclose(env.state("joint_angle"), expected, rtol=0, atol=1e-14)
        position, orientation = env.state("effector_position"), env.state("effector_orientation")
        for k, chain, q in zip(arms.effectors, arms.chains, arms.split(expected[None]), strict=True):
            at, turned = chain.pose(q)
            assert np.abs(at[0] - position[k]).max() < 1e-12
            assert np.abs(turned[0] - matrix_of_quaternion(orientation[k])).max() < 1e-12
        share = (expected - arms.lower) / (arms.upper - arms.lower)
        assert np.allclose(observation[-7 * count :], 2 * share - 1, atol=1e-6)
    env.close(), plain.close()


@pytest.mark.parametrize(("env_id", "arm"), [(PIN, "panda"), (MOVE, "iiwa")])
def test_gradients_go_through_the_kinematics(env_id, arm):
    quantities = ("actions", "initial_state.joint_angle", "initial_state.velocity", "parameters.effector_softness")
    # seed 0 of Move is within 3e-8 of a kink of contact, which smaller steps only would resolve
    rows = check_gradients(env_id, arm=arm, steps=4, seed=1, directions=1, quantities=quantities)
    assert all(row.passed for row in rows), [row for row in rows if not row.passed]
    assert all(abs(row.analytic) > 0 for row in rows if "joint" in row.quantity or row.quantity == "actions")


def test_other_actions_and_free_effectors_stay():
    """A muscle beside the arm, an effector without one, and a start that inverse kinematics finds at each reset."""
    env = TaskEnv(Press, arm="panda", precision="f64", differentiable=True)
    assert env.task.arms.effectors == [1] and env.action_space.shape == (8,)
    starts = []
    for seed in (0, 1):
        env.reset(seed=seed)
        starts.append(env.state("joint_angle"))
        (at,), _ = env.task.arms.chains[0].pose(starts[-1][None])
        expected = env.task.make_initial_state(np.random.default_rng(seed))["effector_position"]
        assert np.abs(at - expected[1]).max() < 1e-9
        assert np.abs(env.state("effector_position") - expected).max() < 1e-9
    assert not np.array_equal(*starts)
    actions, step = random_actions(env, 4), 1e-6
    _, gradient = env.value_and_grad(actions, seed=0)
    rng = np.random.default_rng(3)
    for name in ("joint_angle", "effector_position"):
        env.reset(seed=0)
        start, bar = env.state(name), gradient.initial_state[name]
        direction = rng.normal(size=start.shape)
        ahead, behind = (
            env.evaluate(actions, seed=0, options={"state": {name: start + s * direction}}) for s in (step, -step)
        )
        assert np.isclose(np.sum(bar * direction), (ahead - behind) / (2 * step), rtol=1e-5), name
    assert (gradient.initial_state["effector_position"][1] == 0).all()
    direction = rng.normal(size=actions.shape)
    ahead, behind = (env.evaluate(actions + s * direction, seed=0) for s in (step, -step))
    assert np.isclose(np.sum(gradient.actions * direction), (ahead - behind) / (2 * step), rtol=1e-5)
    assert (gradient.actions[:, 7] != 0).all(), "the muscle's"
    env.close()


def test_joints_stop_at_their_limits_and_their_gradient_with_them():
    env = TaskEnv(Press, arm="panda", precision="f64", differentiable=True)
    env.reset(seed=0)
    start, upper = env.state("joint_angle"), env.task.arms.upper
    start[6] = upper[6] - 0.001
    env.reset(seed=0, options={"state": {"joint_angle": start}})
    actions = np.zeros((2, 8))
    actions[:, 6] = [0.1, 1.0]
    for action in actions:
        env.step(action)
    assert env.state("joint_angle")[6] == upper[6]
    cotangents = np.zeros((3, env.observation_space.shape[0]))
    cotangents[1:, -1] = 1.0  # of the last joint's angle
    gradient = env.backward([0.0, 0.0], cotangents)
    expected = env.task.step_time * env.task.arms.speed[6] * 2 / (upper[6] - env.task.arms.lower[6])
    assert np.allclose(gradient.actions[:, 6], [expected, 0.0])
    env.close()


def test_episodes_are_deterministic_and_a_batch_agrees_with_single_ones():
    single: Any = gym.make(PIN, arm="panda", precision="f64").unwrapped
    envs: Any = gym.make_vec(PIN, num_envs=2, arm="panda", precision="f64", max_episode_steps=3)
    actions = np.random.default_rng(0).uniform(-0.9, 0.9, (5, 2, 7))
    traces = []
    for _ in range(2):
        trace = [envs.reset(seed=4)[0]]
        trace += [np.column_stack(envs.step(action)[:2]) for action in actions]
        traces.append(np.concatenate(trace, axis=None))
    assert np.array_equal(*traces)
    envs.reset(seed=4)
    batch = [envs.step(action) for action in actions[:3]]
    assert batch[-1][3].all() and np.array_equal(envs.step(actions[3])[0][:, -7:], envs.reset(seed=4)[0][:, -7:])
    for b in range(2):
        single.reset(seed=4 + b)
        for t in range(3):
            observation, reward, *_ = single.step(actions[t, b])
            assert np.allclose(batch[t][0][b], observation, atol=1e-6)
            assert np.isclose(batch[t][1][b], reward, rtol=1e-9)
    single.close(), envs.close()


def test_worlds_of_a_batch_are_reset_one_by_one():
    envs = TaskVectorEnv(Press, 2, arm="panda", precision="f64", autoreset_mode="Disabled")
    envs.reset(seed=0)
    first = envs.state("joint_angle")
    envs.step(np.ones((2, 8)))
    moved = envs.state("joint_angle")
    envs.reset(seed=[0, None], options={"reset_mask": np.array([True, False])})
    angle = envs.state("joint_angle")
    assert np.array_equal(angle[0], first[0]) and np.array_equal(angle[1], moved[1])
    envs.close()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("env_id", [PIN, MOVE])
def test_gymnasium_finds_nothing_wrong(env_id):
    env = gym.make(env_id, arm="panda", disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


@needs_pybullet
def test_pictures_show_the_arm_where_it_is():
    env: Any = gym.make(PIN, arm="panda", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    start = env.state("joint_angle")
    first = env.render().astype(int)
    looks = ArmPictures(env.task.arms)
    (tool,) = [position for _, position, *_ in looks.sticks(start)]
    assert np.linalg.norm(tool - env.state("effector_position")[0]) < 0.05
    assert all(len(mesh.faces) <= BUDGET for mesh, *_ in looks.meshes(start))
    env.step(np.ones(7))
    assert (np.abs(env.render() - first).max(axis=2) > 8).mean() > 0.05
    assert first[:100, 200:300].std() > 5.0, "the hand is above the pin"
    env.close()


def test_thinner_meshes_keep_their_shape():
    side = np.linspace(0.0, 1.0, 41)
    x, y = np.meshgrid(side, side, indexing="ij")
    vertices = np.stack([x, y, 0.3 * x], axis=-1).reshape(-1, 3)
    a = (41 * np.arange(40)[:, None] + np.arange(40)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 41], 1), np.stack([a + 1, a + 42, a + 41], 1)])
    thin, fewer = merge_vertices(vertices, faces, 0.1)
    assert 100 <= len(fewer) <= 400 and np.allclose(thin[:, 2], 0.3 * thin[:, 0])
    corners = thin[fewer]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    assert np.isclose(area, 0.95**2 * np.hypot(1.0, 0.3), rtol=0.1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"arm='scara' is unknown; allowed: 'none', 'panda', 'iiwa'"):
        TaskEnv(RollingPin, arm="scara")
    with pytest.raises(ValueError, match=r"arm='panda' does not fit FingerReach: no end effector"):
        gym.make("pliant/FingerReach-v0", arm="panda")
    with pytest.raises(ValueError, match=r"base at \[2.*cannot reach .* move the base or the grip"):
        TaskEnv(FarPin, arm="panda")
    env = TaskEnv(RollingPin, arm="panda")
    with pytest.raises(ValueError, match="'effector_position' follows from 'joint_angle'"):
        env.reset(options={"state": {"effector_position": np.zeros((1, 3))}})
    with pytest.raises(ValueError, match=r"'joint_angle'\[0\]=9.0 is out of range"):
        env.reset(options={"state": {"joint_angle": np.full(7, 9.0)}})
    env.close()


def test_a_feature_of_the_wrong_number_of_actions_is_named():
    view = f.View(
        arrays=lambda name: np.zeros(0),
        action=np.zeros((1, 7)),
        previous_action=np.zeros((1, 7)),
        step=np.zeros(1, int),
        horizon=1,
        goal={},
    )
    with pytest.raises(ValueError, match="'action' is of 3 numbers, actions have 7"):
        f.action_cost(3).value(view)
