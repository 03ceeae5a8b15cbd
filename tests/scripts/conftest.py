"""Makes the fake environment of ``tests/fake_env.py`` available as a fixture."""

import fake_env as fake
import pytest


@pytest.fixture(scope="session")
def fake_env():
    """The module ``fake_env``, its id registered."""
    fake.register()
    return fake
