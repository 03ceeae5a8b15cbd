"""Libraries that people use environments with: each as its own documentation says, where it is installed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401  registers the ids

ID = "pliant/CableShape-v0"  # its steps are the cheapest
STEPS = 5


def test_torchrl_checks_specs_and_rolls_out() -> None:
    gym_env = pytest.importorskip("torchrl.envs.libs.gym", exc_type=ImportError).GymEnv
    from torchrl.envs.utils import check_env_specs

    env = gym_env(ID, max_episode_steps=STEPS)
    env.set_seed(0)
    check_env_specs(env)
    data = env.rollout(3 * STEPS)
    assert data.shape == (STEPS,) and bool(data["next", "truncated"][-1]) and not data["next", "terminated"].any()
    data = env.rollout(2 * STEPS, break_when_any_done=False)
    assert data["next", "done"].squeeze(-1).tolist() == ([False] * (STEPS - 1) + [True]) * 2
    env.close()


def test_torchrl_takes_finger_reach() -> None:
    gym_env = pytest.importorskip("torchrl.envs.libs.gym", exc_type=ImportError).GymEnv
    env = gym_env("pliant/FingerReach-v0")
    assert env.rollout(3)["observation"].shape == (3, 26)
    env.close()


def test_minari_collects_a_data_set_with_infos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    for needed in ("h5py", "jax"):  # its extras "hdf5" and "create"
        pytest.importorskip(needed)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make(ID, max_episode_steps=STEPS), record_infos=True)
    rng = np.random.default_rng(0)
    scores = []
    for seed in range(2):
        env.reset(seed=seed)
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(rng.uniform(-1, 1, 12).astype(np.float32))
            over = terminated or truncated
        scores.append(info["score"])
    data = env.create_dataset(
        dataset_id="pliant/cable-shape-v0", algorithm_name="random", author="test", author_email="test@example.org"
    )
    env.close()
    episodes = list(minari.load_dataset("pliant/cable-shape-v0").iterate_episodes())
    assert len(data) == len(episodes) == 2
    for episode, score in zip(episodes, scores, strict=True):
        assert episode.observations.shape == (STEPS + 1, 125) and episode.truncations[-1]
        assert episode.infos["score"].shape == (STEPS + 1,) and episode.infos["score"][-1] == score
        terms = episode.infos["reward_terms"]
        np.testing.assert_allclose(sum(terms.values())[1:], episode.rewards, rtol=1e-6)
        assert not any(values[0] for values in terms.values())


def test_stable_baselines_evaluates_the_success_rate(tmp_path: Path) -> None:
    algorithms = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.monitor import Monitor

    class Close(type(gym.make(ID).unwrapped.task)):  # type: ignore[misc]
        success_score = 0.0  # any episode is one

    entry = gym.spec(ID)
    gym.register("test/Close-v0", entry_point=entry.entry_point, max_episode_steps=STEPS, kwargs={"task": Close})
    for env_id, rate in ((ID, 0.0), ("test/Close-v0", 1.0)):
        judge = Monitor(gym.make(env_id, max_episode_steps=STEPS))
        callback = EvalCallback(judge, eval_freq=8, n_eval_episodes=2, log_path=str(tmp_path / env_id), verbose=0)
        env = gym.make(env_id, max_episode_steps=STEPS)
        algorithms.PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu").learn(16, callback)
        found = np.load(tmp_path / env_id / "evaluations.npz")
        np.testing.assert_array_equal(found["successes"], np.full((2, 2), rate))
        assert (found["ep_lengths"] == STEPS).all()
        judge.close()
        env.close()
    del gym.registry["test/Close-v0"]


def test_hindsight_and_vector_environments_see_success() -> None:
    algorithms = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env(ID, n_envs=2, env_kwargs={"terminate_on_success": True, "on_divergence": "truncate"})
    model = algorithms.SAC("MlpPolicy", envs, learning_starts=4, buffer_size=100, seed=0, device="cpu")
    model.learn(8)
    assert set(envs.reset_infos[0]) == {"score", "is_success", "reward_terms", "diverged"}
    envs.close()


def test_record_video_writes_episodes(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env: Any = gym.make(ID, max_episode_steps=STEPS, render_mode="rgb_array")
    env = gym.wrappers.RecordVideo(env, str(tmp_path), episode_trigger=lambda _: True, disable_logger=True)
    for seed in range(2):
        env.reset(seed=seed)
        while not env.step(np.zeros(12, np.float32))[3]:
            pass
    env.close()
    videos = sorted(path.name for path in tmp_path.glob("*.mp4"))
    assert videos == ["rl-video-episode-0.mp4", "rl-video-episode-1.mp4"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in videos)


def test_spawned_processes_step_what_one_process_steps() -> None:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (2 * STEPS, 2, 12)).astype(np.float32)
    # the processes are new: the id brings the module that registers it
    maker = partial(gym.make, f"pliant.envs:{ID}", max_episode_steps=STEPS)
    found = []
    for kind, options in ((gym.vector.AsyncVectorEnv, {"context": "spawn"}), (gym.vector.SyncVectorEnv, {})):
        envs = kind([maker] * 2, **options)
        rows = [envs.reset(seed=3)[0]]
        for action in actions:
            observation, reward, _, truncated, info = envs.step(action)
            rows += [observation, reward, truncated, info["score"]]
        envs.close()
        found.append(rows)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
