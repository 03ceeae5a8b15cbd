"""What the tests of policies share: the fake environment of ``tests/fake_env.py``, and torch on one thread."""

import sys

import fake_env as fake
import pytest


@pytest.fixture(scope="session")
def fake_env():
    """The module ``fake_env``, its id registered."""
    fake.register()
    return fake


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Torch on one thread, where it has been imported: the networks are small, and results the same everywhere."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
