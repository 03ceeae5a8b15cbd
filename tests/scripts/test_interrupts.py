"""Runs that are stopped at any instant, by Ctrl-C, SIGTERM or kill -9, go on to the end of an undisturbed run."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_env as fake
import numpy as np
import point_mass
import pytest

from pliant.policies.files.checkpoints import load_arrays

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


@pytest.fixture(autouse=True)
def heard():
    """Signals are heard, also where tests run in the background and their shell has told them to ignore some."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


PROGRAM = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where tests run in the background
sys.path.insert(0, {str(Path(fake.__file__).parent)!r})
try:
    import fake_env, point_mass
    import pliant.scripts.course as course
    from pliant.scripts.main import main
except (KeyboardInterrupt, ImportError):  # before the command begins; taichi makes the one of the other
    sys.exit(130)
fake_env.register()
point_mass.register()
course.SECONDS_BETWEEN_CHECKPOINTS = 0.05
step = fake_env.FakePointMass.step
def slow(self, action):
    time.sleep(0.001)
    return step(self, action)
fake_env.FakePointMass.step = slow
sys.exit(main(sys.argv[1:]))
"""
OPTIMIZE = ("optimize", fake.ID, "--no-video", "--learning-rate", "0.9", "--iterations")
TRAIN = ("train", point_mass.ID, "--no-video", "--no-tensorboard", "--evaluation-episodes", "2", "--num-envs", "2")
TRAIN = (*TRAIN, "--checkpoint-seconds", "0.05", "--steps")
SETTINGS = {
    "shac": "hidden=8,window=7,critic_epochs=1",
    "sapo": "hidden=8,window=7,critic_epochs=1",
    "ahac": "hidden=8,window=7,critic_epochs=1",
    "bptt": "hidden=8,window=6",
    "mixed": "hidden=8,samples=2",
    "ivw": "hidden=8,samples=2",
    "ppo": "hidden=8,epochs=2,batch_size=20",
    "sac": "hidden=8,learning_starts=40,updates=1",
    "td3": "hidden=8,learning_starts=40,updates=1",
    "tqc": "hidden=8,learning_starts=40,updates=1,normalize=true",
    "crossq": "hidden=8,learning_starts=40,updates=1",
}
ENDED = {
    signal.SIGINT: (130, -signal.SIGINT),
    signal.SIGTERM: (143, -signal.SIGTERM),  # by its default action while modules are being loaded
    signal.SIGKILL: (-signal.SIGKILL,),
}


def start(words, out):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(words, out):
    process = start(words, out)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error


def stop(words, out, number, instant):
    """Send the signal ``instant`` seconds after the start; exit status and what was said. None: it was over before."""
    process = start(words, out)
    try:
        process.wait(instant)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    _, error = process.communicate(timeout=300)
    return process.returncode, " ".join(error.split())


def rows(out):
    with open(out / "metrics.csv", newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def found(out):
    """All that a run has found, without times: what is to be the same to the last bit."""
    summary = json.loads((out / "metrics.json").read_text())["summary"]
    for name in ("seconds", "wall_seconds"):
        summary.pop(name, None)
    for entry in summary.get("evaluations", []):
        entry.pop("seconds")
    name = "policy.npz" if (out / "policy.npz").exists() else "actions.npz"
    return rows(out), summary, {key: value.tobytes() for key, value in load_arrays(out / name).items()}


def check_stopped(words, out, number, status, said):
    """A run that a signal has stopped says the truth about how to go on, and leaves nothing half written."""
    checkpoint = out / "checkpoint.npz"
    assert status in ENDED[number] and "Traceback" not in said, said
    if number == signal.SIGKILL:
        return
    assert not list(out.glob(".*partial*"))
    assert not ("go on with" in said and not checkpoint.exists())
    assert not ("starts anew" in said and "nothing to go on from" not in said and checkpoint.exists())
    if "go on with" in said and words[0] == "optimize":
        history = load_arrays(checkpoint)["history"]
        assert len(rows(out)) == len(history)
        np.testing.assert_array_equal(history[:, 5], [float(row["return"]) for row in rows(out)])
        assert load_arrays(out / "actions.npz")["actions"].shape == (20, 2)


def check(words, tmp_path, numbers, instants, seed):
    """Stop runs at random instants of the time that an undisturbed one takes, resume them, compare."""
    began = time.monotonic()
    finish(words, tmp_path / "whole")
    duration = time.monotonic() - began
    expected = found(tmp_path / "whole")
    random = np.random.default_rng(seed)
    for number in numbers:
        for k in range(instants):
            for attempt in range(10):  # where a run was over before the signal, another one, of that duration
                out, began = tmp_path / f"{number}-{k}-{attempt}", time.monotonic()
                status, said = stop(words, out, number, duration * random.uniform())
                if status != 0:
                    break
                duration = min(duration, time.monotonic() - began)
                assert found(out) == expected
            check_stopped(words, out, number, status, said)
            if random.uniform() < 0.3:  # once more, on the way
                status, said = stop((*words, "--resume"), out, number, duration * random.uniform())
            if status != 0:
                check_stopped(words, out, number, status, said)
                finish((*words, "--resume"), out)
            assert found(out) == expected, f"signal {number}, instant {k}"
            assert not list(out.glob(".*partial*"))


ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.slow) for n in ALL[:2])])
def test_an_optimisation_goes_on_from_any_instant(tmp_path, number):
    check((*OPTIMIZE, "60"), tmp_path, [number], 1, seed=number)


@pytest.mark.slow  # `test_train` kills one and goes on with it
def test_a_training_goes_on_from_any_instant(tmp_path):
    pytest.importorskip("torch")
    check((*TRAIN, "600", "--algo", "shac", "--settings", SETTINGS["shac"]), tmp_path, ALL, 1, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient", "lbfgs", "cmaes", "cem", "mppi", "random-search"])
def test_an_optimisation_goes_on_from_twenty_instants_of_each_kind(tmp_path, method):
    more = () if method in ("gradient", "lbfgs") else ("--population", "4")
    words = (*OPTIMIZE, "100", "--method", method, "--gradient-tolerance", "0", *more)
    instants = 20 if method == "gradient" else 4
    check(words, tmp_path, ALL, instants, seed=1)


@pytest.mark.slow
def test_a_receding_horizon_goes_on_from_any_instant(tmp_path):
    words = ("optimize", point_mass.ID, "--no-video", "--iterations", "30", "--receding-horizon", "6")
    check(words, tmp_path, ALL, 4, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_training_goes_on_from_twenty_instants_of_each_kind(tmp_path, algorithm):
    pytest.importorskip("stable_baselines3")
    words = (*TRAIN, "1200", "--algo", algorithm, "--settings", SETTINGS[algorithm])
    instants = 20 if algorithm == "shac" else 3
    check(words, tmp_path, ALL, instants, seed=3)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The words of a short optimisation and what an undisturbed one finds."""
    words, out = (*OPTIMIZE, "3"), tmp_path_factory.mktemp("short")
    finish(words, out)
    return words, found(out)


