"""Reinforcement learning as users run it: stable-baselines3 trains on an environment and has nothing to warn about."""

import sysconfig
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401  registers the ids

STEPS = 2000
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


def is_of_others(warning: warnings.WarningMessage) -> bool:
    """Whether a deprecation is reported from inside the standard library, torch or taichi."""
    file = Path(warning.filename)
    inside_library = STANDARD_LIBRARY in file.parents and "site-packages" not in file.parts
    frozen = warning.filename.startswith("<frozen ")  # the import system, which has no file
    others = inside_library or frozen or {"torch", "taichi"} & set(file.parts)
    return issubclass(warning.category, DeprecationWarning) and bool(others)


def test_ppo_trains_without_a_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        algorithms = pytest.importorskip("stable_baselines3")
        from stable_baselines3.common.env_checker import check_env

        env = gym.make("pliant/FingerReach-v0")  # with Gymnasium's passive checker, whose logger issues UserWarnings
        check_env(env)
        model = algorithms.PPO(
            "MlpPolicy", env, n_steps=500, batch_size=250, n_epochs=2, seed=0, device="cpu", verbose=0
        )
        before = {name: value.clone() for name, value in model.policy.state_dict().items()}
        model.learn(STEPS)
        env.close()
    assert model.num_timesteps == STEPS
    after = model.policy.state_dict()
    assert all(np.isfinite(value.numpy()).all() for value in after.values())
    assert any((after[name] != value).any() for name, value in before.items())
    assert [str(warning) for warning in caught if not is_of_others(warning)] == []
