"""Every trajectory optimiser goes on after an interruption as if there had been none."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import point_mass
import pytest

from pliant.policies.files.checkpoints import load_arrays, save_arrays
from pliant.policies.trajectory import cem, cmaes, gradient, lbfgs, mpc, mppi, random_search
from pliant.policies.trajectory.settings import (
    CemSettings,
    CmaesSettings,
    GradientSettings,
    LbfgsSettings,
    MpcSettings,
    MppiSettings,
    RandomSearchSettings,
)

LINES = dict(parametrisation="knots", knots=4, iterations=9, seed=2)
METHODS = {
    "gradient": (gradient, gradient.GradientState, GradientSettings(start_horizon=6, plateau_patience=1, **LINES)),
    "gradient-held": (
        gradient,
        gradient.GradientState,
        GradientSettings(iterations=14, seed=2, start_horizon=6, plateau_patience=1, hold_fraction=0.5),
    ),
    "lbfgs": (lbfgs, lbfgs.LbfgsState, LbfgsSettings(iterations=12, seed=2)),
    "cmaes": (cmaes, cmaes.CmaesState, CmaesSettings(population=8, **LINES)),
    "cem": (cem, cem.CemState, CemSettings(population=8, **LINES)),
    "mppi": (mppi, mppi.MppiState, MppiSettings(population=8, sigma_decay=0.9, **LINES)),
    "random-search": (
        random_search,
        random_search.RandomSearchState,
        RandomSearchSettings(population=8, sampling="around-best", **LINES),
    ),
}


class Killed(Exception):
    pass


def killed_at(iteration, path):
    """Saves the state after every iteration and stops the run after one of them."""

    def on_iteration(state, row):
        save_arrays(path, state.to_arrays())
        if row["iteration"] == iteration:
            raise Killed

    return on_iteration


def curve(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_same(found, expected):
    np.testing.assert_array_equal(found.actions, expected.actions)
    np.testing.assert_equal(curve(found.history), curve(expected.history))
    assert (found.value, found.score) == (expected.value, expected.score)
    assert (found.simulated_steps, found.reverse_steps) == (expected.simulated_steps, expected.reverse_steps)


@pytest.fixture(scope="module")
def env():
    env = point_mass.make(differentiable=True)
    yield env
    env.close()


@pytest.fixture(scope="module")
def other():
    env = point_mass.make()
    yield env
    env.close()


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_equals_an_uninterrupted_one(env, tmp_path, name):
    method, kind, settings = METHODS[name]
    whole = method.optimize(env, settings)
    assert len(whole.history) == settings.iterations
    with pytest.raises(Killed):
        method.optimize(env, settings, on_iteration=killed_at(5, tmp_path / "state.npz"))
    state = kind.from_arrays(load_arrays(tmp_path / "state.npz"))
    assert_same(method.optimize(env, settings, state=state), whole)


@pytest.mark.parametrize("name", ["gradient", "lbfgs", "cem", "mppi", "cmaes", "random-search"])
def test_a_resumed_receding_horizon_equals_an_uninterrupted_one(env, other, tmp_path, name):
    method, _, settings = METHODS[name]
    settings = type(settings)(iterations=2, seed=2)
    control = MpcSettings(receding_horizon=5, replan_every=2, first_iterations=3)
    whole = mpc.optimize(other, env, method.optimize, settings, control)
    assert len(whole.history) == 10
    with pytest.raises(Killed):
        killed = killed_at(4, tmp_path / "state.npz")
        mpc.optimize(other, env, method.optimize, settings, control, on_iteration=killed)
    state = mpc.MpcState.from_arrays(load_arrays(tmp_path / "state.npz"))
    assert_same(mpc.optimize(other, env, method.optimize, settings, control, state=state), whole)


@pytest.mark.parametrize("name", ["lbfgs", "cem", "mppi", "gradient"])
def test_a_state_of_another_size_is_refused(env, name):
    method, _, settings = METHODS[name]
    state = method.optimize(
        env, type(settings)(iterations=1, population=4) if name in ("cem", "mppi") else type(settings)(iterations=1)
    ).state
    with pytest.raises(ValueError, match="state has 40 parameters; this run has 20"):
        method.optimize(env, type(settings)(iterations=2, horizon=10), state=state)


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import point_mass
import pliant.scripts.course as course
from pliant.scripts.main import main
point_mass.register()
course.SECONDS_BETWEEN_CHECKPOINTS = 0.0
sys.exit(main(sys.argv[1:]))
"""


def command(out, *words):
    """The command line ``optimize`` in a process of its own, on the particle."""
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]))
    words = ["optimize", point_mass.ID, "--no-video", "--out", str(out), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program, *words], stdout=pipe, stderr=pipe, text=True)


def metrics(out):
    with open(out / "metrics.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
@pytest.mark.parametrize(
    "words",
    [
        ("--method", "lbfgs", "--iterations", "60", "--gradient-tolerance", "0"),
        ("--method", "cem", "--iterations", "2", "--receding-horizon", "6"),
    ],
    ids=["lbfgs", "receding-cem"],
)
@pytest.mark.slow  # `tests/scripts/test_interrupts` kills one and goes on with it
def test_kill_9_and_resume_give_the_curve_of_an_uninterrupted_run(tmp_path, words):
    whole = command(tmp_path / "whole", *words)
    assert whole.wait(timeout=300) == 0, whole.stderr.read()
    process = command(tmp_path / "parts", *words)
    checkpoint = tmp_path / "parts" / "checkpoint.npz"
    while process.poll() is None:
        time.sleep(0.001)
        if checkpoint.exists() and len(load_arrays(checkpoint)["history"]) >= 3:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run was over before it was killed"
    rows = len(load_arrays(checkpoint)["history"])
    expected = metrics(tmp_path / "whole")
    assert 3 <= rows < len(expected)
    again = command(tmp_path / "parts", *words, "--resume")
    assert again.wait(timeout=300) == 0, again.stderr.read()
    assert metrics(tmp_path / "parts") == expected
    arrays = [load_arrays(tmp_path / part / "actions.npz")["actions"] for part in ("whole", "parts")]
    np.testing.assert_array_equal(*arrays)
