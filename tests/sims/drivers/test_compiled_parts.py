"""Kernels are compiled in parts, functions that call each other."""

import json
import os
import subprocess
import sys
import time

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


TINY = """
from pliant.sims.runtime import start, ti
start("cpu")
@ti.kernel
def double(x: ti.i32) -> ti.i32:
    return 2 * x
assert double(3) == 6
"""


@pytest.mark.parametrize("age", [3600, 0])
def test_a_lock_that_a_killed_process_left_does_not_end_the_cache(tmp_path, age):
    program, cache = tmp_path / "tiny.py", tmp_path / "cache"  # taichi reads the sources of kernels
    program.write_text(TINY)
    cache.mkdir()
    lock = cache / "ticache.lock"
    lock.touch()
    os.utime(lock, 2 * (time.time() - age,))
    settings = {"TI_OFFLINE_CACHE_FILE_PATH": str(cache), "PLIANT_OFFLINE_CACHE": "1"}
    subprocess.run([sys.executable, str(program)], env=os.environ | settings, check=True, capture_output=True)
    assert lock.exists() == (age == 0)  # that of a living process stays
    assert len(list(cache.glob("*.tic"))) == (1 if age else 0)


def test_how_many_parts_there_are_changes_no_gradient(tmp_path):
    one, many = (json.loads(run(part, tmp_path / str(part))[0]) for part in (1, 100))
    assert one == pytest.approx(many, rel=1e-10)
