"""The keywords that every environment takes are declared once."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, get_args

import gymnasium as gym
import nudge
import numpy as np
import pytest

from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.differentiable import load_task
from pliant.envs.options import OPTION_NAMES, Device, Options, Precision, split_keywords
from pliant.envs.registry import ENTRIES, Entry
from pliant.envs.task import make_config
from pliant.sims.runtime import DEVICES, PRECISIONS


@pytest.mark.parametrize("face", [TaskEnv, TaskVectorEnv])
def test_the_signature_of_a_face_shows_every_option_with_its_default(face: type) -> None:
    shown = inspect.signature(face).parameters
    for field in fields(Options):
        assert shown[field.name].default == field.default and shown[field.name].kind is inspect.Parameter.KEYWORD_ONLY
    *_, last = shown.values()
    assert last.kind is inspect.Parameter.VAR_KEYWORD and last.name == "config"


def test_words_are_those_of_the_simulators() -> None:
    assert get_args(Device) == DEVICES
    assert get_args(Precision) == PRECISIONS


WRONG: list[dict[str, Any]] = [
    {"render_mode": "human"},
    {"max_episode_steps": 0},
    {"max_episode_steps": 2.0},
    {"max_episode_steps": True},
    {"max_episode_steps": 100_001},
    {"differentiable": 1},
    {"device": "abacus"},
    {"precision": np.float32},
    {"resolution": ["small"]},
    {"soft_contact": None},
    {"memory": "a lot"},
    {"memory": True},
    {"parameters": [("gravity", 1.0)]},
    {"arm": "left"},
    {"arm": np.zeros(3)},
    {"arm": "nowhere.urdf"},
    {"terminate_on_success": "yes"},
    {"on_divergence": "ignore"},
    {"on_divergence": "truncate", "differentiable": True},
]


def test_every_option_has_a_wrong_value_here() -> None:
    assert {name for wrong in WRONG for name in wrong} == set(OPTION_NAMES)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_value_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.*(allowed|must be|does not)"):
        Options(**wrong)


def test_truth_values_and_counts_of_numpy_are_taken_as_those_of_python() -> None:
    options = Options(differentiable=np.True_, max_episode_steps=np.int64(3))  # type: ignore[arg-type]
    assert options.differentiable is True and type(options.max_episode_steps) is int


def test_keywords_that_are_no_options_are_the_tasks_own() -> None:
    assert split_keywords({"arm": "none", "colour": 1}) == ({"arm": "none"}, {"colour": 1})
    with pytest.raises(ValueError, match=f"'colour'.*allowed: {', '.join(OPTION_NAMES)}"):
        nudge.make(colour=1)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_numbers_of_a_configuration_have_bounds(entry: Entry) -> None:
    """Nothing that divides by a number of the configuration gets a 0, and squares of large ones stay finite."""
    config = load_task(entry.task).Config
    numbers = [one for one in fields(config) if isinstance(one.default, (int, float)) and "allowed" not in one.metadata]
    for one in numbers:
        for value in (-1.0, 1e16, 1e300, np.nan, *([0.0, 1e-300] if "least" in one.metadata else [])):
            with pytest.raises(ValueError, match=f"^{one.name}="):
                make_config(config, {one.name: value})
        if "most" in one.metadata:
            with pytest.raises(ValueError, match=f"^{one.name}=.* <= {one.metadata['most']}$"):
                make_config(config, {one.name: one.metadata["most"] + 0.001})
        if "least" not in one.metadata:
            make_config(config, {one.name: 0.0})


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_a_number_of_zero_works_or_is_refused_by_a_sentence(entry: Entry) -> None:
    for one in fields(load_task(entry.task).Config):
        if not isinstance(one.default, (int, float)) or "allowed" in one.metadata:
            continue
        try:
            env = gym.make(entry.id, **{one.name: 0.0})
        except ValueError:
            continue
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(3):
            observation, reward, *_ = env.step(env.action_space.sample())
            assert np.isfinite(observation).all() and np.isfinite(float(reward)), one.name
        env.close()
