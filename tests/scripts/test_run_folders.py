"""Folders of runs: one process at a time, whole files or none, nothing of one run beside another's."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import fake_env as fake
import numpy as np
import pytest

from pliant.policies.files.checkpoints import load_arrays
from pliant.scripts.errors import CommandError
from pliant.scripts.main import main
from pliant.scripts.runs import RunFolder

TESTS = str(Path(fake.__file__).parent)
HOLD = "from pliant.scripts.runs import RunFolder; import sys, time\n"
HOLD += "lock = RunFolder(sys.argv[1]).claim(resume=False, overwrite=True); lock.__enter__()\n"
HOLD += "print('held', flush=True); time.sleep(600)"


def claim(folder, *, overwrite=False):
    """Claim a folder, and let go of it."""
    with RunFolder(folder).claim(resume=False, overwrite=overwrite):
        pass


LIMITED = f"""
import os, resource, sys
sys.path.insert(0, {TESTS!r})
import fake_env
from pliant.scripts.main import main
fake_env.register()
sys.dont_write_bytecode = True  # or modules that are loaded from here on would lie cut short beside their sources
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""
posix = pytest.mark.skipif(os.name != "posix", reason="limits and signals are POSIX's")


@pytest.fixture
def holder():
    """Starts a process that claims a folder and keeps it."""
    processes = []

    def hold(path):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def run(capsys, *words):
    status = main([str(word) for word in words])
    return status, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "words",
    [
        ("optimize", fake.ID, "--iterations", 2, "--no-video"),
        ("optimize", fake.ID, "--iterations", 2, "--no-video", "--resume"),
        ("optimize", fake.ID, "--iterations", 2, "--no-video", "--overwrite"),
        ("train", fake.ID, "--steps", 40),
        ("demo", "--environment", fake.ID, "--iterations", 2, "--no-video"),
    ],
    ids=lambda words: "-".join(map(str, words[:1] + words[-1:])),
)
def test_a_folder_in_use_is_refused(capsys, holder, fake_env, tmp_path, words):
    holder(tmp_path)
    before = sorted(tmp_path.iterdir())
    status, error = run(capsys, *words, "--out", tmp_path)
    assert status == 1 and f"another process is writing a run to {tmp_path}" in error and "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_another_name_of_a_folder_in_use_is_refused(holder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run", target_is_directory=True)
    holder(tmp_path / "run")
    with pytest.raises(CommandError, match="another process"):
        claim(tmp_path / "link")


@posix
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_goes_with_its_process(holder, tmp_path, number):
    process = holder(tmp_path)
    process.send_signal(number)
    process.wait()
    with RunFolder(tmp_path).claim(resume=False, overwrite=False):
        with pytest.raises(CommandError, match="another process"):
            claim(tmp_path, overwrite=True)
    with RunFolder(tmp_path).claim(resume=False, overwrite=False):
        assert list(tmp_path.iterdir()) == []  # the lock itself leaves nothing


@posix
def test_where_folders_cannot_be_locked_a_file_is(monkeypatch, tmp_path):
    """As on network file systems, which lock only what is open for writing."""
    import fcntl

    real = fcntl.flock

    def flock(descriptor, operation):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with RunFolder(tmp_path).claim(resume=False, overwrite=False):
        with pytest.raises(CommandError, match="another process"):
            claim(tmp_path)
    with RunFolder(tmp_path).claim(resume=False, overwrite=False):
        pass


@posix
def test_a_file_system_without_locks_is_named_and_used(monkeypatch, tmp_path):
    import fcntl

    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.warns(UserWarning, match="knows no locks"),
        RunFolder(tmp_path).claim(resume=False, overwrite=False),
    ):
        pass


