"""Runs the cells of a benchmark on a Ray cluster (extra ``cluster``): a processor each, on whichever node has one.

The folder of the benchmark stays where the command runs. A `Keeper` there hands a run the files that its cell has, and
takes those that it writes, so that nodes share no file system, and a run whose node is lost goes on from its last
checkpoint on another one.

Pliant, in the same version, and the extra ``rl`` have to be installed on every node.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pliant.policies.files.checkpoints import replacing
from pliant.scripts.bench.cells import FAILED, LOG_FILE, PENDING, Cell
from pliant.scripts.bench.pool import ONE_THREAD, PROGRAM, OnChange, end_cell
from pliant.scripts.errors import CommandError
from pliant.scripts.folders import make_folder

SECONDS_BETWEEN_LOOKS = 1.0
Files = dict[str, bytes]
"""Contents by name."""
OWN_VERSION = 126
"""Exit status of a run on a node that has another version of Pliant."""


def run_on_ray(
    cells: Sequence[Cell],
    *,
    limit_seconds: float = 0.0,
    program: Sequence[str] = PROGRAM,
    on_change: OnChange = lambda running, ended, failed: None,
) -> int:
    """Run cells on the cluster that ``RAY_ADDRESS`` names, else on one that Ray starts here, until all have ended.

    Args:
        cells: to be run, in this order.
        limit_seconds: begin none after this time [s]; 0 is no bound.
        program: the words before those of a cell's command, on every node.
        on_change: see `pliant.scripts.bench.pool.OnChange`.

    Returns:
        how many were killed by a signal, and are yet to be run.

    Raises:
        CommandError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    except ImportError as error:
        raise CommandError("a cluster needs Ray: pip install 'pliant[cluster]'") from error
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise CommandError(f"the Ray cluster cannot be reached: {error}") from error
    began = time.monotonic()
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper = ray.remote(Keeper).options(num_cpus=0, scheduling_strategy=here).remote()
    remote = ray.remote(_run_remotely).options(num_cpus=1, max_retries=-1)
    waiting, running = deque(cells), dict[object, Cell]()
    ended = failed = killed = 0
    try:
        while waiting or running:
            if limit_seconds and time.monotonic() - began > limit_seconds:
                waiting.clear()
            free = int(ray.cluster_resources().get("CPU", 1)) - len(running)
            for _ in range(min(free, len(waiting))):
                cell = waiting.popleft()
                make_folder(cell.folder)
                handle = remote.remote(keeper, str(cell.folder.resolve()), cell.words(), list(program), _version())
                running[handle] = cell
                on_change([one.name for one in running.values()], ended, failed)
            done, _ = ray.wait(list(running), timeout=SECONDS_BETWEEN_LOOKS)
            for handle in done:
                cell = running.pop(handle)
                status = end_cell(cell, ray.get(handle))
                ended += 1
                failed += status == FAILED
                killed += status == PENDING
                on_change([one.name for one in running.values()], ended, failed)
        return killed
    finally:
        for handle in running:
            ray.cancel(handle, force=True)
        ray.kill(keeper)


class Keeper:
    """Reads and writes the folders of cells, on the node where the command runs."""

    def fetch(self, folder: str) -> Files:
        """Contents of the files of a cell."""
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}

    def store(self, folder: str, files: Files) -> None:
        """Write files into a cell's folder, each whole or absent."""
        for name, content in files.items():
            with replacing(Path(folder) / name) as temporary:
                temporary.write_bytes(content)


def _version() -> str:
    from importlib.metadata import version

    return version("pliant")


def _run_remotely(keeper: object, folder: str, words: list[str], program: list[str], version: str) -> int:
    """The exit status of a run in a folder of its own, whose files go to the keeper as they change."""
    import ray

    if _version() != version:
        message = f"this node has Pliant {_version()}, the benchmark {version}".encode()
        ray.get(keeper.store.remote(folder, {LOG_FILE: message}))  # type: ignore[attr-defined]
        return OWN_VERSION
    with tempfile.TemporaryDirectory() as name:
        out, sent = Path(name) / "run", dict[str, int]()
        out.mkdir()
        for file, content in ray.get(keeper.fetch.remote(folder)).items():  # type: ignore[attr-defined]
            (out / file).write_bytes(content)
            sent[file] = (out / file).stat().st_mtime_ns
        words = [str(out) if word == words[words.index("--out") + 1] else word for word in words]
        with open(out / LOG_FILE, "wb") as log:
            environment = os.environ | ONE_THREAD
            process = subprocess.Popen(
                [*program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            while process.poll() is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                ray.get(keeper.store.remote(folder, _changed(out, sent)))  # type: ignore[attr-defined]
        finally:
            process.kill()
            process.wait()
        ray.get(keeper.store.remote(folder, _changed(out, sent)))  # type: ignore[attr-defined]
        return process.returncode


def _changed(out: Path, sent: dict[str, int]) -> Files:
    """Contents of the files that are new since they were ``sent`` (times of change), which is brought up to date.

    A checkpoint is never sent without the configuration that it belongs to: files are read in the order of their times.
    """
    found: Files = {}
    paths = [path for path in out.iterdir() if path.is_file() and not path.name.startswith(".")]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        changed = path.stat().st_mtime_ns
        if sent.get(path.name) != changed:
            found[path.name], sent[path.name] = path.read_bytes(), changed
    return found
