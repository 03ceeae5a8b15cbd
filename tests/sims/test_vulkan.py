"""Which device is taken, what is said where it cannot be, and what shaders compute, where a Vulkan device answers."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pliant.sims import runtime, vulkan
from pliant.sims.vulkan import DISCRETE, INTEGRATED, SOFTWARE, Device

needs_vulkan = pytest.mark.skipif(
    not vulkan.devices(), reason="no Vulkan device answers (Debian's mesa-vulkan-drivers and libvulkan1 bring one)"
)


def run(program, **variables):
    return run_command(["-c", textwrap.dedent(program)], **variables)


def run_command(arguments, **variables):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize(
    ("kinds", "has_cuda", "precision", "expected"),
    [
        ([], False, "f32", "cpu"),
        ([SOFTWARE], False, "f32", "cpu"),
        ([INTEGRATED, SOFTWARE], False, "f32", "vulkan"),
        ([DISCRETE], False, "f64", "cpu"),
        ([DISCRETE], True, "f32", "cuda"),
        ([SOFTWARE], True, "f64", "cuda"),
    ],
)
def test_auto_takes_hardware(kinds, has_cuda, precision, expected, monkeypatch):
    monkeypatch.delenv("TI_VISIBLE_DEVICE", raising=False)
    monkeypatch.setattr(runtime, "_has_cuda", lambda: has_cuda)
    monkeypatch.setattr(vulkan, "devices", lambda: [Device(i, "a device", kind) for i, kind in enumerate(kinds)])
    assert runtime._pick_device(precision) == expected


def test_a_variable_may_name_the_software_device(monkeypatch):
    monkeypatch.setattr(runtime, "_has_cuda", lambda: False)
    monkeypatch.setattr(vulkan, "devices", lambda: [Device(1, "card", DISCRETE), Device(0, "llvmpipe", SOFTWARE)])
    assert runtime._vulkan_device().name == "card"
    monkeypatch.setenv("TI_VISIBLE_DEVICE", "0")
    assert runtime._vulkan_device().name == "llvmpipe" and runtime._pick_device("f32") == "cpu"


@pytest.mark.parametrize("value", ["2", "-1", "", "one", "1.0", "9" * 400])
def test_a_variable_that_names_no_device_is_refused(value, monkeypatch):
    monkeypatch.setenv("TI_VISIBLE_DEVICE", value)
    monkeypatch.setattr(vulkan, "devices", lambda: [Device(0, "a", DISCRETE), Device(1, "b", SOFTWARE)])
    with pytest.raises(ValueError, match=r"TI_VISIBLE_DEVICE='.*' must be an integer from 0 to 1"):
        runtime._vulkan_device()


def test_without_a_driver_the_message_says_what_brings_one():
    done = run(
        "from pliant.sims.runtime import choose; choose('vulkan')", VK_ICD_FILENAMES="/none", VK_DRIVER_FILES="/none"
    )
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ValueError: device='vulkan' is not available") and "mesa-vulkan-drivers" in message
    assert "device='cpu'" in message


def test_double_precision_is_refused_by_name():
    program = "import gymnasium, pliant.envs; gymnasium.make('pliant/FingerReach-v0', device='vulkan', precision='f64')"
    message = run(program).stderr.splitlines()[-1]
    assert message.startswith("ValueError: precision='f64' is not available on device='vulkan'")
    assert "precision='f32'" in message and "device='cpu'" in message


@needs_vulkan
def test_elementary_functions_are_exact_to_rounding(tmp_path):
    """To two units in the last place (powers five), near their zeros too; what is not a number stays so."""
    program = """
    import numpy as np
    from pliant.sims.runtime import start, ti
    assert start("vulkan") == "vulkan" and ti.lang.impl.current_cfg().arch == ti.vulkan
    from pliant.sims.math.elementary import atan2, exp, log, power, sin_cos
    floats, table = ti.types.ndarray(ti.f32, 1), ti.types.ndarray(ti.f32, 2)

    @ti.kernel
    def fill(x: floats, w: floats, y: floats, found: table):
        for i in range(x.shape[0]):
            s, c = sin_cos(x[i])
            found[i, 0] = s
            found[i, 1] = c
            found[i, 2] = log(ti.abs(x[i]))
            found[i, 3] = exp(x[i])
            found[i, 4] = atan2(x[i], w[i])
            found[i, 5] = power(ti.abs(x[i]), y[i])

    def values(x, w, y):
        found = np.zeros((len(x), 6), np.float32)
        fill(x.astype(np.float32), w.astype(np.float32), y.astype(np.float32), found)
        return found

    rng = np.random.default_rng(0)
    n = 50_000
    x = np.concatenate([rng.uniform(-3, 3, n), 1 + 1e-3 * rng.standard_normal(n), rng.uniform(-80, 80, n),
                        rng.standard_normal(n) * 10.0 ** rng.uniform(-20, 1, n)]).astype(np.float32)
    w = np.concatenate([rng.uniform(-3, 3, 3 * n), x[3 * n:] * 1.01]).astype(np.float32)
    y = rng.uniform(0.2, 5, 4 * n).astype(np.float32)
    found, X, W = values(x, w, y), x.astype(float), w.astype(float)
    powers = np.abs(X) ** y.astype(float)
    found[powers < 1e-37, 5] = powers[powers < 1e-37] = 0
    for k, exact in enumerate([np.sin(X), np.cos(X), np.log(np.abs(X)), np.exp(X), np.arctan2(X, W), powers]):
        error = np.abs(found[:, k] - exact)
        # a sine near a zero away from 0 is known to the rounding of the angle's rest
        scale = np.abs(exact) + (0.5 * (np.abs(X) > 3) if k < 2 else 0)
        worst = (error[scale > 0] / scale[scale > 0]).max()
        at = np.nanargmax(np.where(scale > 0, error / np.where(scale > 0, scale, 1), 0))
        assert worst < (2.4e-7 if k < 5 else 6e-7), (k, worst, X[at], y[at], found[at, k], exact[at])
    ends = values(np.array([0, np.nan, 100, -200, 0, 1e30]), np.array([0, 1, 1, 1, -1, 1]), np.full(6, 3.0))
    assert np.isneginf(ends[0, 2]) and np.isnan(ends[1]).all() and np.isposinf(ends[2, 3]) and ends[3, 3] == 0
    assert ends[0, 4] == 0 and abs(ends[4, 4] - np.pi) < 1e-6 and ends[0, 5] == 0 and np.isposinf(ends[5, 5])
    print("passed")
    """
    file = tmp_path / "functions.py"  # taichi reads the source of kernels
    file.write_text(textwrap.dedent(program))
    done = run_command([str(file)])
    assert done.stdout.endswith("passed\n"), done.stderr[-2000:]


@needs_vulkan
def test_a_failure_is_reported_and_states_can_be_set():
    """On software, as CI has it, pictures are refused: they would lose pixels."""
    program = """
    import sys
    sys.path.insert(0, TESTS)
    import numpy as np
    from small_scenes import small_world
    from pliant.sims.checks import SimulationDiverged
    from pliant.sims.vulkan import devices
    world = small_world(2, batch=3, device="vulkan", precision="f32")
    velocity = world.state("velocity")
    velocity[1:] = 1e4
    world.set_state("velocity", velocity)
    assert np.array_equal(world.state("velocity"), velocity)
    try:
        world.step(np.zeros((3, world.control_size)))
    except SimulationDiverged as error:
        assert (error.step, error.substep, error.world) == (0, 0, 1), error
        assert error.cause == "a particle left the domain", error
    else:
        raise SystemExit("no failure was reported")
    if not devices()[0].is_hardware:
        from pliant.sims.camera.renderer import Renderer
        try:
            Renderer(64, 64)
        except ValueError as error:
            assert str(error).startswith("pictures cannot be made on device='vulkan'"), error
        else:
            raise SystemExit("a picture was made")
    print("passed")
    """
    done = run(program.replace("TESTS", repr(str(Path(__file__).parents[1]))))
    assert done.stdout.endswith("passed\n"), done.stderr[-2000:]
