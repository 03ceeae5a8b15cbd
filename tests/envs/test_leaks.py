"""Environments that are made and closed again and again leave no memory behind."""

from __future__ import annotations

import gc
import sys

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401  registers the ids

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WORLDS = 16
SOLVERS = {  # one environment of each kind
    "particles in the plane": "FingerReach",
    "particles in space": "Torus",
    "liquids from nozzles": "IceCreamStatic",
    "rods": "CableShape",
}


def resident() -> int:
    """Bytes of this process that lie in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def use(name: str, *, steps: int) -> None:
    """Make a batch, begin an episode, simulate a little, close."""
    envs = gym.make_vec(f"pliant/{name}-v0", num_envs=WORLDS)
    envs.reset(seed=0)
    for _ in range(steps):
        envs.step(np.zeros(envs.action_space.shape, np.float32))
    envs.close()


def growth(name: str, *, cycles: int, steps: int, before: int = 10) -> int:
    """Bytes that the process grows by in ``cycles`` batches, after some to warm up."""
    for _ in range(before):
        use(name, steps=steps)
    gc.collect()
    start = resident()
    for _ in range(cycles):
        use(name, steps=steps)
    gc.collect()
    return resident() - start


@pytest.mark.parametrize(("solver", "cycles"), [("particles in the plane", 30), ("rods", 6)])  # the others take minutes
def test_making_and_closing_batches_loses_nothing(solver, cycles):
    grown = growth(SOLVERS[solver], cycles=cycles, steps=1, before=5)
    assert grown < 2**20, f"{grown / 2**20:.2f} MiB"


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_two_hundred_batches_lose_nothing(solver):
    grown = growth(SOLVERS[solver], cycles=200, steps=1)
    assert grown < 2 * 2**20, f"{grown / 2**20:.2f} MiB"
