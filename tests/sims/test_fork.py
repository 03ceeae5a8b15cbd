"""Processes forked after taichi has started say so at once; processes forked before work. Each case is a program."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

PROLOGUE = """
import multiprocessing, os, sys
import gymnasium as gym, numpy as np
import pliant.envs

def make():
    return gym.make("pliant/FingerReach-v0")

def play(env=None):
    env = env or make()
    env.reset(seed=0)
    return float(env.step(np.ones(2))[1])
"""


def run(program: str) -> subprocess.CompletedProcess:
    """Run a program in a session of its own, within a minute; no process of it may be left."""
    source = PROLOGUE + textwrap.dedent(program)
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"waits for ever; it has said {out!r} and {err!r}")
    assert ends(process.pid)
    return subprocess.CompletedProcess(source, process.returncode, out, err)


def ends(group: int) -> bool:
    """Whether all processes of a group end by themselves: multiprocessing's helpers take a moment."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.2)
    os.killpg(group, signal.SIGKILL)
    return False


def test_an_asynchronous_vector_environment_works_in_a_fresh_process():
    done = run("""
        envs = gym.make_vec("pliant/FingerReach-v0", num_envs=2, vectorization_mode="async")
        envs.reset(seed=0)
        rewards = envs.step(np.ones((2, 2)))[1]
        envs.close()
        print(rewards[0] == play())
    """)
    assert done.stdout == "True\n", done.stderr


def test_an_asynchronous_vector_environment_says_what_is_wrong_after_a_step():
    done = run("""
        play()
        envs = gym.make_vec("pliant/FingerReach-v0", num_envs=2, vectorization_mode="async")
        try:
            envs.reset(seed=0)
        except RuntimeError as error:
            print(error)
    """)
    assert 'context="spawn"' in done.stdout, done.stderr


@pytest.mark.parametrize(
    "act",
    [
        "play()",
        pytest.param("play(env)", marks=pytest.mark.slow),
        "env.step(np.ones(2))",
        "env.reset()",
        pytest.param("env.render()", marks=pytest.mark.slow),
        "make().reset()",
        pytest.param("env.unwrapped.snapshot()", marks=pytest.mark.slow),
        pytest.param("env.unwrapped.set_parameter('gravity', 0.0)", marks=pytest.mark.slow),
        "env.unwrapped.state('position')",
        pytest.param("env.unwrapped.backward()", marks=pytest.mark.slow),
    ],
)
def test_a_forked_child_raises_at_once(act):
    done = run(f"""
        env = gym.make("pliant/FingerReach-v0", differentiable=True, render_mode="rgb_array")
        play(env)
        env.render()
        child = os.fork()
        if child == 0:
            try:
                {act}
            except RuntimeError as error:
                print(error, flush=True)
            env.close()
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(env.step(np.ones(2))[1] < 0)
    """)
    message, status, goes_on = done.stdout.splitlines()
    assert 'context="spawn"' in message
    assert (status, goes_on) == ("7", "True")


@pytest.mark.parametrize("leave", ["env.close()", "del env", "pass"])
def test_a_forked_child_leaves(leave):
    done = run(f"""
        env = make()
        play(env)
        child = os.fork()
        if child == 0:
            {leave}
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert done.stdout == "7\n", done.stderr


def test_an_environment_that_has_not_been_stepped_may_be_inherited():
    done = run("""
        env = make()
        env.reset(seed=0)
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                print(play(env), flush=True)
                sys.exit(0)
            os.waitpid(child, 0)
        print(play(env))
    """)
    assert len(done.stdout.splitlines()) == 3 and len(set(done.stdout.splitlines())) == 1, done.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_a_process_work_after_a_step(method, tmp_path):
    (tmp_path / "played.py").write_text(PROLOGUE)
    done = run(f"""
        sys.path.insert(0, {str(tmp_path)!r})
        from played import play
        expected = play()
        with multiprocessing.get_context({method!r}).Pool(1) as pool:
            print(pool.apply(play) == expected)
    """)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    "call",
    [
        "with multiprocessing.get_context('fork').Pool(2) as pool: pool.map(work, [1, 2])",
        "with ProcessPoolExecutor(2, multiprocessing.get_context('fork')) as pool: list(pool.map(work, [1, 2]))",
    ],
)
def test_a_pool_of_forked_workers_raises_the_error_in_its_parent(call):
    done = run(f"""
        from concurrent.futures import ProcessPoolExecutor
        env = make()
        play(env)
        def work(_):
            return play(env)
        try:
            {call}
        except RuntimeError as error:
            print(error)
    """)
    assert 'context="spawn"' in done.stdout, done.stderr


def test_workers_of_a_torch_loader_raise_the_error_in_their_parent():
    pytest.importorskip("torch")
    done = run("""
        import torch
        class Rewards(torch.utils.data.Dataset):
            def __len__(self):
                return 2
            def __getitem__(self, index):
                return play()
        play()
        try:
            list(torch.utils.data.DataLoader(Rewards(), num_workers=1, multiprocessing_context="fork"))
        except RuntimeError as error:
            print(error)
    """)
    assert 'context="spawn"' in done.stdout, done.stderr