@pytest.mark.parametrize("number", ALL)
def test_a_run_stopped_before_its_first_iteration_leaves_no_dead_end(short, tmp_path, number):
    words, expected = short
    out = tmp_path / "stopped"
    process = start(words, out)
    while not out.exists():
        time.sleep(0.001)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode in ENDED[number] and "go on with" not in error
    finish(words, out)  # without --resume: nothing would be lost
    assert found(out) == expected


def test_a_stopped_run_keeps_what_it_has_found(tmp_path):
    out = tmp_path / "run"
    process = start((*OPTIMIZE, "100000"), out)
    while not (out / "checkpoint.npz").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143 and "go on with the same command and --resume" in " ".join(error.split())
    summary = json.loads((out / "metrics.json").read_text())["summary"]
    history = load_arrays(out / "checkpoint.npz")["history"]
    assert summary["iterations"] == len(history) > 1
    env = fake.FakePointMass(differentiable=True)
    value = env.evaluate(load_arrays(out / "actions.npz")["actions"], seed=0)
    assert value == pytest.approx(summary["return"], rel=1e-6) and summary["return"] == history[:, 5].max()


def test_a_signal_that_is_ignored_stays_ignored():
    from pliant.scripts.interrupts import interrupts

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not caught.received
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_python_drops_ends_the_run_at_the_next_iteration():
    from pliant.scripts.interrupts import interrupts

    class Finalised:
        def __del__(self):
            with contextlib.suppress(KeyboardInterrupt):  # as Python does with exceptions of finalisers
                os.kill(os.getpid(), signal.SIGINT)

    with interrupts() as caught:
        Finalised()
        with pytest.raises(KeyboardInterrupt):
            caught.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("made", [ImportError, RuntimeError, ValueError, AttributeError])
def test_an_error_that_a_library_makes_of_a_signal_ends_the_command_as_the_signal_does(number, made):
    from pliant.scripts.interrupts import interrupts

    with pytest.raises((KeyboardInterrupt, SystemExit)) as ended, interrupts():
        try:
            os.kill(os.getpid(), number)
        except BaseException:
            raise made("KeyboardInterrupt: <EMPTY MESSAGE>") from None
    assert ended.type is KeyboardInterrupt if number == signal.SIGINT else ended.value.code == 143


