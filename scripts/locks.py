"""A lock on a folder that goes with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from types import TracebackType

BUSY = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
FILE = ".lock"
"""What is locked where folders cannot be: on Windows, and on file systems that lock only what is open for writing."""


class FolderLock:
    """Holds a folder for this process alone, until `release`, the end of a ``with`` or of the process.

    The folder itself is locked where that works, so that no file is left behind.

    Raises:
        BlockingIOError: another process holds the folder.
        OSError: it is missing, or its file system knows no locks.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = -1
        try:
            self._descriptor = _locked(folder)
        except BlockingIOError:
            raise
        except OSError:
            if not folder.is_dir():
                raise
            self._descriptor = _locked(folder / FILE)

    def release(self) -> None:
        """Let go of the folder."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def _locked(path: Path) -> int:
    """The descriptor of a folder, or of a file that is made if it is missing, that no other process has locked."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held, named = os.fstat(descriptor), os.stat(path)
        if stat.S_ISDIR(held.st_mode) and not os.path.samestat(held, named):
            raise FileNotFoundError(errno.ENOENT, "the folder was replaced", str(path))
    except OSError as error:
        os.close(descriptor)
        if error.errno in BUSY:
            raise BlockingIOError(error.errno, "another process holds the folder", str(path)) from error
        raise
    return descriptor
