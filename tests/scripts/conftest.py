"""Makes the fake environment of ``tests/policies/fake_env.py`` available as a fixture."""

import importlib.util
import sys
from pathlib import Path

import pytest

NAME = "pliant_fake_env"


@pytest.fixture(scope="session")
def fake_env():
    """The module ``fake_env``, its id registered."""
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(NAME, Path(__file__).parents[1] / "policies" / "fake_env.py")
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[NAME])
    module = sys.modules[NAME]
    module.register()
    return module
