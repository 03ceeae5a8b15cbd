"""``device="vulkan"``: one environment or scene of each solver, and all environments (slow), as on the CPU.

Both compute in float32, in another order and by other elementary functions. What differs by more than rounding differs
by a fault: quantities are compared on the scale of their largest entry.
"""

import numpy as np
import pytest
from device_runs import run, run_elsewhere

from pliant.envs import ENTRIES
from pliant.sims import vulkan

FORWARD, BACKWARD = 1e-5, 1e-4
"""Largest differences, of rewards, observations and states, and of gradients."""

needs_vulkan = pytest.mark.skipif(
    not vulkan.devices(), reason="no Vulkan device answers (Debian's mesa-vulkan-drivers and libvulkan1 bring one)"
)


def differences(found, expected):
    """Largest difference of each quantity, on the scale of its largest entry."""
    assert found.keys() == expected.keys()
    scales = {name: np.abs(value).max(initial=0.0) or 1.0 for name, value in expected.items()}
    return {name: np.abs(found[name] - expected[name]).max(initial=0.0) / scales[name] for name in expected}


def limit(name):
    return BACKWARD if name.endswith("_bar") else FORWARD


@needs_vulkan
@pytest.mark.parametrize(
    "name",
    [
        "scene2",  # elastic, plastic, muscles, effectors, walls; two worlds
        "scene2 in rounds",  # the same where a thread visits several nodes
        "rod",  # branched, driven
        "pliant/Crawler3D-v0",
        "pliant/Pouring-v0",  # liquids in a moving container
        "pliant/IceCreamStatic-v0",  # an injector
    ],
)
def test_a_solver_agrees_with_the_cpu(name, tmp_path):
    found, expected = run_elsewhere(name, "vulkan", 1, tmp_path / "found.npz"), run(name, "cpu", 1)
    wrong = {key: error for key, error in differences(found, expected).items() if not error <= limit(key)}
    assert not wrong


@needs_vulkan
@pytest.mark.slow
@pytest.mark.parametrize("env_id", [entry.id for entry in ENTRIES])
def test_every_environment_agrees_with_the_cpu(env_id, tmp_path):
    """To rounding: as well as above, or at least as well as float32 and float64 do on the CPU."""
    found = run_elsewhere(env_id, "vulkan", 3, tmp_path / "found.npz")
    expected, exact = run(env_id, "cpu", 3), run(env_id, "cpu", 3, "f64")
    rounding = differences(expected, exact)
    wrong = {
        key: (error, rounding[key])
        for key, error in differences(found, expected).items()
        if not error <= max(limit(key), rounding[key])
    }
    assert not wrong
