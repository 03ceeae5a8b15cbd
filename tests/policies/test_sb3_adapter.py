"""The batch as stable-baselines3's VecEnv: what DummyVecEnv over single environments gives, to rounding."""

import gymnasium as gym
import numpy as np
import point_mass
import pytest

import pliant.envs  # noqa: F401  registers the ids

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from pliant.policies.reinforcement.vec_env import BatchedVecEnv

FINGER = "pliant/FingerReach-v0"
SAME_STEP = {"vectorization_mode": "vector_entry_point", "autoreset_mode": "SameStep"}


def batch_and_singles(env_id, count, **options):
    batch = BatchedVecEnv(gym.make_vec(env_id, num_envs=count, **SAME_STEP, **options))
    return batch, DummyVecEnv([lambda: gym.make(env_id, disable_env_checker=True, **options)] * count)


def assert_same(one, other):
    """Equal structure, numbers equal to the rounding of float32."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    else:
        assert isinstance(one, type(other)) or isinstance(other, type(one))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("env_id", "count", "episode"), [(FINGER, 16, 2), (point_mass.ID, 3, 4)])
def test_it_gives_what_dummy_vec_env_gives(env_id, count, episode):
    point_mass.register()
    batch, singles = batch_and_singles(env_id, count, max_episode_steps=episode)
    rng = np.random.default_rng(0)
    ends = 0
    for env in (batch, singles):
        env.seed(3)
    assert_same(batch.reset(), singles.reset())
    assert_same(*({"infos": dict(enumerate(env.reset_infos))} for env in (batch, singles)))
    for _ in range(2 * episode + 1):
        actions = rng.uniform(-1, 1, (count, *batch.action_space.shape)).astype(np.float32)
        mine, theirs = batch.step(actions), singles.step(actions)
        for name, one, other in zip(("observation", "reward", "done"), mine, theirs, strict=False):
            assert one.dtype == other.dtype and one.shape == other.shape, name
            assert_same(one, other)
        for one, other in zip(mine[3], theirs[3], strict=True):
            assert_same(one, other)
            assert 0 <= one["score"] <= 1 and ("terminal_observation" in one) == one["TimeLimit.truncated"]
        ends += int(mine[2].all())
        assert_same(*({"infos": dict(enumerate(env.reset_infos))} for env in (batch, singles)))
    assert ends == 2
    for env in (batch, singles):
        env.close()


def test_16_worlds_have_the_gradients_of_16_single_ones():
    options = {"differentiable": True, "max_episode_steps": 3}
    batch = gym.make_vec(FINGER, num_envs=16, vectorization_mode="vector_entry_point", **options).unwrapped
    actions = np.random.default_rng(1).uniform(-0.5, 0.5, (16, 3, 2))
    values, gradient = batch.value_and_grad(actions, seed=5)
    batch.close()
    alone = gym.make(FINGER, **options).unwrapped
    for b in range(16):
        value, own = alone.value_and_grad(actions[b], seed=5 + b)
        assert value == pytest.approx(values[b], rel=1e-5)
        scale = np.abs(own.actions).max()
        np.testing.assert_allclose(gradient.actions[b], own.actions, rtol=1e-3, atol=1e-4 * scale)
    alone.close()


@pytest.fixture
def batch():
    point_mass.register()
    env = BatchedVecEnv(gym.make_vec(point_mass.ID, num_envs=3, render_mode="rgb_array", **SAME_STEP))
    yield env
    env.close()


def test_returns_and_scores_of_finished_episodes_are_kept(batch):
    batch.seed(0)
    batch.reset()
    assert np.isnan(batch.finished_return).all()
    total = np.zeros(3)
    for _ in range(point_mass.HORIZON):
        _, reward, done, infos = batch.step(np.full((3, 2), 0.1))
        total += reward
    assert done.all()
    np.testing.assert_allclose(batch.finished_return, total, rtol=1e-5)
    np.testing.assert_array_equal(batch.finished_score, [info["score"] for info in infos])


def test_attributes_and_methods_of_worlds(batch):
    batch.seed(7)
    batch.reset()
    assert batch.get_attr("horizon") == [20, 20, 20]
    assert batch.get_attr("np_random_seed", indices=[2, 0]) == [9, 7]
    assert batch.get_attr("observation_space", indices=1) == [batch.observation_space]
    positions = batch.env_method("state", "position")
    assert len(positions) == 3 and positions[0].shape == (1, 2)
    np.testing.assert_array_equal(batch.env_method("state", "position", indices=[1])[0], positions[1])
    assert batch.env_is_wrapped(Monitor) == [False] * 3
    batch.set_attr("label", "a")
    assert batch.get_attr("label") == ["a"] * 3
    for call in (lambda: batch.set_attr("label", "b", indices=0), lambda: batch.env_method("reset", indices=0)):
        with pytest.raises(ValueError, match="leave out indices"):
            call()


def test_pictures_are_those_of_the_worlds(batch):
    batch.reset()
    pictures = batch.get_images()
    assert len(pictures) == 3 and all(picture.dtype == np.uint8 for picture in pictures)
    assert batch.render("rgb_array").shape[2] == 3


def test_options_set_the_initial_state(batch):
    place = np.full((1, 2), point_mass.MIDDLE + 0.25)
    batch.set_options({"state": {"position": place}})
    observation = batch.reset()
    np.testing.assert_allclose(observation[:, :2], 0.25, atol=1e-6)
    assert not np.allclose(batch.reset()[:, :2], 0.25)  # used once
    batch.set_options([{"state": {"position": place}}, {}, {}])
    with pytest.raises(ValueError, match="for every world"):
        batch.reset()


def test_a_restored_batch_goes_on_alike(batch):
    batch.seed(1)
    batch.reset()
    actions = np.random.default_rng(2).uniform(-1, 1, (30, 3, 2)).astype(np.float32)
    for action in actions[:13]:
        batch.step(action)
    tree = batch.to_tree()
    whole = [batch.step(action) for action in actions[13:]]  # into the next episode, whose start is drawn anew
    other = BatchedVecEnv(gym.make_vec(point_mass.ID, num_envs=3, **SAME_STEP))
    other.restore(tree)
    for action, expected in zip(actions[13:], whole, strict=True):
        observation, reward, done, _ = other.step(action)
        np.testing.assert_array_equal(observation, expected[0])
        np.testing.assert_array_equal(reward, expected[1])
        np.testing.assert_array_equal(done, expected[2])
    np.testing.assert_array_equal(other.finished_return, batch.finished_return)
    with pytest.raises(ValueError, match="3 worlds"):
        one = BatchedVecEnv(gym.make_vec(point_mass.ID, num_envs=2, **SAME_STEP))
        one.restore(tree)
    other.close()


def test_it_refuses_other_environments():
    point_mass.register()
    with pytest.raises(ValueError, match="make_vec"):
        BatchedVecEnv(gym.make(point_mass.ID))
    env = point_mass.make(2)
    with pytest.raises(ValueError, match="'SameStep'"):
        BatchedVecEnv(env)
    env.close()
