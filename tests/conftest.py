"""What all tests share: helper modules beside this file can be imported, taichi runs on the CPU."""

import os
import sys
from pathlib import Path

import pytest

# Before NumPy is loaded: threads of its linear algebra wait for each other by spinning, two processes run tests at a
# time, and the matrices are small. Fits of networks took four times as long.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))


FIRST = ("envs/test_all_environments", "envs/test_corner", "sims/fem/", "envs/test_rod_tasks", "sims/rod/")
"""Tests whose worlds are of the same kinds, in the order in which they are run, before all others."""


def pytest_collection_modifyitems(items):
    """Tests that need the same kernels stand together: each process compiles its own, and gets one end of the list."""

    def rank(item):
        name = item.nodeid.removeprefix("tests/")
        return next((place for place, start in enumerate(FIRST) if name.startswith(start)), len(FIRST))

    items.sort(key=rank)


@pytest.fixture(scope="session", autouse=True)
def cpu():
    """Start taichi on the CPU before any test allocates. A world has one thread, except where a test makes a team.

    Members of a team wait for each other by spinning: as two processes run tests at a time, each with as many threads
    as there are cores, they would mostly wait. Tests of teams say how many elements a member takes.
    """
    from pliant.sims import world
    from pliant.sims.runtime import start

    start("cpu")
    before, world.MEMBER_ELEMENTS = world.MEMBER_ELEMENTS, 2**30
    yield
    world.MEMBER_ELEMENTS = before
