"""Runs the cells of a benchmark on this machine: a process and a thread each, so many at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pliant.scripts.bench.cells import DONE, FAILED, LOG_FILE, PENDING, Cell
from pliant.scripts.folders import make_folder
from pliant.scripts.locks import FolderLock

PROGRAM = (sys.executable, "-m", "pliant.scripts.main")
ONE_THREAD: Mapping[str, str] = {
    name: "1" for name in ("PLIANT_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}
"""Results then do not depend on how many cells run at a time."""
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_STOP = 60.0
"""For a run to write its checkpoint when it is told to end [s]."""
OnChange = Callable[[Sequence[str], int, int], None]
"""Called as ``on_change(running, ended, failed)``: names of the cells that run, and how many have ended so far."""


@dataclass
class _Running:
    cell: Cell
    process: subprocess.Popen[bytes]


def run_cells(
    cells: Sequence[Cell],
    *,
    workers: int,
    limit_seconds: float = 0.0,
    program: Sequence[str] = PROGRAM,
    on_change: OnChange = lambda running, ended, failed: None,
) -> int:
    """Run cells, so many at a time, until all have ended.

    Whatever ends this process leaves each run with its last checkpoint, from which the cell goes on. A run that
    another process holds (one that has outlived whoever started it) is waited for.

    Args:
        cells: to be run, in this order.
        workers: at a time.
        limit_seconds: begin none after this time [s]; 0 is no bound.
        program: the words before those of a cell's command.
        on_change: see `OnChange`.

    Returns:
        how many were killed by a signal from elsewhere, and are yet to be run.

    Raises:
        KeyboardInterrupt, SystemExit: a signal arrived; runs have been told to end, and have.
    """
    began = time.monotonic()
    waiting, running = deque(cells), list[_Running]()
    ended = failed = killed = 0
    try:
        while waiting or running:
            late = bool(limit_seconds) and time.monotonic() - began > limit_seconds
            if late:
                waiting.clear()
            for _ in range(len(waiting)):
                if len(running) >= workers:
                    break
                cell = waiting.popleft()
                process = _start(cell, program)
                if process is None:
                    waiting.append(cell)
                    continue
                running.append(_Running(cell, process))
                on_change([one.cell.name for one in running], ended, failed)
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                status = end_cell(one.cell, one.process.returncode)
                ended += 1
                failed += status == FAILED
                killed += status == PENDING
                on_change([one.cell.name for one in running], ended, failed)
        return killed
    finally:
        _stop([one.process for one in running])


def _start(cell: Cell, program: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """The process of a cell; None if another one holds its folder."""
    make_folder(cell.folder)
    try:
        FolderLock(cell.folder).release()
    except BlockingIOError:
        return None
    except OSError:
        pass  # a file system without locks
    with open(cell.folder / LOG_FILE, "wb") as log:
        return subprocess.Popen(
            [*program, *cell.words()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | ONE_THREAD
        )


def end_cell(cell: Cell, status: int) -> str:
    """Write how a cell has ended, by the exit status of its run; its new status."""
    if status == 0:
        cell.end(DONE)
        return DONE
    if 0 < status < 128:
        cell.end(FAILED, cell.log_line())
        return FAILED
    return PENDING  # by a signal: that is no result, and the cell is run again


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Tell runs to end, which writes their checkpoints; kill those that do not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + SECONDS_TO_STOP
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
