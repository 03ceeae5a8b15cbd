"""Goals of the dough tasks: the seed decides them, and a target is worth a score of 1."""

from __future__ import annotations

import functools
import hashlib
import importlib
from typing import Any

import numpy as np
import pytest

from pliant.envs import features as f
from pliant.envs.registry import ENTRIES

TASKS = {entry.id.split("/")[1][:-3]: entry.task for entry in ENTRIES if ".dough." in entry.task}
DEMONSTRATED = ("Pinch", "Table", "Torus", "Writer")
HASHES = {
    "Assembly": "19ce491ec8de",
    "Chopsticks": "f588e3560e7e",
    "Move": "66ad069c6d41",
    "RollingPin": "17c098ff884b",
    "Rope": "6276c2155d58",
    "TripleMove": "c39d2900d0f2",
}


@functools.cache
def make(name: str, **options: Any) -> Any:
    module, kind = TASKS[name].split(":")
    return getattr(importlib.import_module(module), kind)(**options)


def test_there_are_ten() -> None:
    assert len(TASKS) == 10


@pytest.mark.parametrize("name", TASKS)
def test_the_seed_decides_the_goal(name: str) -> None:
    again = type(make(name))()
    first, second = (task.make_goal(np.random.default_rng(5)) for task in (make(name), again))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)
    other = make(name).make_goal(np.random.default_rng(6))
    assert not np.array_equal(first["target_density"], other["target_density"])


@pytest.mark.parametrize("name", HASHES)
def test_goals_are_what_they_were(name: str) -> None:
    density = make(name).make_goal(np.random.default_rng(5))["target_density"]
    assert hashlib.sha256((np.round(density, 6) + 0.0).tobytes()).hexdigest()[:12] == HASHES[name]


@pytest.mark.parametrize("name", TASKS)
def test_targets_hold_all_the_dough(name: str) -> None:
    task = make(name)
    density = task.make_goal(np.random.default_rng(5))["target_density"]
    volume = len(task.scene.position) * task.spacing**3
    assert np.isclose(density.sum() * task.scene.cell**3, volume, rtol=1e-6)
    assert np.isclose(f.overlap(density[None], density[None])[0], 1.0)


@pytest.mark.parametrize("name", DEMONSTRATED)
def test_a_demonstration_is_made_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make(name)
    first = task.make_goal(np.random.default_rng(5))
    monkeypatch.setattr(task, "demonstrate", None)
    assert np.array_equal(task.make_goal(np.random.default_rng(5))["points"], first["points"])


@pytest.mark.parametrize("name", TASKS)
def test_full_size_is_finer(name: str) -> None:
    small, full = make(name).scene, make(name, resolution="full").scene
    assert len(small.position) <= 2_500
    assert len(full.position) > 6 * len(small.position)
    assert np.allclose(small.size, full.size)