@posix
def test_of_two_commands_that_start_together_one_runs_and_one_is_refused(tmp_path):
    words = ["optimize", fake.ID, "--iterations", "300", "--no-video", "--out", str(tmp_path / "run")]
    program = [sys.executable, "-c", LIMITED, str(10**9), *words]
    pair = [subprocess.Popen(program, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in pair]
    assert sorted(process.returncode for process in pair) == [0, 1]
    refused = errors[[process.returncode for process in pair].index(1)]
    assert "another process is writing a run" in refused or "holds a run already" in refused
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["summary"]["iterations"] == 300


def test_overwriting_leaves_nothing_of_the_run_before(capsys, fake_env, tmp_path):
    words = ("optimize", fake.ID, "--out", tmp_path, "--iterations")
    assert run(capsys, *words, 9)[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    status, error = run(capsys, *words, 9, "--overwrite", "--no-video", "--horizon", 21)
    assert status == 1 and "horizon=21" in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before  # what is refused costs nothing
    assert run(capsys, *words, 3, "--overwrite", "--no-video", "--seed", 5)[0] == 0
    assert not (tmp_path / "video.mp4").exists()
    assert len(load_arrays(tmp_path / "checkpoint.npz")["history"]) == 3
    status, error = run(capsys, *words, 9, "--resume")
    assert status == 1 and "it was run with seed=5, not 0" in error


def test_a_checkpoint_is_never_beside_the_configuration_of_another_run(monkeypatch, tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin({"seed": 1}, resumed=False)
    folder.write_checkpoint({"history": np.zeros((1, 1)), "best_parameters": np.zeros(1)})
    monkeypatch.setattr(RunFolder, "write_json", lambda *_: pytest.fail("killed here"))
    with pytest.raises(pytest.fail.Exception):
        folder.begin({"seed": 2}, resumed=False)
    assert not folder.can_resume() and not folder.holds_results()


@posix
@pytest.mark.parametrize(
    ("size", "name"), [(200, "config.json"), (2000, "checkpoint.npz"), (12_000, "plot.png")], ids=lambda value: value
)
def test_a_file_that_does_not_fit_is_named_and_not_left_half_written(tmp_path, size, name):
    words = ["optimize", fake.ID, "--iterations", "12", "--no-video", "--out", str(tmp_path)]
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), *words], capture_output=True, text=True, timeout=120
    )
    error = " ".join(process.stderr.split()).replace(" ", "")
    assert process.returncode == 1 and f"cannotwrite{tmp_path / name}" in error and "Traceback" not in error
    assert not (tmp_path / name).exists() and not list(tmp_path.glob(".*partial*"))
    for path in tmp_path.iterdir():  # what is there is whole
        assert path.suffix != ".npz" or load_arrays(path)
        assert path.suffix != ".json" or json.loads(path.read_text())
    again = subprocess.run([sys.executable, "-c", LIMITED, str(10**9), *words, "--resume"], timeout=120)
    assert again.returncode == 0 and (tmp_path / "plot.png").stat().st_size > size


@posix
def test_a_checkpoint_that_no_longer_fits_leaves_the_one_before(tmp_path):
    words = ["optimize", fake.ID, "--iterations", "3000", "--no-video", "--out", str(tmp_path)]
    first = [sys.executable, "-c", LIMITED, str(10**9), *words[:3], "5", *words[4:]]
    assert subprocess.run(first, timeout=120).returncode == 0
    kept = (tmp_path / "checkpoint.npz").read_bytes()
    limit = str(len(kept) + 500)
    later = [sys.executable, "-c", LIMITED, limit, *words, "--resume"]
    process = subprocess.run(later, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1 and "checkpoint.npz" in " ".join(process.stderr.split())
    assert len(load_arrays(tmp_path / "checkpoint.npz")["history"]) >= 5


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_becomes_read_only_is_named(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    folder.path.chmod(0o500)
    with pytest.raises(OSError, match=r"metrics\.json"):
        folder.write_json("metrics.json", {})


def test_remainders_of_a_killed_process_are_removed(tmp_path):
    remainder, other = tmp_path / ".checkpoint.123.partial.npz", tmp_path / ".replay.123.partial.mp4"
    for path in (remainder, other):
        path.write_bytes(b"half")
    with RunFolder(tmp_path).claim(resume=False, overwrite=False):
        pass
    assert not remainder.exists() and other.exists()  # a replay may be under way


@pytest.mark.parametrize("best_by", ["score", "return"])
def test_best_so_far_is_drawn_of_the_quantity_that_it_is_the_best_by(best_by, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    rows = [
        {"simulated_steps": 10.0 * (k + 1), "seconds": k + 1.0, "return": value, "score": score}
        for k, (value, score) in enumerate([(1.0, 0.1), (3.0, 0.05), (2.0, 0.2), (0.0, 0.3)])
    ]
    for k, row in enumerate(rows):
        leader = max(rows[: k + 1], key=lambda other: other[best_by])
        row |= {"best_return": leader["return"], "best_score": leader["score"]}
    drawn, plot = {}, Axes.plot

    def watch(axis, x, y, *args, **keywords):
        drawn[keywords.get("label", "")] = list(y)
        return plot(axis, x, y, *args, **keywords)

    monkeypatch.setattr(Axes, "plot", watch)
    RunFolder(tmp_path).write_plot({"gradient": rows}, "title", best_by=best_by)
    lines = {label: line for label, line in drawn.items() if "best" in label}
    assert set(lines) == {f"gradient, best {best_by} so far"}
    (line,) = lines.values()
    assert line == sorted(line) and line[-1] == max(row[best_by] for row in rows)
