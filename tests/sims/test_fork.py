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


ACTS = (
    "play()",
    "play(env)",
    "env.step(np.ones(2))",
    "env.reset()",
    "env.render()",
    "make().reset()",
    "env.unwrapped.snapshot()",
    "env.unwrapped.set_parameter('gravity', 0.0)",
    "env.unwrapped.state('position')",
    "env.unwrapped.backward()",
)


def test_whatever_a_forked_child_does_it_raises_at_once():
    done = run(f"""
        env = gym.make("pliant/FingerReach-v0", differentiable=True, render_mode="rgb_array")
        play(env)
        env.render()
        for act in {ACTS}:
            child = os.fork()
            if child == 0:
                try:
                    exec(act)
                    print("nothing was raised")
                except RuntimeError as error:
                    print(error)
                env.close()
                sys.stdout.flush()
                sys.exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), env.step(np.ones(2))[1] < 0, act, flush=True)
    """)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(ACTS), done.stderr
    for message, outcome, act in zip(lines[::2], lines[1::2], ACTS, strict=True):
        assert 'context="spawn"' in message, (act, message)
        assert outcome == f"7 True {act}"


def test_a_forked_child_leaves_whatever_it_does_with_the_environment():
    done = run("""
        env = make()
        play(env)
        for leave in ("env.close()", "del env", "pass"):
            child = os.fork()
            if child == 0:
                exec(leave)
                sys.exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), leave, flush=True)
    """)
    assert done.stdout == "7 env.close()\n7 del env\n7 pass\n", done.stderr


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
