"""``device="vulkan"``: one environment or scene of each solver, and all environments (slow), as on the CPU.

Both compute in float32, in another order and by other elementary functions. Quantities are compared on the scale of
their largest entry. Where they differ by more than the tolerances, rounding alone must be as large: float32 and float64
on the CPU differ by a third of it, at least.
"""

import numpy as np
import pytest
from device_runs import run, run_elsewhere

from pliant.envs import ENTRIES
from pliant.sims import vulkan

FORWARD, BACKWARD = 1e-5, 1e-4
"""Largest differences, of rewards, observations and states, and of gradients."""
SUM = 3.0
"""Two results in float32 differ by up to twice their own distance from float64, and these are two samples of it."""

needs_vulkan = pytest.mark.skipif(
    not vulkan.devices(), reason="no Vulkan device answers (Debian's mesa-vulkan-drivers and libvulkan1 bring one)"
)


def differences(found, expected):
    """Largest difference of each quantity, on the scale of its largest entry."""
    assert found.keys() == expected.keys()
    scales = {name: np.abs(value).max(initial=0.0) or 1.0 for name, value in expected.items()}
    return {name: np.abs(found[name] - expected[name]).max(initial=0.0) / scales[name] for name in expected}


def check(name, steps, file, reference="cpu"):
    """That a run on the Vulkan device agrees with that on the CPU, to rounding."""
    expected = run(name, reference, steps)
    errors = differences(run_elsewhere(name, "vulkan", steps, file), expected)
    large = {key: error for key, error in errors.items() if not error <= (BACKWARD if "_bar" in key else FORWARD)}
    if large:
        rounding = differences(expected, run(name, reference, steps, "f64"))
        large = {key: (error, rounding[key]) for key, error in large.items() if not error <= SUM * rounding[key]}
    assert not large


@needs_vulkan
@pytest.mark.parametrize(
    "name",
    [
        "parts",  # from outside the package, with a loop and a slower rate
        "scene2 in rounds",  # elastic, plastic, muscles, effectors, walls; two worlds, a thread visits several nodes
        "rod",  # branched, driven
        "pliant/SurfaceFollow-v0",  # a gel in an implicit step, its markers
        # three dimensions; liquids with surface tension, injected and drained; a gel with a rigid body
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("scene3", "wet2", "wet3", "gel")),
    ],
)
def test_a_solver_agrees_with_the_cpu(name, tmp_path):
    check(name, 1, tmp_path / "found.npz", "elements" if name == "wet3" else "cpu")


@needs_vulkan
@pytest.mark.slow
@pytest.mark.parametrize("env_id", [entry.id for entry in ENTRIES])
def test_every_environment_agrees_with_the_cpu(env_id, tmp_path):
    """But for a rod whose step has too many rounds for a software device: that says so."""
    if "Branched" in env_id and not vulkan.devices()[0].is_hardware:
        with pytest.raises(AssertionError, match="a software device has ended the loops of the step early"):
            run_elsewhere(env_id, "vulkan", 3, tmp_path / "found.npz")
    else:
        check(env_id, 3, tmp_path / "found.npz")
