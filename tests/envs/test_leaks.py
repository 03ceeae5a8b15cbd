"""Environments that are made and closed again and again leave no memory behind."""

from __future__ import annotations

import sys

import gymnasium as gym
import numpy as np
import pytest
from memory_use import grown

import pliant.envs  # noqa: F401  registers the ids

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WORLDS = 16
SOLVERS = {  # one environment of each kind
    "particles in the plane": "FingerReach",
    "particles in space": "Crawler3D",
    "liquids from nozzles": "IceCreamStatic",
    "rods": "CableShape",
}


def use(name: str) -> None:
    """Make a batch, begin an episode, take a step, close."""
    envs = gym.make_vec(f"pliant/{name}-v0", num_envs=WORLDS)
    envs.reset(seed=0)
    envs.step(np.zeros(envs.action_space.shape, np.float32))
    envs.close()


@pytest.mark.parametrize(
    ("solver", "cycles"), [("particles in the plane", 30), ("liquids from nozzles", 6), ("rods", 12)]
)
def test_making_and_closing_batches_loses_nothing(solver, cycles):
    assert grown(lambda: use(SOLVERS[solver]), before=5, cycles=cycles) < 2**20


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_two_hundred_batches_lose_nothing(solver):
    assert grown(lambda: use(SOLVERS[solver]), before=10, cycles=200) < 2 * 2**20
