"""Kernels are compiled in parts, functions that call each other."""

import json
import os
import subprocess
import sys

import pytest

GRADIENT = """
import json
import gymnasium as gym, numpy as np
import pliant.envs
from pliant.sims.drivers import team
team.PART = {part}
env = gym.make("pliant/FingerReach-v0", differentiable=True, precision="f64").unwrapped
env.reset(seed=0)
loss, gradient = env.value_and_grad(np.full((2, env.action_space.shape[0]), 0.1))
print(json.dumps([float(loss), *gradient.actions.ravel().tolist()]))
"""


def run(part, cache):
    """What is printed with so many passes to a function, and which kernels are in the cache then."""
    settings = {"TI_OFFLINE_CACHE_FILE_PATH": str(cache), "PLIANT_OFFLINE_CACHE": "1", "PLIANT_THREADS": "1"}
    command = [sys.executable, "-c", GRADIENT.format(part=part)]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
    return done.stdout, {path.name for path in cache.glob("*.tic")}


def test_the_next_process_finds_kernels_of_many_parts_in_the_cache(tmp_path):
    first, stored = run(1, tmp_path)
    again, still = run(1, tmp_path)
    assert len(stored) == 2 and still == stored
    assert again == first


def test_how_many_parts_there_are_changes_no_gradient(tmp_path):
    one, many = (json.loads(run(part, tmp_path / str(part))[0]) for part in (1, 100))
    assert one == pytest.approx(many, rel=1e-10)
