"""Threads of one process make, step and close Worlds at once, with the results of one after the other."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from small_scenes import random_controls, reverse, small_world, states

from pliant.sims.camera.camera import Camera
from pliant.sims.camera.renderer import Renderer

CAMERA = Camera.frame_scene([0, 0, 0], [1, 1, 1], 3, aspect=1.0)


def roll_out(seed):
    """All that comes of one World, by name."""
    world = small_world(2)
    for c in random_controls(world, 4, seed):
        world.step(c)
    found = states(world)
    found |= {f"{n}_bar": b for n, b in reverse(world, {n: np.ones(v.shape) for n, v in found.items()}).items()}
    found["picture"] = Renderer(64, 64).render(np.full((4, 3), 0.5), (1, 0, 0), 0.05, CAMERA)
    world.close()
    return found


def test_threads_get_what_one_gets_alone():
    found, failures = [None] * 4, []

    def work(number):
        try:
            found[number] = roll_out(number)
        except BaseException as error:
            failures.append(error)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(found))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    assert not failures
    for seed, results in enumerate(found):
        expected = roll_out(seed)
        for name, value in expected.items():
            np.testing.assert_array_equal(results[name], value, err_msg=name)


PROGRAM = """
import threading
import gymnasium as gym, numpy as np
import pliant.envs

found = []
def work(env_id):
    env = gym.make(env_id)
    env.reset(seed=0)
    found.append(float(env.step(np.zeros(env.action_space.shape))[1]))
    env.close()

ids = ["pliant/FingerReach-v0", "pliant/CableShape-v0", "pliant/FingerReach-v0", "pliant/CableShape-v0"]
threads = [threading.Thread(target=work, args=(env_id,)) for env_id in ids]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len(set(found)))
"""


def run(program, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300, env=environment
    )


def test_the_first_environments_of_a_process_may_be_made_in_several_threads():
    done = run(PROGRAM)
    assert done.stdout == "4 2\n", done.stderr
    assert "Error" not in done.stderr


CHOOSE = "from pliant.sims.runtime import choose; choose()"


@pytest.mark.parametrize("value", ["100000", "0", "-1", "", "1.5", "abc", "1e3", " 2", "9" * 400])
def test_a_number_of_threads_that_cannot_be_names_its_variable(value):
    done = run(CHOOSE, PLIANT_THREADS=value)
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ValueError") and f"PLIANT_THREADS={value!r}" in message and "from 1 to" in message


@pytest.mark.parametrize("value", ["maybe", "", "2", "True"])
def test_a_setting_of_the_cache_that_cannot_be_names_its_variable(value):
    done = run(CHOOSE, PLIANT_OFFLINE_CACHE=value)
    assert done.stderr.splitlines()[-1].startswith(
        f"ValueError: the environment variable PLIANT_OFFLINE_CACHE={value!r}"
    )


def test_threads_are_as_many_as_asked_for():
    program = """
    from pliant.sims.runtime import start, thread_count, ti
    start()
    print(thread_count(), ti.lang.impl.current_cfg().cpu_max_num_threads)
    """
    assert run(program, PLIANT_THREADS="3").stdout == "3 3\n"


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2", 100_000])
def test_threads_out_of_range_are_refused(threads):
    done = run(f"from pliant.sims.runtime import choose; choose('cpu', threads={threads!r})")
    assert f"ValueError: threads={threads!r} must be an integer from 1 to" in done.stderr


DEVICES = """
from pliant.sims.runtime import _has_cuda, choose, ti
for device in ("vulkan", "cuda", "metal"):
    if not (_has_cuda() if device == "cuda" else ti.lang.misc.is_arch_supported(getattr(ti, device))):
        try:
            choose(device)
        except ValueError as error:
            print(str(error).startswith(f"device={device!r} is not available"))
choose("cpu")
for device in ("vulkan", "cuda", "metal"):
    try:
        choose(device)
    except ValueError as error:
        print("contradicts 'cpu'" in str(error))
print(choose("auto"))
"""


def test_a_device_that_is_absent_or_the_second_one_is_refused():
    lines = run(DEVICES).stdout.splitlines()
    assert len(lines) >= 4 and set(lines[:-1]) == {"True"} and lines[-1] == "cpu"


def test_a_variable_of_taichi_that_contradicts_the_device_is_refused():
    done = run("from pliant.sims.runtime import start; start('cpu')", TI_ARCH="vulkan")
    assert "ValueError: the environment variable TI_ARCH='vulkan' contradicts device='cpu'" in done.stderr
