"""What all tests share: helper modules beside this file can be imported, taichi runs on the CPU."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def cpu():
    """Start taichi on the CPU before any test allocates."""
    from pliant.sims.runtime import start

    start("cpu")