def test_an_error_without_a_signal_stays_what_it_is_and_so_does_a_full_disk_after_one():
    from pliant.scripts.interrupts import interrupts

    with pytest.raises(ImportError, match="no module"), interrupts():
        raise ImportError("no module")
    with pytest.raises(OSError, match="full"), interrupts():
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        raise OSError("full")


def test_a_signal_that_a_library_drops_ends_the_command_at_the_next_block():
    from pliant.scripts.interrupts import interrupts

    with pytest.raises(KeyboardInterrupt), interrupts((signal.SIGINT.name,)):
        with contextlib.suppress(BaseException):  # as `try: import ...; except: ...` does
            os.kill(os.getpid(), signal.SIGINT)
        with interrupts():
            pytest.fail("the block began")


def test_blocks_leave_the_handlers_that_they_found():
    from pliant.scripts.interrupts import interrupts

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    before = [signal.getsignal(number) for number in numbers]
    with interrupts(("SIGINT",)) as outer:
        assert [signal.getsignal(number) for number in numbers] == [outer.handle, *before[1:]]
        with interrupts() as inner:
            assert inner is outer
            assert [signal.getsignal(number) for number in numbers] == [outer.handle] * 3
        assert [signal.getsignal(number) for number in numbers] == [outer.handle, *before[1:]]
    assert [signal.getsignal(number) for number in numbers] == before
    with interrupts() as another:
        assert another is not outer


LOADING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {tests!r})
import point_mass
point_mass.register()
class Finder:  # a module whose C++ makes an ImportError of whatever is raised while it is loaded
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            try:
                os.kill(os.getpid(), signal.{signal})
            except BaseException as error:
                raise ImportError(type(error).__name__ + ": <EMPTY MESSAGE>") from None
sys.modules.pop({module!r}, None)
sys.meta_path.insert(0, Finder())
from pliant.scripts.main import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The words of a training and the folder of one that is over."""
    pytest.importorskip("torch")
    words, out = (*TRAIN, "28", "--algo", "shac", "--settings", SETTINGS["shac"]), tmp_path_factory.mktemp("trained")
    finish(words, out)
    return words, out


@pytest.mark.parametrize(
    ("module", "name", "claimed"),
    [
        ("tyro", "SIGINT", False),
        ("tyro", "SIGTERM", False),
        pytest.param("pliant.scripts.train", "SIGINT", False, marks=pytest.mark.slow),
        ("torch", "SIGINT", True),
        pytest.param("pliant.policies.through_physics.shac", "SIGINT", True, marks=pytest.mark.slow),
        ("pliant.policies.through_physics.shac", "SIGTERM", True),
    ],
)
def test_a_signal_while_a_module_is_loaded_is_no_error_of_the_module(trained, tmp_path, module, name, claimed):
    """``claimed``: the command knows its folder by then, and says how to go on."""
    words, out = trained
    shutil.copytree(out, tmp_path / "run")
    code = LOADING.format(tests=str(Path(fake.__file__).parent), module=module, signal=name)
    words = [sys.executable, "-c", code, *words, "--resume", "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True)
    wanted = 130 if name == "SIGINT" else 143 if claimed else -signal.SIGTERM
    assert done.returncode == wanted, done.stderr
    assert "Traceback" not in done.stderr and "EMPTY" not in done.stderr
    assert ("interrupted" in done.stderr) == (name == "SIGINT")
    assert ("go on with the same command and --resume" in done.stderr) == claimed


def test_a_run_that_would_have_replaced_another_promises_nothing_of_it(trained, tmp_path):
    """Before its first checkpoint, the one in the folder is that of the run that was there."""
    words, out = trained
    shutil.copytree(out, tmp_path / "run")
    code = LOADING.format(tests=str(Path(fake.__file__).parent), module="pliant.scripts.video", signal="SIGINT")
    words = [sys.executable, "-c", code, *words, "--overwrite", "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "go on with" not in done.stderr and "starts anew" in done.stderr
    assert found(tmp_path / "run") == found(out)  # what was there still is


def test_the_second_signal_of_a_training_does_not_wait():
    from pliant.scripts.interrupts import interrupts

    with interrupts() as caught, pytest.raises(SystemExit) as ended, caught.held(until_the_second=True):
        os.kill(os.getpid(), signal.SIGTERM)
        assert caught.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 143
